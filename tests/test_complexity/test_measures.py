"""Measures of untrained topologies: what they depend on, and what they must not."""
import math

import pytest
import torch

from mmasvit import Topology
from mmasvit.complexity import (MEASURES, Setting, curve_derivatives, length_distortion,
                                measure, measure_repeat, measure_topology,
                                pooled_features)
from mmasvit.complexity.untrained import UntrainedNetwork
from mmasvit.errors import InputError
from mmasvit.random import Purpose, generator

SMALL = Topology.parse('8,2,3|4,1,2|4,1,4|4,1,6|16,16')
OTHER = Topology.parse('5,4,2|2,2,3|3,1,2|2,1,4|16,16')
SETTINGS = [Setting(protocol, image_size=32, repeats=2, num_angles=5, num_images=4)
            for protocol in ('released', 'paper')]


@pytest.fixture(params=SETTINGS, ids=lambda setting: setting.protocol)
def setting(request):
    return request.param


def values(topology, setting, repeat=0, **kwargs):
    return {name: measured.value for name, measured in measure_repeat(
        topology, setting, repeat, list(MEASURES), **kwargs).items()}


class TestWhatMattersAndWhatDoesNot:

    def test_neither_order_nor_global_generators(self, setting):
        first = values(SMALL, setting)
        torch.manual_seed(99)
        before = torch.get_rng_state()
        values(OTHER, setting)
        assert values(SMALL, setting) == first
        assert torch.equal(torch.get_rng_state(), before)

    def test_seed_and_repeat_matter_to_what_is_drawn(self, setting):
        first, second = values(SMALL, setting), values(SMALL, setting, repeat=1)
        fields = {**vars(setting), 'seed': 1}
        third = values(SMALL, Setting(**fields))
        for name, entry in MEASURES.items():
            assert (first[name] != second[name]) == entry.drawn, name
            assert (first[name] != third[name]) == entry.drawn, name

    def test_every_measure_tells_topologies_apart(self, setting):
        ours, others = values(SMALL, setting), values(OTHER, setting)
        assert all(ours[name] != others[name] for name in MEASURES)
        assert all(math.isfinite(value) for value in ours.values())

    def test_repeats_share_images_but_not_circles(self, setting):
        first, second = (UntrainedNetwork(SMALL, setting, repeat) for repeat in (0, 1))
        other = UntrainedNetwork(OTHER, setting, 0)
        assert torch.equal(first.images, second.images)
        assert torch.equal(first.images, other.images)
        assert not torch.allclose(first.basis, second.basis)
        assert torch.equal(first.basis, other.basis)
        assert torch.equal(first.backbone.stages[0].blocks[0].attn.proj.bias,
                           torch.zeros(16))

    def test_released_repeats_share_the_tokenizer(self, setting):
        first, second = (UntrainedNetwork(SMALL, setting, repeat).backbone for repeat in (0, 1))
        tokenizers = [net.patch_embed.projection.weight for net in (first, second)]
        assert torch.equal(*tokenizers) == (setting.protocol == 'released')
        assert not torch.equal(first.stages[1].downsample.reduction.weight,
                               second.stages[1].downsample.reduction.weight)

    def test_given_images_are_used(self, setting):
        noise = values(SMALL, setting)
        images = torch.rand(4, 3, 32, 32)
        given = values(SMALL, setting, images=images)
        assert given['ntk_condition_number'] != noise['ntk_condition_number']
        assert given['length_distortion'] == noise['length_distortion']
        with pytest.raises(InputError, match='images must be'):
            values(SMALL, setting, images=images[:3])
        with pytest.raises(InputError, match='images must be'):
            values(SMALL, setting, images=images[..., :16])

    def test_summary_is_over_all_repeats(self, setting):
        summary = measure_topology(SMALL, setting)['length_distortion']
        each = [measure_repeat(SMALL, setting, repeat)['length_distortion'].value
                for repeat in (0, 1)]
        assert summary.values == each and summary.mean == sum(each) / 2
        assert summary.seconds > 0


class TestProtocols:

    def test_paper_is_the_integral_at_radius_sqrt_n(self):
        setting = SETTINGS[1]
        probe = UntrainedNetwork(SMALL, setting)
        angles = torch.arange(5) * 2 * math.pi / 5
        v = curve_derivatives(pooled_features(probe.backbone), probe.basis, angles,
                              radius=math.sqrt(3 * 32 * 32), order=1)
        ours = MEASURES['length_distortion'](probe)
        assert math.isclose(ours, length_distortion(v), rel_tol=1e-6)

    def test_released_is_a_sum_with_both_ends_without_norms(self):
        setting = SETTINGS[0]
        probe = UntrainedNetwork(SMALL, setting)
        angles = torch.linspace(0, 2 * math.pi, 5)
        features = pooled_features(probe.backbone, identity_norms=True)
        v, a = curve_derivatives(features, probe.basis, angles, radius=1.)
        assert math.isclose(MEASURES['length_distortion'](probe), v.norm(dim=1).sum(),
                            rel_tol=1e-5)
        across = a - (a * v).sum(1, True) * v / v.square().sum(1, True)
        turns = across.norm(dim=1) / v.norm(dim=1)
        assert math.isclose(MEASURES['length_distortion_curvature'](probe), turns.sum(),
                            rel_tol=1e-4)
        assert math.isclose(MEASURES['curvature'](probe),
                            (turns / v.norm(dim=1)).sum(), rel_tol=1e-4)

    def test_initialisation_is_the_released_codes(self):
        wide = Topology.parse('8,2,3|4,1,2|4,1,4|4,1,6|16,128')
        backbone = UntrainedNetwork(wide, SETTINGS[0]).backbone
        weight = backbone.stages[3].blocks[0].ffn.layers[1].weight
        assert math.isclose(weight.std().item(), 0.02, rel_tol=0.01)
        bound = (3 * 64)**-0.5
        kernel = backbone.patch_embed.projection.weight
        assert 0.98 * bound < kernel.abs().max() <= bound

    @pytest.mark.parametrize('change', [
        dict(protocol='other'), dict(image_size=16), dict(repeats=0), dict(num_angles=1),
        dict(num_angles=2), dict(num_images=1), dict(seed=-1), dict(repeats=2.5),
        dict(repeats=True)])
    def test_settings_that_mean_nothing(self, change):
        with pytest.raises(InputError):
            Setting(**change)


class TestMeasures:

    def test_parameters_and_macs_are_the_networks(self):
        probe = UntrainedNetwork(SMALL, SETTINGS[0])
        assert MEASURES['params'](probe) == sum(
            p.numel() for p in probe.backbone.parameters())
        assert MEASURES['macs'](probe) == SMALL.count_macs((32, 32), pretrain_img_size=32)

    def test_a_network_that_yields_nan_ranks_worst(self, setting):
        probe = UntrainedNetwork(SMALL, setting)
        with torch.no_grad():
            probe.backbone.stages[2].blocks[0].attn.qkv.weight[0] = float('nan')
        for name, entry in MEASURES.items():
            if entry.drawn:
                assert entry(probe) == (-math.inf if entry.higher_is_better
                                        else math.inf), name

    def test_gradient_norm_against_autograd_of_the_model(self, setting):
        probe = UntrainedNetwork(SMALL, setting)
        backbone = probe.backbone.eval()
        backbone.norm3 = torch.nn.Identity()
        features = backbone(probe.images)[0].mean(dim=(2, 3))
        draw = generator(Purpose.CLASSIFIER, setting.seed, 0)
        head = torch.randn(10, 128, generator=draw)
        labels = torch.randint(10, (4, ), generator=draw)
        torch.nn.functional.cross_entropy(features @ head.T / 128**0.5, labels).backward()
        expected = sum(p.grad.norm().item() for p in backbone.parameters() if p.ndim > 1)
        assert math.isclose(MEASURES['grad_norm'](UntrainedNetwork(SMALL, setting)), expected,
                            rel_tol=1e-4)

    def test_synflow_grows_with_every_weight(self, setting):
        probe, larger = UntrainedNetwork(SMALL, setting), UntrainedNetwork(SMALL, setting)
        with torch.no_grad():
            larger.backbone.stages[1].downsample.reduction.weight.mul_(-2)
        assert MEASURES['synflow'](larger) > 1.5 * MEASURES['synflow'](probe)
        with torch.no_grad():
            assert (larger.backbone.stages[1].downsample.reduction.weight
                    == -2 * probe.backbone.stages[1].downsample.reduction.weight).all()

    def test_dss_looks_at_attention_and_ffn(self, setting):
        probe = UntrainedNetwork(SMALL, setting)
        before = MEASURES['dss'](probe)
        assert before > 0
        with torch.no_grad():
            for stage in probe.backbone.stages:
                stage.blocks[0].attn.qkv.weight.zero_()
                stage.blocks[0].attn.proj.weight.zero_()
                stage.blocks[0].ffn.layers[1].weight.zero_()
        assert MEASURES['dss'](probe) < 1e-6 * before

    def test_a_new_measure_is_one_decorated_function(self):
        @measure(higher_is_better=True)
        def first_weight(probe):
            return probe.backbone.patch_embed.projection.weight.flatten()[0]

        try:
            result = measure_repeat(SMALL, SETTINGS[0], 0, ['first_weight'])
            assert math.isfinite(result['first_weight'].value)
        finally:
            del MEASURES['first_weight']

    def test_unknown_names(self):
        for names in (['other'], []):
            with pytest.raises(InputError, match='measures must be'):
                measure_repeat(SMALL, SETTINGS[0], 0, names)


class TestFeaturesOfEveryLevel:
    """The pyramid: pooled maps of all stages, one after the other."""

    @pytest.mark.parametrize('identity_norms', [False, True])
    def test_they_are_the_stages_own_maps(self, identity_norms):
        backbone = UntrainedNetwork(SMALL, SETTINGS[0]).backbone
        images = torch.randn(2, 3, 48, 32)
        ours = pooled_features(backbone, identity_norms, pyramid=True)(images)
        assert ours.shape == (2, sum(SMALL.widths))
        last = pooled_features(backbone, identity_norms)(images)
        torch.testing.assert_close(ours[:, -SMALL.widths[3]:], last)
        if not identity_norms:
            maps = backbone.forward_features(images)
            pooled = torch.cat([level.mean(dim=(1, 2)) for level in maps], dim=1)
            torch.testing.assert_close(ours, pooled, rtol=1e-4, atol=1e-6)

    def test_length_is_that_of_the_curves_of_all_levels_together(self, setting):
        fields = dict(vars(setting), pretrain_img_size=32)
        last, pyramid = (UntrainedNetwork(SMALL, Setting(**dict(fields, features=name)))
                         for name in ('last', 'pyramid'))
        torch.testing.assert_close(pyramid.velocity[:, -SMALL.widths[3]:], last.velocity)
        speeds = [level.norm(dim=1) for level in pyramid.velocity.split(SMALL.widths, 1)]
        assert all((speed > 0).all() for speed in speeds)
        torch.testing.assert_close(torch.stack(speeds).square().sum(0).sqrt(),
                                   pyramid.velocity.norm(dim=1))
        values = [MEASURES['length_distortion'](probe) for probe in (pyramid, last)]
        assert values[0] > values[1]

    def test_every_drawn_measure_sees_the_other_levels(self, setting):
        fields = dict(vars(setting), pretrain_img_size=32)
        last = values(SMALL, Setting(**fields))
        pyramid = values(SMALL, Setting(**dict(fields, features='pyramid')))
        for name, entry in MEASURES.items():
            assert (last[name] != pyramid[name]) == entry.drawn, name

    def test_windows_are_a_detectors(self):
        """A stage has its windows of pre-training, and more of them on larger images."""
        topology = Topology.parse('4,2,2|2,1,2|2,1,2|2,1,2|8,8')
        networks = {size: UntrainedNetwork(topology, Setting(
            image_size=64, repeats=1, features='pyramid', pretrain_img_size=size)).backbone
            for size in (None, 32)}
        edges = {size: network.windows[0][0].runs(16, 64)[0].edge
                 for size, network in networks.items()}
        assert edges == {None: 16, 32: 4}
        assert Setting(features='pyramid').window_img_size == 224
        assert Setting(image_size=96).window_img_size == 96

    def test_runs_of_earlier_versions_are_described_alike(self):
        assert set(Setting().to_dict()) == {
            'protocol', 'image_size', 'repeats', 'num_angles', 'num_images', 'seed'}
        assert Setting(features='pyramid').to_dict()['features'] == 'pyramid'
