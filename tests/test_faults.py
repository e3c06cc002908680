"""A full disk, a folder that cannot be written, a rename that fails: the old is intact, nothing is half there."""

import dataclasses
import errno
import os
import resource
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from clinometer import evidence_files, output, pdf_files
from clinometer.bias.mitigation import read_mitigation
from clinometer.bias.threshold_rules import common_threshold
from clinometer.errors import DataError, ModelError, OutputError
from clinometer.evidence import Evidence, from_columns
from clinometer.interpret import edits
from clinometer.interpret.capture import attention_gradient
from clinometer.interpret.folders import load as load_ours
from clinometer.interpret.models import load
from clinometer.interpret.trace import Trace
from clinometer.interpret.trace_files import read_trace, save_trace
from clinometer.records import Review
from clinometer.review import save_review
from clinometer.saved_reviews import read_review
from clinometer.visualizers import page, picture_folder, plates
from reference.attention import HandMade
from reference.reviews import sample_review
from reference.subjects import applicants, fitted

FULL = 150  # bytes of a file, after which the disk is full


# What is written: the second of two versions of it, over the first


@cache
def evidence(version: int) -> Evidence:
    n = 300 + version
    columns = {
        "id": [f"r{i}" for i in range(n)],
        "p": [i % 2 for i in range(n)],
        "g": ["ab"[i % 3 % 2] for i in range(n)],
    }
    return from_columns(columns, id="id", prediction="p", groups=("g",))


@cache
def trace(version: int) -> Trace:
    import torch

    torch.manual_seed(version)
    model = HandMade().double().eval()
    x, padding = torch.randn(2, 6, 8, dtype=torch.float64), torch.zeros(2, 6, dtype=torch.bool)
    return attention_gradient(lambda: model(x, padding), model)


@cache
def subject(version: int) -> Any:
    return fitted(applicants(30, seed=version), epochs=0, seed=version)


@cache
def review(version: int) -> Review:
    made = sample_review(rows=60, layers=1, heads=1, seed=version)
    return dataclasses.replace(made, evidence=evidence(version))


@cache
def figures() -> Any:
    """A record whose pictures are a folder."""
    made = sample_review(rows=60, layers=1, heads=1)
    return made.ledgers[0]


WRITERS: Mapping[str, Callable[[Path, int], Any]] = {
    "evidence": lambda target, version: evidence_files.write(evidence(version), target),
    "review": lambda target, version: save_review(review(version), target),
    "trace": lambda target, version: save_trace(trace(version), target, force=True),
    "model": lambda target, version: edits.save(subject(version), target),
    "mitigation": lambda target, version: common_threshold(0.5 + version / 10).save(target),
    "card, JSON, JUnit": lambda target, version: output.write(target, f"version {version}\n" * 100),
    "PDF": lambda target, version: pdf_files.save_pdf(f"version {version}", target, by="weasyprint"),
    "figures": lambda target, version: picture_folder.save([figures()], target, "figures"),
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are one line, figures are not drawn, and a PDF is printed by nobody."""
    monkeypatch.setattr(
        page, "render", lambda made, *_, **__: f"<html>{page.report_id(made)}</html>" + " " * 300
    )
    monkeypatch.setattr(plates, "draw", lambda *_, **__: None)
    monkeypatch.setattr(plates, "save_figures", lambda *_, **__: ())
    pdf = b"%PDF-1.7\n" + b"x" * 300 + b"\n%%EOF\n"
    monkeypatch.setattr(pdf_files, "_by_weasyprint", lambda text, made: made.write_bytes(pdf + text.encode()))


@pytest.fixture(params=WRITERS)
def writer(request: pytest.FixtureRequest) -> Callable[[Path, int], Any]:
    return WRITERS[request.param]


@pytest.fixture
def old(writer: Callable[[Path, int], Any], tmp_path: Path) -> Path:
    """The first version, where it is to be replaced; figures are written to a new place."""
    target = tmp_path / "place" / "target"
    target.parent.mkdir()
    if writer is not WRITERS["figures"]:
        writer(target, 0)
    return target


def there(place: Path) -> dict[str, bytes | None]:
    """Everything under a folder, hidden files too."""
    return {
        path.relative_to(place).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(place.rglob("*"))
    }


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond some bytes, whoever writes it: Python, Arrow in C++, safetensors in Rust."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FULL, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def no_place() -> Iterator[None]:
    """A folder in which nothing can be made. Whoever is root may write anywhere, so the calls refuse."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with pytest.MonkeyPatch.context() as patch:
        for name in ("mkstemp", "mkdtemp"):
            patch.setattr(tempfile, name, refuse)
        yield


@contextmanager
def renames(fault: BaseException) -> Iterator[None]:
    """The rename to the target fails, or is stopped, after all else was done; renames elsewhere are done."""
    real = {name: getattr(Path, name) for name in ("rename", "replace")}

    def failing(name: str) -> Callable[..., Any]:
        def call(self: Path, target: Any) -> Any:
            if Path(target).name == "target" and Path(self).name != "before":
                raise fault
            return real[name](self, target)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in real:
            patch.setattr(Path, name, failing(name))
        yield


FAULTS: Mapping[str, tuple[Callable[[], Any], type[BaseException]]] = {
    "the disk is full": (full_disk, OutputError),
    "the folder cannot be written": (no_place, OutputError),
    "the rename fails": (lambda: renames(OSError(errno.EIO, os.strerror(errno.EIO))), OutputError),
    "the rename is stopped": (lambda: renames(KeyboardInterrupt()), KeyboardInterrupt),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_old_is_intact_and_nothing_is_half_there(
    fault: str, writer: Callable[[Path, int], Any], old: Path
) -> None:
    broken, raised = FAULTS[fault]
    writer(old.parent.parent / "warm", 1)  # what is computed once is computed here
    before = there(old.parent)
    with pytest.raises(raised) as refused, broken():
        writer(old, 1)
    if raised is OutputError:
        assert str(old) in str(refused.value) and "cannot be written" in str(refused.value)
    assert there(old.parent) == before
    writer(old, 1)  # control: without the fault it is written
    assert there(old.parent) != before
    assert [path.name for path in old.parent.iterdir()] == ["target"]


def test_a_model_can_be_loaded_after_its_replacement_failed(tmp_path: Path) -> None:
    edits.save(subject(0), tmp_path / "target")
    with pytest.raises(OutputError), full_disk():
        edits.save(subject(1), tmp_path / "target")
    assert load(tmp_path / "target").labels == subject(0).labels


# Files cut short


READERS: Mapping[str, tuple[str, str, Callable[[Path], Any]]] = {
    "evidence": ("evidence", "", lambda folder: evidence_files.read(folder.with_name("target.parquet"))),
    "review": ("review", "review.json", read_review),
    "evidence of a review": ("review", "evidence.parquet", read_review),
    "trace": ("trace", "trace.json", read_trace),
    "tensors of a trace": ("trace", "000.safetensors", read_trace),
    "model": ("model", "clinometer.json", load_ours),
    "weights": ("model", "model.safetensors", load_ours),
    "edits": ("model", "edits.json", load),
    "mitigation": ("mitigation", "", read_mitigation),
}


@pytest.mark.parametrize("name", READERS)
def test_a_file_cut_short_is_refused(name: str, tmp_path: Path) -> None:
    kind, inside, read = READERS[name]
    target = tmp_path / "target"
    if name == "evidence":
        WRITERS[kind](tmp_path / "target.parquet", 0)
        file = tmp_path / "target.parquet"
    else:
        WRITERS[kind](target, 0)
        file = target / inside if inside else target
    whole = file.read_bytes()
    read(target)  # control
    for eighths in range(8):
        file.write_bytes(whole[: len(whole) * eighths // 8])
        with pytest.raises((DataError, ModelError), match=r"target"):
            read(target)
    file.write_bytes(whole)
    read(target)


# A clock that is wrong


@pytest.mark.parametrize("created", ["2199-01-01T00:00:00+00:00", "1970-01-01T00:00:00+00:00"])
def test_a_clock_that_is_wrong_changes_no_number(created: str, tmp_path: Path) -> None:
    save_review(dataclasses.replace(review(0), created=created), tmp_path / "target")
    for file in (tmp_path / "target").iterdir():
        os.utime(file, (2**33, 2**33))  # in the year 2242
    made = read_review(tmp_path / "target")
    assert made.created == created and made.audit == review(0).audit
