"""What a study is asked to do."""
import random
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Callable, Dict, List, Optional, Tuple

from mmengine.config import Config

from mmasvit.arguments import from_dict, known_keys, one_of, required, whole_number
from mmasvit.complexity import (MEASURES, PATH_MEASURES, Setting, check_measures,
                                measure_repeat)
from mmasvit.errors import InputError
from mmasvit.measuring import Objective
from mmasvit.measuring.ledger import Repeat
from mmasvit.search.space import Space
from mmasvit.supernets import SupernetMeasures
from mmasvit.topology import Topology


@dataclass(frozen=True)
class Study:
    """What a study compares.

    Args:
        num_topologies: Different random topologies out of Table 1.
        settings: How the measures are taken, one entry per protocol.
        measures: Names; all there are by default.
        images: What the tangent kernel sees: ``'noise'``, ``'dataset'`` for the first
            images of the validation data, or ``'spread'`` for as many evenly spread over
            it, which suits data that are in the order of their classes.
        metric: Name of the evaluator's number that counts as accuracy.
        embed_dims: Width C of the topologies. Defaults to 32.
        seed: Seed of the choice of topologies. Defaults to 0.
        supernet: ``config`` and ``checkpoint`` of a trained supernet, for measures of its
            paths; see :class:`~mmasvit.supernets.SupernetMeasures`. Defaults to none.
        composites: Objectives by name, which count as measures too: each scores a
            topology among all of the study. Defaults to none.

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
    supernet: Optional[dict] = None
    composites: Optional[dict] = None

    def __post_init__(self):
        check_measures(self.measures, supernet=self.supernet is not None)
        if self.supernet is not None:
            known_keys('study.supernet', self.supernet, *[('config', 'checkpoint')] * 2)
        for name, given in (self.composites or {}).items():
            missing = set(Objective(given).names) - set(self.measures)
            if missing or name in {**MEASURES, **PATH_MEASURES}:
                raise InputError(f'study.composites.{name} must have a name of its own '
                                 'and be made of the measures, not of '
                                 f'{", ".join(sorted(missing)) or "itself"}')
        whole_number('num_topologies', self.num_topologies, 3, Space().size)
        protocols = [setting.protocol for setting in self.settings]
        if not protocols or len(set(protocols)) != len(protocols):
            raise InputError('settings must be at least one, of different '
                             f'protocols, got {protocols}')
        one_of('images', self.images, ('noise', 'dataset', 'spread'))

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
    def measure(self) -> Callable[..., Repeat]:
        """What takes the measures; it may take a while to make."""
        if self.supernet is None:
            return measure_repeat
        measure = SupernetMeasures(**self.supernet)
        for topology in self.topologies:
            measure.check(topology)
        return measure

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
