"""What the benchmarks compare, without running them."""
import sys
from unittest import mock

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from helpers import ROOT, load
from mmasvit.errors import InputError

with mock.patch.object(sys, 'path', [str(ROOT / 'benchmarks'), *sys.path]):
    DETECTION = load('benchmarks/detection.py')


@pytest.mark.slow
@pytest.mark.parametrize('name', DETECTION['DEFAULT'])
def test_contestants_of_detection_build(name):
    """Outputs are what the neck of the config expects."""
    base, options = DETECTION['backbone_of'](name)
    cfg = Config.fromfile(ROOT / f'configs/{base}.py').model
    DETECTION['change'](cfg, options)
    init_default_scope('mmdet')
    outs = MODELS.build(cfg.backbone)(torch.rand(1, 3, 64, 64))
    assert [out.shape[1] for out in outs] == cfg.neck.in_channels


@pytest.mark.parametrize('name', ['yolo', 'asvit+shft', 'swin+shift', 'asvit+', ''])
def test_unknown_contestants_give_one_line(name):
    with pytest.raises(InputError, match='unknown network') as caught:
        DETECTION['backbone_of'](name)
    assert '\n' not in str(caught.value)
