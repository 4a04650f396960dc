"""What the loops that measure untrained networks share."""
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, List, Optional, Sequence, Type, Union

import mmengine
import torch
from mmengine.dist import get_world_size, is_main_process
from mmengine.model import is_model_wrapper
from mmengine.registry import DATASETS
from mmengine.runner import BaseLoop, Runner
from torch.utils.data import DataLoader

from mmasvit.arguments import from_dict, known_keys, required, whole_number
from mmasvit.complexity import Setting
from mmasvit.datasets import ProbeImages
from mmasvit.errors import InputError
from mmasvit.files import TableFile
from mmasvit.limits import Constraint
from mmasvit.measuring import Evaluator, Objective, build_evaluator
from mmasvit.measuring.ledger import MEASUREMENTS, as_read_back, check_run, write_run
from mmasvit.version import __version__


@dataclass(frozen=True, kw_only=True)
class MeasuringArguments:
    """Keys of ``train_cfg`` that all loops which measure take.

    Args:
        setting: Arguments of :class:`~mmasvit.complexity.Setting`; its ``seed`` defaults
            to the Runner's.
        objective: Weights by measure, negative where less is better. Defaults to
            ``dict(length_distortion=1, ntk_condition_number=-1)``, the paper's.
        constraint: ``macs``, ``params`` and, with a measure that tells of them, other
            costs at most; see :class:`~mmasvit.limits.Constraint`. Defaults to no limit.
        threads: Intra-op threads per item of work, which the last digits depend on.
            Defaults to 1: start a process per core instead.
        measure: What measures an item; see
            :func:`~mmasvit.measuring.build_evaluator`. Defaults to the measures of
            ``mmasvit.complexity``.
    """
    setting: Setting
    objective: Objective = Objective()
    constraint: Constraint = Constraint()
    threads: int = 1
    measure: Union[str, dict, None] = None

    @classmethod
    def of(cls, given: dict, seed: int) -> 'MeasuringArguments':
        """Arguments from ``train_cfg`` but for its type.

        Args:
            given: The keys.
            seed: The Runner's.

        Raises:
            InputError: If one is unknown, missing or refused.
        """
        needed = [name for name in required(cls) if name != 'setting']
        given = known_keys('train_cfg', given, cls.__dataclass_fields__, needed)
        given.update(
            setting=from_dict(Setting, 'setting', given.get('setting'), seed=seed),
            constraint=from_dict(Constraint, 'constraint', given.get('constraint')))
        if 'objective' in given:
            given['objective'] = Objective(given['objective'])
        return cls(**given)

    def counted_by(self, evaluator: Evaluator) -> 'MeasuringArguments':
        """The same with limits on the costs that an evaluator tells of.

        Raises:
            InputError: If there is a limit on anything else.
        """
        return replace(self, constraint=self.constraint.counted_by(
            evaluator.costs, evaluator.cost_names, 'constraint'))


class MeasuringLoop(BaseLoop):
    """A train loop whose steps measure topologies.

    Its state is the ledger of the work directory and ``run.json``: it is replayed from
    them when it is started again, with ``--resume`` or without, and nothing is measured
    twice. All that it refuses, it refuses in its constructor.

    Args:
        runner: The Runner; its seed decides what is drawn.
        dataloader: Config of the Runner's ``train_dataloader``, which names the images
            (``dict(dataset=dict(type='ProbeImages', data=...))``; their number, size and
            seed are the setting's).
        **arguments: Fields of ``arguments_type``.

    Raises:
        InputError: If an argument is wrong, or the work directory holds another run.
    """
    arguments_type: ClassVar[Type[MeasuringArguments]]
    model_type: ClassVar[type]
    kind: ClassVar[str]  # of run, in run.json
    result: ClassVar[str]  # the file written last

    def __init__(self, runner: Runner, dataloader: dict, **arguments: Any):
        seed = (runner.cfg.get('randomness') or {}).get('seed')
        if seed is None:
            raise InputError(f'randomness.seed must be given: a {self.kind} is repeated '
                             'by its seed')
        self._seed = whole_number('randomness.seed', seed, 0, 2**32 - 1)
        self._arguments = given = self.arguments_type.of(arguments, seed)
        images = _probe_images(dataloader, given.setting)
        super().__init__(runner, DataLoader(images, len(images)))
        # every process makes the same steps by itself: nothing to synchronise
        model = runner.model
        self._model = model.module if is_model_wrapper(model) else model
        if not isinstance(self._model, self.model_type):
            raise InputError(f"model.type must be '{self.model_type.__name__}', the model "
                             f'is a {type(self._model).__name__}')
        self._evaluator, origin = build_evaluator(
            runner.work_dir, given.setting, images, given.objective.names, given.measure,
            given.threads)
        self._arguments = given = given.counted_by(self._evaluator)
        self._prepare()
        self._run = as_read_back(dict(
            kind=self.kind, seed=seed, objective=given.objective.to_dict(),
            constraint=given.constraint.to_dict(), **self._describe(), **origin))
        check_run(runner.work_dir, self._run)
        self._iter, self._start = 0, time.perf_counter()

    def _prepare(self) -> None:
        """Build the algorithm, or raise :class:`InputError`."""
        raise NotImplementedError

    def _describe(self) -> dict:
        """What the run depends on beside what is measured, for ``run.json``."""
        raise NotImplementedError

    def _extent(self) -> dict:
        """How far the run goes, which may be another when it goes on."""
        raise NotImplementedError

    @property
    def max_epochs(self) -> int:
        """The Runner's hooks ask; the run is one epoch."""
        return 1

    @property
    def max_iters(self) -> int:
        """Steps in all, as far as they are known."""
        return max(1, self._iter)

    @property
    def epoch(self) -> int:
        """Always 0."""
        return 0

    @property
    def iter(self) -> int:
        """Steps made."""
        return self._iter

    def _begin(self) -> None:
        """Say what the folder is of, and that its run is not at its end."""
        self._start = time.perf_counter()
        if is_main_process():
            write_run(self.runner.work_dir, self._run)
            Path(self.runner.work_dir, self.result).unlink(missing_ok=True)

    def _table(self, name: str, columns: Sequence[str]) -> Optional[TableFile]:
        """A table of the work directory, on rank 0."""
        return (TableFile(Path(self.runner.work_dir, name), columns)
                if is_main_process() else None)

    def _before_steps(self) -> None:
        """Between the steps that are replayed and those that are new."""
        if self._iter:
            self.runner.logger.info(f'{self._iter} steps as they stand in {MEASUREMENTS}')
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')

    def _after_steps(self) -> torch.nn.Module:
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model

    def _facts(self, **seconds: Any) -> dict:
        """What the results tell of how they came about.

        Args:
            **seconds: Seconds of measuring, whenever that was, summed over processes.
        """
        told = dict(detector_shape=self._evaluator.detector_shape,
                    references=self._evaluator.references)
        return dict(
            self._run, **self._extent(),
            **{name: value for name, value in told.items() if value}, processes=get_world_size(),
            items_measured=self._evaluator.measured,
            seconds=dict(clock=round(time.perf_counter() - self._start, 3),
                         **_rounded(seconds)),
            versions=dict(mmasvit=__version__, torch=str(torch.__version__),
                          mmengine=mmengine.__version__))


def _probe_images(dataloader: dict, setting: Setting) -> ProbeImages:
    """The images that a dataloader's config names, as the setting wants them."""
    dataset = dataloader.get('dataset') if isinstance(dataloader, dict) else None
    dataset = dict(dataset) if isinstance(dataset, dict) else {}
    if dataset.pop('type', None) != 'ProbeImages' or set(dataset) - {'data'}:
        raise InputError("the dataloader's dataset must be of type ProbeImages, whose "
                         f'data names the images, with nothing else, got {dataloader!r}')
    return DATASETS.build(dict(
        dataset, type='ProbeImages', image_size=setting.image_size,
        num_images=setting.num_images, seed=setting.seed))


def _rounded(seconds: Union[float, List, dict]):
    if isinstance(seconds, dict):
        return {name: _rounded(value) for name, value in seconds.items()}
    if isinstance(seconds, list):
        return [_rounded(value) for value in seconds]
    return round(seconds, 3)
