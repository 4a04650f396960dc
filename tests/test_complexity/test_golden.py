"""Agreement with derivatives that nobody here computed (../shared/golden)."""
import math

import numpy as np
import pytest
import torch

from mmasvit import AsViT
from mmasvit.complexity import (condition_number, curvature, curve_derivatives,
                                length_distortion, length_distortion_curvature, ntk_gram,
                                pooled_features)
from mmasvit.models.reference import convert_state_dict

FILES = ('found_topology_c8', 'uneven_heads_c9', 'mixed_kernels_c16')
CURVES = ('layernorm/unit', 'layernorm/sqrt_n', 'identity/unit')


@pytest.fixture(params=FILES)
def golden(request, golden_path):
    with np.load(golden_path(request.param)) as file:
        return {name: file[name] for name in file.files}


def build(golden, dtype, **kwargs):
    backbone = AsViT(str(golden['genotype']), out_indices=(3, ), use_abs_pos_embed=False,
                     pretrain_img_size=int(golden['image_size']), **kwargs)
    backbone.load_state_dict(convert_state_dict(
        {name[6:]: torch.from_numpy(value) for name, value in golden.items()
         if name.startswith('state/')}))
    return backbone.to(dtype)


def error(ours, theirs):
    theirs = torch.as_tensor(theirs)
    return ((ours - theirs).norm() / theirs.norm()).item()


@pytest.mark.parametrize('curve', CURVES)
@pytest.mark.parametrize('dtype, tolerance',
                         [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_derivatives(golden, curve, dtype, tolerance):
    norms, radius = curve.split('/')
    size = int(golden['image_size'])
    basis = torch.from_numpy(golden['basis'].T.reshape(2, 3, size, size)).to(dtype)
    features = pooled_features(build(golden, dtype), identity_norms=norms == 'identity')
    arguments = (features, basis, torch.from_numpy(golden['theta']),
                 1. if radius == 'unit' else math.sqrt(3 * size**2))
    v, a = curve_derivatives(*arguments)
    for name, ours in (
            ('v', v), ('v', curve_derivatives(*arguments, order=1)), ('a', a),
            ('speed', v.norm(dim=-1))):
        assert error(ours, golden[f'{curve}/{name}']) < tolerance, name
    for name, ours in (('speed', length_distortion(v)),
                       ('curvature_integrand', curvature(v, a)),
                       ('dvhat_paper', length_distortion_curvature(v, a))):
        # one angle at a time, so that errors cannot cancel in the mean
        each = [{'speed': lambda v, a: length_distortion(v),
                 'curvature_integrand': curvature,
                 'dvhat_paper': length_distortion_curvature}[name](v[i:i + 1], a[i:i + 1])
                for i in range(len(v))]
        theirs = golden[f'{curve}/{name}']
        assert error(torch.stack(each) / (2 * math.pi), theirs) < tolerance, name
        assert error(ours, 2 * math.pi * theirs.mean()) < tolerance, name
    released = (a.norm(dim=-1) / v.norm(dim=-1))
    assert error(released, golden[f'{curve}/dvhat_released']) < tolerance


@pytest.mark.parametrize('attn_impl', ['fused', 'explicit'])
def test_tangent_kernel(golden, attn_impl):
    backbone = build(golden, torch.float64, attn_impl=attn_impl)
    gram = ntk_gram(backbone, pooled_features(backbone),
                    torch.from_numpy(golden['input']).double())
    assert error(gram, golden['ntk']) < 1e-6
    assert error(condition_number(gram), golden['ntk_condition_number']) < 1e-6


def test_tangent_kernel_in_single_precision(golden):
    backbone = build(golden, torch.float32)
    gram = ntk_gram(backbone, pooled_features(backbone),
                    torch.from_numpy(golden['input']).float())
    assert gram.dtype == torch.float64
    assert error(condition_number(gram), golden['ntk_condition_number']) < 1e-4
