"""An audit of more rows than fit into memory: peak memory, time, and the same counts from every engine.

    python benchmarks/out_of_core.py                     # 100 million rows, 12 columns, on disk
    python benchmarks/out_of_core.py --rows 5000000

Rows are generated in pieces into a temporary folder, with the true counts beside them. A process of its own then
scans, counts and audits them; what it counted has to be what was generated.
"""

import argparse
import json
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
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pa_parquet

PIECE = 1_000_000
BYTES_PER_ROW = 48
RACES = ("Asian", "Black", "Hispanic", "Other", "White", None)
SEXES = ("female", "male", None)
AGES = ("under 25", "25 to 39", "40 to 59", "60 and over")
OFFICES = tuple(f"office {i}" for i in range(12))
DECIDED: dict[str, Any] = {"label": "repaid", "prediction": "approved"}
KEYS = ("race", "sex", "repaid", "approved")
# What is counted: the roles of columns, and how scores are kept.
PLANS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "race, sex; a measure; 4,096 score bins": (
        {**DECIDED, "groups": ("race", "sex"), "score": "probability", "measures": ("lean",)},
        {"score_bins": 4096},
    ),
    "race; 65,536 score bins": ({**DECIDED, "groups": ("race",), "score": "probability"}, {}),
    "race, sex, age, office; weights": (
        {**DECIDED, "groups": ("race", "sex", "age", "office"), "weight": "weight"},
        {},
    ),
}

Codes = npt.NDArray[np.int64]


def piece(index: int, rows: int) -> tuple[pa.Table, Codes]:
    """Rows of one piece, twelve columns; the code of each row's group, sex, label and prediction."""
    random = np.random.default_rng([20_26, index])
    race = random.choice(len(RACES), rows, p=[0.1, 0.2, 0.15, 0.05, 0.45, 0.05])
    sex = random.choice(len(SEXES), rows, p=[0.5, 0.48, 0.02])
    age = random.integers(0, len(AGES), rows)
    latent = random.normal(size=rows) - 0.25 * (race == 1) + 0.1 * (sex == 1)
    probability = 1 / (1 + np.exp(-latent))
    repaid = random.random(rows) < probability
    approved = probability > 0.45
    table = pa.table(
        {
            "person": np.arange(rows) + index * PIECE,
            "race": _named(race, RACES),
            "sex": _named(sex, SEXES),
            "age": _named(age, AGES),
            "office": _named(random.integers(0, len(OFFICES), rows), OFFICES),
            "repaid": repaid,
            "approved": approved,
            "probability": probability,
            "weight": random.choice([0.5, 1.0, 1.5, 3.0], rows),
            "lean": latent + random.normal(size=rows),
            "amount": random.integers(500, 50_000, rows),
            "month": random.integers(1, 13, rows).astype(np.int32),
        }
    )
    return table, ((race * len(SEXES) + sex) * 2 + repaid) * 2 + approved


def _named(codes: Codes, names: tuple[str | None, ...]) -> pa.Array:
    known = pa.array(codes.astype(np.int32), mask=np.array([name is None for name in names])[codes])
    texts = pa.array([name or "" for name in names])
    return pa.DictionaryArray.from_arrays(known, texts).cast(pa.string())


def generate(folder: Path, rows: int) -> dict[str, int]:
    """Write the pieces; the true number of rows of each race, sex, label and prediction.

    Raises:
        SystemExit: the disk has too little room.
    """
    needed, free = rows * BYTES_PER_ROW, shutil.disk_usage(folder).free
    if free < 1.2 * needed:
        raise SystemExit(
            f"{folder} has {free / 1e9:.1f} GB free; about {1.2 * needed / 1e9:.1f} GB are needed."
        )
    truth = np.zeros(len(RACES) * len(SEXES) * 4, dtype=np.int64)
    for index, start in enumerate(range(0, rows, PIECE)):
        table, codes = piece(index, min(PIECE, rows - start))
        truth += np.bincount(codes, minlength=len(truth))
        pa_parquet.write_table(table, folder / f"rows-{index:04d}.parquet", compression="snappy")
    named = {}
    for code, n in enumerate(truth.tolist()):
        rest, approved = divmod(code, 2)
        rest, repaid = divmod(rest, 2)
        race, sex = divmod(rest, len(SEXES))
        if n:
            named[_key(RACES[race], SEXES[sex], str(repaid == 1), str(approved == 1))] = n
    return named


def _key(*values: str | None) -> str:
    return " | ".join("unknown" if value is None else value for value in values)


def totals(evidence: Any) -> dict[str, int]:
    """How many rows counted evidence has of each race, sex, label and prediction."""
    found: dict[str, int] = {}
    columns = [evidence.group(name) for name in KEYS]
    for *values, n in zip(*columns, evidence.counts.tolist(), strict=True):
        found[_key(*values)] = found.get(_key(*values), 0) + n
    return found


def work(arguments: argparse.Namespace) -> None:
    """In a process of its own: scan, count, audit; peak memory and times as JSON."""
    from clinometer.bias.audit import audit
    from clinometer.sources import scan

    roles, options = PLANS[arguments.plan]
    started = time.perf_counter()
    source = scan(
        str(arguments.folder / "*.parquet"),
        **roles,
        memory_limit=arguments.memory_limit,
        threads=arguments.threads,
        temporary=arguments.folder,
    )
    evidence = source.counted(**options)
    counted = time.perf_counter()
    made = audit(evidence)
    audited = time.perf_counter()
    print(
        json.dumps(
            {
                "counting": counted - started,
                "auditing": audited - counted,
                "peak": peak(),
                "distinct": len(evidence),
                "rows": evidence.n,
                "cells": len(made.cells),
                "totals": totals(evidence) if {"sex", "race"} <= set(evidence.groups) else None,
            }
        )
    )


def peak() -> int:
    """The most that was ever resident, in bytes.

    Where the system says it of the program itself: `ru_maxrss` of a new program starts at what its parent had.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def measured(arguments: argparse.Namespace, folder: Path, plan: str) -> dict[str, Any]:
    """What a process of its own says of one plan."""
    command = [sys.executable, str(Path(__file__).resolve()), "--folder", str(folder), "--plan", plan]
    command += ["--memory-limit", arguments.memory_limit, "--threads", str(arguments.threads)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise SystemExit(ran.stderr or f"the process ended with {ran.returncode}")
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


def engines(folder: Path) -> dict[str, Callable[[], Any]]:
    """The same rows as each engine holds them, read when asked for."""
    import pandas as pd
    import polars as pl

    files = sorted(folder.glob("*.parquet"))
    return {
        "DuckDB, Parquet files": lambda: str(folder / "*.parquet"),
        "polars, lazy": lambda: pl.scan_parquet(folder / "*.parquet"),
        "polars": lambda: pl.read_parquet(folder / "*.parquet"),
        "pandas": lambda: pd.concat([pd.read_parquet(file) for file in files], ignore_index=True),
        "Arrow": lambda: pa.concat_tables([pa_parquet.read_table(file) for file in files]),
    }


def compared(folder: Path, plan: str) -> list[dict[str, Any]]:
    """Whether each engine, and partial counts added up, give the table that DuckDB gives, to the last bit.

    Raises:
        SystemExit: an engine gives another one.
    """
    from clinometer.sources import merge, scan

    roles, options = PLANS[plan]
    lines: list[dict[str, Any]] = []
    first = None
    for name, held in engines(folder).items():
        started = time.perf_counter()
        made = scan(held(), **roles).counted(**options)
        lines.append({"engine": name, "seconds": time.perf_counter() - started, "distinct": len(made)})
        first = made if first is None else first
        if not made.table.equals(first.table) or made.provenance != first.provenance:
            raise SystemExit(f"{name} gives another table than {lines[0]['engine']}")
    if first is None:
        raise SystemExit("no engine was compared")
    started = time.perf_counter()
    merged = merge(
        [scan(file, **roles).counted(**options) for file in sorted(folder.glob("*.parquet"))],
        **options,
    )
    numbers = [*first.measures, *first.squares.values()]
    if not merged.table.drop(numbers).equals(first.table.drop(numbers)):
        raise SystemExit("partial counts added up give other counts than the whole")
    pairs = [(merged.column(name), first.column(name)) for name in numbers]
    apart = max(float(np.max(np.abs(one - other)) / max(1.0, np.max(np.abs(other)))) for one, other in pairs)
    lines.append(
        {
            "engine": "partial counts of each file, added up",
            "seconds": time.perf_counter() - started,
            "distinct": len(merged),
            "measures apart by": apart,
        }
    )
    return lines


def main(given: list[str] | None = None) -> dict[str, Any]:
    """Generate, measure, compare, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--compared-rows", type=int, default=2_000_000)
    parser.add_argument("--memory-limit", default="1GB", help="of DuckDB; the process needs more beside it")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where rows lie already, or are to be written")
    parser.add_argument("--plan", choices=list(PLANS), help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args(given)
    if arguments.plan:
        work(arguments)
        return {}
    found: dict[str, Any] = {"rows": arguments.rows, "memory_limit": arguments.memory_limit, "plans": {}}
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="out-of-core-") as name:
        folder = Path(name)
        started = time.perf_counter()
        truth = generate(folder, arguments.rows)
        size = sum(file.stat().st_size for file in folder.glob("*.parquet"))
        print(
            f"{arguments.rows:,} rows, 12 columns, {size / 1e9:.2f} GB in {len(list(folder.glob('*.parquet')))} files, "
            f"written in {time.perf_counter() - started:.0f} s"
        )
        print(f"{'counted by':38} {'distinct':>10} {'counting':>10} {'audit':>8} {'peak memory':>12}")
        for plan in PLANS:
            line = measured(arguments, folder, plan)
            counted = line.pop("totals")
            if line["rows"] != arguments.rows or (counted is not None and counted != truth):
                raise SystemExit(f"{plan}: the counts are not those of the rows that were written")
            found["plans"][plan] = line
            print(
                f"{plan:38} {line['distinct']:>10,} {line['counting']:>8.1f} s {line['auditing']:>6.1f} s "
                f"{line['peak'] / 1e6:>9,.0f} MB",
                flush=True,
            )
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="out-of-core-") as name:
        generate(Path(name), arguments.compared_rows)
        plan = next(iter(PLANS))
        found["compared"] = compared(Path(name), plan)
        print(f"\n{arguments.compared_rows:,} rows, {plan}: identical tables from")
        for line in found["compared"]:
            beside = (
                f", measures within {line['measures apart by']:.0e}" if "measures apart by" in line else ""
            )
            print(f"{line['engine']:38} {line['distinct']:>10,} {line['seconds']:>8.1f} s{beside}")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


if __name__ == "__main__":
    main()
