"""DVT: exits of growing token numbers that reuse features and relations, and stop."""
import copy
import os
import signal
import time
from collections import Counter

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from dvts import build, config, relations_by_matrix, upsampling
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from revits import STRIDES, batch
from torch.utils.data import Dataset

from mmasvit import AsViT
from mmasvit.adaptive import choose_exits
from mmasvit.adaptive.reuse import Reuse
from mmasvit.engine import checkpoints
from mmasvit.errors import InputError
from mmasvit.models.exchange import upsample, upsample_relations

SIZE = 64


def images(number=3, seed=1):
    torch.manual_seed(seed)
    return torch.randn(number, 3, SIZE, SIZE)


def states(dvt, inputs):
    """What each exit leaves, logits too, and the maps that its head gets."""
    upstream, left = None, []
    for place in range(len(dvt.token_strides)):
        maps, upstream = dvt._step(place, inputs, upstream, True)
        left.append((maps, upstream))
    return left


# ------------------------------------------------------------------------- upsampling


@pytest.mark.parametrize('down, up, rows', [
    (3, 2, [{0: 1}, {0: .5, 1: .5}, {1: 1}]),
    (10, 7, [{0: 1}, {0: .5, 1: .5}, {1: 2 / 3, 2: 1 / 3}, {2: 1}, {2: .5, 3: .5},
             {3: .5, 4: .5}, {4: 1}, {4: 1 / 3, 5: 2 / 3}, {5: .5, 6: .5}, {6: 1}]),
    (4, 2, [{0: 1}, {0: 1}, {1: 1}, {1: 1}]),
])
def test_upsampling_matrices(down, up, rows):
    u = torch.tensor([[row.get(i, 0.) for i in range(up)] for row in rows])
    torch.testing.assert_close(upsampling(down, up), u)
    x = torch.randn(2, 5, up, up + 1)
    torch.testing.assert_close(upsample(x, (down, 2 * up + 2)),
                               u @ x @ upsampling(2 * up + 2, up + 1).T)
    a = torch.randn(3, 2, up, 2, up, 2)
    whole = torch.kron(u, upsampling(5, 2))
    torch.testing.assert_close(upsample_relations(a, (down, 5)),
                               whole @ a.reshape(3, 2, 2 * up, 2 * up) @ whole.T)


# ------------------------------------------------------------------ what exits compute


def test_exported_logits_are_products_plus_relations():
    """Check 4, recomputed from the weights; with several windows in the first stage."""
    dvt, inputs = build(), images()
    seen = {}
    for place, network in enumerate(dvt.networks):
        for i, stage in enumerate(network.backbone.stages):
            for j, block in enumerate(stage.blocks):
                block.attn.register_forward_pre_hook(
                    lambda module, args, key=(place, i, j): seen.update({key: args[:2]}))
    left = states(dvt, inputs)
    for (place, i, j), (x, grid) in seen.items():
        attn = dvt.networks[place].backbone.stages[i].blocks[j].attn
        (group, ), tokens = grid.groups, grid.groups[0].window_tokens
        q, k, _ = F.linear(x, attn.qkv.weight, attn.qkv.bias).reshape(
            len(inputs), -1, tokens, 3, attn.num_heads,
            attn.qkv.out_features // 3 // attn.num_heads).permute(3, 0, 1, 4, 2, 5)
        expected = q @ k.mT / k.shape[-1]**.5
        if place:
            terms = relations_by_matrix(dvt, place, i, left[place - 1][1],
                                        group.window)[j]
            assert terms.abs().max() > 0.05
            expected = expected + terms
        heads = attn.num_heads
        found = left[place][1].logits[i][:, :, j * heads:(j + 1) * heads]
        assert found.shape[3:] == group.window * 2
        torch.testing.assert_close(found.flatten(5).flatten(3, 4), expected, atol=1e-5,
                                   rtol=1e-4)
    assert left[0][1].logits[0].shape[1] == 4  # windows


@pytest.mark.parametrize('source', ['last', 'same_stage'])
def test_context_is_each_blocks_own_perceptron_upsampled(source):
    dvt, inputs = build(reuse=dict(feature_source=source, relations=False)), images()
    upstream = states(dvt, inputs)[0][1]
    backbone, seen = dvt.networks[1].backbone, []
    for stage in backbone.stages:
        for block in stage.blocks:
            block.norm2.register_forward_pre_hook(
                lambda module, args: seen.append(args[0]))
    grids = []
    for stage in backbone.stages:
        stage.blocks[0].register_forward_pre_hook(
            lambda module, args: grids.append(args[1]))
    backbone(inputs, 8, upstream)
    seen = iter(seen)
    for i, (part, grid) in enumerate(zip(backbone.reuses['8'], grids)):
        z = upstream.features[-1 if source == 'last' else i]
        for norm, widen, _, narrow in part.features:
            context = narrow(F.gelu(widen(norm(z)))).permute(0, 3, 1, 2)
            u = [upsampling(down, up) for down, up in zip(grid.shape, context.shape[2:])]
            context = grid.restore(next(seen)[..., -48:]), u[0] @ context @ u[1].T
            torch.testing.assert_close(context[0].permute(0, 3, 1, 2), context[1],
                                       atol=1e-5, rtol=1e-4)
    assert next(seen, None) is None


@pytest.mark.parametrize('silent', [True, False])
def test_silenced_reuse_is_the_plain_network_that_sees_zeros(silent):
    """Check 3: with the last layers of all that is reused at zero."""
    dvt, inputs = build(), images()
    with torch.no_grad():
        for network in dvt.networks[1:] if silent else ():
            for part in network.backbone.reuses.modules():
                if isinstance(part, (torch.nn.Conv2d, torch.nn.Linear)) and (
                        part.out_channels if isinstance(part, torch.nn.Conv2d) else
                        part.out_features) < (part.weight.shape[1]):
                    part.weight.zero_(), part.bias.zero_()
    for place, (stride, (maps, _)) in enumerate(zip(STRIDES, states(dvt, inputs))):
        backbone = dvt.networks[place].backbone
        plain = AsViT(backbone.topology, out_indices=(3, ), pretrain_img_size=SIZE,
                      resample_outputs=False, context_channels=48 if place else 0)
        plain.load_state_dict({key: value for key, value in backbone.state_dict().items()
                               if not key.startswith('reuses.')})
        (expected, ) = plain(inputs, stride)
        same = torch.allclose(maps[0], expected.mean((2, 3)), atol=1e-5)
        assert same == (silent or not place)


def test_fused_and_explicit_agree_where_relations_come_in():
    dvt, inputs = build(), images()
    logits = [dvt(inputs, token_stride=stride) for stride in STRIDES]
    calls = []
    real = F.scaled_dot_product_attention
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, 'scaled_dot_product_attention', lambda q, k, v, bias, scale: (
            calls.append(bias), real(q, k, v, bias, scale=scale))[1])
        dvt(inputs)
    # exits that export write their attention out, the last one does not
    assert len(calls) == 6 and all(bias is not None for bias in calls)
    for network in dvt.networks:
        network.backbone.set_attn_impl('explicit')
    for stride, expected in zip(STRIDES, logits):
        torch.testing.assert_close(dvt(inputs, token_stride=stride), expected, atol=1e-5,
                                   rtol=1e-4)
    assert (logits[0] - logits[1]).abs().min() > 1e-4


def extra(topology, source):
    """The closed form of what one exit's reuse adds."""
    total = 0
    for i in range(4):
        depth, width, heads = (getattr(topology, name)[i]
                               for name in ('depths', 'widths', 'heads'))
        given = topology.widths[3 if source == 'last' else i]
        hidden = topology.expansions[i] * width
        total += depth * (2 * given + 128 * given + 128 + 128 * 48 + 48 + 2 * 48
                          + 48 * hidden) + 6 * (depth * heads)**2 + 4 * depth * heads
    return total


@pytest.mark.parametrize('source', ['last', 'same_stage'])
@pytest.mark.parametrize('strides', [(16, 8, 4), (16, 4)])
def test_extra_parameters_equal_the_closed_form(source, strides):
    models = [build(strides=strides, reuse=reuse)
              for reuse in (None, dict(feature_source=source))]
    plain, ours = (sum(p.numel() for p in one.parameters()) for one in models)
    assert models[1](images(1)).shape == (1, 4)
    topology = models[0].networks[0].backbone.topology
    assert ours - plain == (len(strides) - 1) * extra(topology, source)
    assert topology.count_params(context_channels=48) - topology.count_params() == sum(
        d * 48 * (2 + e * w) for d, e, w in zip(topology.depths, topology.expansions,
                                                topology.widths))


# ------------------------------------------------------------------------------ losses


def losses(dvt, data=None):
    data = dvt.data_preprocessor(copy.deepcopy(data or batch(4, SIZE)), True)
    return dvt(**data, mode='loss')


def gradients(dvt, data=None, only=None):
    dvt.zero_grad()
    found = losses(dvt, data)
    if only:
        found = {only: found[only]}
    dvt.parse_losses(found)[0].backward()
    return {name: p.grad.clone() for name, p in dvt.named_parameters()
            if p.grad is not None}


def test_losses_are_each_exits_own_times_its_weight():
    exits = [dict(token_stride=16, loss_weight=2.), dict(token_stride=8),
             dict(token_stride=4, loss_weight=.5)]
    dvt = build(exits=exits)
    found = losses(dvt)
    inputs = dvt.data_preprocessor(batch(4, SIZE), False)['inputs']
    for stride, weight in zip(STRIDES, (2, 1, .5)):
        expected = F.cross_entropy(dvt(inputs, token_stride=stride), torch.arange(4))
        torch.testing.assert_close(found.pop(f's{stride}.loss'), weight * expected)
    assert not found


@pytest.mark.parametrize('augment', ['Mixup', 'CutMix'])
def test_mixed_targets_reach_every_exit(augment):
    dvt = build(train_cfg=dict(augments=dict(type=augment, alpha=1.)), head=dict(
        type='LinearClsHead', num_classes=4, in_channels=80,
        loss=dict(type='CrossEntropyLoss', use_soft=True)))
    torch.manual_seed(0)
    data = dvt.data_preprocessor(batch(4, SIZE), True)
    targets = torch.stack([sample.gt_score for sample in data['data_samples']])
    assert (targets.max(1)[0] < 1).any()
    found = dvt(**data, mode='loss')
    for stride in STRIDES:
        logits = dvt(data['inputs'], token_stride=stride)
        expected = -(targets * logits.log_softmax(1)).sum(1).mean()
        torch.testing.assert_close(found[f's{stride}.loss'], expected)


@pytest.mark.parametrize('share', [False, True])
@pytest.mark.parametrize('detach', [False, True])
def test_gradients_reach_the_exit_before_unless_detached(share, detach):
    dvt = build(share_weights=share, reuse=dict(detach_reuse=detach))
    last = gradients(dvt, only='s4.loss')
    every = gradients(dvt)
    assert len(every) == len(list(dvt.parameters()))
    if share:
        rows = last['networks.0.backbone.stages.0.blocks.0.norm1.weight']
        assert rows[2].any() and bool(rows[:2].any()) != detach
    else:
        reached = {name.split('.')[1] for name, grad in last.items() if grad.any()}
        assert reached == ({'2'} if detach else {'0', '1', '2'})


def test_checkpointed_blocks_give_the_same_gradients():
    found = [gradients(build(backbone=dict(with_cp=with_cp)).train())
             for with_cp in (False, True)]
    for name, grad in found[0].items():
        torch.testing.assert_close(found[1][name], grad, rtol=1e-4, atol=1e-6)


def test_shared_weights_have_norms_and_reuse_of_their_own():
    dvt = build(share_weights=True)
    (network, ) = dvt.networks
    assert set(network.backbone.reuses) == {'8', '4'}
    assert network.backbone.norm3.weight.shape[0] == 3
    logits = [dvt(images(), token_stride=stride) for stride in STRIDES]
    with torch.no_grad():  # check 1
        for name, parameter in dvt.named_parameters():
            if 'norm' in name and parameter.ndim == 2 and len(parameter) == 3:
                parameter[2] += 1
    again = [dvt(images(), token_stride=stride) for stride in STRIDES]
    assert [torch.equal(*pair) for pair in zip(logits, again)] == [True, True, False]


# -------------------------------------------------------------------------- prediction


def middling(dvt, inputs):
    """Confidences at every exit, and thresholds at which a third leaves each."""
    sure = torch.stack([dvt(inputs, token_stride=stride).softmax(1).max(1)[0]
                        for stride in STRIDES], 1).detach()
    first = sure[:, 0].sort(descending=True)[0]
    thresholds = [float(first[9:11].mean()), 0., 0.]
    left = sure[sure[:, 0] < thresholds[0], 1].sort(descending=True)[0]
    thresholds[1] = float(left[9:11].mean())
    return sure, thresholds


@pytest.mark.parametrize('size', [1, 7, 32])
@pytest.mark.parametrize('share', [False, True])
def test_every_exit_computes_the_images_that_are_left_and_no_other(size, share):
    """Check 5."""
    dvt, data = build(share_weights=share), dict(
        inputs=[torch.randint(0, 50 + 6 * i, (3, SIZE, SIZE), dtype=torch.uint8)
                for i in range(32)],
        data_samples=[DataSample(metainfo=dict(number=i)) for i in range(32)])
    ready = dvt.data_preprocessor(copy.deepcopy(data), False)
    sure, thresholds = middling(dvt, ready['inputs'])
    decided = choose_exits(sure.numpy(), [*thresholds[:2], -1e8])
    assert sorted(Counter(decided.tolist()).values()) == [10, 10, 12]
    dvt.set_thresholds(thresholds)
    entered = Counter()
    for network in dvt.networks:
        network.backbone.patch_embed.register_forward_pre_hook(
            lambda module, args: entered.update({args[1]: len(args[0])}))
        network.head.register_forward_pre_hook(
            lambda module, args: entered.update(heads=len(args[0][-1])))
    order, results = torch.randperm(32).tolist(), []
    for start in range(0, 32, size):
        part = order[start:start + size]
        results += dvt.test_step({key: [value[i] for i in part]
                                  for key, value in data.items()})
    assert [sample.number for sample in results] == order
    assert [sample.exit for sample in results] == decided[order].tolist()
    assert [sample.token_stride for sample in results] == [
        STRIDES[k] for k in decided[order]]
    reach = [int((decided >= k).sum()) for k in range(3)]
    heads = entered.pop('heads')
    assert dict(entered) == dict(zip(STRIDES, reach)) and heads == sum(reach)
    logits = torch.stack([dvt(ready['inputs'], token_stride=stride)
                          for stride in STRIDES], 1)
    offline = logits[range(32), decided].softmax(1)[order]
    torch.testing.assert_close(torch.stack([s.pred_score for s in results]), offline,
                               atol=1e-5, rtol=1e-4)


def test_who_reaches_the_threshold_leaves():
    dvt = build()
    dvt.set_thresholds([0., 0., 0.])
    sure = [s.pred_score.max() for s in dvt(images(), mode='predict')]
    dvt.set_thresholds([float(sorted(sure)[1]), 1e8, 0.])
    found = dvt(images(), mode='predict')
    assert [s.exit for s in found] == [0 if one >= sorted(sure)[1] else 2 for one in sure]


def test_exits_by_config_by_call_and_by_default():
    dvt = build(test_cfg=dict(token_stride=8))
    assert {s.exit for s in dvt.test_step(batch(4, SIZE))} == {1}
    dvt = build(test_cfg=dict(thresholds=(0., 1., 1.)))
    assert {s.exit for s in dvt.test_step(batch(4, SIZE))} == {0}
    dvt = build()
    assert {s.exit for s in dvt.test_step(batch(4, SIZE))} == {2}
    found = dvt(images(), mode='predict', token_stride=16)
    assert [s.token_stride for s in found] == [16] * 3
    torch.testing.assert_close(torch.stack([s.pred_score for s in found]),
                               dvt(images(), token_stride=16).softmax(1))


def test_bfloat16_and_other_shapes_of_images():
    dvt = build(backbone=dict(pretrain_img_size=2 * SIZE))
    wide = torch.randn(2, 3, SIZE, 2 * SIZE)
    expected = dvt(wide)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = dvt(wide)
    assert (found - expected).abs().max() < 0.1 * expected.abs().max()


def test_bfloat16_training_is_nearly_float32s():
    totals = []
    for kind in ('OptimWrapper', 'Bf16OptimWrapper'):
        dvt = build(backbone=dict(with_cp=True)).train()
        wrapper = build_optim_wrapper(dvt, dict(type=kind, optimizer=dict(
            type='SGD', lr=.1)))
        with wrapper.optim_context(dvt):
            found = losses(dvt)
        assert all(value.dtype == torch.float32 for value in found.values())
        totals.append(sum(found.values()))
        totals[-1].backward()
        assert all(p.grad.isfinite().all() for p in dvt.parameters())
    assert 0 < abs(totals[1] / totals[0] - 1) < .05


# ------------------------------------------------------------- checkpoints and training


def test_thresholds_survive_a_checkpoint(tmp_path):
    dvt = build()
    dvt.set_thresholds([.5, .75, 0.])
    torch.save(dict(state_dict=dvt.state_dict()), tmp_path / 'a.pth')
    other = build(seed=1)
    checkpoints.check_fit(other, checkpoints.read(str(tmp_path / 'a.pth')), 'a.pth')
    assert other.thresholds == [.5, .75, -1e8]
    with pytest.raises(InputError, match='a.pth does not fit.*exit_thresholds'):
        checkpoints.check_fit(build(strides=(16, 8)),
                              checkpoints.read(str(tmp_path / 'a.pth')), 'a.pth')


class Drawn(Dataset):
    """Eight images that depend on the generator, as augmented ones do."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        image = torch.randint(0, 20 + 30 * index, (3, SIZE, SIZE), dtype=torch.uint8)
        return dict(inputs=image, data_samples=DataSample().set_gt_label(index % 4))


def train(work_dir, epochs=3, **options):
    init_default_scope('mmpretrain')
    runner = Runner(
        config(train_cfg=dict(augments=dict(type='Mixup', alpha=.8))), str(work_dir),
        train_dataloader=dict(
            batch_size=4, num_workers=0, dataset=Drawn(),
            sampler=dict(type='DefaultSampler', shuffle=True),
            collate_fn=dict(type='pseudo_collate')),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
        custom_hooks=[dict(type='EpochSeedHook'), dict(type='EMAHook', momentum=.1)],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
        default_scope='mmpretrain', randomness=dict(seed=7), log_level='ERROR',
        experiment_name=work_dir.name, **options)
    runner.train()
    return runner


@pytest.fixture
def one_thread():
    """A fork has none of its parent's threads, and their number changes last digits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason='CUDA does not survive a fork')
def test_killed_and_resumed_it_ends_as_if_nobody_had(tmp_path, one_thread):
    train(tmp_path / 'whole')
    child = os.fork()
    if not child:
        try:
            train(tmp_path / 'cut', epochs=10**6)
        finally:
            os._exit(1)
    until = time.monotonic() + 60
    while not (tmp_path / 'cut/epoch_2.pth').exists() and time.monotonic() < until:
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    train(tmp_path / 'cut', resume=True, load_from=str(tmp_path / 'cut/epoch_1.pth'))
    ends = [torch.load(tmp_path / name / 'epoch_3.pth', weights_only=False)
            for name in ('whole', 'cut')]
    for part in ('state_dict', 'ema_state_dict'):
        assert ends[0][part].keys() == ends[1][part].keys()
        for name, value in ends[0][part].items():
            assert torch.equal(ends[1][part][name], value), name
    assert ends[0]['state_dict']['exit_thresholds'].tolist() == [1e8, 1e8, -1e8]


def _in_one_process(rank, port, folder):
    import mmasvit  # noqa: F401
    dist.init_process_group('gloo', init_method=f'tcp://127.0.0.1:{port}',
                            world_size=2, rank=rank)
    torch.set_num_threads(1)
    data = batch(4, SIZE)
    half = {key: value[2 * rank:2 * rank + 2] for key, value in data.items()}
    for name, options in OPTIONS.items():
        model = MMDistributedDataParallel(build(**options), broadcast_buffers=False)
        part = model.module.data_preprocessor(copy.deepcopy(half), True)
        model.module.parse_losses(model(**part, mode='loss'))[0].backward()
        if not rank:
            torch.save({key: p.grad for key, p in model.module.named_parameters()},
                       f'{folder}/{name}.pth')
    dist.destroy_process_group()


OPTIONS = dict(apart=dict(backbone=dict(with_cp=True)), shared=dict(share_weights=True))


@pytest.mark.slow
def test_two_processes_step_as_one_with_both_halves(tmp_path, one_thread):
    torch.multiprocessing.start_processes(  # a fork has loaded all that it needs
        _in_one_process, (29537, str(tmp_path)), nprocs=2,
        start_method='spawn' if torch.cuda.is_available() else 'fork')
    for name, options in OPTIONS.items():
        found = torch.load(tmp_path / f'{name}.pth')
        for key, grad in gradients(build(**options), batch(4, SIZE)).items():
            torch.testing.assert_close(found[key], grad, rtol=1e-3, atol=1e-6)


# --------------------------------------------------------------------------- bad input


@pytest.mark.parametrize('wrong, line', [
    (dict(exits=[dict(token_stride=4)]), 'exits must be two or three dicts'),
    (dict(exits=[dict(token_stride=4), dict(token_stride=8)]), 'coarse tokens to fine'),
    (dict(exits=[dict(token_stride=16), dict(token_stride=16)]), 'each at most once'),
    (dict(exits=[dict(stride=16), dict(token_stride=8)]), 'unknown stride'),
    (dict(exits=[dict(token_stride=16, loss_weight='a'), dict(token_stride=8)]),
     'loss_weight must be a finite number'),
    (dict(reuse=dict(feature_source='first')), 'feature_source must be one of last'),
    (dict(reuse=dict(relations=1)), 'relations must be True or False'),
    (dict(reuse=dict(relation=True)), 'unknown relation'),
    (dict(reuse=dict(context_channels=0)), 'context_channels must be a whole number'),
    (dict(test_cfg=dict(thresholds=(.5, .5))), 'one number for each of the 3 exits'),
    (dict(test_cfg=dict(thresholds=(.5, 'a', 1))), 'must be a finite number'),
    (dict(test_cfg=dict(token_stride=2)), 'token stride must be one of 16, 8, 4'),
    (dict(backbone=dict(type='MobileNetV3')), "must be of type 'AsViT'"),
])
def test_bad_input_is_one_line(wrong, line):
    init_default_scope('mmpretrain')
    with pytest.raises(InputError, match=line) as caught:
        MODELS.build(dict(config(), **wrong))
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('backbone, size', [
    ({}, (SIZE, SIZE + 4)), (dict(shift_windows=True), (SIZE, SIZE)),
    (dict(global_blocks=(1, 0, 0, 0), global_img_size=64), (SIZE, SIZE))])
def test_windows_that_do_not_match_are_refused_for_relations_alone(backbone, size):
    inputs = torch.randn(1, 3, *size)
    with pytest.raises(InputError, match='relations cannot be reused at .* in stage 1'):
        build(backbone=backbone)(inputs)
    build(backbone=backbone, reuse=dict(relations=False))(inputs)


def test_thresholds_of_another_number_are_refused():
    for wrong in ([.5], [.5, .5, .5, .5], .5, [.5, float('nan'), 0.]):
        with pytest.raises(InputError, match='DVT: thresholds must be'):
            build().set_thresholds(wrong)
    assert Reuse() == Reuse('last', True, False, 48, 128)
