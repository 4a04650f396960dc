"""A resumed run follows the config: its optimizer's settings and its schedule."""
import warnings
from typing import Dict, List, NamedTuple

from mmengine.optim.scheduler.param_scheduler import _ParamScheduler
from torch.optim import Optimizer

from mmasvit.errors import InputError

# what a scheduler's state holds beside its settings
_PROGRESS = {'last_step', '_global_step', '_last_value', 'verbose', 'base_values'}


class Start(NamedTuple):
    """What the config asks for, taken before a checkpoint's state is loaded.

    Attributes:
        groups: Settings of the optimizer's parameter groups, without the parameters.
        schedulers: State of every scheduler before the first iteration.
    """
    groups: List[dict]
    schedulers: List[dict]


def take_start(optimizer: Optimizer, schedulers: List[_ParamScheduler]) -> Start:
    """Remember an optimizer and its schedulers as they were built."""
    return Start([_without(group, {'params'}) for group in optimizer.param_groups],
                 [dict(scheduler.state_dict()) for scheduler in schedulers])


def follow_config(optimizer: Optimizer, schedulers: List[_ParamScheduler], start: Start,
                  saved: int, epochs: int, iterations: int) -> List[str]:
    """After resuming, let the settings be those of the config and not the checkpoint's.

    mmengine loads a scheduler's settings with its state: the period of a cosine, the
    milestones. A run that is resumed with a longer schedule would go on along the old
    one, or stand still at its end; another learning rate would be ignored. Where config
    and checkpoint differ, the config's schedule is stepped from its start to where the
    run is; where they do not, everything stays as loaded.

    Args:
        optimizer: With the checkpoint's state loaded.
        schedulers: The same, in the order in which a run steps them.
        start: From :func:`take_start`.
        saved: How many schedulers the checkpoint holds.
        epochs: Epochs that are done.
        iterations: Iterations that are done.

    Returns:
        Names of the settings that differed and now are the config's; empty if none.

    Raises:
        InputError: If a schedule that differs depends on more than the progress.
    """
    changed = _changed(optimizer, schedulers, start)
    if saved != len(schedulers):
        changed.append('the number of schedules')
    if not changed:
        return []
    if any(getattr(scheduler, 'need_val_args', False) for scheduler in schedulers):
        raise InputError(f'--resume: the config differs from the checkpoint in '
                         f'{", ".join(changed)}, and a schedule that follows the scores '
                         'cannot be computed anew: leave them as they were')
    for group, settings in zip(optimizer.param_groups, start.groups):
        group.update(settings)
    for scheduler, state in zip(schedulers, start.schedulers):
        scheduler.__dict__ = {'optimizer': scheduler.optimizer, **state}
    _replay(schedulers, epochs, iterations)
    return changed


def rising_again(schedulers: List[_ParamScheduler], epochs: int,
                 iterations: int) -> List[str]:
    """A line for each cosine that reaches its lowest point before the run does its end.

    A longer ``max_epochs`` alone does that: the rate climbs again, where a longer
    schedule was meant.
    """
    lines = []
    for scheduler in schedulers:
        period = getattr(scheduler, 'T_max', None)
        total = epochs if scheduler.by_epoch else iterations
        if period and scheduler.begin + period < min(scheduler.end, total):
            unit = 'epochs' if scheduler.by_epoch else 'iterations'
            lines.append(
                f'{type(scheduler).__name__} ends after {scheduler.begin + period} of '
                f'{total} {unit} and rises again from there: for one fall over the whole '
                "run set T_max in the config's param_scheduler.")
    return lines


def _replay(schedulers: List[_ParamScheduler], epochs: int, iterations: int) -> None:
    """Step schedulers as a run of so many epochs and iterations does."""
    per_epoch = max(iterations // epochs, 1) if epochs else iterations + 1
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # no step of the optimizer is between these
        for done in range(1, iterations + 1):
            epoch_ends = done % per_epoch == 0 and done // per_epoch <= epochs
            # all that follow iterations first: so a run steps them
            for scheduler in [s for s in schedulers if not s.by_epoch] + [
                    s for s in schedulers if s.by_epoch and epoch_ends]:
                scheduler.step()


def _changed(optimizer: Optimizer, schedulers: List[_ParamScheduler],
             start: Start) -> List[str]:
    """Names of what a checkpoint brought in other values than the config's."""
    scheduled = {scheduler.param_name for scheduler in schedulers}
    names: Dict[str, None] = {}
    for group, loaded in zip(start.groups, optimizer.param_groups):
        names.update(dict.fromkeys(
            key.replace('initial_', '') for key in group
            if key not in scheduled and loaded.get(key) != group[key]))
    for scheduler, state in zip(schedulers, start.schedulers):
        wanted = _without(state, _PROGRESS)
        loaded = _without(scheduler.state_dict(), _PROGRESS)
        if set(wanted) != set(loaded):
            names['the kind of a schedule'] = None
        names.update(dict.fromkeys(key for key in wanted
                                   if loaded.get(key) != wanted[key]))
    return list(names)


def _without(state: dict, names: set) -> dict:
    return {key: value for key, value in state.items() if key not in names}
