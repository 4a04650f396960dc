"""The networks that are compared, and what of them is timed."""
import multiprocessing
import resource
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from functools import lru_cache, partial
from typing import Callable, ContextManager, List, NamedTuple

import torch
from mmengine.registry import MODELS
from common.detectors import build_detector, detector_inputs, run_detector
from torch import Tensor, nn

import mmasvit  # noqa: F401
from mmasvit.analysis import count_macs, use_explicit_paths
from mmasvit.engine.optimizers import bf16_context
from mmasvit.errors import InputError
from mmasvit.memory import keep_memory

DROP_PATH_RATE = 0.2  # the same for all; it skips no arithmetic


def _as_vit(arch: str) -> dict:
    return dict(type='AsViT', arch=arch)


def _swin(dims: int, depths: tuple) -> dict:
    heads = tuple(dims // 32 * 2**i for i in range(4))
    return dict(type='mmdet.SwinTransformer', embed_dims=dims, depths=depths,
                num_heads=heads)


def _convnext(arch: str) -> dict:
    return dict(type='mmpretrain.ConvNeXt', arch=arch, out_indices=(0, 1, 2, 3),
                gap_before_final_norm=False)


# Rows of like size: about 5, 9, and 15 (22 for As-ViT) GMACs at 224 px.
CONTESTANTS = {
    'asvit-small': _as_vit('small'), 'swin-tiny': _swin(96, (2, 2, 6, 2)),
    'convnext-tiny': _convnext('tiny'),
    'asvit-base': _as_vit('base'), 'swin-small': _swin(96, (2, 2, 18, 2)),
    'convnext-small': _convnext('small'),
    'asvit-large': _as_vit('large'), 'swin-base': _swin(128, (2, 2, 18, 2)),
    'convnext-base': _convnext('base'),
}
# Endings of a name: blocks are recomputed; the backbone within Cascade Mask R-CNN.
CHECKPOINT, DETECTOR = '+checkpoint', '+detector'
MODES = ('forward', 'train')


class Case(NamedTuple):
    """One thing to measure.

    Attributes:
        name: Of :data:`CONTESTANTS`, with or without the endings.
        mode: ``'forward'`` (evaluation, no gradients) or ``'train'`` (forward and
            backward, of a backbone from four dense gradients; no optimizer).
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
    def work(self) -> float:
        """Operations of a backbone's matrix products, a backward pass being two forward
        ones; of a detector, whose heads do what the proposals ask for, images."""
        if is_detector(self.name):
            return self.batch_size
        return (2 if self.mode == 'forward' else 6) * self.batch_size * backbone_macs(
            self.name, self.size)


def is_detector(name: str) -> bool:
    """Whether a network is a whole detector."""
    return DETECTOR in name


def check_names(names: List[str]) -> None:
    """Raise :class:`InputError` for a network that is not known."""
    for name in names:
        if _backbone(name) not in CONTESTANTS:
            raise InputError(f'unknown network {name}; known are {", ".join(CONTESTANTS)}, '
                             f'each with or without {CHECKPOINT} and {DETECTOR}')
    if len({is_detector(name) for name in names}) > 1:
        raise InputError(f'either all networks are whole ones ({DETECTOR}) or none is')


def _backbone(name: str) -> str:
    return name.replace(CHECKPOINT, '', 1).replace(DETECTOR, '', 1)


def build(name: str, device: str = 'cpu') -> nn.Module:
    """Build a network at a fixed random initialisation."""
    torch.manual_seed(0)
    cfg = dict(CONTESTANTS[_backbone(name)], drop_path_rate=DROP_PATH_RATE)
    if CHECKPOINT in name:
        cfg['with_cp'] = True
    return (build_detector(cfg) if is_detector(name) else MODELS.build(cfg)).to(device)


@lru_cache(maxsize=None)
def backbone_macs(name: str, size: int) -> int:
    """Multiply-accumulates of one image, padding that is computed with included."""
    # no number is needed to count: tensors without storage
    model = build(_backbone(name)).to('meta')
    model.eval()  # mmdet's Swin does not return itself
    use_explicit_paths(model)
    image = torch.empty(1, 3, size, size, device='meta')
    return count_macs(lambda: model(image))


def make_step(case: Case) -> Callable[[], object]:
    """What is timed, ready to be called again and again."""
    model = build(case.name, case.device)
    train = case.mode == 'train'
    model.train(train)
    if is_detector(case.name):
        data = detector_inputs(case.batch_size, case.size)
        if case.compiled:
            model.backbone.compile()  # the heads' shapes follow the proposals
        run = partial(run_detector, model, data, train)
    else:
        images = torch.rand(case.batch_size, 3, case.size, case.size, device=case.device)
        run = partial(torch.compile(model) if case.compiled else model, images)
    precision: Callable[[], ContextManager] = nullcontext
    if case.precision == 'bf16':  # of a detector, coordinates stay in float32
        precision = partial(bf16_context, model) if is_detector(case.name) else partial(
            torch.autocast, case.device, torch.bfloat16)
    gradients: List[Tensor] = []

    def step():
        with torch.set_grad_enabled(train), precision():
            outs = run()
        if not train:
            return
        if not gradients:
            gradients.extend(torch.randn_like(out) for out in outs)
        torch.autograd.backward(outs, gradients)
        model.zero_grad(set_to_none=True)

    return step


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
    keep_memory()
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
    hide what a step needs, hence the process. It is forked from a small one: a process
    that this one starts inherits the peak of this one's resident set.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context('forkserver')) as pool:
        return pool.submit(_peak_of_process, case).result()
