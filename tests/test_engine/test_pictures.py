"""A picture per image, whatever the images are called; predictions of mirror images."""
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmengine.config import Config

from mmasvit.engine.hooks.pictures import picture_prefixes
from mmasvit.engine.tta import use_tta
from mmasvit.errors import InputError

NAMES = st.lists(st.sampled_from(['a', 'b', 'a__b', '2', 'c.png']), min_size=1, max_size=4)


@given(st.lists(NAMES.map(lambda names: '/data/' + '/'.join(names)), min_size=1))
def test_no_two_images_share_a_picture(paths):
    prefixes = picture_prefixes(paths)
    names = [prefix + Path(path).name for path, prefix in prefixes.items()]
    assert len(set(names)) == len(names) == len(set(paths))
    assert not any('/' in name for name in names)


def test_names_tell_the_folders_where_there_are_several():
    assert picture_prefixes(['/d/1.png', '/d/2.png']) == {'/d/1.png': '', '/d/2.png': ''}
    assert picture_prefixes(['/d/x/1.png', '/d/y/z/1.png']) == {
        '/d/x/1.png': 'x__', '/d/y/z/1.png': 'y__z__'}
    assert picture_prefixes([]) == {}


def config(scope, **more):
    pipeline = [dict(type='LoadImageFromFile'), dict(type='Pack', meta_keys=('img_id', ))]
    return Config(dict(model=dict(type='Model'), default_scope=scope, test_dataloader=dict(
        dataset=dict(dataset=dict(pipeline=pipeline))), **more))


def test_mirror_images_are_tested_where_the_config_has_nothing_of_its_own():
    cfg = config('mmdet', test_evaluator=dict(type='CocoMetric', metric=['bbox', 'segm']))
    use_tta(cfg)
    assert cfg.model.type == 'mmengine.BoxTTAModel' and cfg.model.module.type == 'Model'
    load, views = cfg.test_dataloader.dataset.dataset.pipeline
    assert load.type == 'LoadImageFromFile' and len(views.transforms[0]) == 2
    assert views.transforms[1][0].meta_keys == ('img_id', 'flip', 'flip_direction')
    assert cfg.test_evaluator.metric == ['bbox']  # mmdet merges no masks
    cfg = config('mmpretrain')
    use_tta(cfg)
    assert cfg.model.type == 'mmpretrain.AverageClsScoreTTA'


def test_a_config_may_say_how():
    own = dict(tta_model=dict(type='Mine', x=1), tta_pipeline=[dict(type='Views')])
    cfg = config('elsewhere', **own)
    use_tta(cfg)
    assert cfg.model == dict(type='Mine', x=1, module=dict(type='Model'))
    assert cfg.test_dataloader.dataset.dataset.pipeline == own['tta_pipeline']
    with pytest.raises(InputError, match='has no tta_model'):
        use_tta(config('elsewhere'))
