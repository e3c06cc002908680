"""Whether a review's files, model and rows are still those it was made of: every hash computed again."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import DataError, InputError, UsageError, first
from .records import Review
from .review import read_rows, rows_hash
from .saved_reviews import page_of, read_review
from .signature import Check, Outcome, check_files, seal
from .whole_files import file_hash

FAILED: tuple[Outcome, ...] = ("differs", "not there")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What of a review was compared with its record, and what came out."""

    folder: str
    seal: str | None  # SHA-256 of the list of hashes: what a reviewer notes elsewhere
    checks: tuple[Check, ...]
    unchecked: tuple[str, ...] = ()  # "model", "adapter", "data": given, and not compared

    @property
    def holds(self) -> bool:
        """Nothing differs and nothing is missing, of all that was compared."""
        return not any(check.outcome in FAILED for check in self.checks)

    @property
    def exit_code(self) -> int:
        """0 where it holds and all that was given was compared, 3 otherwise."""
        return 0 if self.holds and not self.unchecked else InputError.exit_code


def verify(
    folder: str | Path,
    model: str | Path | None = None,
    data: str | Path | None = None,
    *,
    adapter: str | Path | None = None,
) -> Verification:
    """A review's files against the hashes saved with it; its model's files and its rows, where they are given.

    Args:
        folder: the folder of a saved review.
        model: the folder of the model that was reviewed.
        data: the file of the rows that it was reviewed on.
        adapter: the folder of the adapter that was merged into the model; unless given, the folder of the name that the
            review has, in the model's folder or beside it.

    Raises:
        DataError: the review cannot be read, or the list of hashes is damaged.
        UsageError: an adapter is given without its model.
    """
    if adapter is not None and model is None:
        raise UsageError(
            "an adapter is compared with its model: name the model's folder, too (REVIEW MODEL)."
        )
    path = Path(folder)
    if not path.is_dir():
        raise DataError(f"{path} is not a folder. Name the folder that `clinometer review` wrote.")
    checks = list(check_files(path))
    damaged = {check.name for check in checks if check.outcome in FAILED}
    try:
        made = read_review(path)
        page_of(path, made)
    except DataError:
        if not damaged & {"review.json", "evidence.parquet", "report.html"}:
            raise
        made = None  # the hash has said so already: what else it holds is not to be trusted
    for what, given in (("model", model), ("data", data)):
        if given is None or made is None:
            note = f"no {what} was given" if given is None else "the review itself cannot be read"
            checks.append(_check(what, what, None, None, note))
        elif what == "model":
            checks += _model(made.model, Path(given), None if adapter is None else Path(adapter))
        else:
            checks += _data(made, Path(given))
    given_ones = {"model": model, "adapter": adapter, "data": data}
    unchecked = tuple(
        what for what, one in given_ones.items() if one is not None and not _any_of(checks, what)
    )
    return Verification(folder=str(path), seal=seal(path), checks=tuple(checks), unchecked=unchecked)


def _any_of(checks: Iterable[Check], given: str) -> bool:
    """Whether anything of the model, the adapter or the data was compared."""
    what, is_adapter = ("model", True) if given == "adapter" else (given, False)
    of_it = [one for one in checks if one.what == what and (one.name == "adapter") == is_adapter]
    return any(one.outcome != "not checked" for one in of_it)


def _check(what: str, name: str, recorded: Any, found: str | None, note: str = "") -> Check:
    outcome: Outcome = "not checked"
    if recorded is not None:
        outcome = "not there" if found is None else "matches" if found == recorded else "differs"
    told = None if recorded is None else str(recorded)
    return Check(what=what, name=name, outcome=outcome, recorded=told, found=found, note=note)


def _model(recorded: Mapping[str, Any], folder: Path, adapter: Path | None) -> Iterator[Check]:
    """Weights, settings, tokenizer or processor of a model's folder, and the adapter merged into it."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder. Name the folder of the model that was reviewed.")
    from .interpret.hugging_face import ADAPTER_FILES, PROCESSOR_FILES, TOKENIZER_FILES
    from .interpret.low_rank_folders import SETTINGS

    settings = "clinometer.json" if recorded.get("kind") == "clinometer" else "config.json"
    parts: dict[str, tuple[str, ...]] = {
        "weights": ("*.safetensors",),
        "settings": (settings,),
        "low_rank": (SETTINGS,),
        "tokenizer": TOKENIZER_FILES,
        "processor": (*PROCESSOR_FILES, *TOKENIZER_FILES),
    }
    known = [part for part in parts if recorded.get(f"{part}_sha256") is not None]
    for part in known:
        yield _part(part, recorded, folder, parts[part])
    if not known:
        note = "the model was not checked: the review has no hash of it, as it was made of a model in memory"
        yield _check("model", "model", None, None, note)
    merged = recorded.get("adapter_sha256") is not None
    if merged:
        place = adapter or _adapter_of(recorded, folder)
        if place is not None and not place.is_dir():
            raise DataError(f"{place} is not a folder. Name the folder of the adapter.")
        if place is not None:
            yield _part("adapter", recorded, place, ADAPTER_FILES)
        else:
            named = recorded.get("adapter")
            where = "an adapter whose folder it does not name" if named is None else f"the adapter {named!r}"
            note = f"the review is of {where}, which is neither in nor beside {folder}: name its folder (--adapter)"
            yield _check("model", "adapter", recorded["adapter_sha256"], None, note)
    elif adapter is not None:
        note = "the adapter was not checked: the review is of a model without one, or does not say"
        yield _check("model", "adapter", None, None, note)


def _part(part: str, recorded: Mapping[str, Any], folder: Path, patterns: tuple[str, ...]) -> Check:
    from .interpret.weights import digest

    files = sorted({file for pattern in patterns for file in folder.glob(pattern) if file.is_file()})
    named = first(file.name for file in files) if files else f"none of {', '.join(patterns)}"
    if part == "adapter":
        named = f"{named} of {folder}"
    return _check("model", part, recorded[f"{part}_sha256"], digest(files) if files else None, named)


def _adapter_of(recorded: Mapping[str, Any], model: Path) -> Path | None:
    """The folder of the adapter's name in the model's folder, or beside it."""
    named = recorded.get("adapter")
    if not isinstance(named, str) or named in ("", ".", "..") or Path(named).name != named:
        return None
    places = (model / named, model.absolute().parent / named)
    return next((place for place in places if place.is_dir()), None)


def _data(made: Review, file: Path) -> Iterator[Check]:
    """The file, its rows, and where rows differ: which."""
    if not file.is_file():
        raise DataError(f"{file} is not a file. Name the CSV or Parquet file of the rows that were reviewed.")
    told = made.data.get("file_sha256")
    columns = made.data.get("columns")
    if told is None and not isinstance(columns, Mapping):
        note = "the data were not checked: the review does not say which file they were in"
        yield _check("data", "data", None, None, note)
        return
    whole = _check("data", "file", told, file_hash(file), file.name)
    if not isinstance(columns, Mapping):
        yield whole
        note = "the review does not say which columns were read: its file was compared as a whole"
        yield _check("data", "rows", None, None, note)
        return
    rows = _rows(made.data, columns, file)
    yield _check("data", "rows", made.data.get("rows_sha256"), rows_hash(rows), f"{len(rows)} rows")
    # The same rows in another file (CSV written again, or as Parquet) are the same data.
    same = rows_hash(rows) == made.data.get("rows_sha256")
    if whole.outcome == "differs" and same:
        yield Check(
            what="data",
            name="file",
            outcome="not checked",
            recorded=whole.recorded,
            found=whole.found,
            note="another file with the same rows",
        )
    else:
        yield whole
    if not same and made.evidence is not None:
        yield from _changed_rows(made.evidence, rows, columns)


def _rows(recorded: Mapping[str, Any], columns: Mapping[str, Any], file: Path) -> Any:
    """The rows as the review read them; those that it left out are left out."""
    import numpy as np

    named = str(columns.get("id"))
    rows = read_rows(
        file,
        columns=tuple(columns["inputs"]),
        groups=tuple(columns["groups"]),
        label=columns["label"],
        id=named if named != "id" and named in _header(file) else None,
        optional=tuple(columns["optional"]),
    )
    left_out = {int(place) for place, *_ in recorded.get("left_out", ())}
    if not left_out:
        return rows
    return rows.take(np.array([i for i in range(len(rows)) if i not in left_out]))


def _header(file: Path) -> list[str]:
    from .evidence_files import read

    return list(read(file).table.column_names)


def _changed_rows(evidence: Any, rows: Any, columns: Mapping[str, Any]) -> Iterator[Check]:
    """Rows whose label or group is another than in the evidence; rows that are gone, or new."""
    was = dict(zip(evidence.ids, range(len(evidence)), strict=True))
    now = dict(zip(rows.ids, range(len(rows)), strict=True))
    yield from _named("gone", [id for id in was if id not in now])
    yield from _named("new", [id for id in now if id not in was])
    both = [id for id in now if id in was]
    for name in columns["groups"]:
        if name in evidence.groups:
            before = evidence.group(name)
            after = rows.groups[name]
            yield from _named(f"another {name}", [id for id in both if before[was[id]] != after[now[id]]])
    if columns["label"] is not None and evidence.label is not None and rows.labels is not None:
        labels = evidence.binary(evidence.label)
        yield from _named(
            "another label", [id for id in both if bool(labels[was[id]]) != bool(rows.labels[now[id]])]
        )


def _named(how: str, ids: Iterable[str]) -> Iterator[Check]:
    found = list(ids)
    if found:
        yield Check(
            what="data",
            name=f"rows: {how}",
            outcome="differs",
            recorded=None,
            found=None,
            note=f"{len(found)}: {first(found)}",
        )


def as_json(made: Verification) -> str:
    """The verification as JSON."""
    from .records import plain

    held = {**plain(made), "holds": made.holds, "exit_code": made.exit_code}
    return json.dumps(held, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
