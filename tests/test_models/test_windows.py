"""Shifted windows and attention over the whole map: who sees whom, and at what cost."""
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmasvit import AsViT
from mmasvit.analysis import count_macs, use_explicit_paths
from mmasvit.errors import InputError
from mmasvit.geometry import TOKEN_STRIDES, WindowRule, lay_windows, plan_windows
from mmasvit.models.attention import WindowAttention
from mmasvit.models.stage_grid import StageGrid
from networks import TINY, assert_same, build, gradients, twin

SHIFTED, GLOBAL = dict(shift_windows=True), dict(global_blocks=(0, 0, 1, 9))
EACH = [SHIFTED, GLOBAL, {**SHIFTED, **GLOBAL, 'global_img_size': 80}]
each_option = pytest.mark.parametrize('options', EACH, ids=str)
# windows of 16 pixels in stage 1 and 2, of 32 and 64 in the others
SMALL = dict(pretrain_img_size=64)


def options_of(options):
    return dict(SMALL, **options)


# ------------------------------------------------------------------------------- layout


@given(tokens=st.integers(1, 90), stride=st.sampled_from((4, 8, 16, 32)),
       splits=st.integers(1, 8), pretrain=st.integers(8, 300))
@settings(deadline=None)
def test_shifted_windows_tile_and_straddle_every_border(tokens, stride, splits, pretrain):
    """Cut windows of the shifted grid, laid by hand; each old border lies inside one."""
    pixels = tokens * stride
    edge, count = lay_windows(tokens, pixels, splits, pretrain)
    plain, shifted = (WindowRule(splits, pretrain, shifted).runs(tokens, pixels)
                      for shifted in (False, True))
    met = [start for run in shifted
           for start in range(run.start, run.start + run.length, run.edge)] + [tokens]
    assert met[0] == 0 and all(0 < b - a <= edge for a, b in zip(met, met[1:]))
    if count == 1 or edge == 1:
        assert shifted == plain
    else:
        borders = range(edge, tokens, edge)
        assert not set(borders) & set(met[:-1])
        assert met[1] == edge // 2


def test_plan_of_a_whole_backbone():
    """Every other block over all stages shifts; the last ones of a stage see it all."""
    plan = plan_windows((4, 2, 1, 1), (3, 1, 4, 2), 224, shift_windows=True,
                        global_blocks=(0, 0, 1, 5), global_img_size=512)
    assert [[rule.shifted for rule in rules] for rules in plan] == [
        [False, True, False], [True], [False, True, False, False], [False, False]]
    assert [[rule[:2] for rule in rules] for rules in plan] == [
        [(4, 224)] * 3, [(2, 224)], [(1, 224)] * 3 + [(1, 512)], [(1, 512)] * 2]


@pytest.mark.parametrize('grid, size, splits', [
    ((29, 35), (500, 610), 2), ((3, 17), (90, 540), 8), ((16, 16), (64, 64), 8),
    ((1, 6), (20, 96), 8), ((7, 7), (112, 112), 1)], ids=str)
@pytest.mark.parametrize('fused', [True, False])
def test_equals_rolling_and_masking(grid, size, splits, fused):
    """Shifted windows as Swin computes them: padded, rolled, masked by region."""
    attn = WindowAttention(12, 3, fused).double()
    attn.qkv.weight.data.mul_(4)
    x = torch.randn(2, *grid, 12, dtype=torch.double)
    shifted = StageGrid(grid, size, WindowRule(splits, 224, True), 4)
    out = shifted.restore(attn(shifted.partition(x), shifted))
    cells = []
    for tokens, pixels in zip(grid, size):
        edge, count = lay_windows(tokens, pixels, splits, 224)
        offset = (edge - edge // 2) % edge if count > 1 else 0
        cells.append((torch.arange(tokens) + offset) // edge)
    window = cells[0][:, None] * 1000 + cells[1]
    apart = (window.flatten()[:, None] != window.flatten())
    q, k, v = (t.unflatten(-1, (3, 4)).transpose(1, 2)
               for t in attn.qkv(x.flatten(1, 2)).chunk(3, -1))
    scores = (q @ k.transpose(-2, -1) / 2).masked_fill(apart, float('-inf'))
    expected = attn.proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(out, expected.unflatten(1, grid), rtol=1e-10, atol=1e-10)


# ----------------------------------------------------------------------------- backbone


@each_option
def test_one_window_stays_as_it_was(options):
    """At the size of pre-training only stages of several windows may change."""
    arch = '8,1,2,3|4,1,2,1|4,1,2,2|4,1,2,2|16,16'
    plain = build(arch)
    other = twin(plain, **{**options, 'global_img_size': 1024})
    x = torch.randn(1, 3, 224, 224)
    for ours, theirs in zip(other(x), plain(x)):
        assert torch.equal(ours, theirs)


def reach(backbone, pixel=(40, 24), size=(128, 128)):
    """Which cells of the last map a pixel changes."""
    x = torch.randn(1, 3, *size, dtype=torch.double)
    moved = x.clone()
    moved[(..., *pixel)] += 1
    with torch.no_grad():
        change = (backbone(x)[-1] - backbone(moved)[-1]).abs().amax(1)[0]
    return change > 1e-12  # fused re-embeddings round by the mean of the map


@pytest.mark.parametrize('stage, options, everywhere', [
    (0, {}, False), (0, SHIFTED, False), (0, dict(global_blocks=(1, 0, 0, 0)), True),
    (3, {}, False), (3, dict(global_blocks=(0, 0, 0, 1)), True)], ids=str)
def test_how_far_a_pixel_reaches(stage, options, everywhere):
    backbone = build('4,4,2,2|2,2,2|2,1,2|2,1,2|16,16', out_indices=(stage, ),
                     use_abs_pos_embed=False, **options_of(options)).double().eval()
    changed = reach(backbone)
    assert changed.all() == everywhere
    if stage == 0 and not everywhere:
        # windows of 4 tokens; shifted by 2, they hand on to the windows around
        expected = torch.zeros(32, 32, dtype=torch.bool)
        expected[slice(6, 14) if options else slice(8, 12),
                 slice(2, 10) if options else slice(4, 8)] = True
        assert torch.equal(changed, expected)


def test_whole_maps_of_large_images_are_cut():
    backbone = build('4,1,2|2,1,2|2,1,2|2,1,2|16,16', out_indices=(0, ),
                     use_abs_pos_embed=False, global_blocks=(1, 0, 0, 0),
                     global_img_size=64, **SMALL).double().eval()
    assert reach(backbone, size=(92, 92)).all()
    assert reach(backbone, size=(128, 128)).sum() == 16**2


@each_option
def test_explicit_equals_fused(options):
    fused = build(**options_of(options))
    explicit = twin(fused, attn_impl='explicit', **options_of(options))
    x = torch.randn(2, 3, 137, 112)
    assert_same(gradients(explicit, x), gradients(fused, x))


@each_option
def test_closed_form_counts_what_runs(options):
    backbone = build(**options_of(options))
    use_explicit_paths(backbone)
    plain = build(**SMALL)
    for size in ((137, 112), (64, 64), (17, 300)):
        for stride in TOKEN_STRIDES:
            x = torch.rand(1, 3, *size)
            counted = count_macs(lambda: backbone(x, token_stride=stride))
            assert counted == backbone.count_macs(size, stride)
    assert backbone.count_macs((300, 300)) != plain.count_macs((300, 300))


@each_option
def test_work_is_linear_in_pixels(options):
    """From 16 to 64 times the pixels, all borders included."""
    backbone = AsViT('small', **options, pretrain_img_size=224)
    small, large = (backbone.count_macs((side, side)) for side in (2048, 4096))
    assert 3.8 < large / small < 4.1


@each_option
def test_with_cp_and_strides(options):
    plain = build(**options_of(options))
    saving = twin(plain, with_cp=True, **options_of(options))
    x, found = torch.randn(2, 3, 75, 107), []
    for backbone in (saving, plain):
        outs = [out for stride in (16, 8, 4) for out in backbone(x, stride)]
        sum(out.square().mean() for out in outs).backward()
        found.append([p.grad for p in backbone.parameters()])
    for ours, theirs in zip(*found):
        assert torch.equal(ours, theirs)


def test_weights_do_not_depend_on_windows():
    plain = build()
    for options in EACH:
        assert list(AsViT(TINY, **options).state_dict()) == list(plain.state_dict())


@pytest.mark.parametrize('options, named', [
    *((dict(global_blocks=blocks), 'global_blocks')
      for blocks in ((0, 1), 2, (0, 0, -1, 0), (0, 0, True, 0))),
    (dict(global_img_size=0), 'global_img_size'),
    (dict(global_img_size=64.), 'global_img_size')], ids=str)
def test_bad_windows_give_one_line(options, named):
    with pytest.raises(InputError, match=named) as caught:
        AsViT(TINY, **options)
    assert '\n' not in str(caught.value)
