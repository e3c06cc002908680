"""The tokens of an example that can be taken away, and the model's score with any of them left in place."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..records import Floats, Rows
from .batches import MAX_MEMORY, Places, backing_off, bucketed, repeated, rows_at_once
from .models import Batch, Subject


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Players:
    """Rows of about one length, embedded beside their references.

    A token taken away has the reference's embedding in place of its own. A player is a token that this changes:
    padding and markers, which the reference shares, are none.
    """

    subject: Subject
    index: Places  # (example,) places of these rows among all
    batch: Batch
    embedded: Float[Tensor, "example token width"]
    reference: Float[Tensor, "example token width"]
    places: tuple[Places, ...]  # per example: the tokens that are players
    n_tokens: tuple[int, ...]  # per example, without padding
    at_once: int

    def scores(
        self, example: npt.ArrayLike, kept: Bool[np.ndarray, "run token"], what: str = "removal"
    ) -> Float[np.ndarray, " run"]:
        """The target with only the `kept` tokens of an example in place, the others taken away.

        Args:
            example: (run,) which example of these rows each run is of.
            kept: True where a token stays. Places beyond the batch's width are not looked at; places that are
                no players may be anything.
        """
        which = np.asarray(example, dtype=np.int64)
        width = self.embedded.shape[1]
        flags = np.ones((len(which), width), dtype=np.bool_)
        flags[:, : min(width, kept.shape[1])] = kept[:, :width]
        return backing_off(lambda at_once: self._scores(which, flags, at_once), self.at_once, what)

    @torch.no_grad()
    def _scores(self, which: npt.NDArray[np.int64], kept: npt.NDArray[np.bool_], at_once: int) -> Floats:
        made = np.zeros(len(which))
        for start in range(0, len(which), at_once):
            part = which[start : start + at_once]
            index = torch.from_numpy(part).to(self.embedded.device)
            flags = torch.from_numpy(kept[start : start + at_once]).to(self.embedded.device)
            mixed = torch.where(flags[:, :, None], self.embedded[index], self.reference[index])
            outputs = self.subject.forward(repeated(self.batch, part), mixed)
            made[start : start + len(part)] = self.subject.select(outputs).cpu().double().numpy()
        return made

    def all_kept(self) -> Bool[np.ndarray, "example token"]:
        """Flags with nothing taken away."""
        return np.ones(self.embedded.shape[:2], dtype=np.bool_)

    def none_kept(self) -> Bool[np.ndarray, "example token"]:
        """Flags with every player taken away."""
        made = np.ones(self.embedded.shape[:2], dtype=np.bool_)
        for i, places in enumerate(self.places):
            made[i, places] = False
        return made


def players(
    subject: Subject,
    rows: Rows,
    names: Sequence[Sequence[str]],
    *,
    batch_size: int = 64,
    max_memory: int = MAX_MEMORY,
) -> Iterator[Players]:
    """The rows in batches of about one length, shortest first, ready to have tokens taken away."""
    for index in bucketed([len(tokens) for tokens in names], batch_size):
        batch = subject.encode(rows.take(index))
        with torch.no_grad():
            embedded, reference = subject.embed(batch), subject.reference(batch)
        lengths = [len(names[i]) for i in index]
        moved = (embedded != reference).any(dim=2).cpu().numpy()
        yield Players(
            subject=subject,
            index=index,
            batch=batch,
            embedded=embedded,
            reference=reference,
            places=tuple(np.flatnonzero(moved[i, :n]) for i, n in enumerate(lengths)),
            n_tokens=tuple(lengths),
            at_once=rows_at_once(subject, batch, max_memory),
        )
