"""Time in interleaved rounds, and the median of ratios with its interval."""

import gc
import math
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

SLOW, SLOW_ROUNDS = 15, 6  # a way that takes so many times the first way is run in so many rounds only


@dataclass(slots=True)
class Times:
    """Seconds of one way, round by round: elapsed, and of all processors together."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Middle:
    """A median, with the order statistics that hold the true one in at least 95 % of samples."""

    median: float
    low: float | None  # None: too few rounds for an interval of 95 %
    high: float | None


def interleaved(
    runs: Mapping[str, Callable[[], Any]], rounds: int, *, cuda: bool, said: str
) -> dict[str, Times]:
    """Seconds of each run in each round. All run twice unmeasured, then each round in an order of its own.

    What a run returns is held until its clock has stopped, and is freed outside every clock. A run that is
    `SLOW` is left out after `SLOW_ROUNDS` rounds, the fewest that have an interval.
    """
    clock = _on_device if cuda else _on_processor
    for run in runs.values():
        run()
    once = {name: clock(run)[0] for name, run in runs.items()}
    floor = next(iter(once.values()))
    limits = {name: min(rounds, SLOW_ROUNDS) if once[name] > SLOW * floor else rounds for name in runs}
    times = {name: Times() for name in runs}
    shuffled = random.Random(0)
    for place in range(rounds):
        print(f"\r{said}: round {place + 1} of {rounds} ", end="", file=sys.stderr, flush=True)
        order = [name for name in runs if place < limits[name]]
        shuffled.shuffle(order)
        for name in order:
            gc.collect()
            wall, processor = clock(runs[name])
            times[name].wall.append(wall)
            times[name].processor.append(processor)
    print(file=sys.stderr)
    return times


def _on_processor(run: Callable[[], Any]) -> tuple[float, float]:
    used, started = time.process_time(), time.perf_counter()
    held = run()
    wall, processor = time.perf_counter() - started, time.process_time() - used
    del held
    return wall, processor


def _on_device(run: Callable[[], Any]) -> tuple[float, float]:
    """By the device's own clock, from an idle device to the end of the last kernel."""
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    used = time.process_time()
    begin.record()
    held = run()
    end.record()
    torch.cuda.synchronize()
    processor = time.process_time() - used
    del held
    return begin.elapsed_time(end) / 1000, processor


def middle(values: Sequence[float]) -> Middle:
    """The median and its 95 % interval from order statistics.

    The k-th smallest and k-th largest of n values hold the median but for a probability of 2 P(B < k), with B
    binomial (n, 1/2); k is the largest for which this is at most 5 %. Below six values there is none.
    """
    ordered, n = sorted(values), len(values)
    k, outside = 0, 0.0
    while 2 * (outside + math.comb(n, k) / 2**n) <= 0.05:
        outside += math.comb(n, k) / 2**n
        k += 1
    median = statistics.median(ordered)
    return Middle(median, ordered[k - 1], ordered[n - k]) if k else Middle(median, None, None)


def ratios(of: Sequence[float], to: Sequence[float]) -> Middle:
    """The middle of the ratios of each round that both were in: the first ones."""
    return middle([a / b for a, b in zip(of, to, strict=False)])


def added(of: Sequence[float], over: Sequence[float], to: Sequence[float]) -> Middle:
    """The middle of what `of` takes beyond `over` in each round, as a part of `to`."""
    return middle([(a - b) / c for a, b, c in zip(of, over, to, strict=True)])
