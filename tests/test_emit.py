"""Emitted configs load from anywhere, build, count right, and say where they come from."""
import ast
import shutil
from pathlib import Path

import pytest
import shipped
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from shipped import classifier_batch, detector_batch

from mmasvit import Topology
from mmasvit.emit import emit_configs, suited_drop_path_rate
from mmasvit.errors import InputError
from mmasvit.topology import FAMILY

ROOT = Path(__file__).parent.parent
UNEVEN = Topology.parse('5,4,2,2|3,2,6,1|2,2,5,3|3,1,4,1|24,40')
TOPOLOGIES = [UNEVEN, FAMILY['seed'], FAMILY['large']]


@pytest.fixture
def emitted(tmp_path):
    def emit(topology, rate=0.2):
        folder = tmp_path / 'configs'
        folder.mkdir(exist_ok=True)
        return emit_configs(topology, folder, 'mine', 'Found\nby hand.', rate)
    return emit


def build(path):
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    if (cfg.model.backbone.get('init_cfg') or {}).get('type') == 'Pretrained':
        cfg.model.backbone.init_cfg = None
    cfg.model.setdefault('data_preprocessor', cfg.get('data_preprocessor'))
    return cfg, MODELS.build(cfg.model)


@pytest.mark.parametrize('topology', TOPOLOGIES, ids=str)
def test_classifier_is_the_topologys(emitted, topology):
    cfg, model = build(emitted(topology).classifier)
    assert model.backbone.topology == topology
    assert sum(p.numel() for p in model.parameters()) == topology.count_params(1000)
    assert cfg.model.backbone.drop_path_rate == 0.2


@pytest.mark.parametrize('topology', TOPOLOGIES, ids=str)
def test_detector_is_the_topologys(emitted, topology):
    paths = emitted(topology)
    cfg = Config.fromfile(paths.detector)
    assert cfg.model.backbone.init_cfg.checkpoint == (
        f'work_dirs/{paths.classifier.stem}/epoch_300.pth')
    cfg, model = build(paths.detector)
    assert model.backbone.topology == topology
    assert tuple(cfg.model.neck.in_channels) == model.backbone.out_channels
    assert cfg.model.backbone.drop_path_rate == 0.1


@pytest.mark.parametrize('which, name', [(0, 'asvit_small_in1k.py'),
                                            (1, 'cascade_asvit_small_coco.py')])
def test_differs_from_the_shipped_config_by_its_topology_alone(emitted, which, name):
    ours = Config.fromfile(emitted(FAMILY['small'])[which])._cfg_dict.to_dict()
    theirs = Config.fromfile(ROOT / 'configs' / name)._cfg_dict.to_dict()
    assert Topology.of(ours['model']['backbone'].pop('arch')) == FAMILY[
        theirs['model']['backbone'].pop('arch')]
    for cfg in (ours, theirs):
        cfg['model']['backbone'].pop('init_cfg', None)
    assert ours == theirs


def test_each_loads_alone_from_any_directory(emitted, tmp_path, monkeypatch):
    monkeypatch.chdir('/')
    for path in emitted(UNEVEN):
        elsewhere = tmp_path / f'{path.stem}_alone'
        elsewhere.mkdir()
        moved = shutil.copy(path, elsewhere)
        assert Config.fromfile(moved).model == Config.fromfile(path).model


def test_docstrings(emitted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in emitted(FAMILY['small']):
        text = path.read_text()
        head = text.split('"""')[1]
        assert 'Found\nby hand.' in head and '29.05 M' in head and '5.13 G' in head
        assert f'configs/{path.name}' in head and str(tmp_path) not in head
        assert max(map(len, text.splitlines())) <= 92
        assert '\n\n\n' not in text


def test_stochastic_depth_of_any_size_is_between_the_shipped_configs():
    for name in ('small', 'base', 'large'):
        cfg = Config.fromfile(ROOT / 'configs' / f'asvit_{name}_in1k.py')
        assert suited_drop_path_rate(FAMILY[name].count_params(1000)) == (
            cfg.model.backbone.drop_path_rate)
    rates = [suited_drop_path_rate(millions * 10**6) for millions in range(1, 200)]
    assert rates == sorted(rates) and rates[0] == 0. and rates[-1] == 0.5
    assert suited_drop_path_rate(15_735_636) == 0.1  # half-way from seed to S


@pytest.mark.parametrize('name', ['quo"""te', 'four""""', r'uni\Nx', 'end\\', '\udcff'])
def test_names_of_folders_cannot_break_a_docstring(tmp_path, name):
    for path in emit_configs(UNEVEN, tmp_path, 'mine', f'Images: {name}.'):
        told = ast.get_docstring(ast.parse(path.read_text()))
        assert f'Images: {name}.' in told.replace(r'\udcff', '\udcff')
        Config.fromfile(path)


def test_unwritable_folder(tmp_path):
    with pytest.raises(InputError, match='cannot be written'):
        emit_configs(UNEVEN, tmp_path / 'nowhere', 'mine', '')


@pytest.mark.slow
@pytest.mark.parametrize('which, batch, size', [(0, classifier_batch, 64),
                                                (1, detector_batch, 128)])
def test_each_trains_two_iterations(emitted, which, batch, size):
    """As the shipped configs do: every parameter gets a gradient."""
    cfg, model = shipped.build(emitted(UNEVEN, 0.)[which])
    if which:
        for stage in model.roi_head.bbox_assigner:
            stage.pos_iou_thr = stage.neg_iou_thr = stage.min_pos_iou = 0.5
    shipped.train_two_steps(cfg, model, batch(cfg, size))
    assert shipped.without_gradient(model) == []
