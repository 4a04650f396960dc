"""A study with measures of a supernet, and with objectives that count as measures."""
import cv2
import numpy as np
import pytest
import torch
from helpers import ROOT
from mmengine.config import Config
from spaces import classifier

from mmasvit.complexity import Measured
from mmasvit.engine.launch import load_config
from mmasvit.errors import InputError
from mmasvit.study.items import Job, Progress, check_study, run_job
from mmasvit.study.table import collect, correlate

PATHS = ['bn_gamma', 'bn_expressivity', 'bn_trainability', 'bn_uncertainty']


@pytest.fixture
def study(tmp_path):
    """Three topologies at 32 px, and an untrained supernet of all of Table 1."""
    supernet = tmp_path / 'supernet.py'
    supernet.write_text(f'''
_base_ = '{ROOT}/configs/supernet_asvit_imagenette.py'
model = dict(backbone=dict(pretrain_img_size=32))
''')
    model = classifier(Config.fromfile(supernet).model.backbone, 256, 10)
    for norm in model.backbone.norms.modules():
        if isinstance(norm, torch.nn.BatchNorm1d):
            torch.nn.init.normal_(norm.weight)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'supernet.pth')
    draw = np.random.default_rng(0)
    for split in ('train', 'val'):
        for label in range(10):
            folder = tmp_path / split / f'{label}'
            folder.mkdir(parents=True)
            for number in range(3):
                cv2.imwrite(str(folder / f'{number}.png'), draw.integers(
                    0, 255, (36, 36, 3), np.uint8))
    path = tmp_path / 'study.py'
    path.write_text(f'''
_base_ = '{ROOT}/configs/complexity_study_bn.py'
image_size = 32
pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=32),
            dict(type='PackInputs')]
study = dict(num_topologies=3, measures={[*PATHS, 'params', 'length_distortion']},
             composites=dict(search_score=dict(_delete_=True, length_distortion=1)),
             settings=[dict(protocol='paper', image_size=32, repeats=2, num_images=16,
                            num_angles=4)],
             supernet=dict(config='{supernet}', checkpoint='{tmp_path}/supernet.pth'))
model = dict(backbone=dict(pretrain_img_size=32))
train_dataloader = dict(batch_size=2,
                        dataset=dict(data_root='{tmp_path}', pipeline=pipeline))
val_dataloader = dict(dataset=dict(data_root='{tmp_path}', pipeline=pipeline))
''')
    return path


@pytest.mark.slow
def test_rows_of_a_study_hold_all_kinds_of_measures(study, tmp_path):
    cfg, folder = load_config(str(study)), tmp_path / 'work'
    folder.mkdir()
    check_study(cfg)
    progress = Progress(cfg, str(folder))
    for place, item in enumerate(progress.items):
        entries = item.entries(progress.study)
        repeats = ([{'accuracy': Measured(10. * place, 0.)}] if item.setting is None
                   else run_job(Job(cfg, str(folder), item)))
        for entry, repeat in zip(entries, repeats, strict=True):
            progress.known.setdefault(entry, {}).update(repeat)
    rows = collect(progress.study, progress.known)
    assert set(rows[0].measures) == {
        *PATHS, 'params', 'length_distortion/paper', 'bn_composite', 'search_score/paper'}
    # the sum of ranks by hand, over the pool of this study
    totals = [0.] * len(rows)
    for name, sign in (('bn_expressivity', 1), ('bn_trainability', -1),
                       ('bn_uncertainty', -1)):
        values = [sign * row.measures[name].mean for row in rows]
        for i, value in enumerate(values):
            totals[i] += sum((other < value) + (other == value) / 2 for other in values)
    ours = [row.measures['bn_composite'].mean for row in rows]
    assert np.argsort(ours, kind='stable').tolist() == np.argsort(
        totals, kind='stable').tolist()
    alone = [[row.measures[name].mean for row in rows] for name in (
        'search_score/paper', 'length_distortion/paper')]
    assert np.argsort(alone[0]).tolist() == np.argsort(alone[1]).tolist()
    found = correlate([row._replace(measures={
        name: row.measures[name] for name in ('bn_uncertainty', 'bn_composite')})
        for row in rows])
    assert not found['bn_uncertainty'].higher_is_better
    assert found['bn_composite'].higher_is_better


@pytest.mark.parametrize('options, line', [
    (['study.supernet=None'], 'bn_gamma, .*: there is no trained supernet'),
    (['study.supernet.config=configs/supernet_mobilenet_imagenette.py'],
     'does not fit the model'),
    (['study.supernet.name=x'], 'study.supernet: unknown name'),
    (['study.composites.search_score.luck=1'], 'made of the measures, not of luck'),
    (['study.composites.params.params=1'], 'must have a name of its own'),
    (['study.embed_dims=16'], 'depths or width are other than there')])
def test_bad_studies_are_one_line(study, options, line):
    with pytest.raises(InputError, match=line) as caught:
        check_study(load_config(str(study), options))
    assert '\n' not in str(caught.value)


@pytest.mark.slow
def test_another_checkpoint_is_another_study(study, tmp_path):
    folder = tmp_path / 'work'
    folder.mkdir()
    Progress(load_config(str(study)), str(folder))
    state = torch.load(tmp_path / 'supernet.pth', weights_only=True)
    state['state_dict']['backbone.norms.K1.4.weight'] += 1
    torch.save(state, tmp_path / 'supernet.pth')
    with pytest.raises(InputError, match='study.supernet.sha256'):
        Progress(load_config(str(study)), str(folder))
