"""As-ViT in other number formats, and with LoRA.

    python benchmarks/formats.py
    python benchmarks/formats.py --arch seed --sizes 64 224x160

Half precision and bfloat16 of the whole model beside float32: root mean square of the
difference of all maps over that of the maps, the worst map. Dynamic int8 quantisation of
the linear layers: size, difference, and milliseconds in turn with float32. LoRA of rank 4
on every linear layer: parameters that train, and the milliseconds of a step.
"""
import argparse
import copy
import io
import logging
import time
import warnings
from typing import Iterable, Tuple

import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor, nn

from mmasvit import AsViT
from mmasvit.benchmarking import Timing, alternate
from mmasvit.errors import one_line_errors
from mmasvit.memory import keep_memory
from mmasvit.tables import print_table

LORA_LAYERS = ('qkv', 'proj', 'reduction', r'.*ffn\.layers.*')


def _size(text: str) -> Tuple[int, int]:
    sides = [int(side) for side in text.split('x')]
    return tuple((sides * 2)[:2])


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--arch', default='small')
    parser.add_argument('--sizes', nargs='+', type=_size, metavar='H[xW]',
                        default=[(64, 64), (224, 224), (511, 309), (1024, 1024)])
    parser.add_argument('--rounds', type=int, default=5)
    return parser.parse_args()


def error(ours: Iterable[Tensor], theirs: Iterable[Tensor]) -> float:
    """Relative root mean square difference of the worst map."""
    return max(((a.float() - b).square().mean() / b.square().mean()).sqrt().item()
               for a, b in zip(ours, theirs))


def megabytes(model: nn.Module) -> float:
    """Size of a model's state dict as a file."""
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    return file.tell() / 2**20


def lora_step(arch: str) -> Tuple[int, int, float]:
    """Parameters, those that train, and seconds of a step on 2 images of 224 px."""
    init_default_scope('mmpretrain')
    model = MODELS.build(ConfigDict(
        type='mmpretrain.LoRAModel', module=dict(type='AsViT', arch=arch), alpha=4,
        rank=4, targets=[dict(type=name) for name in LORA_LAYERS]))
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer, images = torch.optim.AdamW(trained, lr=1e-3), torch.randn(2, 3, 224, 224)
    start = time.perf_counter()
    sum(level.square().mean() for level in model(images)).backward()
    optimizer.step()
    return (sum(p.numel() for p in model.parameters()), sum(p.numel() for p in trained),
            time.perf_counter() - start)


def main() -> None:
    """Measure and print."""
    args = parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter('ignore')
    torch.manual_seed(0)
    import mmpretrain.models  # noqa: F401
    model = AsViT(args.arch)
    model.init_weights()
    model.eval()
    formats = {str(dtype).split('.')[1]: copy.deepcopy(model).to(dtype)
               for dtype in (torch.half, torch.bfloat16)}
    formats['int8 linear layers'] = torch.ao.quantization.quantize_dynamic(
        model, {nn.Linear}, torch.qint8)
    rows = []
    with torch.no_grad():
        for size in args.sizes:
            images = torch.randn(1, 3, *size)
            exact = model(images)
            row = [f'{size[0]} x {size[1]}']
            for other in formats.values():
                dtype = other.patch_embed.projection.weight.dtype
                row.append(f'{error(other(images.to(dtype)), exact):.1e}')
            rows.append(row)
        print_table('relative difference from float32', ['images', *formats], rows)
        images = torch.randn(4, 3, 224, 224)
        small = formats['int8 linear layers']
        seconds = {name: Timing.of(times) for name, times in alternate(
            {'float32': lambda: model(images), 'int8': lambda: small(images)},
            args.rounds).items()}
    for name, one in (('float32', model), ('int8', small)):
        print(f'{name}: {megabytes(one):.1f} MiB, {1e3 * seconds[name].median:.0f} ms '
              'for 4 images of 224 px')
    whole, trained, step = lora_step(args.arch)
    print(f'LoRA: {trained:,} of {whole:,} parameters train; a step of 2 images '
          f'{1e3 * step:.0f} ms')


if __name__ == '__main__':
    keep_memory()
    with one_line_errors():
        main()
