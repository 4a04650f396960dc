"""Run by two processes: loss and gradients of a sharded backbone beside a plain one's."""
import sys
from functools import partial

import torch
import torch.distributed as dist
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.fsdp import fully_shard
from torch.distributed.fsdp.wrap import (size_based_auto_wrap_policy,
                                         transformer_auto_wrap_policy)
from torch.distributed.tensor import DTensor

from mmasvit import AsViT
from mmasvit.models.stage import AsViTBlock

ARCH = '4,2,3|4,1,2|3,1,2|2,1,2|8,16'


def by_size(backbone):
    """FSDP around whatever has 500 weights."""
    return FSDP(backbone, device_id=torch.device('cpu'), use_orig_params=True,
                auto_wrap_policy=partial(size_based_auto_wrap_policy, min_num_params=500))


def by_block(backbone):
    """FSDP around each block."""
    return FSDP(backbone, device_id=torch.device('cpu'), use_orig_params=True,
                auto_wrap_policy=partial(transformer_auto_wrap_policy,
                                         transformer_layer_cls={AsViTBlock}))


def per_layer(backbone):
    """FSDP2 of each layer that has weights, and of what is left."""
    for module in list(backbone.modules()):
        if isinstance(module, (torch.nn.Linear, torch.nn.LayerNorm)):
            fully_shard(module)
    return fully_shard(backbone)


def full_gradients(model):
    """Whole gradients by their names in the plain backbone."""
    if isinstance(model, FSDP):
        with FSDP.summon_full_params(model, with_grads=True):
            return {name.replace('_fsdp_wrapped_module.', ''): p.grad.clone()
                    for name, p in model.named_parameters()}
    return {name: p.grad.full_tensor() if isinstance(p.grad, DTensor) else p.grad
            for name, p in model.named_parameters()}


def loss_of(model, images):
    return sum(level.pow(2).mean() for level in model(images))


def main():
    dist.init_process_group('gloo')
    torch.manual_seed(0)
    weights = AsViT(ARCH, pretrain_img_size=64).state_dict()
    images = torch.randn(4, 3, 96, 80)
    plain = AsViT(ARCH, pretrain_img_size=64)
    plain.load_state_dict(weights)
    loss = loss_of(plain, images)
    loss.backward()
    own = images.chunk(2)[dist.get_rank()]
    for shard in (by_size, by_block, per_layer):
        backbone = AsViT(ARCH, pretrain_img_size=64)
        backbone.load_state_dict(weights)
        model = shard(backbone)
        part = loss_of(model, own)
        part.backward()
        mean = part.detach().clone()
        dist.all_reduce(mean)
        assert abs(mean / 2 - loss) < 1e-5 * loss, (shard.__name__, mean / 2, loss)
        gradients = full_gradients(model)
        for name, p in plain.named_parameters():
            error = (gradients[name] - p.grad).abs().max()
            assert error <= 1e-4 * p.grad.abs().max() + 1e-7, (shard.__name__, name, error)
        if dist.get_rank() == 0:
            print(shard.__name__, 'agrees', flush=True)
    dist.barrier()
    sys.stdout.flush()
    dist.destroy_process_group()


if __name__ == '__main__':
    main()
