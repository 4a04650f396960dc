"""Pre-training without labels, and where what it has learnt goes."""
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

import mmasvit
from helpers import ROOT
from mmasvit.errors import InputError
from mmasvit.models import MaskedAsViT

ARCH = '8,4,3,1|4,2,3,1|4,1,4,1|4,1,4,1|16,16'


def build(**options):
    torch.manual_seed(0)
    backbone = MaskedAsViT(arch=ARCH, pretrain_img_size=64, **options)
    backbone.init_weights()
    return backbone


def test_hidden_pixels_change_nothing():
    """Nor do those of neighbours see them, whose kernels reach into hidden tokens."""
    backbone = build().eval()
    mask = torch.zeros(2, 16, 24)
    mask[0, 4:8, 4:12], mask[1, :8] = 1, 1
    x = torch.randn(2, 3, 64, 96)
    hidden = mask.repeat_interleave(4, 1).repeat_interleave(4, 2)[:, None]
    with torch.no_grad():
        other = backbone(torch.where(hidden > 0, torch.randn_like(x), x), mask)
        for first, second in zip(backbone(x, mask), other):
            assert torch.equal(first, second)
        assert not torch.equal(backbone(x, mask)[-1], backbone(x)[-1])
        shown = backbone(torch.where(hidden > 0, x, torch.randn_like(x)), mask)
        assert not torch.equal(shown[-1], other[-1])


def test_nothing_hidden_is_the_plain_backbone():
    backbone = build().eval()
    plain = mmasvit.AsViT(ARCH, pretrain_img_size=64).eval()
    plain.load_state_dict(backbone.state_dict())  # strict: the token is left out
    x = torch.randn(2, 3, 75, 64)
    with torch.no_grad():
        for way in (backbone(x), backbone(x, torch.zeros(2, 19, 16))):
            for ours, theirs in zip(way, plain(x)):
                assert torch.equal(ours, theirs)


@pytest.mark.parametrize('shape', [(2, 15, 16), (1, 16, 16), (2, 16 * 16)])
def test_masks_of_another_shape(shape):
    with pytest.raises(InputError, match=r'must be of shape \(2, 16, 16\)'):
        build()(torch.randn(2, 3, 64, 64), torch.zeros(shape))


def test_shipped_config_learns_and_its_backbone_goes_into_others(tmp_path):
    """Some steps of SimMIM; a classifier and a detector's backbone start from it."""
    cfg = Config.fromfile(ROOT / 'configs/simmim_asvit_imagenette.py')
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    images = torch.randn(8, 3, 4, 4).repeat_interleave(32, 2).repeat_interleave(32, 3)
    mask = (torch.rand(8, 8, 8) < .6).float()
    mask = mask.repeat_interleave(4, 1).repeat_interleave(4, 2)
    samples = [DataSample() for _ in range(8)]
    for sample, own in zip(samples, mask):
        sample.mask = own
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=1e-3), []
    for _ in range(12):
        loss = model.loss(images, samples)['loss']
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None for p in model.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < .9 * losses[0]

    path = tmp_path / 'simmim.pth'
    torch.save(dict(state_dict=model.state_dict()), path)
    classifier = Config.fromfile(ROOT / 'configs/asvit_imagenette.py')
    assert classifier.model.backbone.arch == cfg.model.backbone.arch
    init = dict(type='Pretrained', checkpoint=str(path), prefix='backbone.')
    for out_indices in ((3, ), (0, 1, 2, 3)):  # as for a classifier, a detector
        options = dict(classifier.model.backbone, out_indices=out_indices, init_cfg=init)
        backbone = MODELS.build(options)
        backbone.init_weights()
        for name, weight in backbone.state_dict().items():
            if not name.startswith('norm') or name.startswith('norm3'):
                assert torch.equal(weight, model.backbone.state_dict()[name]), name
