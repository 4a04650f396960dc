"""Agreement with numbers that the authors' released code computed in float64."""
import numpy as np
import pytest
import torch
from mmpretrain.models import VisionTransformerClsHead

from mmasvit import AsViT
from mmasvit.models.reference import convert_head_state_dict, convert_state_dict

GOLDEN = ('found_topology_c8', 'uneven_heads_c9', 'mixed_kernels_c16')


@pytest.fixture(scope='module', params=GOLDEN)
def golden(request, golden_path):
    with np.load(golden_path(request.param)) as arrays:
        return dict(arrays)


@pytest.fixture(scope='module')
def released(golden):
    """The weights under the released code's names."""
    return {name[len('state/'):]: torch.from_numpy(array)
            for name, array in golden.items() if name.startswith('state/')}


def build(golden, released, **options):
    backbone = AsViT(str(golden['genotype']), use_abs_pos_embed=False,
                     pretrain_img_size=int(golden['image_size']), **options)
    backbone.load_state_dict(convert_state_dict(released), strict=True)
    return backbone.eval()


def relative_error(ours, golden):
    """Largest difference in units of the largest golden value."""
    golden = torch.from_numpy(golden)
    assert ours.shape == golden.shape
    return float((ours.double() - golden).abs().max() / golden.abs().max())


@pytest.mark.parametrize('attn_impl', ['fused', 'explicit'])
@pytest.mark.parametrize('dtype, tolerance', [(torch.float32, 1e-5),
                                              (torch.float64, 1e-11)], ids=str)
@torch.no_grad()
def test_network_gives_golden_numbers(golden, released, attn_impl, dtype, tolerance):
    x = torch.from_numpy(golden['input']).to(dtype)
    bare = build(golden, released, output_norm=False, attn_impl=attn_impl).to(dtype)
    stages = bare(x)
    for number, stage in enumerate(stages, 1):
        assert relative_error(stage, golden[f'stage{number}']) < tolerance
    pooled = stages[-1].mean(dim=(2, 3))
    assert relative_error(pooled, golden['pooled_before_norm']) < tolerance

    backbone = build(golden, released, out_indices=(3, ), attn_impl=attn_impl).to(dtype)
    pooled = backbone(x)[-1].mean(dim=(2, 3))
    assert relative_error(pooled, golden['pooled_after_norm']) < tolerance
    width = pooled.shape[1]
    head = VisionTransformerClsHead(10, width, hidden_dim=width).to(dtype)
    head.load_state_dict(convert_head_state_dict(released), strict=True)
    assert relative_error(head((pooled, )), golden['logits']) < tolerance


def test_every_weight_is_used_once(golden, released):
    body, head = convert_state_dict(released), convert_head_state_dict(released)
    assert len(body) + len(head) == len(released)
    assert len(head) == 4
    assert not set(body) & set(head)
    own = AsViT(str(golden['genotype']), out_indices=(3, ),
                use_abs_pos_embed=False).state_dict()
    assert set(own) == set(body)


def test_a_missing_or_strange_weight_is_noticed(golden, released):
    converted = convert_state_dict(released)
    backbone = AsViT(str(golden['genotype']), use_abs_pos_embed=False)
    strange = dict(converted, **{'stages.0.blocks.0.attn.bias': torch.zeros(1)})
    with pytest.raises(RuntimeError, match='stages.0.blocks.0.attn.bias'):
        backbone.load_state_dict(strange)
    del converted['stages.2.downsample.reduction.weight']
    with pytest.raises(RuntimeError, match='stages.2.downsample.reduction.weight'):
        backbone.load_state_dict(converted)
