"""One byte of the weights, one row, one byte of the evidence: each is named; what is whole matches."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

import clinometer.cli as cli
from clinometer.errors import DataError
from clinometer.interpret.edits import save
from clinometer.reviewed_files import review_files
from clinometer.signature import NAME, check_files, seal, write_hashes
from clinometer.verified_reviews import Verification, verify
from clinometer.visualizers import page, plates
from reference.subjects import applicants, fitted


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, its rows in a file, and the review of both."""
    place = tmp_path_factory.mktemp("verified")
    rows = applicants(60, seed=1)
    save(fitted(applicants(60), epochs=0), place / "model")
    frame = pd.DataFrame({**rows.inputs, "approved": rows.labels, **rows.groups, "id": rows.ids})
    frame.to_csv(place / "rows.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "render", lambda made, *_, **__: f"<html>{page.report_id(made)}</html>")
        patch.setattr(plates, "draw", lambda *_, **__: None)
        patch.setattr(plates, "save_figures", lambda *_, **__: ())
        review_files(
            place / "model",
            place / "rows.csv",
            policy=None,
            label="approved",
            groups=("race", "sex"),
            out=place / "review",
            quiet=True,
        )
    return place


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy"


def verified(place: Path) -> Verification:
    return verify(place / "review", place / "model", place / "rows.csv")


def failed(found: Verification) -> list[tuple[str, str, str]]:
    return [(c.what, c.name, c.outcome) for c in found.checks if c.outcome in ("differs", "not there")]


def flip(file: Path, at: int = -1) -> None:
    raw = bytearray(file.read_bytes())
    raw[at] ^= 1
    file.write_bytes(raw)


def test_what_is_whole_matches(made: Path) -> None:
    found = verified(made)
    assert failed(found) == [] and found.holds and found.exit_code == 0
    matched = {(c.what, c.name) for c in found.checks if c.outcome == "matches"}
    files = {("file", name) for name in ("review.json", "report.html", "evidence.parquet", "policy.toml")}
    assert matched == files | {
        ("model", "weights"),
        ("model", "settings"),
        ("data", "rows"),
        ("data", "file"),
    }
    assert found.seal == seal(made / "review") and len(str(found.seal)) == 64


def test_one_byte_of_the_weights_is_named(place: Path) -> None:
    flip(place / "model" / "model.safetensors")
    found = verified(place)
    assert failed(found) == [("model", "weights", "differs")] and found.exit_code == 3
    (check,) = [c for c in found.checks if c.name == "weights"]
    assert "model.safetensors" in check.note and check.recorded != check.found
    (place / "model" / "model.safetensors").unlink()
    assert failed(verified(place)) == [("model", "weights", "not there")]


@pytest.mark.parametrize("name", ["evidence.parquet", "review.json", "report.html", "policy.toml"])
def test_one_byte_of_a_file_of_the_review_is_named(place: Path, name: str) -> None:
    flip(place / "review" / name)
    found = verified(place)
    assert ("file", name, "differs") in failed(found)
    assert {one[0] for one in failed(found)} == {"file"}


def test_a_row_is_named_where_its_group_or_label_changed(place: Path) -> None:
    file = place / "rows.csv"
    frame = pd.read_csv(file, dtype=str)
    frame.loc[7, "race"] = "black" if frame.loc[7, "race"] != "black" else "white"
    frame.loc[9, "approved"] = str(1 - int(frame.loc[9, "approved"]))
    frame.drop(index=11).to_csv(file, index=False)
    found = verified(place)
    said = {c.name: c.note for c in found.checks if c.outcome == "differs"}
    assert said["rows: another race"] == "1: 'a0007'"
    assert said["rows: another label"] == "1: 'a0009'"
    assert said["rows: gone"] == "1: 'a0011'"
    assert {"rows", "file"} <= said.keys() and found.exit_code == 3


def test_an_input_that_changed_is_seen(place: Path) -> None:
    frame = pd.read_csv(place / "rows.csv")
    frame.loc[3, "income"] += 1e-9
    frame.to_csv(place / "rows.csv", index=False)
    assert failed(verified(place)) == [("data", "rows", "differs"), ("data", "file", "differs")]


def test_the_same_rows_in_another_file_are_the_same_data(place: Path) -> None:
    pd.read_csv(place / "rows.csv").to_parquet(place / "rows.parquet")
    found = verify(place / "review", None, place / "rows.parquet")
    assert found.holds
    outcomes = {(c.what, c.name): (c.outcome, c.note) for c in found.checks}
    assert outcomes["data", "rows"][0] == "matches"
    assert outcomes["data", "file"] == ("not checked", "another file with the same rows")
    assert outcomes["model", "model"] == ("not checked", "no model was given")


def test_files_that_are_gone_or_new(place: Path) -> None:
    (place / "review" / "policy.toml").unlink()
    (place / "review" / "card.md").write_text("# a card\n", encoding="utf-8")
    found = verify(place / "review")
    assert failed(found) == [("file", "policy.toml", "not there")]
    assert ("card.md", "not recorded") in [(c.name, c.outcome) for c in found.checks]


def test_a_review_from_before_hashes_were_kept(place: Path) -> None:
    (place / "review" / NAME).unlink()
    found = verified(place)
    assert failed(found) == [("file", NAME, "not there")] and found.seal is None


def test_the_command(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["verify", str(place / "review"), str(place / "model"), str(place / "rows.csv")]
    assert cli.main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["holds"] is True
    assert cli.main(arguments) == 0
    out = capsys.readouterr().out
    assert "✓ model weights: matches ('model.safetensors')" in out and "8 match, 0 differ" in out
    flip(place / "review" / "evidence.parquet")
    assert cli.main([*arguments, "--quiet"]) == 3
    out = capsys.readouterr().out
    assert out.startswith("▲ file evidence.parquet: differs") and "1 differ or are missing" in out
    assert cli.main(["verify", str(place / "nowhere")]) == 3
    assert "is not a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "is no list of hashes"),
        (
            '{"format": "clinometer hashes 1", "files": {"../../secret": "' + "0" * 64 + '"}}',
            "not within the folder",
        ),
        (
            '{"format": "clinometer hashes 1", "files": {"review.json": 7}}',
            "a SHA-256 in hexadecimal is expected",
        ),
        ("{", "is not JSON"),
    ],
)
def test_a_damaged_list_is_refused(place: Path, text: str, message: str) -> None:
    (place / "review" / NAME).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        verify(place / "review")


def test_hashes_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "日本").write_bytes(b"x")
    write_hashes(tmp_path)
    first = (tmp_path / NAME).read_bytes()
    write_hashes(tmp_path)
    assert (tmp_path / NAME).read_bytes() == first, "the list is not in itself"
    assert [(c.name, c.outcome) for c in check_files(tmp_path)] == [("a/日本", "matches")]
