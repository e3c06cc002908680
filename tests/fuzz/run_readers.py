"""Readers of what a run keeps on disk to go on from, and of factorised models: damaged, or forged.

What is damaged is refused, or found out and made again; a case that is made again counts as rejected. What is accepted
has to be what was written, unless the case was forged, with new checksums: who may write the folder may write those, too.
"""

import functools
import hashlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

from fuzz.mutations import as_json, bytes_changed, odd_column, tree_changed
from fuzz.reading import Files, Reader, parsed_json, text_file, written

from clinometer.errors import DataError

FORGED = "forged"  # beside the files of a case whose checksums were computed again


def _sealed(tree: Any) -> Any:
    """A note with its own checksum, as somebody would write who wants it to be read."""
    from clinometer.sealed_notes import SEAL

    if not isinstance(tree, dict):
        return tree
    rest = {name: value for name, value in tree.items() if name != SEAL}
    return {**rest, SEAL: hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()}


def _forged(draw: Random, files: Files, note: str) -> Files:
    """The note with other values and a checksum of them."""
    return {**files, note: as_json(_sealed(tree_changed(draw, parsed_json(files[note])))), FORGED: b""}


def _table_forged(draw: Random, files: Files, table: str, note: str, key: str) -> Files:
    """The table with other columns or rows, and a note that says its checksum."""
    import pyarrow.parquet as pa_parquet

    held = pa_parquet.read_table(io.BytesIO(files[table]))
    for _ in range(draw.randint(1, 2)):
        kind, at = draw.randrange(5), draw.randrange(held.num_columns)
        if kind == 0:
            held = held.set_column(at, held.column_names[at], odd_column(draw, held.num_rows))
        elif kind == 1 and held.num_columns > 1:
            held = held.remove_column(at)
        elif kind == 2:
            name = draw.choice((held.column_names[at], "", "\x00", "x"))
            held = held.append_column(name, odd_column(draw, held.num_rows))
        elif kind == 3:
            held = held.slice(0, draw.choice((0, 1, 2)))
        else:
            held = held.select([*range(at, held.num_columns), *range(at)])
    made = io.BytesIO()
    pa_parquet.write_table(held, made, row_group_size=draw.choice((1, 3, 1000)))
    raw = made.getvalue() if draw.random() < 0.7 else bytes_changed(draw, made.getvalue())
    said = {**parsed_json(files[note]), key: hashlib.sha256(raw).hexdigest()}
    return {**files, table: raw, note: as_json(_sealed(said)), FORGED: b""}


def _kept_changed(table: str, note: str, key: str) -> Callable[[Random, Files], Files]:
    """Cases of a table and a note that says its checksum under `key`."""

    def changed(draw: Random, files: Files) -> Files:
        how = draw.random()
        if how < 0.45:
            return text_file(note, parsed_json, as_json)(draw, files)
        if how < 0.55:
            return {**files, table: bytes_changed(draw, files[table])}
        if how < 0.6:
            return {name: raw for name, raw in files.items() if name != draw.choice((table, note))}
        if how < 0.8:
            return _forged(draw, files, note)
        return _table_forged(draw, files, table, note, key)

    return changed


def _must_be(same: bool, folder: Path, what: str) -> None:
    if not same and not (folder / FORGED).exists():
        raise AssertionError(f"{what} is another than was written, and nothing was said")


# Plans and shards


def _plan() -> Any:
    from clinometer.shards import Plan

    settings = {"kind": "explanations", "threads": 1, "model": {"name": "m", "labels": ["no", "yes"]}}
    return Plan(n_rows=12, shard_rows=6, settings=settings)


@functools.cache
def _products() -> Sequence[Any]:
    from clinometer.explanations import explained
    from reference.subjects import applicants, fitted

    rows, plan = applicants(12), _plan()
    subject = fitted(rows, epochs=0)
    return [explained(subject, rows.take(range(*plan.bounds(index)))) for index in range(plan.n_shards)]


def _shards() -> Files:
    from clinometer.shards import Shards

    def save(folder: Path) -> None:
        shards, _ = Shards.opened(folder / "run", _plan())
        for index, product in enumerate(_products()):
            shards.put(index, product, seconds=0.25)

    return written(save)


def _plan_changed(draw: Random, files: Files) -> Files:
    if draw.random() < 0.05:  # what a run that was killed was writing, and nobody reads
        return {**files, "run/.plan.json-x": bytes_changed(draw, files["run/plan.json"])}
    return text_file("run/plan.json", parsed_json, as_json)(draw, files)


def _read_plan(folder: Path) -> Any:
    from clinometer.shards import Shards

    shards, told = Shards.opened(folder / "run", _plan())
    begun = shards.missing() == tuple(range(shards.plan.n_shards))
    if shards.missing() != () and not (told and begun):
        raise AssertionError(f"shards {shards.missing()} are missing, and it said {told!r}")
    if json.loads((folder / "run" / "plan.json").read_text("utf-8"))["settings"] != shards.plan.settings:
        raise AssertionError("the plan on disk is another one")
    if told:
        if len(told) > 300 or not told.isprintable():
            raise AssertionError(f"no sentence: {told!r}")
        raise DataError(f"{folder}: {told}")
    return shards


def _shards_changed(draw: Random, files: Files) -> Files:
    if draw.random() < 0.04:
        name = "run/shards/000001.seconds"
        return {**files, name: bytes_changed(draw, files[name])}
    return _kept_changed("run/shards/000001.parquet", "run/shards/000001.json", "sha256")(draw, files)


def _read_shards(folder: Path) -> Any:
    from clinometer.shards import Shards

    shards = Shards(folder / "run", _plan())
    missing = shards.missing()
    if missing not in ((), (1,)):
        raise AssertionError(f"{missing} are missing")
    try:
        parts = list(shards.each())
    except DataError:
        if missing:
            shards.put(1, _products()[1], seconds=0.5)
            _must_be(shards.missing() == () and _same(shards.each()), folder, "what is made anew")
        raise
    _must_be(not missing and _same(parts), folder, "a shard")
    return shards


def _same(parts: Any) -> bool:
    pairs = zip(parts, _products(), strict=True)
    return all(
        one.table.equals(other.table)
        and json.dumps(one.notes, sort_keys=True) == json.dumps(other.notes, sort_keys=True)
        and one.left_out == ()
        for one, other in pairs
    )


def _put_together(shards: Any) -> object:
    from clinometer.explanations import merged

    return merged(shards.each()), shards.seconds()


# Evidence that is finished


def _rounding() -> Any:
    from clinometer.half_precision import Rounding

    return Rounding(dtype="bfloat16", n_rows=12, n=12, changed=1, largest=0.125, unit="logit", ids=("r4",))


def _finished() -> Files:
    from clinometer.evidence import from_columns
    from clinometer.evidence_files import write
    from clinometer.sealed_notes import write_note
    from clinometer.whole_files import file_hash

    n = 12
    columns = {
        "id": [f"r{i}" for i in range(n)],
        "p": [i % 2 for i in range(n)],
        "g": ["ab"[i % 2] for i in range(n)],
    }

    def save(folder: Path) -> None:
        write(
            from_columns(columns, id="id", prediction="p", groups=("g",)), folder / "out" / "evidence.parquet"
        )
        said = {
            "plan": _plan().id,
            "settings": dict(_plan().settings),
            "shard_rows": 6,
            "n": n,
            "left_out": [(3, "r3", "a value that is no number")],
            "evidence_sha256": file_hash(folder / "out" / "evidence.parquet"),
            "rounding": asdict(_rounding()),
        }
        write_note(folder / "out" / "run.json", said, indent=1)

    def in_folder(folder: Path) -> None:
        (folder / "out").mkdir()
        save(folder)

    return written(in_folder)


def _read_finished(folder: Path) -> Any:
    from clinometer.sharded_evidence import finished

    made = finished(folder / "out", _plan().id)
    if made is None:
        _must_be(not (folder / "out" / "run.json").exists(), folder, "evidence that is made again")
        raise DataError(f"{folder}: the evidence is made again")
    same = made.n == 12 and made.left_out == ((3, "r3", "a value that is no number"),)
    same = same and made.rounding == _rounding()
    _must_be(same and made.read().ids[0] == "r0", folder, "the evidence")
    return made


# The copy of the rows

ROWS = b"age,job,y,g\n30,clerk,1,a\n41.5,nurse,0,b\n,clerk,1,\n28,smith,0,a\n"
SAID = (("age", "job"), ("g",), "y")


def _columns() -> Any:
    from clinometer.staged_rows import Columns

    inputs, groups, label = SAID
    return Columns(inputs=inputs, groups=groups, label=label)


def _copy() -> Files:
    from clinometer.shard_runs import copied

    def save(folder: Path) -> None:
        (folder / "rows.csv").write_bytes(ROWS)
        copied(folder / "rows.csv", folder / "unfinished", _columns())

    return written(save)


def _read_copy(folder: Path) -> Any:
    from clinometer.shard_runs import copied, opened_copy

    again = copied(folder / "rows.csv", folder / "unfinished", _columns())
    rows, _ = opened_copy(folder / "unfinished", _columns())
    if again or not (folder / FORGED).exists():
        made = rows.rows(0, len(rows))
        same = made.ids == ("0", "1", "2", "3") and made.groups == {"g": ("a", "b", None, "a")}
        if not same or made.labels.tolist() != [1, 0, 1, 0] or made.inputs["job"][3] != "smith":
            raise AssertionError("the rows are others, and nothing was said")
    if again:
        raise DataError(f"{folder}: the rows are copied again")
    return rows


def _stretches(rows: Any) -> object:
    return rows.rows(0, len(rows)), rows.rows(1, 2), rows.ids(0, 1), rows.rows(0, 3, without=[1])


# Factorised models


def _low_rank() -> Files:
    from clinometer.interpret.edits import save as save_model
    from clinometer.interpret.low_rank_folders import save_low_rank
    from reference.subjects import applicants, fitted

    def save(folder: Path) -> None:
        save_model(fitted(applicants(40), epochs=0), folder / "whole")
        save_low_rank(folder / "whole", folder / "model", rank=3)

    return {name: raw for name, raw in written(save).items() if name.startswith("model/")}


def _low_rank_changed(draw: Random, files: Files) -> Files:
    if draw.random() < 0.05:
        return {**files, "model/model.safetensors": bytes_changed(draw, files["model/model.safetensors"])}
    return text_file("model/low_rank.json", parsed_json, as_json)(draw, files)


def _read_low_rank(folder: Path) -> Any:
    from clinometer.interpret.low_rank import ranks_of
    from clinometer.interpret.models import load

    made = load(folder / "model")
    if set(ranks_of(made.module).values()) - {1, 2, 3} or not ranks_of(made.module):
        raise AssertionError(f"the layers have ranks {ranks_of(made.module)}, and nothing was said")
    return made


def _applicants_scored(made: Any) -> object:
    from clinometer.interpret.models import score
    from reference.subjects import applicants

    return score(made, applicants(2))


def _low_rank_texts() -> Files:
    from clinometer.interpret.low_rank_folders import save_low_rank
    from reference.model_folders import labelled, text_folder

    def save(folder: Path) -> None:
        whole = text_folder(folder, "BertForSequenceClassification", **labelled("no", "yes"))
        save_low_rank(whole, folder / "model", rank=2)

    return {name: raw for name, raw in written(save).items() if name.startswith("model/")}


def _low_rank_texts_changed(draw: Random, files: Files) -> Files:
    name = draw.choices(("low_rank.json", "config.json"), (8, 2))[0]
    return text_file(f"model/{name}", parsed_json, as_json)(draw, files)


def _texts_scored(made: Any) -> object:
    import numpy as np

    from clinometer.interpret.models import score
    from clinometer.records import Rows

    texts = np.array(["a good film", "no"], dtype=object)
    return score(made, Rows(ids=("a", "b"), inputs={"text": texts}))


READERS = (
    Reader(name="plan", valid=_shards, changed=_plan_changed, read=_read_plan),
    Reader(name="shard", valid=_shards, changed=_shards_changed, read=_read_shards, use=_put_together),
    Reader(
        name="run",
        valid=_finished,
        changed=_kept_changed("out/evidence.parquet", "out/run.json", "evidence_sha256"),
        read=_read_finished,
        use=lambda made: (repr(made), str(made.rounding)),
    ),
    Reader(
        name="staged-rows",
        valid=_copy,
        changed=_kept_changed("unfinished/rows.parquet", "unfinished/source.json", "rows_sha256"),
        read=_read_copy,
        use=_stretches,
    ),
    Reader(
        name="low-rank",
        valid=_low_rank,
        changed=_low_rank_changed,
        read=_read_low_rank,
        use=_applicants_scored,
    ),
    Reader(
        name="low-rank-transformers",
        valid=_low_rank_texts,
        changed=_low_rank_texts_changed,
        read=_read_low_rank,
        use=_texts_scored,
    ),
)
