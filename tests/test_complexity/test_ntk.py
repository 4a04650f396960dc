"""The tangent kernel's Gram matrix: closed forms and three ways to compute it."""
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmasvit import AsViT
from mmasvit.complexity import condition_number, ntk_gram, pooled_features
from mmasvit.complexity.ntk import _gram_of_one_pass


class Leading:
    """Features that declare their images to lead, as ours do."""
    images_lead = True

    def __init__(self, function):
        self.function = function

    def __call__(self, images):
        return self.function(images)


class Network(nn.Module):

    def __init__(self, **conv):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1, dilation=1, **conv)
        self.norm = nn.LayerNorm(4)
        self.shared = nn.Linear(4, 4)
        self.scale = nn.Parameter(torch.randn(4))  # not named weight: does not count

    def forward(self, x):
        x = self.conv(x).flatten(2).transpose(1, 2)
        x = self.shared(F.gelu(self.shared(self.norm(x))))
        return (self.norm(x) * self.scale).square().mean(dim=1)


def by_vmap(model, images):
    """The textbook's way."""
    parameters = dict(model.named_parameters())
    weights = {k: v.detach() for k, v in parameters.items() if k.endswith('weight')}

    def total(weights, image):
        return torch.func.functional_call(model, {**parameters, **weights},
                                          image[None]).sum()

    grads = torch.func.vmap(torch.func.grad(total), (None, 0))(weights, images)
    rows = torch.cat([grad.flatten(1) for grad in grads.values()], dim=1).double()
    return rows @ rows.T


class TestGram:

    def test_linear_model_gives_the_inputs_gram(self):
        model = nn.Sequential(nn.Flatten(), nn.Linear(12, 1)).double()
        images = torch.randn(5, 3, 2, 2, dtype=torch.float64)
        expected = images.flatten(1) @ images.flatten(1).T
        for features in (model, Leading(model)):
            torch.testing.assert_close(ntk_gram(model, features, images), expected)

    @pytest.mark.parametrize('conv', [{}, dict(groups=1, bias=False)])
    def test_three_ways_agree(self, conv):
        model = Network(**conv).double()
        images = torch.randn(3, 3, 6, 8, dtype=torch.float64)
        expected = by_vmap(model, images)
        torch.testing.assert_close(ntk_gram(model, model, images), expected)
        fast = _gram_of_one_pass([p for n, p in model.named_parameters()
                                  if n.endswith('weight')], model, images)
        torch.testing.assert_close(fast, expected)  # a weight that is used twice, too

    def test_weights_used_in_another_way_fall_back(self):
        model = Network().double()
        images = torch.randn(3, 3, 6, 8, dtype=torch.float64)

        def features(x):
            return model(x) * model.shared.weight.sum()

        weights = [p for n, p in model.named_parameters() if n.endswith('weight')]
        assert _gram_of_one_pass(weights, features, images) is None
        torch.testing.assert_close(ntk_gram(model, Leading(features), images),
                                   ntk_gram(model, features, images))

    def test_a_weight_on_something_learned_falls_back(self):
        model = Network().double()
        images = torch.randn(3, 3, 6, 8, dtype=torch.float64)

        def features(x):  # the token, not the image, goes through this linear map
            return model(x) * model.shared(model.scale.expand(len(x), 4))

        torch.testing.assert_close(ntk_gram(model, Leading(features), images),
                                   ntk_gram(model, features, images))

    def test_grouped_convolution_falls_back(self):
        model = nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), nn.Flatten()).double()
        images = torch.randn(3, 4, 5, 5, dtype=torch.float64)
        torch.testing.assert_close(ntk_gram(model, Leading(model), images),
                                   by_vmap(model, images))

    def test_unused_weights_count_nothing(self):
        model = nn.ModuleDict(dict(used=nn.Linear(4, 2), unused=nn.Linear(4, 2)))
        images = torch.randn(3, 4)
        for features in (model['used'], Leading(model['used'])):
            torch.testing.assert_close(ntk_gram(model, features, images),
                                       2 * (images.double() @ images.T.double()))

    def test_leaves_the_model_alone(self):
        model = Network()
        model.norm.weight.requires_grad_(False)
        frozen = ntk_gram(model, Leading(model), torch.ones(2, 3, 4, 4))
        assert not model.norm.weight.requires_grad and model.conv.weight.requires_grad
        assert all(p.grad is None for p in model.parameters())
        model.requires_grad_(True)
        with torch.no_grad():  # must not matter either
            assert torch.equal(frozen, ntk_gram(model, Leading(model),
                                                torch.ones(2, 3, 4, 4)))

    def test_backbone_against_the_textbook(self):
        backbone = AsViT('5,4,3,2|2,2,2|3,1,4|2,1,6|16,16', pretrain_img_size=36,
                         out_indices=(3, ), output_norm=False, use_abs_pos_embed=True)
        backbone.init_weights()
        backbone = backbone.double().eval()

        class Pooled(nn.Module):

            def __init__(self):
                super().__init__()
                self.backbone = backbone

            def forward(self, x):
                return self.backbone(x)[0].mean(dim=(2, 3))

        images = torch.randn(3, 3, 36, 36, dtype=torch.float64)
        expected = by_vmap(Pooled(), images)
        features = pooled_features(backbone)
        torch.testing.assert_close(ntk_gram(backbone, features, images), expected)
        weights = [p for n, p in backbone.named_parameters() if n.endswith('weight')]
        assert _gram_of_one_pass(weights, features, images) is not None

    def test_single_precision(self):
        backbone = AsViT('8,2,3|4,1,2|4,1,4|4,1,6|16,16', pretrain_img_size=64)
        backbone.init_weights()
        images = torch.randn(16, 3, 64, 64)
        kappas = [condition_number(ntk_gram(backbone.to(dtype), pooled_features(backbone),
                                            images.to(dtype)))
                  for dtype in (torch.float32, torch.float64)]
        assert math.isclose(*kappas, rel_tol=1e-4)


class TestConditionNumber:

    def test_known_matrix(self):
        basis = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64)).Q
        gram = basis @ torch.diag(torch.tensor([8., 4., 2., .5]).double()) @ basis.T
        assert math.isclose(condition_number(gram), 16, rel_tol=1e-12)
        assert math.isclose(condition_number(gram * 1e-30), 16, rel_tol=1e-12)

    @pytest.mark.parametrize('spoil', [
        lambda gram: gram.fill_(float('nan')),
        lambda gram: gram[0, 0].fill_(float('nan')),
        lambda gram: gram[1, 1].fill_(float('inf')),
        lambda gram: gram.fill_(1.),  # singular: all images look the same
        lambda gram: gram.zero_(),
        lambda gram: gram[2, 2].fill_(-1.),
    ])
    def test_the_worst_is_infinite(self, spoil):
        gram = torch.eye(3, dtype=torch.float64)
        spoil(gram)
        assert condition_number(gram) == math.inf

    def test_rounding_does_not_make_a_singular_matrix_regular(self):
        for seed in range(20):  # the smallest eigenvalue rounds to either side of 0
            rows = torch.randn(6, 3, dtype=torch.float64,
                               generator=torch.Generator().manual_seed(seed))
            assert condition_number(rows @ rows.T) == math.inf

    def test_images_that_are_alike_are_worst(self):
        model = Network()
        images = torch.randn(1, 3, 6, 6).expand(4, 3, 6, 6)
        assert condition_number(ntk_gram(model, model, images)) > 1e10
