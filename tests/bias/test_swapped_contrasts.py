"""Pairs weigh against their twins, whichever was written first; both ways of weighing give one gap."""

import dataclasses

import numpy as np
import pytest

from clinometer.bias.bootstrap_t import bootstrap_t
from clinometer.bias.column_flips import flipped
from clinometer.bias.gap_contrast import SoftThreshold
from clinometer.bias.ledger import ledger
from clinometer.bias.parts_of_gaps import parts_of_gap
from clinometer.bias.swapped_contrasts import change_gap, pair_rows, swapped_gap
from clinometer.bias.swapped_rows import swapped
from clinometer.bias.word_ledger import word_ledger
from clinometer.errors import DataError, UsageError
from clinometer.records import Rows
from reference.dividing import attributed

TEXTS = (
    "The woman is late.",
    "A man slept here.",
    "Nobody knows.",
    "The boy met his brother.",
    "My sister laughed.",
    "An actress and an actor.",
)


def made(texts=TEXTS):
    rows = Rows(
        ids=tuple(f"t{i}" for i in range(len(texts))),
        inputs={"text": np.array(texts, dtype=object)},
        labels=np.arange(len(texts)) % 2,
        groups={"region": tuple("xy"[i % 2] for i in range(len(texts)))},
    )
    return swapped(rows, "gendered nouns", ambiguous="keep")


def scored(rows, lean=0.0, seed=0):
    """A score of the whole text, with `lean` for every word of a woman."""
    female = ("woman", "sister", "girl", "actress")
    generator = np.random.default_rng(seed)
    return np.array(
        [
            lean * sum(word in text.lower() for word in female) + generator.normal()
            for text in rows.inputs["text"]
        ]
    )


def test_known_answer():
    pairs = made()
    rows = pair_rows(pairs)
    assert rows.ids == (*pairs.original.ids, *pairs.rows.ids) and len(rows.labels) == len(rows)
    assert rows.groups["region"][: len(TEXTS)] == pairs.original.groups["region"]
    gap = swapped_gap(pairs, "female", "male")
    score = dict(zip(rows.ids, scored(rows), strict=True))
    wanted = []
    for one in pairs.swaps:
        new, old = score[one.id], score[one.original]
        if one.direction == "male -> female":
            wanted.append(new - old)
        elif one.direction == "female -> male":
            wanted.append(old - new)
    assert len(wanted) == 4 and len(pairs) == 5
    assert gap.gap(scored(rows)) == pytest.approx(np.mean(wanted), abs=1e-12)
    assert (gap.contrast.n_group, gap.contrast.n_reference) == (4, 4)
    assert dict(gap.left_out) == {"of another direction": 1, "originals without a swap": 2}
    assert "(4 pairs)" in gap.words


def test_both_ways_of_weighing_give_one_gap_with_one_error():
    pairs = made()
    rows = pair_rows(pairs)
    values = scored(rows, lean=1.0)
    one, other = swapped_gap(pairs, "female", "male"), change_gap(pairs, "female", "male")
    changes = values[len(TEXTS) :] - values[: len(TEXTS)][pairs.place]
    assert one.gap(values) == pytest.approx(other.gap(changes), abs=1e-12)
    assert other.changes and other.ids == pairs.rows.ids
    sign = np.sign(other.weights)
    errors = [
        bootstrap_t(values[:, None], one.weights, cluster=one.cluster, replicates=60).error[0],
        bootstrap_t(
            (sign * changes)[:, None], np.abs(other.weights), cluster=other.cluster, replicates=60
        ).error[0],
    ]
    assert errors[0] == pytest.approx(errors[1], rel=1e-9)
    kept = (sign * changes)[sign != 0]
    assert errors[1] == pytest.approx(kept.std(ddof=1) / 2, rel=1e-9)  # the paired t's, n = 4


def test_ledgers_of_pairs_add_up_and_find_the_word():
    pairs = made(tuple(f"The {noun} number {i} is here." for i, noun in enumerate(["woman", "man"] * 20)))
    rows = pair_rows(pairs)
    tokens = [text.rstrip(".").split() for text in rows.inputs["text"]]
    generator = np.random.default_rng(0)
    scores = [[0.7 * (word == "woman") + 0.05 * generator.normal() for word in row] for row in tokens]
    record = attributed(tokens, scores, residual=1e-5 * generator.normal(size=len(rows)), ids=rows.ids)
    gap = swapped_gap(pairs, "female", "male")
    entry = word_ledger(record, gap, replicates=100)
    assert sum(s.estimate for s in entry.shares) + entry.residual == pytest.approx(entry.gap, abs=1e-12)
    assert entry.ranked[0].unit == "woman" and entry.ranked[0].estimate == pytest.approx(0.7, abs=0.05)
    found = parts_of_gap(record, gap, identity="gender", replicates=100)
    assert found.part("identity").estimate == pytest.approx(0.7, abs=0.05)
    assert found.part("identity").low > 0.6
    assert sum(p.estimate for p in found.parts) + found.residual == pytest.approx(found.gap, abs=1e-9)


def test_a_change_is_divided_by_its_sign():
    pairs = made(("A man.", "A woman.") * 10)
    n = len(pairs)
    step = np.where([one.direction == "male -> female" for one in pairs.swaps], 1.0, -1.0)
    scores = np.column_stack([0.01 * np.arange(n), step])
    record = attributed([["a", "man -> woman"]] * n, scores, ids=pairs.rows.ids)
    entry = ledger(record, change_gap(pairs, "female", "male"), replicates=60)
    assert entry.shares[1].estimate == pytest.approx(1.0) and entry.shares[1].high == pytest.approx(1.0)
    assert entry.score == f"change of {record.target}"
    assert entry.gap == pytest.approx(sum(s.estimate for s in entry.shares), abs=1e-12)
    with pytest.raises(UsageError, match=r"contrasts.swapped_gap|swapped_gap over"):
        parts_of_gap(record, change_gap(pairs, "female", "male"))
    nothing = dataclasses.replace(record, base_value=np.full(n, np.nan))
    with pytest.raises(DataError, match="starts from no other text"):
        ledger(nothing, change_gap(pairs, "female", "male"))


def test_pairs_of_a_table_and_of_one_document():
    rows = Rows(
        ids=tuple("abcd"),
        inputs={"sex": np.array(["male", "female", "male", "male"], dtype=object), "age": np.arange(4.0)},
    )
    pairs = flipped(rows, "sex", {"male": "female", "female": "male"})
    gap = swapped_gap(pairs, "female", "male", cluster=["d1", "d1", "d2", "d2"])
    np.testing.assert_allclose(gap.weights, [-0.25, 0.25, -0.25, -0.25, 0.25, -0.25, 0.25, 0.25])
    assert gap.cluster.tolist() == [0, 0, 1, 1, 0, 0, 1, 1]
    soft = swapped_gap(pairs, "female", "male", soft=SoftThreshold(threshold=0, temperature=1))
    assert "soft surrogate" in soft.words


def test_what_is_no_pair_is_refused():
    pairs = made()
    with pytest.raises(DataError, match="did you mean 'male -> female'"):
        swapped_gap(pairs, "femal", "male")
    with pytest.raises(DataError, match="one code for each of 6"):
        change_gap(pairs, "female", "male", cluster=[1, 2])


def test_along_swaps_no_original_is_left_out_and_only_other_directions_are():
    made_ = change_gap(made(), "female", "male")
    assert dict(made_.left_out) == {"of another direction": 1, "originals without a swap": 0}
