"""Fixes for one gap: fitted on some rows, one chosen on others, and audited again on rows that neither saw."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .bias.audited_again import AuditedAgain, audit_again
from .bias.choosing import Choice, choose
from .bias.contrasts import conditional_gap, mean_gap
from .bias.mitigation import Mitigation
from .bias.pareto import candidate, pareto
from .bias.pareto_records import UNMITIGATED, Candidate, Pareto
from .bias.policy import Policy, read_policy
from .bias.reductions import exponentiated_gradient
from .bias.seen_rows import seen_rows
from .bias.splitting import split
from .bias.threshold_rules import group_thresholds, move_threshold
from .errors import ClinometerError, DataError, UsageError, did_you_mean, first
from .evidence import Evidence
from .records import Rows, plain
from .scored_rows import evidence_of

if TYPE_CHECKING:
    from .interpret.models import Subject

FIXES = ("threshold", "group thresholds", "learned gates", "erasure", "exponentiated gradient")
CONSTRAINTS = {
    "selection_rate": "demographic_parity",
    "true_positive_rate": "true_positive_rate_parity",
    "false_positive_rate": "false_positive_rate_parity",
}
Placed = Callable[[Evidence], Candidate]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mitigated:
    """Several fixes for one gap, the one that was chosen, and what it did on rows that judged it."""

    attribute: str
    gap: str
    utility: str
    floor: float  # the least utility accepted on the rows that choose
    chosen_on: Pareto
    choice: Choice
    judged_on: Pareto  # the same fixes on the rows that judge: for reading, nothing was chosen here
    again: AuditedAgain | None  # None where nothing was better than no fix
    fixes: "dict[str, Mitigation | Subject]"
    skipped: dict[str, str]  # fix -> why it could not be made
    n_fit: int
    n_choose: int
    n_judge: int
    seed: int

    @property
    def chosen(self) -> "Mitigation | Subject | None":
        """The fix itself: a rule for decisions, or an edited model; None where none was chosen."""
        made = self.fixes.get(self.choice.name)
        return self.choice.kept_in(made) if isinstance(made, Mitigation) else made

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was tried, chosen and found, in words."""
        before = self.judged_on.of(UNMITIGATED)
        said = [
            f"Largest gap in {self.gap} by {self.attribute} without a fix, on {self.n_judge} rows that judge: "
            f"{_number(before.gap)} at {self.utility} {_number(before.utility)}.",
            f"{len(self.fixes)} fixes were fitted on {self.n_fit} rows; {self.choice.name} was chosen on "
            f"{self.n_choose} others: {self.choice.rule}.",
        ]
        if self.again is not None:
            after = self.judged_on.of(self.choice.name)
            moved = _span(after.gap_change, after.gap_change_low, after.gap_change_high)
            cost = _span(after.utility_change, after.utility_change_low, after.utility_change_high)
            said.append(
                f"On the rows that judge the gap is {_number(after.gap)} (change {moved}) and {self.utility} "
                f"{_number(after.utility)} (change {cost})."
            )
            worse = [f"{one.metric} of {one.attribute} {one.group}" for one in self.again.worse_off]
            said.append(f"Worse beyond noise: {', '.join(worse) if worse else 'nothing that was compared'}.")
        said += [f"Not made: {name}: {reason}" for name, reason in self.skipped.items()]
        return tuple(said)

    def save(self, folder: str | Path) -> tuple[Path, ...]:
        """Write the chosen fix (`model/` or `mitigation.json`) and `mitigated.json`, all numbers of it.

        Raises:
            UsageError: nothing was chosen. OutputError: something cannot be written.
        """
        from .output import as_json, write

        if self.chosen is None:
            raise UsageError("no fix was chosen: there is nothing to save.")
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        made = self.chosen
        if isinstance(made, Mitigation):
            where = target / "mitigation.json"
            made.save(where)
        else:
            from .interpret.edits import save as save_subject

            where = target / "model"
            save_subject(made, where)
        report = target / "mitigated.json"
        write(report, as_json({**plain(dataclasses.replace(self, fixes={})), "sentences": self.sentences}))
        return where, report

    def __repr__(self) -> str:
        return (
            f"Mitigated({self.gap} by {self.attribute}: {self.choice.name} chosen of {len(self.fixes)} fixes)"
        )


def mitigate(
    subject: "Subject",
    rows: Rows | tuple[Rows, Rows, Rows],
    policy: Policy | str | Path,
    attribute: str,
    *,
    gap: str = "true_positive_rate",
    utility: str = "accuracy",
    accepted_loss: float = 0.01,
    fixes: Sequence[str] = FIXES,
    module: str | None = None,
    allowed: float = 0.01,
    shares: tuple[float, float, float] = (0.5, 0.25, 0.25),
    batch_size: int = 64,
    seed: int = 0,
    progress: bool = False,
) -> Mitigated:
    """Fit fixes for a gap, choose one on other rows by a rule declared before, and audit it again on a third part.

    Args:
        rows: that the model was not trained on, with labels (0 and 1) and groups; or three parts that share no row, to fit,
            to choose and to judge, of which those that fit alone may be rows of its training.
        policy: both audits follow it; its tolerances are judged before and after.
        attribute: the group column whose gap is closed.
        gap: selection_rate, true_positive_rate or false_positive_rate.
        utility: what a fix may cost: a metric of which one direction is better.
        accepted_loss: of utility, on the rows that choose; the floor is what there is without a fix, less this.
        fixes: of `FIXES`. "threshold": one for all; "group thresholds": fairlearn's ThresholdOptimizer, with a seeded draw;
            "learned gates": head gates; "erasure": of the group, at `module`; "exponentiated gradient": fairlearn's, on what
            `module` gives for the first token.
        module: a part of the model; by default its last block.
        allowed: of learned gates, by how much the mean loss may rise on the rows they are fitted on.
        shares: of the rows to fit, to choose and to judge; of no meaning where these are given.

    Raises:
        UsageError: an unknown fix or gap, rows without labels, or no fix could be made.
        DataError: too few rows of a group, parts that share rows, or what the audit refuses.
    """
    rules = read_policy(policy) if isinstance(policy, (str, Path)) else policy
    unknown = [name for name in fixes if name not in FIXES]
    if unknown:
        raise UsageError(f"there is no fix {unknown[0]!r}: {did_you_mean(unknown[0], FIXES)}")
    if gap not in CONSTRAINTS:
        raise UsageError(f"the gap is {gap!r}; {did_you_mean(gap, CONSTRAINTS)}")
    fit, choosing, judging = _dealt(subject, rows, shares, seed, batch_size)
    work = _Work(
        subject=subject,
        rows=fit.rows,
        fit=fit.evidence,
        attribute=attribute,
        gap=gap,
        module=module,
        allowed=allowed,
        accepted_loss=accepted_loss,
        batch_size=batch_size,
        seed=seed,
    )
    made: dict[str, Mitigation | Subject] = {}
    placed: dict[str, list[Candidate]] = {"choose": [], "judge": []}
    skipped: dict[str, str] = {}
    for name in fixes:
        try:
            found = work.fix(name)
            both = {
                part: _placed(found, name, work, some.rows, some.evidence)
                for part, some in (("choose", choosing), ("judge", judging))
            }
        except ClinometerError as error:
            skipped[name] = str(error)
            continue
        made[both["choose"].name] = found
        for part, one in both.items():
            placed[part].append(one)
    if not made:
        raise UsageError(
            f"no fix could be made: {'; '.join(f'{name}: {why}' for name, why in skipped.items())}"
        )
    shown: dict[str, Any] = {"attribute": attribute, "gap": gap, "utility": utility, "title": subject.name}
    chosen_on = pareto(choosing.evidence, placed["choose"], rules, purpose="choose", **shown)
    judged_on = pareto(judging.evidence, placed["judge"], rules, purpose="judge", **shown)
    start = chosen_on.of(UNMITIGATED).utility
    if start is None:
        raise DataError(
            f"{utility} is undefined on the {len(choosing.rows)} rows that choose: give more rows."
        )
    floor = start + accepted_loss if chosen_on.better == "lower" else start - accepted_loss
    choice = choose(chosen_on, floor)
    again = None
    if choice.name in made:
        after = next(one for one in placed["judge"] if one.name == choice.name)
        again = audit_again(judging.evidence, after.evidence, rules, fix=choice, metrics=[gap])
    return Mitigated(
        attribute=attribute,
        gap=gap,
        utility=utility,
        floor=floor,
        chosen_on=chosen_on,
        choice=choice,
        judged_on=judged_on,
        again=again,
        fixes=made,
        skipped=skipped,
        n_fit=len(fit.rows),
        n_choose=len(choosing.rows),
        n_judge=len(judging.rows),
        seed=seed,
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """Some of the rows, and what the model makes of them without a fix."""

    rows: Rows
    evidence: Evidence


def _dealt(
    subject: "Subject",
    rows: Rows | tuple[Rows, Rows, Rows],
    shares: tuple[float, float, float],
    seed: int,
    batch_size: int,
) -> tuple[_Part, _Part, _Part]:
    """The rows to fit, to choose and to judge: dealt here, or as they are given."""
    from .interpret.models import score

    given = (rows,) if isinstance(rows, Rows) else tuple(rows)
    if len(given) not in (1, 3):
        raise UsageError(f"{len(given)} parts of rows are given; three are expected: to fit, choose, judge.")
    if any(part.labels is None for part in given):
        raise UsageError("a fix is fitted to labels: give rows with labels (--label).")
    seen: dict[str, int] = {}
    for place, part in enumerate(given):
        again = [name for name in part.ids if seen.setdefault(name, place) != place]
        if again:
            raise DataError(
                f"{len(again)} rows are in two parts: {first(again)}. What a fix does is shown by rows it has never "
                "seen: give each row to one part."
            )
    made = [
        _Part(one, evidence_of(subject, one, score(subject, one, batch_size=batch_size))) for one in given
    ]
    if len(made) == 3:
        return made[0], made[1], made[2]
    whole = made[0]
    dealt = split(whole.evidence, None, shares=shares, seed=seed)
    return (
        _Part(whole.rows.take(dealt.fit), dealt.take(whole.evidence, "fit")),
        _Part(whole.rows.take(dealt.choose), dealt.take(whole.evidence, "choose")),
        _Part(whole.rows.take(dealt.judge), dealt.take(whole.evidence, "judge")),
    )


@dataclass(frozen=True, slots=True)
class _Work:
    """What every fix is made from."""

    subject: "Subject"
    rows: Rows
    fit: Evidence
    attribute: str
    gap: str
    module: str | None
    allowed: float
    accepted_loss: float
    batch_size: int
    seed: int

    def fix(self, name: str) -> "Mitigation | Subject":
        """The fix, fitted on the rows to fit."""
        constraint: Any = CONSTRAINTS[self.gap]
        if name == "threshold":
            start = float(np.mean(self.fit.binary("label") == self.fit.binary("prediction")))
            return move_threshold(
                self.fit, self.attribute, metric=self.gap, floor=start - self.accepted_loss, name=name
            )
        if name == "group thresholds":
            return group_thresholds(
                self.fit, self.attribute, constraint=constraint, seed=self.seed, name=name
            )
        if name == "exponentiated gradient":
            return exponentiated_gradient(
                self.fit,
                self.features(self.rows),
                self.attribute,
                constraint=constraint,
                seed=self.seed,
                name=name,
            )
        if name == "erasure":
            from .interpret.erasure import erase_concept

            return erase_concept(
                self.subject,
                self.rows,
                self.fit.group(self.attribute),
                module=self.block(),
                name=self.attribute,
                batch_size=self.batch_size,
            )
        from .interpret.learned_gates import learn_head_gates

        return learn_head_gates(
            self.subject,
            self.rows,
            self.weights(),
            allowed=self.allowed,
            seed=self.seed,
            batch_size=self.batch_size,
        )

    def weights(self) -> Any:
        """Row weights of the largest gap between two groups, in the score."""
        sizes: dict[str, int] = {}
        for group in self.fit.group(self.attribute):
            if group is not None:
                sizes[group] = sizes.get(group, 0) + 1
        largest = max(sizes, key=lambda group: (sizes[group], group))
        found = []
        for group in sizes:
            if group == largest:
                continue
            try:
                made = (
                    mean_gap(self.fit, self.attribute, group, largest)
                    if self.gap == "selection_rate"
                    else conditional_gap(
                        self.fit, self.attribute, group, largest, label=self.gap == "true_positive_rate"
                    )
                )
            except DataError:
                continue  # fewer than two rows of a side: no contrast of it
            found.append(made)
        if not found:
            raise DataError(f"{self.attribute}: no two groups have the two rows each that a contrast takes.")
        score = self.fit.column("score")
        return max(found, key=lambda one: abs(one.gap(score))).weights

    def block(self) -> str:
        from .interpret.blocks import last_block

        return self.module or last_block(self.subject, self.rows)

    def features(self, rows: Rows) -> Any:
        from .interpret.erasure import representations

        return representations(self.subject, rows, module=self.block(), batch_size=self.batch_size)[0]


def _placed(fix: "Mitigation | Subject", name: str, work: _Work, rows: Rows, given: Evidence) -> Candidate:
    """What the fix makes of some rows."""
    if isinstance(fix, Mitigation):
        features = work.features(rows) if name == "exponentiated gradient" else None
        return candidate(fix, given, features)
    from .interpret.models import score

    scores = score(fix, rows, batch_size=work.batch_size)
    return Candidate(name=name, evidence=evidence_of(fix, rows, scores), seen=(seen_rows(work.fit, "fit"),))


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _span(value: float | None, low: float | None, high: float | None) -> str:
    if value is None or low is None or high is None:
        return "undefined"
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"
