"""The search on a real Runner, with a known table instead of measures."""
import csv
import json
import math
from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import FUNCTIONS, MODELS
from mmengine.runner import Runner

from mmasvit import Topology
from mmasvit.complexity import Measured, Setting, measure_topology
from mmasvit.engine import launch, preflight
from mmasvit.errors import InputError
from mmasvit.search import strategies
from mmasvit.search.reward import scores
from mmasvit.search.space import Space
from mmasvit.topology import SEARCH_SPACE

SMALL = dict({name: values[:1] for name, values in SEARCH_SPACE.items()},
             K1=[4, 5, 6, 7, 8], E2=[2, 4, 6], S1=[2, 4, 8], heads=[16, 32])
MEASURED = []


def table(topology):
    """Two measures with one best topology: K1 7, E2 2, S1 8, heads 32."""
    value = topology.values
    length = 10 - abs(value['K1'] - 7) + value['S1'] / 4
    condition = 100 + 10 * value['E2'] - value['heads'] + 5 * (value['K1'] == 8)
    return dict(length_distortion=length, ntk_condition_number=condition)


@FUNCTIONS.register_module()
def known_table(topology, setting, repeat, names, images, device):
    """What the table says, and a little that depends on the initialisation."""
    MEASURED.append((topology, repeat))
    noise = 1e-3 * math.sin(repeat + 10 * setting.seed)
    return {name: Measured(value + noise, 0.) for name, value in table(topology).items()}


@FUNCTIONS.register_module()
def broken_table(topology, setting, repeat, names, images, device):
    """Every network with K1 = 8 fails."""
    value = table(topology)
    if topology.kernels[0] == 8:
        value = dict(length_distortion=-math.inf, ntk_condition_number=math.inf)
    return {name: Measured(number, 0.) for name, number in value.items()}


@FUNCTIONS.register_module()
def costs_and_heads(topology, setting, repeat, names, images, device):
    values = dict(topology.costs(), heads=topology.num_heads)
    return {name: Measured(values[name], 0.) for name in names}


def config(work_dir, space=SMALL, max_iters=30, seed=0, lr=.08, **train_cfg):
    return Config(dict(
        model=dict(type='TopologyPolicy', space=space), work_dir=str(work_dir),
        train_dataloader=dict(dataset=dict(type='ProbeImages')),
        train_cfg=dict(dict(type='TopologySearchLoop', max_iters=max_iters,
                            measure='known_table',
                            setting=dict(image_size=32, repeats=2)), **train_cfg),
        optim_wrapper=dict(optimizer=dict(type='Adam', lr=lr)),
        default_hooks=dict(checkpoint=None),
        log_processor=dict(by_epoch=False), log_level='WARNING',
        randomness=dict(seed=seed), experiment_name=str(work_dir)))


def search(work_dir, **options):
    """Run a search; give back its results and history."""
    Runner.from_cfg(config(work_dir, **options)).train()
    return read(work_dir)


def read(work_dir):
    result = json.loads((work_dir / 'topology.json').read_text())
    with open(work_dir / 'history.csv', newline='') as file:
        return result, list(csv.DictReader(file))


def members():
    space = Space(SMALL)
    return [space.topology(choice) for choice in
            product(*(range(len(values)) for values in space.choices.values()))]


def optimum(allowed=lambda topology: True):
    topologies = [topology for topology in members() if allowed(topology)]
    rated = scores([table(topology) for topology in topologies],
                   reference=[table(topology) for topology in members()])
    return topologies[rated.index(max(rated))]


@pytest.mark.slow
@pytest.mark.parametrize('options', [
    dict(), dict(setting=dict(image_size=32, repeats=1, protocol='paper')),
    dict(topologies_per_step=4, max_iters=120)], ids=['released', 'paper', 'batched'])
def test_policy_finds_the_optimum_of_a_known_table(tmp_path, options):
    best = optimum()
    assert best.values['K1'] == 7
    result, rows = search(tmp_path, **{'max_iters': 300, **options})
    assert result['topology'] == str(best)
    assert result['policy']['K1']['7'] > 0.8 and result['policy']['heads']['32'] > 0.8
    assert result['entropy'] < 1.5 < result['entropy_of_space']
    assert float(rows[0]['entropy']) == pytest.approx(math.log(len(members())), abs=1e-5)


@pytest.mark.parametrize('strategy', ['random', 'evolution'])
def test_baselines_return_the_best_they_saw(tmp_path, strategy):
    result, rows = search(tmp_path, strategy=strategy, max_iters=60,
                          evolution=dict(population=10, tournament=4))
    rated = scores([{name: float(row[name]) for name in table(optimum())} for row in rows])
    assert result['topology'] == rows[rated.index(max(rated))]['topology']
    assert result['policy'] is None
    # the policy is not trained
    assert len({row['entropy'] for row in rows}) == 1


def test_what_is_left_behind(tmp_path):
    MEASURED.clear()
    result, rows = search(tmp_path, max_iters=40)
    assert [int(row['step']) for row in rows] == list(range(1, 41))
    for row in rows:
        topology = Topology.parse(row['topology'])
        for name, value in table(topology).items():
            assert float(row[name]) == pytest.approx(value, abs=2e-3)
        costs = {name: int(row[name]) for name in ('params', 'macs')}
        assert costs == topology.costs()
        parts = [float(row[f'{name}_reward']) for name in table(topology)]
        assert sum(parts) == float(row['reward'])
    found = Topology.parse(result['topology'])
    assert Topology.of(result['fields']) == found
    for name, shares in result['policy'].items():
        assert sum(shares.values()) == pytest.approx(1, abs=1e-6)
        assert shares[str(found.values[name])] == max(shares.values())
    rated = scores([{name: float(row[name]) for name in table(found)} for row in rows])
    assert result['best_seen']['score'] == max(rated)
    assert result['best_seen']['topology'] == rows[rated.index(max(rated))]['topology']
    assert result['versions']['torch'] == torch.__version__
    assert (result['seed'], result['steps'], result['processes']) == (0, 40, 1)
    assert result['data']['source'] == 'noise' and result['seconds']['clock'] > 0
    assert result['seconds']['measures'] == dict.fromkeys(table(found), 0.)
    # every item once
    assert len(MEASURED) == len(set(MEASURED))
    assert len(MEASURED) == 2 * len({row['topology'] for row in rows} | {str(found)})
    assert len(list((tmp_path / 'configs').glob('*.py'))) == 2
    # a picture with something on it, and nothing else beside the log
    assert np.asarray(Image.open(tmp_path / 'search.png').convert('L')).std() > 10
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith('20')
            } == {'topology.json', 'history.csv', 'search.png', 'configs', 'run.json',
                  'measurements.jsonl'}


def test_rewards_use_the_protocols_window(tmp_path):
    from mmasvit.search.reward import RelativeReward
    windows = dict(released=20, paper=None)
    for protocol, window in windows.items():
        _, rows = search(tmp_path / protocol, setting=dict(
            image_size=32, repeats=1, protocol=protocol))
        reward = RelativeReward(window=window)
        for row in rows:
            values = {name: float(row[name]) for name in table(optimum())}
            assert reward([values])[0]['reward'] == float(row['reward'])


@pytest.mark.slow
@pytest.mark.parametrize('options', [
    dict(), dict(strategy='evolution', evolution=dict(population=6, tournament=3)),
    dict(topologies_per_step=3), dict(baseline_momentum=None)],
    ids=['reinforce', 'evolution', 'batched', 'no baseline'])
def test_search_goes_on_from_its_ledger_alone(tmp_path, options):
    """Cut short within a step, all but ledger and run.json gone: no other state."""
    whole = search(tmp_path / 'whole', **options)
    part = tmp_path / 'part'
    part.mkdir()
    for name in ('run.json', 'measurements.jsonl'):
        (part / name).write_bytes((tmp_path / 'whole' / name).read_bytes())
    lines = (part / 'measurements.jsonl').read_bytes().splitlines(keepends=True)
    left = 1 + len(lines) // 2
    (part / 'measurements.jsonl').write_bytes(b''.join(lines[:left]) + lines[left][:9])
    MEASURED.clear()
    again = search(part, **options)
    assert (part / 'measurements.jsonl').read_bytes() == b''.join(lines)
    assert len(MEASURED) == len(lines) - left and again[1] == whole[1]
    assert (part / 'history.csv').read_bytes() == (
        tmp_path / 'whole/history.csv').read_bytes()
    for name in ('topology', 'policy', 'entropy', 'measures', 'best_seen'):
        assert again[0][name] == whole[0][name]


class Steps(Hook):
    """Remembers which steps are made before the hooks."""
    seen = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen.append((batch_idx, runner.iter))


def test_steps_that_are_replayed_are_not_steps_of_the_run(tmp_path):
    """They are neither logged nor timed nor handed to hooks; more steps may follow."""
    first = search(tmp_path, max_iters=8)
    cfg = config(tmp_path, max_iters=12)
    cfg.experiment_name += '_on'  # within a second its logger would be the first one's
    cfg.custom_hooks, cfg.log_level = [dict(type=Steps)], 'INFO'
    Steps.seen.clear()
    Runner.from_cfg(cfg).train()
    assert Steps.seen == [(i, i) for i in range(8, 12)]
    logged = ''.join(path.read_text() for path in tmp_path.glob('*/*.log'))
    assert '8 steps as they stand in measurements.jsonl' in logged
    again = read(tmp_path)
    assert again[1][:8] == first[1] and len(again[1]) == 12
    # and fewer, which are the first ones
    assert search(tmp_path, max_iters=8)[1] == first[1]


@pytest.mark.slow
def test_a_second_run_measures_nothing_anew_and_another_seed_draws_anew(tmp_path):
    first = search(tmp_path / 'a')
    MEASURED.clear()
    second = search(tmp_path / 'a')
    assert not MEASURED and second[1] == first[1] and second[0]['items_measured'] == 0
    other = search(tmp_path / 'b', seed=1, setting=dict(image_size=32, repeats=2, seed=0))
    drawn = [[row['topology'] for row in rows] for _, rows in (first, other)]
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize('strategy', ['reinforce', 'evolution'])
def test_any_measures_may_be_the_objective(tmp_path, strategy):
    """Three of them, of a second function, through all that is left behind."""
    objective = dict(params=-1, macs=-2, heads=.5)
    result, rows = search(tmp_path, measure='costs_and_heads', objective=objective,
                          strategy=strategy, max_iters=30,
                          evolution=dict(population=5, tournament=2))
    assert result['objective'] == objective and set(result['measures']) == set(objective)
    for row in rows:
        topology = Topology.parse(row['topology'])
        assert float(row['heads']) == topology.num_heads
        assert float(row['params']) == topology.costs()['params']
        parts = [float(row[f'{name}_reward']) for name in objective]
        assert sum(parts) == pytest.approx(float(row['reward']))
    assert (tmp_path / 'search.png').exists()


@pytest.mark.slow
def test_what_cannot_be_measured_is_avoided(tmp_path):
    result, rows = search(tmp_path, measure='broken_table', max_iters=300)
    values = [float(row['reward']) for row in rows]
    assert all(map(math.isfinite, values))
    assert 'inf' in {row['ntk_condition_number'] for row in rows}
    assert result['policy']['K1']['8'] < 0.05
    json.loads((tmp_path / 'topology.json').read_text(), parse_constant=pytest.fail)


@pytest.mark.parametrize('strategy', ['reinforce', 'evolution'])
def test_limits_hold_for_all_that_is_measured(tmp_path, strategy):
    limit = sorted(topology.costs()['params'] for topology in members())[30]
    MEASURED.clear()
    result, _ = search(tmp_path, max_iters=150, constraint=dict(params=limit),
                       strategy=strategy, evolution=dict(population=10, tournament=5))
    assert all(topology.costs()['params'] <= limit for topology, _ in MEASURED)
    assert Topology.parse(result['topology']).costs()['params'] <= limit


def test_real_measures_go_into_the_history(tmp_path):
    result, rows = search(tmp_path, space=None, max_iters=2, measure=None, seed=3,
                          setting=dict(image_size=32, repeats=2, num_images=4))
    setting = Setting(image_size=32, repeats=2, num_images=4, seed=3)
    for row in rows:
        for name, summary in measure_topology(
                Topology.parse(row['topology']), setting).items():
            assert float(row[name]) == pytest.approx(summary.mean, rel=1e-5)
    assert result['setting']['seed'] == 3


@pytest.mark.parametrize('options, line', [
    (dict(space=dict(K1=[])), 'K1 has no values'),
    (dict(strategy='guess'), 'strategy must be one of'),
    (dict(topologies_per_step=0), 'topologies_per_step'),
    (dict(max_iters=0), 'max_iters'),
    (dict(reward_window=1), 'reward_window'),
    (dict(baseline_momentum=1.), 'baseline_momentum must be a finite number above 0'),
    (dict(constraint=dict(params=1000)), 'params=1000 is below the least of the space'),
    (dict(constraint=dict(latency=9)), 'constraint.latency: nothing tells of it'),
    (dict(measure=None, objective=dict(latency=-1)), 'latency: nothing tells of it'),
    (dict(setting=dict(features='all')), 'features must be one of last, pyramid'),
    (dict(constraint=dict(flops=1)), 'constraint: unknown flops'),
    (dict(setting=dict(image=32)), 'setting: unknown image'),
    (dict(evolution=dict(size=3)), 'evolution: unknown size; expected some of popul'),
    (dict(measure='nothing'), "measure 'nothing'"),
    (dict(evolution=5), 'evolution must be a dict, got 5'),
    (dict(objective={}), 'objective must be a dict of weights'),
    (dict(objective=dict(length_distortion=0)), 'must not be 0'),
    (dict(measure=None, objective=dict(luck=1)), 'measures must be some of'),
    (dict(max_iter=5), 'train_cfg: unknown max_iter'),
    (dict(constraint=5), 'constraint must be a dict, got 5'),
    (dict(space=5), 'space must be a dict'),
    (dict(space=dict(K1=[[7], 8])), 'each of kernels must be a whole number from .*, got .7'),
    (dict(threads=0), 'threads'),
    (dict(seed=None), 'randomness.seed'),
])
def test_bad_options_are_one_line_before_any_work(tmp_path, monkeypatch, options, line):
    monkeypatch.setattr(strategies, 'TRIES', 99)
    MEASURED.clear()
    with pytest.raises(InputError, match=line) as caught:
        search(tmp_path, **options)
    assert '\n' not in str(caught.value)
    assert not MEASURED and not (tmp_path / 'history.csv').exists()


@pytest.mark.parametrize('options, line', [
    (dict(space=dict(SMALL, K1=[4, 5])), 'space.K1'),
    (dict(strategy='random'), 'strategy=reinforce instead of random'),
    (dict(seed=1, setting=dict(image_size=32, repeats=2, seed=0)), 'seed=0 instead of 1'),
    (dict(setting=dict(image_size=64, repeats=2)), 'setting.image_size=32 instead of 64'),
    (dict(reward_window=None), 'reward_window'),
    (dict(lr=.5), 'optim_wrapper.optimizer.lr=0.08 instead of 0.5'),
    (dict(objective=dict(length_distortion=1)), 'objective.ntk_condition_number=-1 inst'),
    (dict(constraint=dict(params=9e9)), 'constraint.params=None instead of 9'),
])
def test_a_folder_of_another_run_is_refused_and_kept(tmp_path, options, line):
    search(tmp_path, max_iters=8)
    # but for the configs that Runners dump, named by the second
    before = {path: path.read_bytes() for path in tmp_path.glob('*.*')
              if path.is_file() and path.suffix != '.py'}
    with pytest.raises(InputError, match=line):
        search(tmp_path, max_iters=10, **options)
    assert {path: path.read_bytes() for path in before} == before


@MODELS.register_module()
class ToyModel(BaseModel):
    """A model, but no policy."""

    def forward(self, *inputs, mode='loss'):
        raise NotImplementedError


def test_another_model_or_dataset_is_refused(tmp_path):
    cfg = config(tmp_path)
    cfg.model = dict(type='ToyModel')
    with pytest.raises(InputError, match="model.type must be 'TopologyPolicy'"):
        Runner.from_cfg(cfg).train()
    cfg = config(tmp_path)
    cfg.train_dataloader.dataset.type = 'NpzDataset'
    with pytest.raises(InputError, match='of type ProbeImages'):
        Runner.from_cfg(cfg).train()


def test_parts_that_do_not_exist(tmp_path):
    for part, line in ((dict(type='Nothing'), 'Nothing is not in the mmengine::model'),
                       (dict(type='TopologyPolicy', foo=1), "argument 'foo'")):
        cfg = config(tmp_path)
        cfg.model = part
        with pytest.raises(InputError, match=line) as caught:
            launch.build_runner(cfg)
        assert '\n' not in str(caught.value)
    for train_cfg in (5, None, dict(type='AutoLoop')):
        cfg = config(tmp_path)
        cfg.train_cfg = train_cfg
        with pytest.raises(InputError, match="its train_cfg.type must be 'TopologySearchL"):
            preflight.check_loop(cfg, 'TopologySearchLoop')


@pytest.mark.parametrize('change, line', [
    (dict(train_cfg=dict(max_iters=0)), 'max_iters must be'),
    (dict(model=dict(foo=1)), "argument 'foo'"), (dict(model=dict(type='No')), 'No is not'),
    (dict(train_dataloader=dict(dataset=dict(data='/none'))), 'data /none is neither'),
    (dict(randomness=dict(seed=7)), 'seed=0 instead of 7')])
def test_what_is_refused_is_refused_before_there_is_a_runner(tmp_path, change, line):
    search(tmp_path, max_iters=2)
    there = sorted(tmp_path.iterdir())
    cfg = config(tmp_path, max_iters=2)
    preflight.check_measuring(cfg)
    cfg.merge_from_dict(change)
    with pytest.raises(InputError, match=line) as caught:
        preflight.check_measuring(cfg)
    assert '\n' not in str(caught.value) and sorted(tmp_path.iterdir()) == there
