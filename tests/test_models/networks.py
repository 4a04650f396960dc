"""Small backbones, and how two of them are compared."""
import pytest
import torch

from mmasvit import AsViT

# Every part of the design within 60,000 weights: several splits and depths, odd and
# even kernels, heads that leave a channel over.
TINY = '7,4,3,2|2,2,2,1|4,2,3,3|3,1,2,1|16,10'
SIZES = [(224, 224), (256, 256), (256, 309), (511, 511), (112, 137)]
LARGE = pytest.param((1024, 1024), marks=pytest.mark.slow)


def build(arch=TINY, **options):
    """An initialised backbone, in training mode."""
    torch.manual_seed(1)
    backbone = AsViT(arch, **options)
    backbone.init_weights()
    return backbone


def twin(backbone, **options):
    """The same weights under other options."""
    other = AsViT(backbone.topology, **options)
    other.load_state_dict(backbone.state_dict())
    return other.train(backbone.training)


def loss_of(outs):
    """A number to which every element of every map contributes its own share."""
    generator = torch.Generator().manual_seed(2)
    return sum((out * torch.randn(out.shape, generator=generator)).mean()
               for out in outs)


def gradients(backbone, x):
    """Gradient of each parameter by its name, and the maps."""
    backbone.zero_grad()
    outs = backbone(x)
    loss_of(outs).backward()
    return {name: p.grad.clone() for name, p in backbone.named_parameters()}, outs


def assert_same(first, second, rtol=1e-4):
    """Outputs to 1e-5 and gradients to ``rtol`` of the largest of each tensor."""
    for ours, theirs in zip(first[1], second[1]):
        assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max()
    assert first[0].keys() == second[0].keys()
    largest = max(grad.abs().max() for grad in second[0].values())
    for name, theirs in second[0].items():
        # some sums cancel to nothing: those of gradients as large as others are noise
        bound = max(theirs.abs().max(), 1e-3 * largest)
        assert (first[0][name] - theirs).abs().max() < rtol * bound, name
