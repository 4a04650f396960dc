"""Comparing ways to compute the same thing, within one run."""
import statistics
import time
from typing import Callable, Dict, List, NamedTuple

import torch
from rich.progress import track


class Timing(NamedTuple):
    """Seconds of one way over all rounds.

    Attributes:
        median: The middle one.
        low: The fastest.
        high: The slowest.
    """
    median: float
    low: float
    high: float

    @classmethod
    def of(cls, seconds: List[float]) -> 'Timing':
        """Summary of a list of seconds."""
        return cls(statistics.median(seconds), min(seconds), max(seconds))


def synchronize() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def alternate(ways: Dict[str, Callable[[], object]], rounds: int,
              warm_ups: int = 1) -> Dict[str, List[float]]:
    """Time several calls in turn, so that a busy spell hits all of them.

    Args:
        ways: What to call, by name.
        rounds: How often each is timed. Every other round goes through them backwards.
        warm_ups: Untimed calls of each before. Defaults to 1.

    Returns:
        Seconds of each, one per round.
    """
    for way in list(ways.values()) * warm_ups:
        way()
    seconds: Dict[str, List[float]] = {name: [] for name in ways}
    for index in track(range(rounds), 'rounds', transient=True):
        for name in list(ways)[::-1 if index % 2 else 1]:
            synchronize()
            start = time.perf_counter()
            ways[name]()
            synchronize()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def matrix_rate(device: str = 'cpu', dtype: torch.dtype = torch.float32,
                size: int = 2048, rounds: int = 5) -> float:
    """Floating point operations per second of a large square matrix product."""
    a, b = torch.rand(2, size, size, device=device).to(dtype)
    timing = Timing.of(alternate({'product': lambda: a @ b}, rounds)['product'])
    return 2 * size**3 / timing.low
