"""What flows between the rooms: frozen records with NumPy inside, and no torch."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Values = npt.NDArray[Any]
Status = Literal["ok", "insufficient", "suppressed", "undefined"]
Verdict = Literal["within tolerance", "exceeds tolerance", "inconclusive", "not assessed"]

PRECEDENCE: tuple[Verdict, ...] = (
    "exceeds tolerance",
    "not assessed",
    "inconclusive",
    "within tolerance",
)
EXIT_CODES: Mapping[Verdict | None, int] = {
    "exceeds tolerance": 1,
    "not assessed": 4,
    "inconclusive": 4,
    "within tolerance": 0,
    None: 0,
}


def plain(value: Any) -> Any:
    """`value` as JSON types: records become objects, arrays lists, a number that is not finite null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            f.name: plain(getattr(value, f.name))
            for f in dataclasses.fields(value)
            if f.metadata.get("saved", True)
        }
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


class Trace(Protocol):
    """What other rooms may ask of a trace: NumPy answers only (`interpret.trace.Trace` is the real one)."""

    layers: tuple[str, ...]

    def map(self, layer: int | str, head: int, example: int) -> Floats: ...

    def row(self, layer: int | str, head: int, example: int, query: int) -> Floats: ...

    def statistic(self, name: str) -> Floats: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Examples to be scored. Every array has the example as its first axis.

    `inputs` maps a column to its values: one array per feature for a table, {"text": ...} for
    texts, {"series": (example, time, channel)} for sensor series. Group columns are kept beside
    the inputs, so that a model never sees them unless its feature list names them.
    """

    ids: tuple[str, ...]
    inputs: Mapping[str, Values]
    labels: Values | None = None
    groups: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, which: npt.ArrayLike) -> Self:
        """The rows at these positions, in this order."""
        chosen = np.asarray(which)
        index = np.arange(len(self))[chosen if chosen.size else np.array([], dtype=np.intp)]
        return dataclasses.replace(
            self,
            ids=tuple(self.ids[i] for i in index),
            inputs={name: np.asarray(column)[index] for name, column in self.inputs.items()},
            labels=None if self.labels is None else np.asarray(self.labels)[index],
            groups={name: tuple(c[i] for i in index) for name, c in self.groups.items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """Signed scores per example and token, and what they are known to add up to.

    Methods that promise a sum add up to `value - base_value`, up to `residual`. The others have no base value
    (NaN), and nothing about them was proved.
    """

    method: str
    target: str  # the scalar explained, e.g. "logit(approved) - logit(denied)"
    unit: str  # e.g. "logit"; "" where scores have no unit (attention rollout)
    baseline: str  # what x is compared with, in words; "" where with nothing
    ids: tuple[str, ...]
    tokens: tuple[tuple[str, ...], ...]  # per example
    scores: Floats  # (example, token), 0 where an example is shorter
    value: Floats  # (example,) target at the input
    base_value: Floats  # (example,) what is left of the target without any token; NaN where nothing adds up
    nodes: npt.NDArray[
        np.integer[Any]
    ]  # (example,) integration nodes, or samples, used; 0 where there are none
    converged: npt.NDArray[
        np.bool_
    ]  # (example,) |residual| within the tolerance; True where nothing is promised
    tolerance: Floats  # (example,) the largest |residual| called converged; NaN where nothing is promised
    errors: Floats | None = None  # (example, token) standard errors of scores that were sampled
    seed: int | None = None  # of what was sampled
    notes: tuple[str, ...] = ()  # what a reader has to know

    @property
    def adds_up(self) -> bool:
        """Whether the method promises a sum."""
        return not bool(np.isnan(self.base_value).all())

    @property
    def residual(self) -> Floats:
        """value - base_value - sum(scores): what the attribution leaves unexplained. (example,), NaN without a promise."""
        left: Floats = self.value - self.base_value - self.scores.sum(axis=1)
        return left

    @property
    def features(self) -> tuple[str, ...]:
        """The token names, where all examples have the same ones (tables)."""
        if len(set(self.tokens)) != 1:
            raise ValueError("examples have different tokens; aggregate by word first")
        return self.tokens[0]

    def take(self, which: npt.ArrayLike) -> Self:
        """The examples at these positions, in this order; or those where a mask is True."""
        index = np.arange(len(self))[np.asarray(which)]
        return dataclasses.replace(
            self,
            ids=tuple(self.ids[i] for i in index),
            tokens=tuple(self.tokens[i] for i in index),
            errors=None if self.errors is None else self.errors[index],
            **{
                name: getattr(self, name)[index]
                for name in ("scores", "value", "base_value", "nodes", "converged", "tolerance")
            },
        )

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        of = f"Attribution({self.method} of {self.target}{f' in {self.unit}' if self.unit else ''}, {len(self)} examples"
        if not self.adds_up:
            return f"{of}; adds up to nothing)"
        kept = int(np.count_nonzero(self.converged))
        return f"{of}, {kept} converged, largest |residual| {np.abs(self.residual).max(initial=0.0):.2g})"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadEffect:
    """What attention carries, first order: contribution[example, layer, head] = sum of A * dA, in logits."""

    target: str
    ids: tuple[str, ...]
    layers: tuple[str, ...]
    contribution: Floats  # (example, layer, head)
    received: Floats  # (example, layer, head, token): attention received, averaged over queries
    moved: Floats  # (example, layer, head, token): sum over queries of A * dA, per key
    tokens: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadSummary:
    """Where one head looks: means over the queries that are no padding. It says nothing of what the head does."""

    layer: str
    head: int
    n_examples: int
    n_queries: int
    entropy: float | None  # nats
    distance: float | None  # tokens; None in cross-attention
    shares: Mapping[
        str, float | None
    ]  # of attention: on the largest key, the first, itself, ..., classes of tokens
    roles: tuple[str, ...]  # whose stated threshold it passes


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Maps ready to be drawn: A and its A * dA for the same examples, averaged over them."""

    title: str
    target: str
    ids: tuple[str, ...]
    layers: tuple[str, ...]
    labels: tuple[str, ...]  # along query and along key
    attention: Floats  # (layer, head, query, key), rows sum to one
    contribution: Floats  # (layer, head, query, key), signed, in logits: A * dA

    @property
    def importance(self) -> Floats:
        """Sum of A * dA over queries and keys: first-order effect of each head. (layer, head)"""
        summed: Floats = self.contribution.sum(axis=(2, 3))
        return summed


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """Row weights w with gap = sum_i w_i * score_i: positive for `group`, negative for `reference`."""

    attribute: str
    group: str
    reference: str
    ids: tuple[str, ...]
    weights: Floats  # (example,)
    n_group: int
    n_reference: int

    def gap(self, score: Floats) -> float:
        """The gap of a score given per row."""
        return math.fsum((self.weights * np.asarray(score, dtype=float)).tolist())


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One unit's part of a gap, with a pointwise and a simultaneous interval (bootstrap over rows)."""

    unit: str
    estimate: float
    low: float
    high: float
    simultaneous_low: float
    simultaneous_high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """A gap divided among units: sum of shares + residual = gap, exactly."""

    attribute: str
    group: str
    reference: str
    n_group: int
    n_reference: int
    score: str  # what the gap is a gap of, e.g. "logit(approved) - logit(denied)"
    unit: str
    gap: float
    gap_low: float
    gap_high: float
    shares: tuple[Share, ...]  # in the order of the units given, not sorted
    residual: float
    mean_absolute_shift: float  # mean |f(x) - f(b)| over the rows, the scale of the residual
    confidence: float
    replicates: int
    seed: int
    baseline: str
    n_not_converged: int

    @property
    def ranked(self) -> tuple[Share, ...]:
        """Shares, largest magnitude first."""
        return tuple(sorted(self.shares, key=lambda share: -abs(share.estimate)))


@dataclass(frozen=True, slots=True, kw_only=True)
class WordEffect:
    """What one word (feature, unit) adds to the target over a set of examples."""

    unit: str
    n_examples: int  # that hold it
    n_occurrences: int
    mean: float  # attribution per occurrence, in the attribution's unit
    low: float
    high: float  # bootstrap interval of the mean over examples, pointwise
    total: float  # over all occurrences
    positive: float  # share of occurrences with an attribution above zero
    n_left_out: int  # examples that hold it and did not converge: they are in no number here
    contexts: tuple[tuple[str, float, str], ...]  # (id, attribution, words around it), largest first


@dataclass(frozen=True, slots=True, kw_only=True)
class WordDifference:
    """How differently one word counts in two groups, where it occurs."""

    unit: str
    group: str
    reference: str
    n_group: int  # examples of the group that hold it
    n_reference: int
    difference: float  # mean attribution of an example that holds it, group minus reference
    t: float  # Welch's statistic
    p: float  # by permuting groups, of this word alone
    p_adjusted: float  # ... of the largest |t| over all words: Westfall-Young
    n_left_out: int  # examples that hold it and did not converge: they are in no number here


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One metric in one group: k of n with its interval (k is None where the metric is a mean)."""

    attribute: str  # "race", or "race & sex" for an intersection
    group: str  # "unknown" for missing, "(all)" for everybody
    metric: str
    n_rows: int  # rows of the group
    n: int  # the metric's own denominator
    k: int | None
    estimate: float | None
    low: float | None
    high: float | None
    status: Status
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One pair of groups compared on one metric, and what the policy's tolerance makes of it."""

    attribute: str
    metric: str
    group: str
    reference: str
    n_group: int  # denominators of the metric, not rows
    n_reference: int
    estimate: float | None  # group minus reference
    low: float | None  # two-sided interval at the stated confidence, for reading only
    high: float | None
    upper_bound: float | None  # one-sided 1 - alpha bound of |gap|: what "within" is decided by
    tolerance: float | None
    p: float | None  # of "|gap| <= tolerance"; of "no gap" where no tolerance is declared
    p_adjusted: float | None  # Holm over the declared family
    minimum_detectable_effect: float | None  # planning information: never changes a verdict
    n_needed: int | None  # more rows per group that would settle an inconclusive pair
    status: Status
    verdict: Verdict | None  # None: no tolerance declared
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What one attribute, or one group of it against the others, shows beside the comparisons. Nothing is gated on it."""

    attribute: str
    group: str  # "(all)" where it is of all groups
    metric: str
    estimate: float | None
    low: float | None
    high: float | None
    n: int
    words: str
    source: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Rates, gaps and verdicts for every declared group. `verdict` is None when nothing was gated."""

    title: str
    n: int
    plan: Mapping[str, Any]  # the resolved policy: feed it back to run again
    cells: tuple[Cell, ...]
    findings: tuple[Finding, ...]
    verdicts: tuple[Mapping[str, Any], ...]  # {"attribute", "metric", "verdict", "reason", "tolerance"}
    verdict: Verdict | None
    summaries: tuple[Summary, ...] = ()
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 policy met or nothing gated, 1 not met, 4 inconclusive or not assessed; the policy's `fail_on` may differ."""
        fail_on = self.plan.get("policy", {}).get("fail_on", "exceeds")
        if fail_on == "never" or self.verdict is None:
            return 0
        if fail_on == "any":
            return 0 if self.verdict == "within tolerance" else 1
        return EXIT_CODES[self.verdict]

    @property
    def frame(self) -> Any:
        """Every declared group x metric as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame([plain(cell) for cell in self.cells])

    @property
    def findings_frame(self) -> Any:
        """Every pair of groups compared, as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame([plain(finding) for finding in self.findings])

    @property
    def summaries_frame(self) -> Any:
        """What each attribute shows beside the comparisons, as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame([plain(one) for one in self.summaries])

    def __repr__(self) -> str:
        return (
            f"Audit({self.title}: {self.n} rows, {len(self.findings)} comparisons, "
            f"verdict: {self.verdict or 'no tolerance declared'})"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """Everything a reviewer signs. `sections` hold words; every number comes from the records."""

    title: str
    schema_version: str
    created: str  # UTC, ISO 8601: the one field that differs between two equal runs
    audit: Audit  # predictions
    measures: Audit | None  # the measures that explanation adds
    ledgers: tuple[Ledger, ...]
    views: tuple[View, ...]
    attribution: Mapping[str, Any]  # method, target, baseline, n, converged, completeness errors
    certificate: Mapping[str, Any]  # ||AV - O|| / ||O|| per layer, and how it was computed
    model: Mapping[str, Any]
    data: Mapping[str, Any]
    heads: tuple[HeadSummary, ...] = ()
    faithfulness: "Faithfulness | None" = None  # how far the attribution method can be trusted on this model
    slices: Any = (
        None  # bias.slice_records.SliceSearch; a text that says why nothing was searched; None: not asked
    )
    curves: Any = (
        None  # bias.score_curves.ScoreCurves; a text that says why there are none; None: an older review
    )
    law: Any = (
        None  # published_law.PublishedLaw: the tables of New York City's Local Law 144; None: not asked
    )
    why: tuple[Any, ...] = ()  # review_questions.GapAnswer: gaps divided, heads screened and tested
    mitigated: Any = None  # review_questions.FixAnswer: before, the fix, after; None: not asked
    feature_notes: tuple[Mapping[str, str], ...] = ()  # {"feature", "meaning", "note"}
    limits: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    sign_off: Mapping[str, str | None] = field(default_factory=dict)
    evidence: Any = field(default=None, repr=False, compare=False, metadata={"saved": False})
    # visualizers.explorer.Explorer, written beside the page and linked from it; None: not asked
    explorer: Any = field(default=None, repr=False, compare=False, metadata={"saved": False})
    writer: Callable[["Review", Path], tuple[Path, ...]] | None = field(
        default=None, repr=False, compare=False, metadata={"saved": False}
    )

    @property
    def verdict(self) -> Verdict | None:
        """The overall verdict on the predictions."""
        return self.audit.verdict

    @property
    def exit_code(self) -> int:
        """What `clinometer review` returns."""
        return self.audit.exit_code

    def save(self, out: str | Path, *, force: bool = False) -> tuple[Path, ...]:
        """Write report.html, review.json, evidence.parquet, policy.toml and figures/ into a folder.

        The folder appears whole or not at all. An existing folder is replaced only with `force`.
        """
        if self.writer is None:
            raise ValueError("this review was read, not made: it has no writer")
        from .errors import OutputError

        target = Path(out)
        if target.exists() and any(target.iterdir()) and not force:
            raise OutputError(
                f"{target} exists and is not empty. Name another folder, or replace it with force=True (--force)."
            )
        return self.writer(self, target)

    def __repr__(self) -> str:
        return (
            f"Review({self.title}: {self.audit.n} rows, verdict: {self.verdict or 'no tolerance declared'})"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A measure of faithfulness of one method: its mean over rows, beside the best method's and beside chance.

    Differences are paired, on the same rows, and positive where this method is worse than the best, or better than
    random scores. Intervals are of each number alone. None where too few rows have the measure.
    """

    method: str
    measure: str
    group: str  # a value of the group column; "" for all rows
    n: int  # rows that have the measure
    estimate: float | None
    low: float | None
    high: float | None
    behind: float | None = None  # the best method's mean minus this one's
    behind_low: float | None = None
    behind_high: float | None = None
    above_chance: float | None = None  # this method's mean minus random scores'
    above_chance_low: float | None = None
    above_chance_high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """How the outcome falls, or rises, along an order of tokens: means over rows at each share of tokens."""

    method: str
    kind: str  # "most relevant first", "least relevant first" (taken away: the fall), "insertion" (put back: the rise)
    shares: tuple[float, ...]
    estimate: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Randomised:
    """What is left of an attribution once a model's weights are drawn anew: rank correlations over rows."""

    method: str
    kind: str  # "cascading": this part and all above it, "independent": this part alone
    part: str  # of the model
    place: int  # 1 for the part nearest to the output
    n: int  # rows with a correlation
    correlation: float | None  # of signed scores, before and after
    low: float | None
    high: float | None
    of_sizes: float | None  # of their absolute values
    of_sizes_low: float | None
    of_sizes_high: float | None
    moved: float  # mean |target after - target before|: 0 where the weights do not matter


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Faithfulness:
    """Which attribution methods are faithful to this model on these rows, by several measures, and one ranking."""

    subject: str
    target: str  # what the attributions explain
    outcome: str  # what is measured when tokens are taken away, in words with its unit
    baseline: str  # what a token taken away has in its place
    ids: tuple[str, ...]
    methods: tuple[str, ...]  # those measured; random scores are last
    failed: tuple[tuple[str, str], ...]  # methods that did not run, and why
    measures: tuple[str, ...]
    values: Floats  # (method, measure, example), NaN where a row does not have it
    measured: tuple[Measured, ...]
    curves: tuple[Curve, ...]
    randomised: tuple[Randomised, ...]
    ranking: tuple[str, ...]  # by the area between the curves, best first
    recommended: str | None
    reason: str
    grouped_by: str  # a group column; "" for none
    confidence: float
    replicates: int
    seed: int
    n_runs: int  # rows the model was run on to take tokens away; attributions not counted
    notes: tuple[str, ...]

    @property
    def frame(self) -> Any:
        """Every method x measure x group as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame([plain(one) for one in self.measured])

    def of(self, method: str, measure: str, group: str = "") -> Measured:
        """One measure of one method.

        Raises:
            UsageError: there is no such method, measure or group.
        """
        for one in self.measured:
            if (one.method, one.measure, one.group) == (method, measure, group):
                return one
        from .errors import UsageError, first

        groups = tuple(dict.fromkeys(one.group for one in self.measured))
        raise UsageError(
            f"{measure!r} of {method!r} in group {group!r} was not measured. Methods: {first(self.methods, 20)}; measures: "
            f"{first(self.measures, 20)}; groups: {first(groups, 20)}."
        )

    def __repr__(self) -> str:
        failed = f", {len(self.failed)} methods failed" if self.failed else ""
        return (
            f"Faithfulness({self.subject}, {len(self.ids)} rows: {len(self.methods) - 1} methods{failed}; "
            f"{f'recommended: {self.recommended}' if self.recommended else 'none recommended'}: {self.reason})"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """How often one method puts a planted token first: where it decides, and where it means nothing.

    Intervals are exact (Clopper & Pearson 1934). None where there are no rows.
    """

    method: str
    found: int  # affected rows whose highest score is the planted token's
    n: int  # affected rows
    share: float | None
    low: float | None
    high: float | None
    false: int  # rows of the clean copy whose highest score is the planted token's
    n_clean: int
    false_share: float | None
    false_low: float | None
    false_high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantedShortcut:
    """A test of power: does a method find a token that is known to decide a copy's predictions?"""

    subject: str
    token: str
    label: str
    methods: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]
    found: tuple[Found, ...]
    followed: (
        float  # share of rows predicted otherwise before that the copy moves to the label with the token
    )
    clean_followed: float  # the same of the clean copy, where the token means nothing
    accuracy: float  # on rows without the token: of the copy
    clean_accuracy: float
    learning_rate: float  # of the fine-tuning: the first at which the copy followed
    by_chance: float  # the share that random scores would find: mean of 1 / tokens that can be taken away
    n_trained: int
    n_held_out: int
    n_left_out: int  # rows in which the token could not be located, or that hold it already
    confidence: float
    seed: int
    notes: tuple[str, ...]

    @property
    def frame(self) -> Any:
        """Every method as a row of a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame([plain(one) for one in self.found])

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{one.method} {one.found} of {one.n}, false {one.false} of {one.n_clean}" for one in self.found
        )
        return f"PlantedShortcut({self.token!r} -> {self.label} in a copy of {self.subject}: {shown})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far an attribution agrees with people: one measure with its interval over examples."""

    measure: str
    n: int
    estimate: float | None
    low: float | None
    high: float | None
    by_chance: float | None  # the same of random scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Plausibility:
    """Agreement of an attribution with human rationales. It says nothing of what the model did."""

    method: str
    target: str
    n: int  # examples with a rationale
    n_left_out: int  # examples without any
    taken: str  # which tokens count as the attribution's rationale, in words
    spans: str  # what a predicted span is, in words
    agreements: tuple[Agreement, ...]
    confidence: float
    replicates: int
    seed: int

    @property
    def frame(self) -> Any:
        """Every measure as a row of a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame([plain(one) for one in self.agreements])

    def of(self, measure: str) -> Agreement:
        """One measure.

        Raises:
            UsageError: there is none of this name.
        """
        for one in self.agreements:
            if one.measure == measure:
                return one
        from .errors import UsageError, did_you_mean

        raise UsageError(
            f"there is no measure {measure!r}; {did_you_mean(measure, [one.measure for one in self.agreements])}"
        )

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{one.measure} {one.estimate:.3f}" for one in self.agreements if one.estimate is not None
        )
        return f"Plausibility({self.method} of {self.target}, {self.n} examples: {shown})"
