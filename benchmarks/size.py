"""How time and memory of As-ViT grow with the size of the image and with the batch.

    python benchmarks/size.py                                 # As-ViT-S to 672 px
    python benchmarks/size.py --network asvit-large \
        --sizes 224 320 448 640 896 1024 1280 1536 --rounds 3

Every round goes through all sizes and then through all batches. A line through the
logarithms gives the exponent, with its standard error: 1 is linear in the pixels.
"""
import argparse
from pathlib import Path
from typing import Dict, List, NamedTuple, Tuple

import numpy as np
import torch
from common.contestants import MODES, Case, check_names, make_step, peak_memory
from scipy.stats import linregress

from mmasvit.benchmarking import Timing, alternate
from mmasvit.errors import InputError, one_line_errors
from mmasvit.files import write_json
from mmasvit.memory import keep_memory
from mmasvit.tables import print_table
from mmasvit.plotting import save_figure, subplots


class Series(NamedTuple):
    """Time and memory over one quantity.

    Attributes:
        mode: ``'forward'`` or ``'train'``.
        along: ``'pixels'`` or ``'images'``.
        labels: What each point is called.
        amounts: Pixels or images of each point.
        seconds: Of a step at each point.
        peaks: Peak memory in bytes at each point; empty if not measured.
    """
    mode: str
    along: str
    labels: List[str]
    amounts: List[int]
    seconds: List[Timing]
    peaks: List[int]

    @property
    def curves(self) -> Dict[str, List[float]]:
        """Median seconds and, if measured, peak memory in GiB, at each point."""
        curves = dict(seconds=[timing.median for timing in self.seconds])
        if self.peaks:
            curves['memory'] = [peak / 2**30 for peak in self.peaks]
        return curves

    @property
    def exponents(self) -> Dict[str, Tuple[float, float]]:
        """Exponent and its standard error, for each curve."""
        fits = {name: linregress(np.log(self.amounts), np.log(values))
                for name, values in self.curves.items()}
        return {name: (fit.slope, fit.stderr) for name, fit in fits.items()}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--network', default='asvit-small')
    parser.add_argument('--sizes', type=int, nargs='+', metavar='PX',
                        default=[224, 320, 448, 672], help='one image of each')
    parser.add_argument('--batch-sizes', type=int, nargs='+', metavar='N',
                        default=[1, 2, 4, 8], help='at 224 px')
    parser.add_argument('--modes', nargs='+', choices=MODES, default=list(MODES))
    parser.add_argument('--precision', choices=('fp32', 'bf16'), default='fp32')
    parser.add_argument('--compiled', action='store_true')
    parser.add_argument('--device', default='cpu', help='cpu or cuda')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--no-memory', action='store_true')
    parser.add_argument('--out', default='work_dirs/scaling', metavar='DIR',
                        help='figure and json (default: %(default)s)')
    return parser.parse_args()


def check(args: argparse.Namespace) -> None:
    """Refuse what cannot be run, before anything is."""
    from mmasvit.engine.preflight import check_device, check_writable
    check_names([args.network])
    if min(len(set(args.sizes)), len(set(args.batch_sizes))) < 3:
        raise InputError('--sizes and --batch-sizes: an exponent takes at least three')
    if min(args.rounds, *args.batch_sizes) < 1 or min(args.sizes) < 32:
        raise InputError('--rounds and --batch-sizes must be at least 1, --sizes 32')
    check_device(args.device)
    check_writable(args.out)


def measure(cases: Dict[str, Case], along: str, rounds: int, memory: bool) -> Series:
    """Time cases of growing size in turn."""
    seconds = alternate({label: make_step(case) for label, case in cases.items()}, rounds)
    return Series(next(iter(cases.values())).mode, along, list(cases),
                  [case.size**2 if along == 'pixels' else case.batch_size
                   for case in cases.values()],
                  [Timing.of(values) for values in seconds.values()],
                  [peak_memory(case) for case in cases.values()] if memory else [])


def show(series: Series) -> None:
    """Print a table with the exponents under it."""
    each = f'us per {"pixel" if series.along == "pixels" else "image"}'
    print_table(
        f'{series.mode}, over {series.along}',
        ('', 'seconds', 'spread', each, 'peak memory'),
        [(label, f'{timing.median:.3f}', f'{timing.low:.3f} to {timing.high:.3f}',
          f'{1e6 * timing.median / amount:.4g}',
          f'{series.peaks[i] / 2**30:.2f} GiB' if series.peaks else '')
         for i, (label, amount, timing) in enumerate(
             zip(series.labels, series.amounts, series.seconds))])
    for name, (exponent, error) in series.exponents.items():
        print(f'  {name}: {series.along} to the power of {exponent:.3f} +- {error:.3f}')
    print()


def draw(all_series: List[Series], network: str, path: Path) -> None:
    """Time and memory over pixels and over images, both axes logarithmic."""
    quantities = list(all_series[0].curves)
    figure, panels = subplots(len(quantities), 2, sharex='col', squeeze=False,
                              figsize=(9, 1 + 2.8 * len(quantities)))
    for column, along in enumerate(('pixels', 'images')):
        some = [series for series in all_series if series.along == along]
        for axes, quantity in zip(panels[:, column], quantities):
            for series in some:
                axes.plot(series.amounts, series.curves[quantity], 'o-', markersize=4,
                          label=f'{series.mode}: exponent '
                                f'{series.exponents[quantity][0]:.2f}')
            axes.set(xscale='log', yscale='log',
                     ylabel=dict(seconds='seconds', memory='peak memory (GiB)')[quantity])
            axes.minorticks_off()
            axes.grid(alpha=0.3)
            axes.legend(fontsize=8)
        axes.set_xticks(some[0].amounts, some[0].labels, fontsize=8, rotation=45)
        axes.set_xlabel('side of one image' if along == 'pixels' else 'images of 224 px')
    figure.suptitle(f'{network}: time and memory over size and batch')
    save_figure(figure, path)


def main() -> None:
    """Measure, print, draw."""
    args = parse_args()
    check(args)
    found = []
    for mode in args.modes:
        common = dict(name=args.network, mode=mode, precision=args.precision,
                      compiled=args.compiled, device=args.device)
        by_size = {f'{size} px': Case(size=size, batch_size=1, **common)
                   for size in sorted(args.sizes)}
        by_batch = {str(number): Case(size=224, batch_size=number, **common)
                    for number in sorted(args.batch_sizes)}
        for along, cases in (('pixels', by_size), ('images', by_batch)):
            found.append(measure(cases, along, args.rounds, not args.no_memory))
            show(found[-1])
    folder = Path(args.out)
    draw(found, args.network, folder / 'scaling.png')
    write_json(folder / 'scaling.json', dict(
        network=args.network, threads=torch.get_num_threads(), torch=torch.__version__,
        series=[dict(series._asdict(), exponents=series.exponents)
                for series in found]))
    print(f'{folder}/scaling.png, scaling.json')


if __name__ == '__main__':
    keep_memory()
    with one_line_errors():
        main()
