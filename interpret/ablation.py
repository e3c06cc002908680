"""Scores of rows with sets of heads taken out: closed, at their mean output, or as in another row."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from tqdm.auto import tqdm

from ..errors import DataError, UsageError, did_you_mean, first
from ..records import Floats, Rows
from .batches import bucketed
from .capture import trace
from .gates import Constant, Intervention, Patch, Value
from .interventions import intervene
from .mean_outputs import mean_outputs
from .models import Subject
from .trace import Trace

HOWS = ("mean", "resample", "zero")
Head = tuple[str, int]


def ablated(
    subject: Subject,
    rows: Rows,
    sets: Sequence[Sequence[Head]],
    *,
    how: str = "mean",
    reference: Rows | None = None,
    batch_size: int = 32,
    together: int = 4,
    seed: int = 0,
    progress: bool = False,
) -> Floats:
    """Scores with each set of heads taken out, (set, row); an empty set changes nothing.

    Args:
        how: "mean": a head gives out its mean over the reference rows at the same position (Wang et al. 2023 call it
            mean ablation); "resample": what it gave out for another reference row of as many tokens, one row drawn
            for each row and the same for all heads and sets (Chan et al. 2022); "zero": nothing.
        reference: the rows of means and of draws; by default `rows`. A row never stands in for itself.
        batch_size: rows of about one length (for "resample", of one length) that run together.
        together: sets that run in one batch: few fit a processor's cache, a GPU likes more.

    Raises:
        DataError: there are no rows, or, with "resample", a row has no other of as many tokens.
        UsageError: `how` is not known, or a head does not exist.
    """
    if how not in HOWS:
        raise UsageError(f"how is {how!r}; {did_you_mean(how, HOWS)}")
    if not len(rows):
        raise DataError("there are no rows to take heads out on.")
    given = rows if reference is None else reference
    lengths = [len(names) for names in subject.names(rows)]
    scores = np.zeros((len(sets), len(rows)))
    means = mean_outputs(subject, given, batch_size=batch_size) if how == "mean" else {}
    donors = _donors(subject, rows, given, lengths, seed) if how == "resample" else None
    buckets = bucketed(lengths, batch_size) if donors is None else of_one_length(lengths, batch_size)

    def value(head: Head) -> Value:
        layer, number = head
        if how == "zero":
            return 0.0
        if layer not in means:
            raise UsageError(f"there is no layer {layer!r}; {did_you_mean(layer, tuple(means))}")
        if not 0 <= number < len(means[layer]):
            raise UsageError(
                f"{layer} has {len(means[layer])} heads, counted from 0; there is no head {number}."
            )
        return Constant(means[layer][number])

    for index in tqdm(buckets, desc=f"ablation ({how})", unit="batch", disable=not progress):
        part = rows.take(index)
        if donors is None:
            some = [Intervention(heads={head: value(head) for head in one}) for one in sets]
        else:
            put = Patch(_seen(subject, given.take(donors[index])))
            some = [Intervention(heads=dict.fromkeys(one, put)) for one in sets]
        scores[:, index] = intervene(subject, part, some, batch_size=len(index), together=together)
    return scores


@torch.no_grad()
def _seen(subject: Subject, rows: Rows) -> Trace:
    batch = subject.encode(rows)
    return trace(lambda: subject.forward(batch, None), subject.module, certify=None)


def of_one_length(lengths: Sequence[int], batch_size: int) -> list[npt.NDArray[np.intp]]:
    """The places of rows in batches of exactly one length, so that nothing is padded."""
    sizes = np.asarray(lengths)
    made: list[npt.NDArray[np.intp]] = []
    for length in np.unique(sizes):
        places = np.flatnonzero(sizes == length)
        made.extend(places[start : start + batch_size] for start in range(0, len(places), batch_size))
    return made


def _donors(
    subject: Subject, rows: Rows, reference: Rows, lengths: Sequence[int], seed: int
) -> npt.NDArray[np.intp]:
    """For each row the place of a reference row of as many tokens, never of the row itself."""
    generator = np.random.default_rng(seed)
    sizes = np.array([len(names) for names in subject.names(reference)])
    ids = np.array(reference.ids, dtype=object)
    chosen = np.zeros(len(rows), dtype=np.intp)
    alone = []
    for i, (name, length) in enumerate(zip(rows.ids, lengths, strict=True)):
        able = np.flatnonzero((sizes == length) & (ids != name))
        if able.size:
            chosen[i] = generator.choice(able)
        else:
            alone.append(name)
    if alone:
        raise DataError(
            f"{len(alone)} of {len(rows)} rows have no other row of as many tokens to draw from: {first(alone)}. Give "
            "more reference rows (reference=), leave these rows out, or use how='mean'."
        )
    return chosen
