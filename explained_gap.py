"""Why a gap: divided among words or features, screened for heads, and tested on rows that were not screened."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .bias.contrasts import conditional_gap, mean_gap
from .bias.gap_contrast import GapContrast
from .bias.ledger import ledger
from .bias.lexicons import SwapLexicon
from .bias.parts_of_gaps import GapParts, parts_of_gap
from .bias.splitting import split
from .bias.value_units import by_value
from .bias.word_ledger import word_ledger
from .errors import DataError, UsageError, did_you_mean
from .evidence import Evidence
from .records import Attribution, Ledger, Rows
from .scored_rows import evidence_of

if TYPE_CHECKING:
    from .interpret.mediation import Mediation
    from .interpret.models import Subject

GapName = Literal["mean_score", "selection_rate", "true_positive_rate", "false_positive_rate"]
GAPS: tuple[GapName, ...] = ("mean_score", "selection_rate", "true_positive_rate", "false_positive_rate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """What a gap is associated with, and which of it was verified by taking heads out."""

    attribute: str
    group: str
    reference: str
    metric: GapName
    words: str  # the contrast, in words
    ledger: Ledger | None  # of all rows; None where no word is frequent enough
    no_ledger: str  # why there is none
    parts: GapParts | None
    mediation: "Mediation"
    n_screened: int
    n_held_out: int
    seed: int

    @property
    def verified(self) -> tuple[tuple[tuple[str, int], ...], ...]:
        """The sets of heads that were verified, ((layer, head), ...) each: single heads first, then all candidates."""
        found = self.mediation.verification
        tests = [*found.tests, *([found.together] if found.together is not None else [])]
        return tuple(tuple((str(layer), head) for layer, head in t.heads) for t in tests if t.verified)

    @property
    def sentences(self) -> tuple[str, ...]:
        """The findings in words: "carries" is said of verified heads alone."""
        said = [f"{self.words}."]
        if self.ledger is not None:
            most = self.ledger.ranked[:3]
            shares = ", ".join(f"{s.unit} {s.estimate:+.3g} [{s.low:+.3g}, {s.high:+.3g}]" for s in most)
            said.append(
                f"The gap in {self.ledger.score} is {self.ledger.gap:+.3g}; it is associated most with {shares} (residual "
                f"{self.ledger.residual:+.2g})."
            )
        if self.parts is not None:
            divided = ", ".join(
                f"{p.name} {p.estimate:+.3g} [{p.low:+.3g}, {p.high:+.3g}]" for p in self.parts.parts
            )
            said.append(f"Divided: {divided}.")
        return (*said, *self.mediation.sentences())

    def __repr__(self) -> str:
        return (
            f"Why({self.metric} by {self.attribute}, {self.group} minus {self.reference}: {len(self.verified)} head sets "
            f"verified on {self.n_held_out} rows)"
        )


def why(
    subject: "Subject",
    rows: Rows,
    attribute: str,
    group: str,
    reference: str | None = None,
    *,
    metric: GapName = "selection_rate",
    identity: Iterable[str] | SwapLexicon = (),
    how: str = "mean",
    n_candidates: int = 4,
    n_random: int = 39,
    least: float = 0.0,
    minimum: int = 10,
    confidence: float = 0.95,
    replicates: int = 2000,
    attribution: Attribution | None = None,
    batch_size: int = 32,
    seed: int = 0,
    progress: bool = False,
) -> Why:
    """A gap divided among words or features, and among heads; the heads are tested on rows that were not screened.

    The gap in mean score (with a rate of one label: among the rows of that label) is what has gradients and adds up;
    the metric itself, decisions included, is what is computed again when heads are taken out. Half of the rows, dealt
    out evenly over groups and labels, are screened; the other half verifies.

    Args:
        rows: that the model was not trained on, with groups, and labels for a rate of one label.
        attribute: the group column.
        group: whose rate or mean comes first.
        reference: whose is taken off; None is everyone else whose group is known.
        metric: the gap: "mean_score", "selection_rate", "true_positive_rate" or "false_positive_rate".
        identity: words that name a group, or a lexicon of them: a part of their own when words are divided.
        how: what stands in for a head that is taken out: its "mean", another row's ("resample"), or "zero".
        n_candidates: heads that are tested.
        n_random: sets of other heads that they are tested against.
        least: the smallest effect on the metric that matters.
        minimum: rows that have to hold a word.
        attribution: of these rows in this order, toward the subject's own target, where it was made already; by default
            integrated gradients are computed.

    Raises:
        UsageError: another metric, a rate of one label without labels, or see `mediation.mediate`.
        DataError: fewer than two rows of a side in a half, or an attribution of other rows or another target.
    """
    from .interpret.audited import decision_rate, mean_score
    from .interpret.mediation import mediate
    from .interpret.methods import attribute as attribute_rows
    from .interpret.models import score
    from .interpret.spans import in_words

    if metric not in GAPS:
        raise UsageError(f"the metric is {metric!r}; {did_you_mean(metric, GAPS)}")
    if attribution is not None and (attribution.ids != rows.ids or attribution.target != subject.target):
        raise DataError(
            f"the attribution is of {attribution.target!r} of {len(attribution)} rows; {subject.target!r} of these "
            f"{len(rows)} rows, in this order, is expected. Leave it out to have it made."
        )
    scores = score(subject, rows, batch_size=batch_size)
    evidence = evidence_of(subject, rows, scores)
    dealt = split(evidence, [attribute], shares=(0.5, 0.25, 0.25), seed=seed)
    halves = dealt.fit, np.sort(np.concatenate([dealt.choose, dealt.judge]))
    contrasts = [_contrast(_taken(evidence, half), attribute, group, reference, metric) for half in halves]
    held_out = contrasts[1].contrast
    audited = (
        mean_score(held_out, unit=subject.unit)
        if metric == "mean_score"
        else decision_rate(held_out, subject.threshold)
    )
    mediation = mediate(
        subject,
        rows.take(halves[0]),
        contrasts[0].contrast,
        rows.take(halves[1]),
        held_out,
        how=how,
        metric=audited,
        n_candidates=n_candidates,
        n_random=n_random,
        least=least,
        confidence=confidence,
        replicates=replicates,
        seed=seed,
        batch_size=batch_size,
        progress=progress,
    )
    whole = _contrast(evidence, attribute, group, reference, metric)
    if attribution is None:
        attribution = attribute_rows(subject, rows, batch_size=batch_size, progress=progress)
    common: dict[str, Any] = {"confidence": confidence, "replicates": replicates, "seed": seed}
    made: Ledger | None = None
    parts: GapParts | None = None
    reason = ""
    try:
        if len(set(attribution.tokens)) == 1:
            made = ledger(attribution, whole.contrast, **common)
            columns = {name: rows.inputs[name] for name in attribution.features if name in rows.inputs}
            valued = by_value(attribution, _plain(columns))
            parts = parts_of_gap(
                valued.attribution,
                whole,
                into=valued.features,
                identity=identity,
                fold_case=False,
                minimum=minimum,
                **common,
            )
        else:
            words = in_words(subject, rows, attribution) if subject.characters is not None else attribution
            made = word_ledger(words, whole, minimum=minimum, **common)
            parts = parts_of_gap(words, whole, identity=identity, minimum=minimum, **common)
    except DataError as error:
        reason = str(error)
    return Why(
        attribute=attribute,
        group=group,
        reference=whole.contrast.reference,
        metric=metric,
        words=whole.words,
        ledger=made,
        no_ledger=reason,
        parts=parts,
        mediation=mediation,
        n_screened=len(halves[0]),
        n_held_out=len(halves[1]),
        seed=seed,
    )


def _contrast(
    evidence: Evidence, attribute: str, group: str, reference: str | None, metric: GapName
) -> GapContrast:
    if metric in ("true_positive_rate", "false_positive_rate"):
        return conditional_gap(evidence, attribute, group, reference, label=metric == "true_positive_rate")
    return mean_gap(evidence, attribute, group, reference)


def _taken(evidence: Evidence, which: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> Evidence:
    from dataclasses import replace

    return replace(evidence, table=evidence.table.take(which))


def _plain(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Columns that have values a unit can be named by."""
    return {name: values for name, values in columns.items() if np.asarray(values).ndim == 1}
