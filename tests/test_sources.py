"""Counted evidence: one result from every engine and from files, refusals that name the rows."""

import datetime
import decimal
import gzip
import json
import math
import os
from collections import Counter

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinometer.errors import DataError, UsageError
from clinometer.evidence import from_table
from clinometer.evidence_files import read, write
from clinometer.sources import merge, scan

N = 600
ROLES = {
    "id": "person",
    "label": "approved",
    "prediction": "predicted",
    "score": "logit",
    "groups": ("race", "region", "member", "since"),
    "measures": ("lean", "loss"),
    "weight": "weight",
    "cluster": "document",
    "strata": ("office",),
}


def columns(n=N, seed=0):
    """Rows of which many are alike, with every way to be unknown."""
    random = np.random.default_rng(seed)
    dates = [datetime.date(2020, 1, 2), datetime.date(2021, 12, 31), None]
    return {
        "person": [f"p{i}" for i in range(n)],
        "approved": random.integers(0, 2, n).tolist(),
        "predicted": (random.random(n) < 0.4).tolist(),
        "logit": (random.integers(0, 5, n) / 4).tolist(),
        "race": random.choice(np.array(["b", "a", " a", "", None], dtype=object), n).tolist(),
        "region": random.choice(np.array([1.0, 2.5, None], dtype=object), n).tolist(),
        "member": random.choice(np.array([True, False, None], dtype=object), n).tolist(),
        "since": [dates[i] for i in random.integers(0, 3, n)],
        "office": random.choice(np.array(["x", "y", None], dtype=object), n).tolist(),
        "document": random.integers(0, 3, n).tolist(),
        "weight": random.choice([0.0, 0.5, 2.0], n).tolist(),
        "lean": random.normal(size=n).tolist(),
        "loss": (1000 + random.random(n)).tolist(),
        "unused": [[i] for i in range(n)],
    }


def saved_dataset(folder, table, features=None, rows_per_file=250):
    """A data set as `save_to_disk` of the datasets package leaves it: streams of Arrow and two JSON files."""
    folder.mkdir()
    files = []
    for i, start in enumerate(range(0, table.num_rows, rows_per_file)):
        files.append(f"data-{i:05d}.arrow")
        part = table.slice(start, rows_per_file)
        with pa.OSFile(str(folder / files[-1]), "wb") as out, pa.ipc.new_stream(out, table.schema) as stream:
            stream.write_table(part)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in files]}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": features or {}}))
    return folder


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    """The same rows as every kind of source."""
    folder = tmp_path_factory.mktemp("engines")
    held = columns()
    table = pa.table(held)
    flat = table.drop(["unused"])
    pa_parquet.write_table(table, folder / "all.parquet", row_group_size=100)
    parts = folder / "parts" / "within"
    parts.mkdir(parents=True)
    for i, start in enumerate(range(0, N, 200)):
        pa_parquet.write_table(table.slice(start, 200), parts / f"part-{i}.parquet")
    flat.to_pandas().to_csv(folder / "all.csv", index=False)
    lines = (folder / "all.csv").read_text().splitlines(keepends=True)
    (folder / "one.csv.gz").write_bytes(gzip.compress("".join(lines[:301]).encode()))
    turned = flat.slice(300).select(flat.column_names[::-1])
    turned.to_pandas().to_csv(folder / "two.csv", index=False)
    (folder / "two.csv.gz").write_bytes(gzip.compress((folder / "two.csv").read_bytes()))
    connection = duckdb.connect()
    return {
        "Arrow": table,
        "Arrow, dictionaries": table.set_column(4, "race", table["race"].dictionary_encode()),
        "pandas": pd.DataFrame(held),
        "pandas, nullable": flat.to_pandas(types_mapper=pd.ArrowDtype),
        "polars": pl.DataFrame(flat),
        "polars, lazy": pl.DataFrame(flat).lazy(),
        "polars, categories": pl.DataFrame(flat).with_columns(pl.col("race").cast(pl.Categorical)),
        "polars, scanned": pl.scan_parquet(folder / "all.parquet"),
        "DuckDB, relation": connection.from_arrow(table),
        "DuckDB, query": connection.sql(f"SELECT * FROM '{folder / 'all.parquet'}'"),
        "Parquet": folder / "all.parquet",
        "Parquet, pattern": str(folder / "parts" / "**" / "*.parquet"),
        "Parquet, list": sorted(parts.iterdir(), reverse=True),
        "CSV": folder / "all.csv",
        "CSV, compressed, columns in another order": [folder / "one.csv.gz", folder / "two.csv.gz"],
        "saved data set": saved_dataset(folder / "saved", table),
        "evidence": from_table(flat, **ROLES),
    }


def slow(held, keys):
    """Distinct rows by a plain loop: how many, and per measure mean and squared deviations."""

    def said(value):
        if value is None or value != value:
            return None
        if isinstance(value, float):
            return str(int(value)) if value == int(value) else repr(value)
        return str(value).strip() or None

    rows = list(zip(*([held[name] for name in keys]), strict=True))
    spelled = [tuple(said(value) for value in row) for row in rows]
    found = {}
    for row, lean in zip(spelled, held["lean"], strict=True):
        found.setdefault(row, []).append(lean)
    return found


def bits(made):
    """Everything that counting gives, to the last bit."""
    return made.table.schema, [column.to_pylist() for column in made.table.columns], made.provenance


def counted_rows(made, keys):
    return dict(
        zip(zip(*(made.group(name) for name in keys), strict=True), made.counts.tolist(), strict=True)
    )


# One result


@pytest.fixture(scope="module")
def reference(engines):
    return {most: scan(engines["Arrow"], **ROLES).counted(KEYS, most_exact=most) for most in (100_000, 0)}


KEYS = ("race", "member", "approved", "predicted", "logit")
NAMES = [
    "Arrow, dictionaries",
    "pandas",
    "pandas, nullable",
    "polars",
    "polars, lazy",
    "polars, categories",
    "polars, scanned",
    "DuckDB, relation",
    "DuckDB, query",
    "Parquet",
    "Parquet, pattern",
    "Parquet, list",
    "CSV",
    "CSV, compressed, columns in another order",
    "saved data set",
    "evidence",
]


@pytest.mark.parametrize("most_exact", [100_000, 0], ids=["exact", "binned"])
@pytest.mark.parametrize("name", NAMES)
def test_every_engine_gives_the_same_bits(engines, reference, name, most_exact):
    made = scan(engines[name], **({} if name == "evidence" else ROLES)).counted(KEYS, most_exact=most_exact)
    assert bits(made) == bits(reference[most_exact])
    assert made.n == N and len(made) < N


@pytest.mark.parametrize("name", NAMES)
def test_every_engine_spells_every_kind_of_value_alike(engines, name):
    roles = {"groups": ("race", "region", "member", "since"), "strata": ("office",)}
    made = scan(engines[name], **roles).counted()
    if name == "evidence":
        made = scan(engines[name].table, **roles).counted()
    expected = scan(engines["Arrow"], **roles).counted()
    assert bits(made) == bits(expected)
    assert set(made.group("region")) == {"1", "2.5", None}
    assert set(made.group("race")) == {"a", "b", None}
    assert set(made.group("member")) == {"True", "False", None}
    assert set(made.group("since")) == {"2020-01-02", "2021-12-31", None}


def test_the_engines_are_all_there(engines):
    assert {*NAMES, "Arrow"} == set(engines)


def test_negative_control_one_row_more_is_seen(engines, reference):
    table = pa.concat_tables([engines["Arrow"], engines["Arrow"].slice(0, 1)])
    assert bits(scan(table, **ROLES).counted(KEYS)) != bits(reference[100_000])


# Known answers and slow twin


def test_distinct_rows_equal_a_plain_loop():
    held = columns()
    keys = ("race", "region", "member", "since", "office", "document", "approved", "predicted")
    made = scan(pa.table(held), **{**ROLES, "weight": None, "score": None}).counted()
    found = slow(held, keys)
    assert counted_rows(made, keys) == {row: len(leans) for row, leans in found.items()}
    means = dict(zip(zip(*(made.group(n) for n in keys), strict=True), made.column("lean"), strict=True))
    squares = made.column(made.squares["lean"])
    spread = dict(zip(means, squares, strict=True))
    for row, leans in found.items():
        assert means[row] == pytest.approx(np.mean(leans), abs=1e-15)
        assert spread[row] == pytest.approx(np.sum((leans - np.mean(leans)) ** 2), abs=1e-14)


def test_rows_come_in_the_order_of_their_values_with_unknown_last():
    made = scan(pa.table({"g": ["b", None, "a", "b"], "y": [1, 0, 1, 0]}), groups=["g"], label="y").counted()
    assert list(zip(made.group("g"), made.group("y"), made.counts.tolist(), strict=True)) == [
        ("a", "1", 1),
        ("b", "0", 1),
        ("b", "1", 1),
        (None, "0", 1),
    ]
    assert made.binary("y").tolist() == [True, False, True, False]
    assert repr(made) == "Evidence(4 distinct rows of 4, groups ['g'], 0 measures)"


def test_counts_of_rows_that_are_counted_already_add_up(reference, engines):
    made = scan(reference[100_000]).counted(("race", "predicted"))
    plain = scan(engines["Arrow"], **ROLES).counted(("race", "predicted"))
    keys = ("race", "predicted", "document", "weight")
    assert counted_rows(made, keys) == counted_rows(plain, keys)
    for name in ROLES["measures"]:
        np.testing.assert_allclose(made.column(name), plain.column(name), rtol=1e-14)
        np.testing.assert_allclose(
            made.column(made.squares[name]), plain.column(plain.squares[name]), rtol=1e-9, atol=1e-9
        )


def test_squares_keep_their_digits_far_from_zero():
    values = 1e6 + np.random.default_rng(0).random(2000)
    made = scan(pa.table({"g": ["a"] * 2000, "m": values}), groups=["g"], measures=["m"]).counted()
    assert made.column("m")[0] == pytest.approx(math.fsum(values) / 2000, rel=3e-16)
    assert made.column(made.squares["m"])[0] == pytest.approx(
        np.sum((values - values.mean()) ** 2), rel=1e-12
    )


@pytest.mark.parametrize("value", [0.0, 0.1, -3.7e-20, 1e150, -5e149])
def test_a_constant_measure_has_no_spread(value):
    table = pa.table({"g": ["a"] * 7, "m": [value] * 7})
    made = scan(table, groups=["g"], measures=["m"]).counted()
    assert made.column("m")[0] == pytest.approx(value, rel=1e-15)
    assert made.column(made.squares["m"])[0] == pytest.approx(0, abs=1e-14 * value * value)


def test_class_names_of_a_saved_data_set_name_groups(tmp_path):
    features = {
        "sex": {"names": ["female", "male"], "_type": "ClassLabel"},
        "y": {"names": ["no", "yes"], "_type": "ClassLabel"},
    }
    table = pa.table({"sex": [0, 1, 1, -1, None], "y": [0, 1, 1, 0, 0]})
    made = scan(saved_dataset(tmp_path / "d", table, features), groups=["sex"], label="y").counted()
    assert counted_rows(made, ("sex", "y")) == {("female", "0"): 1, ("male", "1"): 2, (None, "0"): 2}


def test_csv_is_understood_as_when_it_is_read_whole(tmp_path):
    text = 'id,g,h,k\n007,01,1.0,"a, b c"\n8,2,2.50,NA\n9,10,3,"NA"\n10,,nan,"say ""x"""\n'
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    whole = read(tmp_path / "t.csv", groups=["g", "h", "k", "id"])
    made = scan(tmp_path / "t.csv", groups=["g", "h", "k", "id"]).counted()
    keys = ("g", "h", "k", "id")
    assert set(counted_rows(made, keys)) == set(zip(*(whole.group(name) for name in keys), strict=True))
    assert set(made.group("g")) == {"1", "2", "10", None} and "007" in made.group("id")


def test_a_name_with_signs_of_a_pattern_is_that_file_alone(tmp_path):
    for name, group in (("a[1]*.csv", "right"), ("a1x.csv", "wrong")):
        (tmp_path / name).write_text(f"id,g\n1,{group}\n")
    assert scan(tmp_path / "a[1]*.csv", groups=["g"]).counted().group("g") == ("right",)


def test_numbers_of_other_kinds_are_measured():
    held = {
        "g": ["a", "a"],
        "d": [decimal.Decimal("1.5"), decimal.Decimal("2.5")],
        "b": [True, False],
        "t": ["1", "3e0"],
    }
    for table in (pa.table(held), pd.DataFrame(held), pl.DataFrame(held)):
        made = scan(table, groups=["g"], measures=["d", "b", "t"]).counted()
        assert [made.column(name)[0] for name in "dbt"] == [2.0, 0.5, 2.0]


# Scores


def test_scores_are_exact_up_to_the_stated_number_and_binned_beyond():
    scores = [0.1, 0.2, 0.30000000000000004, 0.2, 1.0]
    table = pa.table({"g": ["a"] * 5, "s": scores})
    source = scan(table, groups=["g"], score="s")
    exact = source.counted(most_exact=4)
    assert exact.column("s").tolist() == sorted(set(scores)) and exact.counts.tolist() == [1, 2, 1, 1]
    assert exact.provenance["counted"]["score"] == {"kept": "exact"}
    assert exact.provenance["notes"] == ["Scores keep their exact values: 4 distinct ones."]
    binned = source.counted(most_exact=3, score_bins=4)
    assert binned.column("s").tolist() == [0.125, 0.375, 0.875] and binned.counts.tolist() == [3, 1, 1]
    assert binned.provenance["counted"]["score"] == {"kept": "binned", "bins": 4, "low": 0.0, "high": 1.0}
    assert "4 equal bins between 0 and 1" in binned.provenance["notes"][0]


def test_edges_are_the_extremes_where_scores_are_no_probabilities():
    table = pa.table({"g": ["a"] * 3, "s": [-1.0, 0.0, 3.0]})
    made = scan(table, groups=["g"], score="s").counted(most_exact=0, score_bins=4)
    assert made.column("s").tolist() == [-0.5, 0.5, 2.5]
    stated = scan(table, groups=["g"], score="s").counted(most_exact=0, score_bins=4, score_edges=(-4, 4))
    assert stated.column("s").tolist() == [-1.0, 1.0, 3.0]
    single = scan(table.slice(2), groups=["g"], score="s").counted(most_exact=0)
    assert single.column("s")[0] == pytest.approx(3.0) and len(single) == 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(2, 300))
@settings(max_examples=40)
def test_binning_keeps_the_order_and_moves_a_score_by_half_a_bin(scores, bins):
    table = pa.table({"g": [str(i) for i in range(len(scores))], "s": scores})
    made = scan(table, groups=["g"], score="s").counted(most_exact=0, score_bins=bins)
    moved = dict(zip(made.group("g"), made.column("s"), strict=True))
    after = [moved[str(i)] for i in range(len(scores))]
    assert max(abs(a - b) for a, b in zip(after, scores, strict=True)) <= 0.5 / bins + 1e-15
    order = np.argsort(scores, kind="stable")
    assert np.all(np.diff(np.array(after)[order]) >= 0)


def test_bins_are_kept_when_counted_again(tmp_path):
    table = pa.table({"g": list("abab"), "s": [0.1, 0.2, 0.3, 0.4]})
    made = scan(table, groups=["g"], score="s").counted(most_exact=0, score_bins=8)
    write(made, tmp_path / "c.parquet")
    for source in (made, tmp_path / "c.parquet"):
        again = scan(source).counted()
        assert bits(again) == bits(made)
        with pytest.raises(UsageError, match=r"already in 8 bins between 0\.0 and 1\.0"):
            scan(source).counted(score_edges=(0, 2))


def test_counted_evidence_survives_a_file(reference, tmp_path):
    for made in reference.values():
        write(made, tmp_path / "counts.parquet")
        assert bits(read(tmp_path / "counts.parquet")) == bits(made)


def test_files_of_counts_are_scanned_together(engines, tmp_path):
    table = engines["Arrow"]
    for i in range(3):
        write(scan(table.slice(200 * i, 200), **ROLES).counted(KEYS), tmp_path / f"{i}.parquet")
    made = scan(tmp_path / "*.parquet").counted()
    whole = scan(table, **ROLES).counted(KEYS)
    assert made.counts.tolist() == whole.counts.tolist()
    assert made.table.column("race").equals(whole.table.column("race"))
    other = scan(table, **ROLES).counted(KEYS, most_exact=0)
    write(other, tmp_path / "3.parquet")
    with pytest.raises(DataError, match="keep their scores in different bins"):
        scan(tmp_path / "*.parquet")


# Memory


def test_files_are_counted_within_the_stated_memory(tmp_path):
    random = np.random.default_rng(0)
    n = 400_000
    table = pa.table({"g": random.integers(0, 4, n), "s": random.random(n), "y": random.integers(0, 2, n)})
    pa_parquet.write_table(table, tmp_path / "t.parquet")
    roles = {"groups": ["g"], "score": "s", "label": "y"}
    small = scan(
        tmp_path / "t.parquet", **roles, memory_limit="64MB", threads=1, temporary=tmp_path
    ).counted()
    assert bits(small) == bits(scan(table, **roles).counted())
    assert small.provenance["counted"]["score"]["kept"] == "binned"
    assert os.listdir(tmp_path) == ["t.parquet"], "nothing is left on disk"
    with pytest.raises(
        DataError, match=r"more memory than it may use: .*Raise memory_limit, or name fewer keys"
    ):
        scan(tmp_path / "t.parquet", **roles, memory_limit="1MB", threads=1, temporary=tmp_path).counted()


# Refusals


def two(**columns):
    return pa.table({"id": ["a", "b"], "g": ["x", "y"], **columns})


@pytest.mark.parametrize("frame", [pa.table, pd.DataFrame, pl.DataFrame], ids=["Arrow", "pandas", "polars"])
@pytest.mark.parametrize(
    ("column", "role", "says"),
    [
        ([0.5, None], "score", r"1 values that are missing or not finite; first rows: 'b'"),
        ([0.5, float("nan")], "score", r"1 values that are missing or not finite; first rows: 'b'"),
        ([0.5, float("inf")], "measures", r"1 values that are missing or not finite; first rows: 'b'"),
        (["0.5", "high"], "score", r"1 values that are no numbers; first rows: 'b'\. Give numbers"),
        ([1.0, -0.5], "weight", r"1 negative weights; first rows: 'b'\. A weight says"),
        ([0, 0], "weight", r"the weight 0 in every row"),
        ([1, 0], "count", r"1 counts that are no whole number of at least 1; first rows: 'b'"),
        ([1.0, 1.5], "count", r"1 counts that are no whole number of at least 1; first rows: 'b'"),
        ([1e200, 1.0], "measures", r"its squares are not finite"),
        (["d", ""], "cluster", r"1 rows without a cluster\. Give each row"),
        ([datetime.datetime(2020, 1, 1)] * 2, "score", r"holds Datetime.* where numbers are expected"),
    ],
)
def test_numbers_that_cannot_be_used_are_refused_with_their_rows(frame, column, role, says):
    table = frame({"id": ["a", "b"], "g": ["x", "y"], "v": column})
    with pytest.raises(DataError, match=says):
        scan(table, id="id", groups=["g"], **{role: ["v"] if role == "measures" else "v"}).counted()


def test_without_ids_a_value_is_shown():
    with pytest.raises(DataError, match=r"1 negative weights, e\.g\. -1\.0; name an id column"):
        scan(two(w=[-1.0, 1.0]), groups=["g"], weight="w").counted()


def test_squares_below_zero_are_refused():
    roles = {"groups": ["g"], "measures": ["m"], "count": "n", "squares": {"m": "q"}}
    with pytest.raises(DataError, match=r"'q' has 1 sums of squares below 0; first rows: 'b'"):
        scan(two(m=[1.0, 2.0], n=[2, 2], q=[0.0, -1.0]), id="id", **roles).counted()


@pytest.mark.parametrize(
    ("roles", "says"),
    [
        ({"groups": ["rase"]}, r"no column 'rase'"),
        ({"groups": ["g"], "score": "g"}, r"'g' is named both as a number and as a label"),
        ({"groups": ["g"], "score": "v", "measures": ["v"]}, r"'v' has two roles as a number"),
        ({"groups": ["g"], "count": "v", "weight": "v"}, r"'v' is named as count and as weight"),
        ({"groups": ["g"], "squares": {"v": "v"}}, r"squares are given for 'v', no measure"),
        ({"groups": ["g"], "measures": ["v"], "squares": {"v": "w"}}, r"name the column of counts too"),
    ],
)
def test_roles_that_do_not_go_together_are_refused(roles, says):
    with pytest.raises(UsageError, match=says):
        scan(two(v=[1, 2], w=[1, 2]), **roles)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"keys": ["h"]}, r"the key 'h' has no role"),
        ({"keys": []}, r"nothing to count by"),
        ({"score_bins": 1}, r"score_bins is 1; 2 to 16,777,216"),
        ({"most_exact": -1}, r"most_exact is -1"),
        ({"most_rows": 0}, r"most_rows is 0; at least 1"),
        ({"most_weights": 0}, r"most_weights is 0; at least 1"),
        ({"score_edges": (1, 1)}, r"score_edges are 1 and 1"),
        ({"score_edges": (0, float("inf"))}, r"score_edges are 0 and inf"),
    ],
)
def test_impossible_limits_are_refused(options, says):
    with pytest.raises(UsageError, match=says):
        scan(two(s=[0.1, 0.2]), groups=["g"], score="s").counted(**options)


def test_too_many_distinct_weights_or_rows_are_refused_with_the_way_out():
    table = pa.table({"g": list("abcd"), "w": [0.1, 0.2, 0.3, 0.4]})
    with pytest.raises(
        DataError, match=r"more than 3 distinct weights.*Round the weights, raise most_weights"
    ):
        scan(table, groups=["g"], weight="w").counted(most_weights=3)
    assert len(scan(table, groups=["g"], weight="w").counted(most_weights=4, most_rows=4)) == 4
    with pytest.raises(DataError, match=r"more than 3 distinct rows of 'g', 'w'\. Count by fewer keys"):
        scan(table, groups=["g"], weight="w").counted(most_rows=3)


def test_scores_outside_the_edges_are_refused_with_their_rows():
    source = scan(two(s=[0.5, 1.5]), id="id", groups=["g"], score="s")
    with pytest.raises(
        DataError, match=r"1 scores outside 0 and 1; first rows: 'b'\. They reach from 0\.5 to 1\.5"
    ):
        source.counted(most_exact=0, score_edges=(0, 1))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"id,g,s\n", "no rows"),
        (b"id,g,s\n1,2,3\n4,5\n", r"Line: 3; .*Expected Number of Columns: 3 Found: 2"),
        (b"id,g,s\n1,2,high\n", r"Line: 2; .*Could not convert string \"high\""),
        (b"id,g,g\n1,2,3\n", "two columns called 'g'"),
        ("id,g,s\n1,é,1\n".encode("latin-1"), "UTF-8"),
        ("id,g,s\n1,a,1\n".encode("utf-16"), "is not UTF-8"),
        (b"id,g,s\n1,2,nan\n", "1 values that are missing"),
        (b"id,g,s\n1,2,3\n4,5,6\r\n7,8,9\n", "Every line has to end alike"),
    ],
    ids=[
        "zero bytes",
        "blank",
        "header only",
        "ragged",
        "words",
        "twice",
        "latin1",
        "utf-16",
        "nan",
        "two line ends",
    ],
)
def test_a_csv_that_is_no_table_is_refused(tmp_path, content, says):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises((DataError, UsageError), match=says):
        scan(tmp_path / "t.csv", groups=["g"], score="s").counted()


def test_other_sources_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"absent-\*\.csv is no file, and matches none"):
        scan(tmp_path / "absent-*.csv", groups=["g"])
    with pytest.raises(DataError, match="there are no files"):
        scan([], groups=["g"])
    with pytest.raises(DataError, match="int is no table"):
        scan(7, groups=["g"])
    with pytest.raises(DataError, match="two columns of one name"):
        scan(pd.DataFrame([[1, 2]], columns=["a", "a"]), groups=["a"])
    with pytest.raises(DataError, match="cannot be counted"):
        scan(pd.DataFrame({"g": ["a", 1]}), groups=["g"]).counted()
    with pytest.raises(DataError, match="holds lists or structures"):
        scan(pa.table({"g": [[1], [2]]}), groups=["g"]).counted()
    (tmp_path / "t.xlsx").write_bytes(b"x")
    with pytest.raises(DataError, match=r"suffix '\.xlsx'"):
        scan(tmp_path / "t.xlsx", groups=["g"])
    (tmp_path / "half.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match="not a whole Parquet file"):
        scan(tmp_path / "half.parquet", groups=["g"])
    (tmp_path / "t.csv").write_text("g\na\n")
    with pytest.raises(DataError, match="of two kinds"):
        scan([tmp_path / "t.csv", tmp_path / "half.parquet"], groups=["g"])
    pa_parquet.write_table(pa.table({"g": ["a"]}), tmp_path / "1.parquet")
    pa_parquet.write_table(pa.table({"h": ["a"]}), tmp_path / "2.parquet")
    for pattern in ("[12].parquet", "[0-2].parquet"):
        with pytest.raises(DataError, match=r"2\.parquet has no column 'g', which .*1\.parquet has"):
            scan(tmp_path / pattern, groups=["g"])
    with pytest.raises(DataError, match=r"1\.parquet has no column 'h', which .*2\.parquet has"):
        scan(tmp_path / "[12].parquet", groups=["h"])


def test_folders_that_are_no_saved_data_set_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"without state\.json.*give a pattern"):
        scan(tmp_path, groups=["g"])
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(DataError, match="holds the splits 'train', 'test'"):
        scan(tmp_path, groups=["g"])
    folder = saved_dataset(tmp_path / "d", pa.table({"g": ["a"]}))
    (folder / "data-00000.arrow").write_bytes(b"no arrow")
    with pytest.raises(DataError, match="is no Arrow file"):
        scan(folder, groups=["g"])
    (folder / "data-00000.arrow").unlink()
    with pytest.raises(DataError, match=r"lacks 'data-00000\.arrow'"):
        scan(folder, groups=["g"])
    for state, says in [
        ('{"_data_files": []}', "no data files"),
        ('{"_indices_data_files": [{}]}', "flatten_indices"),
        ("{", "is not JSON"),
    ]:
        (folder / "state.json").write_text(state)
        with pytest.raises(DataError, match=says):
            scan(folder, groups=["g"])


def test_options_of_the_engine_are_checked(tmp_path):
    (tmp_path / "t.csv").write_text("g\na\n")
    for options, says in [
        ({"memory_limit": "much"}, "memory_limit='much'"),
        ({"threads": 0}, "threads is 0"),
        ({"temporary": tmp_path / "absent"}, "which is no folder"),
    ]:
        with pytest.raises(UsageError, match=says):
            scan(tmp_path / "t.csv", groups=["g"], **options)
    with pytest.raises(UsageError, match="'threads' is an option for files"):
        scan(pa.table({"g": ["a"]}), groups=["g"], threads=1)


# Parts


@given(st.data())
@settings(max_examples=25)
def test_merged_parts_are_the_whole(data):
    held = columns(60, seed=data.draw(st.integers(0, 99)))
    table = pa.table({**held, "weight": [value + 0.25 for value in held["weight"]]})
    roles = {**ROLES, "measures": ("lean",)}
    most = data.draw(st.sampled_from([0, 3, 100_000]))
    cuts = sorted(data.draw(st.sets(st.integers(1, 59), max_size=4)))
    parts = [
        scan(table.slice(a, b - a), **roles).counted(KEYS, most_exact=most)
        for a, b in zip([0, *cuts], [*cuts, 60], strict=True)
    ]
    whole = scan(table, **roles).counted(KEYS, most_exact=most)
    made = merge(data.draw(st.permutations(parts)), most_exact=most)
    numbers = ["lean", made.squares["lean"]]
    assert made.table.drop(numbers).equals(whole.table.drop(numbers))
    assert made.provenance == whole.provenance
    for name in numbers:
        np.testing.assert_allclose(made.column(name), whole.column(name), rtol=1e-12, atol=1e-12)
    assert bits(made) == bits(merge(parts, most_exact=most)), "the order of the parts changes nothing"


def test_exact_scores_of_one_part_are_put_into_the_bins_of_another():
    table = pa.table({"g": ["a"] * 6, "s": [0.1, 0.1, 0.1, 0.2, 0.3, 0.4]})
    parts = [scan(table.slice(i, 3), groups=["g"], score="s").counted(most_exact=2) for i in (0, 3)]
    assert [part.provenance["counted"]["score"]["kept"] for part in parts] == ["exact", "binned"]
    whole = scan(table, groups=["g"], score="s").counted(most_exact=2)
    assert bits(merge(parts, most_exact=2)) == bits(whole)


def test_parts_keep_what_they_say_of_themselves(engines):
    table = engines["Arrow"]
    parts = [scan(table, **ROLES, provenance={"site": site}).counted(["race"]) for site in ("B", "A")]
    assert merge([parts[0], parts[0]]).provenance["site"] == "B"
    made = merge(parts)
    assert made.provenance["parts"] == [{"site": "A"}, {"site": "B"}]
    assert made.n == 2 * N


def test_parts_that_do_not_fit_are_refused(engines):
    table = engines["Arrow"]
    plain = scan(table, groups=["race"], score="logit").counted()
    with pytest.raises(UsageError, match="no parts to merge"):
        merge([])
    with pytest.raises(DataError, match=r"part 2 of 2 is not counted.*sources\.scan"):
        merge([plain, engines["evidence"]])
    with pytest.raises(DataError, match=r"part 2 of 2 has the groups \('office',\), part 1 has \('race',\)"):
        merge([plain, scan(table, groups=["office"], score="logit").counted()])
    bins = [
        scan(table, groups=["race"], score="logit").counted(most_exact=0, score_edges=(low, 2))
        for low in (0, -1)
    ]
    with pytest.raises(DataError, match=r"different bins .*Count each part with score_edges=\(-1, 2\)"):
        merge(bins)
    high = scan(pa.table({"race": ["a"], "logit": [9.0]}), groups=["race"], score="logit").counted()
    with pytest.raises(DataError, match=r"1 scores lie outside the edges 0 and 2.*score_edges=\(0, 9\.0\)"):
        merge([bins[0], high])


def test_the_sum_of_counts_is_the_number_of_rows(engines):
    made = scan(engines["pandas"], **ROLES).counted()
    keys = ("race", "approved")
    found = Counter()
    for row, n in zip(zip(*(made.group(k) for k in keys), strict=True), made.counts.tolist(), strict=True):
        found[row] += n
    held = columns()
    expected = Counter(
        ((r.strip() or None) if r else None, str(y))
        for r, y in zip(held["race"], held["approved"], strict=True)
    )
    assert found == expected
