"""Curves of networks whose image of the circle is known, and derivatives two ways."""
import math

import pytest
import torch
import torch.nn.functional as F
from scipy.integrate import quad
from scipy.special import ellipe
from torch import nn

from mmasvit import AsViT
from mmasvit.complexity import (circle_basis, curvature, curve_derivatives, even_angles,
                                length_distortion, length_distortion_curvature,
                                pooled_features)
from mmasvit.complexity.forward_mode import attention_jvp
from mmasvit.errors import InputError

SHAPE = (3, 4, 5)


@pytest.fixture
def basis():
    return circle_basis(SHAPE, torch.Generator().manual_seed(1))


def difference(features, basis, theta, radius, step):
    """Central difference of the velocity."""
    ahead, behind = (curve_derivatives(features, basis, theta + h, radius, order=1)
                     for h in (step, -step))
    return (ahead - behind) / (2 * step)


class Network(nn.Module):
    """Everything whose derivatives torch would take differently, in one small network."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.group = nn.GroupNorm(2, 8)
        self.batch = nn.BatchNorm2d(8)
        self.layer = nn.LayerNorm(8)
        self.qkv = nn.Linear(8, 24)

    def forward(self, x):
        x = F.gelu(self.batch(self.group(self.conv(x))))
        x = self.layer(x.flatten(2).transpose(1, 2))
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        x = x + self.attend(q, k, v)
        return self.layer(x)[:, :3].flatten(1)

    def attend(self, q, k, v):
        return F.scaled_dot_product_attention(q, k, v)


class Causal(Network):

    def attend(self, q, k, v):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)


class Masked(Network):

    def attend(self, q, k, v):
        mask = torch.arange(20).reshape(4, 5) % 3 > 0
        return F.scaled_dot_product_attention(q, k, v, mask.flatten().expand(20, 20))


@pytest.fixture(params=[Network, Causal, Masked])
def network(request):
    network = request.param().double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_()
        network.batch.running_mean.normal_()
        network.batch.running_var.uniform_(1, 2)
    return network


class TestKnownCurves:

    def test_isometry_keeps_the_circle(self, basis):
        rotation = torch.linalg.qr(torch.randn(60, 60, dtype=torch.float64)).Q
        v, a = curve_derivatives(lambda x: x.flatten(1) @ rotation, basis,
                                 even_angles(7), radius=3.)
        assert math.isclose(length_distortion(v), 2 * math.pi * 3, rel_tol=1e-12)
        assert math.isclose(curvature(v, a), 2 * math.pi / 3, rel_tol=1e-12)
        assert math.isclose(length_distortion_curvature(v, a), 2 * math.pi,
                            rel_tol=1e-12)

    def test_linear_network_makes_an_ellipse(self, basis):
        # half axes 2 and 1 along two directions of the plane's image
        axes = torch.stack([2 * basis[0].flatten(), basis[1].flatten()], dim=1)
        v, a = curve_derivatives(lambda x: x.flatten(1) @ axes, basis, even_angles(64))
        assert math.isclose(length_distortion(v), 4 * 2 * ellipe(1 - 1 / 4),
                            rel_tol=1e-12)
        bend = quad(lambda t: 2 / (4 * math.sin(t)**2 + math.cos(t)**2)**1.5,
                    0, 2 * math.pi)[0]
        assert math.isclose(curvature(v, a), bend, rel_tol=1e-8)
        # directions of a convex closed curve turn once
        assert math.isclose(length_distortion_curvature(v, a), 2 * math.pi, rel_tol=1e-9)

    def test_acceleration_along_the_velocity_turns_nothing(self):
        v = torch.randn(5, 9, dtype=torch.float64)
        assert length_distortion_curvature(v, 3 * v) < 1e-14
        assert curvature(v, 3 * v) < 1e-14


class TestDerivatives:

    def test_velocity_is_the_change_of_the_features(self, network, basis):
        theta, h = even_angles(5), 1e-5

        def image(angles):
            cos, sin = (f[:, None, None, None] for f in (angles.cos(), angles.sin()))
            with torch.no_grad():
                return network(2 * (cos * basis[0] + sin * basis[1]))

        v = curve_derivatives(network, basis, theta, radius=2., order=1)
        numeric = (image(theta + h) - image(theta - h)) / (2 * h)
        torch.testing.assert_close(v, numeric, rtol=1e-6, atol=1e-6 * v.abs().max())

    def test_acceleration_is_the_change_of_the_velocity(self, network, basis):
        theta = even_angles(5)
        v, a = curve_derivatives(network, basis, theta, radius=2.)
        numeric = difference(network, basis, theta, 2., 1e-5)
        torch.testing.assert_close(a, numeric, rtol=1e-6, atol=1e-6 * a.abs().max())
        torch.testing.assert_close(
            v, curve_derivatives(network, basis, theta, 2., order=1), rtol=1e-11,
            atol=1e-12)

    def test_batch_norm_of_batch_statistics(self, basis):
        network = Network()
        network.batch = nn.BatchNorm2d(8, track_running_stats=False)
        network = network.double().train()
        theta = even_angles(5)
        # all angles move together: that is what batch statistics see
        _, a = curve_derivatives(network, basis, theta, radius=2.)
        numeric = difference(network, basis, theta, 2., 1e-5)
        torch.testing.assert_close(a, numeric, rtol=1e-6, atol=1e-6 * a.abs().max())

    def test_angles_may_be_taken_in_any_portions(self, network, basis):
        theta = even_angles(5)
        for order in (1, 2):
            whole = curve_derivatives(network, basis, theta, order=order)
            parts = curve_derivatives(network, basis, theta, order=order, chunk_size=2)
            torch.testing.assert_close(parts, whole, rtol=1e-10, atol=1e-12)

    def test_single_precision(self):
        size = 64
        backbone = AsViT('8,2,3|4,1,2|4,1,4|4,1,6|16,16', pretrain_img_size=size)
        backbone.init_weights()
        basis = circle_basis((3, size, size), torch.Generator().manual_seed(0))
        results = {}
        for dtype in (torch.float32, torch.float64):
            features = pooled_features(backbone.to(dtype))
            results[dtype] = curve_derivatives(features, basis.to(dtype), even_angles(4),
                                               radius=100.)
        for single, double in zip(results[torch.float32], results[torch.float64]):
            assert (single - double).norm() < 1e-4 * double.norm()

    def test_first_map_on_the_basis_only(self):
        backbone = AsViT('5,2,3|2,1,2|3,1,4|2,1,6|16,16', pretrain_img_size=36).double()
        features = pooled_features(backbone)
        basis = circle_basis((3, 36, 36), torch.Generator().manual_seed(0))
        seen = []
        original = features.split_linear

        def split_and_watch(size):
            first_map, rest = original(size)
            return lambda x: (seen.append(len(x)), first_map(x))[1], rest

        features.split_linear = split_and_watch
        with_map = curve_derivatives(features, basis, even_angles(3))
        assert seen == [2]
        without = curve_derivatives(lambda x: features(x), basis, even_angles(3))
        torch.testing.assert_close(with_map, without, rtol=1e-10, atol=1e-12)

    def test_the_derivative_of_the_backbone_itself(self):
        # 36 px make odd grids and windows of two sizes
        backbone = AsViT('5,4,3,2|2,2,2|3,1,4|2,1,6|16,16', pretrain_img_size=36,
                         out_indices=(3, ), output_norm=False).double().eval()
        with torch.no_grad():
            for parameter in backbone.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        basis = circle_basis((3, 36, 36), torch.Generator().manual_seed(0))
        theta, h = even_angles(3), 1e-5

        def image(angles):
            points = (angles.cos()[:, None, None, None] * basis[0]
                      + angles.sin()[:, None, None, None] * basis[1])
            with torch.no_grad():
                return backbone(20 * points)[0].mean(dim=(2, 3))

        v, a = curve_derivatives(pooled_features(backbone), basis, theta, 20.)
        numeric = (image(theta + h) - image(theta - h)) / (2 * h)
        torch.testing.assert_close(v, numeric, rtol=1e-6, atol=1e-7 * v.abs().max())
        numeric = difference(pooled_features(backbone), basis, theta, 20., h)
        torch.testing.assert_close(a, numeric, rtol=1e-6, atol=1e-7 * a.abs().max())

    @pytest.mark.parametrize('change, message', [
        (dict(order=3), 'order'), (dict(theta=torch.zeros(())), 'theta'),
        (dict(theta=torch.zeros(0)), 'theta'), (dict(basis=torch.zeros(3, 2)), 'basis')])
    def test_bad_input(self, basis, change, message):
        arguments = dict(features=lambda x: x.flatten(1), basis=basis,
                         theta=even_angles(3), order=1)
        with pytest.raises(InputError, match=message):
            curve_derivatives(**{**arguments, **change})


class TestPooledFeatures:

    @pytest.mark.parametrize('attn_impl', ['fused', 'explicit'])
    @pytest.mark.parametrize('positions', [False, True])
    def test_is_the_backbone_without_its_last_norm(self, attn_impl, positions):
        backbone = AsViT('7,2,3|2,1,2|4,1,4|2,1,2|16,16', out_indices=(3, ),
                         use_abs_pos_embed=positions, pretrain_img_size=32,
                         attn_impl=attn_impl, output_norm=False, drop_path_rate=0.5)
        backbone.init_weights()
        images = torch.randn(2, 3, 40, 32)
        expected = backbone.eval()(images)[0].mean(dim=(2, 3))
        backbone.train()
        features = pooled_features(backbone)
        torch.testing.assert_close(features(images), expected, rtol=1e-4, atol=1e-5)
        assert backbone.training and backbone.patch_embed.projection.bias is not None
        assert isinstance(backbone.patch_embed.norm, nn.LayerNorm)

    def test_sees_later_changes_of_the_weights(self):
        backbone = AsViT('4,1,2|2,1,2|2,1,2|2,1,2|16,16', pretrain_img_size=32)
        features, images = pooled_features(backbone), torch.randn(1, 3, 32, 32)
        before = features(images)
        backbone.init_weights()
        assert not torch.allclose(features(images), before)
        backbone.double()
        assert features(images.double()).dtype == torch.float64

    def test_identity_norms_leave_only_gelu_and_softmax(self):
        backbone = AsViT('4,1,2|2,1,2|2,1,2|2,1,2|16,16', pretrain_img_size=32,
                         use_abs_pos_embed=False).double()
        with torch.no_grad():
            for name, parameter in backbone.named_parameters():
                if 'norm' in name:
                    parameter.fill_(float('nan'))  # must not be looked at
        features = pooled_features(backbone, identity_norms=True)
        assert features(torch.randn(1, 3, 32, 32).double()).isfinite().all()


class TestAttention:

    @pytest.mark.parametrize('block', [1, 7, 40, 10**6])
    def test_any_blocks_give_torchs_derivative(self, block):
        operands = [torch.randn(2, 3, tokens, dims, dtype=torch.float64)
                    for tokens, dims in ((6, 4), (5, 4), (5, 7)) * 2]
        primals, tangents = operands[:3], operands[3:]

        def attend(q, k, v):
            return (0.3 * q @ k.transpose(-2, -1)).softmax(-1) @ v

        expected = torch.func.jvp(attend, tuple(primals), tuple(tangents))
        ours = attention_jvp(*primals, *tangents, scale=0.3, block_scores=block)
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-13)

    def test_large_scores_do_not_overflow(self):
        operands = [300 * torch.randn(1, 8, 4) for _ in range(6)]
        for result in attention_jvp(*operands, scale=1.):
            assert result.isfinite().all()

    def test_only_the_values_move(self, basis):
        query = torch.randn(60, 60, dtype=torch.float64)

        def features(x):
            value = x.reshape(len(x), 1, 60, 1)
            fixed = query.expand(len(x), 1, 60, 60)
            return F.scaled_dot_product_attention(fixed, fixed, value).flatten(1)

        v = curve_derivatives(features, basis, even_angles(3), order=1)
        expected = curve_derivatives(
            lambda x: x.flatten(1) @ (query @ query.T / 60**0.5).softmax(-1).T,
            basis, even_angles(3), order=1)
        torch.testing.assert_close(v, expected)


def test_circle_basis_is_orthonormal_and_seeded():
    first, again = (circle_basis(SHAPE, torch.Generator().manual_seed(3)).flatten(1)
                    for _ in range(2))
    torch.testing.assert_close(first @ first.T, torch.eye(2, dtype=torch.float64))
    assert torch.equal(first, again)


def test_even_angles():
    torch.testing.assert_close(even_angles(4), torch.tensor([0, .5, 1, 1.5]) * math.pi,
                               check_dtype=False)
    torch.testing.assert_close(even_angles(3, closed=True),
                               torch.tensor([0, 1, 2]) * math.pi, check_dtype=False)
