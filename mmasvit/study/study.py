"""What a study is asked to do."""
import random
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Dict, List, Tuple

from mmengine.config import Config

from mmasvit.arguments import from_dict, known_keys, one_of, required, whole_number
from mmasvit.complexity import MEASURES, Setting, check_measures
from mmasvit.errors import InputError
from mmasvit.search.space import Space
from mmasvit.topology import Topology


@dataclass(frozen=True)
class Study:
    """What a study compares.

    Args:
        num_topologies: Different random topologies out of Table 1.
        settings: How the measures are taken, one entry per protocol.
        measures: Names; all there are by default.
        images: What the tangent kernel sees: ``'noise'``, or ``'dataset'`` for the first
            images of the validation data.
        metric: Name of the evaluator's number that counts as accuracy.
        embed_dims: Width C of the topologies. Defaults to 32.
        seed: Seed of the choice of topologies. Defaults to 0.

    Raises:
        InputError: If an argument is none of the above.
    """
    num_topologies: int
    settings: Tuple[Setting, ...]
    measures: Tuple[str, ...] = tuple(MEASURES)
    images: str = 'noise'
    metric: str = 'accuracy/top1'
    embed_dims: int = 32
    seed: int = 0

    def __post_init__(self):
        check_measures(self.measures)
        whole_number('num_topologies', self.num_topologies, 3, Space().size)
        protocols = [setting.protocol for setting in self.settings]
        if not protocols or len(set(protocols)) != len(protocols):
            raise InputError('settings must be at least one, of different '
                             f'protocols, got {protocols}')
        one_of('images', self.images, ('noise', 'dataset'))

    @classmethod
    def of(cls, cfg: Config) -> 'Study':
        """The study of a config, its field ``study``."""
        given = cfg.get('study')
        if not given:
            raise InputError(f'config {cfg.filename} has no study=dict(...)')
        known_keys('study', given, cls.__dataclass_fields__, required(cls))
        if not isinstance(given['settings'], (list, tuple)):
            raise InputError('study: settings must be a list of dicts, got '
                             f'{given["settings"]!r}')
        settings = tuple(from_dict(Setting, f'study.settings.{number}', each)
                         for number, each in enumerate(given['settings']))
        measures = tuple(given.get('measures', cls.measures))
        return from_dict(cls, 'study', dict(given, settings=settings, measures=measures))

    @cached_property
    def topologies(self) -> List[Topology]:
        """The topologies, without repetition, in the order they were drawn."""
        draw, space = random.Random(self.seed), Space()
        found: Dict[Topology, None] = {}
        while len(found) < self.num_topologies:
            choice = tuple(draw.randrange(len(values))
                           for values in space.choices.values())
            found[replace(space.topology(choice), embed_dims=self.embed_dims)] = None
        return list(found)
