"""Shards: divided by the plan alone, written whole, known by their checksums, begun anew where the plan differs."""

import itertools
import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinometer.errors import DataError, OutputError, UsageError
from clinometer.shards import Plan, Product, Shards


@given(n=st.integers(1, 5000), rows=st.integers(1, 700))
def test_the_shards_of_a_plan_are_all_rows_once_in_order_and_of_one_size_but_for_one_row(
    n: int, rows: int
) -> None:
    plan = Plan(n_rows=n, shard_rows=rows)
    bounds = [plan.bounds(i) for i in range(plan.n_shards)]
    assert bounds[0][0] == 0 and bounds[-1][1] == n
    assert all(before[1] == after[0] for before, after in itertools.pairwise(bounds))
    sizes = {end - begin for begin, end in bounds}
    assert max(sizes) <= rows and max(sizes) - min(sizes) <= 1 and min(sizes) >= 1
    assert plan.n_shards == -(-n // rows), "no more shards than are needed"


def test_the_name_of_a_plan_tells_every_setting() -> None:
    plan = Plan(n_rows=10, shard_rows=3, settings={"threads": 1, "model": {"a": [1, 2]}})
    assert plan.id == Plan(n_rows=10, shard_rows=3, settings={"model": {"a": [1, 2]}, "threads": 1}).id
    others = [
        Plan(n_rows=11, shard_rows=3, settings=plan.settings),
        Plan(n_rows=10, shard_rows=4, settings=plan.settings),
        Plan(n_rows=10, shard_rows=3, settings={**plan.settings, "threads": 2}),
        Plan(n_rows=10, shard_rows=3, settings={**plan.settings, "model": {"a": [2, 1]}}),
    ]
    assert len({plan.id, *(other.id for other in others)}) == 5


def product(begin: int, end: int) -> Product:
    return Product(
        table=pa.table({"row": list(range(begin + 1, end))}),
        notes={"first": begin},
        left_out=((begin, "x", "why"),),
    )


def filled(folder: Path, plan: Plan) -> Shards:
    shards, _ = Shards.opened(folder, plan)
    for index in range(plan.n_shards):
        shards.put(index, product(*plan.bounds(index)), seconds=0.5)
    return shards


PLAN = Plan(n_rows=10, shard_rows=4)


def test_shards_come_back_as_they_were_put_whatever_the_order(tmp_path: Path) -> None:
    shards, told = Shards.opened(tmp_path / "run", PLAN)
    assert told == "" and shards.missing() == (0, 1, 2)
    for index in (2, 0, 1):
        shards.put(index, product(*PLAN.bounds(index)), seconds=index)
    again = Shards(tmp_path / "run", PLAN)
    assert again.missing() == () and again.seconds() == (0.0, 1.0, 2.0)
    rows = [value for part in again.each() for value in part.table.column("row").to_pylist()]
    assert rows == sorted(set(range(10)) - {PLAN.bounds(index)[0] for index in range(3)})
    assert again.get(1).left_out == ((3, "x", "why"),) and again.get(1).notes == {"first": 3}


@pytest.mark.parametrize(
    "damage",
    [
        *("truncated", "one bit", "gone", "note gone", "note cut", "note of another plan"),
        *("other rows left out", "other notes", "nested too deeply"),
    ],
)
def test_a_damaged_shard_is_not_done_and_is_never_read(tmp_path: Path, damage: str) -> None:
    shards = filled(tmp_path / "run", PLAN)
    table, note = (tmp_path / "run" / "shards" / f"000001.{kind}" for kind in ("parquet", "json"))
    raw = table.read_bytes()
    match damage:
        case "truncated":
            table.write_bytes(raw[:-7])
        case "one bit":
            table.write_bytes(raw[:40] + bytes([raw[40] ^ 1]) + raw[41:])
        case "gone":
            table.unlink()
        case "note gone":
            note.unlink()
        case "note cut":
            note.write_bytes(note.read_bytes()[:-9])
        case "other rows left out":
            note.write_text(json.dumps({**json.loads(note.read_text()), "left_out": []}))
        case "other notes":
            note.write_text(json.dumps({**json.loads(note.read_text()), "notes": {"first": 4}}))
        case "nested too deeply":
            note.write_text("[" * 100_000)
        case _:
            note.write_text(json.dumps({**json.loads(note.read_text()), "plan": "0" * 64}))
    assert shards.missing() == (1,)
    with pytest.raises(DataError, match=r"shard 1 of .* is not done, or damaged"):
        list(shards.each())
    shards.put(1, product(*PLAN.bounds(1)), seconds=0.0)
    assert shards.missing() == ()


def test_a_shard_of_more_or_fewer_rows_than_its_note_says_is_refused(tmp_path: Path) -> None:
    shards = filled(tmp_path / "run", PLAN)
    shards.put(1, Product(table=pa.table({"row": [1] * 400})), seconds=0.0)
    with pytest.raises(
        DataError, match=r"shard 1 of .* has 400 rows, expected 3\. Remove .*000001\.json and run"
    ):
        shards.get(1)


@pytest.mark.parametrize("left", ["", "inf", "-1", "nan", "soon", "9" * 400, "\0"])
def test_a_time_that_cannot_be_read_is_not_known_and_nothing_else_is_lost(tmp_path: Path, left: str) -> None:
    shards = filled(tmp_path / "run", PLAN)
    (tmp_path / "run" / "shards" / "000001.seconds").write_text(left)
    (tmp_path / "run" / "shards" / "000002.seconds").unlink()
    assert shards.seconds() == (0.5, None, None) and shards.missing() == ()


def test_shards_of_another_plan_are_removed_and_the_difference_is_named(tmp_path: Path) -> None:
    filled(tmp_path / "run", PLAN)
    kept, told = Shards.opened(tmp_path / "run", PLAN)
    assert kept.missing() == () and told == ""
    other = Plan(n_rows=10, shard_rows=5, settings={"threads": 2})
    begun, told = Shards.opened(tmp_path / "run", other)
    assert begun.missing() == (0, 1)
    assert told == "the unfinished run that was there differs in shard_rows, threads"


@pytest.mark.parametrize(
    "left", ["{", "[]", "{}", '{"settings": [1]}', "[" * 100_000, '{"a":' * 100_000, "9" * 9000, '"\\ud800"']
)
def test_a_plan_that_cannot_be_read_is_begun_anew(tmp_path: Path, left: str) -> None:
    filled(tmp_path / "run", PLAN)
    (tmp_path / "run" / "plan.json").write_text(left)
    begun, told = Shards.opened(tmp_path / "run", PLAN)
    assert begun.missing() == (0, 1, 2) and told == "the plan that was there cannot be read"
    assert Shards.opened(tmp_path / "run", PLAN)[1] == "", "what was begun is of this plan"


def test_what_a_damaged_plan_differs_in_is_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "run" / "plan.json"
    for change, said in (
        ({"settings": {"\x1b[2J": 1, "x" * 5000: 2}}, "differs in what is no setting"),
        ({"settings": {"threads": 2}, "n_rows": 11}, "differs in n_rows, threads"),
        ({"layout": float(2)}, "the plan that was there is not as it was written"),
    ):
        filled(tmp_path / "run", PLAN)
        file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
        begun, told = Shards.opened(tmp_path / "run", PLAN)
        assert told.endswith(said) and begun.missing() == (0, 1, 2)


def test_a_folder_of_anything_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds something other than an unfinished run"):
        Shards.opened(tmp_path, PLAN)
    with pytest.raises(OutputError, match="is a file"):
        Shards.opened(tmp_path / "notes.txt", PLAN)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_plans_without_rows_are_refused() -> None:
    with pytest.raises(UsageError, match="shard_rows is 0"):
        Plan(n_rows=3, shard_rows=0)
    with pytest.raises(DataError, match="no rows"):
        Plan(n_rows=0)
