"""A search step by step, without a Runner."""
from itertools import islice

import pytest
import torch

from mmasvit.complexity import Measured
from mmasvit.search.policy import TopologyPolicy
from mmasvit.search.reward import MovingAverage
from mmasvit.search.search import TopologySearch, as_batch
from mmasvit.search.space import Constraint, table_costs
from mmasvit.measuring.evaluator import Evaluator


def measure(topology, repeat):
    return dict(length_distortion=Measured(sum(topology.kernels), 0.),
                ntk_condition_number=Measured(sum(topology.expansions) + repeat, 0.))


def search(**options):
    return TopologySearch(TopologyPolicy(), Evaluator(measure, 1), 0, **options)


@pytest.mark.parametrize('count', [1, 4])
def test_advantages_are_rewards_less_the_baseline(count):
    """The moving average of the steps' mean rewards, this step's among them."""
    made, average = search(topologies_per_step=count), MovingAverage(0.9)
    for _ in range(10):
        step = made.step()
        rewards = [row['reward'] for row in step.rows]
        baseline = average.update(sum(rewards) / count)
        assert step.advantages == [reward - baseline for reward in rewards]
        assert all(row['baseline'] == baseline for row in step.rows)
    assert baseline != 0


def test_without_a_baseline_advantages_are_rewards():
    made = search(baseline_momentum=None)
    for _ in range(5):
        step = made.step()
        assert step.advantages == [row['reward'] for row in step.rows]


@pytest.mark.parametrize('strategy', ['reinforce', 'random', 'evolution'])
def test_topologies_of_one_step_differ(strategy):
    made = search(topologies_per_step=6, strategy=strategy,
                  evolution=dict(population=6, tournament=2))
    for number in range(1, 4):
        step = made.step()
        assert len(set(step.choices)) > 3
        assert [row['step'] for row in step.rows] == [number] * 6
        batch = as_batch(step)
        assert batch['choices'].shape == (6, 12) and batch['advantages'].shape == (6, )
        for choice, row in zip(step.choices, step.rows):
            assert str(made.space.topology(choice)) == row['topology']


def test_rows_loaded_continue_the_rewards():
    whole, rest = search(), search()
    steps = [whole.step() for _ in range(8)]
    rest.load([row for step in steps[:5] for row in step.rows])
    for step in steps[5:]:
        again = rest.step()
        assert again == step
    assert rest.best() == whole.best()


def test_what_is_found_keeps_the_limits():
    """Though the policy likes the most expensive topology best."""
    policy = TopologyPolicy()
    with torch.no_grad():
        for logits in policy.logits.values():
            logits.copy_(torch.arange(len(logits), dtype=torch.float32))
    costs = [table_costs(policy.space.topology(choice))['params']
             for choice in islice(policy.most_likely(), 20)]
    limit = Constraint(params=min(costs))
    made = TopologySearch(policy, Evaluator(measure, 1), 0, constraint=limit)
    assert table_costs(made.found())['params'] == min(costs) < costs[0]
