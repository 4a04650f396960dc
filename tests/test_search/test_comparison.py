"""Finished searches read back and put side by side."""
import json
import math
from statistics import fmean, stdev

import pytest

from mmasvit import Topology
from mmasvit.complexity import Measured
from mmasvit.errors import InputError
from mmasvit.files import TableFile
from mmasvit.measuring import Evaluator, Objective
from mmasvit.search.comparison import found_values, group, policy_values, rate
from mmasvit.search.policy import TopologyPolicy
from mmasvit.search.report import columns, read_results, to_row, write_results
from mmasvit.search.reward import scores
from mmasvit.search.search import TopologySearch
from mmasvit.search.strategies import Random, Reinforce
from mmasvit.stats import Spread

PAPERS = Objective()


def measure(topology, repeat):
    return dict(length_distortion=Measured(topology.kernels[1] + .1 * repeat, 1.),
                ntk_condition_number=Measured(1e3 / topology.kernels[0], 1.))


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    """Three seeds of each strategy, without a Runner; policies stay uniform."""
    made = []
    for strategy in ('reinforce', 'random'):
        policy = TopologyPolicy(dict(heads=[16, 32]))
        for seed in range(3):
            folder = tmp_path_factory.mktemp(f'{strategy}{seed}')
            evaluator = Evaluator(measure, 2, PAPERS.names)
            search = TopologySearch(
                Random(policy) if strategy == 'random'
                else Reinforce(policy, update=lambda batch: None), evaluator, seed)
            for _ in range(15):
                search.step()
            found = search.strategy.found(search.history)
            TableFile(folder / 'history.csv', columns(PAPERS), map(to_row, search.history))
            write_results(str(folder), search, PAPERS, found, evaluator([found])[0],
                          dict(objective=dict(PAPERS.weights), strategy=strategy, steps=15, seed=seed,
                               topologies_per_step=1,
                               constraint=dict(macs=None, params=2e6),
                               data=dict(source='data/photos'), seconds=dict(measures=dict(a=60.)),
                               setting=dict(protocol='released', image_size=64, repeats=2,
                                            seed=seed)))
            made.append(folder)
    return made


def test_history_comes_back_with_every_digit(folders):
    search = read_results(folders[0])
    assert len(search.rows) == 15 and [row['step'] for row in search.rows] == list(
        range(1, 16))
    for row in search.rows:
        topology = Topology.parse(row['topology'])
        assert row['length_distortion'] == fmean(
            topology.kernels[1] + .1 * repeat for repeat in range(2))
        assert row['ntk_condition_number'] == 1e3 / topology.kernels[0]


def test_groups(folders):
    groups = group([read_results(folder) for folder in folders])
    words = 'released, 64 px, 2 repeats, 15 steps, photos, params <= 2e+06'
    assert list(groups) == [f'random, {words}', f'reinforce, {words}']
    assert [len(members) for members in groups.values()] == [3, 3]


def test_what_differs_by_more_than_its_seed_is_a_group_of_its_own(folders):
    searches = [read_results(folder) for folder in folders[:3]]
    searches[0].result['optim_wrapper'] = dict(lr=.5)
    searches[1].result['setting']['num_images'] = 3
    words = 'reinforce, released, 64 px, 2 repeats, 15 steps, photos, params <= 2e+06'
    groups = {name: {search.folder for search in members}
              for name, members in group(searches).items()}
    assert sorted(map(len, groups.values())) == [1, 1, 1]
    assert all(name.startswith(words) for name in groups)
    assert any('num_images' in name for name in groups)
    assert any('optim_wrapper' in name for name in groups)


def test_values_that_are_not_finite_have_no_deviation():
    mean, deviation = Spread.of([1., math.inf])
    assert mean == math.inf and math.isnan(deviation)


def test_table_3_over_what_was_found(folders):
    searches = [read_results(folder) for folder in folders[3:]]
    table = found_values(searches)
    for name in ('K1', 'E3', 'heads'):
        values = [Topology.parse(search.result['topology']).values[name]
                  for search in searches]
        assert table[name] == (fmean(values), stdev(values))
    assert found_values(searches[:1])['K1'].deviation == 0
    assert policy_values(searches) is None


def test_table_3_over_what_policies_sample(folders):
    searches = [read_results(folder) for folder in folders[:3]]
    table = policy_values(searches)
    assert table['heads'] == pytest.approx((24, 8))
    assert table['K1'] == pytest.approx((6, 2**.5), rel=1e-6)
    # a policy that is sure of another value each: the deviation between them counts
    for search, value in zip(searches, ('16', '16', '32')):
        search.result['policy']['heads'] = {'16': 0., '32': 0., value: 1.}
    assert policy_values(searches)['heads'] == pytest.approx((64 / 3, 7.5425), rel=1e-4)


def test_scores_share_a_range(folders):
    searches = [read_results(folder) for folder in folders]
    rated = rate(searches)
    union = scores([values for search in searches for values in search.measures])
    assert sum(rated, []) == union and [len(one) for one in rated] == [15] * 6
    searches[1].result['setting']['image_size'] = 32
    with pytest.raises(InputError, match='image_size=32 instead of 64'):
        rate(searches)
    searches[1].result['setting']['image_size'] = 64
    searches[1].result['objective'] = dict(length_distortion=1)
    with pytest.raises(InputError, match='objective.ntk_condition_number=None'):
        rate(searches)


@pytest.mark.parametrize('content, line', [
    (None, 'holds no finished topology search'), ('{', 'damaged'), ('{}', 'damaged')])
def test_unfinished_or_damaged_folders(folders, tmp_path, content, line):
    (tmp_path / 'history.csv').write_bytes((folders[0] / 'history.csv').read_bytes())
    if content is not None:
        (tmp_path / 'topology.json').write_text(content)
    with pytest.raises(InputError, match=line):
        read_results(tmp_path)


def test_numbers_without_a_sign_in_json_are_text(tmp_path):
    evaluator = Evaluator(lambda topology, repeat: dict(
        length_distortion=Measured(float('-inf'), 0.),
        ntk_condition_number=Measured(float('inf'), 0.)), 1, PAPERS.names)
    search = TopologySearch(Random(TopologyPolicy()), evaluator, 0)
    search.step()
    found = search.strategy.found(search.history)
    write_results(str(tmp_path), search, PAPERS, found, evaluator([found])[0],
                  dict(strategy='random', steps=1, seed=0, data=dict(source='noise'),
                       setting=dict(protocol='paper', image_size=32, repeats=1)))
    result = json.loads((tmp_path / 'topology.json').read_text(),
                        parse_constant=pytest.fail)
    assert result['measures']['ntk_condition_number']['mean'] == 'inf'


def places(value, place=()):
    """Every entry of nested dicts and lists."""
    for key, inner in (value.items() if isinstance(value, dict) else enumerate(
            value) if isinstance(value, list) else ()):
        yield place + (key, )
        yield from places(inner, place + (key, ))


def test_whatever_is_damaged_is_a_line(folders, tmp_path):
    """Each entry of the result another or missing: tools work, or tell what is wrong."""
    from mmasvit.report.topologies import search_page
    whole = json.loads((folders[0] / 'topology.json').read_text())
    (tmp_path / 'history.csv').write_bytes((folders[0] / 'history.csv').read_bytes())
    refused = 0
    for number, place in enumerate(places(whole)):
        for new in (None, 'text', [], {'a': 'b'}, 10**400, KeyError):
            result = json.loads(json.dumps(whole))
            inner = result
            for key in place[:-1]:
                inner = inner[key]
            if new is KeyError:
                del inner[place[-1]]
            else:
                inner[place[-1]] = new
            (tmp_path / 'topology.json').write_text(json.dumps(result))
            uses = [lambda: group([read_results(tmp_path)])]
            if number % 40 == 0:  # they are drawn
                uses.append(lambda: search_page(tmp_path))
            for use in uses:
                try:
                    use()
                except InputError as error:
                    refused += 1
                    assert '\n' not in str(error)
    assert refused > 100
