"""What the search of slices costs, beside DivExplorer, and beside one matrix product of the same shape.

    python benchmarks/slices.py --json slices.json
    PYTHONPATH=folder/of/divexplorer python benchmarks/slices.py --rows 50000 500000

Every way must find the same conjunctions with the same counts before anything is measured.
"""

import argparse
import importlib.util
import json
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from measuring import rounds, tables

from clinometer.bias.exchangeable import gather
from clinometer.bias.items import Coded, code_evidence
from clinometer.bias.itemsets import find_itemsets
from clinometer.bias.permutations import MAX_MEMORY, max_t
from clinometer.bias.slice_effects import compare
from clinometer.bias.slice_masks import Masks
from clinometer.bias.slices import slices_of
from clinometer.evidence import from_frame

Run = Callable[[], Any]
N_VALUES = (2, 3, 4, 5, 6, 2, 3, 4, 5, 3)  # of the ten columns, with shares drawn at random
SUPPORT = 0.01
PERMUTATIONS = 2000
SHAPES = (
    (50_000, 10, 2000, "rate"),
    (50_000, 10, 2000, "mean"),
    (4_000, 6, 154, "rate"),
    (4_000, 6, 154, "mean"),
)
TARGETS = {"numpy": 15, "numba": 40}


def frame(n: int, n_columns: int = 10, seed: int = 0) -> pd.DataFrame:
    """Columns of a few values, independent, and an outcome that is true in 15 % of rows."""
    generator = np.random.default_rng(seed)
    made = {}
    for j, k in enumerate(N_VALUES[:n_columns]):
        shares = generator.dirichlet(np.full(k, 2.0))
        made[f"c{j}"] = generator.choice([f"v{i}" for i in range(k)], size=n, p=shares)
    return pd.DataFrame({**made, "outcome": (generator.random(n) < 0.15).astype(int)})


def by_clinometer(table: pd.DataFrame, engine: Any) -> dict[frozenset[str], tuple[int, int]]:
    """From the data frame to every conjunction's rows and true rows."""
    found = searched(table, engine)
    named = [str(item) for item in found.items]
    return {
        frozenset(named[i] for i in row if i >= 0): (int(n), int(k))
        for row, n, k in zip(found.members.tolist(), found.support, found.hits, strict=True)
    }


def searched(table: pd.DataFrame, engine: Any) -> Any:
    """The same, as arrays."""
    names = [name for name in table.columns if name != "outcome"]
    coded = code_evidence(from_frame(table, groups=names), names)
    marked = table["outcome"].to_numpy() == 1
    return find_itemsets(coded, minimum=int(np.ceil(SUPPORT * len(table))), marked=marked, engine=engine)


def explored(table: pd.DataFrame) -> Any:
    """DivExplorer's default search (FP-growth) from the data frame to the table of its divergences."""
    from divexplorer import DivergenceExplorer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return DivergenceExplorer(table).get_pattern_divergence(
            min_support=SUPPORT,
            attributes=[name for name in table.columns if name != "outcome"],
            boolean_outcomes=["outcome"],
        )


def by_divexplorer(table: pd.DataFrame) -> dict[frozenset[str], tuple[int, int]]:
    """Every conjunction's rows and true rows, of the table it returns."""
    made = explored(table)
    return {
        frozenset(items): (round(n), round(n * rate))
        for items, n, rate in zip(made["itemset"], made["support_count"], made["outcome"], strict=True)
        if items
    }


def conjunctions(sizes: list[int], n_rounds: int) -> list[dict[str, Any]]:
    """All conjunctions above the support, by each tool and engine."""
    made = []
    has = {name: importlib.util.find_spec(name) is not None for name in ("divexplorer", "numba")}
    for n in sizes:
        table = frame(n)
        ways: dict[str, Run] = {}
        answers = {}
        if has["divexplorer"]:
            ways["divexplorer"] = lambda table=table: explored(table)
            answers["divexplorer"] = by_divexplorer(table)
        for engine in ("numpy", *(["numba"] if has["numba"] else [])):
            ways[engine] = lambda table=table, engine=engine: searched(table, engine)
            answers[engine] = by_clinometer(table, engine)
        first = next(iter(answers.values()))
        for name, answer in answers.items():
            if answer != first:
                differ = sum(answer.get(key) != value for key, value in first.items())
                raise SystemExit(
                    f"{name} finds other conjunctions than {next(iter(answers))}: {differ} differ."
                )
        measured = rounds.interleaved(ways, n_rounds, cuda=False, said=f"{n:,} rows")
        base = measured.get("divexplorer")
        lines = []
        for name, times in measured.items():
            ratio = tables.number(rounds.ratios(base.wall, times.wall)) if base is not None else "-"
            used = tables.number(rounds.ratios(base.processor, times.processor)) if base is not None else "-"
            target = f">= {TARGETS[name]}" if name in TARGETS else ""
            lines.append([name, f"{rounds.middle(times.wall).median:.4f}", ratio, used, target])
        print(
            f"\n### {n:,} rows, 10 columns, support {SUPPORT:.0%}: {len(first):,} conjunctions, the same by all\n"
        )
        head = ["way", "seconds", "times as fast as divexplorer [95 %]", "by processor time", "target"]
        print(tables.table(head, lines))
        made.append({"rows": n, "found": len(first), "seconds": {k: v.wall for k, v in measured.items()}})
    for name, there in has.items():
        if not there:
            print(f"\nLeft out: {name}, which is not installed.")
    return made


def permuting(n_rounds: int) -> list[dict[str, Any]]:
    """Max-T beside a matrix product of the same shape: slices x rows by rows x permutations, in float32."""
    made, lines = [], []
    for n, n_columns, n_slices, kind in SHAPES:
        table = frame(n, n_columns)
        masks, units, compared = prepared(table, n_slices, kind)
        generator = np.random.default_rng(1)
        left = (generator.random((len(masks), n), dtype=np.float32) < 0.1).astype(np.float32)
        right = generator.random((n, PERMUTATIONS), dtype=np.float32)

        def permute(masks: Any = masks, units: Any = units, compared: Any = compared) -> Any:
            return max_t(
                masks, units, compared.z, compared.expected, compared.sd, permutations=PERMUTATIONS, seed=0
            )

        def product(left: Any = left, right: Any = right) -> Any:
            return left @ right

        measured = rounds.interleaved(
            {"product": product, "max-T": permute}, n_rounds, cuda=False, said=f"{n_slices} slices, {kind}"
        )
        del left, right
        tracemalloc.start()
        permute()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        wall = {name: times.wall for name, times in measured.items()}
        ratio = rounds.ratios(wall["max-T"], wall["product"])
        shape = f"{len(masks):,} x {n:,} x {PERMUTATIONS:,}"
        seconds = [f"{rounds.middle(wall[name]).median:.3f}" for name in ("product", "max-T")]
        lines.append([kind, shape, f"{len(units):,}", *seconds, tables.number(ratio), f"{peak / 1e6:.0f}"])
        made.append({"kind": kind, "shape": shape, "cells": len(units), "seconds": wall, "peak": peak})
    print(f"\n### {PERMUTATIONS:,} max-T permutations beside one matrix product (target: at most 2)\n")
    head = [
        "value",
        "slices x rows x permutations",
        "cells",
        "product s",
        "max-T s",
        "ratio [95 %]",
        "peak MB",
    ]
    print(tables.table(head, lines))
    print(
        f"\nThe limit of its memory is {MAX_MEMORY / 1e6:.0f} MB; the product's operands and result are not counted."
    )
    return made


def prepared(table: pd.DataFrame, n_slices: int, kind: str) -> Any:
    """Masks, units and observed statistics of so many slices of up to three items."""
    names = [name for name in table.columns if name != "outcome"]
    coded: Coded = code_evidence(from_frame(table, groups=names), names)
    outcome = table["outcome"].to_numpy() == 1
    value = outcome if kind == "rate" else outcome + np.random.default_rng(2).normal(size=len(table))
    units = gather(coded, value)
    itemsets = find_itemsets(coded, minimum=int(SUPPORT * len(table)), depth=3, engine="numpy")
    chosen = np.sort(np.random.default_rng(3).permutation(len(itemsets))[:n_slices])
    masks = Masks.of(itemsets, units.coded, chosen)
    return masks, units, compare(masks, units)


def whole(n_rounds: int) -> dict[str, Any]:
    """A search from arrays to record, as people call it."""
    table = frame(50_000)
    columns = {name: table[name] for name in table.columns if name != "outcome"}
    value = table["outcome"].to_numpy() == 1
    ways: dict[str, Run] = {
        "depth 2": lambda: slices_of(columns, value, depth=2),
        "depth 3": lambda: slices_of(columns, value),
    }
    found = {name: run() for name, run in ways.items()}
    measured = rounds.interleaved(ways, n_rounds, cuda=False, said="whole search")
    print(f"\n### A whole search: 50,000 rows, 10 columns, {PERMUTATIONS:,} permutations\n")
    lines = [
        [name, f"{found[name].n_tested:,}", f"{rounds.middle(times.wall).median:.2f}"]
        for name, times in measured.items()
    ]
    print(tables.table(["search", "slices", "seconds"], lines))
    return {name: times.wall for name, times in measured.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[50_000])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", choices=("conjunctions", "permutations", "whole"))
    parser.add_argument("--json", metavar="FILE")
    given = parser.parse_args()
    if given.rounds < 1 or min(given.rows) < 1000:
        parser.error("--rounds must be 1 or more and --rows 1000 or more")
    about = tables.machine("cpu")
    print(
        f"{about['processors']} processors, {about['threads']} threads, load {about['load']}; {about['versions']}"
    )
    kept: dict[str, Any] = {"machine": about}
    if given.only in (None, "conjunctions"):
        kept["conjunctions"] = conjunctions(given.rows, given.rounds)
    if given.only in (None, "permutations"):
        kept["permutations"] = permuting(given.rounds)
    if given.only in (None, "whole"):
        kept["whole"] = whole(min(given.rounds, 3))
    if given.json is not None:
        Path(given.json).write_text(json.dumps(kept, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
