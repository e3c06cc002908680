"""Agreement of an attribution with what people marked, as ERASER and HateXplain define it."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float

from ..errors import DataError, UsageError, did_you_mean, first
from ..records import Agreement, Attribution, Floats, Plausibility
from .bootstrap import checked, estimates
from .ranks import random_scores

How = Literal["majority", "union"]
Spans = Literal["runs", "tokens"]
Bools = npt.NDArray[np.bool_]
Range = tuple[int, int]  # tokens [start, end)

MEASURES = ("iou_f1", "token_f1", "area_under_precision_recall_curve", "average_precision")
SHARE = "share"


def plausibility(
    attribution: Attribution,
    rationales: Sequence[Sequence[int]],
    *,
    words: Sequence[Sequence[int | None]] | None = None,
    top: int | Literal["share"] = "share",
    spans: Spans = "runs",
    overlap: float = 0.5,
    as_released: bool = False,
    seed: int = 0,
    replicates: int = 1000,
    confidence: float = 0.95,
) -> Plausibility:
    """How far the highest scores are where people marked the reason for a label. Not whether the model used them.

    The attribution should be of the label that the rationales are for: evidence for it is positive, and the highest
    scores are the attribution's rationale. Examples without a marked token are left out and counted. Measures:

    * `token_f1`: F1 of the chosen tokens against the marked ones, per example, then the mean (DeYoung et al. 2020,
      section 4.1; "instance macro" of their released scorer).
    * `iou_f1`: chosen and marked tokens as spans; a chosen span matches where its intersection over union with some
      marked span is `overlap` or more. Precision is the share of chosen spans that match, recall the share of marked
      spans that are matched, both averaged over examples; the F1 of these two averages (their "macro"). The paper
      says "more than" .5, its scorer has "or more", which is used here.
    * `area_under_precision_recall_curve`: of the scores as they are, per example, trapezoids between the thresholds,
      then the mean (their "auprc").
    * `average_precision`: the step-wise area, mean over the examples with both marked and unmarked tokens.

    Which tokens are chosen: with top="share" (ERASER, section 4.1: as long as human rationales are on average) each
    example's share of its tokens that people mark on average, at least one; with a number, that many of the highest
    (HateXplain, Mathew et al. 2021: 5, the average length of a rationale there). HateXplain's table was made with top=5,
    spans="tokens", the union of annotators' rationales and `as_released`.

    Args:
        attribution: scores per token.
        rationales: 0 or 1 for every unit of every example, in its order: for every token, or for every word.
        words: the place of each token's word, None for tokens of no word (markers); scores are then added up to words.
            None: rationales are of tokens.
        top: "share", or how many of the highest scores count as chosen.
        spans: "runs": neighbouring chosen tokens are one span; "tokens": each is a span of its own.
        overlap: see `iou_f1`.
        as_released: count matching chosen spans in recall too, as ERASER's released scorer does: two spans that match
            one marked span count twice, and recall can exceed 1. For tables beside published numbers only.
        seed: of random scores and of the bootstrap.
        replicates, confidence: of the bootstrap over examples.

    Raises:
        DataError: rationales of other lengths, not 0 or 1, or no example with a marked token.
        UsageError: an argument out of range.
    """
    _checked(top, spans, overlap)
    checked(replicates, confidence)
    scores, marks = _units(attribution, rationales, words)
    kept = [i for i, one in enumerate(marks) if one.any()]
    if not kept:
        raise DataError("no example has a marked token; there is nothing to agree with.")
    scores, marks = [scores[i] for i in kept], [marks[i] for i in kept]
    share = float(np.mean([one.mean() for one in marks]))
    drawn = random_scores(seed, [attribution.ids[i] for i in kept], [len(one) for one in marks])
    by_chance = [drawn[i, : len(one)] for i, one in enumerate(marks)]
    how = {"replicates": replicates, "seed": seed}
    rows = [
        np.array(
            [
                _example(s, m, top, share, spans, overlap, as_released)
                for s, m in zip(part, marks, strict=True)
            ]
        )
        for part in (scores, by_chance)
    ]
    made, chance = (estimates(part, confidence=confidence, statistic=_measures, **how) for part in rows)
    n = [len(kept), len(kept), len(kept), int(np.isfinite(rows[0][:, 4]).sum())]

    taken = f"the {top} highest scores"
    if isinstance(top, str):
        taken = f"the highest scores of {share:.1%} of an example's tokens, one at least"

    def number(value: float) -> float | None:
        return float(value) if np.isfinite(value) else None

    return Plausibility(
        method=attribution.method,
        target=attribution.target,
        n=len(kept),
        n_left_out=len(rationales) - len(kept),
        taken=taken,
        spans="neighbouring chosen tokens" if spans == "runs" else "each chosen token",
        agreements=tuple(
            Agreement(
                measure=name,
                n=n[i],
                estimate=number(made.estimate[i]),
                low=number(made.low[i]),
                high=number(made.high[i]),
                by_chance=number(chance.estimate[i]),
            )
            for i, name in enumerate(MEASURES)
        ),
        confidence=confidence,
        replicates=replicates,
        seed=seed,
    )


def combined(rationales: Sequence[Sequence[int]], how: How = "majority") -> list[int]:
    """One example's rationale from those of several annotators: what more than half of them marked, or any of them.

    HateXplain's released evaluation takes the union. Only annotators who gave a rationale are handed in; of two, the
    majority is what both marked. No annotators make an empty list.

    Raises:
        UsageError: there is no such way.
        DataError: rationales of different lengths.
    """
    if how not in ("majority", "union"):
        raise UsageError(
            f"rationales cannot be combined by {how!r}; {did_you_mean(how, ('majority', 'union'))}"
        )
    if len({len(one) for one in rationales}) > 1:
        raise DataError(f"rationales of one example have {sorted({len(one) for one in rationales})} tokens.")
    votes = [sum(bool(mark) for mark in marks) for marks in zip(*rationales, strict=True)]
    needed = len(rationales) / 2 if how == "majority" else 0
    return [int(count > needed) for count in votes]


def _checked(top: object, spans: str, overlap: float) -> None:
    if top != SHARE and not (isinstance(top, int) and not isinstance(top, bool) and top >= 1):
        raise UsageError(f"top is {top!r}; a number of tokens of 1 or more, or {SHARE!r}, is expected.")
    if spans not in ("runs", "tokens"):
        raise UsageError(f"spans is {spans!r}; {did_you_mean(spans, ('runs', 'tokens'))}")
    if not 0 < overlap <= 1:
        raise UsageError(f"overlap is {overlap}; more than 0 and up to 1 is expected.")


def _units(
    attribution: Attribution,
    rationales: Sequence[Sequence[int]],
    words: Sequence[Sequence[int | None]] | None,
) -> tuple[list[Floats], list[Bools]]:
    """Scores and marks of every example's tokens, or words."""
    if len(rationales) != len(attribution) or (words is not None and len(words) != len(attribution)):
        raise DataError(
            f"{len(attribution)} examples, {len(rationales)} rationales"
            + (f" and {len(words)} lists of words" if words is not None else "")
            + " were given; one for each example is expected."
        )
    scores, marks, wrong = [], [], []
    for i, (name, tokens) in enumerate(zip(attribution.ids, attribution.tokens, strict=True)):
        given = np.asarray(rationales[i])
        one = attribution.scores[i, : len(tokens)]
        if words is not None:
            places = words[i]
            if len(places) != len(tokens) or any(p is not None and not 0 <= p < len(given) for p in places):
                wrong.append(name)
                continue
            total: Floats = np.zeros(len(given))
            for place, score in zip(places, one, strict=True):
                if place is not None:
                    total[place] += score
            one = total
        if given.shape != one.shape or not np.isin(given, (0, 1)).all():
            wrong.append(name)
            continue
        scores.append(one)
        marks.append(given.astype(np.bool_))
    if wrong:
        raise DataError(
            f"{len(wrong)} examples have a rationale that is not 0 or 1 for each of their "
            f"{'words' if words is not None else 'tokens'}, first {first(wrong)}. Rationales of words need `words`."
        )
    return scores, marks


def _example(
    scores: Float[np.ndarray, " token"],
    marked: Bool[np.ndarray, " token"],
    top: int | str,
    share: float,
    spans: Spans,
    overlap: float,
    as_released: bool,
) -> tuple[float, float, float, float, float]:
    """Span precision and recall, token F1, area under the curve, average precision."""
    n = len(marked)
    k = min(n, max(1, round(share * n))) if isinstance(top, str) else min(top, n)
    chosen = np.zeros(n, dtype=np.bool_)
    chosen[np.argsort(-scores, kind="stable")[:k]] = True
    both = int((chosen & marked).sum())
    f1 = 2 * both / (int(chosen.sum()) + int(marked.sum()))
    found = runs(chosen) if spans == "runs" else [(int(i), int(i) + 1) for i in np.flatnonzero(chosen)]
    precision, recall = matched(found, runs(marked), overlap, as_released)
    area, average = areas(scores, marked)
    return precision, recall, f1, area, float("nan") if marked.all() else average


def _measures(means: Floats) -> Floats:
    """Means of the columns of `_example` -> the four measures."""
    p, r = means[..., 0], means[..., 1]
    total = p + r
    iou = np.where(total > 0, 2 * p * r / np.where(total > 0, total, 1.0), 0.0)
    return np.stack([iou, means[..., 2], means[..., 3], means[..., 4]], axis=-1)


def runs(flags: Bool[np.ndarray, " token"]) -> list[Range]:
    """Neighbouring tokens that are True, as ranges [start, end)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def matched(
    chosen: Sequence[Range], marked: Sequence[Range], overlap: float, as_released: bool = False
) -> tuple[float, float]:
    """The share of chosen spans that match a marked one, and of marked spans that are matched."""

    def iou(a: Range, b: Range) -> float:
        common = max(0, min(a[1], b[1]) - max(a[0], b[0]))
        return common / (a[1] - a[0] + b[1] - b[0] - common)

    hits = sum(any(iou(one, other) >= overlap for other in marked) for one in chosen)
    covered = (
        hits if as_released else sum(any(iou(one, other) >= overlap for one in chosen) for other in marked)
    )
    return hits / len(chosen), covered / len(marked)


def areas(scores: Float[np.ndarray, " token"], marked: Bool[np.ndarray, " token"]) -> tuple[float, float]:
    """The area under the precision-recall curve by trapezoids from (recall 0, precision 1), and by steps.

    Tokens with equal scores are taken together.
    """
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)  # the last token at each threshold
    hits = np.cumsum(marked[order])[last]
    taken = np.flatnonzero(last) + 1
    precision = np.concatenate([[1.0], hits / taken])
    recall = np.concatenate([[0.0], hits / marked.sum()])
    steps = np.diff(recall)
    return float((steps * (precision[1:] + precision[:-1]) / 2).sum()), float((steps * precision[1:]).sum())
