"""One run at a time works in a folder: a second one is refused by name, and a killed one holds nothing."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import clinometer.held_folders as held_folders
from clinometer.cli import main
from clinometer.errors import OutputError
from clinometer.held_folders import NAME, held
from clinometer.shard_runs import Work
from clinometer.sharded_evidence import evidence
from reference.sharding import GROUPS, planted

fcntl = pytest.importorskip("fcntl", reason="Windows has no such locks: there it is said")
HOLDS = """
import sys
from pathlib import Path
from clinometer.held_folders import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds the folder until it is told to end."""
    command = [sys.executable, "-c", HOLDS, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None and running.stdout.readline() == b"held\n"
        try:
            yield running
        finally:
            if running.poll() is None:
                running.communicate()


def test_a_second_process_is_told_the_folder_the_process_and_the_way_out(tmp_path: Path) -> None:
    folder = tmp_path / "review.unfinished"
    with another_process(folder) as running:
        said = rf"review\.unfinished is in use by another run \(process {running.pid}\)\. Wait .* or name another folder"
        with pytest.raises(OutputError, match=said) as refused, held(folder):
            pass
        assert refused.value.exit_code == 3
        assert [path.name for path in folder.iterdir()] == [NAME], "who is refused removes nothing"
    with held(folder):  # control: it has ended
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with another_process(folder) as running:
        running.send_signal(signal.SIGKILL)
        running.wait()
        assert f"process {running.pid} on" in (folder / NAME).read_text("utf-8"), "its file is left"
        with held(folder):
            assert f"process {os.getpid()} on" in (folder / NAME).read_text("utf-8")
    assert list(tmp_path.iterdir()) == []


def test_two_runs_of_one_process_are_two(tmp_path: Path) -> None:
    with held(tmp_path / "run"):
        with pytest.raises(OutputError, match=rf"\(process {os.getpid()}\)"), held(tmp_path / "run"):
            pass
        with held(tmp_path / "other"):  # control: another folder is another
            pass
        with pytest.raises(OutputError, match="in use"), held(tmp_path / "run"):
            pass  # the refused one did not let it go


def test_what_is_in_the_folder_stays_and_folders_that_were_made_go(tmp_path: Path) -> None:
    with held(tmp_path / "a" / "b"):
        pass
    assert list(tmp_path.iterdir()) == []
    with held(tmp_path / "a" / "b") as hold:
        (hold.folder / "kept").write_text("x")
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["kept"]
    with held(tmp_path / "a" / "b") as hold:
        (hold.folder / "folder").mkdir()
        hold.clear()
        assert [path.name for path in hold.folder.iterdir()] == [NAME], "it is held until the end"
    assert [path.name for path in tmp_path.iterdir()] == ["a"], "what was there before is not ours to remove"


def test_an_error_within_lets_the_folder_go(tmp_path: Path) -> None:
    def stopped() -> None:
        with held(tmp_path / "run") as hold:
            (hold.folder / "shard").write_text("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["shard"]


def test_without_locks_it_is_said_and_no_file_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)  # as on Windows
    with held(tmp_path / "run") as hold:
        assert "this system has no file locks" in hold.told and "would go unnoticed" in hold.told
        assert list(hold.folder.iterdir()) == []
        with held(tmp_path / "run"):  # and so it does
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with held(tmp_path / "run") as hold:
        assert "no file can be locked there (No locks available)" in hold.told
        assert list(hold.folder.iterdir()) == []


def test_a_file_that_its_owner_removed_just_now_is_not_taken_for_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, locked = fcntl.flock, []

    def flock(handle: int, how: int) -> None:
        if not locked:  # the run that had it ends between opening and locking
            (tmp_path / "run" / NAME).unlink()
        locked.append(handle)
        real(handle, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with held(tmp_path / "run"):
        assert len(locked) == 2
        with pytest.raises(OutputError, match="in use"), held(tmp_path / "run"):
            pass


def test_a_folder_that_is_removed_over_and_over_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fcntl.flock

    def flock(handle: int, how: int) -> None:
        (tmp_path / "run" / NAME).unlink()
        real(handle, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OutputError, match="made and removed by other runs"), held(tmp_path / "run"):
        pass


@pytest.mark.parametrize("left", [b"", b"process x", b"\xff\xfe", b"process 12 on \x1b[2J\n", b"x" * 10_000])
def test_a_file_that_names_nobody_is_no_harm(tmp_path: Path, left: bytes) -> None:
    with held(tmp_path / "run"):
        (tmp_path / "run" / NAME).write_bytes(left)
        with pytest.raises(OutputError, match=r"in use by another run\. Wait"), held(tmp_path / "run"):
            pass


def test_a_process_of_another_machine_is_named_with_it(tmp_path: Path) -> None:
    with held(tmp_path / "run"):
        (tmp_path / "run" / NAME).write_text("process 12 on node-7.cluster\n")
        with pytest.raises(OutputError, match=r"\(process 12 on node-7\.cluster\)"), held(tmp_path / "run"):
            pass


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / NAME).symlink_to(tmp_path / "precious")
    with pytest.raises(OutputError, match=r"run cannot be written"), held(tmp_path / "run"):
        pass
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match=r"file.run cannot be written"), held(tmp_path / "file" / "run"):
        pass


# Runs


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return planted(tmp_path_factory.mktemp("planted"), 80)


def test_a_second_review_into_one_folder_is_refused(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "review"
    line = [
        "review",
        str(files[0]),
        str(files[1]),
        "--label",
        "approved",
        "--group",
        "race",
        "--out",
        str(out),
    ]
    with another_process(tmp_path / "review.unfinished") as running:
        assert main(line) == 3
        said = " ".join(capsys.readouterr().err.split())
        assert f"review.unfinished is in use by another run (process {running.pid})" in said
        assert "name another folder (--out)" in said
    assert list(tmp_path.iterdir()) == []


def test_a_second_run_of_evidence_is_refused_and_touches_nothing_of_the_first(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    out, work = tmp_path / "out", Work(shard_rows=40, threads=1)

    def run() -> Any:
        return evidence(files[0], files[1], groups=GROUPS, label="approved", out=out, work=work)

    with held(out / "unfinished"):
        (out / ".evidence.parquet-x").write_text("what the first is writing")
        with pytest.raises(
            OutputError, match=rf"unfinished is in use by another run \(process {os.getpid()}\)"
        ):
            run()
        assert (out / ".evidence.parquet-x").exists()
    assert run().n == 80  # control, and the lock leaves nothing
    assert sorted(path.name for path in out.iterdir()) == ["evidence.parquet", "run.json", "timings.json"]


def test_a_review_that_ended_in_between_is_not_replaced(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import clinometer.reviewed_files as reviewed_files
    import clinometer.shard_runs as shard_runs

    out = tmp_path / "review"

    @contextmanager
    def later(folder: Path) -> Iterator[held_folders.Held]:
        out.mkdir()
        (out / "review.json").write_text("the first")
        with held(folder) as hold:
            yield hold

    monkeypatch.setattr(shard_runs, "held", later)
    with pytest.raises(OutputError, match="exists and is not empty"):
        reviewed_files.review_files(
            *files, policy=None, label="approved", groups=("race",), out=out, quiet=True
        )
    assert (out / "review.json").read_text() == "the first"


def test_where_nothing_is_locked_the_commands_say_so(
    files: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    out = tmp_path / "out"
    made = evidence(
        *files, groups=GROUPS, label="approved", out=out, work=Work(shard_rows=40, threads=1), progress=True
    )
    assert made is not None and made.n == 80
    assert "note: this system has no file locks" in capsys.readouterr().err
