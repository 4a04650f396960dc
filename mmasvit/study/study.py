"""What a study is asked to do."""
import random
from dataclasses import dataclass, replace
from functools import cached_property
from inspect import signature
from typing import Callable, Dict, List, Optional, Tuple

from mmengine.config import Config

from mmasvit.arguments import (from_dict, known_keys, number, one_of, required,
                               whole_number)
from mmasvit.complexity import (COST_MEASURES, MEASURES, Setting, check_measures,
                                find_measure, is_measure, measure_repeat)
from mmasvit.errors import InputError
from mmasvit.latency import DetectorMeasures
from mmasvit.measuring import Objective
from mmasvit.measuring.ledger import Repeat
from mmasvit.search.space import Space
from mmasvit.supernets import SupernetMeasures
from mmasvit.topology import Topology

TRIES = 20_000  # draws per topology until there are too few of like cost


@dataclass(frozen=True)
class Study:
    """What a study compares.

    Args:
        num_topologies: Different random topologies out of Table 1.
        settings: How the measures are taken: one or more that differ by protocol,
            features or size.
        measures: Names; all there are by default.
        images: What the tangent kernel sees: ``'noise'``, ``'dataset'`` for the first
            images of the validation data, or ``'spread'`` for as many evenly spread over
            it, which suits data that are in the order of their classes. Of a detector
            always noise: its images have no common size.
        metric: Name of the evaluator's number that counts: an accuracy, or an AP such as
            ``'coco/bbox_mAP'``.
        embed_dims: Width C of the topologies. Defaults to 32.
        seed: Seed of the choice of topologies. Defaults to 0.
        supernet: ``config`` and ``checkpoint`` of a trained supernet, for measures of its
            paths; see :class:`~mmasvit.supernets.SupernetMeasures`. Defaults to none.
        composites: Objectives by name, which count as measures too: each scores a
            topology among all of the study. Defaults to none.
        costs: Arguments of :class:`~mmasvit.latency.DetectorMeasures`, for what topologies
            cost on a device and in a detector. Defaults to none.
        macs_between: Least and most multiply-accumulates of a backbone as the first
            setting counts them, so that all are alike. Defaults to any.

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
    costs: Optional[dict] = None
    macs_between: Optional[Tuple[float, float]] = None

    def __post_init__(self):
        self._check_measures()
        if self.supernet is not None:
            known_keys('study.supernet', self.supernet, *[('config', 'checkpoint')] * 2)
        for name, given in (self.composites or {}).items():
            missing = set(Objective(given).names) - set(self.measures)
            if missing or is_measure(name):
                raise InputError(f'study.composites.{name} must have a name of its own '
                                 'and be made of the measures, not of '
                                 f'{", ".join(sorted(missing)) or "itself"}')
        whole_number('num_topologies', self.num_topologies, 3, Space().size)
        ways = [(setting.protocol, setting.features, setting.image_size)
                for setting in self.settings]
        if not ways or len(set(ways)) != len(ways):
            raise InputError('settings must be at least one, of different protocols, '
                             f'features or sizes, got {ways}')
        one_of('images', self.images, ('noise', 'dataset', 'spread'))
        if self.macs_between is not None:
            self._check_macs()

    def _check_measures(self) -> None:
        if self.supernet is not None and self.costs is not None:
            raise InputError('study: supernet and costs cannot be given together')
        known = () if self.costs is None else tuple(COST_MEASURES)
        check_measures(self.measures, supernet=self.supernet is not None, costs=known)
        if self.costs is not None:
            known_keys('study.costs', self.costs, signature(DetectorMeasures).parameters)

    def _check_macs(self) -> None:
        given = self.macs_between
        if not isinstance(given, (list, tuple)) or len(given) != 2:
            raise InputError(f'macs_between must be two numbers, got {given!r}')
        low, high = (number('macs_between', value, above=0) for value in given)
        if low >= high:
            raise InputError(f'macs_between must ascend, got {given!r}')
        self.topologies  # draws them, or says that there are too few

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
        if isinstance(given.get('macs_between'), list):
            given = dict(given, macs_between=tuple(given['macs_between']))
        return from_dict(cls, 'study', dict(given, settings=settings, measures=measures))

    @property
    def score(self) -> str:
        """What its numbers of trained networks are called: ``'accuracy'``, or an AP."""
        return ('accuracy' if self.metric.startswith('accuracy')
                else self.metric.rpartition('/')[2])

    @property
    def scale(self) -> float:
        """From the evaluator's number to per cent: an AP is a share."""
        return 100. if self.metric.startswith('coco/') else 1.

    def qualified(self, name: str, setting: Setting) -> str:
        """A measure's name in the results, with what tells its settings apart.

        The protocol, and the features and the size if settings differ in them; nothing of
        what the measure does not depend on.
        """
        measure, words = find_measure(name), []
        if measure.drawn:
            words.append(setting.protocol)
            if len({other.features for other in self.settings}) > 1:
                words.append(setting.features)
        if (measure.drawn or measure.sized) and len(
                {other.image_size for other in self.settings}) > 1:
            words.append(f'{setting.image_size}px')
        return '/'.join([name, *words])

    @cached_property
    def measures_at(self) -> Dict[Setting, Callable[..., Repeat]]:
        """What takes the measures of each setting; it may take a while to make.

        Raises:
            InputError: If a topology of the study cannot be measured.
        """
        measure = measure_repeat
        if self.supernet is not None:
            measure = SupernetMeasures(**self.supernet)
        elif self.costs is not None:
            measure = DetectorMeasures(**self.costs)
            missing = [name for name in self.measures if name in COST_MEASURES
                       and name not in measure.cost_names]
            check_measures(missing or self.measures, costs=measure.cost_names)
        at = {setting: getattr(measure, 'for_setting', lambda setting: measure)(setting)
              for setting in self.settings}
        for one in at.values():
            for topology in self.topologies if hasattr(one, 'check') else ():
                one.check(topology)
        return at

    @property
    def origin(self) -> dict:
        """What the numbers depend on beside the settings."""
        return getattr(next(iter(self.measures_at.values())), 'origin', {})

    @cached_property
    def topologies(self) -> List[Topology]:
        """The topologies, without repetition, in the order they were drawn."""
        draw, space = random.Random(self.seed), Space()
        found: Dict[Topology, None] = {}
        for _ in range(TRIES * self.num_topologies):
            choice = tuple(draw.randrange(len(values))
                           for values in space.choices.values())
            topology = replace(space.topology(choice), embed_dims=self.embed_dims)
            if self._is_like(topology):
                found[topology] = None
            if len(found) == self.num_topologies:
                return list(found)
        raise InputError(f'macs_between: {len(found)} topologies were found, not '
                         f'{self.num_topologies}; the first setting counts '
                         f'{self._macs(topology):.4g} for {topology}')

    def _is_like(self, topology: Topology) -> bool:
        if self.macs_between is None:
            return True
        low, high = self.macs_between
        return low <= self._macs(topology) <= high

    def _macs(self, topology: Topology) -> int:
        setting = self.settings[0]
        return topology.count_macs((setting.image_size, ) * 2,
                                   pretrain_img_size=setting.window_img_size)
