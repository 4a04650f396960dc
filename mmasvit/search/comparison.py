"""Finished searches side by side."""
from pathlib import Path
from statistics import fmean
from typing import Dict, List, Optional, Sequence

from mmasvit.datasets.probe_images import source_name
from mmasvit.errors import InputError
from mmasvit.measuring.ledger import first_difference
from mmasvit.search.report import Finished
from mmasvit.search.reward import scores
from mmasvit.stats import Spread

# What a search is made with, beside its setting and images: entries of topology.json.
SETTINGS = ('strategy', 'steps', 'objective', 'space', 'topologies_per_step',
            'baseline_momentum', 'reward_window', 'constraint', 'evolution',
            'optim_wrapper', 'measure')


def settings(search: Finished) -> dict:
    """All that a search was made with but for seeds, times and versions."""
    result = search.result
    return dict({name: result.get(name) for name in SETTINGS},
                setting=dict(result['setting'], seed=None),
                data=result['data']['source'])


def kind(search: Finished) -> List[str]:
    """The settings that searches differ by most often, in words."""
    result = search.result
    setting = result['setting']
    words = [result['strategy'], setting['protocol'], f'{setting["image_size"]} px',
             f'{setting["repeats"]} repeats', f'{result["steps"]} steps',
             Path(source_name(result['data'])).name]
    if result['topologies_per_step'] > 1:
        words.append(f'{result["topologies_per_step"]} per step')
    limits = {name: value for name, value in result['constraint'].items() if value}
    return words + [f'{name} <= {value:.3g}' for name, value in limits.items()]


def group(searches: Sequence[Finished]) -> Dict[str, List[Finished]]:
    """Searches that differ by their seeds alone, under the words for what they share.

    Where words do not tell two groups apart, the first difference is added.
    """
    groups: Dict[str, List[Finished]] = {}
    for search in sorted(searches, key=lambda search: (kind(search), search.folder)):
        name = ', '.join(kind(search))
        while name in groups and (difference := first_difference(
                settings(search), settings(groups[name][0]))):
            name += f', {difference}'
        groups.setdefault(name, []).append(search)
    return groups


def found_values(searches: Sequence[Finished]) -> Dict[str, Spread]:
    """Table 3 over the topologies that some searches found."""
    found = [search.topology.values for search in searches]
    return {name: Spread.of([values[name] for values in found]) for name in found[0]}


def policy_values(searches: Sequence[Finished]) -> Optional[Dict[str, Spread]]:
    """Table 3 over what the final policies would sample; None if there is none.

    The deviation is that of a sample: within the policies and between them.
    """
    policies = [search.result['policy'] for search in searches]
    if not all(policies):
        return None

    def moment(name: str, power: int) -> float:
        return fmean(sum(float(value)**power * probability
                         for value, probability in policy[name].items())
                     for policy in policies)

    return {name: Spread(moment(name, 1),
                         max(moment(name, 2) - moment(name, 1)**2, 0.)**0.5)
            for name in policies[0]}


def rate(searches: Sequence[Finished]) -> List[List[float]]:
    """Scores of every search's history, on the range of all of them together.

    Raises:
        InputError: If the settings (but for the seed), the images' source or the
            objectives differ: then the scores are of different things.
    """
    first = searches[0]
    for search in searches[1:]:
        difference = first_difference(*(
            dict(one.result['setting'], seed=None, data=one.result['data']['source'],
                 objective=one.result['objective'])
            for one in (search, first)))
        if difference:
            raise InputError(f'{search.folder} and {first.folder} cannot be scored on one '
                             f'scale: {difference}')
    rated = iter(scores([values for search in searches for values in search.measures],
                        first.objective))
    return [[next(rated) for _ in search.rows] for search in searches]
