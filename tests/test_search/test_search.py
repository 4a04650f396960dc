"""A search step by step, without a Runner."""
from itertools import islice

import pytest
import torch

from mmasvit.complexity import Measured
from mmasvit.limits import Constraint
from mmasvit.measuring import Evaluator, Ledger
from mmasvit.search.policy import TopologyPolicy
from mmasvit.search.reward import MovingAverage
from mmasvit.search.search import TopologySearch
from mmasvit.search.strategies import STRATEGIES, as_batch


def measure(topology, repeat):
    return dict(length_distortion=Measured(sum(topology.kernels), 0.),
                ntk_condition_number=Measured(sum(topology.expansions) + repeat, 0.))


NAMES = ('length_distortion', 'ntk_condition_number')


def search(strategy='reinforce', ledger=None, policy=None, constraint=Constraint(),
           evolution=None, **options):
    policy = policy or TopologyPolicy()
    optimizer = torch.optim.SGD(policy.parameters(), lr=.3)

    def update(batch):
        optimizer.zero_grad()
        policy(**batch)['loss'].backward()
        optimizer.step()

    own = dict(reinforce=dict(update=update), evolution=evolution or {})
    made = STRATEGIES[strategy](policy, constraint, **own.get(strategy, {}))
    return TopologySearch(made, Evaluator(measure, 1, NAMES, ledger), 0, **options)


@pytest.mark.parametrize('count', [1, 4])
def test_advantages_are_rewards_less_the_baseline(count):
    """The moving average of the steps' mean rewards, this step's among them."""
    made, average = search(topologies_per_step=count), MovingAverage(0.9)
    for _ in range(10):
        step = made.step()
        rewards = [one.reward for one in step]
        baseline = average.update(sum(rewards) / count)
        assert [one.advantage for one in step] == [reward - baseline for reward in rewards]
        assert all(one.baseline == baseline for one in step)
        assert all(sum(one.parts.values()) == one.reward for one in step)
    assert baseline != 0


def test_without_a_baseline_advantages_are_rewards():
    made = search(baseline_momentum=None)
    for _ in range(5):
        step = made.step()
        assert all(one.advantage == one.reward for one in step)


@pytest.mark.parametrize('strategy', ['reinforce', 'random', 'evolution'])
def test_topologies_of_one_step_differ(strategy):
    made = search(topologies_per_step=6, strategy=strategy,
                  evolution=dict(population=6, tournament=2))
    for number in range(1, 4):
        step = made.step()
        assert len({one.choice for one in step}) > 3
        assert [one.step for one in step] == [number] * 6
        batch = as_batch(step)
        assert batch['choices'].shape == (6, 12) and batch['advantages'].shape == (6, )
        for one in step:
            assert made.strategy.space.topology(one.choice) == one.topology


@pytest.mark.parametrize('strategy', ['reinforce', 'random', 'evolution'])
def test_a_ledger_replays_a_search_and_no_step_more(tmp_path, strategy):
    """Until a step would measure something; then it goes on as the first would have."""
    options = dict(strategy=strategy, evolution=dict(population=4, tournament=2))
    ledger = Ledger(tmp_path / 'measurements.jsonl', {})
    whole, rest = search(ledger=ledger, **options), search(**options)
    for _ in range(6):
        whole.step()
    part = search(ledger=ledger, **options)
    while part.step(known_only=True):
        pass
    assert part.history == whole.history[:len(part.history)] and len(part.history) >= 6
    while len(rest.history) < 9:
        rest.step()
    while len(part.history) < 9:
        part.step()
    assert part.history == rest.history
    assert part.strategy.found(part.history) == rest.strategy.found(rest.history)


def test_what_is_found_keeps_the_limits():
    """Though the policy likes the most expensive topology best."""
    policy = TopologyPolicy()
    with torch.no_grad():
        for logits in policy.logits.values():
            logits.copy_(torch.arange(len(logits), dtype=torch.float32))
    costs = [policy.space.topology(choice).costs()['params']
             for choice in islice(policy.most_likely(), 20)]
    limit = Constraint(params=min(costs))
    made = search(policy=policy, constraint=limit)
    assert made.strategy.found([]).costs()['params'] == min(costs) < costs[0]
