"""What times of networks depend on beside the networks."""
import platform
import re
from pathlib import Path
from typing import Callable, NamedTuple, Tuple

import torch
from torch import Tensor, nn


class Conditions(NamedTuple):
    """What times depend on beside the network.

    Attributes:
        device: Name of the hardware.
        type: ``'cpu'`` or ``'cuda'``.
        threads: Threads of torch on a CPU; 0 on a GPU.
        shape: Height and width of the one image in pixels.
        pretrain_img_size: Side in pixels that the splits refer to.
        dtype: Precision of the matrix products: below float32 by autocast.
        compiled: Whether ``torch.compile`` is applied.
        torch: Its version.
    """
    device: str
    type: str
    threads: int
    shape: Tuple[int, int]
    pretrain_img_size: int
    dtype: str
    compiled: bool
    torch: str

    @classmethod
    def here(cls, device: str, shape: Tuple[int, int], pretrain_img_size: int,
             dtype: str, compiled: bool) -> 'Conditions':
        """Those of this process on one of torch's devices."""
        kind = torch.device(device).type
        return cls(device_name(device), kind,
                   torch.get_num_threads() if kind == 'cpu' else 0, tuple(shape),
                   pretrain_img_size, dtype, compiled, str(torch.__version__))

    def step(self, module: nn.Module, *inputs: Tensor) -> Callable[[], object]:
        """A call of a network in evaluation mode, under these conditions."""
        module.eval()  # mmdet's Swin does not return itself
        run = torch.compile(module.to(self.type)) if self.compiled else module.to(self.type)
        inputs = [value.to(self.type) for value in inputs]
        low = self.dtype != 'float32'

        def call() -> object:
            with torch.no_grad(), torch.autocast(
                    self.type, getattr(torch, self.dtype) if low else None, enabled=low):
                return run(*inputs)

        return call


def device_name(device: str = 'cpu') -> str:
    """The hardware's own name."""
    if torch.device(device).type == 'cuda':
        return torch.cuda.get_device_name(device)
    try:
        found = re.search(r'^model name\s*: (.*)$', Path('/proc/cpuinfo').read_text(),
                          flags=re.M)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()
