"""Curves of accuracy over cost."""
import numpy as np
import pytest

from mmasvit.adaptive.budgets import (Costs, assigned, choose, curves, permuted, plot,
                                      rows)
from mmasvit.adaptive.cascade import cascaded
from mmasvit.adaptive.labels import classification_labels
from mmasvit.errors import InputError

STRIDES = (16, 8, 4)
COSTS = np.array([1., 4., 16.])


def setting(knowledge, images=900, seed=0):
    """Images that are right from some stride on, and an assigner that half knows."""
    rng = np.random.default_rng(seed)
    need = rng.integers(0, 3, images)
    right = np.arange(3) >= need[:, None]
    scores = knowledge * np.eye(3)[need] + rng.normal(size=(images, 3))
    log_p = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    costs = Costs(*[np.tile(COSTS, (images, 1))] * 2, assigner_macs=0.1,
                  assigner_seconds=0.2)
    return right, log_p, costs


def points(knowledge):
    right, log_p, costs = setting(knowledge)
    found = curves(STRIDES, costs, lambda c: right[np.arange(len(c)), c].mean(),
                   classification_labels(right, 'coarsest'), assigned(STRIDES, log_p))
    return {kind: [one for one in found if one.kind == kind]
            for kind in ('fixed', 'assigner', 'oracle', 'control')}


def test_oracle_is_never_beaten_and_cheaper_than_the_finest():
    found = points(2.)
    (oracle, ) = found['oracle']
    assert oracle.score == max(one.score for kind in found.values() for one in kind) == 1
    assert oracle.macs < found['fixed'][-1].macs == 16


def test_control_loses_to_an_assigner_that_knows_and_to_no_other():
    for knowledge, least, most in ((4., .1, 1.), (0., -.03, .03)):
        found = points(knowledge)
        margins = [a.score - c.score
                   for a, c in zip(found['assigner'], found['control'])
                   if max(a.shares) < .6]
        assert margins and least < np.mean(margins) < most
        for a, c in zip(found['assigner'], found['control']):
            assert a.shares == c.shares and a.macs == pytest.approx(c.macs)


def test_biases_run_from_the_coarsest_stride_to_the_finest_and_count_the_assigner():
    assigner = points(2.)['assigner']
    macs = [one.macs for one in assigner]
    assert macs == sorted(macs) and macs[0] < 1.3 and macs[-1] > 15
    for one in assigner:
        assert one.macs == pytest.approx(one.shares @ COSTS + 0.1)
        assert one.seconds == pytest.approx(one.shares @ COSTS + 0.2)


def test_permutations_keep_the_histogram_and_depend_on_the_seed():
    choice = np.arange(50) % 3
    one, again, other = (permuted(choice, seed, 0) for seed in (0, 0, 1))
    assert (one == again).all() and (one != other).any() and (one != choice).any()
    assert (np.bincount(one) == np.bincount(choice)).all()
    assert choose(np.log([[.2, .5, .3]]), (0, 0, 1)).tolist() == [2]


def test_figure_and_table(tmp_path):
    found = [one for kind in points(2.).values() for one in kind]
    plot(found, 'top-1', tmp_path / 'budgets.png')
    assert (tmp_path / 'budgets.png').stat().st_size > 10000
    table = rows(found, STRIDES)
    assert len(table) == 3 + 1 + 2 * 13
    assert all(abs(sum(row[f'share_{s}'] for s in STRIDES) - 1) < 1e-9 for row in table)


def cascade(knowledge, images=900):
    """Choices of a cascade whose confidence knows, more or less, whether it is right."""
    right = setting(0., images)[0]
    noise = np.random.default_rng(1).normal(size=right.shape)
    confidences = 1 / (1 + np.exp(-knowledge * (right - .5) - noise))
    chosen = cascaded(confidences, right, COSTS)
    costs = Costs(*[np.tile(COSTS, (images, 1))] * 2)
    return chosen, curves(STRIDES, costs, lambda c: right[np.arange(len(c)), c].mean(),
                          classification_labels(right, 'coarsest'), chosen)


@pytest.mark.slow
def test_a_cascade_that_knows_beats_its_control_and_no_other_does():
    for knowledge, least, most in ((6., .1, 1.), (0., -.03, .03)):
        _, found = cascade(knowledge)
        pairs = [(found[i], found[i + 1]) for i in range(4, len(found), 2)]
        assert {(one.kind, two.kind) for one, two in pairs} == {
            ('cascade', 'control'), ('best', 'control')}
        margins = [one.score - two.score for one, two in pairs if max(one.shares) < .6]
        assert len(margins) > 3 and least < np.mean(margins) < most
        assert all(one.shares == two.shares for one, two in pairs)


def test_best_thresholds_keep_to_their_budget_on_the_other_half_and_beat_the_rule():
    _, found = cascade(4.)
    best = [one for one in found if one.kind == 'best']
    for one in best:
        assert one.macs / 1e9 < one.setting + 2e-9 * max(one.setting * 1e8, .5)
    macs = [one.macs for one in best]
    assert macs[0] == COSTS[0] and macs == sorted(macs)
    rule = [one for one in found if one.kind == 'cascade' and 3 < one.macs < 12]
    at = np.interp([one.macs for one in rule], macs, [one.score for one in best])
    assert np.mean(at - [one.score for one in rule]) > 0


def test_halves_do_not_see_their_own_labels():
    """A label tells nothing of the thresholds that its own image is decided by."""
    right = setting(0., 24)[0]
    confidences = np.random.default_rng(0).random(right.shape)

    def choices(right):
        found = cascaded(confidences, right, COSTS, qs=(), budgets=5)
        return np.stack([one.choice for one in found])

    changed = 0
    for own in range(24):
        flipped = np.where(np.arange(24)[:, None] == own, ~right, right)
        differs = (choices(flipped) != choices(right)).any(0)
        assert not differs[own]
        changed += differs.any()
    assert changed > 6  # but those of others
    with pytest.raises(InputError, match='two held-out images at least'):
        cascaded(confidences[:1], right[:1], COSTS)
