"""Flipped columns of a table: what changes, what stays, and which copies nobody is like."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from clinometer.bias.column_flips import flipped
from clinometer.errors import DataError, UsageError
from clinometer.records import Rows

SHARED = Path(__file__).parents[3] / "shared" / "data" / "adult" / "adult.data.gz"
SEX = {"Male": "Female", "Female": "Male"}


def people(sex, role, age=None):
    inputs = {"sex": np.array(sex, dtype=object), "role": np.array(role, dtype=object)}
    if age is not None:
        inputs["age"] = np.array(age)
    ids = tuple(f"p{i}" for i in range(len(sex)))
    return Rows(ids=ids, inputs=inputs, labels=np.arange(len(sex)), groups={"sex": tuple(sex)})


PEOPLE = people(
    ["Male", "Male", "Female", "Female", "Other"],
    ["Husband", "Own-child", "Wife", "Own-child", "Own-child"],
    [40, 20, 41, 19, 22],
)


def test_known_answer():
    made = flipped(PEOPLE, "sex", SEX, beside=["role"], minimum=1)
    assert made.rows.ids == ("p0 [sex = Female]", "p1 [sex = Female]", "p2 [sex = Male]", "p3 [sex = Male]")
    assert list(made.rows.inputs["sex"]) == ["Female", "Female", "Male", "Male"]
    assert list(made.rows.inputs["role"]) == ["Husband", "Own-child", "Wife", "Own-child"]
    assert list(made.rows.labels) == [0, 1, 2, 3] and made.place.tolist() == [0, 1, 2, 3]
    assert [one.n_alike for one in made.swaps] == [0, 1, 0, 1]
    assert made.swaps[0].warning == "0 real rows have sex = Female, role = Husband"
    assert made.swaps[1].warning == ""
    assert [(one.id, one.detail) for one in made.not_swapped] == [("p4", "Other")]
    assert made.notes[0] == "2 of 4 flipped rows have fewer than 1 real rows like them"
    assert made.directions == ("Male -> Female", "Female -> Male")
    assert list(made.original.inputs["sex"])[:2] == ["Male", "Male"], "the originals stay as they are"


def test_columns_that_go_along_make_it_plausible_again():
    roles = {"Husband": "Wife", "Wife": "Husband"}
    made = flipped(PEOPLE, "sex", SEX, along={"role": roles}, minimum=1)
    assert list(made.rows.inputs["role"]) == ["Wife", "Own-child", "Husband", "Own-child"]
    assert all(one.n_alike == 1 and not one.warning for one in made.swaps)
    assert made.swaps[0].changes == {"sex": ("Male", "Female"), "role": ("Husband", "Wife")}
    assert made.swaps[1].changes == {"sex": ("Male", "Female")}


def test_numbers_are_compared_by_bins_with_stated_edges():
    def alike(edges):
        return [
            one.n_alike for one in flipped(PEOPLE, "sex", SEX, beside=["age"], edges=edges, minimum=1).swaps
        ]

    assert alike({"age": [30]}) == [1, 1, 1, 1]
    assert alike({"age": [20]}) == [1, 1, 2, 0], "a bin holds its lower edge"
    assert alike({}) == [0, 0, 0, 0]
    warned = flipped(PEOPLE, "sex", SEX, beside=["age"], edges={"age": [20]}, minimum=1).swaps[3].warning
    assert warned == "0 real rows have sex = Male, age = -inf to 20"


def test_flipping_twice_gives_the_rows_back():
    once = flipped(PEOPLE.take([0, 1, 2, 3]), "sex", SEX)
    twice = flipped(once.rows, "sex", SEX)
    assert list(twice.rows.inputs["sex"]) == list(PEOPLE.inputs["sex"])[:4]


def test_numbers_keep_their_type():
    rows = Rows(ids=("a", "b"), inputs={"female": np.array([0, 1], dtype=np.int8)})
    made = flipped(rows, "female", {0: 1, 1: 0})
    assert made.rows.inputs["female"].dtype == np.int8 and made.rows.inputs["female"].tolist() == [1, 0]
    with pytest.raises(DataError, match="do not fit a column of int8"):
        flipped(rows, "female", {0: 0.5})


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (("sexx", SEX), DataError, "did you mean 'sex'"),
        (
            ("sex", {"male": "Female"}),
            DataError,
            "column 'sex' has no value 'male'; it holds 'Male', 'Female'",
        ),
        (("sex", {"Male": "Male"}), UsageError, "becomes itself"),
        (("sex", {}), DataError, "none was named"),
    ],
)
def test_refusals(arguments, error, said):
    with pytest.raises(error, match=said):
        flipped(PEOPLE, *arguments)


def test_more_refusals():
    with pytest.raises(UsageError, match="named twice"):
        flipped(PEOPLE, "sex", SEX, beside=["sex"])
    with pytest.raises(UsageError, match="do not increase"):
        flipped(PEOPLE, "sex", SEX, beside=["age"], edges={"age": [30, 20]})
    with pytest.raises(DataError, match="holds values that are no numbers"):
        flipped(PEOPLE, "sex", SEX, beside=["role"], edges={"role": [1]})
    with pytest.raises(UsageError, match="minimum is 0"):
        flipped(PEOPLE, "sex", SEX, minimum=0)
    with pytest.raises(DataError, match="no rows"):
        flipped(PEOPLE.take([]), "sex", SEX)


def test_adult_husbands_made_female_are_nobody():
    if not SHARED.is_file():
        pytest.skip("adult is not beside this checkout")
    with gzip.open(SHARED, "rt", encoding="utf-8") as file:
        listed = [line.strip().split(", ") for line in file if line.strip()]
    rows = people([row[9] for row in listed], [row[7] for row in listed])
    made = flipped(rows, "sex", SEX, beside=["role"])
    assert len(made) == 32561
    husbands = [
        one for one, row in zip(made.swaps, listed, strict=True) if row[7] == "Husband" and row[9] == "Male"
    ]
    assert {one.n_alike for one in husbands} == {1} and all(one.warning for one in husbands)
    unmarried = [one for one, row in zip(made.swaps, listed, strict=True) if row[7] == "Not-in-family"]
    assert not any(one.warning for one in unmarried)
    fitting = flipped(rows, "sex", SEX, along={"role": {"Husband": "Wife", "Wife": "Husband"}})
    assert sum(bool(one.warning) for one in fitting.swaps) < 10 < len(husbands)
