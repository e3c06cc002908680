"""Which rows a mitigation was fitted or chosen on, so that it is never judged on them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..errors import DataError, first
from ..evidence import Evidence
from .id_draws import Words, id_words

Role = Literal["fit", "choose", "judge"]
DONE: dict[Role, str] = {"fit": "fitted on", "choose": "chosen on", "judge": "judged on"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """A set of rows and what they were used for. Rows are known by their id, people and documents by their cluster.

    Only 64 bits of each name are kept: enough to know a row again (between a million rows and a million others one
    is mistaken with chance 1 in 18 million), and no list of names in a file that is handed on.
    """

    role: Role
    n: int  # rows
    sha256: str  # of all their ids, whatever their order
    rows: Words  # (row,) ascending
    clusters: Words  # (cluster,) ascending; none without a cluster column

    def __repr__(self) -> str:
        return f"Seen({DONE[self.role]} {self.n} rows, {self.sha256[:12]})"


def seen_rows(evidence: Evidence, role: Role) -> Seen:
    """The rows of evidence, remembered as those that something was fitted, chosen or judged on."""
    ids = evidence.ids
    digest = hashlib.sha256()
    for name in sorted(ids):
        raw = name.encode()
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return Seen(
        role=role,
        n=len(ids),
        sha256=digest.hexdigest(),
        rows=np.unique(id_words(ids, "row")),
        clusters=np.unique(id_words(_clusters(evidence)[1], "cluster")),
    )


def refuse_seen(evidence: Evidence, seen: Sequence[Seen], *, name: str, doing: str) -> None:
    """Refuse rows that were used before.

    Args:
        evidence: rows that are about to be used.
        seen: what the mitigation was fitted and chosen on.
        name: of the mitigation, for the message.
        doing: what the rows are about to do, "judge" or "choose".

    Raises:
        DataError: a row, or another row of the same cluster, is among those seen.
    """
    ids = evidence.ids
    words = id_words(ids, "row")
    codes, names = _clusters(evidence)
    people = id_words(names, "cluster")
    for past in seen:
        known = np.isin(words, past.rows)
        if known.any():
            where = np.flatnonzero(known)
            raise DataError(
                f"{len(where)} of the {len(ids)} rows that should {doing} {name!r} are rows that it was "
                f"{DONE[past.role]}: {first(ids[i] for i in where)}. What a fix does is shown by rows it has never seen: "
                "divide the rows first (splitting.split) and use each part once. Where these are other rows that carry "
                "the same ids, as numbered rows of two files do, give them ids of their own."
            )
        again = np.isin(people, past.clusters)
        if again.any():
            said = first(names[i] for i in np.flatnonzero(again))
            raise DataError(
                f"{int(again.sum())} clusters ({evidence.cluster!r}) among the rows that should {doing} {name!r} have "
                f"other rows that it was {DONE[past.role]}: {said}. Keep all rows of a cluster in one part "
                f"(splitting.split does); {int(again[codes].sum())} rows are concerned."
            )


def _clusters(evidence: Evidence) -> tuple[npt.NDArray[np.int32], tuple[str, ...]]:
    if evidence.cluster is None:
        return np.zeros(0, dtype=np.int32), ()
    return evidence.codes(evidence.cluster)
