"""The stride of the tokens follows progress, through validation, resume and averaging."""
import json
import math

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import HOOKS, METRICS
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

import mmasvit
from mmasvit import AsViT, ElasticTokenHook
from mmasvit.errors import InputError
from mmasvit.models.tokenizer import ReEmbedding

TINY = '4,2,2|2,1,2|3,1,2|2,1,2|8,8'
SCHEDULE = [(0, 16), (2, 8), (4, 4)]  # of 6 epochs


class Classifier(BaseModel):
    """A backbone and a linear layer; notes the strides that it was used at."""

    def __init__(self, **options):
        super().__init__()
        self.backbone = AsViT(TINY, out_indices=(3, ), pretrain_img_size=32,
                              resample_outputs=False, **options)
        self.fc = nn.Linear(64, 2)
        self.used = dict(loss=[], predict=[])

    def forward(self, images, labels, mode='loss'):
        scores = self.fc(self.backbone(images)[0].mean(dim=(2, 3)))
        self.used[mode].append(self.backbone.token_stride)
        if mode == 'predict':
            return [dict(score=score) for score in scores]
        return dict(loss=nn.functional.cross_entropy(scores, labels))


class Noise(Dataset):
    """Twelve images of 32 px."""

    def __len__(self):
        return 12

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        return dict(images=torch.randn(3, 32, 32, generator=generator),
                    labels=torch.tensor(index % 2))


class Recorder(Hook):
    """Notes each step: (epoch, iteration, stride, loss)."""
    priority = 'LOWEST'

    def __init__(self):
        self.steps, self.epochs = [], []

    def before_train_epoch(self, runner):
        self.epochs.append(runner.model.backbone.token_stride)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        stride = runner.model.backbone.token_stride
        self.steps.append((runner.epoch, runner.iter, stride, outputs['loss'].item()))


def loader(batch_size=4, sampler='DefaultSampler', shuffle=True):
    return dict(batch_size=batch_size, num_workers=0, dataset=Noise(),
                sampler=dict(type=sampler, shuffle=shuffle),
                collate_fn=dict(type='default_collate'))


@METRICS.register_module(force=True)
class CountOfImages(BaseMetric):
    """How many were evaluated."""
    default_prefix = 'images'

    def process(self, data_batch, data_samples):
        self.results += [1] * len(data_samples)

    def compute_metrics(self, results):
        return dict(count=len(results))


def classifier(**options):
    """Always the same weights."""
    torch.manual_seed(0)
    model = Classifier(**options)
    model.backbone.init_weights()
    return model


def runner_of(work_dir, milestones=SCHEDULE, max_epochs=6, model=None, ema=False,
              val=False, options={}, **more):
    """A Runner of three iterations an epoch."""
    model = model or classifier()
    hooks = [dict(type='EpochSeedHook'), Recorder()]
    if milestones is not None:
        hooks.append(dict(type='ElasticTokenHook', milestones=milestones, **options))
    if ema:
        hooks.append(dict(type='EMAHook', momentum=0.3))
    settings = dict(
        train_dataloader=loader(), train_cfg=dict(by_epoch=True, max_epochs=max_epochs),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-2)),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1),
                           logger=dict(type='LoggerHook', interval=1)),
        randomness=dict(seed=7), log_level='ERROR', experiment_name=str(work_dir.name))
    if val:
        settings.update(val_dataloader=loader(shuffle=False), val_cfg=dict(),
                        val_evaluator=dict(type='CountOfImages'))
    return Runner(model, str(work_dir), custom_hooks=hooks, **{**settings, **more})


def recorder_of(runner):
    return next(hook for hook in runner.hooks if isinstance(hook, Recorder))


def train(*args, **options):
    runner = runner_of(*args, **options)
    runner.train()
    return runner


def strides(runner):
    return [stride for _, _, stride, _ in recorder_of(runner).steps]


ITERATIONS = dict(train_cfg=dict(by_epoch=False, max_iters=9, val_interval=3),
                  train_dataloader=loader(sampler='InfiniteSampler'),
                  options=dict(by_epoch=False))
EACH = dict(checkpoint=dict(type='CheckpointHook', interval=1, by_epoch=False))

# ------------------------------------------------------------------------- the schedule


def test_stride_follows_the_epoch(tmp_path):
    runner = train(tmp_path)
    assert strides(runner) == [16] * 6 + [8] * 6 + [4] * 6
    assert recorder_of(runner).epochs == [16] * 2 + [8] * 2 + [4] * 2


def test_tokens_are_full_before_the_first_milestone(tmp_path):
    runner = train(tmp_path, [(1, 16), (2, 4)], 3)
    assert strides(runner) == [4] * 3 + [16] * 3 + [4] * 3


def test_stride_follows_fractions_of_epochs(tmp_path):
    """A third of an epoch is one iteration; what lies between begins with the next."""
    runner = train(tmp_path, [(0, 16), (1 / 3, 8), (1.4, 4)], 2)
    assert strides(runner) == [16, 8, 8, 8, 8, 4]


def test_stride_follows_iterations_in_either_loop(tmp_path):
    by_iteration = train(tmp_path / 'i', [(0, 16), (4, 8), (5, 4)], **ITERATIONS)
    assert strides(by_iteration) == [16] * 4 + [8] + [4] * 4
    by_epoch = train(tmp_path / 'e', [(0, 16), (4, 8), (5, 4)], 3,
                     options=dict(by_epoch=False))
    assert strides(by_epoch) == strides(by_iteration)


def test_weights_and_states_are_those_of_a_run_without(tmp_path):
    """A schedule of full tokens changes no number and no name in a checkpoint."""
    runs = [train(tmp_path / name, milestones, 2)
            for name, milestones in (('with', [(0, 4)]), ('without', None))]
    assert recorder_of(runs[0]).steps == recorder_of(runs[1]).steps
    states = [torch.load(tmp_path / name / 'epoch_2.pth', weights_only=False)
              for name in ('with', 'without')]
    assert states[0].keys() == states[1].keys()
    assert states[0]['state_dict'].keys() == states[1]['state_dict'].keys()
    for name, value in states[0]['state_dict'].items():
        assert torch.equal(value, states[1]['state_dict'][name])


# ------------------------------------------------------------------------------- resume


@pytest.mark.parametrize('ema', [False, True], ids=['plain', 'ema'])
def test_resume_at_and_around_each_milestone(tmp_path, ema):
    """From every epoch on: same strides, same losses, same weights."""
    whole = train(tmp_path / 'whole', ema=ema, val=ema)
    expected = recorder_of(whole).steps
    assert len({loss for *_, loss in expected}) == 18
    for epoch in range(1, 6):
        rest = runner_of(tmp_path / f'rest{epoch}', ema=ema, val=ema, resume=True,
                         load_from=str(tmp_path / 'whole' / f'epoch_{epoch}.pth'))
        rest.train()
        assert recorder_of(rest).steps == expected[3 * epoch:], epoch
        for ours, theirs in zip(rest.model.parameters(), whole.model.parameters()):
            assert torch.equal(ours, theirs)


def test_resume_at_and_around_milestones_in_iterations(tmp_path):
    milestones = [(0, 16), (4, 8), (6, 4)]
    options = dict(ITERATIONS, default_hooks=EACH)
    whole = train(tmp_path / 'whole', milestones, **options)
    expected = recorder_of(whole).steps
    for done in (3, 4, 5, 6, 7):
        rest = train(tmp_path / f'rest{done}', milestones, resume=True, **dict(
            options, load_from=str(tmp_path / 'whole' / f'iter_{done}.pth')))
        assert recorder_of(rest).steps == expected[done:], done


# --------------------------------------------------------------------------- evaluation


@pytest.mark.parametrize('ema', [False, True], ids=['plain', 'ema'])
def test_validation_uses_full_tokens_and_training_goes_on_coarse(tmp_path, ema):
    runner = train(tmp_path, ema=ema, val=True)
    assert runner.model.used['predict'] == [4] * 18  # 6 validations of 3 batches
    assert runner.model.used['loss'] == strides(runner) == [16] * 6 + [8] * 6 + [4] * 6


def test_validation_within_a_long_epoch(tmp_path):
    runner = train(tmp_path, [(0, 16), (4, 8), (7, 4)], val=True, **ITERATIONS)
    assert runner.model.used['predict'] == [4] * 9
    assert runner.model.used['loss'] == [16] * 4 + [8] * 3 + [4] * 2


def test_validation_at_the_tokens_of_training(tmp_path):
    runner = train(tmp_path, val=True, options=dict(eval_full_tokens=False))
    assert runner.model.used['predict'] == [16] * 6 + [8] * 6 + [4] * 6


def test_test_and_validation_without_training(tmp_path):
    for name, before in (('test', 4), ('val', 8)):
        runner = runner_of(tmp_path / name, val=True, test_dataloader=loader(),
                           test_cfg=dict(), test_evaluator=dict(type='CountOfImages'))
        runner.model.backbone.set_token_stride(before)
        getattr(runner, name)()
        assert runner.model.used['predict'] == [4] * 3
        assert runner.model.backbone.token_stride == before


def test_averaged_weights_are_validated_at_full_tokens(tmp_path):
    """The score of the averaged model is that of its copy run by hand."""
    seen = []

    class Look(Hook):
        priority = 'LOWEST'

        def before_val_epoch(self, runner):
            ema = next(hook for hook in runner.hooks if hasattr(hook, 'ema_model'))
            images = Noise()[0]['images'][None]
            with torch.no_grad():
                live = runner.model.backbone.eval()(images)[0]
                # the hook has swapped: the live model holds the averaged weights
                copy = AsViT(TINY, out_indices=(3, ), pretrain_img_size=32).eval()
                copy.load_state_dict(runner.model.backbone.state_dict())
                seen.append((torch.equal(copy(images)[0], live), ema.ema_model.module
                             .backbone.token_stride))

    runner = runner_of(tmp_path, ema=True, val=True)
    runner.register_hook(Look())
    runner.train()
    assert seen == [(True, 4)] * 6


# ---------------------------------------------------------------------------------- log


def test_stride_and_cost_are_logged(tmp_path):
    runner = train(tmp_path)
    backbone = runner.model.backbone
    rows = [json.loads(line) for path in tmp_path.glob('*/vis_data/scalars.json')
            for line in path.read_text().splitlines()]
    assert [row['token_stride'] for row in rows] == strides(runner)
    for row in rows:
        assert row['relative_macs'] == pytest.approx(
            backbone.count_macs((32, 32), int(row['token_stride']))
            / backbone.count_macs((32, 32), 4))
    history, _ = runner.message_hub.get_scalar('train/token_stride').data
    assert history.tolist() == strides(runner)


def test_plan_is_printed_at_the_start(tmp_path):
    train(tmp_path, log_level='INFO')
    text = next(tmp_path.glob('*/*.log')).read_text()
    plan = text[text.index('tokens planned'):text.index('Epoch(train)')]
    assert 'backbone AsViT alone, images of 32 x 32 px' in plan
    for words in ('0 to 2 16 2 x 2', '2 to 4 8 4 x 4', '4 to 6 4 8 x 8 0.000 100.0%'):
        assert words in ' '.join(plan.split())
    macs = {s: Classifier().backbone.count_macs((32, 32), s) for s in (4, 8, 16)}
    saved = 1 - sum(macs.values()) / (3 * macs[4])
    assert f'saving of the whole run: {saved:.1%}' in plan
    assert 'token_stride: 16 ' in text and 'relative_macs: 1.0000' in text


# ---------------------------------------------------------------- learning rate, batches


# --------------------------------------------------------------------- ways to compute


def test_checkpointed_blocks(tmp_path):
    plain = train(tmp_path / 'plain')
    saving = train(tmp_path / 'saving', model=classifier(with_cp=True))
    for ours, theirs in zip(recorder_of(saving).steps, recorder_of(plain).steps):
        assert ours[:3] == theirs[:3] and ours[3] == pytest.approx(theirs[3], rel=1e-4)


@pytest.mark.slow
def test_compiled_backbone_gets_one_graph_per_stride(tmp_path, monkeypatch):
    # the eager run takes the re-embedding that compiled ones take at any batch size
    monkeypatch.setattr(ReEmbedding, 'worthwhile_patches', 0)
    from torch._dynamo.testing import CompileCounter
    torch._dynamo.reset()
    counter, model = CompileCounter(), classifier()
    model.backbone.compile(backend=counter, fullgraph=True)
    milestones = [(0, 16), (1, 8), (2, 4), (3, 16), (4, 8), (5, 4)]
    compiled = train(tmp_path / 'compiled', milestones, model=model)
    assert counter.frame_count == 3
    torch._dynamo.reset()
    plain = train(tmp_path / 'plain', milestones)
    assert recorder_of(compiled).steps == recorder_of(plain).steps


# ---------------------------------------------------------------------------- bad input


def assert_one_line(caught, *words):
    text = str(caught.value)
    assert '\n' not in text and all(word in text for word in words), text


@pytest.mark.parametrize('options, words', [
    (dict(milestones=[]), 'list of (begin, stride)'),
    (dict(milestones=[(0, 16), (0, 8)]), '(0, 8) must begin after (0, 16)'),
    (dict(milestones=[(0, 16), (5, 8), (3, 4)]), '(3, 4) must begin after (5, 8)'),
    (dict(milestones=[(0, 12)]), 'stride 12'),
    (dict(milestones=[(0, 2)]), 'offered are 4, 8, 16'),
    (dict(milestones=[(-1, 16)]), '(-1, 16)'),
    (dict(milestones=[(math.nan, 16)]), 'nan'),
    (dict(milestones=[(0, 16, 2)]), '(0, 16, 2)'),
    (dict(milestones=[('0', 16)]), "('0', 16)"),
    (dict(milestones=[0, 16]), '0 is no pair'),
    *((dict(milestones=[(0, 16)], img_size=size), 'img_size must be one or two sizes')
      for size in (0, 8, 'abc', [224], [1, 2, 3], [32, 'a'])),
], ids=str)
def test_bad_arguments(options, words):
    with pytest.raises(InputError) as caught:
        ElasticTokenHook(**options)
    assert_one_line(caught, words)


@pytest.mark.parametrize('milestones, options, words', [
    ([(0, 16), (6, 4)], {}, ('(6, 4)', '6 epochs')),
    ([(0, 16), (18, 4)], dict(options=dict(by_epoch=False)), ('18 iterations', )),
    ([(0, 16)], dict(ITERATIONS, options={}), ('by_epoch=False', )),
], ids=['epochs', 'iterations', 'loop'])
def test_schedules_that_do_not_fit_the_run(tmp_path, milestones, options, words):
    with pytest.raises(InputError) as caught:
        train(tmp_path, milestones, **options)
    assert_one_line(caught, *words)
    assert not list(tmp_path.glob('*.pth'))


def test_model_without_elastic_tokens_is_named(tmp_path):

    class Plain(BaseModel):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Conv2d(3, 2, 32)

        def forward(self, images, labels, mode='loss'):
            scores = self.backbone(images).flatten(1)
            return dict(loss=nn.functional.cross_entropy(scores, labels))

    with pytest.raises(InputError) as caught:
        train(tmp_path, model=Plain())
    assert_one_line(caught, 'Plain', 'Conv2d', 'no elastic tokens')


def test_image_smaller_than_a_coarse_token(tmp_path):

    class Small(Noise):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            return dict(sample, images=sample['images'][:, :12])

    with pytest.raises(InputError) as caught:
        train(tmp_path, train_dataloader=dict(loader(), dataset=Small()))
    assert_one_line(caught, '12 x 32', '16 x 16')


def test_is_registered_and_exported():
    assert HOOKS.get('ElasticTokenHook') is ElasticTokenHook is mmasvit.ElasticTokenHook
