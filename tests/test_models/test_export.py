"""The backbone compiled, exported, copied and pickled."""
import copy

import pytest
import torch

from networks import build, twin

# all that may be added to the published architecture
ALL = dict(shift_windows=True, global_blocks=(0, 0, 1, 1), use_rel_pos_bias=True,
           use_conv_pos_embed=True)


@pytest.mark.slow
@pytest.mark.parametrize('training, options', [(True, {}), (False, {}), (True, ALL)],
                         ids=str)
def test_compiled_graph_serves_every_batch_size(training, options):
    """One whole graph for the first batch size, one for all others."""
    from torch._dynamo.testing import CompileCounter
    torch._dynamo.reset()
    backbone, counter = build('4,2,2|2,1,2|3,1,2|2,1,2|8,8', **options), CompileCounter()
    backbone.train(training)
    plain = twin(backbone, **options)
    backbone.compile(backend=counter, fullgraph=True)
    for batch_size in (2, 3, 5):
        images = torch.randn(batch_size, 3, 75, 107)
        for ours, theirs in zip(backbone(images), plain(images)):
            assert torch.allclose(ours, theirs, atol=1e-5)
    assert counter.frame_count <= 2
    torch._dynamo.reset()


@pytest.mark.slow
@pytest.mark.parametrize('options', [{}, dict(attn_impl='explicit'), ALL], ids=len)
def test_export_with_a_dynamic_batch(options):
    backbone = build(**options, pretrain_img_size=64).eval()
    exported = torch.export.export(
        backbone, (torch.randn(2, 3, 75, 64), ),
        dynamic_shapes=({0: torch.export.Dim('batch')}, )).module()
    for batch in (1, 3):
        x = torch.randn(batch, 3, 75, 64)
        with torch.no_grad():
            for ours, theirs in zip(exported(x), backbone(x)):
                torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_copies_and_pickles(tmp_path):
    backbone = build().eval()
    torch.save(backbone, tmp_path / 'backbone.pth')
    loaded = torch.load(tmp_path / 'backbone.pth', weights_only=False)
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        for other in (copy.deepcopy(backbone), loaded):
            for ours, theirs in zip(other(x), backbone(x)):
                assert torch.equal(ours, theirs)
