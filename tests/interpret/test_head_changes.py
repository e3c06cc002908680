"""Heads of two versions: no change where there is none, the changed one found, others left unsaid."""

import dataclasses

import numpy as np
import pytest
import torch

from clinometer.errors import DataError, UsageError
from clinometer.interpret.copying import copied
from clinometer.interpret.head_changes import head_changes
from clinometer.interpret.latency import latencies
from clinometer.interpret.tracing import trace
from clinometer.interpret.variants import variant
from reference.sentences import own_classifier, sentences, texts
from reference.subjects import applicants, fitted

TEST = applicants(24, seed=3)
QUICK = {"replicates": 100, "batch_size": 12}


@pytest.fixture(scope="module")
def subject():
    return fitted(applicants(150), epochs=3)


@pytest.fixture(scope="module")
def reader():
    return own_classifier(sentences(60), epochs=2)


def sharpened(subject, rows, layer, head):
    """A copy in which one head's queries are three times as long, so that it alone looks elsewhere."""
    made = copied(subject, rows)
    attention = made.module.encoder.layers[layer].attention
    size = attention.query.out_features // attention.heads
    with torch.no_grad():
        attention.query.weight[head * size : (head + 1) * size] *= 3
        attention.query.bias[head * size : (head + 1) * size] *= 3
    return made


def test_nothing_changed_where_both_are_the_same(subject):
    made = head_changes(subject, subject, TEST, **QUICK)
    assert made.reason == "" and len(made.heads) == 4 and made.received == (0.0, 0.0, 0.0)
    for head in made.heads:
        assert (head.divergence, head.low, head.high) == (0.0, 0.0, 0.0)
        assert (head.share_change, head.share_low, head.share_high) == (0.0, 0.0, 0.0)
        assert head.correlation == pytest.approx(1) and head.effect_before == head.effect_after
    assert sum(head.share_before for head in made.heads) == pytest.approx(1)
    assert list(made.frame["head"]) == [0, 1, 0, 1] and made.frame["n"].eq(24).all()


def test_the_head_that_was_changed_stands_out(subject):
    made = head_changes(subject, sharpened(subject, TEST, 1, 0), TEST, **QUICK)
    assert (made.ranked[0].layer, made.ranked[0].head) == ("encoder.layers.1.attention", 0)
    assert made.ranked[0].low > 0.01
    others = [head for head in made.heads if head is not made.ranked[0]]
    assert all(head.divergence < 1e-6 for head in others)
    assert made.received[0] > 0


def test_divergence_is_the_mean_total_variation_written_out(reader):
    rows = texts("the good film", "a story with one dull and poor scene", "bad")
    other = sharpened(reader, rows, 0, 1)
    made = head_changes(reader, other, rows, replicates=50)
    for head in made.heads:
        apart = []
        for i in range(3):
            one, two = (trace(s, rows.take([i])).map(head.layer, head.head, 0) for s in (reader, other))
            total = sum(
                abs(float(a) - float(b)) / 2
                for x, y in zip(one, two, strict=True)
                for a, b in zip(x, y, strict=True)
            )
            apart.append(total / len(one))
        assert head.divergence == pytest.approx(sum(apart) / 3, abs=1e-6)


def test_correlation_and_shares_are_those_of_the_effects(subject):
    other = variant(subject, TEST, "low-rank", rank=4)
    made = head_changes(subject, other, TEST, counting="closing", **QUICK)
    again = head_changes(subject, other, TEST, counting="gradients", **QUICK)
    assert made.counted != again.counted
    from clinometer.interpret.head_effects import head_effects

    before, after = (head_effects(s, TEST).contribution.reshape(24, -1) for s in (subject, other))
    for i, head in enumerate(again.heads):
        assert head.correlation == pytest.approx(np.corrcoef(before[:, i], after[:, i])[0, 1], abs=1e-6)
        assert head.correlation_low <= head.correlation <= head.correlation_high
        assert head.share_before == pytest.approx(np.abs(before[:, i]).mean() / np.abs(before).mean() / 4)
        assert head.share_change == pytest.approx(head.share_after - head.share_before, abs=1e-9)
        assert head.share_low <= head.share_change <= head.share_high


def test_int8_is_compared_by_closing_and_says_why_not_by_gradients(subject):
    other = variant(subject, TEST, "int8")
    made = head_changes(subject, other, TEST, **QUICK)
    assert len(made.heads) == 4 and "planted int8 has int8 layers" in made.reason and made.counted == ""
    assert all(head.correlation is None and head.share_change is None for head in made.heads)
    assert all(0 < head.divergence < 0.1 for head in made.heads)
    closed = head_changes(subject, other, TEST, counting="closing", **QUICK)
    assert closed.reason == "" and all(head.correlation > 0.9 for head in closed.heads)


def test_models_of_other_shapes_are_compared_in_what_can_be(reader):
    rows = sentences(20, seed=4)
    smaller = own_classifier(sentences(60), epochs=0)
    smaller.module.encoder.layers = smaller.module.encoder.layers[:1]
    made = head_changes(reader, smaller, rows, **QUICK)
    assert made.heads == () and "2 layers of 2 heads and sentences 1 layer of 2 heads" in made.reason
    assert 0 < made.received[0] <= 1 and made.received[1] <= made.received[0] <= made.received[2]
    assert made.frame.empty
    renamed = dataclasses.replace(reader, prefix=("[OTHER]",))
    other = head_changes(reader, renamed, rows, **QUICK)
    assert other.received is None and "20 of 20 rows into other tokens" in other.reason


def test_what_cannot_be_compared_is_refused(subject):
    with pytest.raises(UsageError, match="did you mean 'closing'"):
        head_changes(subject, subject, TEST, counting="close")
    with pytest.raises(DataError, match=r"1 row\(s\)"):
        head_changes(subject, subject, TEST.take([0]))


def test_latencies_are_medians_with_quartiles_of_every_model(subject):
    made = latencies({"one": subject, "two": subject}, TEST, rounds=3)
    assert list(made) == ["one", "two"]
    for one in made.values():
        assert 0 < one.low <= one.median <= one.high and (one.rounds, one.n_rows) == (3, 24)
    with pytest.raises(UsageError, match="rounds is 2"):
        latencies({"one": subject}, TEST, rounds=2)
