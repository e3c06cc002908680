"""A policy.toml to start from: roles of columns as their content suggests them, each line with its reason."""

import json
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from .errors import DataError
from .evidence import FALSE, TRUE, Evidence
from .evidence_files import read

MOST_GROUPS = 20  # values of a column that is proposed as an attribute
MOST_LISTED = 12  # values that are listed in a comment
LABELS = ("label", "target", "truth", "outcome", "actual", "y", "y_true", "approved", "hired", "repaid")
PREDICTIONS = ("prediction", "predicted", "pred", "y_pred", "yhat", "y_hat", "decision", "selected")
SCORES = ("score", "probability", "prob", "proba", "p", "y_score", "y_prob", "confidence")
SENSITIVE = (
    *("sex", "gender", "race", "ethnic", "age", "religion", "faith", "nation", "citizen", "disab", "marital"),
    *("orientation", "language", "dialect", "region", "pregnan", "veteran", "colour", "color", "origin"),
)
Task = Literal["binary", "multiclass", "regression"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedGroup:
    """A column whose values may be groups."""

    column: str
    sizes: dict[str, int]  # value -> rows, most first; empty where numbers are cut into bins
    missing: int
    bins: tuple[float, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What the content of a file suggests. Somebody has to read it: a name or a value may mislead."""

    file: str
    n: int
    task: Task
    id: str | None
    label: str | None
    prediction: str | None
    score: str | None
    positive: str | None
    groups: tuple[ProposedGroup, ...]
    reasons: dict[str, str]  # column -> why it has its role, or why it has none

    def command(self, policy: Path) -> str:
        """The audit to type next."""
        words = ["clinometer", "audit", self.file]
        for role in ("id", "label", "prediction", "score"):
            column = getattr(self, role)
            if column is not None and column != role:
                words += [f"--{role}", column]
        return shlex.join([*words, "--policy", str(policy)])


def propose(path: str | Path) -> Proposal:
    """Look at a CSV or Parquet file and propose a role for each of its columns.

    Two values: a label or a decision, by their names. Numbers from 0 to 1: a score. A few values: a group; numbers with
    a name that says so, such as age: a group in bins by quartiles.

    Raises:
        DataError: the file cannot be read, or no column can be a group.
    """
    made = read(path)
    columns = [_Column(made, name) for name in made.table.column_names if name != made.id]
    reasons: dict[str, str] = {}
    id = None if _numbered(made) else made.id
    if id is not None:
        reasons[id] = "names rows, by its name"
    label = _named(columns, LABELS, lambda c: c.two_valued or c.few or c.numeric)
    prediction = _named(
        [c for c in columns if c is not label], PREDICTIONS, lambda c: c.two_valued or c.few or c.numeric
    )
    score = _named(
        [c for c in columns if c not in (label, prediction)], SCORES, lambda c: c.numeric and not c.two_valued
    )
    free = [c for c in columns if c not in (label, prediction, score)]
    if score is None:
        score = next((c for c in free if c.share and not c.sensitive), None)
        free = [c for c in free if c is not score]
    if label is None:
        label = next((c for c in free if c.two_valued and not c.sensitive), None)
        free = [c for c in free if c is not label]
    if prediction is None and label is not None:
        prediction = next((c for c in free if c.two_valued and not c.sensitive), None)
        free = [c for c in free if c is not prediction]
    for role, column in (("label", label), ("prediction", prediction), ("score", score)):
        if column is not None:
            reasons[column.name] = f"{role}: {column.about}"
    groups = []
    for column in free:
        group, why = _group(column, len(made))
        reasons[column.name] = why
        if group is not None:
            groups.append(group)
    if not groups:
        raise DataError(
            f"{path} has no column that could be a group: text or whole numbers with 2 to {MOST_GROUPS} values, which "
            "are neither label nor prediction. Add one, or write policy.toml by hand (`clinometer schema`)."
        )
    groups.sort(key=lambda group: not _sensitive(group.column))
    return Proposal(
        file=str(path),
        n=len(made),
        task=_task(label),
        id=id,
        label=None if label is None else label.name,
        prediction=None if prediction is None else prediction.name,
        score=None if score is None else score.name,
        positive=_positive(label, prediction),
        groups=tuple(groups),
        reasons=reasons,
    )


class _Column:
    """What the content of one column allows."""

    def __init__(self, evidence: Evidence, name: str) -> None:
        self.name = name
        kind = evidence.table.column(name).type
        self.nested = bool(pa.types.is_nested(kind))
        self.codes, self.values = (np.zeros(0, dtype=np.int32), ()) if self.nested else evidence.codes(name)
        self.sensitive = _sensitive(name)
        self.whole = bool(pa.types.is_integer(kind))
        self.numeric = self.whole or bool(pa.types.is_floating(kind))
        numbers = evidence.column(name) if self.numeric else np.zeros(0)
        self.numbers = numbers[np.isfinite(numbers)]
        self.two_valued = len(self.values) == 2
        self.few = 2 <= len(self.values) <= MOST_GROUPS
        self.share = (
            bool(pa.types.is_floating(kind))
            and len(self.values) > 2
            and self.numbers.size > 0
            and bool(self.numbers.min() >= 0 and self.numbers.max() <= 1)
        )

    @property
    def truth(self) -> bool:
        """Whether its two values are 0 and 1, yes and no, or the like."""
        return {value.lower() for value in self.values} <= TRUE | FALSE

    @property
    def about(self) -> str:
        """The content in words."""
        if self.two_valued:
            return f"two values, {self.values[0]!r} and {self.values[1]!r}"
        if self.share:
            return "numbers from 0 to 1"
        return f"{len(self.values):,} values"


def _named(columns: list[_Column], names: tuple[str, ...], fits: Callable[[_Column], bool]) -> _Column | None:
    """The column whose name says what it is, the surest name first, if its content allows it."""
    by_name = {column.name.lower().replace("-", "_"): column for column in columns}
    found = (by_name[name] for name in names if name in by_name)
    return next((column for column in found if fits(column)), None)


def _group(column: _Column, n: int) -> tuple[ProposedGroup | None, str]:
    """The column as groups, or None; and why."""
    missing = int((column.codes < 0).sum())
    if column.nested:
        return None, "no role: lists or records"
    if column.numeric and len(column.values) > MOST_GROUPS:
        if not column.sensitive:
            return None, f"no role: numbers, {len(column.values):,} of them different"
        low, *inner, high = np.quantile(column.numbers, [0, 0.25, 0.5, 0.75, 1]).tolist()
        edges = tuple(
            sorted({float(np.floor(low)), *(float(round(e, 2)) for e in inner), float(np.ceil(high))})
        )
        reason = "numbers, in bins by quartiles"
        return ProposedGroup(
            column=column.name, sizes={}, missing=missing, bins=edges, reason=reason
        ), f"group: {reason}"
    if not column.few:
        return None, "no role: one value" if len(
            column.values
        ) < 2 else f"no role: {column.about}, too many for groups"
    if column.numeric and not column.whole and not column.sensitive:
        return None, f"no role: {column.about}, numbers"
    if not column.sensitive and len(column.values) > max(2, n // 5):
        return None, f"no role: {column.about} in {n} rows"
    counts = np.bincount(column.codes[column.codes >= 0], minlength=len(column.values))
    order = np.argsort(-counts, kind="stable")
    sizes = {column.values[i]: int(counts[i]) for i in order}
    return ProposedGroup(
        column=column.name, sizes=sizes, missing=missing, reason=column.about
    ), f"group: {column.about}"


def _sensitive(name: str) -> bool:
    """Whether the name says that the column is of people: whole words, or the beginning of one."""
    words = "".join(c if c.isalnum() else " " for c in name.lower()).split()
    return any(
        word == start or (len(start) > 3 and word.startswith(start)) for word in words for start in SENSITIVE
    )


def _numbered(made: Evidence) -> bool:
    """Whether rows have the names that are given where a file has none."""
    return made.id == "id" and made.ids == tuple(map(str, range(len(made))))


def _task(label: _Column | None) -> Task:
    if label is None or label.two_valued:
        return "binary"
    return "regression" if label.numeric and not label.few else "multiclass"


def _positive(label: _Column | None, prediction: _Column | None) -> str | None:
    """The value that has to be called positive: of two texts that do not say it themselves."""
    of = label or prediction
    if of is None or not of.two_valued or of.truth:
        return None
    return of.values[-1]


def to_toml(proposal: Proposal) -> str:
    """The proposal as a policy.toml that reads back: what is not decided yet is a comment."""
    return "\n".join(_lines(proposal)) + "\n"


def _lines(proposal: Proposal) -> Iterator[str]:
    quoted = _quoted
    yield f"# A policy to start from, proposed from the content of {quoted(Path(proposal.file).name)} ({proposal.n:,} rows)."
    yield "# Read every line: a column's name or its values may mislead. `clinometer schema` prints what is allowed here."
    yield ""
    yield f"name = {quoted(f'policy for {Path(proposal.file).name}')}"
    yield '# set_by = "who sets the tolerances"'
    yield "alpha = 0.05       # error rate of the verdicts"
    yield "confidence = 0.95  # of the intervals shown"
    yield "min_group = 1      # smallest denominator that is judged"
    if proposal.task != "binary":
        yield f"task = {quoted(proposal.task)}  # what the label holds"
    if proposal.positive is not None:
        yield f"positive = {quoted(proposal.positive)}  # the positive value of label and prediction: is it this one?"
    names = [quoted(group.column) for group in proposal.groups[:2]]
    if len(names) == 2:
        yield f"# intersections = [[{', '.join(names)}]]  # attributes taken together"
    yield '# fail_on = "exceeds"  # exit code 1: "exceeds", "any" (anything but within), "never"'
    yield ""
    yield "# Roles of columns are named on the command line:"
    for column, reason in proposal.reasons.items():
        if not reason.startswith("group"):
            yield f"#   {quoted(column)}: {_comment(reason)}"
    yield ""
    yield "# There is no default tolerance: nothing is gated until somebody writes one here, and says who they are (set_by)."
    yield "# [tolerance]"
    yield from _tolerances(proposal)
    for group in proposal.groups:
        yield from _group_lines(group)


def _tolerances(proposal: Proposal) -> Iterator[str]:
    """Metrics that these roles allow, without a number: no number is usual."""
    metrics: tuple[str, ...] = ()
    if proposal.prediction is not None and proposal.task == "binary":
        rates = ("true_positive_rate", "false_positive_rate") if proposal.label is not None else ()
        metrics = ("selection_rate", *rates)
    elif proposal.prediction is not None and proposal.label is not None:
        metrics = ("accuracy",) if proposal.task == "multiclass" else ("mean_absolute_error",)
    elif proposal.score is not None:
        metrics = ("mean_score",)
    for metric in metrics or ("METRIC",):
        yield f"# {metric} = LARGEST_DIFFERENCE  # of any two groups that somebody accepts"


def _group_lines(group: ProposedGroup) -> Iterator[str]:
    yield ""
    yield f"[groups.{_quoted(group.column)}]  # {_comment(group.reason)}"
    if group.missing:
        yield f"# {group.missing:,} rows have no value: they are shown as unknown and enter no comparison"
    if group.bins:
        yield f"bins = [{', '.join(repr(edge) for edge in group.bins)}]  # edges; the last bin holds its upper edge too"
        return
    listed = list(group.sizes.items())
    for value, rows in listed[:MOST_LISTED]:
        yield f"#   {_quoted(value)}: {rows:,} rows"
    if len(listed) > MOST_LISTED:
        yield f"#   and {len(listed) - MOST_LISTED} more"
    yield f"# reference = {_quoted(listed[0][0])}  # gaps are signed group minus reference; the largest group here"
    yield f'# exclude = {{ {_quoted(listed[-1][0])} = "a written reason" }}  # compared in no gate'


def _quoted(text: str) -> str:
    """A TOML string that may stand in a comment too: no control character, no line break."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _comment(text: str) -> str:
    """Words for a comment: characters that TOML allows there."""
    return "".join(c if c == "\t" or (c >= " " and c != "\x7f") else " " for c in text)
