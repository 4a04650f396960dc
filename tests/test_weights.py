"""Nothing in a checkpoint runs, whichever way it is handed over."""
import os
import pickle

import pytest
import torch
from helpers import ROOT
from mmengine.config import Config

from mmasvit import AsViT
from mmasvit.engine import checkpoints, launch
from mmasvit.errors import InputError
from mmasvit.weights import read_checkpoint


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path, )


def as_torch_writes(content, path):
    torch.save(content, path)


def as_torch_once_wrote(content, path):
    torch.save(content, path, _use_new_zipfile_serialization=False)


def as_pickle_writes(content, path):
    path.write_bytes(pickle.dumps(content))


@pytest.fixture(params=[as_torch_writes, as_torch_once_wrote, as_pickle_writes])
def trap(request, tmp_path):
    path = tmp_path / 'trap.pth'
    request.param(dict(state_dict=dict(a=torch.zeros(1)), meta=Trap(tmp_path / 'ran')), path)
    yield str(path)
    assert not (tmp_path / 'ran').exists()


def from_the_library(path, tmp_path):
    read_checkpoint(path)


def from_a_tool(path, tmp_path):
    checkpoints.read(path)


def as_initial_weights_of_ours(path, tmp_path):
    AsViT('seed', init_cfg=dict(type='Pretrained', checkpoint=path)).init_weights()


def as_initial_weights_of_another(path, tmp_path):
    launch.build_runner(Config(dict(
        work_dir=str(tmp_path / 'work'),
        model=dict(type='mmpretrain.ResNet', depth=18, init_cfg=dict(
            type='Pretrained', checkpoint=path)))))


@pytest.mark.parametrize('read', [
    from_the_library, from_a_tool, as_initial_weights_of_ours,
    as_initial_weights_of_another])
def test_what_would_run_is_refused(trap, tmp_path, read):
    with pytest.raises(InputError, match='holds more than weights.*If you trust') as info:
        read(trap, tmp_path)
    assert '\n' not in str(info.value)


def test_the_control_runs_where_everything_is_trusted(tmp_path):
    torch.save(Trap(tmp_path / 'ran'), tmp_path / 'trap.pth')
    torch.load(tmp_path / 'trap.pth', weights_only=False)
    assert (tmp_path / 'ran').exists()


@pytest.mark.slow
def test_the_advice_makes_a_file_that_is_read(tmp_path):
    import shlex
    import subprocess
    import sys
    path = tmp_path / 'old.pth'
    torch.save(dict(state_dict=dict(a=torch.ones(2)), meta=Trap(tmp_path / 'ran')), path)
    with pytest.raises(InputError) as info:
        read_checkpoint(str(path))
    advice = shlex.split(str(info.value).split('weights alone: ')[1])
    assert advice[0] == 'python'
    subprocess.run([sys.executable, *advice[1:]], cwd=tmp_path, check=True)
    kept = read_checkpoint(str(tmp_path / 'weights.pth'))['state_dict']
    assert kept['a'].tolist() == [1, 1]


def test_checkpoints_of_a_run_are_read(tmp_path):
    """What mmengine stores beside the weights: scalars' histories, numpy's numbers."""
    from mmengine.logging import MessageHub
    hub = MessageHub.get_instance('weights')
    hub.update_scalar('train/loss', 0.5)
    torch.save(dict(state_dict=AsViT('seed').state_dict(), message_hub=hub.state_dict(),
                    meta=dict(epoch=1, dataset_meta=dict(classes=('a', 'b')))),
               tmp_path / 'epoch_1.pth')
    read = read_checkpoint(str(tmp_path / 'epoch_1.pth'))
    assert read['meta']['dataset_meta']['classes'] == ('a', 'b')


def test_no_tool_reads_by_another_door():
    """mmengine's loader falls back to reading everything."""
    for path in [*(ROOT / 'mmasvit').rglob('*.py'), *(ROOT / 'tools').glob('*.py')]:
        text = path.read_text()
        if path.name != 'weights.py':
            assert 'torch.load(' not in text and 'CheckpointLoader' not in text, path
