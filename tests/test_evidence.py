"""Evidence: roles travel with the file, unknown stays unknown, and bad tables are refused at the border."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinometer.errors import DataError, OutputError, UsageError
from clinometer.evidence import from_columns, from_frame, read, write

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


# Files


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
