"""Numbers of `bias/` on made inputs, as one table that is written and compared: no number moves unannounced.

    python tests/bias/pinned_numbers.py > tests/bias/pinned_numbers.json

A case is a function without arguments; its name says what is computed. What it returns is written flat: place in the
record -> number (9 significant digits), text or truth value. Inputs are made from whole numbers (a linear congruential
generator of our own), so that they are the same under every version of numpy; numbers drawn by a library other than
numpy's PCG64 are left out.
"""

import dataclasses
import datetime
import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from clinometer.bias import (
    areas,
    bins,
    calibration,
    classes,
    clusters,
    confusion_tests,
    control_charts,
    cost_matrices,
    costs,
    counterfactuals,
    counts,
    curves,
    differential_fairness,
    disparity,
    distances,
    exact,
    gaps,
    generated,
    id_draws,
    inequality,
    influence,
    intervals,
    jigsaw,
    ledger,
    lexicons,
    losses,
    mantel_haenszel,
    multilabel,
    multiplicity,
    pair_statistics,
    paired,
    paired_scores,
    planning,
    rankings,
    ratios,
    regression,
    reliability,
    resampling,
    reweighing,
    slices,
    span_labels,
    splitting,
    spread,
    stereotypes,
    strata,
    suite_results,
    suite_rows,
    suites,
    swapped_rows,
    swaps,
    tests_of_rates,
    threshold_rules,
    thresholds,
    word_association,
    words,
)
from clinometer.bias.audit import audit
from clinometer.bias.comparison import compare
from clinometer.bias.four_fifths import four_fifths
from clinometer.bias.group_reliability import group_reliability
from clinometer.bias.group_thresholds import group_thresholds
from clinometer.bias.local_law_144 import local_law_144
from clinometer.bias.monitor import monitor
from clinometer.bias.parts_of_gaps import parts_of_gap
from clinometer.bias.policy import parse_policy
from clinometer.bias.word_ledger import word_ledger
from clinometer.evidence import Evidence, from_columns
from clinometer.records import Attribution, Rows

LONGEST = 16  # of a list that is written out; of a longer one its length, first, last, sum, and sum by place
NOTHING = 1e-11  # less than this is rounding

# Inputs


def uniform(n: int, seed: int) -> Any:
    """(n,) numbers in [0, 1), from whole numbers alone (Knuth's MMIX constants)."""
    state, made = seed * 2654435761 + 12345, []
    for _ in range(n + 3):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        made.append((state >> 32) / 2**32)
    return np.array(made[3:])


def bell(n: int, seed: int) -> Any:
    """(n,) numbers around 0 with variance 1: sums of twelve."""
    return uniform(12 * n, seed).reshape(n, 12).sum(axis=1) - 6


N = 240
GROUP = [("a", "b", "c")[i % 5 % 3] for i in range(N)]
MEMBER = np.array([name == "a" for name in GROUP])
LABEL = uniform(N, 1) < np.where(MEMBER, 0.5, 0.4)
SCORE = np.clip(np.round(0.2 + 0.35 * LABEL + 0.15 * bell(N, 2) - 0.05 * MEMBER, 3), 0.001, 0.999)
SAID = SCORE >= 0.4
COUNT = np.array([1 + i % 3 for i in range(N)])
WEIGHT = 0.5 + np.round(uniform(N, 3), 2)
CLUSTER = np.arange(N) // 4
STRATUM = [("young", "old", "older", None)[i % 7 % 4] for i in range(N)]
ACTUAL = np.round(10 + 3 * bell(N, 4), 2)
PREDICTED = np.round(ACTUAL + 0.5 * bell(N, 5) + 0.3 * MEMBER, 2)
ROWS = np.flatnonzero(MEMBER)
OTHERS = np.flatnonzero(~MEMBER)


def table(**roles: Any) -> Evidence:
    columns = {
        "id": [f"r{i}" for i in range(N)],
        "label": LABEL,
        "said": SAID,
        "score": SCORE,
        "group": GROUP,
        "sex": [("f", "m")[i % 2] for i in range(N)],
        "stratum": STRATUM,
        "n": COUNT,
        "w": WEIGHT,
        "c": CLUSTER,
    }
    given = {"label": "label", "prediction": "said", "score": "score", "groups": ["group"], **roles}
    return from_columns(columns, id="id", **given)


def gate(**values: Any) -> Any:
    tolerance = {"selection_rate": 0.1, "true_positive_rate": 0.2, "roc_auc": 0.2}
    return parse_policy({"set_by": "the test", "tolerance": tolerance, **values}, where="pinned")


def told(made: Any) -> dict[str, Any]:
    """What an audit finds, without what it was given."""
    cells = {
        f"{c.attribute}, {c.group}, {c.metric}": [c.n, c.estimate, c.low, c.high, c.status]
        for c in made.cells
    }
    findings = {
        f"{f.attribute}, {f.group} and {f.reference}, {f.metric}": [
            *(
                f.estimate,
                f.low,
                f.high,
                f.upper_bound,
                f.p,
                f.p_adjusted,
                f.minimum_detectable_effect,
                f.n_needed,
            ),
            *(f.status, f.verdict, f.reason),
        ]
        for f in made.findings
    }
    summaries = {
        f"{s.attribute}, {s.group}, {s.metric}": [s.estimate, s.low, s.high, s.n, s.note]
        for s in made.summaries
    }
    return {
        "cells": cells,
        "findings": findings,
        "summaries": summaries,
        "verdicts": [list(one.values()) for one in made.verdicts],
        "verdict": made.verdict,
        "notes": made.notes,
    }


def confusions() -> Any:
    label = [("x", "y", "z")[int(3 * u)] for u in uniform(N, 6)]
    said = [
        one if u < 0.6 else ("x", "y", "z")[i % 3]
        for i, (one, u) in enumerate(zip(label, uniform(N, 7), strict=True))
    ]
    return classes.confusion_by_group(label, said, GROUP)


def attribution() -> Attribution:
    scores = np.stack([bell(N, 10 + j) * (j + 1) / 3 + 0.2 * j * MEMBER for j in range(3)], axis=1)
    return Attribution(
        method="integrated gradients",
        target="logit(yes)",
        unit="logit",
        baseline="zero",
        ids=tuple(f"r{i}" for i in range(N)),
        tokens=(("f0", "f1", "f2"),) * N,
        scores=scores,
        value=scores.sum(axis=1) + 0.5 + 1e-3 * bell(N, 14),
        base_value=np.full(N, 0.5),
        nodes=np.full(N, 20),
        converged=np.arange(N) % 50 != 7,
        tolerance=np.full(N, 0.01),
    )


def texts() -> Attribution:
    listed = ["she", "he", "nurse", "good", "bad", "old"]
    tokens = tuple(tuple(listed[(i * k + k) % 6] for k in range(1, 4 + i % 2)) for i in range(N))
    scores = np.zeros((N, 4))
    for i, row in enumerate(tokens):
        for k, token in enumerate(row):
            scores[i, k] = round(0.1 * listed.index(token) - 0.2 + ((i * 7 + k * 3) % 11) / 50, 3)
    return dataclasses.replace(attribution(), tokens=tokens, scores=scores, value=scores.sum(axis=1) + 0.5)


def contrast() -> Any:
    return ledger.contrast_of(tuple(f"r{i}" for i in range(N)), GROUP, "group", "a", "b")


def swapped() -> Any:
    rows = Rows(
        ids=tuple(f"t{i}" for i in range(24)),
        inputs={
            "text": np.array(
                [f"{('She', 'He', 'The man')[i % 3]} has case {i}." for i in range(24)], dtype=object
            )
        },
    )
    return swapped_rows.swapped(rows, lexicons.lexicon("gender"))


def ranked() -> Any:
    group = [("a", "b", "b", "a", "b")[(i * i + i // 5) % 5] for i in range(60)]
    query = [i // 10 for i in range(60)]
    return rankings.rankings(group, query=query, score=uniform(60, 20))


def spans() -> Any:
    tags = ("O", "B-X", "B-Y", "O")
    label = {f"d{i}": [tags[(i + j * j) % 4] for j in range(8)] for i in range(30)}
    said = {
        name: [tags[(i + j * j + (i * j % 9 == 4)) % 4] for j in range(8)] for i, name in enumerate(label)
    }
    return span_labels.count_tagged_spans(label, said)


def monitored(kind: str, **settings: Any) -> Any:
    dated = []
    for i in range(16):
        draw = uniform(200, 40 + i)
        said = draw < np.where(np.arange(200) % 2, 0.4, 0.1 if i == 14 else 0.3)
        made = from_columns({"p": said, "g": ["a", "b"] * 100}, prediction="p", groups=["g"])
        dated.append((datetime.date(2025 + i // 12, i % 12 + 1, 1), made))
    return monitor(dated, gate(tolerance={"selection_rate": 0.1}), kind=kind, **settings)


def suite() -> Any:
    values = {
        "name": "own",
        "version": "1",
        "source": "pinned",
        "set_by": "the test",
        "slots": {"job": ["nurse", "clerk", "cook"], "mild": ["good", "bad"], "who": ["she", "he", "they"]},
        "test": [
            {"name": "label", "kind": "MFT", "templates": ["{job}: {mild}"], "expect": "yes", "cluster": "job",
             "tolerance": 0.2},
            {"name": "who", "kind": "INV", "templates": ["{who}, {a:job}", "{job}: {who}"], "vary": "who", "delta": 0.1},
            {"name": "very", "kind": "DIR", "templates": ["{mild} it is"], "changed": ["very {mild} it is"],
             "direction": "up", "margin": 0.05},
        ],
    }  # fmt: skip
    made = suite_rows.expand(suites.parse_suite(values))
    n = len(made.rows.ids)
    return made, uniform(n, 70), ["yes" if u < 0.7 else "no" for u in uniform(n, 71)]


def other() -> Evidence:
    """The same rows, decided otherwise."""
    changed = np.where(np.arange(N) % 9 == 0, ~SAID, SAID)
    columns = {
        "id": [f"r{i}" for i in range(N)],
        "label": LABEL,
        "said": changed,
        "group": GROUP,
        "score": np.round(SCORE**1.2, 6),
    }
    return from_columns(columns, id="id", label="label", prediction="said", score="score", groups=["group"])


def kinds() -> Evidence:
    label = [("x", "y", "z")[int(3 * u)] for u in uniform(N, 6)]
    said = [one if u < 0.7 else "z" for one, u in zip(label, uniform(N, 7), strict=True)]
    return from_columns({"y": label, "p": said, "group": GROUP}, label="y", prediction="p", groups=["group"])


def numbers() -> Evidence:
    columns = {"y": ACTUAL, "p": PREDICTED, "group": GROUP, "c": CLUSTER}
    return from_columns(columns, label="y", prediction="p", groups=["group"], cluster="c")


def matrix() -> Any:
    return cost_matrices.cost_matrix(
        {"False": {"False": 0.0, "True": 2.0}, "True": {"False": 5.0, "True": -1.0}}, "EUR"
    )


def vectors(n: int = 6) -> Any:
    return [np.stack([bell(4, 90 + 20 * k + i) for i in range(n)]) for k in range(4)]


CELLS = ((18, 60), (9, 45), (30, 70), (2, 12))
K, OF = [k for k, _ in CELLS], [n for _, n in CELLS]
CASES: dict[str, Callable[[], Any]] = {}


def cases(**named: Callable[[], Any]) -> None:
    """Functions by their name: "__" is a comma, "_" a space."""
    CASES.update({name.replace("__", ", ").replace("_", " "): function for name, function in named.items()})


PAIR = (18, 60, 9, 45)
P = [0.001, 0.03, 0.5, 0.011, 0.049]
BENEFIT = inequality.benefits(LABEL, SAID)
cases(
    intervals_of_a_rate=lambda: {
        "wilson": [intervals.wilson(k, n) for k, n in CELLS],
        "wilson 0.9": intervals.wilson(18, 60, 0.9),
        "none and all": [intervals.wilson(0, 9), intervals.wilson(9, 9)],
        "clopper_pearson": [intervals.clopper_pearson(k, n) for k, n in CELLS],
        "effective": intervals.wilson_of_effective_n(0.3, 41.5),
        "bound of none": [intervals.upper_bound_of_none(30), intervals.upper_bound_of_none(30, 0.9)],
    },
    intervals_of_two_rates=lambda: {
        "newcombe": [intervals.newcombe(*PAIR), intervals.newcombe(*PAIR, 0.9)],
        "effective": intervals.newcombe_of_effective_n(0.3, 41.5, 0.2, 33.3),
        "katz": [intervals.katz(*PAIR), intervals.katz(*PAIR, 0.9)],
        "koopman": [ratios.koopman(*PAIR), ratios.koopman(*PAIR, 0.9), ratios.koopman(0, 9, 3, 12)],
        "miettinen_nurminen": [ratios.miettinen_nurminen(*PAIR), ratios.miettinen_nurminen(*PAIR, 0.9)],
        "falls short": [ratios.falls_short_p(*PAIR, 0.8), ratios.falls_short_p(9, 45, 18, 60, 0.8)],
    },
    tests_of_two_rates=lambda: {
        "exceeds": [intervals.exceeds_p(*PAIR, t) for t in (0.0, 0.05, 0.2)],
        "exact exceeds": [exact.exact_exceeds_p(*PAIR, t) for t in (0.0, 0.05, 0.2)],
        "fisher": tests_of_rates.fisher_exact(*PAIR),
        "mid-p": tests_of_rates.fisher_mid_p(*PAIR),
        "score": tests_of_rates.score(*PAIR),
        "equality": tests_of_rates.equality(*PAIR),
        "binomial": tests_of_rates.exact_binomial(18, 60, 0.4),
        "homogeneity": tests_of_rates.homogeneity(K[:3], OF[:3], approximate=True),
    },
    planning_of_rows=lambda: {
        "detectable": [
            intervals.minimum_detectable_effect(0.2, 60, 45),
            intervals.minimum_detectable_effect(0.7, 90, 80, alpha=0.01, power=0.9),
        ],
        "rows": [
            intervals.rows_needed(*PAIR, 0.02),
            intervals.rows_needed(*PAIR, 0.3, alpha=0.01, power=0.9),
        ],
        "means": [
            intervals.mean_rows_needed(0.4, (1.0, 2.0), (30, 40), 0.1),
            intervals.mean_rows_needed(0.4, (1.0, 2.0), (30, 40), 0.6),
        ],
        "of means": planning.detectable_difference_of_means(1.0, 30, 2.0, 40),
        "of paired means": planning.detectable_paired_difference_of_means(1.5, 40, alpha=0.01),
        "paired": [planning.detectable_paired_difference(0.2, 100), planning.paired_rows_needed(0.2, 0.1)],
        "design effect": planning.design_effect(4.0, 0.1),
    },
    means_of_two_groups=lambda: {
        "welch": intervals.welch(ACTUAL[MEMBER], ACTUAL[~MEMBER]),
        "its interval": intervals.welch(ACTUAL[MEMBER], ACTUAL[~MEMBER]).interval(),
        "its p": [intervals.welch(ACTUAL[MEMBER], ACTUAL[~MEMBER]).exceeds_p(t) for t in (0.0, 0.5)],
        "mean": [intervals.mean_interval(ACTUAL), intervals.mean_interval(ACTUAL, 0.9)],
    },
    influence__plain_counted_weighted_clustered=lambda: {
        "mean": influence.mean(ACTUAL, rows=None).means(),
        "counted": influence.mean(ACTUAL, rows=None, count=COUNT).means(),
        "weighted": influence.mean(ACTUAL, rows=None, weight=WEIGHT).means(CLUSTER),
        "difference": influence.difference(
            influence.mean(ACTUAL[ROWS], rows=ROWS),
            influence.mean(ACTUAL[OTHERS], rows=OTHERS),
            cluster=CLUSTER,
        ),
        "to everybody": influence.difference(
            influence.mean(ACTUAL[ROWS], rows=ROWS), influence.mean(ACTUAL, rows=None)
        ),
        "scales": [
            influence.mean(SCORE, rows=None).interval(0.9, cluster=CLUSTER, scale=s)
            for s in ("identity", "log", "logit")
        ],
    },
    clusters_and_weights=lambda: {
        "rate": clusters.clustered_rate(SAID, cluster=CLUSTER),
        "its interval": [clusters.clustered_rate(SAID, cluster=CLUSTER).interval(c) for c in (0.95, 0.9)],
        "weighted": clusters.clustered_rate(SAID, weight=WEIGHT).interval(),
        "mean": clusters.clustered_mean(ACTUAL, cluster=CLUSTER, count=COUNT, weight=WEIGHT),
        "difference": clusters.clustered_difference(ACTUAL, MEMBER, ~MEMBER, cluster=CLUSTER, weight=WEIGHT),
        "newcombe": clusters.newcombe_clustered(
            clusters.clustered_rate(SAID[MEMBER], cluster=CLUSTER[MEMBER]),
            clusters.clustered_rate(SAID[~MEMBER], cluster=CLUSTER[~MEMBER]),
        ),
        "effective rows": clusters.effective_rows(WEIGHT, COUNT),
        "permuted": clusters.permutation_within(ACTUAL, MEMBER, CLUSTER, replicates=199, seed=3),
    },
    gaps_of_groups=lambda: {
        "counts": (made := counts.count_groups({"a": ROWS.tolist(), "b": OTHERS.tolist()}, SAID, LABEL)),
        "rates": {
            name: gaps.rate(name, made["a"]) for name in ("selection_rate", "accuracy", "false_negative_rate")
        },
        "odds": [
            gaps.equalized_odds_difference(*made.values()),
            gaps.average_odds_difference(*made.values()),
            gaps.average_absolute_odds_difference(*made.values()),
        ],
        "impact": gaps.adverse_impact(*PAIR),
        "ratio": gaps.ratio({"a": 0.2, "b": 0.5, "c": None}),
        "overall": gaps.to_overall({"a": 0.2, "b": 0.5}, 0.3),
    },
    spread_between_groups=lambda: {
        "gap": [spread.largest_gap(K, OF), spread.largest_gap(K, OF, 0.9)],
        "sd": spread.between_group_sd(K, OF),
        "shrunken": [spread.shrunken(K, OF), spread.beta_binomial_shrunken(K, OF)],
        "ratio": spread.largest_ratio(K, OF),
        "deviation": spread.mean_absolute_deviation(K, OF),
    },
    multiplicity=lambda: {
        "holm": multiplicity.holm(P),
        "bh": multiplicity.benjamini_hochberg(P),
        "by": multiplicity.benjamini_yekutieli(P),
        "gates": multiplicity.gatekeeping({"sex": 0.01, "age": 0.3}, {"sex": P[:3], "age": P[3:]}),
    },
    mantel_haenszel=lambda: [
        mantel_haenszel.mantel_haenszel(K, OF, [12, 9, 20, 3], [50, 60, 66, 14], confidence=c, correction=x)
        for c, x in ((0.95, False), (0.9, True))
    ],
    strata_held_fixed=lambda: {
        "condition": strata.condition(strata.stratify(SAID, MEMBER, STRATUM)),
        "counted": strata.standardised_gap(
            strata.stratify(SAID, MEMBER, STRATUM, count=COUNT), "group", confidence=0.9
        ),
        "disparity": [
            disparity.demographic_disparity(SAID, MEMBER).means(),
            disparity.demographic_disparity(SAID, MEMBER, count=COUNT).means(),
        ],
        "conditional": disparity.conditional_demographic_disparity(SAID, MEMBER, STRATUM),
    },
    areas_under_curves=lambda: {
        "auc": areas.roc_auc(SCORE, LABEL).means(),
        "ends": [
            areas.roc_auc(SCORE, LABEL).interval(),
            areas.roc_auc(SCORE, LABEL, count=COUNT).interval(0.9),
            areas.roc_auc(SCORE, LABEL, weight=WEIGHT).interval(cluster=CLUSTER),
        ],
        "newcombe": areas.newcombe_area(0.8, 30, 60),
        "difference": areas.area_difference(
            areas.roc_auc(SCORE, LABEL, rows=ROWS), areas.roc_auc(SCORE, LABEL, rows=OTHERS)
        ),
        "compared": areas.compare_areas(
            areas.roc_auc(SCORE, LABEL, rows=ROWS), areas.roc_auc(SCORE, LABEL, rows=OTHERS), cluster=CLUSTER
        ),
        "precision": [
            curves.average_precision(SCORE, LABEL).means(),
            curves.average_precision(SCORE, LABEL, weight=WEIGHT).means(CLUSTER),
        ],
        "its interval": curves.precision_interval(curves.average_precision(SCORE, LABEL), 0.9),
        "abroca": curves.abroca_test(SCORE, LABEL, MEMBER, replicates=99, seed=2),
        "abroca, clustered": curves.abroca_test(SCORE, LABEL, MEMBER, cluster=CLUSTER, replicates=99),
    },
    areas_of_subgroups=lambda: {
        "areas": [
            [
                area.means()
                for area in (
                    one.subgroup_auc,
                    one.background_positive_subgroup_negative_auc,
                    one.background_negative_subgroup_positive_auc,
                )
            ]
            for one in jigsaw.bias_areas(SCORE, LABEL, {"a": MEMBER, "rest": ~MEMBER})
        ],
        "score": jigsaw.competition_score(SCORE, LABEL, {"a": MEMBER, "rest": ~MEMBER}, weight=WEIGHT),
    },
    calibration=lambda: {
        "in the large": [
            calibration.calibration_in_the_large(SCORE, LABEL).means(),
            calibration.calibration_in_the_large(SCORE, LABEL, weight=WEIGHT).means(CLUSTER),
        ],
        "slope": calibration.logistic_recalibration(SCORE, LABEL).slope.means(),
        "intercept": calibration.calibration_intercept(SCORE, LABEL, count=COUNT).means(),
        "curve": reliability.reliability_curve(SCORE, LABEL, n_bins=4),
        "curve, equal width": reliability.reliability_curve(
            SCORE, LABEL, n_bins=5, binning="equal width", confidence=0.9, weight=WEIGHT
        ),
        "error": [
            reliability.calibration_error(SCORE, LABEL),
            reliability.calibration_error(SCORE, LABEL, n_bins=5, count=COUNT),
        ],
    },
    losses_of_probabilities=lambda: {
        "brier": losses.brier_loss(SCORE, LABEL),
        "log": losses.log_loss(SCORE, LABEL),
        "clipped": losses.log_loss(SCORE, LABEL, clip=0.1),
        "quantile": losses.quantile_loss(ACTUAL, PREDICTED, 0.9),
    },
    regression_errors=lambda: {
        name: [
            function(ACTUAL, PREDICTED).means(),
            function(ACTUAL, PREDICTED, count=COUNT, weight=WEIGHT).means(CLUSTER),
        ]
        for name, function in {
            "residual": regression.mean_residual,
            "absolute": regression.mean_absolute_error,
            "squared": regression.mean_squared_error,
            "root": regression.root_mean_squared_error,
            "explained": regression.explained_variance,
            "quantile": lambda y, f, **more: regression.quantile_loss(y, f, 0.8, **more),
            "coverage": lambda y, f, **more: regression.quantile_coverage(y, f, 0.8, **more),
        }.items()
    },
    regression_error_ratio=lambda: regression.error_ratio(
        regression.mean_squared_error(ACTUAL, PREDICTED, rows=ROWS),
        regression.mean_squared_error(ACTUAL, PREDICTED, rows=OTHERS),
    ),
    inequality=lambda: {
        "entropy": [inequality.generalized_entropy(BENEFIT, a).means() for a in (2.0, 1.0, 0.5)],
        "counted": inequality.theil_index(BENEFIT, count=COUNT).means(),
        "variation": inequality.coefficient_of_variation(BENEFIT).means(CLUSTER),
        "interval": inequality.entropy_interval(
            inequality.generalized_entropy(BENEFIT), 0.9, cluster=CLUSTER
        ),
        "parts": inequality.decompose_entropy(BENEFIT, STRATUM),
    },
    differential_fairness=lambda: [
        differential_fairness.differential_fairness(
            differential_fairness.decisions(
                counts.count_groups({"a": ROWS.tolist(), "b": OTHERS.tolist()}, SAID, LABEL)
            ),
            **more,
        )
        for more in ({}, {"concentration": 1.0, "confidence": 0.9})
    ],
    costs_of_decisions=lambda: {
        "groups": costs.group_costs(LABEL.tolist(), SAID.tolist(), GROUP, matrix(), confidence=0.9),
        "clustered": costs.group_costs(
            LABEL.tolist(), SAID.tolist(), GROUP, matrix(), count=COUNT, cluster=CLUSTER
        ),
        "difference": costs.cost_difference(
            costs.costs_of(LABEL.tolist(), SAID.tolist(), matrix()), ROWS, OTHERS
        ),
        "expected": costs.expected_cost(
            costs.costs_of(LABEL.tolist(), SAID.tolist(), matrix()), weight=WEIGHT
        ).means(),
    },
    distances_of_scores=lambda: {
        "ks": distances.kolmogorov_smirnov(SCORE, MEMBER, replicates=99),
        "ks, clustered": distances.kolmogorov_smirnov(SCORE, MEMBER, cluster=CLUSTER, replicates=99, seed=4),
        "wasserstein": distances.wasserstein(SCORE, MEMBER, count=COUNT, replicates=99),
        "parity": distances.score_parity(SCORE, GROUP, replicates=49),
    },
    confusions_of_classes=lambda: {
        "gaps": classes.class_gaps(confusions()),
        "accuracy": {
            name: [classes.accuracy(one), classes.balanced_accuracy(one), classes.matthews_correlation(one)]
            for name, one in confusions().items()
        },
        "averaged": [
            classes.averaged(confusions()["a"], q, a)
            for q in ("precision", "recall", "f1")
            for a in ("macro", "micro", "weighted")
        ],
        "variation": confusion_tests.total_variation(
            confusions()["a"], confusions()["b"], replicates=9
        ).estimate,
        "chi squared": confusion_tests.chi_squared(confusions(), replicates=9).estimate,
        "clustered": confusion_tests.clustered_total_variation(
            SAID * 2 + LABEL, MEMBER, CLUSTER, replicates=199
        ),
        "by row": confusion_tests.clustered_total_variation(
            SAID * 2 + LABEL, MEMBER, np.arange(N), replicates=199, seed=1
        ),
    },
    labels_of_a_row=lambda: {
        "hamming": multilabel.hamming_loss({"x": (LABEL, SAID), "y": (MEMBER, SAID)}).means(),
        "subset": multilabel.subset_accuracy({"x": (LABEL, SAID), "y": (MEMBER, SAID)}, count=COUNT).means(),
        "gaps": [
            (one.label, one.rates, one.gap)
            for one in multilabel.label_gaps({"x": (LABEL, SAID), "y": (MEMBER, SAID)}, STRATUM, replicates=9)
        ],
    },
    paired_tests=lambda: {
        "cells": (made := paired.pair(LABEL, SAID, COUNT)),
        "newcombe": [paired.newcombe_paired(made), paired.newcombe_paired(made, 0.9)],
        "tango": [paired_scores.tango(made), paired_scores.tango(made, 0.9)],
        "surpasses": [paired_scores.paired_surpasses_p(made, m) for m in (0.0, 0.05)],
        "mcnemar": [paired.mcnemar_exact(made), paired.mcnemar_mid_p(made)],
        "odds": [paired.paired_odds(made), paired.paired_ratio(made)],
        "difference": paired.paired_difference(ACTUAL, PREDICTED, cluster=CLUSTER),
        "sign": paired.sign_test(ACTUAL - PREDICTED),
        "wilcoxon": paired.wilcoxon((ACTUAL - PREDICTED)[:20]),
    },
    flips_and_shifts_of_pairs=lambda: {
        "flips": [
            pair_statistics.flips(LABEL, SAID),
            pair_statistics.flips(LABEL, SAID, cluster=CLUSTER, confidence=0.9),
        ],
        "shift": [
            pair_statistics.shift(ACTUAL, PREDICTED),
            pair_statistics.shift(ACTUAL, PREDICTED, cluster=CLUSTER, confidence=0.9),
        ],
        "bounds": [
            pair_statistics.rate_bound(LABEL != SAID, 0.3),
            pair_statistics.mean_bound(ACTUAL - PREDICTED, 0.3, signed=True),
            pair_statistics.mean_bound(ACTUAL - PREDICTED, 0.3, cluster=CLUSTER, alpha=0.01, signed=False),
        ],
    },
    resampled_cells_and_rows=lambda: {
        "cells": [
            [one.estimate, one.percentile(), one.bca(0.9)]
            for one in resampling.bootstrap_cells(
                lambda cells: (cells[..., 0] / cells.sum(axis=-1))[..., None],
                np.array([18, 42, 7]),
                199,
                3,
                bca=True,
            )
        ],
        "rows": [
            [one.estimate, one.percentile()]
            for one in resampling.bootstrap_rows(
                lambda values: float(values.mean()), ACTUAL, cluster=CLUSTER, replicates=99
            )
        ],
        "draws": resampling.multinomial_draws(np.array([5, 9, 2]), 4, 1),
    },
    thresholds=lambda: {
        "sweep": [
            getattr(thresholds.sweep(SCORE, LABEL, GROUP, thresholds=[0.3, 0.5]), f.name)
            for f in dataclasses.fields(thresholds.Sweep)
        ],
        "median": [thresholds.median(SCORE), thresholds.median(SCORE, COUNT)],
        "top": thresholds.select_top(SCORE, 0.25),
        "rate": thresholds.scoring_rate(SCORE, COUNT),
    },
    bins_of_numbers=lambda: {
        "edges": [bins.quantile_edges(ACTUAL, 4), bins.quantile_edges(ACTUAL, [0.1, 0.5, 0.9])],
        "names": [bins.bin_names([0, 5, 7.5], below=True), bins.bin_names([0, 5, 7.5], above=True)],
        "bins": bins.bins([1.0, 5.0, 6.0], [0, 5, 7]),
    },
    numbers_of_ids=lambda: {
        "draws": id_draws.id_draws(["r1", "r2", "é"], "split", 3),
        "split": [
            (s.fit, s.choose, s.judge, s.counts, s.strata)
            for s in (
                splitting.split(table()),
                splitting.split(table(cluster="c"), shares=(0.4, 0.3, 0.3), seed=5),
                splitting.split(table(), settled=True),
            )
        ],
    },
    weights_that_balance=lambda: [
        reweighing.reweighing(LABEL, GROUP),
        reweighing.reweighing(LABEL, GROUP, weight=WEIGHT),
    ],
    rankings=lambda: {
        "gap": rankings.exposure_gap(ranked(), replicates=99),
        "ratio": rankings.exposure_ratio(ranked(), confidence=0.9, replicates=99, seed=2),
        "skew": rankings.skew_at(ranked(), 3, replicates=99),
        "ndkl": [rankings.ndkl(ranked(), replicates=99), rankings.ndkl_by_query(ranked())],
        "infeasible": rankings.infeasible_index(ranked()),
    },
    spans=lambda: {
        "f1": [
            f(spans()).means()
            for f in (span_labels.span_precision, span_labels.span_recall, span_labels.span_f1)
        ],
        "groups": span_labels.group_spans(spans(), {f"d{i}": "ab"[i % 2] for i in range(30)}, confidence=0.9),
    },
    stereotypes=lambda: {
        "crows": [
            stereotypes.crows_pairs(ACTUAL, PREDICTED),
            stereotypes.crows_pairs(ACTUAL, PREDICTED, cluster=CLUSTER, confidence=0.9),
        ],
        "stereoset": stereotypes.stereoset(
            ACTUAL[:60], PREDICTED[:60], PREDICTED[60:120], [f"t{i % 9}" for i in range(60)], replicates=99
        ),
        "bbq": [
            stereotypes.bbq_disambiguated(LABEL, ~LABEL & ~SAID),
            stereotypes.bbq_ambiguous(LABEL, ~LABEL & ~SAID, cluster=CLUSTER),
        ],
        "wino": [stereotypes.wino_bias(LABEL, SAID, paired=p) for p in (True, False)],
        "winogender": stereotypes.winogender_changed(LABEL.tolist(), SAID.tolist(), confidence=0.9),
        "weat": word_association.weat(*vectors(), replicates=99),
        "weat, drawn": word_association.weat(
            *vectors(12), confidence=0.9, replicates=99, permutations=199, seed=2
        ),
    },
    texts_that_are_generated=lambda: [
        generated.representation(
            [("she works", "he rests", "they and she")[i % 3] for i in range(40)],
            {"f": ["she"], "m": ["he"]},
            replicates=99,
            seed=s,
        )
        for s in (0, 1)
    ],
    swaps_of_texts=lambda: [
        swaps.swap("She told her uncle; the actor's mother isn't an actress.", lexicons.lexicon("gender")),
        swaps.swap("He's late.", lexicons.lexicon("neutral pronouns"), to="neutral"),
    ],
    pairs_of_swapped_texts=lambda: [
        [
            one.n,
            one.overall,
            one.directions,
            one.judged,
            one.verdict,
            one.worst,
            one.shifts,
            one.flipped,
            one.notes,
        ]
        for one in (
            counterfactuals.compare_pairs(
                swapped(), uniform(24, 30), uniform(24, 31), threshold=0.5, n_worst=2
            ),
            counterfactuals.compare_pairs(
                swapped(),
                uniform(24, 30),
                uniform(24, 31),
                threshold=0.5,
                cluster=[i // 3 for i in range(24)],
                tolerance={"flip_rate": 0.9},
                set_by="the test",
                confidence=0.9,
                minimum=5,
                replicates=100,
                n_worst=1,
            ),
        )
    ],
    ledger_of_features=lambda: [
        ledger.ledger(attribution(), contrast(), replicates=199),
        ledger.ledger(
            attribution(), contrast(), units={"f0": "x", "f1": "x"}, confidence=0.9, replicates=99, seed=3
        ),
    ],
    ledger_of_words=lambda: word_ledger(texts(), contrast(), replicates=99),
    parts_of_a_gap=lambda: parts_of_gap(texts(), contrast(), identity=["she", "he"], replicates=99),
    words_over_a_corpus=lambda: {
        "effects": words.word_effects(texts(), replicates=99, contexts=0),
        "differences": words.word_differences(texts(), GROUP, "a", permutations=199, seed=2),
    },
    slices=lambda: slices.slices(
        table(groups=["group", "sex", "stratum"]), permutations=99, most=6, min_count=10
    ),
    slices__clustered_weighted_confirmed=lambda: {
        "weighted": slices.slices_of(
            {"g": GROUP, "s": STRATUM}, ACTUAL, weight=WEIGHT, permutations=99, depth=2, most=5
        ),
        "counted": slices.slices_of(
            {"g": GROUP, "s": STRATUM},
            LABEL,
            count=COUNT,
            stratum=np.arange(N) % 2,
            permutations=99,
            depth=1,
            seed=3,
        ),
        "clustered": slices.slices_of(
            {"t": [("u", "v", "w")[i // 4 % 3] for i in range(N)]}, LABEL, cluster=CLUSTER, permutations=99
        ),
    },
    control_chart__shewhart=lambda: monitored("shewhart").charts,
    control_chart__ewma=lambda: monitored("ewma", binomial=True, smoothing=0.3, false_alarms=0.2).charts,
    control_chart_of_means=lambda: control_charts.control_chart(
        [datetime.date(2026, 1, d) for d in range(1, 11)],
        [control_charts.Tally(50.0, float(m), 40.0) for m in uniform(10, 80)],
        [control_charts.Tally(60.0, float(m), 55.0) for m in uniform(10, 81)],
        baseline=7,
        level=0.01,
        is_rate=False,
    ),
    suite_of_templates=lambda: [
        check.tests
        for made, score, said in (suite(),)
        for check in (
            suite_results.check(made, score=score, prediction=said),
            suite_results.check(made, score=score, prediction=said, confidence=0.9, alpha=0.01, n_worst=1),
        )
    ],
    audit__plain=lambda: told(audit(table(), gate())),
    audit__everyone_else_and_intersections=lambda: told(
        audit(
            table(groups=["group", "sex"], score=None),
            gate(
                tolerance={"selection_rate": 0.05},
                groups={"group": {"compare": "complement"}, "sex": {}},
                alpha=0.1,
                confidence=0.9,
            ),
        )
    ),
    audit__weighted_and_clustered=lambda: told(audit(table(weight="w", cluster="c"), gate())),
    audit__counted_in_strata=lambda: told(
        audit(
            table(count="n", strata=["stratum"], score=None),
            gate(tolerance={"accuracy": 0.1}, family="gatekeeping"),
        )
    ),
    audit__classes=lambda: told(audit(kinds(), gate(task="multiclass", tolerance={"accuracy": 0.1}))),
    audit__numbers_that_are_predicted=lambda: told(
        audit(numbers(), gate(task="regression", tolerance={"mean_residual": 0.2}, min_group=20))
    ),
    audit__costs_and_the_best_group=lambda: told(
        audit(
            table(score=None),
            gate(
                tolerance={"expected_cost": 0.5},
                costs={"unit": "EUR", "false_positive": 2, "false_negative": 5, "true_positive": -1},
                groups={"group": {"compare": "reference", "reference": "(best)"}},
            ),
        )
    ),
    rules_of_thresholds=lambda: [
        threshold_rules.move_threshold(table(), "group", floor=0.6),
        threshold_rules.move_threshold(table(), "group", metric="selection_rate", floor=0.5, name="own"),
    ],
    comparison_of_two_models=lambda: [
        [
            *(
                one.group,
                one.reference,
                one.metric,
                one.before,
                one.after,
                one.change,
                one.low,
                one.high,
                one.p,
            ),
            *(one.decision, one.reason),
        ]
        for one in compare(
            table(), other(), gate(), tolerance_change={"accuracy": 0.05}, set_by="the test"
        ).changes
    ],
    four_fifths=lambda: [
        four_fifths(table(), "group"),
        four_fifths(table(count="n"), "group", reference="b", confidence=0.9),
    ],
    local_law=lambda: local_law_144(
        table(groups=["group", "sex"]), sex="sex", race_ethnicity="group", rate="selection rate"
    ),
    reliability_of_groups=lambda: group_reliability(table(), "group", n_bins=4),
    thresholds_of_groups=lambda: group_thresholds(table(), "group", "true_positive_rate", most=8),
)


# The table


def flat(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Place in a record -> number, text or truth value."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from flat(getattr(value, field.name), f"{place}.{field.name}")
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from flat(one, f"{place}.{key}")
    elif isinstance(value, np.ndarray):
        yield from flat(value.tolist(), place)
    elif isinstance(value, (list, tuple)):
        yield from flat_list(value, place)
    elif isinstance(value, np.generic):
        yield place, rounded(value.item())
    else:
        yield place, rounded(value)


def flat_list(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    if len(value) <= LONGEST and all(
        one is None or isinstance(one, (bool, int, float, str)) for one in value
    ):
        yield place, [rounded(one) for one in value]
        return
    numbers = all(isinstance(one, (bool, int, float)) for one in value)
    if len(value) > LONGEST and numbers:
        listed = [float(one) for one in value]
        yield f"{place}.n", len(listed)
        yield f"{place}.first", rounded(listed[0])
        yield f"{place}.last", rounded(listed[-1])
        yield f"{place}.sum", rounded(math.fsum(listed))
        yield f"{place}.by place", rounded(math.fsum((1 + i % 97) * one for i, one in enumerate(listed)))
        return
    for i, one in enumerate(value):
        yield from flat(one, f"{place}[{i}]")


def rounded(value: Any) -> Any:
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        return 0.0 if abs(value) < NOTHING else float(f"{value:.9g}")
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def of(name: str) -> dict[str, Any]:
    """A case, flat."""
    return dict(flat(CASES[name]()))


def moved(pinned: Mapping[str, Any], made: Mapping[str, Any]) -> list[str]:
    """What is no more what was pinned, a line each: numbers beyond 1e-7 of themselves, anything else exactly."""
    places = dict.fromkeys([*pinned, *made])
    return [
        f"{place}: {pinned.get(place, 'not there')} was pinned, {made.get(place, 'not there')} is found"
        for place in places
        if place not in pinned or place not in made or not alike(pinned[place], made[place])
    ]


def alike(one: Any, other: Any) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) or isinstance(other, float):
        numbers = all(
            isinstance(value, (int, float)) and not isinstance(value, bool) for value in (one, other)
        )
        return numbers and math.isclose(one, other, rel_tol=1e-7, abs_tol=10 * NOTHING)
    return type(one) is type(other) and one == other


def lines() -> Iterator[str]:
    """The table as JSON, a line for each number: what moved is then read at once."""
    yield "{"
    for i, name in enumerate(CASES):
        yield f"{json.dumps(name)}: {{"
        made = list(of(name).items())
        for j, (place, value) in enumerate(made):
            comma = "," if j + 1 < len(made) else ""
            yield f"  {json.dumps(place, ensure_ascii=False)}: {json.dumps(value, ensure_ascii=False)}{comma}"
        yield "}" + "," * (i + 1 < len(CASES))
    yield "}"


if __name__ == "__main__":
    print("\n".join(lines()))
