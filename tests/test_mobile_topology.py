"""The MobileNet space of BN-NAS: text, costs, the published paths, the backbone."""
import pytest
import torch
from hypothesis import given, settings, strategies as st

from mmasvit import MobileTopology, genotypes
from mmasvit.analysis import count_macs
from mmasvit.errors import InputError
from mmasvit.mobile_topology import LAYERS, MOBILE_SPACE, PUBLISHED, MBConv
from mmasvit.models import SearchedMobileNet
from mmasvit.models.mobilenet import InvertedResidual
from mmasvit.search.space import Space

BNNAS = PUBLISHED['bnnas']
TOPOLOGIES = st.tuples(*map(st.sampled_from, MOBILE_SPACE.values())).map(MobileTopology)


@pytest.mark.parametrize('name, kilo_macs, params', [('bnnas', 471_822, 5_228_536),
                                                     ('spos', 467_081, 5_780_560)])
def test_published_paths_cost_what_they_cost(name, kilo_macs, params):
    costs = PUBLISHED[name].costs()
    assert round(costs['macs'] / 1e3) == kilo_macs and costs['params'] == params


@given(TOPOLOGIES)
def test_text_and_values_say_it_all(topology):
    text = str(topology)
    assert MobileTopology.parse(text) == topology == genotypes.parse(text)
    assert MobileTopology.of(list(topology.operators)) == topology
    assert MobileTopology.of_values(topology.values) == topology


@settings(max_examples=5, deadline=None)
@given(TOPOLOGIES, st.integers(32, 70), st.integers(32, 70))
def test_costs_are_the_built_networks(topology, height, width):
    network = SearchedMobileNet(topology, out_indices=(6, )).eval()
    assert topology.count_params() == sum(p.numel() for p in network.parameters())
    counted = count_macs(lambda: network(torch.rand(1, 3, height, width)))
    assert counted == topology.count_macs((height, width))


def test_space_is_as_published():
    space = Space(kind=MobileTopology)
    assert len(LAYERS) == 21 and [layer.out_channels for layer in LAYERS] == (
        [32] * 4 + [56] * 4 + [112] * 4 + [128] * 4 + [256] * 4 + [432])
    assert space.size == 6**6 * 7**15  # no identity where the shape changes
    for topology in PUBLISHED.values():
        assert space.topology(space.choice(topology)) == topology


@pytest.mark.parametrize('arch, line', [
    ('[1,2]', 'is not of the MobileNet space'), ('8,2,3|4', 'is not of the MobileNet'),
    ([0] * 20 + [6], 'layer21 must be a whole number from -1 to 5, got 6'),
    ([-1] + [0] * 20, 'layer1 changes the shape of the map'),
    ([0] * 20 + [1.], 'layer21 must be a whole number'),
    (None, 'is not of the MobileNet'), (dict(operator=[0] * 21), 'is not of the Mobile')])
def test_bad_paths_are_one_line(arch, line):
    with pytest.raises(InputError, match=line) as caught:
        MobileTopology.of(arch)
    assert '\n' not in str(caught.value)


def test_outputs_of_every_stride():
    network = SearchedMobileNet(str(BNNAS))
    outs = network(torch.rand(2, 3, 96, 64))
    assert network.out_strides == (4, 8, 16, 32)
    assert [tuple(out.shape) for out in outs] == [
        (2, channels, 96 // stride, 64 // stride) for channels, stride
        in zip(network.out_channels, network.out_strides)]
    assert network.last is None
    early = SearchedMobileNet(BNNAS, out_indices=(0, 2))
    assert len(early.stages) == 3 and early.out_channels == (32, 112)


def test_frozen_stages_and_norms_stay_as_they_are():
    network = SearchedMobileNet(BNNAS, frozen_stages=2, norm_eval=True).train()
    frozen = [*network.stem.parameters(), *network.stages[:2].parameters()]
    assert not any(p.requires_grad for p in frozen)
    assert all(p.requires_grad for p in network.stages[2].parameters())
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms and not any(norm.training for norm in norms)


def test_pretrained_weights_are_all_loaded_or_refused(tmp_path):
    whole = SearchedMobileNet(BNNAS, out_indices=(6, ))
    whole.init_weights()
    path = tmp_path / 'classifier.pth'
    torch.save(dict(state_dict={f'backbone.{key}': value for key, value
                                in whole.state_dict().items()}), path)

    def load(arch=BNNAS, **options):
        network = SearchedMobileNet(arch, init_cfg=dict(
            type='Pretrained', checkpoint=str(path), **options))
        network.init_weights()
        return network.state_dict()

    state = whole.state_dict()
    assert all(torch.equal(value, state[key])
               for key, value in load(prefix='backbone.').items())
    for options in (dict(), dict(prefix='backbone.', arch=PUBLISHED['spos'])):
        with pytest.raises(InputError, match='are not those of Searched') as caught:
            load(**options)
        assert '\n' not in str(caught.value)


@pytest.mark.parametrize('options, line', [
    (dict(out_indices=()), 'out_indices must'), (dict(out_indices=(1, 7)), 'out_indices'),
    (dict(out_indices=(2, 1)), 'increasing'), (dict(frozen_stages=7), 'frozen_stages')])
def test_bad_options(options, line):
    with pytest.raises(InputError, match=line):
        SearchedMobileNet(BNNAS, **options)


@pytest.mark.parametrize('channels, stride, is_residual', [(8, 1, True), (8, 2, False),
                                                           (6, 1, False)])
def test_a_block_adds_to_what_it_gets_where_the_shape_is_kept(channels, stride,
                                                               is_residual):
    block = InvertedResidual(8, channels, MBConv(5, 3), stride, dict(type='BN')).eval()
    torch.nn.init.zeros_(block.norms[-1].weight)
    x = torch.rand(1, 8, 6, 6)
    assert torch.equal(block(x), x) if is_residual else not block(x).any()
