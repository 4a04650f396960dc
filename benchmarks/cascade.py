"""What a cascade saves in time, beside what its multiply-accumulates say.

    python benchmarks/cascade.py                       # short: random weights, noise
    python benchmarks/cascade.py CONFIG CHECKPOINT --budgets 0.02 0.04 0.08 --images 512

Images are predicted in batches under several budgets and with every image going to the
last exit, in turn in every round. Thresholds are those of the released rule whose mean
cost on these images comes closest to the budget. Only the ratios within one run count.
"""
import argparse
from typing import Dict, List, NamedTuple, Optional

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import BaseDataElement

from mmasvit import analysis
from mmasvit.adaptive import DVT, choose_exits, solve_thresholds
from mmasvit.adaptive.measure import check_kind, exit_macs, held_out_loader
from mmasvit.adaptive.thresholds import ALWAYS, NEVER
from mmasvit.benchmarking import Timing, alternate
from mmasvit.engine.launch import load_config
from mmasvit.errors import InputError, one_line_errors
from mmasvit.memory import keep_memory
from mmasvit.report import inference
from mmasvit.report.quiet import quiet

CONFIG = 'configs/dvt_asvit_imagenette.py'
NOISE_SIZE = 128  # pixels of images where no checkpoint is given


class Way(NamedTuple):
    """A way to predict.

    Attributes:
        thresholds: Of each exit.
        macs: Mean cost of an image by them.
        shares: Share of images that leave at each exit.
    """
    thresholds: List[float]
    macs: float
    shares: List[float]


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', nargs='?', default=CONFIG, help='of a DVT '
                        '(default: %(default)s)')
    parser.add_argument('checkpoint', nargs='?', help='default: random weights, on noise')
    parser.add_argument('--budgets', type=float, nargs='+', metavar='GMACS',
                        help='default: three between the first exit and the last')
    parser.add_argument('--images', type=int, default=64, metavar='N',
                        help='held-out images, drawn evenly (default: %(default)s)')
    parser.add_argument('--batch-size', type=int, default=32, metavar='N')
    parser.add_argument('--rounds', type=int, default=3, metavar='N')
    return parser.parse_args()


def load(cfg: Config, checkpoint: Optional[str], images: int, batch_size: int) -> tuple:
    """The model, and batches of images ready for it."""
    init_default_scope(cfg.default_scope)
    if checkpoint is None:
        torch.manual_seed(0)
        with quiet():
            model = MODELS.build(cfg.model).eval()
        model.to('cuda' if torch.cuda.is_available() else 'cpu')
        noise = torch.randn(images, 3, NOISE_SIZE, NOISE_SIZE)
        return model, list(noise.to(model.exit_thresholds.device).split(batch_size))
    name = held_out_loader(cfg)
    model = inference.load_model(cfg, checkpoint, name)
    data = inference.build_loader(cfg[name]).dataset
    places = np.linspace(0, len(data) - 1, min(images, len(data))).astype(int)
    picked = [data[int(place)]['inputs'] for place in places]
    if len({one.shape for one in picked}) > 1:
        raise InputError(f'the images of {name} differ in size')
    batches = [picked[i:i + batch_size] for i in range(0, len(picked), batch_size)]
    return model, [model.data_preprocessor(dict(inputs=batch))['inputs']
                   for batch in batches]


@torch.no_grad()
def predict(model: DVT, batches: List[torch.Tensor], thresholds: List[float]
            ) -> List[BaseDataElement]:
    """Predict all images by some thresholds."""
    model.test_cfg = dict(thresholds=thresholds)
    return [sample for batch in batches for sample in model.predict(batch)]


def plan(confidences: np.ndarray, costs: np.ndarray, budgets: List[float]
         ) -> Dict[str, Way]:
    """A way for each budget in GMACs, and that of all images to the last exit."""
    def way(thresholds: np.ndarray) -> Way:
        shares = np.bincount(choose_exits(confidences, thresholds),
                             minlength=len(costs)) / len(confidences)
        return Way(list(thresholds), float(shares @ costs), shares.tolist())

    found = [way(solve_thresholds(confidences, q)) for q in np.geomspace(.02, 50, 200)]
    ways = {'all to the last': way(np.array([NEVER] * (len(costs) - 1) + [ALWAYS]))}
    for budget in budgets:
        ways[f'{budget:.4g} GMACs'] = min(
            found, key=lambda one: abs(one.macs - budget * 1e9))
    return ways


def main() -> None:
    """Measure and print."""
    args = parse_args()
    cfg = load_config(args.config)
    check_kind(cfg, DVT)
    cfg.model.setdefault('data_preprocessor', cfg.get('data_preprocessor'))
    model, batches = load(cfg, args.checkpoint, args.images, args.batch_size)
    with quiet():
        counted = analysis.build_to_count(cfg)
    costs = np.array(exit_macs(counted, tuple(batches[0].shape[-2:])), float)
    with torch.no_grad():
        confidences = torch.cat([torch.stack([
            model(batch, token_stride=stride).softmax(1).max(1)[0]
            for stride in model.token_strides], 1) for batch in batches]).cpu().numpy()
    budgets = args.budgets or (np.geomspace(costs[0], costs[-1], 5)[1:-1] / 1e9).tolist()
    ways = plan(confidences, costs, budgets)
    seconds = alternate({name: lambda way=way: predict(model, batches, way.thresholds)
                         for name, way in ways.items()}, args.rounds)
    images = len(confidences)
    print(f'{images} images in batches of {args.batch_size}, '
          f'{inference.device_name(model)}, {args.rounds} rounds; how many times as fast '
          'as all to the last, median over rounds:')
    print(f'{"":>16} {"GMACs":>9} {"images/s":>9} {"measured":>9} {"by MACs":>8}  shares')
    base = list(ways)[0]
    for name, way in ways.items():
        ratio = np.median(np.divide(seconds[base], seconds[name]))
        print(f'{name:>16} {way.macs / 1e9:9.4f} '
              f'{images / Timing.of(seconds[name]).median:9.1f} {ratio:9.2f} '
              f'{ways[base].macs / way.macs:8.2f}  '
              + ' '.join(f'{share:6.1%}' for share in way.shares))


if __name__ == '__main__':
    keep_memory()
    with one_line_errors():
        main()
