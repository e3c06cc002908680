"""What a review asks of the model for every row, shard by shard.

A shard is explained by itself: batches, and the scale that decides whether an attribution adds up, are of its rows
alone. So what is computed depends on how rows are divided, which the plan says, and on nothing else.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pa_compute

from .errors import DataError
from .records import Attribution, Floats, HeadSummary, Rows, plain
from .shards import Plan, Product
from .typed_json import Known, rebuild

if TYPE_CHECKING:
    from .interpret.models import Subject

PER_ROW = ("value", "base_value", "nodes", "converged", "tolerance")


def _floats(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind))


def _lists(of: Callable[[pa.DataType], bool]) -> Callable[[pa.DataType], bool]:
    return lambda kind: bool(pa.types.is_list(kind)) and of(kind.value_type)


KINDS: Mapping[str, Callable[[pa.DataType], bool]] = {
    "id": pa.types.is_string,
    "value": _floats,
    "base_value": _floats,
    "nodes": pa.types.is_signed_integer,
    "converged": pa.types.is_boolean,
    "tolerance": _floats,
    "tokens": _lists(lambda kind: pa.types.is_string(kind) or pa.types.is_null(kind)),  # null: none at all
    "scores": _lists(_floats),
    "contribution": _lists(_floats),
    "received": _lists(_floats),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Explanations:
    """All rows' explanations, in the order of the rows."""

    attribution: Attribution
    layers: tuple[str, ...]
    contribution: Floats  # (example, layer, head): A * dA summed, the first-order effect of each head
    received: tuple[Floats, ...]  # per example: attention received by prefix and tokens, mean over heads
    certificate: Mapping[str, Any]
    heads: tuple[HeadSummary, ...]


def explained(subject: "Subject", rows: Rows, *, batch_size: int = 64, progress: bool = False) -> Product:
    """One shard's explanations, as a table and notes that files can hold.

    Raises:
        DataError, ModelError, CaptureError: as their messages say.
    """
    from .interpret.head_effects import head_effects
    from .interpret.head_roles import tallies
    from .interpret.methods import attribute
    from .interpret.tracing import certify, head_statistics

    attribution = attribute(subject, rows, batch_size=batch_size, progress=progress)
    effects = head_effects(subject, rows, batch_size=batch_size, progress=progress)
    looked = tallies(head_statistics(subject, rows, batch_size=batch_size))
    lengths = [len(tokens) for tokens in attribution.tokens]
    seen, before = effects.received.mean(axis=(1, 2)), len(subject.prefix)
    table = pa.table(
        {
            "id": list(attribution.ids),
            **{name: getattr(attribution, name) for name in PER_ROW},
            "tokens": [list(tokens) for tokens in attribution.tokens],
            "scores": [attribution.scores[i, :n] for i, n in enumerate(lengths)],
            "contribution": list(effects.contribution.reshape(len(rows), -1)),
            "received": [seen[i, : before + n] for i, n in enumerate(lengths)],
        }
    )
    notes = {
        "attribution": {
            name: getattr(attribution, name) for name in ("method", "target", "unit", "baseline", "seed")
        },
        "told": list(attribution.notes),
        "layers": list(effects.layers),
        "heads": int(effects.contribution.shape[2]),
        "certificate": certify(subject, rows, batch_size=batch_size),
        "looked": [plain(one) for one in looked],
    }
    return Product(table=table, notes=notes)


def explained_here(
    subject: "Subject", rows: Rows, *, shard_rows: int, batch_size: int = 64, progress: bool = False
) -> Explanations:
    """The explanations of rows in memory, computed shard by shard in this process, and kept in no file."""
    return merged(
        explained(subject, part, batch_size=batch_size, progress=progress)
        for part in _parts(rows, shard_rows)
    )


def _parts(rows: Rows, shard_rows: int) -> Iterator[Rows]:
    plan = Plan(n_rows=len(rows), shard_rows=shard_rows)
    for index in range(plan.n_shards):
        yield rows if plan.n_shards == 1 else rows.take(range(*plan.bounds(index)))


def merged(products: Iterable[Product]) -> Explanations:
    """The explanations of all shards, put together in their order.

    Raises:
        DataError: a shard holds something else than explanations.
    """
    from .interpret.head_roles import summaries_of

    parts = [(product.table, _notes(product)) for product in products]
    notes = [said for _, said in parts]
    head = notes[0]
    for table, said in parts:
        _check(table, said, head)
    table = pa.concat_tables([part.select(list(KINDS)) for part, _ in parts], promote_options="permissive")
    tokens = tuple(tuple(row) for row in table.column("tokens").to_pylist())
    return Explanations(
        attribution=Attribution(
            **asdict(head.attribution),
            ids=tuple(table.column("id").to_pylist()),
            tokens=tokens,
            scores=_padded(_ragged(table, "scores")),
            **{name: table.column(name).to_numpy() for name in PER_ROW},
            notes=tuple(dict.fromkeys(note for said in notes for note in said.told)),
        ),
        layers=head.layers,
        contribution=np.stack(_ragged(table, "contribution")).reshape(
            len(table), len(head.layers), head.heads
        ),
        received=tuple(_ragged(table, "received")),
        certificate=_certificate([said.certificate for said in notes]),
        heads=summaries_of([tally for said in notes for tally in said.looked]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Method:
    """What was attributed, and how."""

    method: str
    target: str
    unit: str
    baseline: str
    seed: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Notes:
    """The notes of one shard, each of the kind that it has to be."""

    attribution: _Method
    told: tuple[str, ...]
    layers: tuple[str, ...]
    heads: int
    certificate: Mapping[str, Any]
    looked: tuple[Any, ...]  # HeadTally


def _notes(product: Product) -> _Notes:
    from .interpret.head_roles import MEASURES, RULES, HeadTally

    known: Known = {(_Notes, "looked"): tuple[HeadTally, ...]}
    try:
        said: _Notes = rebuild(_Notes, product.notes, known)
        certificate = {
            "n": rebuild(int, said.certificate.get("n"), {}, "certificate.n"),
            "layers": rebuild(Mapping[str, float], said.certificate.get("layers"), {}, "certificate.layers"),
        }
    except DataError as error:
        raise _no_explanations(str(error)) from error
    needed = {"measures": set(MEASURES), "rules": {rule.role for rule in RULES}, "classes": set[str]()}
    for tally in said.looked:
        sums = {of: getattr(tally, of) for of in needed}
        finite = all(math.isfinite(total) for one in sums.values() for total, _ in one.values())
        if not finite or any(names - sums[of].keys() for of, names in needed.items()):
            raise _no_explanations(f"the sums of {tally.layer} head {tally.head} are not whole")
    return replace(said, certificate={**said.certificate, **certificate})


def _check(table: pa.Table, said: _Notes, head: _Notes) -> None:
    """Refuse a shard whose columns are of other kinds or lengths, or whose notes do not go with the first shard's."""
    for name, known in KINDS.items():
        if table.column_names.count(name) != 1 or not known(table.schema.field(name).type):
            raise _no_explanations(f"column {name!r} is missing or of another kind")
        column = table.column(name)
        inner = [chunk.flatten() for chunk in column.chunks] if pa.types.is_list(column.type) else []
        if column.null_count or any(part.null_count for part in inner):
            raise _no_explanations(f"column {name!r} has a value that is missing")
    tokens, scores, heads = (
        pa_compute.list_value_length(table.column(name)) for name in ("tokens", "scores", "contribution")
    )
    if not tokens.equals(scores) or set(heads.to_pylist()) != {len(said.layers) * said.heads}:
        raise _no_explanations("scores, tokens and heads are of different numbers")
    if (said.attribution, said.layers, said.heads) != (head.attribution, head.layers, head.heads):
        raise _no_explanations("two shards are of different methods or models")


def _no_explanations(why: str) -> DataError:
    return DataError(
        f"what was kept of a shard is no explanation of its rows: {why}. Remove the unfinished run and begin it again."
    )


def _ragged(table: pa.Table, name: str) -> list[Floats]:
    return [np.asarray(row, dtype=np.float64) for row in table.column(name).to_pylist()]


def _padded(rows: Sequence[Floats]) -> Floats:
    made = np.zeros((len(rows), max(len(row) for row in rows)))
    for i, row in enumerate(rows):
        made[i, : len(row)] = row
    return made


def _certificate(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of each layer the largest error of any shard, over all of their rows."""
    layers: dict[str, float] = {}
    for part in parts:
        for layer, error in part["layers"].items():
            layers[layer] = max(error, layers.get(layer, 0.0))
    return {**parts[0], "n": sum(part["n"] for part in parts), "layers": layers}
