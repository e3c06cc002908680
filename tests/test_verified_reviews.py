"""One byte of the weights, one row, one byte of the evidence: each is named; what is whole matches."""

import dataclasses
import importlib.util
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyarrow import csv, parquet

import clinometer.cli as cli
from clinometer.errors import DataError, UsageError
from clinometer.interpret.edits import save
from clinometer.interpret.low_rank_folders import save_low_rank
from clinometer.interpret.weights import digest
from clinometer.review import save_review
from clinometer.reviewed_files import review_files
from clinometer.saved_reviews import read_review
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
    with plain_pages():
        reviewed(place / "model", place / "rows.csv", place / "review")
    return place


@contextmanager
def plain_pages() -> Iterator[None]:
    """Pages are one line, and figures are not drawn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "render", lambda made, *_, **__: f"<html>{page.report_id(made)}</html>")
        patch.setattr(plates, "draw", lambda *_, **__: None)
        patch.setattr(plates, "save_figures", lambda *_, **__: ())
        yield


def reviewed(model: Path, rows: Path, out: Path) -> None:
    """The review of a model on a file of applicants, saved."""
    groups = ("race", "sex")
    review_files(model, rows, policy=None, label="approved", groups=groups, out=out, quiet=True)


def saved_again(
    place: Path, *, model: Mapping[str, Any] | None = None, data: Mapping[str, Any] | None = None
) -> None:
    """The review with another model or other data in its record, and hashes of that."""
    before = read_review(place / "review")
    made = dataclasses.replace(
        before,
        model={**before.model, **(model or {})},
        data=before.data if data is None else data,
    )
    with plain_pages():
        save_review(made, place / "review")


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
    table = csv.read_csv(place / "rows.csv")  # not pandas: its version 2 is off by a last digit
    parquet.write_table(table, place / "rows.parquet")
    found = verify(place / "review", None, place / "rows.parquet")
    assert found.holds
    outcomes = {(c.what, c.name): (c.outcome, c.note) for c in found.checks}
    assert outcomes["data", "rows"][0] == "matches"
    assert outcomes["data", "file"] == ("not checked", "another file with the same rows")
    assert outcomes["model", "model"] == ("not checked", "no model was given")


# Adapters, factorised layers


def adapter(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    (folder / "adapter_model.safetensors").write_bytes(bytes(100))
    (folder / "README.md").write_text("not of it")
    return folder


def merged(place: Path, folder: Path) -> None:
    """The review, as if of the model with this adapter."""
    saved_again(place, model={"adapter": "legal", "adapter_sha256": digest(folder.glob("adapter_*"))})


@pytest.mark.parametrize("where", ["model/legal", "legal"])
def test_an_adapter_in_or_beside_the_models_folder_is_compared(place: Path, where: str) -> None:
    folder = adapter(place / where)
    merged(place, folder)
    found = verified(place)
    (check,) = [c for c in found.checks if c.name == "adapter"]
    assert check.outcome == "matches" and "'adapter_config.json', 'adapter_model.safetensors'" in check.note
    assert found.exit_code == 0
    (folder / "README.md").write_text("changed")
    assert verified(place).holds, "control: what is no part of the adapter changes nothing"
    flip(folder / "adapter_model.safetensors")
    assert failed(verified(place)) == [("model", "adapter", "differs")]
    (folder / "adapter_model.safetensors").unlink()
    (folder / "adapter_config.json").unlink()
    assert failed(verified(place)) == [("model", "adapter", "not there")]


def test_an_adapter_elsewhere_is_named_or_missed(place: Path) -> None:
    folder = adapter(place / "elsewhere" / "other")
    merged(place, folder)
    found = verified(place)
    assert failed(found) == [("model", "adapter", "not there")] and found.exit_code == 3
    (check,) = [c for c in found.checks if c.name == "adapter"]
    assert "adapter 'legal', which is neither in nor beside" in check.note and "--adapter" in check.note
    given = verify(place / "review", place / "model", place / "rows.csv", adapter=folder)
    assert failed(given) == [] and given.exit_code == 0
    with pytest.raises(UsageError, match="name the model's folder, too"):
        verify(place / "review", adapter=folder)
    with pytest.raises(DataError, match="is not a folder"):
        verify(place / "review", place / "model", adapter=place / "nowhere")


@pytest.mark.parametrize("named", ["..", "../elsewhere/other", "", None])
def test_a_name_that_leaves_the_folder_is_not_followed(place: Path, named: str | None) -> None:
    folder = adapter(place / "elsewhere" / "other")
    saved_again(place, model={"adapter": named, "adapter_sha256": digest(folder.glob("adapter_*"))})
    assert failed(verified(place)) == [("model", "adapter", "not there")]


def test_an_adapter_of_which_the_review_says_nothing_is_not_taken_for_checked(place: Path) -> None:
    found = verify(place / "review", place / "model", place / "rows.csv", adapter=adapter(place / "legal"))
    assert found.holds and found.unchecked == ("adapter",) and found.exit_code == 3


@pytest.mark.skipif(
    importlib.util.find_spec("peft") is None, reason="needs peft; its twins above need nothing"
)
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
def test_a_review_of_a_model_with_an_adapter_is_verified(tmp_path: Path) -> None:
    import numpy as np
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import BertForSequenceClassification

    from clinometer.interpret.models import load
    from clinometer.records import Rows
    from clinometer.review import review
    from reference.model_folders import labelled, text_folder

    folder = text_folder(tmp_path, "BertForSequenceClassification", **labelled("no", "yes"))
    torch.manual_seed(0)
    base = BertForSequenceClassification.from_pretrained(folder)
    lora = LoraConfig(r=2, target_modules=["query"], init_lora_weights=False)
    get_peft_model(base, lora).save_pretrained(tmp_path / "legal")
    texts = np.array(["the film is good", "bad", "it is a dull film", "good"] * 5, dtype=object)
    rows = Rows(
        ids=tuple(f"t{i}" for i in range(20)),
        inputs={"text": texts},
        labels=np.arange(20) % 2,
        groups={"side": tuple("ab"[i % 2] for i in range(20))},
    )
    made = review(load(folder, adapter=tmp_path / "legal"), rows, replicates=20, slice_permutations=0)
    with plain_pages():
        save_review(made, tmp_path / "review")
    found = verify(tmp_path / "review", folder)
    parts = ["weights", "settings", "tokenizer", "adapter"]
    assert [(c.name, c.outcome) for c in found.checks if c.what == "model"] == [
        (part, "matches") for part in parts
    ]
    flip(tmp_path / "legal" / "adapter_config.json")
    assert failed(verify(tmp_path / "review", folder)) == [("model", "adapter", "differs")]


def test_a_factorised_models_ranks_are_compared(place: Path) -> None:
    save_low_rank(place / "model", place / "thin", rank=3)
    with plain_pages():
        reviewed(place / "thin", place / "rows.csv", place / "of thin")
    found = verify(place / "of thin", place / "thin", place / "rows.csv")
    assert found.exit_code == 0
    compared = [(c.name, c.outcome) for c in found.checks if c.what == "model"]
    assert compared == [(part, "matches") for part in ("weights", "settings", "low_rank")]
    for name, part in (("low_rank.json", "low_rank"), ("clinometer.json", "settings")):
        flip(place / "thin" / name)
        assert failed(verify(place / "of thin", place / "thin")) == [("model", part, "differs")]
        flip(place / "thin" / name)


# What a review does not say


def test_data_of_which_the_review_says_no_file_are_not_taken_for_checked(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = read_review(place / "review").data
    saved_again(
        place, data={name: known[name] for name in ("rows", "rows_sha256", "groups")}
    )  # as the demo's
    found = verified(place)
    assert found.holds and found.unchecked == ("data",) and found.exit_code == 3
    (check,) = [c for c in found.checks if c.what == "data"]
    assert check.note == "the data were not checked: the review does not say which file they were in"
    arguments = ["verify", str(place / "review"), str(place / "model"), str(place / "rows.csv")]
    for quiet in ([], ["--quiet"]):
        assert cli.main([*arguments, *quiet]) == 3
        out = capsys.readouterr().out
        assert f"– data: not checked ({check.note})\n" in out
        assert "6 match, 0 differ or are missing; named and NOT checked: data\n" in out
    assert cli.main([*arguments, "--json"]) == 3
    said = json.loads(capsys.readouterr().out)
    assert (said["holds"], said["unchecked"], said["exit_code"]) == (True, ["data"], 3)
    assert cli.main(arguments[:3]) == 0, "control: what is not named need not be checked"
    assert "– data: not checked (no data was given)" in capsys.readouterr().out


def test_a_file_that_is_known_as_a_whole_is_compared_as_a_whole(place: Path) -> None:
    known = read_review(place / "review").data
    saved_again(place, data={name: value for name, value in known.items() if name != "columns"})
    found = verified(place)
    outcomes = {c.name: c.outcome for c in found.checks if c.what == "data"}
    assert outcomes == {"file": "matches", "rows": "not checked"} and found.exit_code == 0
    flip(place / "rows.csv")
    assert failed(verified(place)) == [("data", "file", "differs")]


def test_a_model_that_was_in_memory_is_not_taken_for_checked(place: Path) -> None:
    hashes = ("weights_sha256", "settings_sha256")
    before = read_review(place / "review")
    made = dataclasses.replace(
        before, model={name: value for name, value in before.model.items() if name not in hashes}
    )
    with plain_pages():
        save_review(made, place / "review")
    found = verified(place)
    assert found.holds and found.unchecked == ("model",) and found.exit_code == 3
    assert verify(place / "review", None, place / "rows.csv").exit_code == 0  # control


def test_files_of_a_review_called_as_what_is_named_are_no_check_of_it(place: Path) -> None:
    known = read_review(place / "review").data
    saved_again(place, data={name: known[name] for name in ("rows", "rows_sha256", "groups")})
    (place / "review" / "data").write_text("x")
    write_hashes(place / "review")
    assert verified(place).unchecked == ("data",)


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
