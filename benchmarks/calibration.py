"""How often intervals cover and verdicts err: every table counted where that can be done, else simulated.

python benchmarks/calibration.py                          # all of it, under ten minutes on one processor
python benchmarks/calibration.py --quick                  # coarser grids and fewer simulations: about a minute
python benchmarks/calibration.py --only gates --json calibration.json

Prints tables in Markdown. Nothing is timed; with the same seed every figure is the same.
"""

import argparse
import functools
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from measuring.tables import table
from scipy import stats

import clinometer as cm
from clinometer.bias.areas import roc_auc
from clinometer.bias.clusters import clustered_rate
from clinometer.bias.exact import exact_exceeds_p, is_small
from clinometer.bias.intervals import clopper_pearson, exceeds_p, newcombe, wilson
from clinometer.bias.multiplicity import holm
from clinometer.bias.paired import PairedCounts, newcombe_paired
from clinometer.bias.policy import parse_policy
from clinometer.bias.ratios import koopman, score_of_ratio
from clinometer.bias.scored import Undefined
from clinometer.bias.spread import largest_gap
from clinometer.bias.tests_of_rates import homogeneity
from clinometer.evidence import from_columns

Floats = npt.NDArray[np.float64]
Rows = list[list[str]]

NOMINAL, ALPHA = 0.95, 0.05
LEFT_OUT = 1e-12  # chance of the counts left out at each end, where not all are gone through
Z = float(stats.norm.ppf(0.5 + NOMINAL / 2))
SIZES = (20, 50, 100, 500, 1000, 5000)


def said(label: str, n: str, coverage: Floats) -> list[str]:
    """A row: mean, minimum and maximum of coverage, and what the mean is beyond the nominal."""
    return [
        label,
        n,
        f"{coverage.mean():.4f}",
        f"{100 * (coverage.mean() - NOMINAL):+.2f}",
        f"{coverage.min():.4f}",
        f"{coverage.max():.4f}",
    ]


HEADER = ("interval", "n", "mean coverage", "mean - nominal, points", "minimum", "maximum")


def possible(n: int, rate: float) -> npt.NDArray[np.int64]:
    """Counts out of n that are at all likely: all but 1e-12 at each end."""
    low, high = stats.binom.ppf([LEFT_OUT, 1 - LEFT_OUT], n, rate)
    return np.arange(max(0, int(low)), min(n, int(high)) + 1)


def wald_ends(n: int) -> tuple[Floats, Floats]:
    """The textbook interval of each count, for comparison."""
    p = np.arange(n + 1) / n
    half = Z * np.sqrt(p * (1 - p) / n)
    return p - half, p + half


@functools.cache
def ends(interval: Callable[..., tuple[float, float]], n: int, confidence: float) -> tuple[Floats, Floats]:
    """Lower and upper ends of the interval of each count out of n."""
    made = np.asarray([interval(k, n, confidence) for k in range(n + 1)])
    return made[:, 0], made[:, 1]


def coverage_of_rate(low: Floats, high: Floats, rates: Floats) -> Floats:
    """Chance at each rate that the interval of the count drawn holds it; ends are of counts 0, 1, ... n."""
    k, at = np.arange(len(low)), rates[:, None]
    covered: Floats = np.sum(stats.binom.pmf(k, len(low) - 1, at) * ((low <= at) & (at <= high)), axis=1)
    return covered


def coverages(n1: int, p1: float, n2: int, p2: float) -> dict[str, tuple[float, float]]:
    """For each interval of two rates: chance that it exists, and that it exists and covers."""
    l1, u1 = ends(wilson, n1, NOMINAL)
    l2, u2 = ends(wilson, n2, NOMINAL)
    k1, k2 = possible(n1, p1)[:, None], possible(n2, p2)[None, :]
    chance = stats.binom.pmf(k1, n1, p1) * stats.binom.pmf(k2, n2, p2)
    a, b = k1 / n1, k2 / n2
    gap, truth = a - b, p1 - p2
    below, above = np.hypot(a - l1[k1], u2[k2] - b), np.hypot(u1[k1] - a, b - l2[k2])
    half = Z * np.sqrt(a * (1 - a) / n1 + b * (1 - b) / n2)
    # A table without a ratio has no interval of it.
    score = np.abs(score_of_ratio(k1, n1, k2, n2, p1 / p2)) <= Z
    either, each = (k1 > 0) | (k2 > 0), (k1 > 0) & (k2 > 0)
    everything = np.ones_like(chance, dtype=bool)
    made = {
        "Newcombe": (everything, (gap - below <= truth) & (truth <= gap + above)),
        "Wald (naive)": (everything, np.abs(gap - truth) <= half),
        "Koopman": (either, score),
        "Katz": (each, katz_covers(k1, n1, k2, n2, p1 / p2)),
    }
    return {
        name: (float(chance[there].sum()), float(chance[there & covers].sum()))
        for name, (there, covers) in made.items()
    }


def one_rate(quick: bool) -> Rows:
    """Coverage of intervals of one rate, all counts, on a grid of 999 rates."""
    rows: Rows = []
    grid = np.linspace(0.001, 0.999, 199 if quick else 999)
    for n in SIZES:
        for name, (low, high) in (
            ("Wilson", ends(wilson, n, NOMINAL)),
            ("Clopper-Pearson", ends(clopper_pearson, n, NOMINAL)),
            ("Wald (naive)", wald_ends(n)),
        ):
            rows.append(said(name, str(n), coverage_of_rate(low, high, grid)))
    return rows


def two_rates(quick: bool) -> Rows:
    """Coverage of intervals of a difference and a ratio, over all likely pairs of counts."""
    rows: Rows = []
    sizes = [(n, n) for n in SIZES] + [(20, 200), (50, 1000)]
    for n1, n2 in sizes:
        n_grid = {20: 99, 50: 99, 100: 99, 500: 49, 1000: 39, 5000: 19}[n1] // (4 if quick else 1)
        grid = (np.arange(n_grid) + 0.5) / n_grid
        agree_newcombe(n1, n2)
        found = [coverages(n1, p1, n2, p2) for p1, p2 in itertools.product(grid, grid)]
        for name in found[0]:
            there, covered = np.asarray([made[name] for made in found]).T
            often = there >= 0.5  # coverage is that of samples which have an interval
            none = "" if there.min() > 1 - 1e-9 else f" (no interval in {1 - there.mean():.1%})"
            rows.append(
                said(name, f"{n1}, {n2}{none}", covered[often] / np.where(there > 1 - 1e-9, 1, there)[often])
            )
    return rows


def katz_covers(k1: Any, n1: int, k2: Any, n2: int, ratio: float) -> npt.NDArray[np.bool_]:
    """Whether Katz's interval holds the ratio, for arrays of counts."""
    a, b = np.maximum(k1, 0.5), np.maximum(k2, 0.5)  # zeros are left out by whoever asks
    away = np.abs(np.log(a / n1) - np.log(b / n2) - np.log(ratio))
    covers: npt.NDArray[np.bool_] = away <= Z * np.sqrt(np.maximum(0, 1 / a - 1 / n1 + 1 / b - 1 / n2))
    return covers


def agree_newcombe(n1: int, n2: int) -> None:
    """Arrays here and functions of the package have to give the same ends."""
    generator = np.random.default_rng(0)
    for _ in range(20):
        k1, k2 = int(generator.integers(0, n1 + 1)), int(generator.integers(1, n2 + 1))
        (l1, u1), (l2, u2) = (ends(wilson, n, NOMINAL) for n in (n1, n2))
        a, b = k1 / n1, k2 / n2
        mine = (a - b - np.hypot(a - l1[k1], u2[k2] - b), a - b + np.hypot(u1[k1] - a, b - l2[k2]))
        if not np.allclose(mine, newcombe(k1, n1, k2, n2), rtol=0, atol=1e-9):
            raise SystemExit(f"Newcombe's interval of {k1}/{n1} and {k2}/{n2} is not the package's: {mine}")
        low, high = koopman(k1, n1, k2, n2)
        for ratio in (low, high):
            if ratio and abs(abs(float(score_of_ratio(k1, n1, k2, n2, ratio))) - Z) > 1e-6:
                raise SystemExit(
                    f"Koopman's end {ratio} of {k1}/{n1} and {k2}/{n2} does not invert the statistic"
                )


def paired_ends(cells: npt.NDArray[np.int64]) -> tuple[Floats, Floats, Floats]:
    """Newcombe's paired interval for many tables at once, (table, 4): both, first, second, neither."""
    a, b, c, d = (cells[:, i].astype(np.float64) for i in range(4))
    n = int(cells[0].sum())
    low, high = ends(wilson, n, NOMINAL)
    one, two = cells[:, 0] + cells[:, 1], cells[:, 0] + cells[:, 2]
    margins = one * (n - one) * two.astype(np.float64) * (n - two)
    product = a * d - b * c
    nearer = np.where(product > 0, np.maximum(product - n / 2, 0), product)
    phi = np.where(margins > 0, nearer / np.sqrt(np.where(margins > 0, margins, 1)), 0.0)
    p, q = one / n, two / n
    down = (p - low[one]) ** 2 - 2 * phi * (p - low[one]) * (high[two] - q) + (high[two] - q) ** 2
    up = (high[one] - p) ** 2 - 2 * phi * (high[one] - p) * (q - low[two]) + (q - low[two]) ** 2
    gap = (b - c) / n
    return gap, gap - np.sqrt(np.maximum(0, down)), gap + np.sqrt(np.maximum(0, up))


def paired(quick: bool, seed: int) -> Rows:
    """Coverage of the paired difference: every table up to n = 100, simulated beyond."""
    rows: Rows = []
    rates = np.linspace(0.05, 0.95, 5 if quick else 10)
    generator = np.random.default_rng(seed)
    for n in SIZES:
        if n <= 100:
            tables = np.asarray(
                [
                    (a, b, c, n - a - b - c)
                    for a in range(n + 1)
                    for b in range(n - a + 1)
                    for c in range(n - a - b + 1)
                ]
            )
            _, low, high = paired_ends(tables)
            for i in generator.integers(0, len(tables), 50):
                cells = dict(
                    zip(("both", "first_only", "second_only", "neither"), tables[i].tolist(), strict=True)
                )
                if not np.allclose(
                    (low[i], high[i]), newcombe_paired(PairedCounts(**cells)), rtol=0, atol=1e-9
                ):
                    raise SystemExit(f"the paired interval of {cells} is not the package's")
        coverage = []
        draws = 2000 if quick else 10_000
        for p, q, tie in itertools.product(rates, rates, (0.0, 0.4, 0.8)):
            # Both yes: between independence and as tied as the rates allow.
            both = p * q + tie * (min(p, q) - p * q)
            chance = np.asarray([both, p - both, q - both, 1 - p - q + both])
            if n <= 100:
                mass = stats.multinomial.pmf(tables, n, chance / chance.sum())
                coverage.append(float(mass[(low <= p - q + 1e-12) & (p - q - 1e-12 <= high)].sum()))
            else:
                some = generator.multinomial(
                    n, np.clip(chance, 0, 1) / np.clip(chance, 0, 1).sum(), size=draws
                )
                _, low, high = paired_ends(some)
                coverage.append(float(np.mean((low <= p - q + 1e-12) & (p - q - 1e-12 <= high))))
        how = f"{n}" if n <= 100 else f"{n} ({draws} simulated)"
        rows.append(said("Newcombe, paired", how, np.asarray(coverage)))
    return rows


@functools.cache
def pair_p(k1: int, n1: int, k2: int, n2: int, tolerance: float) -> float:
    """p of a pair, by the test that an audit with a tolerance uses."""
    if is_small(n1, n2):
        return exact_exceeds_p(k1, n1, k2, n2, tolerance)
    return exceeds_p(k1, n1, k2, n2, tolerance)


def gate(k: npt.NDArray[np.int64], n: npt.NDArray[np.int64], tolerance: float) -> str:
    """The verdict of an audit with one declared metric over all pairs of groups."""
    pairs = list(itertools.combinations(range(len(k)), 2))
    p = [pair_p(int(k[i]), int(n[i]), int(k[j]), int(n[j]), tolerance) for i, j in pairs]
    if holm(p).min() < ALPHA:
        return "exceeds tolerance"
    z = float(stats.norm.ppf(1 - ALPHA))
    rate = k / n
    scale = 1 + z * z / n
    middle, half = (
        (rate + z * z / (2 * n)) / scale,
        z * np.sqrt(rate * (1 - rate) / n + (z / (2 * n)) ** 2) / scale,
    )
    down, up = rate - (middle - half), (middle + half) - rate
    high = rate[:, None] - rate[None, :] + np.hypot(up[:, None], down[None, :])
    np.fill_diagonal(high, 0)
    return "within tolerance" if high.max() <= tolerance else "inconclusive"


def audited(k: npt.NDArray[np.int64], n: npt.NDArray[np.int64], tolerance: float) -> str:
    """The same by the package's own `audit` of the rows."""
    groups = np.repeat(list("abcdefgh")[: len(n)], n)
    chosen = np.concatenate([np.arange(rows) < hits for hits, rows in zip(k, n, strict=True)]).astype(int)
    evidence = from_columns({"group": groups, "chosen": chosen}, prediction="chosen", groups=["group"])
    rules = {"name": "calibration", "set_by": "the benchmark", "tolerance": {"selection_rate": tolerance}}
    return str(cm.audit(evidence, parse_policy({**rules, "alpha": ALPHA}, where="calibration")).verdict)


def simulated_gates(
    rates: list[float], rows: list[int], tolerance: float, runs: int, generator: np.random.Generator
) -> tuple[float, float]:
    """Shares of simulations that end in exceeds and in within; a few go through `audit` as well."""
    n = np.asarray(rows)
    verdicts = []
    for run in range(runs):
        k = generator.binomial(n, rates)
        verdicts.append(gate(k, n, tolerance))
        if run < 3 and audited(k, n, tolerance) != verdicts[-1]:
            raise SystemExit(f"{k} of {n}: {verdicts[-1]} here, {audited(k, n, tolerance)} by audit")
    return verdicts.count("exceeds tolerance") / runs, verdicts.count("within tolerance") / runs


def gates(quick: bool, seed: int) -> Rows:
    """Errors of verdicts with eight groups, 28 pairs."""
    generator = np.random.default_rng(seed)
    runs = 300 if quick else 2000
    uneven = [20, 30, 50, 100, 200, 500, 1000, 2000]
    edge = [0.3] * 4 + [0.4] * 4
    one = [0.3] * 7 + [0.4001]
    rows: Rows = []
    for words, rates, sizes, tolerance, which in (
        ("all rates .3, tolerance 0", [0.3] * 8, [50] * 8, 0.0, "exceeds"),
        ("all rates .3, tolerance 0", [0.3] * 8, [250] * 8, 0.0, "exceeds"),
        ("all rates .05, tolerance 0", [0.05] * 8, [250] * 8, 0.0, "exceeds"),
        ("all rates .3, tolerance 0", [0.3] * 8, uneven, 0.0, "exceeds"),
        ("four rates .3, four .4, tolerance .1", edge, [50] * 8, 0.1, "exceeds"),
        ("four rates .3, four .4, tolerance .1", edge, [1000] * 8, 0.1, "exceeds"),
        ("four rates .3, four .4, tolerance .1", edge, uneven, 0.1, "exceeds"),
        ("seven rates .3, one .4001, tolerance .1", one, [250] * 8, 0.1, "within"),
        ("seven rates .3, one .4001, tolerance .1", one, [2000] * 8, 0.1, "within"),
        (
            "rates .3, six .35, .4001, tolerance .1",
            [0.3, 0.35, 0.35, 0.35, 0.35, 0.35, 0.35, 0.4001],
            [2000] * 8,
            0.1,
            "within",
        ),
        ("two rates .3 and .4001, tolerance .1", [0.3, 0.4001], [2000] * 2, 0.1, "within"),
    ):
        times = (
            runs // 4 if sizes is uneven else runs
        )  # there hardly any table comes twice: each p is new work
        exceeds, within = simulated_gates(rates, sizes, tolerance, times, generator)
        false = exceeds if which == "exceeds" else within
        error = 100 * 1.96 * np.sqrt(max(false, 1 / times) * (1 - false) / times)
        n = "20 to 2000" if sizes is uneven else str(sizes[0])
        rows.append([words, n, which, f"{100 * false:.1f} %", f"{error:.1f}", f"{times}"])
    return rows


def power(quick: bool, seed: int) -> Rows:
    """How often a gap is reported: one of eight groups differs from the others, by our rules and by naive ones."""
    generator = np.random.default_rng(seed)
    runs = 150 if quick else 600
    rows: Rows = []
    for n, gap in itertools.product((50, 200), (0.0, 0.05, 0.1, 0.15, 0.2, 0.3)):
        rates, size = np.asarray([0.4] * 7 + [0.4 - gap]), np.full(8, n)
        found = np.zeros(7)
        for _ in range(runs):
            k = generator.binomial(size, rates)
            p = k / n
            found[0] += gate(k, size, 0.0) == "exceeds tolerance"
            found[1] += gate(k, size, 0.05) == "exceeds tolerance"
            found[2] += homogeneity(k.tolist(), size.tolist()).p < ALPHA
            found[3] += largest_gap(k.tolist(), size.tolist()).low > 0
            se = np.sqrt(p * (1 - p) / n)
            spread = np.maximum(np.hypot(se[:, None], se[None, :]), 1e-12)
            found[4] += (np.abs(p[:, None] - p[None, :]) / spread).max() > Z
            found[5] += p.min() < 0.8 * p.max()
            draws = generator.binomial(n, p, size=(300, 8)) / n
            found[6] += np.quantile(np.ptp(draws, axis=1), ALPHA / 2) > 0
        rows.append([str(n), f"{gap:.2f}", *(f"{100 * share:.0f} %" for share in found / runs)])
    return rows


def largest_gaps(quick: bool, seed: int) -> Rows:
    """Coverage of the simultaneous bounds of the largest gap, and how often their lower end is above 0."""
    generator = np.random.default_rng(seed)
    runs = 1000 if quick else 10_000
    rows: Rows = []
    for words, rates, sizes in (
        ("8 equal groups of 50", [0.3] * 8, [50] * 8),
        ("8 equal groups of 20 to 2000", [0.3] * 8, [20, 30, 50, 100, 200, 500, 1000, 2000]),
        ("4 groups, largest gap .3", [0.2, 0.3, 0.35, 0.5], [40, 80, 200, 60]),
        ("8 groups of 50, largest gap .3", [0.2, *[0.35] * 6, 0.5], [50] * 8),
    ):
        truth = max(rates) - min(rates)
        made = [largest_gap(generator.binomial(sizes, rates).tolist(), sizes) for _ in range(runs)]
        covered = np.mean([gap.low <= truth <= gap.high for gap in made])
        rows.append(
            [words, f"{covered:.4f}", f"{100 * np.mean([gap.low > 0 for gap in made]):.1f} %", f"{runs}"]
        )
    return rows


def areas(quick: bool, seed: int) -> Rows:
    """Coverage of the interval of an area under the ROC curve: normal scores, simulated."""
    generator = np.random.default_rng(seed)
    runs = 500 if quick else 4000
    rows: Rows = []
    for n_positive, n_negative, truth in itertools.product((10, 30, 100), (30, 300), (0.6, 0.8, 0.95)):
        shift = np.sqrt(2) * stats.norm.ppf(truth)
        covered, certain = 0, 0
        label = np.arange(n_positive + n_negative) < n_positive
        for _ in range(runs):
            made = roc_auc(generator.normal(size=len(label)) + shift * label, label)
            if isinstance(made, Undefined):
                raise SystemExit(made.reason)
            low, high = made.interval(NOMINAL)
            covered += low <= truth <= high
            certain += made.area == 1
        share = covered / runs
        error = 100 * 1.96 * np.sqrt(share * (1 - share) / runs)
        line = [
            f"{truth}",
            f"{n_positive}",
            f"{n_negative}",
            f"{share:.4f}",
            f"{error:.1f}",
            f"{certain / runs:.1%}",
        ]
        rows.append(line)
    return rows


def clusters(quick: bool, seed: int) -> Rows:
    """Coverage of the interval of a rate of people with several rows each: beta-binomial, simulated."""
    generator = np.random.default_rng(seed)
    runs = 500 if quick else 4000
    rows: Rows = []
    for n_clusters, rate, tie in itertools.product((5, 10, 30, 100), (0.05, 0.3), (0.0, 0.1, 0.5)):
        sizes = 1 + np.arange(n_clusters) % 19  # 1 to 19 rows
        cluster = np.repeat(np.arange(n_clusters), sizes)
        held, naive = 0, 0
        for _ in range(runs):
            own = np.full(n_clusters, rate)
            if tie:
                own = generator.beta(rate * (1 / tie - 1), (1 - rate) * (1 / tie - 1), n_clusters)
            success = generator.random(len(cluster)) < own[cluster]
            low, high = clustered_rate(success, cluster=cluster).interval(NOMINAL)
            held += low <= rate <= high
            low, high = wilson(int(success.sum()), len(success))
            naive += low <= rate <= high
        rows.append([str(n_clusters), f"{rate}", f"{tie}", f"{held / runs:.3f}", f"{naive / runs:.3f}"])
    return rows


def parts(quick: bool, seed: int) -> Iterator[tuple[str, str, tuple[str, ...], Callable[[], Rows]]]:
    """Name, words, header and rows of each table."""
    yield (
        "rate",
        "One rate: every count, on a fine grid of rates from .001 to .999. Nominal 95 %.",
        HEADER,
        lambda: one_rate(quick),
    )
    yield (
        "rates",
        "Two independent rates, difference and ratio: every pair of counts but those whose chance is below 1e-12, on "
        "a square grid of rates. Where a ratio has no interval (a zero), coverage is that of the samples that have one.",
        HEADER,
        lambda: two_rates(quick),
    )
    yield (
        "paired",
        "A difference on the same rows, from independent to strongly tied: every table up to 100 rows.",
        HEADER,
        lambda: paired(quick, seed),
    )
    yield (
        "gates",
        "False verdicts with eight groups, 28 pairs, alpha 5 %. To exceed is tested with Holm over all pairs; to be "
        "within needs the bounds of all pairs.",
        ("truth", "rows of each group", "false verdict", "share", "± points", "simulations"),
        lambda: gates(quick, seed),
    )
    yield (
        "power",
        "How often a gap is reported, seven groups at .4 and one lower by the gap. At a gap of 0 every report is false; "
        "at .05 those of the tolerance are.",
        (
            "rows of each group", "gap", "exceeds 0", "exceeds .05", "homogeneity", "largest gap's bounds",
            "any pair by Wald, unadjusted", "four fifths alone", "bootstrap of max - min",
        ),
        lambda: power(quick, seed),
    )  # fmt: skip
    yield (
        "largest",
        "Simultaneous bounds of the largest gap (95 %).",
        ("truth", "coverage", "lower end above 0", "simulations"),
        lambda: largest_gaps(quick, seed),
    )
    yield (
        "areas",
        "The area under the ROC curve (95 %), normal scores.",
        ("area", "positives", "negatives", "coverage", "± points", "samples with an area of exactly 1"),
        lambda: areas(quick, seed),
    )
    yield (
        "clusters",
        "A rate of people with 1 to 19 rows each (95 %): ours from the effective number of rows, and Wilson's as if rows "
        "were independent.",
        ("people", "rate", "correlation within", "ours", "Wilson of rows (naive)"),
        lambda: clusters(quick, seed),
    )


def main(arguments: list[str] | None = None) -> None:
    """Compute the tables asked for and print each as soon as it is there."""
    names = [name for name, *_ in parts(True, 0)]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="coarser grids, fewer simulations")
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="only these tables")
    parser.add_argument("--seed", type=int, default=0, help="of everything simulated")
    parser.add_argument("--json", type=Path, help="also write the tables to this file")
    asked = parser.parse_args(arguments)
    kept = {}
    for name, words, header, compute in parts(asked.quick, asked.seed):
        if name in asked.only:
            rows = compute()
            kept[name] = {"words": words, "header": list(header), "rows": rows}
            print(f"{words}\n\n{table(header, rows)}\n", flush=True)
            if asked.json:
                asked.json.write_text(
                    json.dumps({"quick": asked.quick, "seed": asked.seed, "tables": kept}, indent=1)
                )


if __name__ == "__main__":
    main()
