"""Spans found in documents, right only when start, end, type are: precision, recall, F1 of groups of documents."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from ..errors import DataError, UsageError, first
from .bio_tags import Illegal, Span, spans_of
from .group_rows import Floats, Ints, positions
from .influence import Influenced
from .intervals import Interval, newcombe_of_effective_n, wilson_of_effective_n
from .scored import Undefined


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpanCounts:
    """Spans of each document: labelled and predicted, predicted only, labelled only. The document is the cluster."""

    documents: tuple[str, ...]
    true_positive: Ints  # (document,)
    false_positive: Ints
    false_negative: Ints
    n_illegal: int = 0  # predicted I- tags that had nothing to go on from


def count_spans(
    label: Iterable[tuple[str, int, int, str]],
    prediction: Iterable[tuple[str, int, int, str]],
    documents: Sequence[str],
) -> SpanCounts:
    """Exact matches of (document, start, end, type), by document.

    Args:
        label: the true spans; `end` is not included.
        prediction: the spans found.
        documents: every document, those without a span too.

    Raises:
        DataError: no documents, one twice, a span of another document, twice the same span, an end before its start.
    """
    names = tuple(documents)
    position = {name: i for i, name in enumerate(names)}
    if not names or len(position) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1}) if names else []
        raise DataError(f"documents are named twice: {first(twice)}." if names else "there are no documents.")
    truth = _spans(label, "label", position)
    found = _spans(prediction, "prediction", position)
    made = [np.zeros(len(names), dtype=np.int64) for _ in range(3)]
    for counts, spans in zip(made, (truth & found, found - truth, truth - found), strict=True):
        for span in spans:
            counts[position[span.document]] += 1
    return SpanCounts(documents=names, true_positive=made[0], false_positive=made[1], false_negative=made[2])


def count_tagged_spans(
    label: Mapping[str, Sequence[str]], prediction: Mapping[str, Sequence[str]], *, illegal: Illegal = "begin"
) -> SpanCounts:
    """Exact matches of the spans that BIO tags mark; labels have to be legal, predictions as `illegal` says.

    Args:
        label: document -> tag of each token.
        prediction: of the same documents and tokens.
        illegal: see `bio_tags.spans_of`.
    """
    _same_tokens(label, prediction)
    truth: list[Span] = []
    found: list[Span] = []
    n_illegal = 0
    for name, tags in label.items():
        truth += spans_of(name, tags, illegal="refuse")[0]
        spans, wrong = spans_of(name, prediction[name], illegal=illegal)
        found += spans
        n_illegal += wrong
    counts = count_spans(truth, found, tuple(label))
    return SpanCounts(
        documents=counts.documents,
        true_positive=counts.true_positive,
        false_positive=counts.false_positive,
        false_negative=counts.false_negative,
        n_illegal=n_illegal,
    )


def span_precision(counts: SpanCounts, *, rows: Ints | None = None) -> Influenced | Undefined:
    """Share of the predicted spans that are labelled so; undefined where nothing was predicted.

    A ratio of sums over documents, with the linearised influence of each document: the standard error is robust to
    what the spans of a document have in common.

    Args:
        counts: of `count_spans`.
        rows: positions of a group's documents; None: all.
    """
    return _ratio(counts.true_positive, counts.true_positive + counts.false_positive, rows)


def span_recall(counts: SpanCounts, *, rows: Ints | None = None) -> Influenced | Undefined:
    """Share of the labelled spans that were predicted so; undefined where nothing is labelled. As `span_precision`."""
    return _ratio(counts.true_positive, counts.true_positive + counts.false_negative, rows)


def span_f1(counts: SpanCounts, *, rows: Ints | None = None) -> Influenced | Undefined:
    """2 TP / (2 TP + FP + FN), of all spans together (micro); undefined where there are none. As `span_precision`."""
    hit = 2 * counts.true_positive
    return _ratio(hit, hit + counts.false_positive + counts.false_negative, rows)


def token_accuracy(
    label: Mapping[str, Sequence[str]],
    prediction: Mapping[str, Sequence[str]],
    *,
    documents: Sequence[str] | None = None,
) -> Influenced | Undefined:
    """Share of tokens with the right tag, documents as clusters; undefined without tokens.

    Most tokens are O: a model that finds nothing has a high one. Its rows are the documents in the order of `label`.

    Args:
        label: document -> tag of each token.
        prediction: of the same documents and tokens.
        documents: a group's; None: all.
    """
    _same_tokens(label, prediction)
    names = tuple(label)
    right = np.array(
        [sum(a == b for a, b in zip(label[n], prediction[n], strict=True)) for n in names], dtype=np.int64
    )
    tokens = np.array([len(label[n]) for n in names], dtype=np.int64)
    rows = None
    if documents is not None:
        strange = [name for name in documents if name not in label]
        if strange:
            raise DataError(f"there is no document {first(strange)}.")
        position = {name: i for i, name in enumerate(names)}
        rows = np.array([position[name] for name in documents], dtype=np.int64)
    return _ratio(right, tokens, rows)


def share_interval(share: Influenced, confidence: float = 0.95) -> Interval | None:
    """The interval of a share whose rows are documents: Wilson's formula with the documents' own standard error.

    Wilson's n is replaced by p (1 - p) / se^2, taken down by the squared ratio of the normal's quantile to Student's
    with documents - 1 degrees of freedom (Korn & Graubard 1998, with Wilson's interval in place of Clopper & Pearson's).
    At a share of 0 or 1, which has no standard error, n is the number of documents: [1, 1] is never given. None for
    fewer than two documents.
    """
    n = _effective_n(share, confidence)
    return None if n is None else wilson_of_effective_n(share.estimate, n, confidence)


def share_difference(
    one: Influenced, other: Influenced, confidence: float = 0.95
) -> tuple[float, Interval | None]:
    """one - other of two groups with no document in common, with Newcombe's hybrid of their `share_interval`s."""
    gap = one.estimate - other.estimate
    n_one, n_other = _effective_n(one, confidence), _effective_n(other, confidence)
    if n_one is None or n_other is None:
        return gap, None
    return gap, newcombe_of_effective_n(one.estimate, n_one, other.estimate, n_other, confidence)


def _effective_n(share: Influenced, confidence: float) -> float | None:
    """Independent spans that would say as much as these documents; None for fewer than two documents."""
    if not 0 < confidence < 1:
        raise UsageError(f"confidence is {confidence}; expected between 0 and 1.")
    if share.n < 2:
        return None
    p, se = share.estimate, share.se()
    n = p * (1 - p) / se**2 if 0 < p < 1 and se > 0 else float(share.n)
    tail = 0.5 + confidence / 2
    return n * float(stats.norm.ppf(tail) / stats.t.ppf(tail, share.n - 1)) ** 2


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSpans:
    """How well spans are found in a group's documents."""

    group: str
    n_documents: int  # of the group; those without a span are in no denominator
    n_labelled: int  # spans
    n_predicted: int
    n_right: int
    precision: float | None
    precision_interval: Interval | None
    recall: float | None
    recall_interval: Interval | None
    f1: float | None
    f1_interval: Interval | None


def group_spans(
    counts: SpanCounts, groups: Mapping[str, str | None], *, confidence: float = 0.95
) -> tuple[GroupSpans, ...]:
    """Precision, recall and F1 of each group of documents; documents without a group are one, unknown, last.

    Args:
        counts: of `count_spans` or `count_tagged_spans`.
        groups: document -> group.
        confidence: of every interval.

    Raises:
        DataError: a document is missing from `groups`.
    """
    made = []
    for name, rows in document_rows(counts.documents, groups).items():
        shares = [function(counts, rows=rows) for function in (span_precision, span_recall, span_f1)]
        values = [None if isinstance(share, Undefined) else share.estimate for share in shares]
        ends = [
            None if isinstance(share, Undefined) else share_interval(share, confidence) for share in shares
        ]
        tp = int(counts.true_positive[rows].sum())
        made.append(
            GroupSpans(
                group=name,
                n_documents=len(rows),
                n_labelled=tp + int(counts.false_negative[rows].sum()),
                n_predicted=tp + int(counts.false_positive[rows].sum()),
                n_right=tp,
                precision=values[0],
                precision_interval=ends[0],
                recall=values[1],
                recall_interval=ends[1],
                f1=values[2],
                f1_interval=ends[2],
            )
        )
    return tuple(made)


def document_rows(documents: Sequence[str], groups: Mapping[str, str | None]) -> dict[str, Ints]:
    """Positions of each group's documents, unknown last."""
    missing = [name for name in documents if name not in groups]
    if missing:
        raise DataError(
            f"{len(missing)} documents have no entry in groups: {first(missing)}. Give None for unknown."
        )
    return positions([groups[name] for name in documents])


def _ratio(over: Ints, under: Ints, rows: Ints | None) -> Influenced | Undefined:
    """Sum over documents of one number over the sum of another, and the influence of each document."""
    where = np.arange(len(over), dtype=np.int64) if rows is None else np.asarray(rows, dtype=np.int64)
    # A document that has nothing in the denominator says nothing of the ratio.
    where = where[under[where] > 0]
    if not len(where):
        return Undefined(reason="no document has anything in the denominator", n=0)
    k, n = over[where].astype(np.float64), under[where].astype(np.float64)
    share = float(k.sum() / n.sum())
    influence: Floats = (k - share * n) / n.mean()
    return Influenced(estimate=share, influence=influence, rows=where)


def _spans(given: Iterable[tuple[str, int, int, str]], what: str, position: Mapping[str, int]) -> set[Span]:
    found: set[Span] = set()
    for entry in given:
        span = Span(*entry)
        if span.document not in position:
            raise DataError(
                f"the {what} span {tuple(span)} is of a document that is not listed. List every document."
            )
        if not 0 <= span.start < span.end:
            raise DataError(f"the {what} span {tuple(span)} ends before it starts, or is empty.")
        if span in found:
            raise DataError(f"the {what} span {tuple(span)} is given twice.")
        found.add(span)
    return found


def _same_tokens(label: Mapping[str, Sequence[str]], prediction: Mapping[str, Sequence[str]]) -> None:
    odd = sorted(set(label) ^ set(prediction))
    if odd:
        raise DataError(f"documents {first(odd)} are labelled or predicted only. Give both for each.")
    uneven = [name for name in label if len(label[name]) != len(prediction[name])]
    if uneven:
        raise DataError(f"documents {first(uneven)} have another number of tokens in the prediction.")
