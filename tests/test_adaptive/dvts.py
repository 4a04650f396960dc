"""A small cascade, and what it computes written out once more."""
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS, init_default_scope
from revits import NORMALISATION, STRIDES

ARCH = '4,2,2,2|2,1,3,1|2,1,2,2|2,1,2,1|16,10'  # depths, expansions and heads differ


def config(strides=STRIDES, arch=ARCH, **options):
    """Config of a cascade of four classes on images of 64 px."""
    backbone = dict(dict(type='AsViT', arch=arch, out_indices=(3, ), pretrain_img_size=64,
                         resample_outputs=False), **options.pop('backbone', {}))
    return dict(
        dict(type='DVT', exits=[dict(token_stride=stride) for stride in strides],
             data_preprocessor=dict(num_classes=4, **NORMALISATION), backbone=backbone,
             neck=dict(type='GlobalAveragePooling'),
             head=dict(type='LinearClsHead', num_classes=4, in_channels=80)), **options)


def build(seed=0, noise=0.15, **options):
    """An initialised cascade in evaluation mode, all of its parts at work.

    Biases and weights get noise: what starts at zero or small would show no fault.
    """
    init_default_scope('mmpretrain')
    torch.manual_seed(seed)
    dvt = MODELS.build(config(**options))
    dvt.init_weights()
    with torch.no_grad():
        for parameter in dvt.parameters():
            parameter += noise * torch.randn(parameter.shape)
    return dvt.eval()


def upsampling(down, up):
    """The matrix of one axis, from its definition: each twice, then means of pieces."""
    twice = torch.eye(up).repeat_interleave(2, 0)
    rows = [twice[i * 2 * up // down:-(-(i + 1) * 2 * up // down)].mean(0)
            for i in range(down)]
    return torch.stack(rows)


def relations_by_matrix(dvt, place, stage, upstream, window):
    """Terms of each block ``(N, windows, heads, tokens, tokens)``, by ``U A U^T``."""
    reuse = dvt.networks[place].backbone.reuses[str(dvt.token_strides[place])][stage]
    first, _, second = reuse.relations
    logits = upstream.logits[stage]
    n, windows, maps, h, w, _, _ = logits.shape
    flat = logits.reshape(n, windows, maps, h * w, h * w)
    mixed = torch.einsum('nwmqk,om->nwoqk', flat, first.weight[:, :, 0, 0])
    mixed = F.gelu(mixed + first.bias[:, None, None])
    mixed = torch.einsum('nwmqk,om->nwoqk', mixed, second.weight[:, :, 0, 0])
    mixed = mixed + second.bias[:, None, None]
    u = torch.kron(upsampling(window[0], h), upsampling(window[1], w))
    heads = dvt.networks[place].backbone.topology.heads[stage]
    return (u @ mixed @ u.T).split(heads, dim=2)
