"""What the demo says of a training, out of lines that mmengine's own loggers write."""
import sys

import pytest
from helpers import ROOT
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

sys.path.insert(0, str(ROOT / 'scripts'))
import demo  # noqa: E402

LINE = ('11/28 05:33:46 - mmengine - INFO - Epoch(train) [1][700/750]  base_lr: 1.9e-05 '
        'lr: 1.4e-05  eta: {eta}  time: 2.3718  data_time: 0.0496  grad_norm: 5.4352  '
        'loss: 2.9160  loss_rpn_cls: 0.0536')


@pytest.mark.parametrize('eta, minutes', [
    ('0:00:20', 1), ('0:01:28', 2), ('2:10:00', 131), ('1 day, 0:05:00', 1446),
    ('3 days, 1:00:59', 4381)])
def test_time_left_is_in_whole_minutes(eta, minutes):
    assert demo.readable(LINE.format(eta=eta)) == (
        f'epoch 1, step 700 of 750: loss 2.92, {minutes} min left')


def test_scores_are_named():
    assert demo.readable(
        'Epoch(val) [1][25/25]    coco/bbox_mAP: 0.0660  coco/bbox_mAP_50: 0.1290  '
        'coco/segm_mAP: 0.0580') == 'on held-out images: box AP 0.066, mask AP 0.058'
    assert demo.readable('Epoch(val) [2][3/3]    accuracy/top1: 22.4852') == (
        'on held-out images: 22.5 % right')


@pytest.mark.parametrize('by_epoch', [True, False])
def test_lines_of_a_real_run_are_understood(tmp_path, by_epoch):
    class Model(BaseModel):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(1, 1)

        def forward(self, x, mode='tensor'):
            y = self.layer(x.float()[:, None])
            return dict(loss=y.pow(2).mean()) if mode == 'loss' else y

    class Metric(BaseMetric):
        def process(self, data_batch, data_samples):
            self.results.append(1)

        def compute_metrics(self, results):
            return {'coco/bbox_mAP': 0.25}

    loader = dict(batch_size=2, num_workers=0, dataset=[dict(x=float(i)) for i in range(6)],
                  sampler=dict(type='DefaultSampler', shuffle=False))
    length = (dict(by_epoch=True, max_epochs=2, val_interval=1) if by_epoch else
              dict(by_epoch=False, max_iters=6, val_interval=3))
    runner = Runner(
        Model(), str(tmp_path), train_dataloader=loader, val_dataloader=loader,
        train_cfg=length, val_cfg=dict(), val_evaluator=[Metric()],
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1)),
        log_processor=dict(by_epoch=by_epoch), experiment_name=f'toy_{by_epoch}')
    runner.train()
    log, = tmp_path.glob('*/*.log')
    said = [text for text in map(demo.readable, log.read_text().splitlines()) if text]
    assert sum('step' in text for text in said) == 6
    assert said[-1] == 'on held-out images: box AP 0.250'
    where = 'epoch 2, step 3 of 3: ' if by_epoch else 'step 6 of 6: '
    assert said[-2].startswith(where)
