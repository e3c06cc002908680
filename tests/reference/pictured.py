"""A record for each kind of figure, made by the project's own functions from drawn numbers."""

from datetime import date, timedelta
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from clinometer.bias.comparison import compare
from clinometer.bias.group_reliability import group_reliability
from clinometer.bias.group_thresholds import group_thresholds
from clinometer.bias.monitor import monitor
from clinometer.bias.pareto_records import UNMITIGATED
from clinometer.bias.policy import GroupRule, Policy
from clinometer.bias.slices import slices
from clinometer.evidence import Evidence, from_frame
from clinometer.records import Attribution, Faithfulness, Measured
from clinometer.visualizers.layer_flow import flow
from reference.reviews import HOSTILE, sample_review

PLAIN_GROUPS = ("Asian", "Black", "White")
HOSTILE_GROUPS = ("$x_1$ & {y}".replace(" & ", " and "), "سجل 🏠 " + "م" * 60, "W" * 10_000)


def people(n: int, seed: int, groups: tuple[str, ...] = PLAIN_GROUPS, shift: float = 0.1) -> pd.DataFrame:
    """Rows with a probability, a label and a decision; the second group's decisions are shifted down."""
    draw = np.random.default_rng(seed)
    place = draw.choice(len(groups), n, p=[0.1, 0.3, 0.6])
    probability = np.round(draw.beta(2, 2, n), 3)
    return pd.DataFrame(
        {
            "id": [f"r{i}" for i in range(n)],
            "race": np.array(groups, dtype=object)[place],
            "sex": draw.choice(["F", "M"], n),
            "probability": probability,
            "approved": (draw.random(n) < probability).astype(int),
            "predicted": (probability - shift * (place == 1) > 0.5).astype(int),
        }
    )


def evidence_of(frame: pd.DataFrame, groups: tuple[str, ...] = ("race", "sex"), **more: Any) -> Evidence:
    """The frame as evidence of a decision behind a probability."""
    roles = {"label": "approved", "prediction": "predicted", "score": "probability", **more}
    return from_frame(frame, id="id", groups=groups, **roles)


RULES = Policy(
    name="pictures",
    set_by="the authors of the tests",
    min_group=10,
    tolerance={"true_positive_rate": 0.1},
    groups={"race": GroupRule(), "sex": GroupRule()},
    intersections=(("race", "sex"),),
)


def monitored(groups: tuple[str, ...] = PLAIN_GROUPS, **more: Any) -> Any:
    """Fourteen weeks, the last of which have a gap that the first eight did not."""
    pairs = [
        (
            date(2026, 1, 5) + timedelta(weeks=i),
            evidence_of(
                people(500, 50 + i, groups, shift=0.3 if i >= 11 else 0.0), ("race",), label=None, score=None
            ),
        )
        for i in range(14)
    ]
    return monitor(pairs, metrics=["selection_rate"], baseline=8, title="weekly gaps", **more)


def attributed(tokens: tuple[str, ...], *, adds_up: bool = True, seed: int = 0) -> Attribution:
    """One example with drawn scores, and an empty one after it."""
    scores = np.zeros((2, len(tokens)))
    scores[0] = np.random.default_rng(seed).normal(0, 0.4, len(tokens))
    base = np.array([-0.5, -0.5]) if adds_up else np.full(2, np.nan)
    return Attribution(
        method="integrated gradients" if adds_up else "attention rollout",
        target="logit(approved) - logit(denied)",
        unit="logit" if adds_up else "",
        baseline="nothing",
        ids=("r0", "r1"),
        tokens=(tokens, ()),
        scores=scores,
        value=(base if adds_up else np.zeros(2)) + scores.sum(axis=1),
        base_value=base,
        nodes=np.array([20, 20]),
        converged=np.array([True, True]),
        tolerance=np.array([0.01, 0.01]),
    )


def _mediation(group: str) -> SimpleNamespace:
    unit = SimpleNamespace(layer="layers.0", head=1)
    test = SimpleNamespace(
        heads=(("layers.0", 1),),
        before=-0.3,
        after=-0.1,
        removed=-0.2,
        low=-0.28,
        high=-0.12,
        n_random=39,
        random_rank=0.025,
        verified=True,
    )
    ids = tuple(f"m{i}" for i in range(60))
    return SimpleNamespace(
        screening=SimpleNamespace(
            unit="logit", ids=ids, shares=(SimpleNamespace(unit=unit, closing=0.3, error=0.05),)
        ),
        verification=SimpleNamespace(
            metric=f"difference in selection rate, {group}",
            unit="rate",
            ids=ids,
            before=-0.3,
            before_low=-0.4,
            before_high=-0.2,
            tests=(test,),
            together=None,
            confidence=0.95,
            detectable=0.1,
        ),
    )


def _parts(group: str) -> SimpleNamespace:
    made = [("identity", 0.1), ("proxies", -0.05), ("treatment", 0.2)]
    return SimpleNamespace(
        attribute="race",
        group=group,
        reference="White",
        n_group=120,
        n_reference=240,
        unit="logit",
        gap=0.26,
        gap_low=0.1,
        gap_high=0.4,
        residual=0.01,
        confidence=0.95,
        parts=tuple(SimpleNamespace(name=n, estimate=e, low=e - 0.05, high=e + 0.05) for n, e in made),
    )


def _faithful(name: str) -> Faithfulness:
    def one(method: str, measure: str, value: float) -> Measured:
        return Measured(
            method=method,
            measure=measure,
            group="",
            n=40,
            estimate=value,
            low=value - 0.1,
            high=value + 0.1,
            behind=0.0,
            above_chance=value,
            above_chance_low=value - 0.1,
            above_chance_high=value + 0.1,
        )

    methods, measures = (name, "random"), ("area_between_curves", "comprehensiveness")
    return Faithfulness(
        subject="a model",
        target="logit",
        outcome="fall of the logit",
        baseline="nothing",
        ids=tuple(f"r{i}" for i in range(40)),
        methods=methods,
        failed=(),
        measures=measures,
        values=np.zeros((2, 2, 40)),
        measured=tuple(one(m, s, 0.4 if m == name else 0.0) for m in methods for s in measures),
        curves=(),
        randomised=(),
        ranking=methods,
        recommended=name,
        reason="it is best",
        grouped_by="",
        confidence=0.95,
        replicates=100,
        seed=0,
        n_runs=100,
        notes=(),
    )


def _fixes(name: str) -> SimpleNamespace:
    def point(called: str, utility: float, gap: float, change: float | None) -> SimpleNamespace:
        around = {"gap": gap, "utility": utility, "gap_change": change, "utility_change": change}
        ends = {
            f"{key}_{side}": None if value is None else value + sign * 0.02
            for key, value in around.items()
            for side, sign in (("low", -1), ("high", 1))
        }
        return SimpleNamespace(name=called, dominated_by=(), reason="", **around, **ends)

    return SimpleNamespace(
        attribute="race",
        gap_metric="true_positive_rate",
        utility_metric="accuracy",
        better="higher",
        purpose="judge",
        confidence=0.95,
        n=1000,
        points=(point(UNMITIGATED, 0.9, 0.2, None), point(name, 0.88, 0.05, -0.1)),
    )


@cache
def records(hostile: bool = False) -> dict[str, Any]:
    """Kind of figure -> a record that it draws."""
    groups = HOSTILE_GROUPS if hostile else PLAIN_GROUPS
    review = sample_review(hostile=hostile, rows=300, layers=2, heads=2)
    frame = people(700, 0, groups)
    evidence = evidence_of(frame)
    flipped = frame["predicted"].where(np.arange(700) % 9 != 0, 1 - frame["predicted"])
    name = groups[0]
    view = review.views[0]
    attribution = attributed(HOSTILE if hostile else tuple(["the", "loan", "was", "not", "paid", "back"]))
    return {
        "rates": review.audit,
        "gaps": review.audit,
        "intersections": review.audit,
        "errors": review.audit,
        "calibration": group_reliability(evidence, "race", RULES),
        "thresholds": group_thresholds(evidence, "race", "true_positive_rate", RULES, most=30),
        "slices": slices(
            evidence_of(frame, score=None), of="selection_rate", depth=2, permutations=99, seed=1
        ),
        "slopes": compare(
            evidence,
            evidence_of(frame.assign(predicted=flipped)),
            RULES,
            tolerance_change={"true_positive_rate": 0.05},
            set_by="the authors of the tests",
            title=f"old and {name}",
        ),
        "control": monitored(groups),
        "ledger": review.ledgers[0],
        "parts": _parts(name),
        "heads": view,
        "map": view,
        "rollout": view,
        "flow": flow(view, 0),
        "mediation": _mediation(name),
        "tokens": attribution,
        "bars": attribution,
        "methods": _faithful(name),
        "fixes": _fixes(name),
    }
