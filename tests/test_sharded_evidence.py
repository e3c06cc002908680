"""Evidence in shards: the same bytes on every way through, resumed at any moment, and no row lost in silence."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import clinometer as cm
from clinometer.cli import main
from clinometer.errors import DataError, OutputError, UsageError
from clinometer.interpret.models import load, score
from clinometer.review import read_rows
from clinometer.shard_runs import Work
from clinometer.shard_work import unusable
from clinometer.sharded_evidence import EvidenceRun, evidence
from reference.sharding import GROUPS, Killed, killed_at, planted

SMALL = Work(shard_rows=40, threads=1)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return planted(tmp_path_factory.mktemp("planted"))


def run(files: tuple[Path, Path], out: Path, work: Work = SMALL, **more: object) -> EvidenceRun:
    made = evidence(files[0], files[1], groups=GROUPS, label="approved", out=out, work=work, **more)  # type: ignore[arg-type]
    assert made is not None
    return made


def test_the_evidence_is_that_of_rows_scored_in_one_go(files: tuple[Path, Path], tmp_path: Path) -> None:
    made = run(files, tmp_path / "out")
    subject = load(files[0])
    rows = read_rows(files[1], columns=subject.columns, groups=GROUPS, label="approved")
    read = made.read()
    assert read.ids == rows.ids and made.n == len(rows) == 200 and made.left_out == ()
    assert np.allclose(read.column("score"), score(subject, rows), atol=1e-6)
    assert np.array_equal(read.column("prediction"), read.column("score") > subject.threshold)
    assert np.array_equal(read.binary("label"), np.asarray(rows.labels) == 1)
    assert {name: read.group(name) for name in GROUPS} == dict(rows.groups)
    assert read.provenance["weights_sha256"] == subject.provenance["weights_sha256"]
    assert read.provenance["plan"] == made.plan
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "evidence.parquet",
        "run.json",
        "timings.json",
    ]
    whole, counted = cm.audit(read), cm.audit(made.scan().counted())
    assert [(c.group, c.metric, c.k, c.n) for c in counted.cells] == [
        (c.group, c.metric, c.k, c.n) for c in whole.cells
    ]


def test_killed_at_every_step_of_writing_it_goes_on_to_the_same_bytes(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with killed_at(0, monkeypatch) as steps:
        whole = run(files, tmp_path / "whole")
    assert len(steps) > 30 and "before 000004.json" in steps and "after evidence.parquet" in steps
    for moment in range(1, len(steps) + 1):
        out = tmp_path / str(moment)
        with killed_at(moment, monkeypatch), pytest.raises(Killed):
            run(files, out)
        again = run(files, out)
        assert again.path.read_bytes() == whole.path.read_bytes(), steps[moment - 1]
        assert (out / "run.json").read_bytes() == (tmp_path / "whole" / "run.json").read_bytes()
        assert not (out / "unfinished").exists()


def test_killed_while_it_removes_what_it_needs_no_longer_it_goes_on(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import clinometer.held_folders as held_folders

    whole = run(files, tmp_path / "whole")
    real = held_folders.shutil.rmtree

    def half(path: Path, ignore_errors: bool = False) -> None:
        (path / "plan.json").unlink()
        raise Killed

    for out in (tmp_path / "evidence", tmp_path / "again"):
        with monkeypatch.context() as patched:
            patched.setattr(held_folders.shutil, "rmtree", half)
            with pytest.raises(Killed):
                run(files, out)
        assert any((out / "unfinished").iterdir()) and real is held_folders.shutil.rmtree
        if out.name == "again":
            (out / "run.json").unlink()  # as if the merge had not been reached: all is done again
        assert run(files, out).path.read_bytes() == whole.path.read_bytes()
        assert sorted(path.name for path in out.iterdir()) == ["evidence.parquet", "run.json", "timings.json"]


def test_shards_that_are_done_are_not_done_again(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import clinometer.shard_work as shard_work

    scored: list[int] = []
    real = shard_work.scores

    def counted(subject: object, rows: object, *, batch_size: int) -> object:
        scored.append(len(rows))  # type: ignore[arg-type]
        return real(subject, rows, batch_size=batch_size)  # type: ignore[arg-type]

    monkeypatch.setattr(shard_work, "scores", counted)
    with killed_at(2 * 2 + 2 + 6 * 3, monkeypatch) as steps, pytest.raises(Killed):
        run(files, tmp_path / "out")
    done = sum(step.startswith("after") and step.endswith(".json") and "00" in step for step in steps)
    assert 0 < done < 5
    before = len(scored)
    run(files, tmp_path / "out")
    assert len(scored) - before == 5 - done
    run(files, tmp_path / "out")
    assert len(scored) - before == 5 - done, "what is finished is read, not scored"


def test_rows_of_a_shard_change_the_plan_and_say_so(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with killed_at(15, monkeypatch), pytest.raises(Killed):
        run(files, tmp_path / "out")
    made = run(files, tmp_path / "out", Work(shard_rows=50, threads=1))
    assert made.told == "the unfinished run that was there differs in shard_rows"
    with pytest.raises(OutputError, match=r"evidence of another run .*--force"):
        run(files, tmp_path / "out")
    assert run(files, tmp_path / "out", force=True).plan != made.plan


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("run.json", {"left_out": [[0, "0", "no"]]}),
        ("run.json", {"n": 199}),
        ("run.json", None),
        ("evidence.parquet", None),
    ],
    ids=["rows left out", "n", "cut", "evidence cut"],
)
def test_evidence_that_is_not_as_it_was_written_is_not_taken_for_it(
    files: tuple[Path, Path], tmp_path: Path, file: str, change: dict[str, object] | None
) -> None:
    made, path = run(files, tmp_path / "out"), tmp_path / "out" / file
    whole = {one.name: one.read_bytes() for one in (made.path, tmp_path / "out" / "run.json")}
    assert run(files, tmp_path / "out").left_out == ()  # control
    if change is None:
        path.write_bytes(path.read_bytes()[:-9])
    else:
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(OutputError, match=rf"the checksum of {re.escape(file)} does not hold.*--force"):
        run(files, tmp_path / "out")
    again = run(files, tmp_path / "out", force=True)
    assert again.left_out == () and {name: (tmp_path / "out" / name).read_bytes() for name in whole} == whole


@pytest.mark.parametrize("name", ["source.json", "rows.parquet"])
def test_a_copy_of_the_rows_that_was_changed_is_made_again(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    whole = run(files, tmp_path / "whole")
    with killed_at(15, monkeypatch), pytest.raises(Killed):
        run(files, tmp_path / "out")
    left = tmp_path / "out" / "unfinished" / name
    if name == "source.json":
        kept = json.loads(left.read_text())
        assert kept["id"] == "id"
        left.write_text(json.dumps({**kept, "id": "income"}))  # rows named after something else
    else:
        left.write_bytes(left.read_bytes()[:-20])
    again = run(files, tmp_path / "out")
    assert again.path.read_bytes() == whole.path.read_bytes() and again.told == ""


def test_a_file_that_changed_is_read_again(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "rows.csv"
    data.write_bytes(files[1].read_bytes())
    with killed_at(15, monkeypatch), pytest.raises(Killed):
        run((files[0], data), tmp_path / "out")
    frame = pd.read_csv(data)
    frame[:100].to_csv(data, index=False)
    made = run((files[0], data), tmp_path / "out")
    assert made.n == 100 and "rows_sha256" in made.told and "n_rows" in made.told


def spoiled(files: tuple[Path, Path], folder: Path) -> Path:
    frame = pd.read_csv(files[1])
    frame["approved"] = frame["approved"].astype(object)
    frame.loc[[3, 150], "approved"] = ["maybe", ""]
    frame.loc[77, frame.columns[0]] = np.inf
    frame.to_csv(folder / "spoiled.csv", index=False)
    return folder / "spoiled.csv"


def test_a_row_that_cannot_be_used_stops_the_run_or_is_left_out_and_listed(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    data = spoiled(files, tmp_path)
    with pytest.raises(DataError, match=r"in rows 0 to 39: .*maybe.*--on-bad-row skip"):
        run((files[0], data), tmp_path / "stop")
    made = run((files[0], data), tmp_path / "skip", Work(shard_rows=40, threads=1, on_bad_row="skip"))
    assert [(place, name) for place, name, _ in made.left_out] == [(3, "3"), (77, "77"), (150, "150")]
    assert made.n == 197 and set(made.read().ids) == {str(i) for i in range(200)} - {"3", "77", "150"}
    listed = json.loads((tmp_path / "skip" / "run.json").read_text())["left_out"]
    assert [row[0] for row in listed] == [3, 77, 150] and all(len(row[2]) > 20 for row in listed)
    clean = run(files, tmp_path / "clean").read().table.to_pandas().set_index("id")
    left = made.read().table.to_pandas().set_index("id")
    assert np.allclose(clean.loc[left.index, "score"], left["score"], atol=1e-6)


def test_a_shard_of_which_no_row_can_be_used_stops_the_run(files: tuple[Path, Path], tmp_path: Path) -> None:
    frame = pd.read_csv(files[1])
    frame["approved"] = "maybe"
    frame.to_csv(tmp_path / "bad.csv", index=False)
    with pytest.raises(DataError, match=r"none of the rows 0 to 39 can be used"):
        run((files[0], tmp_path / "bad.csv"), tmp_path / "out", Work(shard_rows=40, on_bad_row="skip"))


def test_bad_rows_are_found_by_halving(monkeypatch: pytest.MonkeyPatch) -> None:
    bad, asked = {5, 6, 64}, []

    def check(begin: int, end: int) -> None:
        asked.append((begin, end))
        if bad & set(range(begin, end)):
            raise DataError(f"one of {begin} to {end}")

    assert [place for place, _, _ in unusable(check, 0, 100, str)] == [5, 6, 64]
    assert len(asked) < 45


def test_two_workers_write_the_bytes_of_one(files: tuple[Path, Path], tmp_path: Path) -> None:
    one = run(files, tmp_path / "one")
    two = run(files, tmp_path / "two", Work(shard_rows=40, threads=1, workers=2))
    assert two.path.read_bytes() == one.path.read_bytes() and two.plan == one.plan
    assert json.loads((tmp_path / "two" / "timings.json").read_text())["workers"] == 2


def command(files: tuple[Path, Path], out: Path, *more: str) -> list[str]:
    flags = ["--label", "approved", "--threads", "1", "--shard-rows", "40", "--quiet", *more]
    return [
        "evidence",
        str(files[0]),
        str(files[1]),
        "--group",
        "race",
        "--group",
        "sex",
        "--out",
        str(out),
        *flags,
    ]


def test_processes_that_torchrun_started_write_the_bytes_of_one(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    one = run(files, tmp_path / "one")
    launched = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    launched += ["-m", "clinometer.cli", *command(files, tmp_path / "two", "--engine", "torchrun")]
    done = subprocess.run(launched, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("saved:") == 1, "one of the processes reports"
    assert (tmp_path / "two" / "evidence.parquet").read_bytes() == one.path.read_bytes()
    assert json.loads((tmp_path / "two" / "timings.json").read_text())["workers"] == 2


def test_a_process_that_was_killed_by_the_system_goes_on(files: tuple[Path, Path], tmp_path: Path) -> None:
    one = run(files, tmp_path / "one", Work(shard_rows=4, threads=1))
    out = tmp_path / "out"
    flags = command(files, out)
    flags[flags.index("--shard-rows") + 1] = "4"
    process = subprocess.Popen([sys.executable, "-m", "clinometer.cli", *flags], cwd=tmp_path)
    third = out / "unfinished" / "run" / "shards" / "000002.json"
    while not third.exists() and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert main(flags) == 0
    assert (out / "evidence.parquet").read_bytes() == one.path.read_bytes()


def test_workers_end_with_a_process_that_was_killed(files: tuple[Path, Path], tmp_path: Path) -> None:
    psutil = pytest.importorskip("psutil")
    out = tmp_path / "out"
    flags = command(files, out, "--workers", "2")
    flags[flags.index("--shard-rows") + 1] = "4"
    process = subprocess.Popen([sys.executable, "-m", "clinometer.cli", *flags], cwd=tmp_path)
    first = out / "unfinished" / "run" / "shards" / "000000.json"
    while not first.exists() and process.poll() is None:
        time.sleep(0.002)
    workers = psutil.Process(process.pid).children(recursive=True)
    assert len(workers) >= 2, "the control: two workers and what watches over them"
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = psutil.wait_procs(workers, timeout=60)[1]
    assert not left, f"processes that outlived the one that started them: {left}"
    assert main(flags) == 0, "and the same command goes on"


def test_the_command_says_what_it_did(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = spoiled(files, tmp_path)
    told = [
        name
        for name in command((files[0], data), tmp_path / "out", "--on-bad-row", "skip")
        if name != "--quiet"
    ]
    assert main(told) == 0
    printed = capsys.readouterr().out
    assert "left out: 3 rows, listed in" in printed and "3 (" in printed
    assert "197 rows, SHA-256" in printed and "next:   clinometer audit" in printed
    assert main([*command(files, tmp_path / "json"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["n"] == 200 and said["left_out"] == [] and len(said["sha256"]) == 64


@pytest.mark.parametrize(
    ("more", "code", "match"),
    [
        (["--engine", "torchrum"], 2, "there is no engine 'torchrum'.*torchrun"),
        (["--engine", "torchrun"], 2, "works in processes that torchrun has started"),
        (["--on-bad-row", "skipp"], 2, "on_bad_row is 'skipp'.*skip"),
        (["--group", "rase"], 2, "no column 'rase'.*race"),
        (["--label", "aproved"], 2, "no column 'aproved'.*approved"),
    ],
)
def test_wrong_flags_are_named(
    files: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    code: int,
    match: str,
) -> None:
    assert main([*command(files, tmp_path / "out"), *more]) == code
    assert re.search(match, " ".join(capsys.readouterr().err.split()))


def test_a_folder_of_anything_else_is_left_alone(files: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"something other than evidence \(thesis.txt\)"):
        run(files, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_model_in_memory_is_scored_here_and_by_one_worker(files: tuple[Path, Path], tmp_path: Path) -> None:
    subject = load(files[0])
    made = run((subject, files[1]), tmp_path / "out")  # type: ignore[arg-type]
    assert made.path.read_bytes() == run(files, tmp_path / "folder").path.read_bytes()
    with pytest.raises(UsageError, match="scored by one worker"):
        run((subject, files[1]), tmp_path / "two", Work(workers=2, shard_rows=40))  # type: ignore[arg-type]


def test_a_model_spread_over_devices_is_scored_as_in_one_piece(tmp_path: Path) -> None:
    from reference.model_folders import text_folder

    pytest.importorskip(
        "accelerate", reason="accelerate is not installed (pip install 'clinometer[devices]')"
    )
    model = text_folder(tmp_path / "model", "BertForSequenceClassification")
    pd.DataFrame({"text": ["a film", "the plot", "a good cast"], "g": ["x", "y", "x"]}).to_csv(
        tmp_path / "rows.csv"
    )
    told = [
        "evidence",
        str(model),
        str(tmp_path / "rows.csv"),
        "--group",
        "g",
        "--threads",
        "1",
        "--quiet",
        "--out",
    ]
    assert main([*told, str(tmp_path / "one")]) == 0
    assert main([*told, str(tmp_path / "spread"), "--device-map", "auto"]) == 0
    one, spread = (pd.read_parquet(tmp_path / name / "evidence.parquet") for name in ("one", "spread"))
    assert np.allclose(one["score"], spread["score"], atol=1e-6) and one["score"].nunique() == 3
    assert "device_map" in (tmp_path / "spread" / "run.json").read_text(encoding="utf-8")
    assert main([*told, str(tmp_path / "both"), "--device-map", "auto", "--device", "auto"]) == 3


def test_other_weights_are_another_plan(files: tuple[Path, Path], tmp_path: Path) -> None:
    import torch

    from clinometer.shard_runs import identity

    subject = load(files[0])
    bare = subject.__class__(
        **{name: getattr(subject, name) for name in subject.__dataclass_fields__} | {"provenance": {}}
    )
    before = identity(bare)
    with torch.no_grad():
        next(bare.module.parameters()).view(-1)[0] += 1e-3
    assert identity(bare) != before and "state_sha256" in before["provenance"]


def test_memory_that_runs_out_halves_the_batch_and_goes_on(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses

    import torch

    from clinometer.shard_work import score_rows

    subject = load(files[0])
    rows = read_rows(files[1], columns=subject.columns, groups=GROUPS)
    sizes: list[int] = []

    def forward(batch: dict[str, torch.Tensor], embedded: torch.Tensor | None) -> torch.Tensor:
        n = len(next(iter(batch.values())))
        sizes.append(n)
        if n > 10:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return subject.forward(batch, embedded)

    small = dataclasses.replace(subject, forward=forward)
    assert np.allclose(score_rows(small, rows, 64), score(subject, rows), atol=1e-6)
    assert max(sizes) == 64 and 8 in sizes


def test_a_review_says_which_rows_it_left_out_and_what_became_of_an_unfinished_one(
    files: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import clinometer.shards as shards

    data, out = spoiled(files, tmp_path), tmp_path / "review"
    said = ["review", str(files[0]), str(data), "--label", "approved", "--group", "race", "--out", str(out)]
    said += ["--threads", "1", "--on-bad-row", "skip", "--shard-rows"]
    put, done = shards.Shards.put, []

    def stopped(self: shards.Shards, *given: object) -> None:
        put(self, *given)  # type: ignore[arg-type]
        done.append(given[0])
        if len(done) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(shards.Shards, "put", stopped)
        assert main([*said, "40"]) == 130
    assert "2 of 5 shards are done and kept in" in capsys.readouterr().err
    assert main([*said, "100"]) == 0
    printed = capsys.readouterr()
    assert "note: the unfinished run that was there differs in shard_rows; it is begun anew" in printed.err
    assert f"left out: 3 rows, listed in {out / 'review.json'}: " in printed.out
    made = json.loads((out / "review.json").read_text())
    assert [row[0] for row in made["data"]["left_out"]] == [3, 77, 150] and made["data"]["rows"] == 197
    assert any("3 of 200 rows could not be used" in limit for limit in made["limits"])
    assert not out.with_name("review.unfinished").exists()
