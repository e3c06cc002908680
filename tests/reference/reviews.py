"""A whole review made from drawn numbers: what the page is tested on."""

import dataclasses
from typing import Any

import numpy as np

from clinometer.bias.audit import audit
from clinometer.bias.ledger import contrast, ledger
from clinometer.bias.policy import GroupRule, Policy
from clinometer.bias.score_curves import score_curves
from clinometer.evidence import from_columns
from clinometer.records import Attribution, HeadSummary, Review, View

SCRIPT = "<script>alert(1)</script>"
HOSTILE = (
    SCRIPT,
    "\"quoted\" & 'quoted'",
    "</style><b>bold</b>",
    "سجل الائتمان",
    "信用记录",
    "🏠 price",
    "$x_1$ and \\frac{a}{b}",
    "{{ 7 * 7 }}",
    "long " + "n" * 10_000 + " end",
)
PLAIN = (
    "hrat",
    "obrat",
    "loanprc",
    "chist",
    "mortg",
    "cons",
    "pubrec",
    "netw",
    "unem",
    "dep",
    "term",
    "price",
)


def sample_review(
    *,
    seed: int = 0,
    rows: int = 800,
    tolerance: bool = True,
    hostile: bool = False,
    layers: int = 3,
    heads: int = 4,
) -> Review:
    """A review of `rows` drawn loan applications. `hostile` mixes names into it that try to break out."""
    draw = np.random.default_rng(seed)
    race = draw.choice(["white", "black", "hispan"], size=rows, p=[0.8, 0.13, 0.07]).tolist()
    sex = [
        None if draw.random() < 0.01 else value
        for value in draw.choice(["male", "female"], rows, p=[0.7, 0.3])
    ]
    sex = [None if value is None else str(value) for value in sex]
    if hostile:
        race = [
            SCRIPT if value == "black" else "信用 🏠 $x$" if value == "hispan" else value for value in race
        ]
    features = (*PLAIN, *HOSTILE) if hostile else PLAIN
    ids = tuple(f"loan-{i:04d}" for i in range(rows))
    worse = np.array([value != "white" for value in race])
    scores = draw.normal(0.05, 0.25, (rows, len(features))) - 0.5 * worse[:, None] * np.linspace(
        0.5, -0.05, len(features)
    )
    value = 1.6 + scores.sum(axis=1)
    attribution = Attribution(
        method="integrated gradients",
        target="logit(approved) - logit(denied)",
        unit="logit",
        baseline="the median training row",
        ids=ids,
        tokens=(features,) * rows,
        scores=scores,
        value=value + draw.normal(0, 0.002, rows),
        base_value=np.full(rows, 1.6),
        nodes=np.full(rows, 20),
        converged=np.ones(rows, dtype=bool),
        tolerance=np.full(rows, 0.01),
    )
    columns: dict[str, Any] = {
        "id": list(ids),
        "label": (value + draw.normal(0, 1.2, rows) > 0.4).astype(int),
        "prediction": (value > 0.6).astype(int),
        "score": value,
        "race": race,
        "sex": sex,
        **{f"attribution[{name}]": scores[:, i] for i, name in enumerate(features)},
        **{f"head[L{y}.H{h}]": draw.normal(0, 0.1, rows) for y in range(layers) for h in range(heads)},
    }
    measures = tuple(name for name in columns if "[" in name)
    evidence = from_columns(
        columns,
        id="id",
        label="label",
        prediction="prediction",
        score="score",
        groups=("race", "sex"),
        measures=measures,
    )
    policy = Policy(
        name="Tolerances for the sample",
        set_by="the authors of the tests" if tolerance else None,
        min_group=5,
        intersections=(("race", "sex"),),
        tolerance={"selection_rate": 0.1, "true_positive_rate": 0.1} if tolerance else {},
        groups={"race": GroupRule(reference="white"), "sex": GroupRule(reference="male")},
    )
    made = audit(dataclasses.replace(evidence, measures=()), policy, title="predictions of sample")
    probable = {name: columns[name] for name in ("id", "label", "race", "sex")}
    probable["score"] = 1 / (1 + np.exp(-value))
    roles: dict[str, Any] = {"id": "id", "label": "label", "score": "score", "groups": ("race", "sex")}
    open_policy = policy.model_copy(update={"tolerance": {}, "intersections": ()})
    return Review(
        title=f"Mortgage approvals {SCRIPT}" if hostile else "Mortgage approvals: a sample review",
        schema_version="1",
        created="2026-01-02T03:04:05+00:00",
        audit=made,
        measures=audit(
            dataclasses.replace(evidence, label=None, prediction=None, score=None),
            open_policy,
            title="measures that explanation adds",
        ),
        curves=score_curves(
            evidence,
            policy,
            made,
            probability=from_columns(probable, **roles),
            named=("P(approved)", "the score (logit)"),
            most=24,
        ),
        ledgers=tuple(
            ledger(attribution, contrast(evidence, name, group, reference), replicates=200, seed=seed)
            for name, reference, members in (("race", "white", race), ("sex", "male", sex))
            for group in sorted({m for m in members if m is not None} - {reference})
        ),
        views=tuple(
            _view(draw, title, features, layers, heads) for title in ("mean over 800 rows", "the lowest row")
        ),
        attribution={
            "method": attribution.method,
            "target": attribution.target,
            "unit": "logit",
            "baseline": attribution.baseline,
            "n": rows,
            "n_converged": rows,
            "not_converged": [],
            "nodes": {"20": rows},
            "largest_completeness_error": float(np.abs(attribution.residual).max()),
            "mean_completeness_error": float(np.abs(attribution.residual).mean()),
            "mean_absolute_shift": float(np.abs(attribution.value - attribution.base_value).mean()),
        },
        certificate={
            "n": rows,
            "how": "exact, all unmasked queries of all rows",
            "layers": {f"layers.{i}.attention": 2e-7 * (i + 1) for i in range(layers)},
        },
        heads=tuple(
            HeadSummary(
                layer=f"layers.{i}.attention",
                head=head,
                n_examples=rows,
                n_queries=rows * 7,
                entropy=1.5 + 0.1 * head,
                distance=None if i == 0 else 2.25,
                shares={"largest": 0.4, "first": 0.05, "itself": 0.51, "special tokens": 0.125},
                roles=("itself",) if head == 0 else (),
            )
            for i in range(layers)
            for head in range(2)
        ),
        model={
            "name": "sample",
            "class": "Classifier",
            "parameters": 27842,
            "labels": ["denied", "approved"],
            "weights_sha256": "3f" * 32,
        },
        data={
            "name": "drawn, not observed",
            "rows": rows,
            "rows_sha256": "ab" * 32,
            "split": "test part of 45/15/40",
            "groups": {"race": {name: race.count(name) for name in sorted(set(race))}},
            "excluded_columns": {"action": "the outcome under another name"},
        },
        feature_notes=tuple(
            {"feature": n, "meaning": f"meaning of {n[:40]}", "note": "kept"} for n in features
        ),
        limits=("The review speaks of these rows and this model only.", "The numbers are drawn."),
        provenance={
            "seed": seed,
            "replicates": 200,
            "device": "cpu",
            "versions": {"python": "3.11", "numpy": "2.4"},
        },
        sign_off={"prepared by": None, "reviewed by": None, "approved by": None, "date": None},
    )


def _view(draw: np.random.Generator, title: str, features: tuple[str, ...], layers: int, heads: int) -> View:
    size = len(features) + 1
    weights = np.exp(
        1.5 * draw.normal(size=(layers, heads, 1, size)) + draw.normal(size=(layers, heads, size, size))
    )
    weights /= weights.sum(axis=-1, keepdims=True)
    return View(
        title=title,
        target="logit(approved) - logit(denied)",
        ids=("loan-0001",),
        layers=tuple(f"layers.{i}.attention" for i in range(layers)),
        labels=("[summary]", *features),
        attention=weights,
        contribution=weights * draw.normal(0, 0.4, size=weights.shape),
    )
