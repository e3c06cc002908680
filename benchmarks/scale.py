"""Evidence at scale: memory against rows, and what shards cost beside the bare model.

    OMP_NUM_THREADS=1 python benchmarks/scale.py                                  # both parts
    OMP_NUM_THREADS=1 python benchmarks/scale.py --only memory --rows 10000 100000 1000000
    OMP_NUM_THREADS=1 python benchmarks/scale.py --only throughput --model MODEL --texts texts.csv

Memory: a tiny model of tables scores files of more and more rows, each in a process of its own; reported are the rows a
second and the largest resident size, which should not depend on the rows. Throughput: `clinometer.evidence` on texts
beside the model's own forward passes over the same batches (tokenised before), in interleaved rounds of one process.
Without a model and texts beside the checkout a random model of the same size reads made-up texts.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet
import torch

from clinometer.interpret.batches import bucketed
from clinometer.interpret.edits import save
from clinometer.interpret.models import load, ours
from clinometer.interpret.preprocessing import TablePreprocessor
from clinometer.interpret.transformer import Architecture, Classifier
from clinometer.records import Rows
from clinometer.shard_runs import Work
from clinometer.sharded_evidence import evidence

sys.path.insert(0, str(Path(__file__).parent))
from measuring.invented import invented
from measuring.rounds import interleaved, ratios
from measuring.tables import machine, number, table

SHARED = Path(__file__).parents[2] / "shared"
FEATURES = ("income", "debt", "age", "years")
PIECE = 100_000


def people(n: int, seed: int) -> dict[str, Any]:
    """Columns of made-up applicants."""
    draw = np.random.default_rng(seed)
    columns: dict[str, Any] = {
        name: draw.normal(size=n).astype(np.float32).astype(float) for name in FEATURES
    }
    columns["race"] = draw.choice(["a", "b", "c"], n).tolist()
    columns["approved"] = (columns["income"] - columns["debt"] + draw.normal(size=n) > 0).astype(np.int64)
    return columns


def write_people(path: Path, n: int) -> None:
    """A Parquet file of so many applicants, piece by piece."""
    writer = None
    for begin in range(0, n, PIECE):
        part = pa.table(people(min(PIECE, n - begin), seed=begin))
        writer = writer or pa_parquet.ParquetWriter(path, part.schema)
        writer.write_table(part)
    if writer is not None:
        writer.close()


def tiny_model(folder: Path) -> None:
    """A small Transformer on tables with random weights."""
    columns = people(1000, seed=1)
    inputs = {name: np.asarray(columns[name]) for name in FEATURES}
    preprocessor = TablePreprocessor.fit(inputs, numeric=FEATURES, categorical=())
    torch.manual_seed(0)
    shape = preprocessor.shape()
    module = Classifier(
        Architecture(kind="table", width=16, layers=1, heads=2, feed_forward=32, dropout=0.0, **shape)
    )
    save(ours(module, preprocessor, labels=("no", "yes"), name="tiny"), folder)


def score_alone(model: str, data: str, out: str, workers: int) -> None:
    """Score a file in this process, which must be a fresh one, and print the time and the largest resident size."""
    began = time.perf_counter()
    made = evidence(
        model,
        data,
        groups=("race",),
        label="approved",
        out=out,
        work=Work(threads=1, workers=workers, shard_rows=8192, batch_size=512),
    )
    assert made is not None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"n": made.n, "seconds": time.perf_counter() - began, "peak": peak}))


def memory(sizes: list[int], workers: int) -> str:
    """A table: rows, seconds, rows a second, and the largest resident size."""
    folder = Path(tempfile.mkdtemp(prefix="scale-"))
    lines = []
    try:
        tiny_model(folder / "model")
        for n in sizes:
            data, out = folder / f"{n}.parquet", folder / f"out-{n}"
            write_people(data, n)
            command = [sys.executable, __file__, "--score", str(folder / "model"), str(data), str(out)]
            command += ["--workers", str(workers)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise RuntimeError(done.stderr)
            said = json.loads(done.stdout.splitlines()[-1])
            size = (out / "evidence.parquet").stat().st_size
            lines.append(
                [
                    f"{said['n']:,}",
                    f"{said['seconds']:.1f}",
                    f"{said['n'] / said['seconds']:,.0f}",
                    f"{said['peak'] / 1e6:,.0f}",
                    f"{size / 1e6:.1f}",
                ]
            )
            print(f"{n:,} rows: {said['seconds']:.1f} s", file=sys.stderr)
            data.unlink()
            shutil.rmtree(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return table(["rows", "seconds", "rows a second", "largest resident, MB", "evidence, MB"], lines)


def texts_of(file: Path | None, n: int) -> list[str]:
    """Texts of a data set, or made-up ones of the same lengths."""
    if file is not None:
        found = pa_csv.read_csv(file).column("text").to_pylist()
        return [str(text) for text in found[:n]]
    draw = np.random.default_rng(0)
    words = [f"w{i}" for i in range(2000)]
    return [" ".join(draw.choice(words, int(draw.integers(5, 60)))) for _ in range(n)]


def throughput(model: Path, texts: list[str], rounds: int, batch_size: int) -> str:
    """Evidence and its parts beside bare forward passes over the same batches."""
    torch.set_num_threads(1)
    subject = load(model)
    folder = Path(tempfile.mkdtemp(prefix="scale-"))
    data = folder / "texts.parquet"
    half = ["a" if i % 2 else "b" for i in range(len(texts))]
    pa_parquet.write_table(pa.table({subject.columns[0]: texts, "half": half}), data)
    rows = Rows(
        ids=tuple(str(i) for i in range(len(texts))),
        inputs={subject.columns[0]: np.array(texts, dtype=object)},
    )
    lengths = [len(names) for names in subject.names(rows)]
    places = bucketed(lengths, batch_size)
    batches = [subject.encode(rows.take(index)) for index in places]
    count = iter(range(10**6))

    def forward() -> list[Any]:
        with torch.no_grad():
            return [subject.select(subject.forward(batch, None)) for batch in batches]

    def encoded() -> list[Any]:
        with torch.no_grad():
            return [
                subject.select(subject.forward(subject.encode(rows.take(index)), None)) for index in places
            ]

    def whole() -> Any:
        out = folder / f"out-{next(count)}"
        work = Work(threads=1, shard_rows=len(texts), batch_size=batch_size)
        return evidence(subject, data, groups=("half",), out=out, work=work)

    def shards() -> Any:
        out = folder / f"out-{next(count)}"
        work = Work(threads=1, shard_rows=256, batch_size=batch_size)
        return evidence(subject, data, groups=("half",), out=out, work=work)

    runs: dict[str, Callable[[], Any]] = {
        "bare forward passes": forward,
        "... with tokenising": encoded,
        "evidence, one shard": whole,
        "evidence, shards of 256": shards,
    }
    try:
        times = interleaved(runs, rounds, cuda=False, said="throughput")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    floor = times["bare forward passes"]
    lines = [
        [
            name,
            number(ratios(of.wall, floor.wall)),
            number(ratios(of.processor, floor.processor)),
            f"{len(texts) / float(np.median(of.wall)):.1f}",
        ]
        for name, of in times.items()
    ]
    return table(["way", "time: ratio to bare [95 %]", "processor time [95 %]", "texts a second"], lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=["memory", "throughput"])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--texts", type=Path, help="a CSV file with a column text")
    parser.add_argument("--n-texts", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--score", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.score:
        score_alone(*asked.score, asked.workers)
        return
    found = machine("cpu")
    threads = os.environ.get("OMP_NUM_THREADS", "?")
    print(
        f"{time.strftime('%F')}: {found['processors']} processors, {threads} thread(s), load {found['load']}\n"
    )
    if asked.only != "throughput":
        print(memory(asked.rows, asked.workers) + "\n")
    if asked.only != "memory":
        model, texts = asked.model, asked.texts
        if model is None and (SHARED / "models" / "minilm-hatexplain").is_dir():
            model = SHARED / "models" / "minilm-hatexplain"
        name = model.name if model else "a random model of MiniLM's size"
        print(f"{name}, {asked.n_texts} texts, batches of {asked.batch_size}:\n")
        texts_read = texts_of(texts, asked.n_texts)
        with tempfile.TemporaryDirectory() as folder:
            print(throughput(model or invented(Path(folder)), texts_read, asked.rounds, asked.batch_size))


if __name__ == "__main__":
    main()
