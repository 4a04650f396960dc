"""Is a search by BatchNorm fair to operators that have no BatchNorm?

    python benchmarks/bn_fairness.py                        # minutes: generated stripes
    python benchmarks/bn_fairness.py --data cifar10.npz --steps 1200

Six layers choose among a convolution, a skip connection and a pooling. Supernets are
trained twice, BatchNorms alone: with a BatchNorm on the convolutions, as such spaces have
it, and with one on every operator. The operator of the largest mean ``|gamma|`` is chosen
in each layer; one without a BatchNorm has 0.
"""
import argparse
from typing import List, Tuple

import torch
import torch.nn.functional as F
from common.small_space import DARTS_LIKE, SmallSupernet, gratings, train
from torch import Tensor

from mmasvit.datasets.npz import read_npz
from mmasvit.errors import one_line_errors
from mmasvit.memory import keep_memory
from mmasvit.tables import print_table

NORMED = {'convolutions alone': ('conv', ), 'every operator': tuple(DARTS_LIKE)}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seeds', type=int, default=3, metavar='N')
    parser.add_argument('--steps', type=int, default=600, metavar='N')
    parser.add_argument('--data', metavar='FILE.npz', help='labelled images of even '
                        'size, seen at half of it; default: stripes of four directions')
    return parser.parse_args()


def load(path: str) -> Tuple[Tensor, Tensor]:
    """Images ``(n, 3, H / 2, W / 2)``, normalised by channel, and labels."""
    images, labels = read_npz(path)
    images = F.avg_pool2d(torch.from_numpy(images).permute(0, 3, 1, 2).float(), 2)
    std, mean = torch.std_mean(images, dim=(0, 2, 3), keepdim=True)
    return (images - mean) / std, torch.from_numpy(labels).long()


def chosen(images: Tensor, labels: Tensor, normed: Tuple[str, ...], steps: int,
           seed: int) -> Tuple[List[str], float]:
    """The operators that gamma prefers, by layer, and the supernet's last loss."""
    torch.manual_seed(seed)
    supernet = SmallSupernet(normed=normed, residual=True, channels=32,
                             num_classes=int(labels.max()) + 1, seed=seed)
    loss = train(supernet, images, labels, steps)
    names = list(DARTS_LIKE)
    return [names[max(range(len(names)), key=scores.__getitem__)]
            for scores in supernet.scores().values()], loss


def main() -> None:
    args = parse_args()
    torch.set_num_threads(1)
    given = load(args.data) if args.data else None
    rows, shares = [], {name: [] for name in NORMED}
    for seed in range(args.seeds):
        images, labels = given or gratings(2048, num_classes=4, noise=0.3, seed=seed)
        for name, normed in NORMED.items():
            operators, loss = chosen(images, labels, normed, args.steps, seed)
            shares[name] += [operator == 'conv' for operator in operators]
            rows.append([name, str(seed), ' '.join(operators), f'{loss:.3f}'])
    print_table('operators chosen by mean |gamma|',
                ['BatchNorm on', 'seed', 'layers 1 to 6', 'loss'], rows)
    for name, convs in shares.items():
        print(f'BatchNorm on {name}: {100 * sum(convs) / len(convs):.0f} % convolutions')


if __name__ == '__main__':
    keep_memory()
    with one_line_errors():
        main()
