"""ReViT: one classifier or detector at several token strides."""
import copy
from collections import Counter

import dvts
import pytest
import torch
import torch.distributed as dist
from mmengine.logging import MessageHub
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import MODELS, init_default_scope
from revits import STRIDES, Brightness, assigner, batch, build, classifier

from mmasvit.engine.hooks import find_elastic
from mmasvit.errors import InputError


def scores(samples):
    return torch.stack([sample.pred_score for sample in samples])


def choosing(**options):
    """A ReViT whose assigner sends images to all strides."""
    revit = build(assigner=assigner(), **options)
    revit.assigner.model = Brightness()
    return revit


def losses(revit, data=None):
    data = revit.data_preprocessor(copy.deepcopy(data or batch()), True)
    return revit(**data, mode='loss')


def step(revit, data):
    """Gradients of a step."""
    revit.zero_grad()
    total, _ = revit.parse_losses(losses(revit, data))
    total.backward()
    return {name: p.grad.clone() for name, p in revit.named_parameters()
            if p.grad is not None}


@pytest.mark.parametrize('size', [1, 2, 7])
def test_every_image_is_computed_once_at_its_stride_and_in_order(size):
    revit, data = choosing(), batch()
    apart = {stride: scores(revit.predict(
        **revit.data_preprocessor(batch(), False), token_stride=stride))
        for stride in STRIDES}
    entered, order = Counter(), torch.randperm(7).tolist()
    revit.backbone.patch_embed.register_forward_pre_hook(
        lambda module, args: entered.update({args[1]: len(args[0])}))
    results = []
    for start in range(0, 7, size):
        part = order[start:start + size]
        results += revit.test_step({key: [value[i] for i in part]
                                    for key, value in data.items()})
    assert [sample.number for sample in results] == order
    chosen = [sample.token_stride for sample in results]
    assert entered == Counter(chosen) and set(chosen) == set(STRIDES)
    offline = torch.stack([apart[stride][i] for stride, i in zip(chosen, order)])
    torch.testing.assert_close(scores(results), offline)
    assert all((apart[16] - apart[stride]).abs().max() > 1e-3 for stride in (8, 4))


def test_biases_move_the_choice_from_the_coarsest_to_the_finest():
    revit = choosing()
    for bias, only in (((1e3, 0, 0), 16), ((0, 0, 1e3), 4)):
        revit.assigner.set_bias(bias)
        assert {s.token_stride for s in revit.test_step(batch())} == {only}


def test_padding_does_not_reach_the_assigner():
    revit, seen = choosing(), []
    revit.assigner.model.register_forward_pre_hook(
        lambda module, args: seen.append(args[0]))
    data = revit.data_preprocessor(batch(), False)
    revit.predict(**data)
    data['inputs'] = torch.nn.functional.pad(data['inputs'], (0, 16, 0, 16), value=9.)
    revit.predict(**data)
    assert torch.equal(*seen)


def test_fixed_stride_by_config_argument_or_per_image():
    revit = build(test_cfg=dict(token_stride=8))
    assert {s.token_stride for s in revit.test_step(batch())} == {8}
    data = revit.data_preprocessor(batch(3), False)
    found = revit(**data, mode='predict', token_stride=[4, 16, 4])
    assert [s.token_stride for s in found] == [4, 16, 4]
    logits = revit(data['inputs'], token_stride=16)
    torch.testing.assert_close(logits.softmax(1)[1], found[1].pred_score)
    assert revit.backbone.token_stride == 4


def test_losses_are_those_of_each_stride_and_distillation_the_rest():
    revit, plain = build(distill=None), losses(build(distill=None))
    assert set(plain) == {'s16.loss', 's8.loss', 's4.loss'}
    revit = build(distill=dict(weight=0.25, temperature=2.))
    mixed = losses(revit)
    logits = {stride: revit(revit.data_preprocessor(batch(), False)['inputs'],
                            token_stride=stride) for stride in STRIDES}
    fine = (logits[4] / 2).softmax(1)
    torch.testing.assert_close(mixed['s4.loss'], plain['s4.loss'])
    for stride in (16, 8):
        torch.testing.assert_close(mixed[f's{stride}.loss'],
                                   0.75 * plain[f's{stride}.loss'])
        own = (logits[stride] / 2).softmax(1)
        divergence = (fine * (fine / own).log()).sum(1).mean() * 4
        torch.testing.assert_close(mixed[f's{stride}.loss_distill'], 0.25 * divergence)


def test_distillation_leaves_the_finest_stride_alone():
    revit = build(distill=dict(weight=1.))
    found = losses(revit)
    del found['s4.loss']
    revit.parse_losses(found)[0].backward()
    rows = revit.backbone.norm3.weight.grad
    assert rows[:2].abs().min() > 0 and not rows[2].any()


def test_drawn_strides_depend_on_seed_and_iteration_alone():
    hub, drawn = MessageHub.get_current_instance(), []
    try:
        for seed in (0, 0, 1):
            revit = build(strides_per_step=1, seed=seed)
            drawn.append([])
            for iteration in range(20):
                hub.update_info('iter', iteration)
                torch.manual_seed(len(drawn))
                drawn[-1].append(tuple(revit._strides_of_step()))
    finally:
        hub.update_info('iter', 0)
    assert drawn[0] == drawn[1] != drawn[2]
    assert set(drawn[0]) == {(4, 8), (4, 16)}


def test_plain_checkpoint_in_and_out():
    init_default_scope('mmpretrain')
    plain = MODELS.build(classifier())
    plain.init_weights()
    revit = build()
    revit.load_state_dict(plain.state_dict())
    inputs = revit.data_preprocessor(batch(), False)['inputs']
    again = MODELS.build(classifier())
    for stride in STRIDES:
        plain.backbone.set_token_stride(stride)
        again.backbone.set_token_stride(stride)
        expected = plain.eval()(inputs)
        again.load_state_dict(revit.plain_state_dict(stride))
        assert torch.equal(revit(inputs, token_stride=stride), expected)
        assert torch.equal(again.eval()(inputs), expected)


def test_checkpoint_without_an_assigner_leaves_one_that_has_its_weights(tmp_path):
    trained = build(assigner=assigner()).assigner.model
    torch.save(dict(state_dict=trained.state_dict()), tmp_path / 'a.pth')
    whole = build(assigner=assigner(checkpoint=str(tmp_path / 'a.pth')))
    whole.init_weights()  # as a training begins
    whole.load_state_dict(build().state_dict())
    for name, value in whole.assigner.model.state_dict().items():
        assert torch.equal(value, trained.state_dict()[name])
    with pytest.raises(RuntimeError, match='Missing.*assigner'):
        build(assigner=assigner()).load_state_dict(build().state_dict())


def _in_one_process(rank, port, folder):
    import mmasvit  # noqa: F401
    dist.init_process_group('gloo', init_method=f'tcp://127.0.0.1:{port}',
                            world_size=2, rank=rank)
    data = batch(4)
    half = {key: value[2 * rank:2 * rank + 2] for key, value in data.items()}
    model = MMDistributedDataParallel(build(), broadcast_buffers=False)
    data = model.module.data_preprocessor(half, True)
    total, _ = model.module.parse_losses(model(**data, mode='loss'))
    total.backward()
    if not rank:
        torch.save({name: p.grad for name, p in model.module.named_parameters()},
                   f'{folder}/grads.pth')
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_step_as_one_with_both_halves(tmp_path):
    torch.multiprocessing.spawn(_in_one_process, (29531, str(tmp_path)), nprocs=2)
    found = torch.load(tmp_path / 'grads.pth')
    for name, grad in step(build(), batch(4)).items():
        torch.testing.assert_close(found[name], grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('wrong, line', [
    (dict(token_strides=(4, )), 'token_strides must be several'),
    (dict(token_strides=(32, 4)), 'token_strides must be a list of'),
    (dict(strides_per_step=3), 'strides_per_step must be a whole number from 0 to 2'),
    (dict(distill=dict(weight=2.)), 'weight must be from 0 to 1'),
    (dict(distill=dict(wait=2.)), 'unknown wait'),
    (dict(test_cfg=dict(token_stride=2)), 'token stride must be one of 16, 8, 4'),
    (dict(assigner=assigner(4)), 'has 4 classes, there are 3 token strides'),
    (dict(assigner=assigner(bias=(0., 0.))), 'bias must be one number per token stride'),
    (dict(assigner=assigner(normalisation=dict(mean=[0.] * 3, std=[1.] * 3))),
     'normalises images by'),
    (dict(assigner=assigner(checkpoint='none.pth')), 'none.pth'),
    (dict(assigner=dict(size=3)), 'unknown size'),
    (dict(assigner=dict(bias=(0, 0, 0))), 'either config or model'),
    (dict(assigner=dict(config='none.py')), 'none.py does not exist'),
])
def test_bad_input_is_one_line(wrong, line):
    init_default_scope('mmpretrain')
    with pytest.raises(InputError, match=line) as caught:
        MODELS.build(dict(dict(type='ReViT', model=classifier()), **wrong))
    assert '\n' not in str(caught.value)


def test_model_without_as_vit_is_refused():
    init_default_scope('mmpretrain')
    model = dict(classifier(), backbone=dict(type='MobileNetV3', arch='small'))
    with pytest.raises(InputError, match='must have one AsViT'):
        MODELS.build(dict(type='ReViT', model=model))


def test_image_smaller_than_a_coarse_token_is_refused():
    with pytest.raises(InputError, match='smaller than one token'):
        losses(build(), batch(2, size=12))
    with pytest.raises(InputError, match='2 token strides for 7 images'):
        revit = build()
        revit.predict(**revit.data_preprocessor(batch(), False), token_stride=[4, 8])


@pytest.mark.parametrize('model', [build, dvts.build])
def test_no_schedule_of_tokens_beside_strides_of_its_own(model):
    with pytest.raises(InputError, match='strides 16, 8, 4 by itself'):
        find_elastic(model())
