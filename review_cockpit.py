"""A review cockpit: a threshold and a tolerance under the hand, and the verdicts that follow at once."""

import base64
import dataclasses
import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from .bias.audit import audit
from .bias.metrics import BY_NAME
from .bias.policy import Policy, read_policy
from .errors import UsageError, did_you_mean
from .evidence import Evidence, fresh
from .records import Audit, Finding

READER = "whoever moves this slider"
DEFAULT_TOLERANCE = 0.1
STEPS = 200  # of the threshold's slider
CAPTION = (
    "For looking: a threshold or a tolerance that is chosen on the rows it is judged on proves nothing. The verdict that "
    "counts is of a policy written down before, on rows that chose nothing."
)


class Cockpit:
    """Sliders for the threshold of decisions and the tolerance of one metric; every move is audited again.

    `threshold` and `tolerance` can be read and set; `audit` is the audit at their present values, `policy` what it was
    judged by. `observe(function)` calls a function with the cockpit after every move.
    """

    def __init__(
        self,
        evidence: Evidence,
        policy: Policy,
        *,
        metric: str,
        threshold: float,
        scores: npt.NDArray[np.float64],
        explorer: Any = None,
    ) -> None:
        import ipywidgets

        self.policy = policy
        self.metric = metric
        self.explorer = explorer
        self._evidence = evidence
        self._scores = scores
        self._listeners: list[Callable[[Cockpit], object]] = []
        low, high = min(float(scores.min()), threshold), max(float(scores.max()), threshold)
        wide = {
            "layout": {"width": "46em"},
            "style": {"description_width": "11em"},
            "continuous_update": False,
        }
        self._threshold = ipywidgets.FloatSlider(
            value=threshold, min=low, max=high, step=(high - low) / STEPS or 1.0, readout_format=".3g",
            description="decide above", **wide,
        )  # fmt: skip
        most = (
            1.0 if metric in BY_NAME and BY_NAME[metric].kind == "rate" else max(1.0, float(np.ptp(scores)))
        )
        self._tolerance = ipywidgets.FloatSlider(
            value=policy.tolerance[metric], min=0.0, max=max(most, policy.tolerance[metric]), step=most / STEPS,
            readout_format=".3f", description="tolerance", **wide,
        )  # fmt: skip
        self._shown = ipywidgets.HTML()
        self.audit: Audit = self._again()
        self._threshold.observe(self._moved, names="value")
        self._tolerance.observe(self._moved, names="value")
        panel = ipywidgets.VBox([self._threshold, self._tolerance, self._shown])
        below = getattr(explorer, "widget", explorer)
        self.widget = panel if explorer is None else ipywidgets.VBox([panel, below])

    @property
    def threshold(self) -> float:
        """Rows whose score is above it are decided positively."""
        return float(self._threshold.value)

    @threshold.setter
    def threshold(self, value: float) -> None:
        self._set(self._threshold, "threshold", value)

    @property
    def tolerance(self) -> float:
        """The largest difference of two groups that is allowed, in the metric's own unit."""
        return float(self._tolerance.value)

    @tolerance.setter
    def tolerance(self, value: float) -> None:
        self._set(self._tolerance, "tolerance", value)

    def observe(self, function: "Callable[[Cockpit], object]") -> None:
        """Call the function with this cockpit after every move."""
        self._listeners.append(function)

    def _set(self, slider: Any, name: str, value: float) -> None:
        if not slider.min <= value <= slider.max:
            raise UsageError(
                f"the {name} is {value:g}; between {slider.min:g} and {slider.max:g} is expected."
            )
        slider.value = value

    def _moved(self, _: Any) -> None:
        self.audit = self._again()
        for function in self._listeners:
            function(self)

    def _again(self) -> Audit:
        self.policy = with_tolerance(self.policy, self.metric, self.tolerance)
        made = audit(decided(self._evidence, self._scores, self.threshold), self.policy, title="cockpit")
        self._shown.value = verdict_page(made, self.metric)
        return made

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The live widget, and the same table and picture for where nothing is alive."""
        made = self.widget._repr_mimebundle_(**kwargs)
        data, *more = made if isinstance(made, tuple) else (made,)
        data = {**data, "text/html": self._shown.value, "text/plain": repr(self)}
        return (data, *more) if more else data

    def __repr__(self) -> str:
        return (
            f"Cockpit({self.metric}: decide above {self.threshold:.3g}, tolerance {self.tolerance:.3g}; "
            f"{self.audit.verdict or 'nothing gated'})"
        )


def cockpit(
    evidence: Evidence,
    policy: Policy | str | Path | None = None,
    *,
    metric: str | None = None,
    threshold: float | None = None,
    explorer: Any = None,
) -> Cockpit:
    """Move the threshold of decisions and the tolerance of one metric, and see every verdict that follows.

    Args:
        evidence: with a score, and a label where the metric needs one.
        policy: what is judged besides; its tolerance of the metric is where that slider starts.
        metric: the one whose tolerance is moved; by default the policy's first, else selection_rate.
        threshold: where the slider starts; by default where the evidence's own predictions part the scores, or what its
            provenance says.
        explorer: of `explore`, shown below.

    Raises:
        UsageError: no score, no such metric, a task that is not binary, no threshold known; or the notebook extra is
            not installed.
    """
    try:
        import ipywidgets  # noqa: F401
    except ImportError as missing:
        raise UsageError(
            "the cockpit needs the notebook extra: pip install 'clinometer[notebook]'."
        ) from missing
    rules = read_policy(policy) if isinstance(policy, (str, Path)) else policy or Policy()
    if rules.task != "binary":
        raise UsageError(f"the policy is for a {rules.task} task; a threshold decides a binary one.")
    if evidence.score is None:
        raise UsageError("the evidence names no score, which a threshold would decide by (score=).")
    scores = evidence.column(evidence.score)
    if rules.positive is not None and evidence.positive is None:
        evidence = dataclasses.replace(evidence, positive=rules.positive)
    chosen = metric or next(iter(rules.tolerance), "selection_rate")
    known = (*BY_NAME, str(evidence.score))
    if chosen.split("[")[0] not in known:
        raise UsageError(f"there is no metric {chosen!r}; {did_you_mean(chosen, known)}")
    start = starting_threshold(evidence, scores) if threshold is None else threshold
    plain = rules.model_copy(update={"positive": None})
    return Cockpit(
        evidence,
        with_tolerance(plain, chosen, rules.tolerance.get(chosen, DEFAULT_TOLERANCE)),
        metric=chosen,
        threshold=float(start),
        scores=scores,
        explorer=explorer,
    )


def starting_threshold(evidence: Evidence, scores: npt.NDArray[np.float64]) -> float:
    """Where the evidence's predictions part its scores, half way; else the threshold of its provenance.

    Raises:
        UsageError: no threshold is known.
    """
    if evidence.prediction is not None:
        yes = evidence.binary(evidence.prediction)
        if yes.any() and not yes.all() and scores[~yes].max() < scores[yes].min():
            said = evidence.provenance.get("threshold")
            inside = isinstance(said, float) and scores[~yes].max() <= said < scores[yes].min()
            return (
                float(said)
                if inside and said is not None
                else float(scores[~yes].max() + scores[yes].min()) / 2
            )
    said = evidence.provenance.get("threshold")
    if isinstance(said, (int, float)) and np.isfinite(said):
        return float(said)
    raise UsageError("nothing says where decisions part the scores: give threshold=.")


def decided(evidence: Evidence, scores: npt.NDArray[np.float64], threshold: float) -> Evidence:
    """The evidence with decisions at this threshold; label and decision as 0 and 1."""
    table = evidence.table
    columns = {"prediction": (scores > threshold).astype(np.int64)}
    if evidence.label is not None:
        columns["label"] = evidence.binary(evidence.label).astype(np.int64)
    names: dict[str, Any] = {"positive": None}
    for role, values in columns.items():
        names[role] = fresh(role, table.column_names)
        table = table.append_column(names[role], pa.array(values))
    return dataclasses.replace(evidence, table=table, **names)


def with_tolerance(policy: Policy, metric: str, tolerance: float) -> Policy:
    """The policy with another tolerance of one metric; whoever set the others is still named."""
    set_by = policy.set_by
    if set_by is None:
        set_by = READER
    elif READER not in set_by and policy.tolerance.get(metric) != tolerance:
        set_by = f"{set_by}; of {metric}: {READER}"
    return Policy.model_validate(
        {**policy.model_dump(), "set_by": set_by, "tolerance": {**policy.tolerance, metric: tolerance}}
    )


def verdict_page(made: Audit, metric: str) -> str:
    """Every gated comparison as a table with marks and words, and the forest plot of one metric. Inline styles only."""
    from .visualizers.gaps import describe_gaps, gap_forest
    from .visualizers.palette import MARKS, encoded
    from .visualizers.wording import interval, number, signed, spoken

    def row(one: Finding) -> str:
        cells = (
            spoken(one.metric),
            one.attribute,
            f"{one.group} − {one.reference}",
            f"{signed(one.estimate)} {interval(one.low, one.high, sign=True)}",
            f"{number(one.n_group)}, {number(one.n_reference)}",
            number(one.tolerance),
            f"{MARKS[one.verdict]} {one.verdict or 'no tolerance'}{f': {one.reason}' if one.reason else ''}",
        )
        return (
            "<tr>"
            + "".join(f"<td style='padding:2px 8px'>{html.escape(cell)}</td>" for cell in cells)
            + "</tr>"
        )

    gated = [one for one in made.findings if one.verdict is not None]
    head = ("metric", "attribute", "groups", "difference, interval", "n of each", "tolerance", "verdict")
    titles = "".join(f"<th scope='col' style='padding:2px 8px;text-align:left'>{name}</th>" for name in head)
    whole = f"{MARKS[made.verdict]} {made.verdict or 'nothing is gated'}"
    picture = base64.b64encode(encoded(gap_forest(made, metric), "png", dpi=110)).decode()
    sentence = html.escape(describe_gaps(made, metric), quote=True)
    return (
        f"<p style='margin:4px 0'><b>{html.escape(whole)}</b>, n = {number(made.n)}</p>"
        f"<table><thead><tr>{titles}</tr></thead><tbody>{''.join(map(row, gated))}</tbody></table>"
        f"<img alt='{sentence}' src='data:image/png;base64,{picture}' style='max-width:100%;background:#ffffff'>"
        f"<p style='margin:4px 0;max-width:46em'>{html.escape(CAPTION)}</p>"
    )
