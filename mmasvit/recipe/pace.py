"""How fast this machine trains a config."""
import os
import time
import warnings
from contextlib import redirect_stdout
from typing import List, NamedTuple

import torch
import torch.multiprocessing
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner

WARM_UP_STEPS, TIMED_STEPS, TIMED_VALIDATIONS = 3, 12, 10
LONGEST = 60.  # seconds that steps are timed, and validations


class Pace(NamedTuple):
    """Seconds that parts of a training take.

    Attributes:
        start: Until the first step.
        step: A step of all processes.
        validation: A pass over the validation images.
    """
    start: float
    step: float
    validation: float


def measure_pace(path: str, processes: int, threads: int) -> Pace:
    """Train some steps of a config, in as many processes at once as training will use.

    Real images, model and optimizer; weights are not kept. Validation is timed on some of
    the images after these steps, and without the scoring of the detections.

    Args:
        path: The config.
        processes: Number of processes; with GPUs each takes its own.
        threads: Threads of torch in each, without GPUs.
    """
    context = torch.multiprocessing.get_context('spawn')
    results = context.SimpleQueue()
    torch.multiprocessing.spawn(
        _measure, (path, processes, threads, time.time(), results), nprocs=processes)
    # all wait for the slowest
    return Pace(*map(max, zip(*(results.get() for _ in range(processes)))))


def _measure(rank: int, path: str, processes: int, threads: int, begun: float,
             results) -> None:
    with open(os.devnull, 'w') as nobody, redirect_stdout(nobody):
        results.put(_timed(rank, path, processes, threads, begun))


def _timed(rank: int, path: str, processes: int, threads: int, begun: float) -> Pace:
    device = torch.device(f'cuda:{rank}' if torch.cuda.is_available() else 'cpu')
    if device.type == 'cpu':
        torch.set_num_threads(threads)
    # the log of these weights is nobody's concern, nor are warnings of mmdet's own code
    MMLogger.get_instance('pace', log_level='ERROR')
    warnings.simplefilter('ignore')
    cfg = Config.fromfile(path)
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    cfg.val_dataloader.sampler.shuffle = True
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.to(device).train()
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    start = time.time() - begun
    steps = _time(Runner.build_dataloader(cfg.train_dataloader, seed=rank),
                  lambda batch: model.train_step(batch, wrapper),
                  WARM_UP_STEPS + TIMED_STEPS, device)
    steps = steps[WARM_UP_STEPS:] or steps[-1:]
    model.eval()
    loader = Runner.build_dataloader(cfg.val_dataloader, seed=rank)
    with torch.no_grad():
        batches = _time(loader, model.val_step, 1 + TIMED_VALIDATIONS, device)
    batches = batches[1:] or batches  # workers start with the first
    return Pace(start, sum(steps) / len(steps),
                sum(batches) / len(batches) * len(loader) / processes)


def _time(loader, run, count: int, device: torch.device) -> List[float]:
    """Seconds of each batch, loading it included; fewer than ``count`` if they are long.
    """
    seconds: List[float] = []
    while True:
        last = time.perf_counter()
        for batch in loader:
            run(batch)
            if device.type == 'cuda':
                torch.cuda.synchronize()
            now = time.perf_counter()
            seconds.append(now - last)
            last = now
            if len(seconds) >= count or sum(seconds) > LONGEST:
                return seconds
