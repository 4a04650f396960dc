"""What only a GPU shows, in under ten minutes and one table.

    python benchmarks/gpu.py --out gpu.json    # on the first card
    python benchmarks/gpu.py --dry-run         # every line, on the CPU at tiny size

Parts, in this order: maps and gradients against the CPU's in float32; training of whole
detectors at 1024 px with their memory; As-ViT beside Swin and ConvNeXt, eager, then
compiled; a step under DistributedDataParallel; the measures; a search. When the minutes
are used up, what is left is listed as not reached. Status 1 says that a result differs
from the CPU's.
"""
import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Callable, Iterator, List, NamedTuple, Tuple

import torch
import torch.distributed
from common.contestants import Case, build
from common.rounds import PRECISIONS, measure, title_of
from mmengine.device import get_device
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mmasvit import Topology
from mmasvit.benchmarking import Timing, alternate, matrix_rate, synchronize
from mmasvit.complexity import Setting, measure_topology
from mmasvit.errors import InputError, one_line_errors
from mmasvit.files import write_json
from mmasvit.memory import keep_memory
from mmasvit.tables import print_table

ROOT = Path(__file__).resolve().parents[1]
# Largest relative errors that count as the same: TF32 is off, bfloat16 has 8 bits.
TOLERANCES = {'fp32': 1e-4, 'bf16': 5e-2}
ROWS = ['asvit-small', 'swin-tiny', 'convnext-tiny'], [
    'asvit-base', 'swin-small', 'convnext-small'], [
    'asvit-large', 'swin-base', 'convnext-base']


class Scale(NamedTuple):
    """How much is done: all that a card can, or just enough to run every line."""
    device: str
    sizes: Tuple[int, int]
    batch_sizes: Tuple[int, int]
    odd: Tuple[int, int]
    networks: Tuple[List[str], ...]
    compiled: List[str]
    rounds: int
    setting: Setting
    search_steps: int


ON_CARD = Scale('cuda', (224, 1024), (64, 4), (511, 309), ROWS, ROWS[0], 5, Setting(), 50)
DRY = Scale('cpu', (32, 64), (2, 1), (61, 45), ROWS[:1], ['asvit-small'], 1,
            Setting(image_size=32, repeats=1, num_angles=3, num_images=3), 2)


class Line(NamedTuple):
    """A line of the table.

    Attributes:
        part: What it belongs to.
        what: What was done.
        result: What came out.
        right: Whether it is what it should be; true where nothing is to be compared.
    """
    part: str
    what: str
    result: str
    right: bool = True


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--dry-run', action='store_true',
                        help='on the CPU, at tiny size: whether every line runs')
    parser.add_argument('--minutes', type=float, default=9., metavar='N',
                        help='begin nothing after these (default: %(default)s)')
    parser.add_argument('--out', metavar='FILE', help='also write the table, as json')
    return parser.parse_args()


def relative_error(values: List[Tensor], references: List[Tensor]) -> float:
    """Norm of the difference over that of the reference, the largest of all tensors."""
    return max(((value.cpu().double() - reference.double()).norm()
                / reference.double().norm()).item()
               for value, reference in zip(values, references))


def outputs_and_gradients(model: nn.Module, image: Tensor, precision: str) -> List[Tensor]:
    """The maps of an image, and the gradients of all weights from their squares."""
    model.zero_grad()
    with torch.autocast(image.device.type, torch.bfloat16, enabled=precision == 'bf16'):
        outs = model(image)
    sum(out.float().square().mean() for out in outs).backward()
    return [out.detach() for out in outs] + [
        parameter.grad for parameter in model.parameters()]


def correctness(scale: Scale) -> Iterator[Line]:
    """The same weights and image here and on the device."""
    model = build('asvit-small').eval()
    for size in ((scale.sizes[0], ) * 2, scale.odd):
        image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
        references = outputs_and_gradients(model.cpu(), image, 'fp32')
        for precision, tolerance in TOLERANCES.items():
            error = relative_error(outputs_and_gradients(
                model.to(scale.device), image.to(scale.device), precision), references)
            yield Line('against the CPU', f'As-ViT-S, {size[0]} x {size[1]} px, {precision}',
                       f'off by {error:.1e}', error <= tolerance)


def timed(networks: List[str], mode: str, size: int, batch_size: int, precision: str,
          compiled: bool, memory: bool, scale: Scale) -> Iterator[Line]:
    """Networks in turn; lines of one comparison."""
    cases = [Case(name, mode, size, batch_size, precision, compiled, scale.device)
             for name in networks]
    for row in measure(cases, scale.rounds, memory):
        result = f'{batch_size / row.seconds.median:.1f} images/s'
        if row.case is not cases[0]:
            result += f'; {networks[0]} {row.ratios.median:.2f} times as ' + (
                'fast' if 'detector' in row.case.name else 'many FLOP/s')
        if row.peak is not None:
            result += f'; {row.peak / 2**30:.2f} GiB'
        yield Line(title_of(row.case), row.case.name, result)


def distributed(scale: Scale) -> Iterator[Line]:
    """A step of one process with the group's wrapper, and without."""
    backend = 'nccl' if scale.device == 'cuda' else 'gloo'
    with tempfile.TemporaryDirectory() as folder:
        torch.distributed.init_process_group(backend, init_method=f'file://{folder}/group',
                                             rank=0, world_size=1)
        try:
            model = build('asvit-small', scale.device).eval()
            image = torch.rand(2, 3, *scale.odd, device=scale.device)
            alone = [value.cpu() for value in outputs_and_gradients(model, image, 'fp32')]
            error = relative_error(outputs_and_gradients(
                DistributedDataParallel(model), image, 'fp32'), alone)
        finally:
            torch.distributed.destroy_process_group()
    yield Line('DistributedDataParallel', f'one process, {backend}', f'off by {error:.1e}',
               error <= TOLERANCES['fp32'])


def measures(scale: Scale) -> Iterator[Line]:
    """Both measures of the search: seconds, and values beside the CPU's."""
    topology = Topology.of('seed')
    small = replace(scale.setting, image_size=32, repeats=1)
    here, there = (measure_topology(topology, small, device=device)
                   for device in ('cpu', scale.device))
    for name, summary in here.items():
        error = abs(there[name].mean / summary.mean - 1)
        # smallest eigenvalues of a kernel hold the rounding of all its sums
        yield Line('measures', f'{name}, 32 px', f'off by {error:.1e}', error <= 2e-2)
    seconds = Timing.of(alternate({'whole': lambda: measure_topology(
        topology, scale.setting, device=scale.device)}, scale.rounds)['whole'])
    yield Line('measures', f'both, {scale.setting.repeats} initialisations, '
               f'{scale.setting.image_size} px', f'{seconds.median:.2f} s')


def search(scale: Scale) -> Iterator[Line]:
    """A search by the tool, as a person starts it."""
    environment = dict(os.environ, CUDA_VISIBLE_DEVICES='') if (
        scale.device == 'cpu') else None
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        done = subprocess.run(
            [sys.executable, str(ROOT / 'tools/search_topology.py'),
             str(ROOT / 'configs/search_topology_demo.py'), '--work-dir', folder,
             '--cfg-options', f'train_cfg.max_iters={scale.search_steps}'],
            capture_output=True, text=True, env=environment)
        seconds = time.perf_counter() - begin
    last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
    yield Line('search', f'{scale.search_steps} steps at 64 px, start included',
               f'{seconds:.0f} s' if not done.returncode else ' '.join(last),
               not done.returncode)


def parts_of(scale: Scale) -> Iterator[Tuple[str, Callable[[], Iterator[Line]]]]:
    """Name of each part, and what runs it; what is wanted most comes first."""
    (small, large), (many, few) = scale.sizes, scale.batch_sizes
    yield 'against the CPU', lambda: correctness(scale)
    detectors = [f'{name}+detector' for name in scale.networks[0][:2]]
    for precision in PRECISIONS:
        yield f'detectors, {precision}', lambda precision=precision: timed(
            detectors, 'train', large, few, precision, False, True, scale)
    yield 'DistributedDataParallel', lambda: distributed(scale)
    yield 'measures', lambda: measures(scale)
    yield 'search', lambda: search(scale)
    for compiled in (False, True):
        # compilers take minutes: few networks, in the precision of trainings
        for networks in [scale.compiled] if compiled else scale.networks:
            for size, batch_size in ((small, many), (large, few)):
                for precision in ['bf16'] if compiled else list(PRECISIONS):
                    for mode in ('forward', 'train'):
                        case = networks, mode, size, batch_size, precision, compiled
                        yield title_of(Case(networks[0], *case[1:])) + (
                            f', {networks[0]} and its like'), lambda case=case: timed(
                                *case, False, scale)


def main() -> None:
    """Run the parts, print the table."""
    args = parse_args()
    if args.minutes <= 0:
        raise InputError(f'--minutes must be above 0, got {args.minutes:g}')
    if not args.dry_run and get_device() != 'cuda':
        raise InputError('no GPU was found; --dry-run tries every line on the CPU')
    scale = DRY if args.dry_run else ON_CARD
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    where = torch.cuda.get_device_name() if scale.device == 'cuda' else 'CPU, a dry run'
    rates = ', '.join(
        f'{name} {matrix_rate(scale.device, dtype, 64 if args.dry_run else 8192) / 1e12:.3g}'
        for name, dtype in PRECISIONS.items())
    print(f'{where}, torch {torch.__version__}; matrix products: {rates} TFLOP/s')
    begin, lines, missed = time.monotonic(), [], []
    for name, part in parts_of(scale):
        if time.monotonic() - begin > 60 * args.minutes:
            missed.append(name)
            continue
        print(f'{time.monotonic() - begin:4.0f} s  {name}', flush=True)
        try:
            lines += part()
        except torch.OutOfMemoryError:
            lines.append(Line(name, '', 'out of memory'))
        synchronize()
    print_table(where, ['part', 'what', 'result', ''],
                [(*line[:3], '' if line.right else 'WRONG') for line in lines])
    if missed:
        print(f'not reached in {args.minutes:g} minutes: {"; ".join(missed)}')
    if args.out:
        write_json(args.out, dict(machine=where, torch=torch.__version__, rates=rates,
                                  lines=[line._asdict() for line in lines], missed=missed))
    if not all(line.right for line in lines):
        sys.exit(1)


if __name__ == '__main__':
    keep_memory()
    with one_line_errors():
        main()
