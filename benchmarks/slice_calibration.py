"""How often the search of slices finds what is not there, and how often what is, beside naive methods.

python benchmarks/slice_calibration.py --json slice_calibration.json
"""

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from measuring import tables
from scipy import stats

from clinometer.bias.exchangeable import gather
from clinometer.bias.intervals import wilson
from clinometer.bias.items import code_columns
from clinometer.bias.itemsets import find_itemsets
from clinometer.bias.multiplicity import benjamini_hochberg
from clinometer.bias.permutations import max_t
from clinometer.bias.slice_effects import compare
from clinometer.bias.slice_masks import Masks
from clinometer.bias.slices import slices_of

ALPHA = 0.05
PERMUTATIONS = 199  # ALPHA (PERMUTATIONS + 1) is whole, so that the level is exact
WAYS = ("raw p", "Benjamini-Hochberg", "Bonferroni", "max-T")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Rows without their values: columns, the share that is a slice, and how values are drawn where nothing differs."""

    said: str
    columns: Mapping[str, Any]
    min_support: float
    min_count: int
    value: Callable[[np.random.Generator], Any]
    roles: Mapping[str, Any]


def columns(n: int, shares: tuple[tuple[float, ...], ...], seed: int, repeat: int = 1) -> dict[str, Any]:
    """Columns of the given shares; every `repeat` rows are alike."""
    generator = np.random.default_rng([seed, 1])
    return {
        f"c{j}": np.repeat(generator.choice([f"v{i}" for i in range(len(p))], size=n // repeat, p=p), repeat)
        for j, p in enumerate(shares)
    }


# Shares as in a risk-score audit: sex, age in three, race in four, degree of charge, prior offences in three, days in jail.
RISK = (
    (0.81, 0.19),
    (0.57, 0.22, 0.21),
    (0.51, 0.34, 0.09, 0.06),
    (0.64, 0.36),
    (0.34, 0.4, 0.26),
    (0.55, 0.3, 0.15),
)
WIDE = (*((0.5, 0.3, 0.2),) * 8, (0.6, 0.4))


def worlds() -> tuple[World, ...]:
    """Where nothing differs."""
    n = 2000
    wide = columns(n, WIDE, 0)
    people = columns(n, WIDE, 1, repeat=4)
    person = np.arange(n) // 4
    hard = (np.arange(n) % 5).astype(np.int64)
    return (
        World(
            said="like COMPAS: false positives, slices of 10 %",
            columns=columns(3963, RISK, 4),
            min_support=0.1,
            min_count=30,
            value=lambda g: g.permutation(3963) < 1282,
            roles={},
        ),
        World(
            said="about 2,000 slices, a rate of 10 %",
            columns=wide,
            min_support=0.005,
            min_count=15,
            value=lambda g: g.random(n) < 0.1,
            roles={},
        ),
        World(
            said="about 2,000 slices, log-normal means",
            columns=wide,
            min_support=0.005,
            min_count=15,
            value=lambda g: g.lognormal(size=n),
            roles={},
        ),
        World(
            said="the same, people seen 4 times",
            columns=people,
            min_support=0.005,
            min_count=15,
            value=lambda g: np.repeat(g.normal(size=n // 4), 4) + g.normal(size=n),
            roles={"cluster": person},
        ),
        World(
            said="the same, strata of other rates",
            columns=wide,
            min_support=0.005,
            min_count=15,
            value=lambda g: g.random(n) < 0.05 + 0.1 * hard,
            roles={"stratum": hard},
        ),
    )


class Searcher:
    """Slices of one world, whose values are drawn again and again."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.coded = code_columns(world.columns)
        minimum = max(world.min_count, int(np.ceil(world.min_support * len(self.coded))))
        self.itemsets = find_itemsets(self.coded, minimum=minimum, depth=3)

    def adjusted(self, value: Any, seed: int) -> tuple[Any, dict[str, Any]]:
        """Positions of slices that were tested, and p-values by each way."""
        units = gather(self.coded, value, **self.world.roles)
        compared = compare(Masks.of(self.itemsets, units.coded), units)
        least = np.minimum(compared.n, compared.total - compared.n)
        chosen = np.flatnonzero(compared.testable & (least >= self.world.min_count))
        z = compared.z[chosen]
        null = max_t(
            Masks.of(self.itemsets, units.coded, chosen),
            units,
            z,
            compared.expected[chosen],
            compared.sd[chosen],
            permutations=PERMUTATIONS,
            seed=seed,
        )
        raw = 2 * stats.norm.sf(np.abs(z))
        return chosen, {
            "raw p": raw,
            "Benjamini-Hochberg": benjamini_hochberg(raw),
            "Bonferroni": np.minimum(1.0, raw * len(raw)),
            "max-T": null.adjusted(z),
        }


def share(k: int, n: int) -> str:
    """A share with Wilson's interval."""
    ends = wilson(k, n)
    return f"{k / n:.3f} [{ends.low:.3f}, {ends.high:.3f}]"


def nothing_there(n_runs: int, seed: int) -> list[dict[str, Any]]:
    """The share of runs in which anything is found where nothing differs."""
    lines, made = [], []
    for world in worlds():
        searcher = Searcher(world)
        generator = np.random.default_rng([seed, 2])  # apart from the streams that the columns are from
        found = dict.fromkeys(WAYS, 0)
        tested = 0
        for run in range(n_runs):
            chosen, p = searcher.adjusted(world.value(generator), seed=run)
            tested = len(chosen)
            for way in WAYS:
                found[way] += bool(p[way].min() <= ALPHA)
        lines.append([world.said, f"{tested:,}", *(share(found[way], n_runs) for way in WAYS)])
        made.append({"world": world.said, "slices": tested, "runs": n_runs, "found": found})
        print(f"{world.said}: {found} of {n_runs}", flush=True)
    print(
        f"\n### Anything found where nothing differs, of {n_runs} runs (target of max-T: at most {ALPHA + 0.01:.2f})\n"
    )
    print(tables.table(["rows", "slices", *WAYS], lines))
    return made


def split(n_runs: int, seed: int) -> dict[str, Any]:
    """The same for a search whose second half confirms."""
    world = worlds()[1]
    generator = np.random.default_rng([seed, 2])  # apart from the streams that the columns are from
    found = 0
    for run in range(n_runs):
        searched = slices_of(
            world.columns,
            world.value(generator),
            min_support=world.min_support,
            min_count=world.min_count,
            permutations=399,
            confirm=0.5,
            seed=run,
        )
        found += searched.n_found > 0
    print(f"\nDiscover and confirm, {world.said}: {share(found, n_runs)} of {n_runs} runs find anything.")
    return {"world": world.said, "runs": n_runs, "found": found}


def something_there(n_runs: int, seed: int) -> list[dict[str, Any]]:
    """How often a planted slice is found, by effect."""
    n = 2000
    rows = columns(n, WIDE, 0)
    worse = (rows["c0"] == "v2") & (rows["c1"] == "v1")
    world = World(
        said="planted",
        columns=rows,
        min_support=0.005,
        min_count=15,
        value=lambda g: g.random(n) < 0.1,
        roles={},
    )
    searcher = Searcher(world)
    names = [frozenset(map(str, searcher.itemsets.named(i))) for i in range(len(searcher.itemsets))]
    at = names.index(frozenset({"c0=v2", "c1=v1"}))
    lines, made = [], []
    for rate in (0.15, 0.18, 0.21, 0.24, 0.27):
        generator = np.random.default_rng([seed, 2])  # apart from the streams that the columns are from
        found = dict.fromkeys((*WAYS[2:], "confirmed"), 0)
        for run in range(n_runs):
            value = generator.random(n) < np.where(worse, rate, 0.1)
            chosen, p = searcher.adjusted(value, seed=run)
            place = int(np.flatnonzero(chosen == at)[0])
            for way in WAYS[2:]:
                found[way] += bool(p[way][place] <= ALPHA)
            halves = slices_of(
                rows, value, min_support=0.005, min_count=15, permutations=399, confirm=0.5, seed=run
            )
            found["confirmed"] += any(set(one.name.split(" & ")) == names[at] for one in halves.found)
        lines.append([f"{rate:.2f}", *(share(found[way], n_runs) for way in found)])
        made.append({"rate": rate, "runs": n_runs, "found": found})
    told = f"{int(worse.sum())} of {n:,} rows, everybody else's rate .10, {len(names):,} slices"
    print(f"\n### A planted slice itself found, of {n_runs} runs: {told}\n")
    print(tables.table(["its rate", *WAYS[2:], "discover and confirm"], lines))
    return made


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1000, help="where nothing differs")
    parser.add_argument("--power-runs", type=int, default=200, help="where something does, and of the split")
    parser.add_argument("--only", choices=("nothing", "split", "something"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="FILE")
    given = parser.parse_args()
    if given.runs < 1 or given.power_runs < 1:
        parser.error("--runs and --power-runs must be 1 or more")
    kept: dict[str, Any] = {}
    if given.only in (None, "nothing"):
        kept["nothing"] = nothing_there(given.runs, given.seed)
    if given.only in (None, "split"):
        kept["split"] = split(given.power_runs, given.seed)
    if given.only in (None, "something"):
        kept["something"] = something_there(given.power_runs, given.seed)
    if given.json is not None:
        Path(given.json).write_text(json.dumps(kept, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
