"""What a review is asked beyond its audit: why a gap, and which fix would close one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .bias.audited_again import Agreeing
from .bias.changes import Better
from .bias.compared import Comparison
from .bias.lexicons import SwapLexicon
from .bias.mitigation import Mitigation
from .bias.pareto_records import UNMITIGATED, Point
from .bias.policy import Policy
from .bias.seen_rows import Seen
from .errors import DataError, UsageError, did_you_mean
from .explained_gap import GAPS, GapName, Why, why
from .mitigating import CONSTRAINTS, FIXES, Mitigated, mitigate
from .records import Attribution, Audit, Rows

if TYPE_CHECKING:
    from .interpret.models import Subject

OF_ONE_LABEL = ("true_positive_rate", "false_positive_rate")


@dataclass(frozen=True, slots=True, kw_only=True)
class GapQuestion:
    """Why is there a gap between these two groups? Everything else as `why` takes it."""

    attribute: str
    group: str
    reference: str | None = None  # None is everyone else whose group is known
    metric: GapName = "selection_rate"
    identity: tuple[str, ...] | SwapLexicon = ()
    n_candidates: int = 4
    n_random: int = 39
    minimum: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class FixQuestion:
    """Which fix closes the largest gap between groups of an attribute? Everything else as `mitigate` takes it."""

    attribute: str
    gap: str = "true_positive_rate"
    utility: str = "accuracy"
    accepted_loss: float = 0.01
    fixes: tuple[str, ...] = FIXES


@dataclass(frozen=True, slots=True, kw_only=True)
class GapAnswer:
    """What a gap is associated with, and which heads were verified."""

    question: GapQuestion
    sentences: tuple[str, ...]
    verified: tuple[tuple[tuple[str, int], ...], ...]  # sets of (layer, head)
    found: Why


@dataclass(frozen=True, slots=True, kw_only=True)
class FixAnswer:
    """The audit before, what was chosen of which fixes and by what rule, and the audit after: on rows that judge."""

    question: FixQuestion
    sentences: tuple[str, ...]
    before: Audit | None  # on the rows that judge; None where nothing was better than no fix
    mitigation: Mapping[str, Any]
    after: Audit | None
    changes: Comparison | None  # every metric of every group and every gap, paired row by row
    declared: tuple[
        tuple[str, str, str, str], ...
    ]  # (attribute, group, reference, metric) of the gaps that are
    improved: tuple[tuple[str, str, str, str], ...]  # (attribute, group, reference, metric), beyond noise
    worsened: tuple[tuple[str, str, str, str], ...]
    agreement: tuple[Agreeing, ...]  # how often the decision stays: everybody, then each group
    better: Better  # which way the utility is better
    confidence: float  # of the intervals of the points
    chosen_on: tuple[Point, ...]
    judged_on: tuple[Point, ...]
    found: Mitigated = field(repr=False, compare=False, metadata={"saved": False})  # the fixes themselves too

    def cost_by_group(self) -> tuple[Any, ...]:
        """The change of the utility in every group, where it was compared."""
        if self.changes is None:
            return ()
        return tuple(
            one
            for one in self.changes.changes
            if one.attribute and not one.is_gap and one.metric == self.question.utility
        )


def gap_question(asked: "GapQuestion | str") -> GapQuestion:
    """A question as `ATTRIBUTE:GROUP[:REFERENCE[:METRIC]]` says it; an empty reference is everyone else.

    Raises:
        UsageError: another number of parts, or a metric that is not known.
    """
    if isinstance(asked, GapQuestion):
        question = asked
    else:
        parts = asked.split(":")
        if not 2 <= len(parts) <= 4 or not parts[0] or not parts[1]:
            raise UsageError(
                f"why {asked!r}: ATTRIBUTE:GROUP[:REFERENCE[:METRIC]] is expected, e.g. race:black:white:selection_rate. "
                "A name that holds a colon is given to `clinometer why`, or in Python as a GapQuestion."
            )
        attribute, group, reference, metric = (*parts, "", "")[:4]
        question = GapQuestion(
            attribute=attribute,
            group=group,
            reference=reference or None,
            metric=metric or "selection_rate",  # type: ignore[arg-type]
        )
    if question.metric not in GAPS:
        raise UsageError(f"why: the metric is {question.metric!r}; {did_you_mean(question.metric, GAPS)}")
    return question


def fix_question(asked: "FixQuestion | str") -> FixQuestion:
    """A question as `ATTRIBUTE[:GAP]` says it.

    Raises:
        UsageError: another number of parts, or a gap or a fix that is not known.
    """
    if isinstance(asked, FixQuestion):
        question = asked
    else:
        parts = asked.split(":")
        if len(parts) > 2 or not parts[0]:
            raise UsageError(
                f"mitigate {asked!r}: ATTRIBUTE[:GAP] is expected, e.g. race:true_positive_rate."
            )
        question = FixQuestion(attribute=parts[0], gap=parts[1] if len(parts) == 2 else "true_positive_rate")
    if question.gap not in CONSTRAINTS:
        raise UsageError(f"mitigate: the gap is {question.gap!r}; {did_you_mean(question.gap, CONSTRAINTS)}")
    unknown = [name for name in question.fixes if name not in FIXES]
    if unknown:
        raise UsageError(f"mitigate: there is no fix {unknown[0]!r}: {did_you_mean(unknown[0], FIXES)}")
    return question


def questions(
    rows: Rows, why: "Sequence[GapQuestion | str]", mitigate: "FixQuestion | str | None"
) -> tuple[tuple[GapQuestion, ...], FixQuestion | None]:
    """All questions, refused before anything is computed where these rows cannot answer them.

    Raises:
        UsageError: a rate of one label, or a fix, without labels; or a question that cannot be read.
        DataError: a group column or a group that the rows do not have.
    """
    if isinstance(why, str):
        raise UsageError(f"why is {why!r}; a sequence of questions is expected: why=[{why!r}].")
    gaps = tuple(gap_question(one) for one in why)
    fix = None if mitigate is None else fix_question(mitigate)
    for question in gaps:
        known = _groups(rows, question.attribute, "why")
        for group in (question.group, question.reference):
            if group is not None and group not in known:
                raise DataError(
                    f"why: {question.attribute} has no group {group!r}: {did_you_mean(group, sorted(known))}"
                )
        if question.metric in OF_ONE_LABEL and rows.labels is None:
            raise UsageError(f"why: {question.metric} needs labels: give rows with labels (--label).")
    if fix is not None:
        _groups(rows, fix.attribute, "mitigate")
        if rows.labels is None:
            raise UsageError("mitigate: a fix is fitted to labels: give rows with labels (--label).")
    return gaps, fix


def gap_answer(question: GapQuestion, found: Why) -> GapAnswer:
    """The answer that a review keeps."""
    return GapAnswer(question=question, sentences=found.sentences, verified=found.verified, found=found)


def fix_answer(question: FixQuestion, found: Mitigated) -> FixAnswer:
    """The answer that a review keeps: `review.json` has all of it but the models."""
    again = found.again
    return FixAnswer(
        question=question,
        sentences=found.sentences,
        before=None if again is None else again.before,
        mitigation=_chosen(found),
        after=None if again is None else again.after,
        changes=None if again is None else again.comparison,
        declared=() if again is None else tuple(_key(one) for one in again.gaps),
        improved=() if again is None else tuple(_key(one) for one in again.improved),
        worsened=() if again is None else tuple(_key(one) for one in again.worsened),
        agreement=() if again is None else again.agreement,
        better=found.judged_on.better,
        confidence=found.judged_on.confidence,
        chosen_on=found.chosen_on.points,
        judged_on=found.judged_on.points,
        found=found,
    )


def answer_gap(
    subject: "Subject",
    rows: Rows,
    question: GapQuestion,
    *,
    attribution: Attribution | None = None,
    replicates: int = 2000,
    batch_size: int = 32,
    seed: int = 0,
    progress: bool = False,
) -> GapAnswer:
    """Why a gap, as `explained_gap.why` finds it.

    Args:
        attribution: integrated gradients of these rows, where they were made already.

    Raises: as `why`.
    """
    found = why(
        subject,
        rows,
        question.attribute,
        question.group,
        question.reference,
        metric=question.metric,
        identity=question.identity,
        n_candidates=question.n_candidates,
        n_random=question.n_random,
        minimum=question.minimum,
        attribution=attribution,
        replicates=replicates,
        batch_size=batch_size,
        seed=seed,
        progress=progress,
    )
    return gap_answer(question, found)


def answer_fix(
    subject: "Subject",
    rows: Rows,
    policy: Policy,
    question: FixQuestion,
    *,
    batch_size: int = 64,
    seed: int = 0,
    progress: bool = False,
) -> FixAnswer:
    """Which fix closes a gap, as `mitigating.mitigate` finds it.

    Args:
        policy: both audits follow it, but for tolerances of measures that explanation adds: a fix is judged by
            decisions and scores.

    Raises: as `mitigate`.
    """
    found = mitigate(
        subject,
        rows,
        policy,
        question.attribute,
        gap=question.gap,
        utility=question.utility,
        accepted_loss=question.accepted_loss,
        fixes=question.fixes,
        batch_size=batch_size,
        seed=seed,
        progress=progress,
    )
    return fix_answer(question, found)


def _groups(rows: Rows, attribute: str, asked: str) -> set[str]:
    """The known groups of a column."""
    if attribute not in rows.groups:
        raise DataError(
            f"{asked}: the rows have no group column {attribute!r}: {did_you_mean(attribute, rows.groups)}"
        )
    return {name for name in rows.groups[attribute] if name is not None}


def _chosen(found: Mitigated) -> dict[str, Any]:
    """What was chosen, by what rule, on which rows; the models themselves left out."""
    made = found.fixes.get(found.choice.name)
    nothing = found.choice.name == UNMITIGATED
    kind = "none" if nothing else f"rule: {made.kind}" if isinstance(made, Mitigation) else "an edited model"
    return {
        "name": found.choice.name,
        "kind": kind,
        "settings": dict(made.settings) if isinstance(made, Mitigation) else {},
        "rule": found.choice.rule,
        "floor": found.floor,
        "kept_the_floor": list(found.choice.open_to),
        "fixes": list(found.fixes),
        "not_made": dict(found.skipped),
        "n_fit": found.n_fit,
        "n_choose": found.n_choose,
        "n_judge": found.n_judge,
        "seen": [_rows(one) for one in found.choice.seen],
        "judged_by": _rows(found.judged_on.rows),
        "seed": found.seed,
    }


def _rows(seen: Seen) -> dict[str, Any]:
    return {"role": seen.role, "n": seen.n, "sha256": seen.sha256}


def _key(one: Any) -> tuple[str, str, str, str]:
    return one.attribute, one.group, one.reference, one.metric
