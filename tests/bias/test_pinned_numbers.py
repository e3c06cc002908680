"""No number moves between versions without being announced: public functions on made inputs, beside a table."""

import json
import math
import runpy
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PINNED = json.loads((HERE / "pinned_numbers.json").read_text(encoding="utf-8"))
NUMBERS = runpy.run_path(str(HERE / "pinned_numbers.py"))
CASES, of, moved = NUMBERS["CASES"], NUMBERS["of"], NUMBERS["moved"]
WAY_OUT = (
    "Was this meant? Say in changes/ which number moved and why; then: "
    "python tests/bias/pinned_numbers.py > tests/bias/pinned_numbers.json"
)


@pytest.mark.parametrize("name", CASES)
def test_numbers_are_the_pinned_ones(name):
    # Through JSON, as the table was: a text that is no text, or a number that is none, would show.
    found = moved(PINNED[name], json.loads(json.dumps(of(name))))
    assert not found, "\n".join([WAY_OUT, *found[:20]])


def test_every_case_is_pinned_and_nothing_else():
    assert list(PINNED) == list(CASES)
    assert len(CASES) >= 50 and sum(map(len, PINNED.values())) > 2000


@pytest.mark.parametrize(
    ("pinned", "made", "seen"),
    [
        (1.0, 1.0 + 1e-9, False),
        (1.0, 1.0 + 3e-7, True),
        (0.0, 1e-11, False),
        (0.0, 1e-9, True),
        (1, 1.0, False),
        (1, 2, True),
        (1.0, True, True),
        (True, 1, True),
        ("ok", "ok ", True),
        (None, 0.0, True),
        ([1.0, "a", None], [1.0, "a", None], False),
        ([1.0, "a"], [1.0, "b"], True),
        ([1.0], [1.0, 2.0], True),
        ([], [], False),
    ],
)
def test_what_is_seen_as_moved(pinned, made, seen):
    assert bool(moved({"x": pinned}, {"x": made})) is seen


def test_a_place_that_is_gone_or_new_is_seen():
    assert moved({"x": 1}, {}) == ["x: 1 was pinned, not there is found"]
    assert moved({}, {"x": 1}) == ["x: not there was pinned, 1 is found"]


def test_inputs_are_made_of_whole_numbers():
    """The first numbers of the generator by hand, so that the table can be made again anywhere."""
    state, made = 7 * 2654435761 + 12345, []
    for _ in range(5):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        made.append((state >> 32) / 2**32)
    assert NUMBERS["uniform"](2, 7).tolist() == made[3:]
    numbers = NUMBERS["uniform"](4000, 8)
    assert numbers.mean() == pytest.approx(0.5, abs=0.02) and numbers.std() == pytest.approx(
        1 / math.sqrt(12), abs=0.01
    )
    assert NUMBERS["bell"](4000, 9).std() == pytest.approx(1, abs=0.05)
