"""What the tools around a Runner share."""
import os
from argparse import Namespace

import pytest
import torch
from mmengine.config import Config

from mmasvit.engine import launch
from mmasvit.errors import InputError


@pytest.fixture
def run(tmp_path):
    """A work directory with two checkpoints, the second the newer; last_checkpoint lies."""
    folder = tmp_path / 'run'
    folder.mkdir()
    for number, name in enumerate(('epoch_10.pth', 'epoch_2.pth'), 1):
        torch.save(dict(number=number), folder / name)
        os.utime(folder / name, (number, number))
    torch.save({}, folder / 'best_coco_bbox_mAP_epoch_3.pth')
    return folder


def resume(folder, what='auto'):
    """What a run in a folder would load, and whether it would resume."""
    pretrained = str(folder / 'pretrained.pth')
    torch.save({}, pretrained)
    cfg = Config(dict(work_dir=str(folder), load_from=pretrained))
    launch.set_resume(cfg, Namespace(resume=what))
    return os.path.basename(cfg.load_from), cfg.get('resume', False)


def test_resumed_is_what_is_noted_as_the_last(run):
    (run / 'last_checkpoint').write_text('/where/it/was/before/epoch_10.pth')
    assert resume(run) == ('epoch_10.pth', True)


def test_what_is_noted_may_have_any_name_and_place(run, tmp_path):
    torch.save({}, tmp_path / 'mine_7.pth')
    (run / 'last_checkpoint').write_text(str(tmp_path / 'mine_7.pth'))
    assert resume(run) == ('mine_7.pth', True)
    (run / 'last_checkpoint').write_text('s3://elsewhere/epoch_7.pth')
    assert resume(run) == ('epoch_7.pth', True)


@pytest.mark.parametrize('noted', [None, '', '/gone/epoch_7.pth'])
def test_without_a_note_it_is_the_newest(run, noted):
    if noted is not None:
        (run / 'last_checkpoint').write_text(noted)
    assert resume(run) == ('epoch_2.pth', True)


@pytest.mark.parametrize('share', [0, .5, .99])
def test_what_was_cut_short_is_passed_over(run, share, capsys):
    (run / 'last_checkpoint').write_text(str(run / 'epoch_2.pth'))
    whole = (run / 'epoch_2.pth').read_bytes()
    (run / 'epoch_2.pth').write_bytes(whole[:int(share * len(whole))])
    assert resume(run) == ('epoch_10.pth', True)
    with pytest.raises(InputError, match='epoch_2.pth is damaged, or is none'):
        resume(run, str(run / 'epoch_2.pth'))
    (run / 'epoch_10.pth').write_bytes(b'')
    assert resume(run) == ('pretrained.pth', False)
    said = capsys.readouterr().out.splitlines()
    assert 'epoch_2.pth is damaged, or is none: going on from' in said[0]
    assert 'epoch_2.pth is damaged, or is none: beginning anew' in said[1]


@pytest.mark.parametrize('damage', ['zeros in a record', 'no directory', 'a flipped bit'])
def test_what_is_damaged_within_is_passed_over(run, damage):
    whole = bytearray((run / 'epoch_2.pth').read_bytes())
    place = whole.index(b'data.pkl')
    if damage == 'zeros in a record':
        whole[place + 8:place + 200] = bytes(192)
    elif damage == 'no directory':
        start = whole.rindex(b'PK\x01\x02')
        whole[start:] = bytes(len(whole) - start)
    else:
        whole[whole.index(b'number')] ^= 1
    (run / 'epoch_2.pth').write_bytes(whole)
    assert resume(run) == ('epoch_10.pth', True)


@pytest.mark.parametrize('noted', [b'\xff\xfe\0\0', b'\0' * 40, b'a\nb', b'/' * 9999])
def test_garbage_in_the_note_is_no_note(run, noted):
    (run / 'last_checkpoint').write_bytes(noted)
    assert resume(run) == ('epoch_2.pth', True)


def test_what_holds_more_than_weights_is_refused_and_not_passed_over(run):
    torch.save(dict(config=Config(dict(a=1))), run / 'epoch_2.pth')
    with pytest.raises(InputError, match='holds more than weights'):
        resume(run)


def test_without_a_checkpoint_a_run_starts_anew(tmp_path):
    (tmp_path / 'last_checkpoint').write_text('/gone/epoch_7.pth')
    assert resume(tmp_path) == resume(tmp_path, None) == ('pretrained.pth', False)


def test_checkpoints_of_torch_before_zip_files_are_taken(tmp_path):
    path = str(tmp_path / 'old.pth')
    torch.save({}, path, _use_new_zipfile_serialization=False)
    assert resume(tmp_path, path) == ('old.pth', True)


def test_pytorchs_launcher_needs_torchrun(tmp_path, monkeypatch):
    monkeypatch.delenv('RANK', raising=False)
    with pytest.raises(InputError, match='needs torchrun'):
        launch.prepare(Config(dict(work_dir=str(tmp_path / 'work'))),
                       Namespace(local_rank=0, launcher='pytorch', work_dir=None))


@pytest.mark.parametrize('seed', [-1, 2**32, 1.5, 'abc', True])
def test_bad_seeds(tmp_path, seed):
    cfg = Config(dict(randomness=dict(seed=seed), work_dir=str(tmp_path / 'work')))
    with pytest.raises(InputError, match='randomness.seed must be'):
        launch.prepare(cfg, Namespace(local_rank=0, launcher='none', work_dir=None))
    assert not (tmp_path / 'work').exists()


def test_a_checkpoint_that_leads_nowhere_is_passed_over(run):
    (run / 'epoch_2.pth').unlink()
    (run / 'epoch_2.pth').symlink_to('epoch_2.pth')
    assert resume(run) == ('epoch_10.pth', True)


def test_a_note_of_checkpoints_that_is_no_file_is_refused_before_a_run(run):
    (run / 'last_checkpoint').unlink(missing_ok=True)
    (run / 'last_checkpoint').mkdir()
    with pytest.raises(InputError, match='last_checkpoint is no file: remove it'):
        launch.prepare(Config(dict(work_dir=str(run))),
                       Namespace(local_rank=0, launcher='none', work_dir=None))
