"""Small files are read within bounds, and every refusal names the file, what it is and the way out."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinometer.bounded_files import DEEPEST, WIDEST, parsed_json, read_json, read_toml
from clinometer.errors import DataError, PolicyError

TEXTS = st.text(st.characters(codec="utf-8"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_what_json_can_say_is_read_as_it_is(value: Any) -> None:
    for ascii_only in (True, False):
        text = json.dumps(value, ensure_ascii=ascii_only)
        assert parsed_json(text, "x", DataError, way_out="Go.") == value


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


def test_the_bounds_are_where_they_are_said_to_be(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(nested(DEEPEST), encoding="utf-8")
    assert isinstance(read_json(file, DataError), list)
    file.write_text(nested(DEEPEST + 1), encoding="utf-8")
    with pytest.raises(
        DataError, match=rf"a\.json cannot be read: it is nested too deeply, more than {DEEPEST} levels"
    ):
        read_json(file, DataError)
    file.write_text(str(2**WIDEST - 1), encoding="utf-8")
    assert read_json(file, DataError) == 2**WIDEST - 1
    file.write_text(str(2**WIDEST), encoding="utf-8")
    with pytest.raises(DataError, match=r"a whole number of 1,001 bits; at most 1000"):
        read_json(file, DataError)
    dots = tmp_path / "a.toml"
    dots.write_text(".".join("a" * DEEPEST) + " = 1", encoding="utf-8")
    assert "a" in read_toml(dots, PolicyError)
    dots.write_text(".".join("a" * (DEEPEST + 1)) + " = 1", encoding="utf-8")
    with pytest.raises(PolicyError, match="nested too deeply"):
        read_toml(dots, PolicyError)


def test_numbers_with_points_are_no_dotted_keys(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text(f"a = [{', '.join(['0.25'] * 500)}]\nb = '{'a.b. ' * 20}'\n", encoding="utf-8")
    assert len(read_toml(file, DataError)["a"]) == 500


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"\xff", "it is not UTF-8: byte 0 in line 1. Save it as UTF-8."),
        (b'{"a":\n "\xe9"}', "it is not UTF-8: byte 8 in line 2."),
        (b"{", "it is not JSON: .*Go home."),
        (b"1" * 5000, "it is not JSON: .*Go home."),
        (b'"\\ud83d"', r"half of a character \(U\+D83D\), which is no text. Go home."),
        (b'{"\\udc00": 1}', "half of a character"),
    ],
)
def test_what_is_no_json_is_refused(raw: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(raw)
    with pytest.raises(DataError, match=rf"a\.json cannot be read: (it holds )?{says}"):
        read_json(tmp_path / "a.json", DataError, way_out="Go home.")


def test_both_halves_of_a_character_are_text(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'"\\ud83c\\udfe0"')
    assert read_json(tmp_path / "a.json", DataError) == "🏠"


@pytest.mark.parametrize("raw", [b"a = ", b"a = 2026-02-30", b"a = " + b"1" * 5000, b"\xff", b"a = 1\na = 2"])
def test_what_is_no_toml_is_refused(raw: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(raw)
    with pytest.raises(PolicyError, match=r"--config cannot be read: it is not (TOML|UTF-8)"):
        read_toml(tmp_path / "a.toml", PolicyError, name="--config")


@pytest.mark.parametrize("name", ["absent.json", ".", "a\x00b"])
def test_a_file_that_cannot_be_opened_is_refused(name: str, tmp_path: Path) -> None:
    for read in (read_json, read_toml):
        with pytest.raises(DataError, match=r"cannot be read: .* Go home\."):
            read(tmp_path / name, DataError, way_out="Go home.")
