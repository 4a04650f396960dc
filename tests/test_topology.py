"""The genotype as a value: text, search space, costs, windows."""
import math
import random
from dataclasses import FrozenInstanceError, replace

import pytest
import torch
from mmengine.config import DictAction
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import mmasvit
from mmasvit import AsViT, Topology
from mmasvit.analysis import use_explicit_paths
from mmasvit.errors import InputError
from mmasvit.geometry import lay_windows, token_grids
from mmasvit.topology import FAMILY, SEARCH_SPACE

LARGE = '8,2,3,5|4,1,2,2|4,1,4,5|4,1,6,2|32,180'
# narrow, so that it runs fast, with uneven heads and splits that rarely divide a grid
NARROW = '7,4,3,2|2,3,2,1|4,2,4,2|3,1,3,1|32,13'


def draw_choice(rng):
    """A uniform draw from table 1."""
    chosen = {name: rng.choice(choices) for name, choices in SEARCH_SPACE.items()}
    chosen['S4'] = 1
    return Topology(*(tuple(chosen[f'{letter}{stage}'] for stage in range(1, 5))
                      for letter in 'KSE'), num_heads=chosen['heads'])


# ------------------------------------------------------------------------------- text


@pytest.mark.parametrize('seed', range(20))
def test_text_round_trip(seed):
    rng = random.Random(seed)
    drawn = replace(draw_choice(rng), depths=tuple(rng.choices(range(1, 40), k=4)),
                    embed_dims=rng.randint(32, 300))
    assert Topology.parse(str(drawn)) == drawn
    assert str(Topology.parse(str(drawn))) == str(drawn)
    assert hash(Topology.parse(str(drawn))) == hash(drawn)


def test_text_of_large():
    large = Topology.parse(LARGE)
    assert large == FAMILY['large'] == Topology.of('large')
    assert large.kernels == (8, 4, 4, 4)
    assert large.splits == (2, 1, 1, 1)
    assert large.expansions == (3, 2, 4, 6)
    assert large.depths == (5, 2, 5, 2)
    assert (large.num_heads, large.embed_dims) == (32, 180)
    assert str(large) == LARGE


@pytest.mark.parametrize('text', [
    '8,2,3|4,1,2|4,1,4|4,1,6|32',
    '8,2,3,1|4,1,2|4,1,4,1|4,1,6|32,32',
    ' 8, 2,3 |4,1 ,2|4,1,4|4,1,6|32\n',
])
def test_depth_and_width_may_be_left_out(text):
    assert Topology.parse(text) == FAMILY['seed']
    assert str(Topology.parse(text)) == '8,2,3,1|4,1,2,1|4,1,4,1|4,1,6,1|32,32'


DAMAGED = [
    ('', 'parts'),
    ('large', 'parts'),
    ('8,2,3|4,1,2|4,1,4|32', 'parts'),
    ('8,2,3|4,1,2|4,1,4|4,1,6|4,1,6|32', 'parts'),
    ('8,2,3|4,1,2|4,1,4|4,1,6|32|', 'parts'),
    ('8;2;3|4,1,2|4,1,4|4,1,6|32', "'8;2;3'"),
    ('8,2,3||4,1,4|4,1,6|32', "''"),
    ('8,2,3|4,1,2|4,1,4|4,1,6|', "''"),
    ('8,2,|4,1,2|4,1,4|4,1,6|32', "'8,2,'"),
    ('8,2|4,1,2|4,1,4|4,1,6|32', "'8,2'"),
    ('8,2,3,1,1|4,1,2|4,1,4|4,1,6|32', "'8,2,3,1,1'"),
    ('8,2,3|4,1,2|4,1,4|4,1,6|32,32,1', "'32,32,1'"),
    ('8,2,x|4,1,2|4,1,4|4,1,6|32', "'8,2,x'"),
    ('8,2,3.5|4,1,2|4,1,4|4,1,6|32', "'8,2,3.5'"),
    ('8,-2,3|4,1,2|4,1,4|4,1,6|32', "'8,-2,3'"),
    ('8,2,3|4,1,2|4,1,4|4,1,6|1e2', "'1e2'"),
    ('8,2,\u00b2|4,1,2|4,1,4|4,1,6|32', 'part 1'),
    ('8,2,\uff18|4,1,2|4,1,4|4,1,6|32', 'part 1'),
    ('8,2,3\n4,1,2|4,1,4|4,1,6|32', 'parts'),
    ('0,2,3|4,1,2|4,1,4|4,1,6|32', 'kernels'),
    ('8,2,3|1,1,2|4,1,4|4,1,6|32', 'kernels'),
    ('8,0,3|4,1,2|4,1,4|4,1,6|32', 'splits'),
    ('8,2,0|4,1,2|4,1,4|4,1,6|32', 'expansions'),
    ('8,2,3,0|4,1,2|4,1,4|4,1,6|32', 'depths'),
    ('8,2,3|4,1,2|4,1,4|4,1,6|0', 'num_heads'),
    ('8,2,3|4,1,2|4,1,4|4,1,6|12', 'multiple of 8'),
    ('8,2,3|4,1,2|4,1,4|4,1,6|32,0', 'embed_dims'),
    ('8,2,3|4,1,2|4,1,4|4,1,6|64,7', 'stage 1 has 8 heads but only 7 channels'),
    ('8,2,3|4,1,2|4,1,4|4,1,6|2048,256', 'stage 4 has 2048 heads'),
    (f'8,2,{"9" * 5000}|4,1,2|4,1,4|4,1,6|32', 'part 1'),
    (None, 'NoneType'),
    (b'8,2,3|4,1,2|4,1,4|4,1,6|32', 'bytes'),
    (32, 'int'),
]


@pytest.mark.parametrize('text, named', DAMAGED, ids=range(len(DAMAGED)))
def test_damaged_text_gives_one_line(text, named):
    with pytest.raises(InputError) as caught:
        Topology.parse(text)
    line = str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert '\n' not in line and named in line
    assert line.startswith(('genotype', 'topology'))


@pytest.mark.parametrize('change, named', [
    (dict(kernels=(8, 4, 4)), 'kernels'),
    (dict(splits=2), 'splits'),
    (dict(expansions=(3, 2, 4, 6.)), 'expansions'),
    (dict(depths=(1, 1, 1, True)), 'depths'),
    (dict(num_heads='32'), 'num_heads'),
    (dict(embed_dims=None), 'embed_dims'),
])
def test_fields_are_checked(change, named):
    with pytest.raises(InputError, match=f'topology: (each of )?{named} must '):
        replace(FAMILY['seed'], **change)


def test_is_frozen():
    with pytest.raises(FrozenInstanceError):
        FAMILY['seed'].embed_dims = 64


def test_of_takes_names_text_dicts_and_itself():
    large = FAMILY['large']
    fields = dict(kernels=[8, 4, 4, 4], splits=[2, 1, 1, 1], expansions=[3, 2, 4, 6],
                  num_heads=32, depths=[5, 2, 5, 2], embed_dims=180)
    for arch in ('large', 'Large', LARGE, fields, large):
        assert Topology.of(arch) == large
    assert Topology.of(fields).kernels == (8, 4, 4, 4)
    assert mmasvit.Topology is Topology


@pytest.mark.parametrize('arch, named', [
    ('huge', "unknown arch 'huge'"),
    ('', 'unknown arch'),
    (None, 'unknown arch None'),
    (3, 'unknown arch 3'),
    (dict(kernels=(8, 4, 4, 4)), 'missing'),
    (dict(kernels=(8, 4, 4, 4), splits=(2, 1, 1, 1), expansions=(3, 2, 4, 6),
          num_heads=32, widths=3), "'widths'"),
])
def test_unknown_arch_gives_one_line(arch, named):
    with pytest.raises(InputError) as caught:
        Topology.of(arch)
    assert '\n' not in str(caught.value) and named in str(caught.value)


def test_unknown_arch_names_the_family():
    with pytest.raises(InputError, match='base.*large.*seed.*small'):
        Topology.of('huge')


# ----------------------------------------------------------------- space and geometry


def test_search_space_is_table_1():
    assert math.prod(map(len, SEARCH_SPACE.values())) == 4_556_250
    assert round(math.log(4_556_250), 2) == 15.33


@pytest.mark.parametrize('seed', range(5))
def test_draws_are_in_the_search_space(seed):
    rng = random.Random(seed)
    drawn = draw_choice(rng)
    assert drawn.in_search_space
    assert replace(drawn, depths=(3, 1, 4, 2), embed_dims=88).in_search_space
    for i in range(4):
        for field in ('kernels', 'splits', 'expansions'):
            values = list(getattr(drawn, field))
            values[i] = 9  # in nobody's choices
            assert not replace(drawn, **{field: tuple(values)}).in_search_space
    assert not replace(drawn, splits=(*drawn.splits[:3], 2)).in_search_space
    assert not replace(drawn, num_heads=8).in_search_space


def test_family_is_in_the_search_space():
    assert sorted(FAMILY) == ['base', 'large', 'seed', 'small']
    assert all(member.in_search_space for member in FAMILY.values())


@pytest.mark.parametrize('embed_dims, widths', [
    (88, (88, 176, 352, 704)), (116, (116, 232, 464, 928)),
    (180, (180, 360, 720, 1024)), (300, (300, 600, 1024, 1024)),
    (1024, (1024, ) * 4), (1100, (1024, ) * 4),
])
def test_widths_double_up_to_1024(embed_dims, widths):
    assert replace(FAMILY['seed'], embed_dims=embed_dims).widths == widths


def test_heads_may_leave_channels_over():
    topology = Topology.parse('7,2,4|2,4,3|4,1,6|2,1,2|32,9')
    assert topology.heads == (4, 8, 16, 32)
    assert topology.head_dims == (2, 2, 2, 2)
    assert topology.attn_dims == (8, 16, 32, 64)


# ------------------------------------------------------------------------------ costs


@pytest.mark.parametrize('name, params, bare, macs', [
    ('seed', 2.42, 2.32, 0.49), ('small', 29.05, 28.78, 5.13),
    ('base', 52.62, 52.26, 8.75), ('large', 88.15, 87.58, 22.36),
])
def test_family_costs_what_the_paper_says(name, params, bare, macs):
    member = FAMILY[name]
    # half up, as 88.145 M is printed 88.15
    counted = member.count_params(1000) / 1e6
    assert abs(counted - params) <= 0.0051
    assert round(member.count_params(1000, use_abs_pos_embed=False) / 1e6, 2) == bare
    assert round(member.count_macs((224, 224), 1000) / 1e9, 2) == macs


@pytest.mark.parametrize('name', sorted(FAMILY))
def test_members_have_the_parameters_that_were_counted(name):
    out_indices = (0, 1, 2, 3)
    backbone = AsViT(name, out_indices=out_indices)
    assert (sum(p.numel() for p in backbone.parameters()) ==
            FAMILY[name].count_params(out_indices=out_indices))


@pytest.mark.parametrize('out_indices', [(3, ), (0, 1, 2, 3), (0, ), (1, 2), (0, 2)])
@pytest.mark.parametrize('options', [
    dict(), dict(use_abs_pos_embed=False), dict(output_norm=False),
    dict(pretrain_img_size=66),
], ids=str)
def test_count_params_equals_the_network(out_indices, options):
    topology = Topology.parse(NARROW)
    backbone = AsViT(topology, out_indices=out_indices, **options)
    assert (sum(p.numel() for p in backbone.parameters()) ==
            topology.count_params(out_indices=out_indices, **options))


def test_count_params_equals_the_network_of_capped_width():
    topology = Topology.parse('5,4,2,2|3,2,3,1|2,2,1,2|2,1,1,1|16,300')
    assert topology.widths == (300, 600, 1024, 1024)
    backbone = AsViT(topology, out_indices=(2, 3))
    assert (sum(p.numel() for p in backbone.parameters()) ==
            topology.count_params(out_indices=(2, 3)))


def test_classifier_is_counted():
    from mmpretrain.models import VisionTransformerClsHead
    topology = Topology.parse(NARROW)
    head = VisionTransformerClsHead(10, topology.widths[-1],
                                    hidden_dim=topology.widths[-1])
    extra = sum(p.numel() for p in head.parameters())
    assert topology.count_params(10) - topology.count_params() == extra
    macs = sum(module.weight.numel() for module in head.modules()
               if isinstance(module, torch.nn.Linear))
    assert topology.count_macs(num_classes=10) - topology.count_macs() == macs


@torch.no_grad()
def macs_of(backbone, size):
    """Multiply-accumulates of a forward pass as torch counts them."""
    counter = FlopCounterMode(display=False)
    with counter, sdpa_kernel(SDPBackend.MATH):
        backbone.eval()(torch.rand(1, 3, *size))
    return counter.get_total_flops() // 2


@pytest.mark.parametrize('attn_impl', ['explicit', 'fused'])
@pytest.mark.parametrize('size', [(224, 224), (256, 309), (137, 112), (61, 260),
                                  (4, 9)], ids=str)
@pytest.mark.parametrize('out_indices', [(0, 1, 2, 3), (1, )], ids=str)
def test_count_macs_equals_the_network(size, attn_impl, out_indices):
    backbone = AsViT(NARROW, out_indices=out_indices, attn_impl=attn_impl)
    counted = backbone.topology.count_macs(size, out_indices=out_indices)
    # a fused re-embedding multiplies the border's cells too
    use_explicit_paths(backbone)
    assert macs_of(backbone, size) == counted


def test_count_macs_equals_the_network_where_windows_are_cut():
    """At 1024 px no window edge of the family divides its grid."""
    topology = Topology.parse('8,2,3|4,1,2|4,1,4|4,1,6|8,8')
    for grid, splits in zip(token_grids((1024, 1024)), topology.splits):
        edge, count = lay_windows(grid[0], 1024, splits)
        assert edge * count > grid[0]
    assert (macs_of(AsViT(topology, attn_impl='explicit'), (1024, 1024)) ==
            topology.count_macs((1024, 1024)))


def test_count_macs_of_another_pre_training_size():
    backbone = AsViT(NARROW, pretrain_img_size=64, attn_impl='explicit')
    assert (macs_of(backbone, (64, 96)) ==
            backbone.topology.count_macs((64, 96), pretrain_img_size=64))
    assert (backbone.topology.count_macs((64, 96), pretrain_img_size=64) <
            backbone.topology.count_macs((64, 96)))


@pytest.mark.parametrize('name', FAMILY)
def test_genotype_survives_the_command_line(name):
    text = str(FAMILY[name])
    assert Topology.of(DictAction._parse_iterable(text)) == FAMILY[name]
