"""What each head does to the target, first order: attention combined with gradients."""

import numpy as np
from tqdm.auto import tqdm

from ..errors import DataError, ModelError
from ..records import Floats, HeadEffect, Rows, View
from .models import Subject
from .tracing import gradient_traces


def head_effects(subject: Subject, rows: Rows, *, batch_size: int = 64, progress: bool = False) -> HeadEffect:
    """Attention combined with gradients, per head and token: A * dA with dA = dO V^T, signed, in logits.

    Summed over queries and keys, A * dA is <O_h, dO_h>: the first-order change of the target when the head is
    scaled (Michel et al. 2019). `received` is attention received by a token, averaged over queries: what a head
    looks at, which is not what matters. Self-attention calls only.

    Raises:
        ModelError: calls of one model differ in their number of heads.
    """
    names = tuple((*subject.prefix, *tokens) for tokens in subject.names(rows))
    width = max(len(tokens) for tokens in names)
    contribution, received, moved = [], [], []
    layers: tuple[str, ...] = ()
    for part, trace in tqdm(
        gradient_traces(subject, rows, batch_size=batch_size),
        total=-(-len(rows) // batch_size),
        desc="attention x gradient",
        unit="batch",
        disable=not progress,
    ):
        calls = [i for i, kind in enumerate(trace.kinds) if kind == "self"]
        heads = {trace.n_heads(i) for i in calls}
        if len(heads) != 1:
            raise ModelError(f"attention calls have {sorted(heads)} heads; one number for all is expected.")
        layers = tuple(trace.layers[i] for i in calls)
        shape = (len(part), len(calls), heads.pop(), width)
        seen, weight = np.zeros(shape), np.zeros(shape)
        for place, call in enumerate(calls):
            a_times_da = trace.contribution(call)
            weight[:, place, :, : a_times_da.shape[3]] = a_times_da.sum(axis=2)
            got = trace.received(call)
            seen[:, place, :, : got.shape[2]] = got
        received.append(seen)
        moved.append(weight)
        contribution.append(weight.sum(axis=3))
    return HeadEffect(
        target=subject.target,
        ids=rows.ids,
        layers=layers,
        contribution=np.concatenate(contribution),
        received=np.concatenate(received),
        moved=np.concatenate(moved),
        tokens=names,
    )


def view(subject: Subject, rows: Rows, *, title: str, batch_size: int = 64) -> View:
    """The maps A and A * dA of every head, averaged over rows that have the same tokens.

    Raises:
        DataError: the rows have different tokens, so that an average would mix them.
    """
    names = set(subject.names(rows))
    if len(names) != 1:
        raise DataError(
            f"{len(rows)} rows have {len(names)} different token lists; a mean map needs one. View one row at a time."
        )
    attention: Floats | None = None
    contribution: Floats | None = None
    layers: tuple[str, ...] = ()
    for _, trace in gradient_traces(subject, rows, batch_size=batch_size):
        calls = [i for i, kind in enumerate(trace.kinds) if kind == "self"]
        layers = tuple(trace.layers[i] for i in calls)
        a = np.stack([trace.maps(i).cpu().double().numpy().sum(axis=0) for i in calls])
        c = np.stack([trace.contribution(i).sum(axis=0) for i in calls])
        attention = a if attention is None else attention + a
        contribution = c if contribution is None else contribution + c
    if attention is None or contribution is None:
        raise DataError("there are no rows to view.")
    return View(
        title=title,
        target=subject.target,
        ids=rows.ids,
        layers=layers,
        labels=(*subject.prefix, *names.pop()),
        attention=attention / len(rows),
        contribution=contribution / len(rows),
    )
