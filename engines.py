"""Who works on the shards: this process, several, those that torchrun started, or actors of ray.

Every engine runs the same worker over the same shards; what differs is who takes which, and when.
"""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from .errors import OutputError, UsageError, did_you_mean
from .shard_work import Job, Worker
from .shards import Shards

if TYPE_CHECKING:
    from .interpret.models import Subject

Engine = Literal["local", "torchrun", "ray"]
ENGINES = ("local", "torchrun", "ray")
_worker: list[Worker] = []  # of a process of the local pool


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """The processes of one run that were started together: `leads` in the one that reads and writes the rest."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that goes on when the shards are done."""
        return self.rank == 0

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            import torch.distributed

            torch.distributed.barrier()


@contextmanager
def joined(engine: str) -> Iterator[Team]:
    """The team this process belongs to: torchrun's, or a team of one.

    Raises:
        UsageError: there is no such engine, or torchrun did not start this process.
    """
    if engine not in ENGINES:
        raise UsageError(f"there is no engine {engine!r}: {did_you_mean(engine, ENGINES)}")
    if engine != "torchrun":
        yield Team()
        return
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        raise UsageError(
            "--engine torchrun works in processes that torchrun has started: "
            "torchrun --nproc-per-node 2 --no-python clinometer evidence MODEL DATA --engine torchrun --out FOLDER"
        )
    import torch.distributed

    torch.distributed.init_process_group("gloo")
    try:
        yield Team(rank=torch.distributed.get_rank(), size=torch.distributed.get_world_size())
    finally:
        torch.distributed.destroy_process_group()


def run(
    job: Job,
    *,
    engine: str,
    workers: int,
    team: Team,
    subject: "Subject | None" = None,
    progress: bool = False,
) -> None:
    """Work on the shards that are not done, until all are.

    Args:
        job: what is done.
        engine: who does it.
        workers: processes of `local`, actors of `ray`; torchrun says itself how many there are.
        team: from `joined`.
        subject: a model in memory, which this process alone can use.
        progress: show a bar, with the time left.

    Raises:
        UsageError: an engine or number of workers that does not go with the rest.
        OutputError: a worker was ended from outside.
        DataError, ModelError: as the worker's messages say.
    """
    if workers < 1:
        raise UsageError(f"workers is {workers}; 1 or more is expected (--workers).")
    missing = Shards(job.shards, job.plan).missing()
    team.wait()  # so that all see the same ones missing
    mine = missing[team.rank :: team.size]
    with keeping(job), _bar(job, missing, progress and team.leads) as done:
        if engine == "ray":
            for n in _ray(job, mine, workers):
                done(n)
        elif workers > 1 and engine == "local" and len(mine) > 1:
            if subject is not None:
                raise UsageError(
                    "a model in memory is scored by one worker. Name its folder, or take workers=1."
                )
            for n in _processes(job, mine, min(workers, len(mine))):
                done(n)
        elif mine:
            for n in _here(job, mine, subject):
                done(n)
    team.wait()


@contextmanager
def keeping(job: Job) -> Iterator[None]:
    """Inside, whoever stops the run is told which of its shards are kept, and where."""
    try:
        yield
    except KeyboardInterrupt:
        kept = job.plan.n_shards - len(Shards(job.shards, job.plan).missing())
        raise KeyboardInterrupt(
            f"{kept} of {job.plan.n_shards} shards are done and kept in {job.shards.parent}; the same command goes on "
            "from there."
        ) from None


@contextmanager
def _bar(job: Job, missing: Sequence[int], progress: bool) -> Iterator[Any]:
    from tqdm.auto import tqdm

    left = sum(end - begin for begin, end in map(job.plan.bounds, missing))
    with tqdm(
        total=job.plan.n_rows, initial=job.plan.n_rows - left, desc=job.kind, unit="row", disable=not progress
    ) as bar:
        yield bar.update


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Inside, torch computes with so many threads in this process; afterwards with as many as before."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _here(job: Job, mine: Sequence[int], subject: "Subject | None") -> Iterator[int]:
    with threads(job.threads):
        worker = Worker(job, subject)
        for index in mine:
            yield worker(index)


def _processes(job: Job, mine: Sequence[int], workers: int) -> Iterator[int]:
    # Not forked: a fork of a process that has run torch's threads may wait for ever.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(job,))
    try:
        for future in as_completed([pool.submit(_one, index) for index in mine]):
            yield future.result()
    except BrokenProcessPool as error:
        raise OutputError(
            f"a worker was ended from outside (memory?). The shards that are done are kept in {job.shards.parent}: the "
            "same command goes on from there; take fewer workers (--workers) where memory ran out."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(job: Job) -> None:
    """The first thing that a process of the pool does. It leaves interruptions to its parent, and ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    _worker.append(Worker(job))


def _end_with_the_parent() -> None:
    """A parent that was killed can end no worker: one that is left would hold its model, and wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _one(index: int) -> int:
    return _worker[0](index)


class _Actor:
    """A worker as ray.data calls one: with a batch of shards' numbers."""

    def __init__(self, job: Job) -> None:
        self.worker = Worker(job)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {"rows": [self.worker(int(index)) for index in batch["shard"]]}


def _ray(job: Job, mine: Sequence[int], workers: int) -> Iterator[int]:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UsageError(
            "--engine ray needs ray: pip install 'ray[data]', or take --engine local."
        ) from error
    if not mine:
        return
    if job.model is None:
        raise UsageError("a model in memory is scored by --engine local. Name its folder instead.")
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING)
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    ray.data.DataContext.get_current().enable_progress_bars = False  # the run has a bar of its own
    data = ray.data.from_items([{"shard": index} for index in mine], override_num_blocks=len(mine))
    worked = data.map_batches(
        _Actor,
        fn_constructor_args=(job,),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=1,
        num_gpus=1 if str(job.load.get("device", "cpu")).startswith("cuda") else 0,
    )
    for row in worked.iter_rows():
        yield int(row["rows"])
