"""How long something takes, in CPU time of this process and in wall time; what is compared runs in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple


class Clock(NamedTuple):
    """Seconds that something took."""

    cpu: float
    wall: float


def clock(work: Callable[[], object]) -> Clock:
    """Run once and time it."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return Clock(time.process_time() - cpu, time.perf_counter() - wall)


def median(work: Callable[[], object], repeats: int) -> Clock:
    """The median times of several runs; one more comes first to warm up."""
    work()
    taken = [clock(work) for _ in range(repeats)]
    return _median(taken)


def in_turns(ways: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, Clock]:
    """Median times of each way, run one after the other again and again; one more turn comes first to warm up."""
    turns = [{name: clock(way) for name, way in ways.items()} for _ in range(repeats + 1)][1:]
    return {name: _median([turn[name] for turn in turns]) for name in ways}


def pairs(a: Callable[[], object], b: Callable[[], object], repeats: int) -> tuple[Clock, Clock, float]:
    """Median times of two things run in turns, and the median over the pairs of cpu(b) / cpu(a)."""
    a(), b()
    taken = [(clock(a), clock(b)) for _ in range(repeats)]
    firsts, seconds = zip(*taken, strict=True)
    ratio = statistics.median(y.cpu / max(x.cpu, 1e-9) for x, y in taken)
    return _median(firsts), _median(seconds), ratio


def rates(count: float, taken: Clock, what: str) -> dict[str, float]:
    """Per second of either clock."""
    return {f"{what}_per_cpu_s": count / max(taken.cpu, 1e-9), f"{what}_per_s": count / max(taken.wall, 1e-9)}


def _median(taken: Sequence[Clock]) -> Clock:
    return Clock(*(statistics.median(column) for column in zip(*taken, strict=True)))
