"""Evidence: roles travel with the file, unknown stays unknown, and bad tables are refused at the border."""

import json

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinometer.errors import DataError, OutputError, UsageError
from clinometer.evidence import _text, from_columns, from_frame, from_table
from clinometer.evidence_files import read, write

COLUMNS = {
    "person": ["p1", "p2", "p3", "p4"],
    "approved": [1, 0, 1, 0],
    "predicted": [True, True, False, False],
    "logit": [0.5, -0.25, 1e-17, 3.0],
    "race": ["black", None, "white", ""],
    "lean": [0.1, 0.2, 0.3, 0.4],
}
ROLES = {
    "id": "person",
    "label": "approved",
    "prediction": "predicted",
    "score": "logit",
    "groups": ("race",),
    "measures": ("lean",),
}


@pytest.fixture
def made():
    return from_columns(COLUMNS, **ROLES, provenance={"seed": 0})


def csv(folder, text, **roles):
    path = folder / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read(path, **roles)


# What it holds


def test_columns_come_back_by_role(made):
    assert len(made) == 4
    assert made.ids == ("p1", "p2", "p3", "p4")
    np.testing.assert_array_equal(made.column("logit"), COLUMNS["logit"])
    assert made.column("approved").dtype == np.float64
    assert made.binary("approved").tolist() == [True, False, True, False]
    assert made.binary("predicted").tolist() == [True, True, False, False]
    assert list(made.frame.columns) == list(COLUMNS)
    assert repr(made) == "Evidence(4 rows, groups ['race'], 1 measures)"


def test_missing_and_empty_groups_are_unknown(made):
    assert made.group("race") == ("black", None, "white", None)


def test_numbers_name_a_group_without_a_decimal_point():
    made = from_columns({"region": [1.0, 2.5, float("nan"), None]}, groups=["region"])
    assert made.group("region") == ("1", "2.5", None, None)


def test_missing_numbers_are_nan():
    made = from_columns({"age": [1, None, 3]})
    np.testing.assert_array_equal(made.column("age"), [1.0, np.nan, 3.0])


def test_without_an_id_rows_are_numbered():
    assert from_columns({"a": [5, 6]}).ids == ("0", "1")
    assert from_columns({"id": [7, 8], "a": [5, 6]}).ids == ("7", "8")


@pytest.mark.parametrize(
    "values", [[1, 0], [1.0, 0.0], [True, False], ["1", "0"], ["yes", "no"], ["True", "False"]]
)
def test_usual_pairs_need_no_positive_value(values):
    assert from_columns({"y": values}).binary("y").tolist() == [True, False]


def test_two_words_need_the_positive_one():
    columns = {"y": ["good", "bad"], "p": ["bad", "bad"], "q": ["good", "good"]}
    roles = {"label": "y", "prediction": "p"}
    made = from_columns(columns, **roles, positive="good")
    assert made.binary("y").tolist() == [True, False]
    assert made.binary("q").tolist() == [True, True]
    assert made.binary("p").tolist() == [False, False], "no row was predicted positive"
    with pytest.raises(DataError, match="--positive good"):
        from_columns(columns, **roles).binary("y")
    with pytest.raises(DataError, match="not the positive value 'goood'"):
        from_columns(columns, **roles, positive="goood").binary("p")


def test_frames_of_pandas_and_arrow_are_the_same_evidence(made):
    frame = pd.DataFrame(COLUMNS)
    for native in (frame, pa.Table.from_pandas(frame, preserve_index=False)):
        other = from_frame(native, **ROLES)
        assert other.ids == made.ids
        assert other.group("race") == made.group("race")
        np.testing.assert_array_equal(other.column("logit"), made.column("logit"))


COUNTED = {
    "race": ["a", "b", None],
    "n": [3, 1, 2],
    "w": [0.5, 0.0, 2.0],
    "document": ["d1", "d2", "d1"],
    "office": ["x", None, "y"],
    "member": [True, False, True],
    "lean": [1.5, 2.0, -1.0],
    "q": [0.5, 0.0, 8.0],
}
COUNTED_ROLES = {
    "groups": ("race",),
    "measures": ("lean",),
    "count": "n",
    "weight": "w",
    "cluster": "document",
    "strata": ("office", "member"),
    "squares": {"lean": "q"},
}


def test_a_row_may_stand_for_several():
    made = from_columns(COUNTED, **COUNTED_ROLES)
    assert (len(made), made.n) == (3, 6)
    assert made.counts.tolist() == [3, 1, 2] and made.counts.dtype == np.int64
    assert made.weights.tolist() == [0.5, 0.0, 2.0]
    assert made.clusters.tolist() == [0, 1, 0]
    codes, names = made.stratum
    assert codes.tolist() == [0, -1, 1] and names == ("x & True", "y & True")
    assert repr(made) == "Evidence(3 distinct rows of 6, groups ['race'], 1 measures)"
    single = from_columns(COUNTED, **{**COUNTED_ROLES, "strata": ["office"]}).stratum
    assert single[0].tolist() == [0, -1, 1] and single[1] == ("x", "y")


def test_without_these_roles_each_row_stands_for_itself(made):
    assert made.n == 4 and made.counts.tolist() == [1, 1, 1, 1]
    assert made.weights.tolist() == [1.0, 1.0, 1.0, 1.0]
    assert made.clusters is None and made.stratum is None


def test_codes_point_into_sorted_names(made):
    codes, names = made.codes("race")
    assert codes.tolist() == [0, -1, 1, -1] and codes.dtype == np.int32
    assert names == ("black", "white")
    with pytest.raises(DataError, match="no column 'rase'"):
        made.codes("rase")


@given(
    st.lists(st.one_of(st.none(), st.floats(), st.integers(-9, 9)), min_size=1, max_size=12)
    | st.lists(st.one_of(st.none(), st.text(max_size=3)), min_size=1, max_size=12)
    | st.lists(st.one_of(st.none(), st.booleans()), min_size=1, max_size=12)
    | st.lists(st.one_of(st.none(), st.dates()), min_size=1, max_size=12)
)
def test_groups_equal_a_plain_loop_over_the_values(values):
    for table in (pa.table({"g": values}), pa.table({"g": pa.chunked_array([pa.array(values)] * 2)})):
        made = from_table(table, groups=["g"])
        assert made.group("g") == tuple(_text(value) for value in table["g"].to_pylist())
        encoded = made.codes("g")
        assert tuple(None if c < 0 else encoded[1][c] for c in encoded[0]) == made.group("g")


@pytest.mark.parametrize(
    "kind", [pa.int8(), pa.uint64(), pa.float32(), pa.decimal128(5, 2), pa.bool_(), pa.string()]
)
def test_every_kind_of_number_is_read(kind):
    table = pa.table({"a": pa.chunked_array([pa.array([1, None], pa.int8()), pa.array([0], pa.int8())])})
    made = from_table(table.set_column(0, "a", table["a"].cast(kind)))
    np.testing.assert_array_equal(made.column("a"), [1.0, np.nan, 0.0])


def test_dictionaries_that_differ_in_each_chunk_are_one_column():
    parts = [pa.array(["b", "a"]).dictionary_encode(), pa.array(["a", None, "c"]).dictionary_encode()]
    made = from_table(pa.table({"g": pa.chunked_array(parts)}), groups=["g"])
    assert made.group("g") == ("b", "a", "a", None, "c")
    small = pa.DictionaryArray.from_arrays(pa.array([0, None], pa.uint8()), pa.array(["a"]))
    assert from_table(pa.table({"g": small})).group("g") == ("a", None)


def test_a_million_rows_are_coded_at_once():
    codes = np.random.default_rng(0).integers(0, 4, 1_000_000)
    table = pa.table({"g": pa.array(np.array(["a", "b", "c", ""])[codes]), "y": codes % 2, "s": codes / 4})
    made = from_table(table, groups=["g"], label="y", score="s")
    np.testing.assert_array_equal(made.codes("g")[0], np.where(codes == 3, -1, codes))
    np.testing.assert_array_equal(made.binary("y"), codes % 2 == 1)


# Files


def test_counted_evidence_carries_its_roles(tmp_path):
    made = from_columns(COUNTED, **COUNTED_ROLES)
    write(made, tmp_path / "c.parquet")
    back = read(tmp_path / "c.parquet")
    for role in ("count", "weight", "cluster", "strata", "squares", "groups", "measures"):
        assert getattr(back, role) == getattr(made, role)
    assert back.table.equals(made.table)
    fewer = read(tmp_path / "c.parquet", measures=[])
    assert (fewer.measures, fewer.squares) == ((), {})
    other = read(tmp_path / "c.parquet", strata=["office"], count="n", weight="q")
    assert (other.strata, other.weight) == (("office",), "q")


def test_a_file_without_later_roles_can_be_read_by_earlier_versions(made, tmp_path):
    write(made, tmp_path / "e.parquet")
    kept = json.loads(pa_parquet.read_schema(tmp_path / "e.parquet").metadata[b"clinometer"])
    earlier = {"id", "label", "prediction", "score", "groups", "measures", "positive", "provenance"}
    assert set(kept) == earlier


def test_a_csv_of_counts_is_read_by_naming_columns(tmp_path):
    back = csv(tmp_path, "g,n,w\na,3,0.5\nb,2,1\n", groups=["g"], count="n", weight="w")
    assert back.n == 5 and back.weights.tolist() == [0.5, 1.0]


def test_a_parquet_file_carries_its_roles(made, tmp_path):
    write(made, tmp_path / "evidence.parquet")
    back = read(tmp_path / "evidence.parquet")
    assert back.table.equals(made.table)
    assert (back.id, back.label, back.prediction, back.score) == ("person", "approved", "predicted", "logit")
    assert (back.groups, back.measures) == (("race",), ("lean",))
    assert back.provenance == {"seed": 0}
    assert [path.name for path in tmp_path.iterdir()] == ["evidence.parquet"]


def test_flags_override_the_roles_of_the_file(made, tmp_path):
    write(made, tmp_path / "evidence.parquet")
    back = read(tmp_path / "evidence.parquet", prediction="approved", measures=())
    assert (back.prediction, back.label, back.measures) == ("approved", "approved", ())


def test_one_evidence_gives_the_same_bytes(made, tmp_path):
    for name in ("a.parquet", "b.parquet"):
        write(made, tmp_path / name)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_somebody_elses_parquet_is_read_by_naming_columns(tmp_path):
    pd.DataFrame(COLUMNS).to_parquet(tmp_path / "theirs.parquet")
    back = read(tmp_path / "theirs.parquet", **ROLES)
    assert back.ids == ("p1", "p2", "p3", "p4")
    assert back.measures == ("lean",)


def test_columns_called_after_a_role_have_it(tmp_path):
    back = csv(tmp_path, "id,label,prediction,score,race\n007,1,0,0.5,a\n008,0,1,0.25,b\n")
    assert (back.label, back.prediction, back.score) == ("label", "prediction", "score")
    assert back.ids == ("007", "008"), "an id keeps its zeros"
    assert back.groups == ()


def test_a_byte_order_mark_and_quoted_line_breaks_are_read(tmp_path):
    back = csv(tmp_path, b'\xef\xbb\xbfid,group\n1,"a, b\nc"\n2,\n', groups=["group"])
    assert back.group("group") == ("a, b\nc", None)


def test_the_kind_of_a_column_is_inferred_from_all_rows(tmp_path):
    rows = "".join(f"{i},{i % 2}\n" for i in range(150_000))
    back = csv(tmp_path, f"id,group\n{rows}last,other\n", groups=["group"])
    assert set(back.group("group")) == {"0", "1", "other"}


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=8))
def test_scores_survive_the_file_bit_for_bit(tmp_path_factory, scores):
    path = tmp_path_factory.mktemp("bits") / "e.parquet"
    write(from_columns({"s": scores}, score="s"), path)
    assert read(path).column("s").tobytes() == np.array(scores).tobytes()


# Refusals


def test_an_unknown_column_is_refused_with_the_nearest(tmp_path, made):
    with pytest.raises(UsageError, match=r"no column 'rase': did you mean 'race'\?"):
        csv(tmp_path, "id,race\n1,a\n", groups=["rase"])
    with pytest.raises(DataError, match=r"no column 'logits': did you mean 'logit'\?"):
        made.column("logits")


def test_a_third_value_is_refused_with_its_rows():
    made = from_columns({"id": list("abcde"), "y": [1, 0, 1, 0, 2]}, label="y")
    with pytest.raises(DataError, match=r"3 values \('0', '1', '2'\).*rows with a third: 'e'"):
        made.binary("y")
    with pytest.raises(DataError, match="rows with a third: 'e'"):
        from_columns({"id": list("abcde"), "y": ["p", "n", "p", "n", "?"]}, positive="p").binary("y")


def test_a_missing_label_is_refused_with_its_rows():
    with pytest.raises(DataError, match="1 missing values where two values are expected; first rows: 'b'"):
        from_columns({"id": ["a", "b"], "y": [1, None]}).binary("y")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), None])
@pytest.mark.parametrize("role", ["score", "measure"])
def test_numbers_that_are_not_finite_are_refused_with_their_rows(bad, role):
    roles = {"score": "s"} if role == "score" else {"measures": ["s"]}
    with pytest.raises(DataError, match=r"'s' has 1 values .* not finite; first rows: 'b'"):
        from_columns({"id": ["a", "b"], "s": [0.5, bad]}, **roles)


def test_words_are_no_scores():
    with pytest.raises(DataError, match=r"no numbers, e\.g\. 'high'; first rows: 'b'"):
        from_columns({"id": ["a", "b"], "s": ["1.5", "high"]}, score="s")


def test_ids_name_each_row_once():
    with pytest.raises(DataError, match=r"names 1 rows twice: 'a'"):
        from_columns({"id": ["a", "b", "a"]})
    with pytest.raises(DataError, match="is empty in row '1'"):
        from_columns({"id": ["a", None]})


def test_columns_of_two_lengths_or_kinds_are_refused():
    with pytest.raises(DataError, match="differ in length"):
        from_columns({"a": [1, 2], "b": [1]})
    with pytest.raises(DataError, match="'a' mixes kinds"):
        from_columns({"a": [1, "x"]})
    with pytest.raises(DataError, match=r"mixes kinds of values: .*column a"):
        from_frame(pd.DataFrame({"a": [1, "x"]}))
    with pytest.raises(DataError, match="two columns of one name"):
        from_frame(pd.DataFrame([[1, 2]], columns=["a", "a"]))
    with pytest.raises(DataError, match="list is no data frame"):
        from_frame([1])


@pytest.mark.parametrize(
    ("role", "values", "says"),
    [
        ("count", [1, 0], r"'v' has 1 counts that are no whole number of at least 1; first rows: 'b'"),
        ("count", [1.0, 2.5], r"'v' has 1 counts .*first rows: 'b'"),
        ("count", [None, 2], r"'v' has 1 counts .*first rows: 'a'"),
        ("count", [2.0**61, 2.0**62], r"'v' adds up to .* rows; below 2\*\*62 are expected"),
        ("count", ["x", "y"], r"no numbers, e\.g\. 'x'"),
        (
            "weight",
            [0.5, -0.5],
            r"'v' has 1 negative weights; first rows: 'b'\. A weight says how many people",
        ),
        ("weight", [0.0, 0.0], r"'v' has the weight 0 in every row"),
        ("weight", [1.0, float("inf")], r"'v' has 1 values that are missing or not finite; first rows: 'b'"),
        ("weight", [None, 1.0], r"'v' has 1 values that are missing or not finite; first rows: 'a'"),
        ("cluster", ["d", ""], r"'v' has 1 rows without a cluster; first rows: 'b'"),
    ],
)
def test_counts_weights_and_clusters_that_cannot_be_are_refused_with_their_rows(role, values, says):
    with pytest.raises(DataError, match=says):
        from_columns({"id": ["a", "b"], "v": values}, **{role: "v"})


@pytest.mark.parametrize("bad", [-1.0, float("nan"), None])
def test_squares_that_cannot_be_are_refused_with_their_rows(bad):
    columns = {"id": ["a", "b"], "m": [1.0, 2.0], "n": [2, 2], "q": [0.5, bad]}
    with pytest.raises(DataError, match=r"'q' has 1 sums of squares .*; first rows: 'b'"):
        from_columns(columns, measures=["m"], count="n", squares={"m": "q"})


def test_roles_that_do_not_go_together_are_refused():
    columns = {"m": [1.0, 2.0], "n": [2, 2]}
    with pytest.raises(UsageError, match=r"squares are given for 'mm', no measure: did you mean 'm'\?"):
        from_columns(columns, measures=["m"], count="n", squares={"mm": "m"})
    with pytest.raises(UsageError, match="name the column of counts too"):
        from_columns(columns, measures=["m"], squares={"m": "n"})
    with pytest.raises(UsageError, match="'n' is named as count and as weight"):
        from_columns(columns, count="n", weight="n")
    for role in ("count", "weight", "cluster"):
        with pytest.raises(UsageError, match="no column 'absent'"):
            from_columns(columns, **{role: "absent"})
    with pytest.raises(DataError, match=r"the stratum 'x & y' holds ' & '"):
        _ = from_columns({"a": ["x & y"], "b": ["z"]}, strata=["a", "b"]).stratum


def test_a_pattern_or_a_lazy_table_is_for_scan(tmp_path):
    with pytest.raises(DataError, match=r"not a file but a pattern: clinometer\.sources\.scan"):
        read(tmp_path / "part-*.parquet")
    with pytest.raises(DataError, match=r"LazyFrame is no data frame.*clinometer\.sources\.scan"):
        from_frame(pl.LazyFrame({"a": [1]}))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"id,a\n", "no rows"),
        ("id,a\n1,é\n".encode("latin-1"), r"byte 7 in line 2 \(0xe9\).*iconv -f latin1"),
        ("id,a\n1,2\n".encode("utf-16"), "iconv -f utf-16"),
        (b"id,a\n1,2\n3\n", r"Row #3: Expected 2 columns, got 1.*as many values as the header"),
        (b"id,a,a\n1,2,3\n", "two columns called 'a'"),
    ],
    ids=["zero bytes", "blank", "header only", "latin1", "utf-16", "ragged", "twice"],
)
def test_a_csv_that_is_no_table_is_refused(tmp_path, content, says):
    with pytest.raises(DataError, match=says):
        csv(tmp_path, content)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="is not a file"):
        read(tmp_path / "absent.csv")
    with pytest.raises(DataError, match="is not a file"):
        read(tmp_path)
    (tmp_path / "table.xlsx").write_bytes(b"x")
    with pytest.raises(DataError, match=r"'.xlsx'; .csv or .parquet is expected"):
        read(tmp_path / "table.xlsx")
    (tmp_path / "half.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match="not a whole Parquet file"):
        read(tmp_path / "half.parquet")


@pytest.mark.parametrize(("roles", "says"), [(b"{", "not JSON"), (b'{"colour": 1}', "does not know")])
def test_damaged_roles_are_refused(tmp_path, roles, says):
    table = pa.table({"a": [1]}).replace_schema_metadata({b"clinometer": roles})
    pa_parquet.write_table(table, tmp_path / "e.parquet")
    with pytest.raises(DataError, match=says):
        read(tmp_path / "e.parquet")


def test_what_cannot_be_written_leaves_nothing(made, tmp_path, monkeypatch):
    with pytest.raises(OutputError, match="cannot be written"):
        write(made, tmp_path / "absent" / "e.parquet")

    def full(table, path, **_):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pa_parquet, "write_table", full)
    with pytest.raises(OutputError, match="No space left"):
        write(made, tmp_path / "e.parquet")
    assert list(tmp_path.iterdir()) == []
