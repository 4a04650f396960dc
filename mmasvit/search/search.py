"""One topology search, step by step, without a Runner."""
from typing import List, Optional

from mmasvit.arguments import whole_number
from mmasvit.measuring import Evaluator, Objective
from mmasvit.random import Purpose, generator
from mmasvit.search.history import Evaluation
from mmasvit.search.reward import MovingAverage, RelativeReward
from mmasvit.search.strategies import Proposal, Strategy


class TopologySearch:
    """Proposes topologies, has them measured and rewards them (algorithm 1).

    What a step draws depends on the seed, the step and the history alone, so that the
    same measurements always make the same search.

    Args:
        strategy: Where topologies come from.
        evaluator: Measures topologies.
        seed: Seed of what is drawn.
        objective: What is rewarded. Defaults to the paper's.
        topologies_per_step: More than one is not the paper's: the policy then follows
            the mean gradient of several topologies. Defaults to 1.
        baseline_momentum: Of the moving average of rewards; None for no baseline.
            Defaults to 0.9.
        reward_window: Steps that scale the reward. Defaults to None, all.

    Attributes:
        history: The evaluations so far.

    Raises:
        InputError: If an argument is out of range, or no topology keeps the limits.
    """

    def __init__(self, strategy: Strategy, evaluator: Evaluator, seed: int,
                 objective: Objective = Objective(), topologies_per_step: int = 1,
                 baseline_momentum: Optional[float] = 0.9,
                 reward_window: Optional[int] = None):
        self._count = whole_number('topologies_per_step', topologies_per_step, 1)
        self.strategy, self._evaluator, self._seed = strategy, evaluator, seed
        self._reward = RelativeReward(objective, reward_window)
        self._baseline = (None if baseline_momentum is None
                          else MovingAverage(baseline_momentum))
        self.history: List[Evaluation] = []
        self._propose(1)  # limits that hardly any topology keeps are refused here

    def step(self, known_only: bool = False) -> Optional[List[Evaluation]]:
        """Propose, measure and reward the topologies of the next step.

        Args:
            known_only: Whether to stop before a step that would measure something, and
                return None. Defaults to False.
        """
        number = len(self.history) // self._count + 1
        proposals = self._propose(number)
        topologies = [proposal.topology for proposal in proposals]
        if known_only and self._evaluator.unknown(topologies):
            return None
        entropy = self.strategy.policy.entropy().item()
        measured = [{name: summary.mean for name, summary in summaries.items()}
                    for summaries in self._evaluator(topologies)]
        parts = self._reward(measured)
        rewards = [part.pop('reward') for part in parts]
        mean = sum(rewards) / len(rewards)
        baseline = self._baseline.update(mean) if self._baseline else 0.
        step = [Evaluation(number, *proposal, values, part, reward, baseline, entropy)
                for proposal, values, part, reward
                in zip(proposals, measured, parts, rewards)]
        self.history += step
        self.strategy.learn(step)
        return step

    def _propose(self, number: int) -> List[Proposal]:
        return [self.strategy.propose(
            self.history, generator(Purpose.PROPOSAL, self._seed, number, position))
            for position in range(self._count)]
