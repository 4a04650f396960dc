"""The backbones that are compared, and what of them is timed."""
import multiprocessing
import resource
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from typing import Callable, List, NamedTuple

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

import mmasvit  # noqa: F401
from mmasvit.analysis import count_macs, use_explicit_paths
from mmasvit.errors import InputError

DROP_PATH_RATE = 0.2  # the same for all; it skips no arithmetic


def _as_vit(arch: str, **kwargs) -> dict:
    return dict(type='AsViT', arch=arch, **kwargs)


def _swin(dims: int, depths: tuple, **kwargs) -> dict:
    heads = tuple(dims // 32 * 2**i for i in range(4))
    return dict(type='mmdet.SwinTransformer', embed_dims=dims, depths=depths,
                num_heads=heads, **kwargs)


def _convnext(arch: str, **kwargs) -> dict:
    return dict(type='mmpretrain.ConvNeXt', arch=arch, out_indices=(0, 1, 2, 3),
                gap_before_final_norm=False, **kwargs)


# Rows of like size: about 5, 9, and 15 (22 for As-ViT) GMACs at 224 px.
CONTESTANTS = {
    'asvit-small': _as_vit('small'), 'swin-tiny': _swin(96, (2, 2, 6, 2)),
    'convnext-tiny': _convnext('tiny'),
    'asvit-base': _as_vit('base'), 'swin-small': _swin(96, (2, 2, 18, 2)),
    'convnext-small': _convnext('small'),
    'asvit-large': _as_vit('large'), 'swin-base': _swin(128, (2, 2, 18, 2)),
    'convnext-base': _convnext('base'),
}
CHECKPOINTED = '+checkpoint'  # ending of a name: blocks are recomputed
MODES = ('forward', 'train')


class Case(NamedTuple):
    """One thing to measure.

    Attributes:
        name: Of :data:`CONTESTANTS`, with or without :data:`CHECKPOINTED`.
        mode: ``'forward'`` (evaluation, no gradients) or ``'train'`` (forward and
            backward from four dense gradients; no optimizer).
        size: Side of the images in pixels.
        batch_size: Images at a time.
        precision: ``'fp32'``, or ``'bf16'`` for autocast.
        compiled: Whether ``torch.compile`` is applied.
        device: ``'cpu'`` or ``'cuda'``.
    """
    name: str
    mode: str
    size: int
    batch_size: int
    precision: str = 'fp32'
    compiled: bool = False
    device: str = 'cpu'

    @property
    def flops(self) -> float:
        """Operations of the matrix products, a backward pass being two forward ones."""
        return (2 if self.mode == 'forward' else 6) * self.batch_size * backbone_macs(
            self.name, self.size)


def check_names(names: List[str]) -> None:
    """Raise :class:`InputError` for a network that is not known."""
    for name in names:
        if name.removesuffix(CHECKPOINTED) not in CONTESTANTS:
            raise InputError(f'unknown network {name}; known are {", ".join(CONTESTANTS)}, '
                             f'each with or without {CHECKPOINTED}')


def build(name: str, device: str = 'cpu') -> nn.Module:
    """Build a network at a fixed random initialisation."""
    torch.manual_seed(0)
    cfg = dict(CONTESTANTS[name.removesuffix(CHECKPOINTED)], drop_path_rate=DROP_PATH_RATE)
    if name.endswith(CHECKPOINTED):
        cfg['with_cp'] = True
    return MODELS.build(cfg).to(device)


_macs = {}


def backbone_macs(name: str, size: int) -> int:
    """Multiply-accumulates of one image, padding that is computed with included."""
    name = name.removesuffix(CHECKPOINTED)
    if (name, size) not in _macs:
        # no number is needed to count: tensors without storage
        model = build(name).to('meta')
        model.eval()  # mmdet's Swin does not return itself
        use_explicit_paths(model)
        image = torch.empty(1, 3, size, size, device='meta')
        _macs[name, size] = count_macs(lambda: model(image))
    return _macs[name, size]


def make_step(case: Case) -> Callable[[], object]:
    """What is timed, ready to be called again and again."""
    model = build(case.name, case.device)
    model.train(case.mode == 'train')
    run = torch.compile(model) if case.compiled else model
    images = torch.rand(case.batch_size, 3, case.size, case.size, device=case.device)
    gradients: List[Tensor] = []

    def precision():
        if case.precision == 'fp32':
            return nullcontext()
        return torch.autocast(case.device, torch.bfloat16)

    def forward():
        with torch.no_grad(), precision():
            return run(images)

    def train():
        with precision():
            outs = run(images)
        if not gradients:
            gradients.extend(torch.randn_like(out) for out in outs)
        torch.autograd.backward(outs, gradients)
        model.zero_grad(set_to_none=True)

    return forward if case.mode == 'forward' else train


def _peak_of_process(case: Case) -> int:
    """Bytes that one step adds to a process, at their highest."""
    if case.device == 'cuda':
        step = make_step(case)
        step()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    torch.set_num_threads(1)
    small = make_step(case._replace(size=64, batch_size=1))
    small()  # loads what is loaded at the first use
    step = make_step(case)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step()
    return 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


def peak_memory(case: Case) -> int:
    """Peak memory in bytes of one step beyond the network, in a process of its own.

    On the CPU it is the growth of the resident set; buffers that earlier steps left would
    hide what a step needs, hence the process.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as pool:
        return pool.submit(_peak_of_process, case).result()
