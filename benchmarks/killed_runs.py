"""Reviews that are killed, and reviews on every engine: the same bytes each time.

    python benchmarks/killed_runs.py                  # 20 kills, local 1 and 2, torchrun 2, ray 2 where it is installed
    python benchmarks/killed_runs.py --kills 3 --engines local torchrun

A small Transformer on made-up applicants is reviewed once without a disturbance. The same review is then started again
and again in a fresh folder, killed (SIGKILL) at a moment drawn between its start and the time the whole took, and
started once more; what the second run leaves is compared with the first: evidence.parquet byte for byte, review.json
but for the time it was made. Then the whole is run by each engine, and compared in the same way.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv

sys.path.insert(0, str(Path(__file__).parent))
from measuring.tables import table
from scale import people, tiny_model

ENGINES = {
    "local, 1 worker": ([], []),
    "local, 2 workers": ([], ["--workers", "2"]),
    "torchrun, 2 processes": (
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"],
        ["--engine", "torchrun"],
    ),
    "ray, 2 actors": ([], ["--engine", "ray", "--workers", "2"]),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What a review left: the hash of its evidence, of its audit, and of review.json without the time."""

    evidence: str
    audit: str
    review: str


def command(folder: Path, out: Path, engine: str = "local, 1 worker") -> list[str]:
    """The review as a command."""
    before, after = ENGINES[engine]
    start = [*(before or [sys.executable, "-m"]), "clinometer.cli", "review", str(folder / "model")]
    said = ["--label", "approved", "--group", "race", "--threads", "1", "--shard-rows", "50", "--quiet"]
    return [*start, str(folder / "rows.csv"), *said, "--out", str(out), *after]


def environment() -> dict[str, str]:
    """One thread for each process."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def run(folder: Path, out: Path, engine: str = "local, 1 worker", more: Sequence[str] = ()) -> float:
    """Run a review to its end; the seconds it took."""
    began = time.perf_counter()
    done = subprocess.run(
        [*command(folder, out, engine), *more], capture_output=True, text=True, check=False, env=environment()
    )
    if done.returncode != 0:
        raise RuntimeError(f"{engine}: {done.returncode}: {done.stderr[-2000:]}")
    return time.perf_counter() - began


def left(out: Path) -> Left:
    """The hashes of a folder."""
    said = json.loads((out / "review.json").read_text("utf-8"))
    del said["created"]
    return Left(
        evidence=hashlib.sha256((out / "evidence.parquet").read_bytes()).hexdigest(),
        audit=hashlib.sha256(json.dumps(said["audit"], sort_keys=True).encode()).hexdigest(),
        review=hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest(),
    )


def killed(folder: Path, out: Path, seconds: float) -> tuple[int, int]:
    """Start a review, kill it after so long, start it again; shards done at the kill, and -9 or how it ended."""
    process = subprocess.Popen(command(folder, out), stdout=subprocess.DEVNULL, env=environment())
    try:
        ended = process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        ended = process.wait()
    done = len(list(out.with_name(f"{out.name}.unfinished").glob("run/shards/*.json")))
    if ended == 0:
        return done, 0
    run(folder, out, more=["--force"])  # where it was killed when the review was there already
    return done, ended


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engines", nargs="*", default=["local", "torchrun", "ray"])
    asked = parser.parse_args()
    draw, wrong = random.Random(asked.seed), 0
    folder = Path(tempfile.mkdtemp(prefix="killed-"))
    try:
        tiny_model(folder / "model")
        pa_csv.write_csv(pa.table(people(asked.rows, seed=3)), folder / "rows.csv")
        took = run(folder, folder / "whole")
        whole, lines = left(folder / "whole"), []
        print(f"undisturbed: {took:.1f} s, evidence {whole.evidence[:12]}, audit {whole.audit[:12]}\n")
        kill = 0
        while kill < asked.kills:
            moment, out = draw.uniform(0, took), folder / f"kill-{kill}"
            shards, ended = killed(folder, out, moment)
            same = left(out) == whole
            wrong += not same
            if ended == 0:  # it was faster than the first one: that is no kill
                took = moment
                shutil.rmtree(out)
                continue
            kill += 1
            lines.append([f"{moment:.2f} s", str(shards), "yes" if same else "NO"])
            print(f"kill {kill}: {lines[-1]}", file=sys.stderr)
            shutil.rmtree(out)
        if lines:
            print(table(["killed after", "shards done then", "same bytes when resumed"], lines) + "\n")
        lines = []
        for engine in ENGINES:
            name = engine.split(",")[0]
            if name not in asked.engines:
                continue
            if name == "ray" and importlib.util.find_spec("ray") is None:
                lines.append([engine, "not installed", ""])
                continue
            out = folder / engine.replace(", ", "-").replace(" ", "-")
            seconds = run(folder, out, engine)
            same = left(out) == whole
            wrong += not same
            lines.append([engine, f"{seconds:.1f}", "yes" if same else "NO"])
        print(table(["engine", "seconds", "same bytes"], lines))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if wrong:
        sys.exit(f"{wrong} runs differ")


if __name__ == "__main__":
    main()
