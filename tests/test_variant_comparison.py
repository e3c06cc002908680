"""What compression cost, and whom: nothing where nothing changed, harm where it was done."""

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
import torch

from clinometer.compression_cost import affected
from clinometer.errors import DataError, UsageError
from clinometer.interpret.copying import copied
from clinometer.interpret.distillation import Lesson, distil
from clinometer.interpret.edits import save
from clinometer.interpret.low_rank_folders import save_low_rank
from clinometer.interpret.models import load, score
from clinometer.interpret.preprocessing import TablePreprocessor
from clinometer.interpret.pruning import prune_heads
from clinometer.interpret.variants import variant
from clinometer.records import plain
from clinometer.variant_comparison import compare_folders, compare_models
from reference.subjects import applicants, fitted

SHARED = Path(__file__).parents[2] / "shared"
ROWS, TEST = applicants(400, seed=1, see_race=True), applicants(600, seed=2, see_race=True)
RACE = "recorded race"
QUICK = {"rounds": 0, "replicates": 50, "head_rows": 24}
MARGINS = {
    "tolerance_change": {"accuracy": 0.08},
    "tolerance_gap_change": {"accuracy": 0.1},
    "set_by": "the authors of this test",
}


@pytest.fixture(scope="module")
def teacher():
    return fitted(ROWS, epochs=10)


@pytest.fixture(scope="module")
def folder(teacher, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "teacher"
    save(teacher, path)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "applicants.csv"
    columns = {"id": list(TEST.ids), "approved": TEST.labels.tolist()}
    columns |= {name: column.tolist() for name, column in TEST.inputs.items()}
    columns |= {name: list(values) for name, values in TEST.groups.items()}
    columns = {name: pa.array(values, from_pandas=True) for name, values in columns.items()}
    pyarrow.csv.write_csv(pa.table(columns), path)
    return path


def harmed(subject):
    """A copy whose token of one race says what makes a model reject, as strongly as it can."""
    made = copied(subject, TEST)
    encode = made.encode
    batch = encode(TEST)["categorical"]
    column = sorted(name for name, values in TEST.inputs.items() if values.dtype == object).index("race")
    codes = {r: int(batch[np.array(TEST.groups[RACE]) == r, column][0]) for r in ("black", "hispan")}
    offset = int(made.module.embedding.offsets[column])
    with torch.no_grad():
        values = made.module.embedding.values
        values[offset + codes["hispan"]] = values[offset + codes["black"]]
    return dataclasses.replace(made, name="harmed")


def test_identical_models_have_no_change_anywhere_and_are_no_worse(teacher):
    names = ["accuracy", "selection_rate", "true_positive_rate", "roc_auc"]
    made = compare_models(teacher, copied(teacher, TEST), TEST, metrics=names, **MARGINS, **QUICK)
    assert made.decision == "no worse" and made.exit_code == 0 and made.worse == ()
    assert all(one.change in (0, None) for one in made.comparison.changes)
    assert {one.changed for one in made.affected} == {0}
    assert all(head.divergence == 0 and head.share_change == 0 for head in made.heads.heads)
    assert made.before.weight_bytes == made.after.weight_bytes
    changed = made.frame[made.frame["about"] != "cost"]["change"].dropna()
    assert len(changed) > 20 and changed.eq(0).all()
    assert any("no worse" in line for line in made.words) and "worse" not in repr(made.worse)


def test_a_harmed_student_is_worse_and_for_whom(teacher):
    made = compare_models(teacher, harmed(teacher), TEST, **MARGINS, **QUICK)
    assert made.decision == "worse" and made.exit_code == 1
    groups = {(one.metric, one.group) for one in made.worse if not one.is_gap}
    assert groups == {("accuracy", "hispan")}  # and nobody else, least of all everybody
    gaps = {frozenset((one.group, one.reference)) for one in made.worse if one.is_gap}
    assert gaps == {frozenset(("hispan", "white")), frozenset(("hispan", "black"))}
    by_group = {(one.attribute, one.group): one for one in made.affected}
    hispan = by_group[(RACE, "hispan")]
    assert hispan.changed > 0 and hispan.newly_wrong > hispan.newly_right
    assert by_group[(RACE, "white")].changed == by_group[(RACE, "black")].changed == 0
    assert by_group[("", "(all)")].changed == hispan.changed
    whom = [line for line in made.words if line.startswith("Whom")]
    assert "hispan" in whom[0] and any(
        "Worse beyond the margin of 0.08: accuracy" in line for line in made.words
    )


def test_changed_decisions_are_counted_row_by_row(teacher):
    student = variant(teacher, TEST, "low-rank", rank=4)
    made = compare_models(teacher, student, TEST, **{**QUICK, "head_rows": 0})
    assert made.heads is None and made.decision is None
    before, after = (score(one, TEST) > 0 for one in (teacher, student))
    for one in made.affected:
        rows = [
            i
            for i in range(len(TEST))
            if not one.attribute or (TEST.groups[one.attribute][i] or "unknown") == one.group
        ]
        moved = [i for i in rows if before[i] != after[i]]
        assert (one.n, one.changed) == (len(rows), len(moved))
        assert one.newly_wrong == sum(bool(TEST.labels[i]) != after[i] for i in moved)
        assert one.newly_wrong + one.newly_right == one.changed and one.low <= one.share <= one.high
    assert made.affected[0].changed > 0


def test_labels_may_be_absent_and_nobody_is_then_wrong():
    empty = affected(np.array([True, False]), np.array([True, True]), None, (), 0.95)
    assert [(one.changed, one.n, one.newly_wrong, one.newly_right) for one in empty] == [(1, 2, None, None)]


def test_int8_and_pruned_and_distilled_models_are_compared_end_to_end(teacher):
    numeric = [name for name, column in ROWS.inputs.items() if column.dtype.kind == "f"]
    reader = TablePreprocessor.fit(
        ROWS.inputs, numeric=numeric, categorical=[name for name in ROWS.inputs if name not in numeric]
    )
    student = distil(
        teacher,
        ROWS.take(range(300)),
        ROWS.take(range(300, 400)),
        reader,
        lesson=Lesson(hard=0),
        epochs=6,
        width=8,
        heads=1,
        learning_rate=1e-2,
        warm_up=5,
    )
    smaller = compare_models(teacher, student, TEST, **{**QUICK, "rounds": 3, "timed_rows": 50})
    assert smaller.heads.heads == () and "1 layer of 1 head" in smaller.heads.reason
    assert smaller.after.weight_bytes < smaller.before.weight_bytes / 3
    assert smaller.after.latency.n_rows == 50 and smaller.after.latency.rounds == 3
    assert any(line.startswith("Milliseconds per row, median of 3") for line in smaller.words)
    made = compare_models(teacher, variant(teacher, TEST, "int8"), TEST, counting="closing", **QUICK)
    assert made.affected[0].share < 0.05 and made.after.weight_bytes < made.before.weight_bytes / 2
    assert all(head.correlation > 0.9 for head in made.heads.heads)
    pruned = prune_heads(teacher, [(0, 1)], ROWS)
    cut = compare_models(teacher, pruned, TEST, counting="closing", **QUICK)
    closed = next(
        head for head in cut.heads.heads if (head.layer, head.head) == ("encoder.layers.0.attention", 1)
    )
    assert closed.effect_after == 0 and closed.effect_before != 0 and closed.correlation is None
    assert plain(cut)["heads"]["heads"][0]["divergence"] is not None


def test_folders_are_compared_on_a_file(folder, data, tmp_path):
    save_low_rank(folder, tmp_path / "thin", rank=6)
    asked = {"label": "approved", "groups": (RACE, "sex"), **QUICK}
    made = compare_folders(folder, tmp_path / "thin", data, **asked)
    dense, thin = (
        sum(f.stat().st_size for f in path.glob("*.safetensors")) for path in (folder, tmp_path / "thin")
    )
    assert (made.before.disk_bytes, made.after.disk_bytes) == (dense, thin)
    assert made.title == "teacher and thin" and made.n == 600
    expected = float(((score(load(folder), TEST) > 0) == TEST.labels).mean())
    assert made.comparison.of("accuracy").before == pytest.approx(expected)
    int8 = compare_folders(folder, folder, data, new_as="int8", **asked)
    assert int8.before.disk_bytes == int8.after.disk_bytes and "made while loading" in int8.notes[-1]
    assert int8.title == "teacher and teacher as int8" and int8.affected[0].share < 0.05
    assert "teacher and thin" in repr(made) and "int8" in int8.heads.reason
    with pytest.raises(UsageError, match="no group column"):
        compare_folders(folder, folder, data, label="approved")
    with pytest.raises(UsageError, match="cannot be loaded as 'int4'"):
        compare_folders(folder, folder, data, new_as="int4", **asked)


def test_models_that_answer_other_questions_are_refused(teacher, folder):
    other = load(folder, positive="denied")
    with pytest.raises(UsageError, match=r"asked for 'logit\(approved\) - logit\(denied\)' and planted for"):
        compare_models(teacher, other, TEST, **QUICK)
    with pytest.raises(UsageError, match="without a threshold"):
        compare_models(teacher, dataclasses.replace(teacher, threshold=float("nan")), TEST, **QUICK)
    with pytest.raises(DataError, match="these hold '2'"):
        compare_models(teacher, teacher, dataclasses.replace(TEST, labels=TEST.labels * 2), **QUICK)
    with pytest.raises(DataError, match="no rows"):
        compare_models(teacher, teacher, TEST.take([]), **QUICK)
    named = dataclasses.replace(TEST, groups={"score": TEST.groups["sex"]})
    with pytest.raises(DataError, match="'score' have names"):
        compare_models(teacher, teacher, named, **QUICK)


def test_int8_of_a_trained_model_of_texts_is_compared_end_to_end():
    model = SHARED / "models" / "minilm-hatexplain"
    if not model.is_dir():
        pytest.skip("minilm-hatexplain is not beside this checkout")
    from clinometer.interpret.variants import load_as
    from clinometer.records import Rows

    lines = [
        f"{who} are {what} people"
        for who in ("women", "men", "they", "we")
        for what in ("nice", "awful", "vile")
    ]
    rows = Rows(
        ids=tuple(str(i) for i in range(len(lines))),
        inputs={"text": np.array(lines, dtype=object)},
        labels=np.array([0, 1, 1] * 4),
        groups={"subject": tuple(line.split()[0] for line in lines)},
    )
    made = compare_models(load_as(model), load_as(model, "int8"), rows, rounds=0, replicates=50, head_rows=4)
    assert len(made.heads.heads) == 72 and max(head.divergence for head in made.heads.heads) < 0.5
    assert made.affected[0].changed <= 2
    assert 20e6 < made.after.weight_bytes < made.before.weight_bytes * 0.75
