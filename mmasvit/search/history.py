"""What a search has seen."""
from dataclasses import dataclass
from typing import List, Sequence

from mmasvit.genotypes import Genotype
from mmasvit.measuring.objective import Objective, Values
from mmasvit.search.reward import scores
from mmasvit.search.space import Choice


@dataclass(frozen=True)
class Evaluation:
    """A topology that was measured and rewarded at a step.

    Attributes:
        step: The step, from 1.
        choice: What was drawn.
        topology: What it stands for.
        measures: Means of its measures.
        parts: The reward's parts, by measure.
        reward: Their sum.
        baseline: What was taken off the reward: the average of rewards, this step's
            among them.
        entropy: Entropy in nats of the policy it was drawn from.
    """
    step: int
    choice: Choice
    topology: Genotype
    measures: Values
    parts: Values
    reward: float
    baseline: float
    entropy: float

    @property
    def advantage(self) -> float:
        """What the policy learns from."""
        return self.reward - self.baseline


def rate(history: Sequence[Evaluation], objective: Objective) -> List[float]:
    """Scores of all evaluations, on the scale of their own range."""
    return scores([one.measures for one in history], objective)


def best_of(history: Sequence[Evaluation], objective: Objective) -> Evaluation:
    """The evaluation of the highest score; the first of equals."""
    rated = rate(history, objective)
    return history[rated.index(max(rated))]
