"""A test for each threat of SECURITY.md that no other file tests: hostile folders of models, hostile data.

Tested elsewhere, beside what they are about: pickled weights and code of a folder (`interpret/test_weights.py`), names in
the page, the card, JUnit, the explorer and marked texts (`visualizers/test_page.py`, `test_card.py`, `test_explorer.py`,
`test_highlights.py`, `test_junit.py`), copies without text (`test_saved_reviews.py`) and without small cells
(`test_small_cells.py`), damaged files of every reader (`test_fuzzed_readers.py`).
"""

import gzip
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest
from fuzz.readers import BY_NAME, put

import clinometer as cm
from clinometer import bounded_files, evidence_files, source_files
from clinometer.bias.lexicon_files import read_lexicon
from clinometer.bias.mitigation import read_mitigation
from clinometer.bias.policy import read_policy
from clinometer.errors import ClinometerError, DataError, ModelError, OutputError, PolicyError
from clinometer.evidence import from_columns
from clinometer.interpret.edits import save
from clinometer.interpret.models import load
from clinometer.interpret.trace_files import read_trace
from clinometer.saved_reviews import read_review
from reference.subjects import applicants, fitted

# A hostile model folder


def laid(name: str, folder: Path) -> Path:
    """The valid files of a reader."""
    put(BY_NAME[name].valid(), folder)
    return folder


@pytest.mark.parametrize(
    "name", ["../secret.safetensors", "/etc/secret.safetensors", "a/../../secret.safetensors"]
)
def test_an_index_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    path = laid("transformers-model", tmp_path / "in") / "model"
    index = {"metadata": {}, "weight_map": {"bert.x": name, "bert.y": "model.safetensors"}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(ModelError, match="no name of a file beside it"):
        load(path)


def test_settings_of_more_layers_than_there_are_weights_are_refused(tmp_path: Path) -> None:
    path = laid("transformers-model", tmp_path) / "model"
    settings = json.loads((path / "config.json").read_text(encoding="utf-8"))
    settings["num_hidden_layers"] = 10**9
    (path / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    with pytest.raises(ModelError, match=r"num_hidden_layers = 1,000,000,000 .* and \d+ weights"):
        load(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [("layers", 10**9), ("width", 2**40), ("feed_forward", 2**40), ("longest", 2**40), ("outputs", 2)],
)
def test_an_architecture_takes_no_more_memory_than_its_weights(tmp_path: Path, key: str, value: int) -> None:
    path = laid("model", tmp_path) / "model"
    (path / "edits.json").unlink()
    settings = json.loads((path / "clinometer.json").read_text(encoding="utf-8"))
    settings["architecture"][key] = value
    (path / "clinometer.json").write_text(json.dumps(settings), encoding="utf-8")
    if key == "outputs":  # control: what it was
        assert load(path).labels == ("denied", "approved")
        return
    with pytest.raises(ModelError, match=f"does not fit its settings: {key} is"):
        load(path)


def head_of(length: int) -> bytes:
    """A safetensors file that claims a head of so many bytes."""
    return struct.pack("<Q", length) + b"{}"


@pytest.mark.parametrize("length", [2**63, 2**40, 100_000_001, 3])
def test_a_head_of_absurd_length_is_refused(tmp_path: Path, length: int) -> None:
    path = laid("model", tmp_path / "a") / "model"
    (path / "edits.json").unlink()
    (path / "model.safetensors").write_bytes(head_of(length))
    with pytest.raises(ModelError, match="does not fit its settings"):
        load(path)
    theirs = laid("transformers-model", tmp_path / "b") / "model"
    (theirs / "model.safetensors").write_bytes(head_of(length))
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(theirs)
    trace = laid("trace", tmp_path / "c") / "trace"
    (trace / "000.safetensors").write_bytes(head_of(length))
    with pytest.raises(DataError, match=r"000\.safetensors has \d+ bytes"):
        read_trace(trace)


def test_a_trace_opens_no_file_outside_its_folder(tmp_path: Path) -> None:
    inside, outside = laid("trace", tmp_path / "a") / "trace", tmp_path / "a" / "000.safetensors"
    outside.write_bytes((inside / "000.safetensors").read_bytes())
    (inside / "000.safetensors").unlink()
    text = (
        (inside / "trace.json")
        .read_text(encoding="utf-8")
        .replace('"000.safetensors"', '"../000.safetensors"')
    )
    (inside / "trace.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="is incomplete"):
        read_trace(inside)


@pytest.mark.parametrize("name", ["../data.arrow", "/etc/passwd", "", ".", "x" * 300])
def test_a_saved_data_set_opens_no_file_outside_its_folder(tmp_path: Path, name: str) -> None:
    folder = laid("saved-data-set", tmp_path / "in")
    (tmp_path / "data.arrow").write_bytes((folder / "data-00000-of-00001.arrow").read_bytes())
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}), encoding="utf-8")
    with pytest.raises(DataError, match=r"names the file|lacks|no Arrow file"):
        source_files.saved_dataset(folder)


def test_a_link_is_replaced_and_what_it_points_to_is_not_written(tmp_path: Path) -> None:
    evidence = from_columns(
        {"id": ["a"], "prediction": [1], "g": ["x"]}, prediction="prediction", groups=("g",)
    )
    (tmp_path / "precious").write_text("keep me", encoding="utf-8")
    (tmp_path / "rows.parquet").symlink_to(tmp_path / "precious")
    evidence_files.write(evidence, tmp_path / "rows.parquet")
    assert (tmp_path / "precious").read_text(encoding="utf-8") == "keep me"
    assert not (tmp_path / "rows.parquet").is_symlink()


def test_a_model_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("keep me", encoding="utf-8")
    (tmp_path / "model").symlink_to(tmp_path / "precious", target_is_directory=True)
    with pytest.raises(OutputError):
        save(fitted(applicants(20), epochs=0), tmp_path / "model")
    assert [path.name for path in (tmp_path / "precious").iterdir()] == ["file"]


# Bombs

DEEP = 100_000
JSON_READERS: dict[str, tuple[str, str, Callable[[Path], Any]]] = {
    "review": ("review", "review.json", read_review),
    "trace": ("trace", "trace/trace.json", lambda folder: read_trace(folder / "trace")),
    "model": ("model", "model/clinometer.json", lambda folder: load(folder / "model")),
    "edits": ("edits", "model/edits.json", lambda folder: load(folder / "model")),
    "transformers": ("transformers-model", "model/config.json", lambda folder: load(folder / "model")),
    "data set": ("saved-data-set", "state.json", source_files.saved_dataset),
}


@pytest.mark.parametrize(
    "bomb",
    ["[" * DEEP, '{"a":' * DEEP, "[" * 90 + "]" * 90, "9" * 10_000],
    ids=["deep", "keys", "shut", "digits"],
)
@pytest.mark.parametrize("name", JSON_READERS)
def test_json_that_is_nested_too_deeply_is_refused(tmp_path: Path, name: str, bomb: str) -> None:
    reader, file, read = JSON_READERS[name]
    folder = laid(reader, tmp_path)
    if name == "model":
        (folder / "model" / "edits.json").unlink()
    (folder / file).write_text(bomb, encoding="utf-8")
    with pytest.raises(ClinometerError, match=r"nested too deeply|is not JSON|bits") as refused:
        read(folder)
    assert refused.type is not ClinometerError and refused.value.exit_code == 3


@pytest.mark.parametrize(
    "bomb",
    [
        "a = " + "[" * DEEP,
        "a = " + "{a = " * 5000,
        ".".join(["a"] * DEEP) + " = 1",
        "[" + ".".join(["a"] * DEEP) + "]",
    ],
    ids=["lists", "tables", "keys", "heads"],
)
def test_toml_that_is_nested_too_deeply_is_refused(tmp_path: Path, bomb: str) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(bomb, encoding="utf-8")
    with pytest.raises(PolicyError, match="nested too deeply"):
        read_policy(file)
    with pytest.raises(DataError, match="nested too deeply"):
        read_lexicon(file)


def test_a_file_larger_than_any_such_file_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "policy.toml"
    with file.open("wb") as sparse:
        sparse.truncate(10 * 2**30)  # 10 GB of zeros that take nothing on the disk
    with pytest.raises(PolicyError, match=r"more than 8,388,608 bytes"):
        read_policy(file)
    monkeypatch.setattr(bounded_files, "LARGEST_JSON", 1000)
    fix = tmp_path / "fix.json"
    fix.write_text("[" + "0," * 1000 + "0]", encoding="utf-8")
    assert bounded_files.read_json(fix, DataError, largest=10_000)[0] == 0
    with pytest.raises(DataError, match="more than 1,000 bytes"):
        bounded_files.read_json(fix, DataError, largest=1000)
    with pytest.raises(DataError, match="cannot be read"):
        read_mitigation(tmp_path / "absent.json")


def test_a_packed_list_of_words_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = {"name": "x", "version": "1", "source": "here", "attribute": "gender"}
    (tmp_path / "bomb.csv.gz").write_bytes(gzip.compress(b"she,he\n" * 1_000_000))
    monkeypatch.setattr("clinometer.bias.lexicon_files.LARGEST", 1_000_000)
    with pytest.raises(DataError, match="more than 1,000,000 bytes, unpacked"):
        read_lexicon(tmp_path / "bomb.csv.gz", **about)


def test_a_packed_header_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "bomb.csv.gz").write_bytes(gzip.compress(b"x" * (source_files.LONGEST_HEADER + 2)))
    with pytest.raises(DataError, match="its first line has more than"):
        cm.scan(tmp_path / "bomb.csv.gz", prediction="p", groups=("g",))


def test_a_table_of_more_values_than_are_read_at_once_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal values take next to nothing on disk: 2,000,000 rows in some kilobytes."""
    table = pa.table(
        {"g": pa.array(["x"] * 2_000_000).dictionary_encode(), "p": np.ones(2_000_000, dtype=np.int64)}
    )
    pa_parquet.write_table(table, tmp_path / "bomb.parquet")
    assert (tmp_path / "bomb.parquet").stat().st_size < 100_000
    monkeypatch.setattr(evidence_files, "MOST_VALUES", 1_000_000)
    with pytest.raises(DataError, match=r"2,000,000 rows of 2 columns.*clinometer count"):
        evidence_files.read(tmp_path / "bomb.parquet")


@pytest.mark.parametrize("claimed", [2**40, 2**62])
def test_a_table_that_claims_more_rows_than_it_has_is_refused(tmp_path: Path, claimed: int) -> None:
    rows = 12_345_677
    nothing = pa.nulls(rows, pa.int8())
    pa_parquet.write_table(pa.table({"g": nothing, "p": nothing}), tmp_path / "t.parquet")
    raw = (tmp_path / "t.parquet").read_bytes()

    def varint(n: int) -> bytes:
        zigzag, made = (n << 1) ^ (n >> 63), b""
        zigzag &= 2**64 - 1
        while zigzag > 127:
            made, zigzag = made + bytes([zigzag & 127 | 128]), zigzag >> 7
        return made + bytes([zigzag])

    head, foot = (
        raw[: -8 - struct.unpack("<I", raw[-8:-4])[0]],
        raw[-8 - struct.unpack("<I", raw[-8:-4])[0] : -8],
    )
    assert varint(rows) in foot
    foot = foot.replace(varint(rows), varint(claimed))
    (tmp_path / "t.parquet").write_bytes(head + foot + struct.pack("<I", len(foot)) + b"PAR1")
    with pytest.raises(DataError, match=r"t\.parquet"):
        evidence_files.read(tmp_path / "t.parquet", prediction="p", groups=("g",))


def test_a_line_without_end_is_read_or_refused(tmp_path: Path) -> None:
    (tmp_path / "long.csv").write_text(f"id,p,g\na,1,x\nb,0,{'y' * 3_000_000}\n", encoding="utf-8")
    made = evidence_files.read(tmp_path / "long.csv", prediction="p", groups=("g",))
    assert len(made.group("g")[1] or "") == 3_000_000
    with pytest.raises(DataError, match=r"cannot be read as a table.*Line: 3"):
        cm.scan(tmp_path / "long.csv", prediction="p", groups=("g",)).counted()
