"""bfloat16 training on whatever device the model is on."""
from contextlib import contextmanager
from typing import Iterator

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.runner.amp import autocast
from torch import nn


@OPTIM_WRAPPERS.register_module(force=True)
class Bf16OptimWrapper(OptimWrapper):
    """An ``OptimWrapper`` whose forward pass runs under bfloat16 autocast.

    bfloat16 has float32's range, so no loss is scaled and no step skipped. mmengine's
    ``AmpOptimWrapper`` exists for float16: it always carries a CUDA gradient scaler and
    refuses to start on a CPU, where bfloat16 matrix units are just as welcome.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """The context of one training step's forward pass."""
        with super().optim_context(model), autocast(dtype=torch.bfloat16):
            yield
