"""What a review asks of the model for every row, shard by shard.

A shard is explained by itself: batches, and the scale that decides whether an attribution adds up, are of its rows
alone. So what is computed depends on how rows are divided, which the plan says, and on nothing else.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from .records import Attribution, Floats, HeadSummary, Rows, plain
from .shards import Plan, Product

if TYPE_CHECKING:
    from .interpret.head_roles import HeadTally
    from .interpret.models import Subject

PER_ROW = ("value", "base_value", "nodes", "converged", "tolerance")


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
    """The explanations of all shards, put together in their order."""
    from .interpret.head_roles import summaries_of

    parts = list(products)
    notes = [part.notes for part in parts]
    table = pa.concat_tables([part.table for part in parts])
    layers, n_heads = tuple(notes[0]["layers"]), notes[0]["heads"]
    tokens = tuple(tuple(row) for row in table.column("tokens").to_pylist())
    return Explanations(
        attribution=Attribution(
            **notes[0]["attribution"],
            ids=tuple(table.column("id").to_pylist()),
            tokens=tokens,
            scores=_padded(_ragged(table, "scores")),
            **{name: table.column(name).to_numpy() for name in PER_ROW},
            notes=tuple(dict.fromkeys(note for one in notes for note in one["told"])),
        ),
        layers=layers,
        contribution=np.stack(_ragged(table, "contribution")).reshape(len(table), len(layers), n_heads),
        received=tuple(_ragged(table, "received")),
        certificate=_certificate([one["certificate"] for one in notes]),
        heads=summaries_of([_tally(one) for each in notes for one in each["looked"]]),
    )


def _tally(said: Mapping[str, Any]) -> "HeadTally":
    """A tally from JSON, which has lists for pairs."""
    from .interpret.head_roles import HeadTally

    sums = {
        name: {of: (float(total), int(n)) for of, (total, n) in said[name].items()}
        for name in ("measures", "classes", "rules")
    }
    return HeadTally(**{**said, **sums})


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
