"""Lexicons of a user: TOML, CSV, lists of names; what is left out is said, what is wrong is refused."""

import gzip
from pathlib import Path

import pytest

from clinometer.bias.lexicon_files import names_lexicon, read_lexicon, read_names
from clinometer.bias.swaps import swap
from clinometer.errors import DataError, UsageError

SHARED = Path(__file__).parents[3] / "shared" / "data" / "names_gender" / "names_gender.csv.gz"
ABOUT = {"name": "own", "version": "1", "source": "a test", "attribute": "gender"}

TOML = """
name = "jobs"
version = "2"
source = "a test"
attribute = "gender"

[[entry]]
forms = { female = "waitress", male = "waiter" }

[[entry]]
forms = { female = ["barmaid", "barwoman"], male = "barman" }

[[entry]]
forms = { female = "Dame", male = "Sir" }
capitalised = true
"""


def test_toml(tmp_path):
    (tmp_path / "jobs.toml").write_text(TOML, encoding="utf-8")
    jobs = read_lexicon(tmp_path / "jobs.toml")
    assert (jobs.name, jobs.version, jobs.groups) == ("jobs", "2", ("female", "male"))
    assert (
        swap("Sir Ian, the barwoman and a waiter, sir.", jobs).text
        == "Dame Ian, the barman and a waitress, sir."
    )


def test_csv_of_pairs_and_three_groups(tmp_path):
    text = "north,south,west\nNorthman|Norther,Southman,Westman\nfjord,,creek\n"
    (tmp_path / "w.csv").write_text(text, encoding="utf-8")
    own = read_lexicon(tmp_path / "w.csv", **ABOUT)
    assert own.groups == ("north", "south", "west") and set(own.entries[1].forms) == {"north", "west"}
    assert swap("A Norther at a fjord", own, to="west").text == "A Westman at a creek"
    missing = swap("A Norther at a fjord", own, to="south")
    assert missing.no_word == ("fjord",)
    (tmp_path / "w.csv.gz").write_bytes(gzip.compress(text.encode()))
    assert read_lexicon(tmp_path / "w.csv.gz", **ABOUT).fingerprint == own.fingerprint


def test_names_are_paired_once_and_those_of_both_groups_left_out():
    lists = {"female": ["Ann", "Kim", "Eve", "Grace"], "male": ["Bob", "Kim", "Dan"]}
    own = names_lexicon(lists, exclude=["Grace"], **{**ABOUT, "attribute": "gender"})
    assert own.left_out == ("Grace", "Kim")
    assert len(own.entries) == 2 and all(entry.capitalised and entry.one_to_one for entry in own.entries)
    again = names_lexicon(lists, exclude=["Grace"], **ABOUT)
    assert own.fingerprint == again.fingerprint
    assert swap("Kim met Grace; bob waits", own).replacements == ()
    text = "Ann told Bob about Dan."
    assert swap(swap(text, own).text, own).text == text != swap(text, own).text
    more = names_lexicon({"female": ["Ann", "Eve", "Ida"], "male": ["Bob"]}, **ABOUT)
    assert {swap(name, more).text for name in ("Ann", "Eve", "Ida")} == {"Bob"}, (
        "names left over share a partner"
    )


def test_another_seed_pairs_otherwise():
    lists = {"female": [f"Fa{i:02}" for i in range(30)], "male": [f"Ma{i:02}" for i in range(30)]}
    one, two = (names_lexicon(lists, seed=seed, **ABOUT).fingerprint for seed in (0, 1))
    assert one != two


def test_thousands_of_names(tmp_path):
    if not SHARED.is_file():
        pytest.skip("names_gender is not beside this checkout")
    lists = read_names(SHARED)
    assert {group: len(listed) for group, listed in lists.items()} == {"female": 5001, "male": 2943}
    own = names_lexicon(lists, **{**ABOUT, "source": "Names Corpus 1.3, M. Kantrowitz, additions by B. Ross"})
    shared = {name.casefold() for name in lists["female"]} & {name.casefold() for name in lists["male"]}
    assert {name.casefold() for name in own.left_out} == shared and len(shared) > 300
    result = swap("Aaron met Abigail; aaron's car. Abbey waited.", own)
    assert [one.old for one in result.replacements] == ["Aaron", "Abigail"], "Abbey is in both lists"
    assert result.direction == "female -> male & male -> female"


@pytest.mark.parametrize(
    ("name", "content", "more", "error", "said"),
    [
        ("x.toml", "name = 'a'\n", {}, DataError, "version: Field required"),
        ("x.toml", "name = a", {}, DataError, "is not TOML"),
        ("x.toml", TOML.replace("capitalised", "capital"), {}, DataError, "Extra inputs"),
        ("x.toml", TOML, {"name": "y"}, UsageError, "says its 'name' itself"),
        ("x.csv", "female,male\nshe,he\n", {}, UsageError, "does not say its 'name'"),
        ("x.csv", "female,male\n", ABOUT, DataError, "1 lines"),
        ("x.csv", "female,male\nshe\n", ABOUT, DataError, "lines '2'"),
        ("x.csv", "female,male\nshe,\n", ABOUT, DataError, "two groups or more"),
        ("x.txt", "she,he", {}, DataError, "neither .toml nor .csv"),
        ("x.csv.gz", "she,he", ABOUT, DataError, "cannot be read"),
    ],
)
def test_refusals(tmp_path, name, content, more, error, said):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(error, match=said):
        read_lexicon(tmp_path / name, **more)


def test_refusals_of_encodings_names_and_columns(tmp_path):
    (tmp_path / "x.csv").write_bytes("name,gender\nRené,male\n".encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8"):
        read_names(tmp_path / "x.csv")
    (tmp_path / "x.csv").write_text("name,sex\nAnn,\n", encoding="utf-8")
    with pytest.raises(DataError, match="no column 'gender'"):
        read_names(tmp_path / "x.csv")
    with pytest.raises(DataError, match="1 names have no sex, first 'Ann'"):
        read_names(tmp_path / "x.csv", group_column="sex")
    with pytest.raises(DataError, match="none left of 'male'"):
        names_lexicon({"female": ["Ann", "Kim"], "male": ["Kim"]}, **ABOUT)
    with pytest.raises(DataError, match="cannot be read"):
        read_lexicon(tmp_path / "absent.toml")
