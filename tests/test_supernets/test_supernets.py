"""Supernets: what trains, what a path computes, and that it is the plain network's."""
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from helpers import ROOT
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.optim import build_optim_wrapper
from spaces import AS_VIT, IDENTITIES, SPACE, classifier, small_space
from torch import nn

from mmasvit import AsViT, MobileTopology, Topology
from mmasvit.errors import InputError
from mmasvit.models import SearchedMobileNet
from mmasvit.models.tokenizer import same_padding
from mmasvit.supernets import AsViTSupernet, MobileNetSupernet
from mmasvit.supernets.as_vit import _centre

LAYERS, ActivatedConv = small_space.LAYERS, small_space.ActivatedConv
SmallSupernet, gratings, train = (
    small_space.SmallSupernet, small_space.gratings, small_space.train)


def small(**options):
    return AsViTSupernet(**{'space': SPACE, 'pretrain_img_size': 32, **options})


def samples(count, classes=3):
    from mmpretrain.structures import DataSample
    return [DataSample().set_gt_label(i % classes) for i in range(count)]


def steps(model, numbers):
    """Train as the shipped configs do."""
    cfg = Config.fromfile(ROOT / 'configs/supernet_asvit_imagenette.py')
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    for number in numbers:
        MessageHub.get_current_instance().update_info('iter', number)
        draw = torch.Generator().manual_seed(number)
        images = torch.randn(6, 3, 32, 32, generator=draw)
        loss = model(images, samples(6), mode='loss')['loss']
        wrapper.update_params(loss)


@pytest.mark.parametrize('scope, expected', [
    ('all', lambda name: name.startswith('norms.')),
    (['E2', 'attn1'], lambda name: name.startswith(('norms.E2.', 'norms.attn1.')))])
def test_what_trains_is_the_scope_and_nothing_else_moves(scope, expected):
    """Check 1: twenty steps leave the rest as it was to the last bit."""
    model = classifier(dict(AS_VIT[0], bn_scope=scope), AS_VIT[1])
    before = {name: value.clone() for name, value in model.named_parameters()}
    trainable = {name for name, value in model.named_parameters() if value.requires_grad}
    assert trainable == {name for name in before
                         if expected(name.removeprefix('backbone.'))}
    steps(model, range(20))
    changed = {name for name, value in model.named_parameters()
               if not torch.equal(value, before[name])}
    assert changed == trainable and trainable


@pytest.mark.parametrize('scope, suffixes', [('last', ('convs.2.bn', )), (
    'all', ('convs.0.bn', 'convs.1.bn', 'convs.2.bn'))])
def test_scope_of_the_mobilenet_space(scope, suffixes):
    supernet = MobileNetSupernet(IDENTITIES, bn_scope=scope)
    trainable = {name for name, value in supernet.named_parameters()
                 if value.requires_grad}
    assert {name.rpartition('.')[0] for name in trainable} == {
        f'layers.{layer}.{number}.{suffix}' for layer, values in IDENTITIES.items()
        for number in values if number >= 0 for suffix in suffixes}


def test_without_a_scope_all_weights_train():
    assert all(value.requires_grad for value in small(bn_scope=None).parameters())


@pytest.mark.parametrize('wrapped', [False, True], ids=['plain', 'distributed'])
def test_operators_off_the_path_stay_bitwise_the_same(wrapped, tmp_path):
    """Check 2, with momentum; a wrapper for several processes changes nothing."""
    supernet = SmallSupernet()
    model = supernet
    if wrapped:
        torch.distributed.init_process_group(
            'gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
        model = nn.parallel.DistributedDataParallel(
            PathOf(supernet), find_unused_parameters=True, broadcast_buffers=False)
    try:
        optimizer = torch.optim.SGD(supernet.parameters(), lr=.3, momentum=.9)
        images, labels = gratings(32)

        def go(number, count):
            path = supernet.space.topology((number, ) * LAYERS)
            for _ in range(count):
                logits = (model if wrapped else model.forward_path)(images, path)
                F.cross_entropy(logits, labels).backward()
                off = [norm for layer in supernet.norms.values()
                       for key, norm in layer.items() if key != str(number)]
                assert all(norm.weight.grad is None for norm in off)
                optimizer.step()
                optimizer.zero_grad()

        def gammas(number):
            return [layer[str(number)].weight.clone()
                    for layer in supernet.norms.values()]

        def same(one, other):
            return all(map(torch.equal, one, other))

        start = [gammas(number) for number in range(3)]
        go(0, 10)
        moved = gammas(0)
        assert not same(moved, start[0])
        assert same(gammas(1), start[1]) and same(gammas(2), start[2])
        go(1, 5)
        assert same(gammas(0), moved) and same(gammas(2), start[2])
        assert not same(gammas(1), start[1])
    finally:
        if wrapped:
            torch.distributed.destroy_process_group()


class PathOf(nn.Module):
    """A supernet whose paths are an argument."""

    def __init__(self, supernet):
        super().__init__()
        self.supernet = supernet

    def forward(self, images, path):
        return self.supernet.forward_path(images, path)


class Noise(nn.Module):
    def forward(self, x):
        return torch.randn_like(x)


class Zero(nn.Module):
    def forward(self, x):
        return 0 * x


def coloured(count, seed):
    """Corners of the colour cube under noise."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(8, (count, ), generator=draw)
    colours = 2. * torch.stack([labels >> i & 1 for i in range(3)], 1) - 1
    noise = torch.randn(count, 3, 8, 8, generator=draw)
    return colours[:, :, None, None] + 1.5 * noise, labels


@torch.no_grad()
def fit_head(supernet, images, labels):
    """Let the frozen classifier read what the convolutions carry."""
    seen = []
    handle = supernet.head.register_forward_pre_hook(
        lambda _, inputs: seen.append(*inputs))
    supernet.forward_path(images, supernet.space.topology((0, ) * LAYERS))
    handle.remove()
    x = seen[0] - seen[0].mean(dim=0)
    gram = x.T @ x + .01 * len(x) * x.var() * torch.eye(x.shape[1])
    weight = torch.linalg.solve(gram, x.T @ (F.one_hot(labels, 8) - 1 / 8)).T
    weight *= .5 / (x @ weight.T).std()
    supernet.head.weight.copy_(weight)
    supernet.head.bias.copy_(-weight @ seen[0].mean(dim=0))


@pytest.mark.slow
def test_gamma_finds_planted_operators():
    """Check 3: a useful convolution, noise and zero, each with a BatchNorm."""
    operators = dict(useful=ActivatedConv, noise=lambda channels: Noise(),
                     zero=lambda channels: Zero())
    leads = []
    for seed in range(3):
        torch.manual_seed(seed)
        images, labels = coloured(1024, seed)
        supernet = SmallSupernet(operators, tuple(operators), residual=True, seed=seed)
        assert all(len(set(scores)) == 1 for scores in supernet.scores().values())
        fit_head(supernet, images, labels)
        train(supernet, images, labels, 300, lr=.5)
        leads += [scores[0] > max(scores[1:]) for scores in supernet.scores().values()]
    assert sum(leads) >= .8 * len(leads)


def counts(supernet):
    """Trainable numbers of every candidate of every layer."""
    return {layer: {sum(p.numel() for norm in norms for p in norm.parameters()
                        if p.requires_grad) for norms in candidates.values()}
            for layer, candidates in supernet.candidates().items()}


def test_candidates_of_a_layer_have_as_many_trainable_numbers():
    """Check 4: fair, where only convolutions with a BatchNorm are not."""
    for supernet in (AsViTSupernet(), MobileNetSupernet(), SmallSupernet()):
        for layer, numbers in counts(supernet).items():
            # BN-NAS's own space has identities, without one
            assert len(numbers - {0}) == 1, layer
            assert isinstance(supernet, MobileNetSupernet) or 0 not in numbers
    assert all(len(numbers) == 2
               for numbers in counts(SmallSupernet(normed=['conv'])).values())


@pytest.mark.slow
def test_unfair_space_prefers_convolutions_and_a_fair_one_does_not():
    images, labels = gratings(1024, num_classes=4, noise=.3)
    shares = []
    for normed in (['conv'], ['conv', 'skip', 'pool']):
        torch.manual_seed(0)
        supernet = SmallSupernet(normed=normed, residual=True, channels=16, num_classes=4)
        train(supernet, images, labels, 200)
        shares.append(sum(scores[0] == max(scores)
                          for scores in supernet.scores().values()) / LAYERS)
    assert shares[0] == 1 and shares[1] <= .75


def without_effect(supernet):
    """BatchNorms in evaluation mode that hand on what they get."""
    for module in supernet.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.eps = 1e-12
    return supernet.eval()


@pytest.mark.parametrize('number', range(4))
def test_a_path_is_the_plain_network_of_its_weights(number):
    """Of all candidates, in all sizes; an odd one too, whose windows do not fit."""
    supernet = without_effect(AsViTSupernet(pretrain_img_size=64, out_indices=(1, 3)))
    supernet.init_weights()
    topology = supernet.path_of_step(number)
    plain = AsViT(topology, out_indices=(1, 3), use_abs_pos_embed=False,
                  pretrain_img_size=64)
    plain.load_state_dict(supernet.plain_state_dict(topology))
    for size in ((64, 64), (72, 44)):
        images = torch.randn(2, 3, *size)
        with torch.no_grad():
            for ours, theirs in zip(supernet.forward_path(images, topology),
                                    plain.eval()(images)):
                assert torch.equal(ours, theirs)


@pytest.mark.parametrize('largest, edge, stride', [
    (8, k, 4) for k in (2, 3, 4, 5, 6, 7)] + [(4, 2, 2), (4, 3, 2)])
def test_smaller_kernels_keep_their_pixels(largest, edge, stride):
    """A large kernel that is zero around the part of a small one is the small one."""
    places = torch.arange(largest**2).view(largest, largest)
    part = _centre(places, edge, stride).flatten()
    weight = torch.zeros(largest**2)
    weight[part] = torch.randn(edge**2)
    image = torch.randn(1, 1, 24, 20)

    def convolved(kernel):
        padded = F.pad(image, same_padding((24, 20), len(kernel), stride))
        return F.conv2d(padded, kernel[None, None], stride=stride)

    torch.testing.assert_close(convolved(weight.view(largest, largest)),
                               convolved(weight[part].view(edge, edge)))


def test_smaller_ratios_have_the_first_hidden_units():
    """An FFN whose other units nobody reads is the smaller one."""
    supernet = without_effect(small())
    topologies = [supernet.space.topology(tuple(int(large and name[0] == 'E')
                                                for name in SPACE)) for large in (0, 1)]
    with torch.no_grad():
        for stage, expansion in zip(supernet.shared.stages, topologies[0].expansions):
            second = stage.blocks[0].ffn.layers[1].weight
            second[:, len(second) * expansion:] = 0
        outs = [supernet.forward_path(torch.ones(1, 3, 32, 32), topology)[0]
                for topology in topologies]
    torch.testing.assert_close(*outs)


def test_mobilenet_path_is_the_backbone_of_its_operators():
    supernet = MobileNetSupernet(IDENTITIES).eval()
    topology = supernet.path_of_step(0)
    plain = SearchedMobileNet(topology, out_indices=(6, )).eval()
    state = supernet.state_dict()
    own = {name: value for name, value in state.items()
           if name.startswith(('stem', 'last'))}
    places = {0: 0, 1: 4, 2: 8, 3: 12, 4: 16, 5: 20}
    for stage, first in places.items():
        prefix = f'layers.layer{first + 1}.{topology.operators[first]}.'
        own.update({name.replace(prefix, f'stages.{stage}.0.'): value
                    for name, value in state.items() if name.startswith(prefix)})
    plain.load_state_dict(own)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(supernet.forward_path(images, topology)[0], plain(images)[0])


def test_path_depends_on_seed_and_iteration_alone():
    supernet = small(seed=3)
    drawn = [supernet.path_of_step(i) for i in range(60)]
    torch.manual_seed(7)
    for seed in (3, 4):
        other = small(seed=seed)
        assert (drawn == [other.path_of_step(i) for i in range(60)]) == (seed == 3)
    for name, values in SPACE.items():  # every value of every choice
        assert {topology.values[name] for topology in drawn} == set(values)
    state = torch.get_rng_state()
    supernet.train()
    MessageHub.get_current_instance().update_info('iter', 5)
    images = torch.randn(2, 3, 32, 32)
    torch.set_rng_state(state)
    assert torch.equal(supernet(images)[0], supernet.forward_path(images, drawn[5])[0])
    assert torch.equal(torch.get_rng_state(), state)  # building a path draws nothing


def test_norms_are_those_of_the_path():
    supernet = small()
    for choice in product((0, 1), repeat=3):
        topology = supernet.space.topology((*choice, *(0, ) * 8, choice[0]))
        norms = supernet.norms_of(topology)
        assert list(norms) == [f'{layer}{i}' for i in range(1, 5)
                               for layer in ('K', 'attn', 'E')]
        heads, splits = topology.num_heads, topology.splits[0]
        assert norms['attn1'][0] is supernet.norms['attn1'][f'{splits}x{heads}']
        assert norms['E1'][0] is supernet.norms['E1'][str(topology.expansions[0])]


@pytest.mark.parametrize('options, line', [
    (dict(bn_scope='none'), "bn_scope 'none' selects no BatchNorm; it must be 'all'"),
    (dict(bn_scope=[]), r'bn_scope \[\] selects no BatchNorm'),
    (dict(bn_scope=['E1', 'E9']), 'selects no BatchNorm; .* out of K1, attn1, E1'),
    (dict(space=dict(heads=[16, 24])), 'heads=24 leave channels of attention unused'),
    (dict(space=dict(K9=[1])), 'space: unknown K9'),
    (dict(seed=-1), 'seed must be a whole number'),
])
def test_bad_options(options, line):
    with pytest.raises(InputError, match=line) as caught:
        small(**options)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('path, line', [
    (Topology.parse('6,2,2|2,1,2|2,1,2|2,1,2|16'), 'K1 is 6, the supernet has 4, 8'),
    (Topology.parse('8,2,2,2|2,1,2|2,1,2|2,1,2|16'), 'depths or width'),
    (Topology.parse('8,2,2|2,1,2|2,1,2|2,1,2|16,64'), 'depths or width'),
    (MobileTopology.parse('[' + '0,' * 20 + '0]'), 'is no path of AsViTSupernet'),
])
def test_paths_outside_the_space(path, line):
    supernet = small()
    for refused in (supernet.norms_of, supernet.use):
        with pytest.raises(InputError, match=line) as caught:
            refused(path)
        assert '\n' not in str(caught.value)
