"""Rows written for a model to score: ids, order, what is left out and why."""

import numpy as np
import pytest

from clinometer.bias.lexicons import lexicon
from clinometer.bias.swapped_rows import swapped
from clinometer.errors import DataError, UsageError
from clinometer.records import Rows


def rows_of(*texts, **more):
    ids = tuple(f"t{i}" for i in range(len(texts)))
    return Rows(ids=ids, inputs={"text": np.array(texts, dtype=object), **more})


TEXTS = rows_of(
    "He is kind.",
    "The film is dull.",
    "She saw her leave.",
    "The mother of James waits.",
    year=np.arange(4),
)


def test_known_answer():
    made = swapped(TEXTS, "gender")
    assert list(made.rows.inputs["text"]) == ["She is kind.", "The father of Mary waits."]
    assert made.rows.inputs["year"].tolist() == [0, 3] == made.place.tolist()
    assert made.rows.ids == ("t0 [female <-> male]", "t3 [female <-> male]")
    assert [one.direction for one in made.swaps] == ["male -> female", "female -> male & male -> female"]
    left = {one.id: (one.reason, one.detail) for one in made.not_swapped}
    assert left["t1"] == ("nothing to swap", "")
    assert left["t2"][0] == "ambiguous" and "saw her leave" in left["t2"][1]
    assert made.reasons == {"nothing to swap": 1, "ambiguous": 1}
    assert (
        made.provenance["lexicon"] == "gender" and made.provenance["sha256"] == lexicon("gender").fingerprint
    )
    assert "2 copies of 2 of 4 rows" in repr(made)
    assert list(made.frame["changes"]) == ["He -> She", "mother -> father, James -> Mary"]


def test_ambiguous_ones_can_be_kept_and_are_marked():
    made = swapped(TEXTS, "gender", ambiguous="keep")
    assert len(made) == 3 and made.reasons == {"nothing to swap": 1}
    assert [bool(one.warning) for one in made.swaps] == [False, True, False]
    assert made.notes[0] == "1 of 3 swapped texts are uncertain and were kept"


def test_a_copy_for_every_group():
    rows = rows_of("Two Muslims and a Sikh.", "Jews", "Nobody")
    made = swapped(rows, "religion")
    assert len({one.variant for one in made.swaps}) == 6
    texts = dict(zip(made.rows.ids, made.rows.inputs["text"], strict=True))
    assert texts["t0 [to christian]"] == "Two Christians and a Christian."
    assert texts["t0 [to muslim]"] == "Two Muslims and a Muslim."
    assert "t1 [to jewish]" not in texts and len(texts) == 11
    assert made.reasons == {"nothing to swap": 7}
    assert {one.direction for one in made.swaps if one.original == "t1"} == {
        f"jewish -> {group}" for group in ("christian", "muslim", "hindu", "buddhist", "sikh")
    }
    only = swapped(rows, "religion", to=["hindu"])
    assert list(only.rows.inputs["text"]) == ["Two Hindus and a Hindu.", "Hindus"]


def test_a_word_without_counterpart_is_said():
    made = swapped(rows_of("a same-sex couple", "gay people"), "orientation", to="bisexual")
    assert [(one.id, one.reason) for one in made.not_swapped] == [("t0", "no counterpart")]
    assert "'same-sex couple' has none" in made.not_swapped[0].detail


def test_refusals():
    with pytest.raises(DataError, match=r"none of 1 texts can be swapped \(1 nothing to swap\)"):
        swapped(rows_of("The film is dull."), "gender")
    with pytest.raises(DataError, match="no column 'txt': did you mean 'text'"):
        swapped(TEXTS, "gender", column="txt")
    with pytest.raises(DataError, match="4 values that are no texts; first rows: 't0'"):
        swapped(TEXTS, "gender", column="year")
    with pytest.raises(DataError, match="1 ids stand for several rows, first 'a'"):
        swapped(Rows(ids=("a", "a"), inputs={"text": np.array(["he", "she"], dtype=object)}), "gender")
    with pytest.raises(DataError, match="no rows"):
        swapped(TEXTS.take([]), "gender")
    with pytest.raises(UsageError, match="'leave out' or 'keep'"):
        swapped(TEXTS, "gender", ambiguous="drop")
