"""The search on a real Runner, with a known table instead of measures."""
import csv
import json
import math
from itertools import product

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import FUNCTIONS, MODELS
from mmengine.runner import Runner
from mmengine.runner.checkpoint import get_torch_safe_globals

from mmasvit import Topology
from mmasvit.complexity import Measured, Setting, measure_topology
from mmasvit.engine import launch, preflight
from mmasvit.errors import InputError
from mmasvit.search.reward import scores
from mmasvit.search.space import Space, table_costs, values_of
from mmasvit.topology import SEARCH_SPACE

SMALL = dict({name: values[:1] for name, values in SEARCH_SPACE.items()},
             K1=[4, 5, 6, 7, 8], E2=[2, 4, 6], S1=[2, 4, 8], heads=[16, 32])
MEASURED = []


def table(topology):
    """Two measures with one best topology: K1 7, E2 2, S1 8, heads 32."""
    value = values_of(topology)
    length = 10 - abs(value['K1'] - 7) + value['S1'] / 4
    condition = 100 + 10 * value['E2'] - value['heads'] + 5 * (value['K1'] == 8)
    return dict(length_distortion=length, ntk_condition_number=condition)


@FUNCTIONS.register_module()
def known_table(topology, setting, repeat, images, device):
    """What the table says, and a little that depends on the initialisation."""
    MEASURED.append((topology, repeat))
    noise = 1e-3 * math.sin(repeat + 10 * setting.seed)
    return {name: Measured(value + noise, 0.) for name, value in table(topology).items()}


@FUNCTIONS.register_module()
def broken_table(topology, setting, repeat, images, device):
    """Every network with K1 = 8 fails."""
    value = table(topology)
    if topology.kernels[0] == 8:
        value = dict(length_distortion=-math.inf, ntk_condition_number=math.inf)
    return {name: Measured(number, 0.) for name, number in value.items()}


def config(work_dir, space=SMALL, max_iters=30, seed=0, lr=.08, **train_cfg):
    return Config(dict(
        model=dict(type='TopologyPolicy', space=space), work_dir=str(work_dir),
        train_dataloader=dict(dataset=dict(type='ProbeImages')),
        train_cfg=dict(dict(type='TopologySearchLoop', max_iters=max_iters,
                            measure='known_table',
                            setting=dict(image_size=32, repeats=2)), **train_cfg),
        optim_wrapper=dict(optimizer=dict(type='Adam', lr=lr)),
        default_hooks=dict(checkpoint=dict(
            type='CheckpointHook', by_epoch=False, interval=7, max_keep_ckpts=2,
            save_param_scheduler=False)),
        log_processor=dict(by_epoch=False), log_level='WARNING',
        randomness=dict(seed=seed), experiment_name=str(work_dir)))


def search(work_dir, resume=False, **options):
    """Run a search; give back its results and history."""
    cfg = config(work_dir, **options)
    cfg.resume = resume
    Runner.from_cfg(cfg).train()
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
                   [table(topology) for topology in members()])
    return topologies[rated.index(max(rated))]


@pytest.mark.slow
@pytest.mark.parametrize('options', [
    dict(), dict(setting=dict(image_size=32, repeats=1, protocol='paper')),
    dict(topologies_per_step=4, max_iters=120)], ids=['released', 'paper', 'batched'])
def test_policy_finds_the_optimum_of_a_known_table(tmp_path, options):
    best = optimum()
    assert values_of(best)['K1'] == 7
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
        assert costs == table_costs(topology)
        parts = [float(row[f'{name}_reward']) for name in table(topology)]
        assert sum(parts) == float(row['reward'])
    found = Topology.parse(result['topology'])
    assert Topology.of(result['fields']) == found
    for name, shares in result['policy'].items():
        assert sum(shares.values()) == pytest.approx(1, abs=1e-6)
        assert shares[str(values_of(found)[name])] == max(shares.values())
    rated = scores([{name: float(row[name]) for name in table(found)} for row in rows])
    assert result['best_seen']['score'] == max(rated)
    assert result['best_seen']['topology'] == rows[rated.index(max(rated))]['topology']
    assert result['versions']['torch'] == torch.__version__
    assert (result['seed'], result['steps'], result['processes']) == (0, 40, 1)
    assert result['data']['source'] == 'noise' and result['seconds']['total'] > 0
    # every item once
    assert len(MEASURED) == len(set(MEASURED))
    assert len(MEASURED) == 2 * len({row['topology'] for row in rows} | {str(found)})
    assert (tmp_path / 'search.png').stat().st_size > 20_000
    assert len(list((tmp_path / 'configs').glob('*.py'))) == 2
    # what mmengine keeps beside it needs mmengine's list of classes
    with torch.serialization.safe_globals(get_torch_safe_globals()):
        checkpoint = torch.load(tmp_path / 'iter_40.pth', weights_only=True)
    for name in ('TopologySearchLoop', 'state_dict', 'optimizer'):
        torch.save(checkpoint[name], tmp_path / 'part.pth')
        torch.load(tmp_path / 'part.pth', weights_only=True)


def test_rewards_use_the_protocols_window(tmp_path):
    from mmasvit.search.reward import RelativeReward
    windows = dict(released=20, paper=None)
    for protocol, window in windows.items():
        _, rows = search(tmp_path / protocol, setting=dict(
            image_size=32, repeats=1, protocol=protocol))
        reward = RelativeReward(window)
        for row in rows:
            values = {name: float(row[name]) for name in table(optimum())}
            assert reward([values])[0]['reward'] == float(row['reward'])


@pytest.mark.parametrize('options', [
    dict(), dict(strategy='evolution', evolution=dict(population=6, tournament=3)),
    dict(topologies_per_step=3), dict(baseline_momentum=None)],
    ids=['reinforce', 'evolution', 'batched', 'no baseline'])
def test_resumed_search_equals_the_unbroken_one(tmp_path, options):
    whole = search(tmp_path / 'whole', **options)
    search(tmp_path / 'part', max_iters=16, **options)
    # cut short behind a checkpoint of step 14, with two steps more measured
    (tmp_path / 'part' / 'iter_16.pth').unlink()
    (tmp_path / 'part' / 'last_checkpoint').write_text(str(tmp_path / 'part/iter_14.pth'))
    (tmp_path / 'part' / 'topology.json').unlink()
    MEASURED.clear()
    part = search(tmp_path / 'part', resume=True, **options)
    assert part[1] == whole[1]
    assert (tmp_path / 'part/history.csv').read_bytes() == (
        tmp_path / 'whole/history.csv').read_bytes()
    for name in ('topology', 'policy', 'entropy', 'measures', 'best_seen'):
        assert part[0][name] == whole[0][name]
    done = {row['topology'] for row in whole[1][:16 * len(whole[1]) // 30]}
    assert MEASURED and not done & {str(topology) for topology, _ in MEASURED}


def test_a_second_run_measures_nothing_anew_and_another_seed_draws_anew(tmp_path):
    first = search(tmp_path)
    MEASURED.clear()
    second = search(tmp_path)
    assert not MEASURED and second[1] == first[1] and second[0]['items_measured'] == 0
    other = search(tmp_path, seed=1, setting=dict(image_size=32, repeats=2, seed=0))
    drawn = [[row['topology'] for row in rows] for _, rows in (first, other)]
    assert drawn[0] != drawn[1]


def test_what_cannot_be_measured_is_avoided(tmp_path):
    result, rows = search(tmp_path, measure='broken_table', max_iters=300)
    values = [float(row['reward']) for row in rows]
    assert all(map(math.isfinite, values))
    assert 'inf' in {row['ntk_condition_number'] for row in rows}
    assert result['policy']['K1']['8'] < 0.05
    json.loads((tmp_path / 'topology.json').read_text(), parse_constant=pytest.fail)


@pytest.mark.parametrize('strategy', ['reinforce', 'evolution'])
def test_limits_hold_for_all_that_is_measured(tmp_path, strategy):
    limit = sorted(table_costs(topology)['params'] for topology in members())[30]
    MEASURED.clear()
    result, _ = search(tmp_path, max_iters=150, constraint=dict(params=limit),
                       strategy=strategy, evolution=dict(population=10, tournament=5))
    assert all(table_costs(topology)['params'] <= limit for topology, _ in MEASURED)
    assert table_costs(Topology.parse(result['topology']))['params'] <= limit


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
    (dict(baseline_momentum=1.), 'between 0 and 1'),
    (dict(constraint=dict(params=1000)), 'no topology of the space has at most'),
    (dict(constraint=dict(flops=1)), 'constraint: unknown flops'),
    (dict(setting=dict(image=32)), 'setting: unknown image'),
    (dict(evolution=dict(size=3)), 'population and tournament'),
    (dict(measure='nothing'), "measure 'nothing'"),
    (dict(evolution=5), 'evolution takes population and tournament'),
    (dict(constraint=5), 'constraint must be a dict, got 5'),
    (dict(space=5), 'space must be a dict'),
    (dict(space=dict(K1=[[7], 8])), 'kernels must be positive integers, got .7.'),
    (dict(threads=0), 'threads'),
    (dict(seed=None), 'randomness.seed'),
])
def test_bad_options_are_one_line_before_any_work(tmp_path, options, line):
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
])
def test_a_run_of_something_else_is_not_resumed(tmp_path, options, line):
    before = search(tmp_path, max_iters=8)
    with pytest.raises(InputError, match=line):
        search(tmp_path, resume=True, max_iters=10, **options)
    assert read(tmp_path) == before


def test_a_run_is_not_resumed_to_less_than_it_has_made(tmp_path):
    before = search(tmp_path, max_iters=8)
    with pytest.raises(InputError, match='has made 8 steps, more than train_cfg.max_it'):
        search(tmp_path, resume=True, max_iters=7)
    assert read(tmp_path) == before


def test_a_checkpoint_of_something_else_is_not_resumed(tmp_path):
    search(tmp_path / 'a', max_iters=2)
    checkpoint = torch.load(tmp_path / 'a' / 'iter_2.pth', weights_only=False)
    del checkpoint['TopologySearchLoop']
    torch.save(checkpoint, tmp_path / 'other.pth')
    cfg = config(tmp_path / 'b')
    cfg.update(resume=True, load_from=str(tmp_path / 'other.pth'))
    with pytest.raises(InputError, match='not of a TopologySearchLoop'):
        Runner.from_cfg(cfg).train()


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
    cfg = config(tmp_path)
    cfg.train_cfg = 5
    with pytest.raises(InputError, match='is not for this tool'):
        preflight.check_loop(cfg, 'TopologySearchLoop')


def test_arguments_of_the_loop_are_checked_by_name(tmp_path):
    cfg = config(tmp_path)
    preflight.check_loop(cfg, 'TopologySearchLoop')
    cfg.train_cfg.max_iter = cfg.train_cfg.pop('max_iters')
    with pytest.raises(InputError, match="unknown keys .'max_iter'., missing keys "
                                         ".'max_iters'.; expected max_iters, setting"):
        preflight.check_loop(cfg, 'TopologySearchLoop')
    with pytest.raises(InputError, match="train_cfg.type must be 'AutoLoop'"):
        preflight.check_loop(cfg, 'AutoLoop')
