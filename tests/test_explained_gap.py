"""Why a gap: what is composed adds up, is tested on other rows, and claims nothing that was not verified."""

import dataclasses
import re

import numpy as np
import pytest

from clinometer.errors import DataError, UsageError
from clinometer.explained_gap import GAPS, why
from clinometer.interpret.methods import attribute
from reference.mediating import guilty, lines
from reference.sentences import own_classifier, sentences
from reference.subjects import applicants, fitted

QUICK = {"n_random": 9, "replicates": 200, "n_candidates": 2}


@pytest.fixture(scope="module")
def people():
    rows = applicants(240)
    income = np.asarray(rows.inputs["income"], dtype=float)
    side = tuple("rich" if value > np.median(income) else "poor" for value in income)
    return fitted(rows, epochs=3), dataclasses.replace(rows, groups={"side": side})


@pytest.fixture(scope="module")
def explained(people):
    return why(*people, "side", "poor", "rich", metric="selection_rate", minimum=5, **QUICK)


def test_the_ledger_and_the_parts_add_up_to_the_gap(explained):
    made = explained.ledger
    assert sum(s.estimate for s in made.shares) + made.residual == pytest.approx(made.gap, abs=1e-9)
    parts = explained.parts
    assert sum(p.estimate for p in parts.parts) + parts.residual == pytest.approx(parts.gap, abs=1e-9)
    assert made.gap == pytest.approx(parts.gap)
    assert made.ranked[0].unit == "income"


def test_rows_that_verify_were_not_screened(explained, people):
    _, rows = people
    assert explained.n_screened + explained.n_held_out == len(rows)
    held_out = set(explained.mediation.verification.ids)
    assert len(held_out) == explained.n_held_out
    assert explained.n_held_out == pytest.approx(120, abs=6)


def test_the_metric_that_is_recomputed_is_the_audited_one(explained, people):
    subject, rows = people
    found = explained.mediation.verification
    place = {name: i for i, name in enumerate(rows.ids)}
    at = [place[name] for name in found.ids]
    side = np.array(rows.groups["side"])[at]
    approved = found.scores > subject.threshold
    gap = approved[side == "poor"].mean() - approved[side == "rich"].mean()
    assert found.before == pytest.approx(gap)


def test_carries_is_said_of_verified_heads_alone(explained):
    said = " ".join(explained.sentences)
    claims = re.findall(r"\b(carries|removes|because|causes)\b", said)
    single = [heads for heads in explained.verified if len(heads) == 1]
    assert len(claims) <= len(single)
    if not explained.verified:
        assert "No head set verified" in said


def test_a_guilty_head_is_verified_and_only_then_carries_is_said():
    """A model in which one head alone tells the two words apart, and one in which none does."""
    rows = lines(160, seed=3)
    quick = {**QUICK, "metric": "mean_score", "minimum": 5}
    subject, head = guilty(0)
    found = why(subject, rows, "word", "alpha", "beta", **quick)
    assert ((str(head[0]), head[1]),) in found.verified
    assert any("carries" in line and str(head[0]) in line for line in found.sentences)
    clean = why(guilty(0, strength=0.0)[0], rows, "word", "alpha", "beta", **quick)
    assert clean.verified == ()
    assert not any("carries" in line for line in clean.sentences)
    assert any("No head set verified" in line for line in clean.sentences)


def test_one_seed_one_answer(people):
    one, other = (
        why(*people, "side", "poor", "rich", metric="mean_score", minimum=5, **QUICK) for _ in range(2)
    )
    assert one.sentences == other.sentences


@pytest.mark.parametrize("metric", [name for name in GAPS if name.endswith("positive_rate")])
def test_a_rate_of_one_label_looks_at_rows_of_that_label(people, metric):
    subject, rows = people
    made = why(subject, rows, "side", "poor", "rich", metric=metric, minimum=5, **QUICK)
    label = metric == "true_positive_rate"
    assert made.ledger.n_group + made.ledger.n_reference == int((np.asarray(rows.labels) == label).sum())


def test_a_gap_between_texts_is_divided_among_words():
    rows = sentences(160)
    subject = own_classifier(rows)
    made = why(subject, rows, "region", "north", "south", metric="mean_score", minimum=5, **QUICK)
    assert {"good", "dull"} & {s.unit for s in made.ledger.shares}
    assert sum(s.estimate for s in made.ledger.shares) + made.ledger.residual == pytest.approx(
        made.ledger.gap
    )
    rare = why(subject, rows, "region", "north", "south", metric="mean_score", minimum=10_000, **QUICK)
    assert rare.ledger is None and "minimum" in rare.no_ledger


def test_an_attribution_that_was_made_already_is_taken_and_one_of_other_rows_refused(
    people, explained, monkeypatch
):
    subject, rows = people
    made = attribute(subject, rows, batch_size=32)

    def never(*_, **__):
        raise AssertionError("it was made again")

    monkeypatch.setattr("clinometer.interpret.methods.attribute", never)
    asked = {"metric": "selection_rate", "minimum": 5, **QUICK}
    again = why(subject, rows, "side", "poor", "rich", attribution=made, **asked)
    assert again.sentences == explained.sentences
    for other in (made.take(np.arange(len(rows))[::-1]), dataclasses.replace(made, target="another")):
        with pytest.raises(DataError, match="in this order, is expected"):
            why(subject, rows, "side", "poor", "rich", attribution=other, **asked)


def test_refusals(people):
    subject, rows = people
    with pytest.raises(UsageError, match="did you mean 'selection_rate'"):
        why(subject, rows, "side", "poor", metric="selection_rates", **QUICK)
    with pytest.raises(DataError, match="side"):
        why(subject, rows, "side", "pour", **QUICK)
    unlabelled = dataclasses.replace(rows, labels=None)
    with pytest.raises(UsageError, match="label"):
        why(subject, unlabelled, "side", "poor", metric="true_positive_rate", **QUICK)
