"""What an audit's intervals cost, beside fairlearn's bootstrap and resampling with scikit-learn.

OMP_NUM_THREADS=1 python benchmarks/audit.py
OMP_NUM_THREADS=1 python benchmarks/audit.py --only areas --rounds 20 --json audit.json

Every way is warm and interleaved, and has to agree with the others before it is timed. Peers that take minutes are run
for a few replicates and multiplied; the tables say so. benchmarks/README.md says what each row means.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from measuring import rounds, tables

from clinometer.bias.areas import Area, roc_auc
from clinometer.bias.resampling import bootstrap_cells, count_cells

REPLICATES = 1_000
SEXES, REGIONS = 2, 4  # two sensitive columns: eight groups
FEW = {10_000: 4, 100_000: 2}  # replicates that fairlearn is run for, by rows; else 1
ONCE = 1_000_000  # from so many rows on fairlearn, which takes minutes, is run in one round
AGREEMENT = 200  # resamplings whose spread our standard errors are divided by
FEW_AREAS = 5  # resamplings that scikit-learn is run for
RATES = ("selection rate", "true positive rate", "false positive rate", "accuracy")
PACKAGES = ("numpy", "scipy", "fairlearn", "scikit-learn")
Floats = npt.NDArray[np.float64]
Run = Callable[[], Any]
Section = Callable[[Sequence[int], int], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Rows:
    """Invented rows: two columns of groups, what came out, a score, the decision made with it."""

    sex: npt.NDArray[np.int64]
    region: npt.NDArray[np.int64]
    label: npt.NDArray[np.bool_]
    score: Floats
    prediction: npt.NDArray[np.bool_]

    @property
    def group(self) -> npt.NDArray[np.int64]:
        """The joint group, 0 to 7."""
        return self.sex * REGIONS + self.region


def invented(n: int) -> Rows:
    """Rows whose rates differ by group; scores are rounded, so that some are equal."""
    generator = np.random.default_rng(0)
    sex = generator.integers(0, SEXES, n)
    region = generator.choice(REGIONS, n, p=[0.5, 0.3, 0.15, 0.05])
    label = generator.random(n) < 0.25 + 0.05 * region
    score = np.round(generator.normal(size=n) + 1.3 * label + 0.3 * sex, 4)
    return Rows(sex, region, label, score, score > 0.9)


def rates_of(cells: npt.NDArray[np.int64]) -> Floats:
    """The four rates of each group, (draw, rate * group), of counts (draw, group, label, prediction)."""
    tn, fp, fn, tp = (cells[:, :, y, p].astype(np.float64) for y in (0, 1) for p in (0, 1))
    n = tn + fp + fn + tp
    with np.errstate(invalid="ignore"):  # an empty denominator in a draw is undefined, and counted as such
        found = ((tp + fp) / n, tp / (tp + fn), fp / (fp + tn), (tp + tn) / n)
    return np.concatenate(found, axis=1)


def resampled_rates(rows: Rows, replicates: int = REPLICATES) -> Any:
    """All rates of all groups with percentile intervals: one count of the rows, then multinomial draws of the counts."""
    cells = count_cells([rows.group, rows.label, rows.prediction], [SEXES * REGIONS, 2, 2])
    found = bootstrap_cells(rates_of, cells, replicates)
    return found, [one.percentile() for one in found]


def fairlearn_frame(rows: Rows, replicates: int | None) -> Any:
    """The same of fairlearn's MetricFrame; None: the rates alone."""
    from fairlearn.metrics import MetricFrame, false_positive_rate, selection_rate, true_positive_rate
    from sklearn.metrics import accuracy_score

    functions = (selection_rate, true_positive_rate, false_positive_rate, accuracy_score)
    return MetricFrame(
        metrics=dict(zip(RATES, functions, strict=True)),
        y_true=rows.label.astype(int),
        y_pred=rows.prediction.astype(int),
        sensitive_features={"sex": rows.sex, "region": rows.region},
        n_boot=replicates,
        ci_quantiles=None if replicates is None else [0.025, 0.975],
        random_state=0,
    )


def check_rates(rows: Rows) -> None:
    """Both must find the same rates, and our intervals those of the textbook's standard error."""
    ours, ends = resampled_rates(rows)
    theirs = fairlearn_frame(rows, None).by_group
    found = np.array([one.estimate for one in ours]).reshape(len(RATES), -1)
    wrong = float(np.abs(found - theirs[list(RATES)].to_numpy().T).max())
    if wrong > 1e-12:
        raise SystemExit(f"rates differ from fairlearn's by {wrong}: nothing is compared.")
    n = np.bincount(rows.group, minlength=SEXES * REGIONS)
    se = np.sqrt(found[0] * (1 - found[0]) / n)
    width = np.array([end.high - end.low for end in ends]).reshape(len(RATES), -1)[0] / (2 * 1.96 * se)
    if not 0.9 < width.mean() < 1.1:
        raise SystemExit(
            f"intervals of selection rates are {width.mean():.2f} of their width: nothing is compared."
        )


def bootstrap(sizes: Sequence[int], n_rounds: int) -> dict[str, Any]:
    """1,000 bootstraps of four rates in eight groups, and fairlearn's for a few replicates."""
    kept = {}
    for n in sizes:
        rows = invented(n)
        check_rates(rows)
        few = FEW.get(n, 1)
        runs: dict[str, Run] = {"ours": partial(resampled_rates, rows)}
        peers: dict[str, Run] = {
            "fairlearn, few": partial(fairlearn_frame, rows, few),
            "fairlearn, none": partial(fairlearn_frame, rows, None),
        }
        if n < ONCE:
            runs |= peers
        measured = rounds.interleaved(runs, n_rounds, cuda=False, said=f"bootstrap, {n} rows")
        if n >= ONCE:
            measured |= {name: _once(run) for name, run in peers.items()}
        kept[n] = measured
    print(bootstrap_table(kept))
    return {n: _seconds(measured) for n, measured in kept.items()}


def bootstrap_table(kept: Mapping[int, Mapping[str, rounds.Times]]) -> str:
    """Our seconds, fairlearn's for as many replicates, and their ratio in time and in processor time."""
    lines = []
    for n, measured in kept.items():
        ours, few = measured["ours"], FEW.get(n, 1)
        some, none = measured["fairlearn, few"], measured["fairlearn, none"]
        whole = {
            kind: [
                REPLICATES * (a - b) / few
                for a, b in zip(getattr(some, kind), getattr(none, kind), strict=False)
            ]
            for kind in ("wall", "processor")
        }
        lines.append(
            [
                f"{n:,}",
                tables.number(rounds.middle(ours.wall)),
                f"{rounds.middle(ours.processor).median:.3f}",
                f"{rounds.middle(whole['processor']).median:,.0f} ({few} run{', once' if n >= ONCE else ''})",
                _times(rounds.ratios(whole["wall"], ours.wall)),
                _times(rounds.ratios(whole["processor"], ours.processor)),
                {100_000: "0.05 s", 1_000_000: "0.25 s"}.get(n, ""),
            ]
        )
    header = [
        "rows",
        "ours, s [95 %]",
        "processor, s",
        "fairlearn, processor, s, extrapolated",
        "ratio of time [95 %]",
        "of processor time [95 %]",
        "target",
    ]
    return (
        f"{REPLICATES:,} bootstraps of {len(RATES)} rates in {SEXES * REGIONS} groups, percentile intervals.\n"
        f"fairlearn's seconds are {REPLICATES:,} times what a replicate adds to a MetricFrame without any.\n\n"
        + tables.table(header, lines)
    )


def delong_areas(rows: Rows) -> list[Area]:
    """The area of each group with its interval."""
    found = []
    for group in range(SEXES * REGIONS):
        area = roc_auc(rows.score, rows.label, rows=np.flatnonzero(rows.group == group))
        if not isinstance(area, Area):
            raise SystemExit(f"group {group}: {area.reason}: nothing is compared.")
        area.interval()
        found.append(area)
    return found


def sklearn_areas(rows: Rows, replicates: int) -> Floats:
    """Areas of resampled rows of each group, (group, replicate), by roc_auc_score."""
    from sklearn.metrics import roc_auc_score

    generator = np.random.default_rng(1)
    made = np.empty((SEXES * REGIONS, replicates))
    for group in range(SEXES * REGIONS):
        members = np.flatnonzero(rows.group == group)
        label, score = rows.label[members], rows.score[members]
        for i in range(replicates):
            drawn = generator.integers(0, len(members), len(members))
            made[group, i] = roc_auc_score(label[drawn], score[drawn])
    return made


def check_areas(rows: Rows) -> float:
    """The areas must be scikit-learn's; gives the mean of our standard errors over those of resamplings."""
    from sklearn.metrics import roc_auc_score

    found = delong_areas(rows)
    for group, area in enumerate(found):
        mine = rows.group == group
        if abs(area.area - roc_auc_score(rows.label[mine], rows.score[mine])) > 1e-9:
            raise SystemExit(f"group {group}: the area is not scikit-learn's: nothing is compared.")
    drawn = sklearn_areas(rows, AGREEMENT).std(axis=1, ddof=1)
    return float(np.mean([area.value.se() for area in found] / drawn))


def areas(sizes: Sequence[int], n_rounds: int) -> dict[str, Any]:
    """Intervals of eight groups' areas by DeLong, and by 1,000 resamplings with scikit-learn."""
    kept, agreements = {}, {}
    for n in sizes:
        rows = invented(n)
        agreement = check_areas(rows)
        measured = rounds.interleaved(
            {
                "ours": partial(delong_areas, rows),
                "scikit-learn, few": partial(sklearn_areas, rows, FEW_AREAS),
            },
            n_rounds,
            cuda=False,
            said=f"areas, {n} rows",
        )
        kept[n] = measured
        agreements[n] = agreement
    print(areas_table(kept, agreements))
    return {n: _seconds(measured) for n, measured in kept.items()}


def areas_table(kept: Mapping[int, Mapping[str, rounds.Times]], agreements: Mapping[int, float]) -> str:
    """Our milliseconds, scikit-learn's seconds for as many resamplings, and their ratio, twice as above."""
    lines = []
    for n, measured in kept.items():
        ours, few = measured["ours"], measured["scikit-learn, few"]
        whole = {
            kind: [REPLICATES / FEW_AREAS * one for one in getattr(few, kind)]
            for kind in ("wall", "processor")
        }
        lines.append(
            [
                f"{n:,}",
                f"{1000 * rounds.middle(ours.wall).median:.2f}",
                f"{1000 * rounds.middle(ours.processor).median:.2f}",
                f"{rounds.middle(whole['processor']).median:,.1f} ({FEW_AREAS} run)",
                _times(rounds.ratios(whole["wall"], ours.wall)),
                _times(rounds.ratios(whole["processor"], ours.processor)),
                "1,000" if n in (10_000, 100_000) else "",
                f"{agreements[n]:.3f}",
            ]
        )
    header = [
        "rows",
        "ours, ms",
        "processor, ms",
        "scikit-learn, processor, s, extrapolated",
        "ratio of time [95 %]",
        "of processor time [95 %]",
        "target",
        "our errors / theirs",
    ]
    return (
        f"Intervals of the area under the ROC curve in {SEXES * REGIONS} groups: DeLong's variance, once, beside "
        f"{REPLICATES:,} resamplings of rows.\n\n" + tables.table(header, lines)
    )


def _once(run: Run) -> rounds.Times:
    """Seconds of one run; its imports and the rows' first touch came before, in the check."""
    used, started = time.process_time(), time.perf_counter()
    run()
    return rounds.Times([time.perf_counter() - started], [time.process_time() - used])


def _times(ratio: rounds.Middle) -> str:
    if ratio.low is None or ratio.high is None:
        return f"{ratio.median:,.0f} (too few rounds)"
    return f"{ratio.median:,.0f} [{ratio.low:,.0f}, {ratio.high:,.0f}]"


def _seconds(measured: Mapping[str, rounds.Times]) -> dict[str, Any]:
    return {name: {"wall": times.wall, "processor": times.processor} for name, times in measured.items()}


# Each section prints its table and gives the seconds that were measured.
SECTIONS: dict[str, tuple[Section, tuple[int, ...]]] = {
    "bootstrap": (bootstrap, (10_000, 100_000, 1_000_000)),
    "areas": (areas, (10_000, 100_000)),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), default=list(SECTIONS))
    parser.add_argument("--rows", nargs="+", type=int, help="numbers of rows; default: each section's own")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", metavar="FILE")
    given = parser.parse_args()
    if given.rounds < 1 or min(given.rows or [1000]) < 1000:
        parser.error("--rounds must be 1 or more, and --rows 1000 or more, so that no group is empty")
    about = tables.machine("cpu")
    about["versions"] = _versions()
    print(
        f"{about['processors']} processors, {about['threads']} threads, load {about['load']}; {about['versions']}"
    )
    kept: dict[str, Any] = {"machine": about}
    for name in given.only:
        section, usual = SECTIONS[name]
        print()
        kept[name] = section(given.rows or usual, given.rounds)
        if given.json:
            Path(given.json).write_text(json.dumps(kept, indent=1), encoding="utf-8")


def _versions() -> dict[str, str]:
    import importlib.metadata

    return {package: importlib.metadata.version(package) for package in PACKAGES}


if __name__ == "__main__":
    main()
