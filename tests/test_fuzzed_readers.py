"""What is damaged is refused in one sentence: 100 cases of every reader here, 10,000 by hand.

`cd tests && python -m fuzz --cases 10000` is the long run (`.ci/deep`); a case is made again by its reader and seed.
"""

from pathlib import Path
from random import Random

import pytest
from fuzz.cases import LONGEST_MESSAGE, fault_of, made_of, run
from fuzz.mutations import bytes_changed, tree_changed
from fuzz.readers import BY_NAME, Reader, put

from clinometer.errors import LONGEST, ClinometerError, PolicyError

CASES = 100


@pytest.mark.parametrize("name", BY_NAME)
def test_a_damaged_file_is_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    reader = BY_NAME[name]
    files = reader.valid()
    put(files, tmp_path / "case")
    reader.use(reader.read(tmp_path / "case"))  # control: what is valid is accepted
    cases = [run(reader, files, seed, tmp_path / "case") for seed in range(CASES)]
    assert [f"seed {case.seed}: {case.said}" for case in cases if case.outcome == "broken"] == []
    rejected = sum(case.outcome == "rejected" for case in cases)
    assert CASES // 2 < rejected < CASES, "the mutations damage nothing, or everything"


def test_a_case_is_made_again_by_its_seed() -> None:
    reader = BY_NAME["policy"]
    assert made_of(reader, reader.valid(), 7) == made_of(reader, reader.valid(), 7)
    assert made_of(reader, reader.valid(), 7) != made_of(reader, reader.valid(), 8)


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (KeyError("reason"), "KeyError"),
        (RecursionError("too deep"), "RecursionError"),
        (UserWarning("a warning"), "UserWarning"),
        (PolicyError("somewhere something is wrong."), "no file is named"),
        (PolicyError("FOLDER: got <object object at 0x7f00>."), "an address"),
    ],
)
def test_negative_control_of_the_contract(error: Exception, fault: str, tmp_path: Path) -> None:
    def broken(folder: Path) -> None:
        if isinstance(error, ClinometerError):
            raise PolicyError(str(error).replace("FOLDER", str(folder)))
        raise error

    reader = Reader(name="broken", valid=lambda: {"a": b""}, changed=lambda _, files: files, read=broken)
    case = run(reader, {"a": b""}, 0, tmp_path / "case")
    assert case.outcome == "broken" and fault in case.said


def test_a_message_is_no_wall_of_text(tmp_path: Path) -> None:
    long = PolicyError(f"{tmp_path}: got {'x' * 50_000}. Name another file.")
    assert LONGEST < len(str(long)) <= LONGEST_MESSAGE
    assert str(long).startswith(f"{tmp_path}: got xxx") and str(long).endswith("x. Name another file.")
    assert "characters left out" in str(long)
    assert fault_of(str(long), tmp_path) == ""
    assert str(PolicyError("short")) == "short"


def test_mutations_change_bytes_and_trees() -> None:
    draw = Random(0)
    assert len({bytes_changed(draw, b"a file of some length") for _ in range(50)}) > 40
    tree = {"a": [1, 2, {"b": "c"}], "d": 0.5}
    assert len({repr(tree_changed(draw, tree)) for _ in range(50)}) > 40
    assert tree == {"a": [1, 2, {"b": "c"}], "d": 0.5}
