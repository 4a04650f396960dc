"""Real COCO images through mmdet's own data config, unchanged but for the size."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

CONFIG = '''
_base_ = ['{root}/configs/cascade_asvit_tiny_shapes.py']
bbox_head = _base_.model.roi_head.bbox_head
for head in bbox_head:
    head.num_classes = 80
model = dict(backbone=dict(init_cfg=None), roi_head=dict(
    bbox_head=bbox_head, mask_head=dict(num_classes=80)),
    test_cfg=dict(rcnn=dict(score_thr=0.)))
coco = dict(data_root='{data}/', metainfo=dict(_delete_=True))
train_dataloader = dict(dataset=coco)
val_dataloader = dict(dataset=coco)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file='{data}/annotations/instances_val2017.json')
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=1)
'''


@pytest.mark.slow
def test_one_epoch_and_evaluation_of_real_images(shared_dir, tmp_path):
    data = shared_dir / 'data' / 'coco_cc'
    if not data.is_dir():
        pytest.skip('needs ../shared/data/coco_cc')
    config = tmp_path / 'real.py'
    config.write_text(CONFIG.format(root=ROOT, data=data))
    done = subprocess.run(
        [sys.executable, 'tools/train.py', str(config), '--work-dir', str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL,
        env=dict(os.environ, OMP_NUM_THREADS='1'))
    assert done.returncode == 0, done.stderr[-3000:]
    scores = None
    for path in tmp_path.glob('*/vis_data/scalars.json'):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            scores = row if 'coco/bbox_mAP' in row else scores
    assert 0 <= scores['coco/bbox_mAP'] < 0.05 and 0 <= scores['coco/segm_mAP'] < 0.05
