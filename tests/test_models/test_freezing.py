"""Stages that do not train."""
import copy

import pytest
import torch

from networks import build, loss_of


def parameters_of(backbone, stages):
    """Names of what ``frozen_stages=stages`` freezes."""
    prefixes = ['patch_embed.', 'pos_embed'] if stages >= 0 else []
    for i in range(max(stages, 0)):
        prefixes += [f'stages.{i}.', f'norm{i}.']
    return {name for name, _ in backbone.named_parameters()
            if name.startswith(tuple(prefixes))}


@pytest.mark.parametrize('frozen_stages', [-1, 0, 1, 2, 4])
def test_frozen_stages_do_not_train(frozen_stages):
    backbone = build(frozen_stages=frozen_stages, drop_path_rate=.5)
    assert backbone.train() is backbone
    frozen = parameters_of(backbone, frozen_stages)
    before = copy.deepcopy(backbone.state_dict())
    outs = backbone(torch.randn(8, 3, 48, 48))  # no path is dropped in all of them
    if frozen_stages < 4:
        loss_of(outs).backward()
        optimizer = torch.optim.AdamW(backbone.parameters(), lr=.01, weight_decay=.1)
        optimizer.step()
    else:
        assert not any(out.requires_grad for out in outs)
    for name, p in backbone.named_parameters():
        assert (p.grad is None) == (name in frozen), name
        assert torch.equal(p, before[name]) == (name in frozen), name


@pytest.mark.parametrize('frozen_stages', [0, 2, 4])
def test_frozen_stages_stay_in_evaluation_mode(frozen_stages):
    backbone = build(frozen_stages=frozen_stages, drop_path_rate=.5)
    for _ in range(2):
        backbone.eval()
        assert not any(module.training for module in backbone.modules())
        assert backbone.train() is backbone
        assert backbone.training
        for i, stage in enumerate(backbone.stages):
            modes = {module.training for module in stage.modules()}
            assert modes == {i >= frozen_stages}
        assert not backbone.patch_embed.training
        assert not any(p.requires_grad for name, p in backbone.named_parameters()
                       if name in parameters_of(backbone, frozen_stages))


def test_frozen_stages_drop_no_path():
    backbone = build(frozen_stages=3, drop_path_rate=.9, out_indices=(2, )).train()
    x = torch.randn(2, 3, 48, 48)
    assert torch.equal(backbone(x)[0], backbone(x)[0])


def test_freezing_more_than_is_built():
    backbone = build(frozen_stages=4, out_indices=(0, ))
    assert not any(p.requires_grad for p in backbone.parameters())
