"""A note comes back as it was written, whatever its values; changed by as little as a digit, it is not there."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clinometer.sealed_notes import SEAL, read_note, write_note

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab1", max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
SAID = {"plan": "x", "left_out": [(3, "r3", "why")], "share": 0.1, "deep": {"a": [1, 2.0, None, True]}}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(said=st.dictionaries(st.text("abc", max_size=4), VALUES, max_size=4))
def test_what_is_written_comes_back(tmp_path: Path, said: dict[str, Any]) -> None:
    write_note(tmp_path / "note.json", said)
    assert json.dumps(read_note(tmp_path / "note.json"), sort_keys=True) == json.dumps(said, sort_keys=True)


def test_its_layout_is_no_part_of_it(tmp_path: Path) -> None:
    write_note(tmp_path / "one.json", SAID)
    write_note(tmp_path / "two.json", SAID, indent=1)
    assert read_note(tmp_path / "one.json") == read_note(tmp_path / "two.json")
    keys = {2: "a", 10: "b", 1: "c"}  # JSON makes texts of them, which are in another order
    write_note(tmp_path / "keys.json", {"of": keys})
    assert read_note(tmp_path / "keys.json") == {"of": {"1": "c", "2": "a", "10": "b"}}


def test_every_bit_counts(tmp_path: Path) -> None:
    file = tmp_path / "note.json"
    write_note(file, SAID)
    raw, said = file.read_bytes(), read_note(file)
    for at in range(len(raw)):
        file.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
        assert read_note(file) in (None, said), at  # said: a blank became another one
    for end in range(len(raw) - 1):
        file.write_bytes(raw[:end])
        assert read_note(file) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        "null",
        "{}",
        f'{{"{SEAL}": null}}',
        "[" * 100_000,
        "\xff",
        '{"a": "\\ud800"}',
        "9" * 5000,
    ],
    ids=range(11),
)
def test_what_is_no_note_is_not_there(tmp_path: Path, text: str) -> None:
    (tmp_path / "note.json").write_text(text, encoding="latin1")
    assert read_note(tmp_path / "note.json") is None
    assert read_note(tmp_path / "nowhere.json") is None and read_note(tmp_path) is None


@pytest.mark.parametrize(
    "change", [{"share": 0.10000000000000002}, {"left_out": []}, {"more": 1}, {"plan": "X"}]
)
def test_other_values_under_the_old_checksum_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    file = tmp_path / "note.json"
    write_note(file, SAID)
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), **change}), encoding="utf-8")
    assert read_note(file) is None
