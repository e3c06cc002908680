"""Rows copied to disk and read stretch by stretch are those that reading the whole file gives."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest

import clinometer.staged_rows as staged_rows
from clinometer.errors import DataError, UsageError
from clinometer.records import Rows
from clinometer.review import read_rows
from clinometer.staged_rows import Columns, StagedRows, stage

COLUMNS = Columns(inputs=("age", "income", "text"), groups=("race", "odd"), label="y")


def people(n: int = 257) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": draw.integers(18, 90, n),
            "income": np.round(draw.normal(3, 1, n), 3),
            "text": [f'say "{i}", or\nnot' if i % 7 else f"line {i}" for i in range(n)],
            "race": draw.choice(["a", "b", "no"], n),
            "odd": [str(i % 3) if i < n - 1 else "x" for i in range(n)],
            "y": draw.integers(0, 2, n),
            "never": 0,
        }
    )
    frame.loc[5, "race"] = None
    frame.loc[9, "income"] = np.nan
    return frame


def same(left: Rows, right: Rows) -> None:
    assert left.ids == right.ids and left.groups == right.groups
    assert np.array_equal(np.asarray(left.labels), np.asarray(right.labels))
    assert left.inputs.keys() == right.inputs.keys()
    for name, column in left.inputs.items():
        other = np.asarray(right.inputs[name])
        assert np.asarray(column).dtype == other.dtype, name
        pd.testing.assert_series_equal(pd.Series(column), pd.Series(other))


def joined(rows: StagedRows, step: int) -> Rows:
    parts = [rows.rows(i, min(i + step, len(rows))) for i in range(0, len(rows), step)]
    return Rows(
        ids=tuple(name for part in parts for name in part.ids),
        inputs={n: np.concatenate([np.asarray(p.inputs[n]) for p in parts]) for n in parts[0].inputs},
        labels=np.concatenate([np.asarray(part.labels) for part in parts]),
        groups={n: tuple(v for p in parts for v in p.groups[n]) for n in parts[0].groups},
    )


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("step", [1000, 100, 33])
def test_stretches_put_together_are_the_file_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, step: int
) -> None:
    monkeypatch.setattr(staged_rows, "BLOCK", 2048)  # so that a column's kind is found over many blocks
    file = tmp_path / f"people.{kind}"
    frame = people()
    frame.to_csv(file, index=False) if kind == "csv" else frame.to_parquet(file)
    rows, _ = stage(file, tmp_path / "rows.parquet", COLUMNS, rows_together=64)
    whole = read_rows(file, columns=COLUMNS.inputs, groups=COLUMNS.groups, label="y")
    same(joined(rows, step), whole)
    assert "never" not in rows.file.schema_arrow.names, "columns that nobody asked for are not copied"


def test_a_column_is_text_where_its_last_value_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staged_rows, "BLOCK", 512)
    file = tmp_path / "rows.csv"
    cells = [str(i) for i in range(400)]
    for last, kind in (("7", "int64"), ("7.5", "float64"), ("seven", "str")):
        file.write_text("v,g\n" + "\n".join(f"{cell},a" for cell in [*cells, last]) + "\n")
        rows, _ = stage(
            file, tmp_path / "copy.parquet", Columns(inputs=("v",), groups=("g",)), rows_together=50
        )
        column = np.asarray(rows.rows(0, 3).inputs["v"])
        assert pd.Series(column).dtype.name in (kind, "object" if kind == "str" else kind)
        assert column.dtype == np.asarray(read_rows(file, columns=["v"], groups=["g"]).inputs["v"]).dtype


def test_ids_keep_their_zeros_and_rows_without_any_are_numbered(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("key,v,g\n007,1,a\n008,2,b\n")
    rows, _ = stage(
        file, tmp_path / "copy.parquet", Columns(inputs=("v",), groups=("g",), id="key"), rows_together=1
    )
    assert rows.rows(0, 2).ids == ("007", "008") and rows.ids(1, 2) == ("008",)
    rows, _ = stage(file, tmp_path / "copy.parquet", Columns(inputs=("v",), groups=("g",)), rows_together=1)
    assert rows.rows(1, 2).ids == ("1",)
    assert rows.rows(0, 2, without=[0]).ids == ("1",)


def test_the_checksum_is_of_the_rows_and_not_of_how_the_file_was_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, hashes = tmp_path / "people.csv", set()
    people().to_csv(file, index=False)
    for block in (1024, 4096, 2**24):
        monkeypatch.setattr(staged_rows, "BLOCK", block)
        hashes.add(stage(file, tmp_path / "rows.parquet", COLUMNS, rows_together=64)[1])
    assert len(hashes) == 1


def test_several_files_are_one_after_another(tmp_path: Path) -> None:
    frame = people(100)
    frame[:40].to_parquet(tmp_path / "a-1.parquet")
    frame[40:].to_parquet(tmp_path / "a-2.parquet")
    columns = Columns(inputs=("age",), groups=("race",))
    rows, _ = stage(str(tmp_path / "a-*.parquet"), tmp_path / "rows.parquet", columns, rows_together=64)
    assert np.asarray(rows.rows(0, 100).inputs["age"]).tolist() == frame["age"].tolist()
    pa_parquet.write_table(pa.table({"age": ["x"], "race": ["a"]}), tmp_path / "a-3.parquet")
    with pytest.raises(DataError, match="other columns, or columns of other kinds"):
        stage(str(tmp_path / "a-*.parquet"), tmp_path / "rows.parquet", columns, rows_together=64)


@pytest.mark.parametrize(
    ("text", "columns", "error", "match"),
    [
        ("v,g\n1,a\n", Columns(inputs=("w",), groups=("g",)), DataError, "lacks the model's column 'w'"),
        ("v,g\n1,a\n", Columns(inputs=("v",), groups=("gg",)), UsageError, "no column 'gg'.*'g'"),
        ("v,g\n1,a\n", Columns(inputs=("v",), label="y"), UsageError, "no column 'y'"),
        ("v,g\n", Columns(inputs=("v",)), DataError, "has no rows"),
        ("v,v\n1,2\n", Columns(inputs=("v",)), DataError, "two columns called 'v'"),
        ("v,g\n1,a\n2\n", Columns(inputs=("v",)), DataError, "cannot be read as a table"),
        ("id,v\n1,5\n2,5\n1,5\n", Columns(inputs=("v",)), DataError, "column 'id' names rows twice: '1'"),
    ],
)
def test_files_that_cannot_be_used_are_refused_and_nothing_is_left(
    tmp_path: Path, text: str, columns: Columns, error: type[Exception], match: str
) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(text)
    with pytest.raises(error, match=match):
        stage(file, tmp_path / "copy.parquet", columns, rows_together=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.csv"]


def test_a_copy_that_is_damaged_is_named_with_the_way_out(tmp_path: Path) -> None:
    frame, copy = people(20), tmp_path / "rows.parquet"
    frame.to_csv(tmp_path / "people.csv", index=False)
    rows, _ = stage(tmp_path / "people.csv", copy, COLUMNS, rows_together=5)
    columns, raw = rows.columns, copy.read_bytes()
    with pytest.raises(DataError, match="has no rows 18 to 24"):
        rows.table(18, 25)
    copy.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(DataError, match=r"rows\.parquet is not the copy .* Remove it and run again"):
        StagedRows(copy, columns)
    pa_parquet.write_table(pa_parquet.read_table(pa.BufferReader(raw)).drop_columns(["race"]), copy)
    with pytest.raises(DataError, match="it lacks 'race'"):
        StagedRows(copy, columns)
    copy.write_bytes(raw)
    assert len(StagedRows(copy, columns)) == 20
