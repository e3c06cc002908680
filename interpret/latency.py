"""How long models take for the same rows: the median of interleaved passes with its spread; never a test."""

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from tqdm.auto import tqdm

from ..errors import UsageError
from ..records import Rows
from .models import Subject, score


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Milliseconds per row, from rows to scores, encoding included, of one model on one machine while others ran."""

    median: float
    low: float  # lower quartile of the passes
    high: float  # upper quartile
    rounds: int
    n_rows: int
    batch_size: int
    device: str
    threads: int

    def __repr__(self) -> str:
        return f"Latency({self.median:.3g} ms per row, quartiles {self.low:.3g} to {self.high:.3g}, {self.rounds} passes)"


def latencies(
    subjects: Mapping[str, Subject],
    rows: Rows,
    *,
    rounds: int = 7,
    batch_size: int = 32,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, Latency]:
    """The latency of every subject on these rows.

    All run once unmeasured; then each round runs each once, in an order drawn by the seed, so that a slow minute of the
    machine falls on all alike.

    Raises:
        UsageError: fewer than 3 rounds, of which there are no quartiles.
    """
    if rounds < 3:
        raise UsageError(f"rounds is {rounds}; 3 or more are expected, of which quartiles can be told.")
    for one in subjects.values():
        score(one, rows, batch_size=batch_size)
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    shuffled = random.Random(seed)
    with tqdm(total=rounds * len(subjects), desc="timing", unit="pass", disable=not progress) as bar:
        for _ in range(rounds):
            for name in shuffled.sample(list(subjects), len(subjects)):
                _wait(subjects[name])
                started = time.perf_counter()
                score(subjects[name], rows, batch_size=batch_size)
                _wait(subjects[name])
                seconds[name].append(time.perf_counter() - started)
                bar.update()
    made = {}
    for name, taken in seconds.items():
        low, median, high = (np.quantile(taken, [0.25, 0.5, 0.75]) * 1000 / len(rows)).tolist()
        made[name] = Latency(
            median=median,
            low=low,
            high=high,
            rounds=rounds,
            n_rows=len(rows),
            batch_size=batch_size,
            device=str(subjects[name].device),
            threads=torch.get_num_threads(),
        )
    return made


def _wait(subject: Subject) -> None:
    if subject.device.type == "cuda":
        torch.cuda.synchronize(subject.device)
