"""Windows and attention against formulations that do without the library's layout."""
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from mmasvit.geometry import WindowRule, lay_windows
from mmasvit.models.attention import WindowAttention
from mmasvit.models.stage_grid import StageGrid

# (grid in tokens, image in pixels, splits): tiled exactly, cut along one side, along
# both, one window, more windows than fit, a single token
LAYOUTS = [
    ((56, 56), (224, 224), 2), ((16, 16), (64, 64), 8), ((64, 78), (256, 309), 2),
    ((13, 16), (330, 224), 1), ((16, 13), (224, 330), 1), ((29, 35), (500, 610), 2),
    ((7, 9), (112, 144), 1), ((5, 3), (150, 90), 4), ((3, 17), (90, 540), 8),
    ((1, 1), (4, 4), 1), ((1, 6), (20, 96), 8),
]
small_layouts = pytest.mark.parametrize('grid, size, splits', LAYOUTS[3:], ids=str)


def edges_of(grid, size, splits):
    """Window height and width by the rule."""
    return [lay_windows(tokens, pixels, splits).edge
            for tokens, pixels in zip(grid, size)]


def padded_and_masked(attn, x, edges):
    """Window attention as others write it: pad right and bottom, mask, crop."""
    n, height, width, channels = x.shape
    (eh, ew), heads = edges, attn.num_heads
    dims = channels // heads  # channels that no head takes are left over
    nh, nw = -(-height // eh), -(-width // ew)
    padded = x.new_full((n, nh * eh, nw * ew, channels), 1e4)  # must not leak
    padded[:, :height, :width] = x
    real = torch.zeros(nh * eh, nw * ew, dtype=torch.bool)
    real[:height, :width] = True
    out = torch.zeros_like(padded)
    for top in range(0, nh * eh, eh):
        for left in range(0, nw * ew, ew):
            window = padded[:, top:top + eh, left:left + ew].reshape(n, -1, channels)
            mask = real[top:top + eh, left:left + ew].reshape(-1)
            assert mask.any()
            q, k, v = attn.qkv(window).chunk(3, dim=-1)
            mixed = []
            for head in range(heads):
                part = slice(head * dims, (head + 1) * dims)
                scores = torch.einsum('nic,njc->nij', q[..., part], k[..., part])
                scores = (scores / dims**0.5).masked_fill(~mask, float('-inf'))
                mixed.append(scores.softmax(-1) @ v[..., part])
            out[:, top:top + eh, left:left + ew] = attn.proj(
                torch.cat(mixed, -1)).reshape(n, eh, ew, channels)
    return out[:, :height, :width]


# ----------------------------------------------------------------------------- layout


@pytest.mark.parametrize('grid, size, splits', LAYOUTS, ids=str)
def test_restore_undoes_partition(grid, size, splits):
    layout = StageGrid(grid, size, WindowRule(splits, 224), 4)
    x = torch.arange(2. * grid[0] * grid[1] * 3).view(2, *grid, 3)
    windows = layout.partition(x)
    assert windows.shape == (2, grid[0] * grid[1], 3)
    assert torch.equal(windows[0, :, 0].sort()[0], x[0, ..., 0].flatten())
    assert torch.equal(layout.restore(windows), x)


@pytest.mark.parametrize('grid, size, splits', LAYOUTS, ids=str)
def test_each_window_is_one_tile_of_the_grid(grid, size, splits):
    """In window order, runs of a group's window length are the tiles of the rule."""
    edge_h, edge_w = edges_of(grid, size, splits)
    rows, cols = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]),
                                indexing='ij')
    tiles = rows // edge_h * grid[1] + cols // edge_w
    layout = StageGrid(grid, size, WindowRule(splits, 224), 4)
    seen = []
    for group, part in zip(layout.groups,
                           layout.split(layout.partition(tiles[None, ..., None]))):
        for window in part.flatten().split(group.window_tokens):
            assert len(window.unique()) == 1
            assert len(window) == (tiles == window[0]).sum()
            seen.append(int(window[0]))
    assert sorted(seen) == tiles.unique().tolist()


# -------------------------------------------------------------------------- attention


@small_layouts
@pytest.mark.parametrize('fused', [True, False])
@pytest.mark.parametrize('dims, heads', [(12, 3), (13, 4)])
def test_equals_padding_and_masking(grid, size, splits, fused, dims, heads):
    attn = WindowAttention(dims, heads, fused).double()
    attn.qkv.weight.data.mul_(4)  # attend unevenly
    x = torch.randn(2, *grid, dims, dtype=torch.double, requires_grad=True)
    layout = StageGrid(grid, size, WindowRule(splits, 224), 4)
    out = layout.restore(attn(layout.partition(x), layout))
    expected = padded_and_masked(attn, x, edges_of(grid, size, splits))
    torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-10)
    weights = torch.randn_like(out)
    grads = [torch.autograd.grad((y * weights).sum(), [x, *attn.parameters()],
                                 retain_graph=True) for y in (out, expected)]
    for ours, theirs in zip(*grads):
        assert torch.isfinite(ours).all()
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('dims, heads', [(32, 4), (22, 1), (29, 2), (9, 4)])
def test_fused_equals_explicit(dims, heads):
    fused = WindowAttention(dims, heads, True)
    explicit = WindowAttention(dims, heads, False)
    explicit.load_state_dict(fused.state_dict())
    layout = StageGrid((29, 35), (500, 610), WindowRule(2, 224), 4)
    x = torch.randn(2, 29 * 35, dims, requires_grad=True)
    outs = [attn(x, layout) for attn in (fused, explicit)]
    torch.testing.assert_close(*outs, rtol=1e-5, atol=1e-6)
    weights = torch.randn_like(outs[0])
    grads = [torch.autograd.grad((out * weights).sum(), x)[0] for out in outs]
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('fused', [True, False])
def test_tokens_see_their_own_window_only(fused):
    grid, size, splits = (29, 35), (500, 610), 2
    edge_h, edge_w = edges_of(grid, size, splits)
    attn = WindowAttention(8, 2, fused).double()
    layout = StageGrid(grid, size, WindowRule(splits, 224), 4)
    for row, col in ((0, 0), (28, 34), (28, 0), (edge_h, edge_w - 1)):
        x = torch.randn(1, *grid, 8, dtype=torch.double)
        moved = x.clone()
        moved[:, row, col] += 1
        with torch.no_grad():
            out, other = (layout.restore(attn(layout.partition(y), layout))
                          for y in (x, moved))
        changed = (out != other).any(-1)[0]
        rows, cols = torch.meshgrid(torch.arange(29), torch.arange(35), indexing='ij')
        same = (rows // edge_h == row // edge_h) & (cols // edge_w == col // edge_w)
        assert torch.equal(changed, same)


@pytest.mark.parametrize('fused', [True, False])
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16])
def test_dtype_is_kept(fused, dtype):
    attn = WindowAttention(12, 3, fused).to(dtype)
    layout = StageGrid((5, 7), (80, 112), WindowRule(1, 224), 4)
    assert attn(torch.randn(2, 35, 12, dtype=dtype), layout).dtype == dtype


def test_explicit_softmax_stays_in_float64():
    """Float32 anywhere inside would leave an error of 1e-8 and more."""
    explicit = WindowAttention(12, 3, False).double()
    fused = WindowAttention(12, 3, True).double()
    fused.load_state_dict(explicit.state_dict())
    layout = StageGrid((14, 14), (56, 56), WindowRule(1, 56), 4)
    x = 5 * torch.randn(1, 196, 12, dtype=torch.double)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        torch.testing.assert_close(explicit(x, layout), fused(x, layout),
                                   rtol=1e-13, atol=1e-13)


class SoftmaxDtypes(TorchDispatchMode):
    """Collect the dtypes in which softmax is computed."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if 'softmax' in str(func):
            self.seen.add(args[0].dtype)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize('low', [torch.bfloat16, torch.float16])
def test_explicit_softmax_is_never_in_low_precision(low):
    attn = WindowAttention(8, 1, False).to(low)
    layout = StageGrid((5, 7), (80, 112), WindowRule(1, 224), 4)
    with SoftmaxDtypes() as softmax:
        attn(torch.randn(1, 35, 8, dtype=low), layout)
    assert softmax.seen == {torch.float32}


def test_explicit_has_forward_mode_derivatives():
    attn = WindowAttention(12, 3, False).double()
    layout = StageGrid((5, 7), (500, 610), WindowRule(1, 224), 4)
    x, direction = torch.randn(2, 1, 35, 12, dtype=torch.double)
    _, tangent = torch.func.jvp(lambda y: attn(y, layout), (x, ), (direction, ))
    step = 1e-6
    with torch.no_grad():
        expected = (attn(x + step * direction, layout) -
                    attn(x - step * direction, layout)) / (2 * step)
    torch.testing.assert_close(tangent, expected, rtol=1e-6, atol=1e-8)
