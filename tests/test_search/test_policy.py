"""The policy as a distribution, its gradient, and what it draws."""
import math
from itertools import islice, product

import pytest
import torch

from mmasvit.random import Purpose, generator
from mmasvit.search.policy import TopologyPolicy
from mmasvit.topology import SEARCH_SPACE

SMALL = dict({name: values[:1] for name, values in SEARCH_SPACE.items()},
             K1=[4, 6, 8], E2=[2, 5], heads=[16, 32])


def shaped(space=None, seed=0):
    """A policy with random preferences."""
    policy = TopologyPolicy(space)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for logits in policy.logits.values():
            logits.normal_(generator=draw)
    return policy


def all_choices(policy):
    return list(product(*(range(len(values))
                          for values in policy.space.choices.values())))


def test_starts_with_the_entropy_of_the_space():
    policy = TopologyPolicy()
    assert policy.entropy().item() == pytest.approx(math.log(4_556_250), abs=1e-5)
    assert round(policy.entropy().item(), 2) == 15.33


def test_is_a_distribution():
    policy = shaped(SMALL)
    log_prob = policy.log_prob(torch.tensor(all_choices(policy))).double()
    assert log_prob.exp().sum().item() == pytest.approx(1, abs=1e-6)
    entropy = -(log_prob.exp() * log_prob).sum().item()
    assert policy.entropy().item() == pytest.approx(entropy, abs=1e-5)


@pytest.mark.slow
def test_draws_follow_the_probabilities():
    policy = shaped(SMALL)
    choices = all_choices(policy)
    expected = policy.log_prob(torch.tensor(choices)).exp()
    number = 4000
    counts = dict.fromkeys(choices, 0)
    draw = torch.Generator().manual_seed(1)
    for _ in range(number):
        counts[policy.sample(draw)] += 1
    for choice, probability in zip(choices, expected.tolist()):
        deviation = math.sqrt(number * probability * (1 - probability))
        assert abs(counts[choice] - number * probability) < 4 * deviation + 1


def test_a_draw_depends_on_its_generator_alone():
    policy = TopologyPolicy()
    torch.manual_seed(1)
    def draw(step):
        return policy.sample(generator(Purpose.PROPOSAL, 0, step))

    first = [draw(step) for step in range(20)]
    torch.manual_seed(2)
    draw(99)
    assert [draw(step) for step in range(20)] == first
    assert len(set(first)) == 20


def test_gradient_is_reinforces():
    """Its expectation over the draws is the gradient of the expected advantage."""
    policy = shaped(SMALL)
    choices = torch.tensor(all_choices(policy))
    advantages = torch.randn(len(choices), generator=torch.Generator().manual_seed(3))
    probabilities = policy.log_prob(choices).exp()
    expected = torch.autograd.grad((probabilities * advantages).sum(),
                                   list(policy.logits.values()))
    total = [torch.zeros_like(logits) for logits in policy.logits.values()]
    for choice, advantage, probability in zip(choices, advantages,
                                              probabilities.detach()):
        loss = policy(choice[None], advantage[None])['loss']
        for sum_, gradient in zip(total, torch.autograd.grad(
                loss, list(policy.logits.values()))):
            sum_ -= probability * gradient
    for sum_, gradient in zip(total, expected):
        assert torch.allclose(sum_, gradient, atol=1e-6)


def test_a_batch_is_the_mean_of_its_members():
    policy = shaped(SMALL)
    choices = torch.tensor(all_choices(policy)[:4])
    advantages = torch.tensor([1., -2., .5, 3.])
    single = [policy(choice[None], advantage[None])['loss']
              for choice, advantage in zip(choices, advantages)]
    assert policy(choices, advantages)['loss'].item() == pytest.approx(
        sum(single).item() / 4)


def test_most_likely_enumerates_in_order_of_probability():
    policy = shaped(SMALL)
    choices = list(policy.most_likely())
    assert sorted(choices) == sorted(all_choices(policy))
    log_prob = policy.log_prob(torch.tensor(choices)).tolist()
    assert all(a >= b - 1e-6 for a, b in zip(log_prob, log_prob[1:]))


def test_most_likely_of_the_whole_space_takes_each_choices_best():
    policy = shaped()
    best = tuple(int(choice.probs.argmax()) for choice in policy.distributions())
    first = list(islice(policy.most_likely(), 50))
    assert first[0] == best and len(set(first)) == 50


def test_ties_go_to_what_is_named_first():
    assert next(TopologyPolicy().most_likely()) == (0, ) * 12
