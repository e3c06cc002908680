"""A subject's attention on rows: planned for a memory budget, captured, certified."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from ..errors import DataError
from ..records import Rows
from .calls import Call
from .capture import attention_gradient
from .capture import trace as trace_run
from .keeping import Keep
from .models import Batch, Subject, chunks
from .planning import CHOICES, Choice, Plan, plan, shapes
from .reductions import Statistics, reduce
from .tap import tap
from .token_classes import check_names
from .trace import Trace


def trace(
    subject: Subject,
    rows: Rows,
    *,
    max_memory: int | str | None = None,
    allow: Sequence[Choice] = CHOICES,
    keep: Keep | None = None,
    certify: Literal["sampled", "exact"] | None = "sampled",
    seed: int = 0,
    unseen: Literal["refuse", "list"] = "refuse",
) -> Trace:
    """Every attention call of the subject on these rows, as one batch: maps on demand from kept queries and keys.

    Args:
        max_memory: bytes or a text as "2 GB": what may be kept. The longest row is run alone first, to count
            calls; then every map is kept, or queries and keys (maps on demand), or only statistics, whichever is
            the most that fits. `Trace.plan` says which and why (`.explain()`).
        allow: what may be chosen; ("queries and keys",) refuses where they do not fit.
        keep: number type, device and parts of what is kept.
        certify: prove each call while it is seen, on 32 seeded queries or on all.
        unseen: see `tap`.

    Raises:
        DataError: there are no rows.
        UsageError: nothing that is allowed fits into `max_memory`; the message names the least that does.
        CaptureError: an attention call could not be seen, or its map does not reproduce its output.
    """
    if not len(rows):
        raise DataError("there are no rows to trace.")
    names = tuple((*subject.prefix, *row) for row in subject.names(rows))
    planned = None
    if max_memory is not None:
        planned = plan_trace(subject, rows, max_memory, allow=allow, keep=keep)
    batch = subject.encode(rows)

    def run() -> Tensor:
        with torch.no_grad():
            return subject.forward(batch, None)

    made = trace_run(
        run,
        subject.module,
        keep=keep,
        plan=planned,
        reducer=None if planned is None else partial(_reduced, tokens=names, special=subject.special),
        certify=certify,
        seed=seed,
        unseen=unseen,
    )
    made.tokens, made.special = names, frozenset(subject.special)
    made.decoder_tokens = None if subject.decoder_names is None else subject.decoder_names(rows)
    return made


def plan_trace(
    subject: Subject,
    rows: Rows,
    max_memory: int | str,
    *,
    allow: Sequence[Choice] = CHOICES,
    keep: Keep | None = None,
) -> Plan:
    """What of a trace of these rows fits into memory, from one look at the longest of them.

    Raises:
        DataError: there are no rows.
        UsageError: nothing that is allowed fits; the message names the least that does.
    """
    if not len(rows):
        raise DataError("there are no rows to plan for.")
    lengths = [len(row) for row in subject.names(rows)]
    batch = subject.encode(rows.take([max(range(len(rows)), key=lambda i: lengths[i])]))
    seen: list[Call] = []
    with torch.no_grad(), tap(subject.module, seen.append):
        subject.forward(batch, None)
    alone = [shape.stretched(examples=shape.examples * len(rows)) for shape in shapes(seen)]
    return plan(alone, max_memory, keep=keep, allow=allow)


def _reduced(call: Call, *, tokens: Sequence[Sequence[str]], special: Sequence[str]) -> Statistics:
    classes = Trace([call], tokens=tokens, special=special).classes(0)
    return reduce(call, classes=classes)


def certify(subject: Subject, rows: Rows, *, batch_size: int = 64) -> dict[str, Any]:
    """||A V - O|| / ||O|| of every attention call on all rows, the largest over batches.

    Raises:
        CaptureError: a layer's certificate is beyond the tolerance of its dtype.
    """
    largest: dict[str, float] = {}
    for part in chunks(rows, batch_size):
        captured = trace(subject, part, certify=None)
        captured.certify()
        for layer, error in captured.certificate().items():
            largest[layer] = max(error, largest.get(layer, 0.0))
    return {"n": len(rows), "how": "exact, all unmasked queries of all rows", "layers": largest}


def head_statistics(
    subject: Subject,
    rows: Rows,
    *,
    features: Sequence[str] = (),
    frequencies: Mapping[str, int] | None = None,
    batch_size: int = 64,
) -> tuple[Statistics, ...]:
    """Statistics of every map on all rows, batch by batch: what `head_roles.roles` reads roles from.

    Args:
        features: tokens (features of a table, words) whose share of attention is counted too.
        frequencies: token -> how often it was seen in a corpus; rare tokens are counted where it is given.

    Raises:
        UsageError: a feature is no token.
        CaptureError: an attention call could not be seen, or its map does not reproduce its output.
    """
    if features:
        check_names(tuple((*subject.prefix, *row) for row in subject.names(rows)), features)
    found: list[Statistics] = []
    for part in chunks(rows, batch_size):
        made = trace(subject, part, keep=Keep(values=False, outputs=False))
        for place, call in enumerate(made.calls):
            found.append(
                reduce(call, classes=made.classes(place, frequencies=frequencies, features=features))
            )
    return tuple(found)


def gradient_traces(subject: Subject, rows: Rows, *, batch_size: int = 64) -> Iterator[tuple[Rows, Trace]]:
    """Batches of rows with a trace that also knows dO, the gradient of the target at every attention output."""
    for part in chunks(rows, batch_size):
        yield part, gradient_trace(subject, subject.encode(part))


def gradient_trace(subject: Subject, batch: Batch) -> Trace:
    """One batch's trace with dO of the subject's target."""
    return attention_gradient(lambda: subject.select(subject.forward(batch, None)), subject.module)
