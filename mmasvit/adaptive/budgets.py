"""Accuracy over cost: fixed strides, what chooses for each image, oracle and control."""
from dataclasses import dataclass
from typing import Callable, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np
import torch

from mmasvit.plotting import save_figure, subplots
from mmasvit.random import Purpose, generator

TILTS = tuple(float(tilt) for tilt in np.linspace(-6, 6, 13))


@dataclass(frozen=True)
class Costs:
    """What each image costs at each stride ``(images, strides)``, and the choosing.

    Of a cascade, the exits before are part of each stride's.

    Args:
        macs: Multiply-accumulates of the model.
        seconds: Time of the model.
        assigner_macs: Of the assigner, for an image.
        assigner_seconds: Its time, for an image.
    """
    macs: np.ndarray
    seconds: np.ndarray
    assigner_macs: float = 0.
    assigner_seconds: float = 0.

    def mean(self, choice: np.ndarray, assigned: bool) -> Tuple[float, float]:
        """Mean multiply-accumulates and seconds of an image.

        Args:
            choice: Place of each image's stride.
            assigned: Whether the assigner ran.
        """
        rows = np.arange(len(choice))
        return (float(self.macs[rows, choice].mean() + assigned * self.assigner_macs),
                float(self.seconds[rows, choice].mean()
                      + assigned * self.assigner_seconds))


class Chosen(NamedTuple):
    """A way to choose.

    Args:
        kind: ``'assigner'``, or of a cascade ``'cascade'``, by the released rule, or
            ``'best'``.
        setting: The tilt of the assigner's biases, q of the rule, or the budget in
            multiply-accumulates times 1e9.
        choice: Place of each image's stride ``(images,)``.
    """
    kind: str
    setting: float
    choice: np.ndarray


@dataclass(frozen=True)
class Point:
    """A point of a curve.

    Args:
        kind: ``'fixed'``, ``'oracle'``, that of a :class:`Chosen` or ``'control'``.
        setting: The stride, or that of the :class:`Chosen`.
        score: Accuracy or average precision, from 0 to 1.
        spread: Standard deviation of the score over random assignments.
        macs: Multiply-accumulates of an image, on average.
        seconds: Its time, on average.
        shares: Share of images at each stride, the coarsest first.
    """
    kind: str
    setting: float
    score: float
    spread: float
    macs: float
    seconds: float
    shares: Tuple[float, ...]


def tilted_bias(token_strides: Sequence[int], tilt: float) -> Tuple[float, ...]:
    """Biases that favour fine strides, or with a negative tilt coarse ones.

    They grow by ``tilt`` from each stride to one of half its size.
    """
    return tuple(tilt * float(np.log2(token_strides[0] / stride))
                 for stride in token_strides)


def choose(log_probabilities: np.ndarray, bias: Sequence[float]) -> np.ndarray:
    """Places of the strides that an assigner chooses ``(images,)``, as it does online."""
    return (np.asarray(log_probabilities) + np.asarray(bias)).argmax(1)


def assigned(token_strides: Sequence[int], log_probabilities: np.ndarray,
             tilts: Sequence[float] = TILTS) -> List[Chosen]:
    """What an assigner chooses at several biases; arguments as in :func:`choose`."""
    return [Chosen('assigner', tilt, choose(log_probabilities,
                                            tilted_bias(token_strides, tilt)))
            for tilt in tilts]


def permuted(choice: np.ndarray, seed: int, number: int) -> np.ndarray:
    """The same strides for other images, at random: a choice that knows nothing."""
    order = torch.randperm(len(choice), generator=generator(
        Purpose.ASSIGNMENT, seed, number))
    return np.asarray(choice)[order.numpy()]


def curves(token_strides: Sequence[int], costs: Costs,
           score: Callable[[np.ndarray], float], labels: np.ndarray,
           chosen: Sequence[Chosen] = (), permutations: int = 5, seed: int = 0
           ) -> List[Point]:
    """All points of the figure.

    Args:
        token_strides: The coarsest first.
        costs: Of each image at each stride.
        score: Of a choice, a place among the strides per image.
        labels: The choice of one who knows.
        chosen: What an assigner or a cascade chooses; a control follows each. Without
            any, the control shuffles the labels.
        permutations: How many random assignments a point of the control is the mean of.
        seed: Of these.
    """
    scores = {}

    def scored(choice: np.ndarray) -> float:
        key = choice.tobytes()
        if key not in scores:  # biases that change nothing, and average precision is slow
            scores[key] = score(choice)
        return scores[key]

    def point(kind: str, setting: float, *choices: np.ndarray, assigned: bool = False
              ) -> Point:
        values = [scored(choice) for choice in choices]
        shares = np.bincount(choices[0], minlength=len(token_strides)) / len(labels)
        macs, seconds = np.mean([costs.mean(choice, assigned) for choice in choices],
                                axis=0)
        return Point(kind, setting, float(np.mean(values)), float(np.std(values)),
                     float(macs), float(seconds), tuple(shares.tolist()))

    def shuffled(choice: np.ndarray) -> List[np.ndarray]:
        return [permuted(choice, seed, k) for k in range(permutations)]

    labels = np.asarray(labels)
    points = [point('fixed', stride, np.full(len(labels), place))
              for place, stride in enumerate(token_strides)]
    points.append(point('oracle', 0., labels))
    if not chosen:
        return [*points, point('control', 0., *shuffled(labels))]
    for kind, setting, choice in chosen:
        points += [point(kind, setting, choice, assigned=True),
                   point('control', setting, *shuffled(choice), assigned=True)]
    return points


def rows(points: Sequence[Point], token_strides: Sequence[int]
         ) -> List[Dict[str, object]]:
    """The points as rows of a table."""
    return [dict(kind=one.kind, setting=one.setting, score=one.score, spread=one.spread,
                 gmacs=one.macs / 1e9, seconds=one.seconds,
                 **{f'share_{stride}': share
                    for stride, share in zip(token_strides, one.shares)})
            for one in points]


def plot(points: Sequence[Point], what: str, out_file) -> None:
    """Draw the score over multiply-accumulates and over seconds.

    Args:
        points: From :func:`curves`.
        what: The score's name.
        out_file: PNG to write.
    """
    figure, both = subplots(1, 2, figsize=(11, 4.5), sharey=True)
    styles = dict(fixed=('C0', 'o', ''), oracle=('C2', '*', ''),
                  assigner=('C1', '.', '-'), cascade=('C1', '.', '-'),
                  best=('C3', '.', '-'), control=('grey', '.', '--'))
    # numbers beside the fixed strides say which they are
    for axes, attribute, scale, label in ((both[0], 'macs', 1e-9, 'GMACs an image'),
                                          (both[1], 'seconds', 1e3, 'ms an image')):
        for kind, (color, marker, line) in styles.items():
            own = sorted((one for one in points if one.kind == kind),
                         key=lambda one: getattr(one, attribute))
            if own:
                axes.errorbar([getattr(one, attribute) * scale for one in own],
                              [one.score for one in own], [one.spread for one in own],
                              color=color, marker=marker, linestyle=line, label=kind,
                              markersize=12 if kind == 'oracle' else 7, capsize=2)
        for one in points:
            if one.kind == 'fixed':
                axes.annotate(f'{one.setting:g}',
                              (getattr(one, attribute) * scale, one.score),
                              textcoords='offset points', xytext=(0, 8), ha='center',
                              fontsize=8)
        axes.set(xlabel=f'{label}, mean')
        axes.grid(alpha=0.3)
    both[0].set_ylabel(what)
    both[0].margins(y=0.1)
    handles, labels = both[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside lower center', ncols=5)
    save_figure(figure, out_file)
