"""Spans in documents: by hand, tags of the CoNLL kind, documents as clusters, refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinometer.bias.bio_tags import Span, spans_of
from clinometer.bias.span_labels import (
    SpanCounts,
    count_spans,
    count_tagged_spans,
    group_spans,
    share_difference,
    share_interval,
    span_f1,
    span_precision,
    span_recall,
    token_accuracy,
)
from clinometer.errors import DataError, UsageError
from reference.group_metrics import bio_spans

LABEL = {
    "d1": ["B-PER", "I-PER", "O", "B-LOC"],
    "d2": ["O", "B-PER", "O"],
    "d3": ["O", "O"],
}
PREDICTION = {
    "d1": ["B-PER", "O", "O", "B-LOC"],  # the person is cut short: wrong twice
    "d2": ["O", "B-PER", "B-PER"],
    "d3": ["O", "O"],
}


def test_by_hand():
    counts = count_tagged_spans(LABEL, PREDICTION)
    assert counts.true_positive.tolist() == [1, 1, 0]
    assert counts.false_positive.tolist() == [1, 1, 0]
    assert counts.false_negative.tolist() == [1, 0, 0]
    assert span_precision(counts).estimate == pytest.approx(2 / 4)
    assert span_recall(counts).estimate == pytest.approx(2 / 3)
    assert span_f1(counts).estimate == pytest.approx(4 / 7)
    assert token_accuracy(LABEL, PREDICTION).estimate == pytest.approx(7 / 9)
    assert token_accuracy(LABEL, PREDICTION, documents=["d3"]).estimate == 1


def test_lists_of_spans_are_the_tags():
    truth = [("d1", 0, 2, "PER"), ("d1", 3, 4, "LOC"), ("d2", 1, 2, "PER")]
    found = [("d1", 0, 1, "PER"), ("d1", 3, 4, "LOC"), ("d2", 1, 2, "PER"), ("d2", 2, 3, "PER")]
    by_list, by_tag = count_spans(truth, found, ["d1", "d2", "d3"]), count_tagged_spans(LABEL, PREDICTION)
    for part in ("true_positive", "false_positive", "false_negative"):
        assert np.array_equal(getattr(by_list, part), getattr(by_tag, part))
    other_type = count_spans(truth, [("d1", 0, 2, "LOC")], ["d1", "d2", "d3"])
    assert other_type.true_positive.sum() == 0, "the type has to be right too"


def test_tags_without_a_beginning_are_counted():
    spans, illegal = spans_of("d", ["I-PER", "I-PER", "O", "B-LOC", "I-PER", "B-PER", "I-PER"])
    assert spans == (
        Span("d", 0, 2, "PER"),
        Span("d", 3, 4, "LOC"),
        Span("d", 4, 5, "PER"),
        Span("d", 5, 7, "PER"),
    )
    assert illegal == 2
    made = count_tagged_spans({"d": ["B-X", "O"]}, {"d": ["I-X", "O"]})
    assert made.n_illegal == 1 and made.true_positive.tolist() == [1]
    assert spans_of("d", []) == ((), 0)
    assert spans_of("d", ["B-NEW-YORK", "I-NEW-YORK"])[0] == (Span("d", 0, 2, "NEW-YORK"),)


@given(st.lists(st.sampled_from(["O", "B-x", "B-y", "I"]), max_size=12))
def test_legal_tags_slow_twin(marks):
    tags, kind = [], None
    for mark in marks:
        tags.append(mark if mark != "I" else f"I-{kind}" if kind else "O")
        kind = tags[-1][2:] or None
    spans, illegal = spans_of("d", tags)
    assert illegal == 0 and {(s.start, s.end, s.type) for s in spans} == bio_spans(tags)


def drawn(generator, n_documents, quality):
    """Counts of documents that differ in how well they are read, some spans each."""
    spans = generator.integers(1, 12, size=n_documents)
    hard = generator.beta(quality * 3, (1 - quality) * 3, size=n_documents)
    tp = generator.binomial(spans, hard)
    fp = generator.binomial(spans, 0.2)
    names = tuple(f"d{i}" for i in range(n_documents))
    return SpanCounts(documents=names, true_positive=tp, false_positive=fp, false_negative=spans - tp)


def test_intervals_cover_where_spans_taken_as_independent_do_not():
    from clinometer.bias.intervals import wilson

    generator = np.random.default_rng(0)
    robust = naive = 0
    for _ in range(300):
        counts = drawn(generator, 40, 0.7)
        low, high = share_interval(span_recall(counts))
        robust += low <= 0.7 <= high
        tp, n = int(counts.true_positive.sum()), int((counts.true_positive + counts.false_negative).sum())
        ends = wilson(tp, n)
        naive += ends.low <= 0.7 <= ends.high
    assert robust >= 0.92 * 300 and naive < 0.85 * 300


def test_the_standard_error_is_that_of_documents_drawn_again():
    generator = np.random.default_rng(1)
    counts = drawn(generator, 200, 0.6)
    times = generator.multinomial(200, np.full(200, 1 / 200), size=4000)
    tp, fp, fn = (
        times @ part for part in (counts.true_positive, counts.false_positive, counts.false_negative)
    )
    for share, values in (
        (span_precision(counts), tp / (tp + fp)),
        (span_recall(counts), tp / (tp + fn)),
        (span_f1(counts), 2 * tp / (2 * tp + fp + fn)),
    ):
        assert share.se() == pytest.approx(values.std(), rel=0.08)


def test_an_interval_of_one_is_never_one_to_one():
    names = tuple("abcdefgh")
    every = SpanCounts(
        documents=names,
        true_positive=np.full(8, 3),
        false_positive=np.zeros(8, dtype=int),
        false_negative=np.zeros(8, dtype=int),
    )
    low, high = share_interval(span_f1(every))
    assert high == 1 and 0.4 < low < 0.75, "as if eight draws, not 24 spans"
    assert share_interval(span_f1(every, rows=np.array([2]))) is None


def test_a_difference_of_groups_is_found_and_none_is_not_made_up():
    generator = np.random.default_rng(2)
    false = true = 0
    for _ in range(100):
        one, other, worse = (span_recall(drawn(generator, 60, q)) for q in (0.7, 0.7, 0.4))
        low, high = share_difference(one, other)[1]
        false += not low <= 0 <= high
        true += share_difference(one, worse)[1].low > 0
    assert false <= 11 and true >= 95
    same = span_recall(drawn(generator, 30, 0.5))
    assert share_difference(same, same)[0] == 0


def test_groups_of_documents():
    counts = count_tagged_spans(LABEL, PREDICTION)
    made = group_spans(counts, {"d1": "a", "d2": "a", "d3": None})
    assert [g.group for g in made] == ["a", "unknown"]
    assert (made[0].n_documents, made[0].n_labelled, made[0].n_predicted, made[0].n_right) == (2, 3, 4, 2)
    assert made[0].precision == 0.5 and made[0].precision_interval.low < 0.5
    nothing = made[1]
    assert (nothing.precision, nothing.recall, nothing.f1, nothing.f1_interval) == (None, None, None, None)


def test_documents_without_spans_say_nothing_of_the_rate():
    alone = count_tagged_spans(
        {"d1": LABEL["d1"], "d2": LABEL["d2"]}, {k: PREDICTION[k] for k in ("d1", "d2")}
    )
    with_empty = count_tagged_spans(LABEL, PREDICTION)
    assert span_recall(alone).se() == pytest.approx(span_recall(with_empty).se())


def test_refusals():
    with pytest.raises(DataError, match="documents are named twice: 'a'"):
        count_spans([], [], ["a", "a"])
    with pytest.raises(DataError, match="there are no documents"):
        count_spans([], [], [])
    with pytest.raises(DataError, match="of a document that is not listed"):
        count_spans([("b", 0, 1, "x")], [], ["a"])
    with pytest.raises(DataError, match="ends before it starts, or is empty"):
        count_spans([], [("a", 3, 3, "x")], ["a"])
    with pytest.raises(DataError, match=r"label span .* is given twice"):
        count_spans([("a", 0, 1, "x")] * 2, [], ["a"])
    with pytest.raises(DataError, match=r"document 'd', token 1 .*: 'I-PER' goes on from no span"):
        count_tagged_spans({"d": ["O", "I-PER"]}, {"d": ["O", "O"]})
    with pytest.raises(DataError, match="the tag 'PER' is none of O, B-type, I-type"):
        spans_of("d", ["PER"])
    with pytest.raises(DataError, match="the tag 'B-' is none"):
        spans_of("d", ["B-"])
    with pytest.raises(UsageError, match="'begin' or 'refuse'"):
        spans_of("d", ["O"], illegal="drop")
    with pytest.raises(DataError, match="documents 'e' are labelled or predicted only"):
        count_tagged_spans({"d": ["O"]}, {"d": ["O"], "e": ["O"]})
    with pytest.raises(DataError, match="another number of tokens"):
        token_accuracy({"d": ["O", "O"]}, {"d": ["O"]})
    with pytest.raises(DataError, match="there is no document 'x'"):
        token_accuracy(LABEL, PREDICTION, documents=["x"])
    with pytest.raises(DataError, match="1 documents have no entry in groups: 'd3'"):
        group_spans(count_tagged_spans(LABEL, PREDICTION), {"d1": "a", "d2": "b"})
    with pytest.raises(UsageError, match="confidence is 95"):
        share_interval(token_accuracy(LABEL, PREDICTION), 95)
