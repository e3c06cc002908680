"""The whole review, composed: the only file that sees all three rooms."""

import dataclasses
import hashlib
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit

from .bias.audit import audit
from .bias.groups import UNKNOWN
from .bias.ledger import contrast, ledger
from .bias.policy import Policy, read_policy
from .bias.score_curves import ScoreCurves, score_curves
from .bias.slice_records import SliceSearch
from .bias.slices import slices
from .bias.word_ledger import word_ledger
from .errors import DataError, OutputError, UsageError, did_you_mean, first
from .evidence import Evidence, from_columns
from .evidence_files import read as read_table
from .evidence_files import write as write_evidence
from .explanations import Explanations, explained_here
from .published_law import LawQuestion, known_columns, law_question, named_source, published
from .records import Attribution, Audit, Contrast, Faithfulness, Ledger, Review, Rows, View, plain
from .review_questions import FixQuestion, GapQuestion, answer_fix, answer_gap, questions
from .shards import SHARD_ROWS
from .signature import write_hashes
from .staged_rows import Columns, rows_of
from .whole_files import put

if TYPE_CHECKING:
    from .interpret.models import Subject

SCHEMA_VERSION = "1"
EXPLORER = "explorer.html"  # beside the page, which links to it
THRESHOLDS = 24  # of one sweep that is saved: its numbers are in review.json
UNGATED: Mapping[str, Any] = {
    "tolerance": {},
    "intersections": (),
    "task": "binary",
    "outputs": {},
    "costs": None,
    "family": "holm",
}
LIMITS = (
    "A gap that is not significant is not evidence that groups are treated alike: read the interval and the "
    "smallest gap these numbers could have shown.",
    "Attention shows where a head looks, not what matters; A x dA is a first-order effect at this input. "
    "Neither map was confirmed here by intervening on the model.",
    "The ledger is an exact accounting of a difference in mean score against the stated baseline. It says what "
    "is associated with the gap; another baseline gives another division.",
    "Groups are taken as recorded in the data. Rows with an unknown group are shown and enter no comparison.",
    "The review speaks of these rows and this model only.",
)


def gather(
    subject: "Subject",
    rows: Rows,
    explained: Explanations,
    *,
    terms: Mapping[str, Sequence[str]] | None = None,
) -> Evidence:
    """One row per example: label, prediction, score, groups, and the measures that explanation adds.

    Measures: `attribution[feature]` and `attention[feature]` (received, averaged over all heads) where all
    examples have the same features; `share[term]`, the part of the absolute attribution that falls on a
    user-named term; `head[L0.H1]`, a head's first-order effect; `completeness_error`.

    Raises:
        DataError: a term names a feature that no example has.
    """
    if not np.isfinite(subject.threshold):
        raise DataError(
            f"the target {subject.target!r} has no threshold, so that nothing says which rows are predicted positive. "
            "Review the subject as it was loaded, or give it one: dataclasses.replace(subject, threshold=...)."
        )
    attribution, contribution = explained.attribution, explained.contribution
    measures: dict[str, np.ndarray] = {}
    if len(set(attribution.tokens)) == 1:
        offset = len(subject.prefix)
        mean_received = np.stack(explained.received)
        for i, name in enumerate(attribution.features):
            measures[f"attribution[{name}]"] = attribution.scores[:, i]
        for i, name in enumerate(attribution.features):
            measures[f"attention[{name}]"] = mean_received[:, offset + i]
    total = np.abs(attribution.scores).sum(axis=1)
    known = {token for tokens in attribution.tokens for token in tokens}
    for term, members in (terms or {}).items():
        missing = [member for member in members if member not in known]
        if missing:
            raise DataError(
                f"the term {term!r} names {first(missing)}, which no row has: {did_you_mean(missing[0], known)}"
            )
        wanted = set(members)
        on_term = np.zeros(len(rows))
        for i, tokens in enumerate(attribution.tokens):
            hits = [k for k, token in enumerate(tokens) if token in wanted]
            on_term[i] = np.abs(attribution.scores[i, hits]).sum()
        measures[f"share[{term}]"] = np.divide(on_term, total, out=np.zeros_like(total), where=total > 0)
    for layer in range(contribution.shape[1]):
        for head in range(contribution.shape[2]):
            measures[f"head[L{layer}.H{head}]"] = contribution[:, layer, head]
    measures["completeness_error"] = np.abs(attribution.residual)
    columns: dict[str, Any] = {"id": list(rows.ids)}
    if rows.labels is not None:
        columns["label"] = np.asarray(rows.labels)
    columns["prediction"] = (attribution.value > subject.threshold).astype(np.int64)
    columns["score"] = attribution.value
    taken = sorted(set(rows.groups) & {*columns, *measures})
    if taken:
        raise DataError(f"group columns {first(taken)} have names that evidence itself uses; rename them.")
    columns.update({name: list(values) for name, values in rows.groups.items()})
    columns.update(measures)
    return from_columns(
        columns,
        id="id",
        label=None if rows.labels is None else "label",
        prediction="prediction",
        score="score",
        groups=tuple(rows.groups),
        measures=tuple(measures),
        provenance={"model": subject.name, "target": subject.target, "threshold": subject.threshold},
    )


def review(
    subject: "Subject",
    rows: Rows,
    *,
    policy: Policy | str | Path | None = None,
    terms: Mapping[str, Sequence[str]] | None = None,
    title: str | None = None,
    seed: int = 0,
    batch_size: int = 64,
    shard_rows: int = SHARD_ROWS,
    explanations: Explanations | None = None,
    replicates: int = 2000,
    data: Mapping[str, Any] | None = None,
    feature_notes: Sequence[Mapping[str, str]] = (),
    limits: Sequence[str] = (),
    faithful_rows: int = 0,
    slice_permutations: int = 2000,
    why: Sequence[GapQuestion | str] = (),
    mitigate: FixQuestion | str | None = None,
    law: LawQuestion | str | None = None,
    explorer: bool = False,
    progress: bool = False,
) -> Review:
    """Score, explain, audit and account: everything a reviewer signs, as one record.

    Args:
        subject: the model.
        rows: examples that the model was not trained on, with labels (0 and 1) and group columns.
        policy: a Policy or the path of a policy.toml. Without one nothing is gated.
        terms: name -> features or tokens whose share of the attribution is measured.
        title: the headline.
        seed: of the bootstrap. One seed, same numbers.
        batch_size: rows encoded together. Another size may change the last bits of a score.
        shard_rows: at most so many rows are explained by themselves; see `explanations`. Another number may change the
            last bits of a score, and what is added up per shard.
        explanations: of these rows, in this order, where they were made already (`explanations.merged`).
        replicates: bootstrap replicates of the ledgers.
        data: what the data are: name, source, licence, split.
        feature_notes: "feature", "meaning", "note" of each feature, shown in the report.
        limits: added to the limits that every report states.
        faithful_rows: on so many rows, drawn by the seed, attribution methods are measured beside random scores, the
            ones that are on request left out; 0 measures nothing.
        slice_permutations: of the search for combinations of groups that fare worst (`bias.slices`); 0 searches nothing.
        why: gaps that are divided among words or features and among heads, the heads screened on half of the rows and tested
            on the others (`explained_gap.why`): "ATTRIBUTE:GROUP[:REFERENCE[:METRIC]]", or `GapQuestion`.
        mitigate: a gap for which fixes are fitted, one chosen and judged on three parts of the rows
            (`mitigating.mitigate`): "ATTRIBUTE[:GAP]", or a `FixQuestion`. The review's verdict stays that of the model.
        law: the tables of New York City's Local Law 144, in a section of their own and without a verdict: "SEX:RACE" names
            the columns, a `LawQuestion` what is published beside them. A policy called "local-law-144" asks for them too.
        explorer: make an explorer of at most eight examples and the gap of the worst finding; `save` writes it beside the
            page, which links to it (`report_explorer`).
        progress: show bars.

    Raises:
        DataError, PolicyError, CaptureError: as their messages say.
        UsageError: a question that these rows cannot answer.
    """
    from .interpret.head_effects import view

    if not rows.groups:
        raise DataError(
            "the rows have no group columns; a review needs at least one (groups={'race': [...]})."
        )
    resolved = read_policy(policy) if isinstance(policy, (str, Path)) else policy or Policy()
    asked, fix = questions(rows, why, mitigate)
    city = law_question(law, resolved)
    city = None if city is None else known_columns(city, rows.groups)
    explained = explanations or explained_here(
        subject, rows, shard_rows=shard_rows, batch_size=batch_size, progress=progress
    )
    attribution = explained.attribution
    if attribution.ids != rows.ids:
        raise UsageError("the explanations are of other rows, or in another order, than the rows.")
    evidence = gather(subject, rows, explained, terms=terms)
    named = tuple(name for name in evidence.measures if name in resolved.tolerance)
    predictions = audit(
        dataclasses.replace(evidence, measures=named), resolved, title=f"predictions of {subject.name}"
    )
    others = tuple(name for name in evidence.measures if name not in named)
    of_measures = audit(
        dataclasses.replace(evidence, label=None, prediction=None, score=None, measures=others),
        resolved.model_copy(update=UNGATED),
        title="measures that explanation adds",
    )
    measured = _faithful(subject, rows, faithful_rows, seed, batch_size, progress) if faithful_rows else None
    attributes = tuple(resolved.groups) or tuple(evidence.groups)
    pairs = [pair for name in attributes for pair in _pairs(evidence, name, resolved)]
    ledgers, undivided = _ledgers(subject, rows, attribution, pairs, replicates, seed)
    shared: dict[str, Any] = {"batch_size": batch_size, "seed": seed, "progress": progress}
    answers = tuple(
        answer_gap(subject, rows, one, attribution=attribution, replicates=replicates, **shared)
        for one in asked
    )
    decisions = {metric: most for metric, most in resolved.tolerance.items() if metric not in named}
    judged = resolved.model_copy(update={"tolerance": decisions})
    beside, no_explorer = None, ""
    if explorer:
        from .report_explorer import explorer_beside

        beside, no_explorer = explorer_beside(subject, rows, predictions, seed=seed, progress=progress)
    return Review(
        title=title or f"Review of {subject.name}",
        schema_version=SCHEMA_VERSION,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        audit=predictions,
        measures=of_measures,
        ledgers=tuple(ledgers),
        views=_views(subject, rows, attribution, view, batch_size),
        attribution=_proof(attribution),
        certificate=explained.certificate,
        heads=explained.heads,
        faithfulness=measured,
        slices=_searched(evidence, resolved, slice_permutations, seed) if slice_permutations else None,
        law=None if city is None else published(evidence, city, source=named_source(data or {})),
        curves=_curves(subject, evidence, resolved, predictions),
        why=answers,
        mitigated=None if fix is None else answer_fix(subject, rows, judged, fix, **shared),
        model={
            "name": subject.name,
            "class": type(subject.module).__qualname__,
            "parameters": sum(parameter.numel() for parameter in subject.module.parameters()),
            "labels": list(subject.labels),
            "target": subject.target,
            "threshold": subject.threshold,
            "threshold_unit": subject.unit,
            "baseline": subject.baseline,
            **subject.provenance,
        },
        data={
            "rows": len(rows),
            "rows_sha256": rows_hash(rows),
            "groups": {name: _sizes(values) for name, values in rows.groups.items()},
            **(data or {}),
        },
        feature_notes=tuple(dict(note) for note in feature_notes),
        limits=(*LIMITS, *limits, *undivided, *([no_explorer] if no_explorer else [])),
        provenance={
            "seed": seed,
            "batch_size": batch_size,
            "shard_rows": shard_rows,
            "replicates": replicates,
            "device": str(subject.device),
            "dtype": str(next(subject.module.parameters()).dtype).removeprefix("torch."),
            **_runtime(),
            "platform": platform.platform(),
            "versions": _versions(),
        },
        sign_off={"prepared by": None, "reviewed by": None, "approved by": None, "date": None},
        evidence=evidence,
        explorer=beside,
        writer=save_review,
    )


def _searched(evidence: Evidence, rules: Policy, permutations: int, seed: int) -> "SliceSearch | str":
    """Combinations of groups whose errors (without labels: whose selection) differ, or why none were searched."""
    if len(evidence.groups) < 2:
        return "there is one group column, whose groups are compared above"
    binned = [name for name in evidence.groups if name in rules.groups and rules.groups[name].bins]
    try:
        return slices(
            evidence,
            columns=[name for name in evidence.groups if name not in binned],
            of="error_rate" if evidence.label else "selection_rate",
            permutations=permutations,
            alpha=rules.alpha,
            seed=seed,
        )
    except DataError as error:
        return str(error)


def _curves(subject: "Subject", evidence: Evidence, rules: Policy, made: Audit) -> "ScoreCurves | str":
    """Calibration and rates over thresholds of every attribute, or why there are none."""
    words = f"the score ({subject.unit})"
    try:
        return score_curves(
            evidence,
            rules,
            made,
            probability=_probability(subject, evidence),
            named=(f"P({subject.labels[subject.positive]})", words),
            most=THRESHOLDS,
        )
    except (DataError, UsageError) as error:
        return str(error)


def _probability(subject: "Subject", evidence: Evidence) -> Evidence | str:
    """The rows with the probability of the positive label as their score, or why the score gives none.

    Of two labels under a softmax the probability is the logistic function of the difference of their logits. Against the
    mean of several logits, or for a text chosen among others, nothing of the kind holds.
    """
    score = evidence.column("score")
    if subject.unit in ("probability", "output"):
        return evidence  # whether an output is a probability shows in its range
    if len(subject.labels) != 2 or subject.says or subject.whole is not None:
        return (
            f"the score is {subject.target} in {subject.unit}, from which no probability follows. Two labels under a "
            "softmax have one"
        )
    label = None if evidence.label is None else "label"
    columns: dict[str, Any] = {"id": list(evidence.ids), "score": expit(score)}
    if label is not None:
        columns[label] = evidence.binary(label).astype(np.int64)
    columns.update({name: list(evidence.group(name)) for name in evidence.groups})
    return from_columns(columns, id="id", label=label, score="score", groups=evidence.groups)


def _faithful(
    subject: "Subject", rows: Rows, n: int, seed: int, batch_size: int, progress: bool
) -> Faithfulness:
    from .interpret.faithfulness import faithfulness
    from .interpret.methods import METHODS

    if n < 2:
        raise UsageError(f"faithful_rows is {n}; an interval over rows needs 2 or more (0 measures nothing).")
    drawn = np.random.default_rng(seed).permutation(len(rows))[:n]
    return faithfulness(
        subject,
        rows.take(np.sort(drawn)),
        methods=[method.name for method in METHODS if not method.on_request],
        seed=seed,
        batch_size=batch_size,
        progress=progress,
    )


def _runtime() -> dict[str, Any]:
    """What of torch may change the last bits of a number."""
    import torch

    return {
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda,
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
    }


def _versions() -> dict[str, str]:
    names = (
        "clinometer",
        "torch",
        "transformers",
        "captum",
        "numpy",
        "scipy",
        "pandas",
        "pyarrow",
        "matplotlib",
    )
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def _sizes(values: Sequence[str | None]) -> dict[str, int]:
    named: dict[str, int] = {}
    for value in values:
        key = UNKNOWN if value is None else value
        named[key] = named.get(key, 0) + 1
    return dict(sorted(named.items()))


def _pairs(evidence: Evidence, attribute: str, policy: Policy) -> list[Any]:
    """Each known group against the declared reference, or against the largest group."""
    sizes = _sizes(evidence.group(attribute))
    sizes.pop(UNKNOWN, None)
    rule = policy.groups.get(attribute)
    excluded = set(rule.exclude) if rule else set()
    sizes = {name: n for name, n in sizes.items() if n >= 2 and name not in excluded}
    if len(sizes) < 2:
        return []
    declared = rule.reference if rule else None
    reference = declared if declared in sizes else max(sizes, key=lambda name: sizes[name])
    return [contrast(evidence, attribute, group, reference) for group in sizes if group != reference]


def _ledgers(
    subject: "Subject",
    rows: Rows,
    attribution: Attribution,
    pairs: Sequence[Contrast],
    replicates: int,
    seed: int,
) -> tuple[list[Ledger], list[str]]:
    """Each gap divided among features, or among words where rows differ in them; and why a gap is not divided."""
    if len(set(attribution.tokens)) == 1:
        return [ledger(attribution, pair, replicates=replicates, seed=seed) for pair in pairs], []
    from .interpret.spans import in_words

    words = attribution if subject.characters is None else in_words(subject, rows, attribution)
    made, undivided = [], []
    for pair in pairs:
        try:
            made.append(word_ledger(words, pair, replicates=replicates, seed=seed))
        except DataError as error:
            undivided.append(
                f"The gap of {pair.group} and {pair.reference} ({pair.attribute}) is not divided: {error}"
            )
    return made, undivided


def _views(
    subject: "Subject", rows: Rows, attribution: Attribution, view: Callable[..., View], batch_size: int
) -> tuple[View, ...]:
    lowest = int(np.argmin(attribution.value))
    one = view(
        subject,
        rows.take([lowest]),
        title=f"the row with the lowest score, {rows.ids[lowest]} ({attribution.value[lowest]:+.2f} {subject.unit})",
    )
    if len(set(attribution.tokens)) != 1:
        return (one,)
    return (view(subject, rows, title=f"mean over {len(rows)} rows", batch_size=batch_size), one)


def _proof(attribution: Attribution) -> dict[str, Any]:
    from .interpret.attributions import FLOOR, RELATIVE_TOLERANCE

    error = np.abs(attribution.residual)
    moved = np.abs(attribution.value - attribution.base_value)
    kinds, counts = np.unique(attribution.nodes, return_counts=True)
    return {
        "method": attribution.method,
        "target": attribution.target,
        "unit": attribution.unit,
        "baseline": attribution.baseline,
        "n": len(attribution),
        "completeness_tolerance": f"{RELATIVE_TOLERANCE:.0%} of |f(x) - f(b)|, or of {FLOOR:g} standard deviations of "
        "the scores where that is more; the error is |f(x) - f(b) - sum of attributions|",
        "n_converged": int(np.count_nonzero(attribution.converged)),
        "not_converged": [attribution.ids[i] for i in np.flatnonzero(~attribution.converged)],
        "nodes": {str(kind): int(count) for kind, count in zip(kinds, counts, strict=True)},
        "largest_completeness_error": float(error.max()),
        "mean_completeness_error": float(error.mean()),
        "mean_absolute_shift": float(moved.mean()),
    }


def rows_hash(rows: Rows) -> str:
    """SHA-256 of ids, inputs, labels and groups, in a canonical text form."""
    digest = hashlib.sha256()
    columns: dict[str, Any] = {"id": rows.ids, **rows.inputs}
    if rows.labels is not None:
        columns["label"] = rows.labels
    columns.update({f"group {name}": values for name, values in rows.groups.items()})
    for name, column in columns.items():
        digest.update(
            json.dumps([name, plain(np.asarray(column).tolist())], ensure_ascii=True).encode() + b"\n"
        )
    return digest.hexdigest()


def save_review(
    made: Review, target: Path, *, extras: Callable[[Path], None] | None = None, progress: bool = False
) -> tuple[Path, ...]:
    """Write a review's folder: all of it or none of it. `extras` may add files before it appears."""
    from .visualizers.page import render
    from .visualizers.plates import draw, save_figures

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise OutputError(
            f"{target} cannot be written: {error.strerror or error}. Name another with --out."
        ) from error
    try:
        os.chmod(temporary, 0o755)
        drawn = draw(made, progress=progress)
        linked = "" if made.explorer is None else EXPLORER
        (temporary / "report.html").write_text(render(made, drawn, explorer=linked), encoding="utf-8")
        if linked:
            made.explorer.save(temporary / linked)
        (temporary / "review.json").write_text(to_json(made), encoding="utf-8")
        (temporary / "policy.toml").write_text(
            Policy.model_validate(made.audit.plan["policy"]).to_toml(), "utf-8"
        )
        write_evidence(made.evidence, temporary / "evidence.parquet")
        save_figures(drawn, temporary / "figures", progress=progress)
        if extras is not None:
            extras(temporary)
        write_hashes(temporary)
        put(temporary, target)
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return tuple(sorted(path for path in target.rglob("*") if path.is_file()))


def to_json(made: Review) -> str:
    """The review's JSON twin: sorted keys, the same bytes for the same review."""
    return json.dumps(plain(made), ensure_ascii=False, sort_keys=True, indent=1, allow_nan=False) + "\n"


def read_rows(
    path: str | Path,
    *,
    columns: Sequence[str],
    groups: Sequence[str] = (),
    label: str | None = None,
    id: str | None = None,
    optional: Sequence[str] = (),
) -> Rows:
    """Rows for a model from a CSV or Parquet file.

    Args:
        path: the file; its suffix says which kind.
        columns: the model's input columns.
        groups: group columns.
        label: a column of 0 and 1.
        id: the column that names a row; by default `id` where there is one, else the row number.
        optional: columns that the model reads where the file has them (`Subject.optional`).

    Raises:
        DataError: a column is missing, a label is neither 0 nor 1, or the file cannot be read.
    """
    table = read_table(path, label=label, groups=tuple(groups), id=id)
    missing = [name for name in columns if name not in table.table.column_names]
    if missing:
        raise DataError(
            f"{path} lacks the model's column {first(missing)}: {did_you_mean(missing[0], table.table.column_names)}"
        )
    return rows_of(
        table,
        Columns(inputs=tuple(columns), optional=tuple(optional), groups=tuple(groups), label=label),
    )


class _Callable(ModuleType):
    """Lets `clinometer.review(...)` work after `import clinometer.review` has put this module in its place."""

    def __call__(self, *args: Any, **kwargs: Any) -> Review:
        return review(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable

__all__ = ["Audit", "Ledger", "gather", "read_rows", "review", "save_review"]
