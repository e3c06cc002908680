"""Evidence in half precision: compared with float32 before it is made; refused, recorded or said."""

import dataclasses
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

import clinometer as cm
from clinometer import half_precision
from clinometer.cli import main
from clinometer.errors import DataError, ModelError, UsageError
from clinometer.half_precision import COMPARED, MOST_CHANGED, Rounding, drawn
from clinometer.interpret.models import load, score
from clinometer.review import read_rows
from clinometer.shard_runs import Work
from clinometer.sharded_evidence import EvidenceRun, evidence
from reference.sharding import GROUPS, Killed, killed_at, planted

HALF = {"dtype": "bfloat16"}
SMALL = Work(shard_rows=40, threads=1)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return planted(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="module")
def close(files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model, deciding at a score near which many rows are: half precision moves some of them over it."""
    import shutil

    folder = tmp_path_factory.mktemp("close") / "model"
    shutil.copytree(files[0], folder)
    subject = load(folder)
    wide, narrow = (score(load(folder, dtype=kind), rows_of(files)) for kind in ("float32", "bfloat16"))
    between = [float(x) for x in np.sort(wide)]
    worst = max(between, key=lambda at: int(((wide > at) != (narrow > at)).sum()))
    settings = json.loads((folder / "edits.json").read_text(encoding="utf-8"))
    (folder / "edits.json").write_text(json.dumps({**settings, "threshold": worst}), encoding="utf-8")
    assert load(folder).threshold == worst != subject.threshold
    return folder


def rows_of(files: tuple[Path, Path]) -> cm.Rows:
    return read_rows(files[1], columns=load(files[0]).columns, groups=GROUPS, label="approved")


def run(model: Path, data: Path, out: Path, work: Work = SMALL, **more: object) -> EvidenceRun:
    made = evidence(
        model, data, groups=GROUPS, label="approved", out=out, work=work, **{"load": HALF, **more}
    )  # type: ignore[arg-type]
    assert made is not None
    return made


def test_what_is_measured_is_what_both_types_decide(
    files: tuple[Path, Path], close: Path, tmp_path: Path
) -> None:
    made = run(close, files[1], tmp_path / "out", Work(shard_rows=40, threads=1, rounding="record"))
    rows = rows_of(files)
    wide, narrow = (score(load(close, dtype=kind), rows) for kind in ("float32", "bfloat16"))
    at = load(close).threshold
    otherwise = np.flatnonzero((wide > at) != (narrow > at))
    found = made.rounding
    assert found is not None and len(otherwise) > 2
    assert (found.dtype, found.n, found.n_rows) == ("bfloat16", 200, 200)
    assert found.changed == len(otherwise) and found.ids == tuple(rows.ids[i] for i in otherwise)
    assert found.largest == pytest.approx(np.abs(wide - narrow).max(), rel=0.05)
    assert found.most == len(otherwise) / 200
    assert str(found).endswith(f"difference of two scores is {found.largest:.3g} logit")
    assert np.allclose(made.read().column("score"), narrow, atol=0.02)


def test_a_type_that_decides_otherwise_is_refused_and_nothing_is_made(
    files: tuple[Path, Path], close: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        ModelError,
        match=r"computed in bfloat16; all rows .* decided otherwise.*more than the 1 % up to which",
    ) as said:
        run(close, files[1], tmp_path / "out")
    assert "--dtype float32" in str(said.value) and "--rounding record" in str(said.value)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["unfinished"]
    assert run(close, files[1], tmp_path / "out", load={}).rounding is None, (
        "float32 goes on in the same folder"
    )


def test_a_type_that_decides_alike_is_taken_and_says_so(files: tuple[Path, Path], tmp_path: Path) -> None:
    made = run(*files, tmp_path / "out")
    assert made.rounding is not None and made.rounding.holds and made.rounding.largest > 0
    said = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))
    assert said["rounding"]["n"] == 200 and said["settings"]["rounding"] == "check"
    read = made.read()
    assert "ids" not in read.provenance["rounding"] and read.provenance["rounding"]["dtype"] == "bfloat16"
    for audited in (cm.audit(read), cm.audit(made.scan().counted())):
        assert any(re.match(r"Scores are computed in bfloat16; all rows", note) for note in audited.notes)
    again = run(*files, tmp_path / "out")
    assert again == made, "what is finished is read back"


def test_parts_that_are_counted_together_keep_what_each_says(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    half = run(*files, tmp_path / "half").scan().counted()
    wide = run(*files, tmp_path / "wide", load={}).scan().counted()
    for together in (cm.merge([half, wide]), cm.merge([half, half])):
        notes = cm.audit(together).notes
        assert sum("Scores are computed in bfloat16" in note for note in notes) == 1


def test_float32_is_compared_with_nothing(files: tuple[Path, Path], tmp_path: Path) -> None:
    made = run(*files, tmp_path / "out", load={})
    assert made.rounding is None and "rounding" not in (tmp_path / "out" / "run.json").read_text()
    assert not {"limits", "rounding"} & set(made.read().provenance)


def test_what_was_not_compared_is_said(files: tuple[Path, Path], close: Path, tmp_path: Path) -> None:
    made = run(close, files[1], tmp_path / "out", Work(shard_rows=40, threads=1, rounding="skip"))
    assert made.rounding is None
    assert made.read().provenance["limits"] == [
        "Scores are computed in bfloat16 and were not compared with float32."
    ]


def test_a_model_in_memory_cannot_be_compared(files: tuple[Path, Path], tmp_path: Path) -> None:
    subject = load(files[0], dtype="bfloat16")
    with pytest.raises(UsageError, match=r"in memory in bfloat16 has no float32 weights.*rounding='skip'"):
        run(subject, files[1], tmp_path / "out", load={})  # type: ignore[arg-type]
    made = run(subject, files[1], tmp_path / "out", Work(shard_rows=40, threads=1, rounding="skip"), load={})  # type: ignore[arg-type]
    assert made.n == 200


def test_killed_at_any_step_it_ends_with_the_same_bytes_and_compares_once(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times: list[int] = []
    real = half_precision.compared
    import clinometer.shard_runs as shard_runs

    def counted(*given: object, **named: object) -> Rounding:
        times.append(1)
        return real(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(shard_runs, "compared", counted)
    with killed_at(0, monkeypatch) as steps:
        whole = run(*files, tmp_path / "whole")
    after = 1 + steps.index("after rounding.json")
    for moment in range(1, len(steps) + 1, 3):
        times.clear()
        with killed_at(moment, monkeypatch), pytest.raises(Killed):
            run(*files, tmp_path / str(moment))
        again = run(*files, tmp_path / str(moment))
        assert again.path.read_bytes() == whole.path.read_bytes(), steps[moment - 1]
        assert (again.folder / "run.json").read_bytes() == (whole.folder / "run.json").read_bytes()
        if moment >= after:
            assert len(times) == 1, steps[moment - 1]


def test_two_workers_write_the_bytes_of_one(files: tuple[Path, Path], tmp_path: Path) -> None:
    one = run(*files, tmp_path / "one")
    two = run(*files, tmp_path / "two", Work(shard_rows=40, threads=1, workers=2))
    assert one.path.read_bytes() == two.path.read_bytes() and one.rounding == two.rounding


def test_rows_that_cannot_be_used_are_left_out_of_the_comparison_or_stop_it(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    import pandas as pd

    frame = pd.read_csv(files[1]).astype({"income": float})
    frame.loc[[3, 90], "income"] = np.inf
    frame.to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(DataError, match=r"3.*--on-bad-row skip"):
        run(files[0], tmp_path / "rows.csv", tmp_path / "out")
    skip = Work(shard_rows=40, threads=1, on_bad_row="skip")
    made = run(files[0], tmp_path / "rows.csv", tmp_path / "out", skip)
    assert made.rounding is not None and made.rounding.n == 198 and made.n == 198 and len(made.left_out) == 2
    frame["income"] = np.inf
    frame.to_csv(tmp_path / "none.csv", index=False)
    with pytest.raises(DataError, match="none of 200 rows drawn can be used; the first, 0:"):
        run(files[0], tmp_path / "none.csv", tmp_path / "none", skip)


@pytest.mark.parametrize(
    ("fault", "match"),
    [
        (MemoryError("no"), r"memory does not hold the model in float32.*--rounding skip"),
        (
            RuntimeError("not enough memory: you tried to allocate"),
            r"memory does not hold the model in float32",
        ),
        (
            ModelError("it is damaged."),
            r"in float32, to compare bfloat16 with: it is damaged\. With --rounding skip",
        ),
    ],
    ids=["memory", "torch's memory", "model"],
)
def test_a_float32_model_that_cannot_be_had_is_said(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception, match: str
) -> None:
    import clinometer.interpret.models as models

    real = models.load

    def failing(folder: Path, **named: object) -> object:
        if named.get("dtype") == "float32":
            raise fault
        return real(folder, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(models, "load", failing)
    with pytest.raises(ModelError, match=match):
        run(*files, tmp_path / "out")


def test_a_fault_of_the_program_is_not_taken_for_memory(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import clinometer.interpret.models as models

    real = models.load

    def failing(folder: Path, **named: object) -> object:
        if named.get("dtype") == "float32":
            raise RuntimeError("a shape is wrong")
        return real(folder, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(models, "load", failing)
    with pytest.raises(RuntimeError, match="a shape is wrong"):
        run(*files, tmp_path / "out")


def rounding(changed: int, n: int = COMPARED, n_rows: int = 10**6) -> Rounding:
    return Rounding(dtype="float16", n_rows=n_rows, n=n, changed=changed, largest=0.5, unit="logit")


def test_the_bound_of_a_sample_is_one_sided_and_exact() -> None:
    for changed in (0, 1, 2, 7):
        share = rounding(changed).most
        at_most = sum(  # chance of so few or fewer among 512, were the share as large as that
            float(np.prod([(COMPARED - j) / (j + 1) for j in range(k)]))
            * share**k
            * (1 - share) ** (COMPARED - k)
            for k in range(changed + 1)
        )
        assert at_most == pytest.approx(0.05, abs=1e-9)
    assert rounding(1).holds and not rounding(2).holds, "one row in 512 is the most"
    assert "at most 0.58 % (95 %)" in str(rounding(0)) and "drawn at random" in str(rounding(0))
    assert rounding(2, n=200, n_rows=200).most == MOST_CHANGED and rounding(2, n=200, n_rows=200).holds
    assert "at most" not in str(rounding(2, n=200, n_rows=200))


def test_rows_are_drawn_once_each_in_order_and_the_same_again() -> None:
    places = drawn(10_000)
    assert len(set(places.tolist())) == COMPARED and (np.diff(places) > 0).all()
    assert (places == drawn(10_000)).all() and places[0] < 200 and places[-1] > 9_800
    assert drawn(COMPARED).tolist() == list(range(COMPARED))


def test_rows_are_read_at_their_places(files: tuple[Path, Path], tmp_path: Path) -> None:
    from clinometer.staged_rows import Columns, stage

    columns = Columns(inputs=("income", "home"), groups=GROUPS, label="approved")
    rows, _ = stage(files[1], tmp_path / "rows.parquet", columns, rows_together=16)
    whole, some = rows.rows(0, len(rows)), rows.at([0, 15, 16, 17, 150, 199])
    assert some.ids == tuple(whole.ids[i] for i in (0, 15, 16, 17, 150, 199))
    assert some.inputs["income"].tolist() == whole.inputs["income"][[0, 15, 16, 17, 150, 199]].tolist()
    assert some.groups["race"] == tuple(whole.groups["race"][i] for i in (0, 15, 16, 17, 150, 199))


def test_the_command_says_what_was_compared(
    files: tuple[Path, Path], close: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(model: Path, out: str, *more: str) -> list[str]:
        told = [
            "evidence",
            str(model),
            str(files[1]),
            "--label",
            "approved",
            "--group",
            "race",
            "--group",
            "sex",
        ]
        return [
            *told,
            "--threads",
            "1",
            "--dtype",
            "bfloat16",
            "--quiet",
            "--out",
            str(tmp_path / out),
            *more,
        ]

    assert main(command(close, "a")) == 3
    assert "decided otherwise" in " ".join(capsys.readouterr().err.split())
    assert main(command(close, "a", "--rounding", "record")) == 0
    assert "note:   scores are computed in bfloat16; all rows" in capsys.readouterr().out
    assert main(command(close, "b", "--rounding", "record", "--json")) == 0
    assert json.loads(capsys.readouterr().out)["rounding"]["changed"] > 2
    assert main(command(close, "c", "--rounding", "chek")) == 2
    assert "rounding is 'chek'" in capsys.readouterr().err


def test_notes_that_are_none_of_ours_are_compared_again(tmp_path: Path) -> None:
    from clinometer.half_precision import keep, kept, read_back

    found = rounding(1)
    keep(tmp_path / "rounding.json", "plan", found)
    assert kept(tmp_path / "rounding.json", "plan") == found
    assert kept(tmp_path / "rounding.json", "another") is None
    assert kept(tmp_path / "nothing.json", "plan") is None
    said = json.loads(json.dumps(dataclasses.asdict(found)))
    assert read_back(said) == found
    changes = [
        {"n": "512"},
        {"n": True},
        {"changed": 513},
        {"changed": -1},
        {"n": 10**7},
        {"largest": None},
        {"largest": math.inf},
        {"ids": [3]},
    ]
    changes += [{"dtype": 16}, {"unit": None}, {"n": 0, "changed": 0}, {"ids": 3}, {"more": 1}]
    for strange in (None, 3, [], {}, *({**said, **change} for change in changes)):
        assert read_back(strange) is None, strange
