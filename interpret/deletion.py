"""What is left of a prediction when tokens are taken away, or put back, in the order of an attribution."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float
from tqdm.auto import tqdm

from ..errors import UsageError
from ..records import Floats, Rows
from .batches import MAX_MEMORY
from .models import Subject
from .players import Players, players
from .ranks import row_generator


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Removals:
    """The subject's target of every row with parts of it taken away, by several orders of its tokens.

    NaN where a row has no token that could be taken away.
    """

    shares: tuple[float, ...]  # of the tokens that can be taken away
    whole: Float[np.ndarray, " example"]  # nothing taken away
    nothing: Float[np.ndarray, " example"]  # everything taken away
    without_first: Float[np.ndarray, "order example share"]  # the first tokens of the order taken away
    without_last: Float[np.ndarray, "order example share"]  # the last ones taken away
    only_first: Float[np.ndarray, "order example share"]  # all but the first ones taken away
    places: tuple[npt.NDArray[np.intp], ...]  # per example: the tokens that can be taken away
    n_runs: int  # rows the model was run on


def n_taken(share: float, n: int) -> int:
    """How many of n tokens a share is: rounded up, so that one at least is taken."""
    return max(1, math.ceil(share * n - 1e-9))


def removals(
    subject: Subject,
    rows: Rows,
    names: Sequence[Sequence[str]],
    support: Float[np.ndarray, "order example token"],
    shares: Sequence[float],
    *,
    seed: int = 0,
    batch_size: int = 64,
    max_memory: int = MAX_MEMORY,
    progress: bool = False,
) -> Removals:
    """The target with the best supported tokens taken away, the least supported, and all but the best supported.

    A token taken away has the embedding of the subject's baseline in place of its own; markers and padding, which
    the baseline leaves as they are, are never taken away and not counted. Equal supports are put in a random order,
    the same for all orders of a row. No set of tokens is run twice.

    Args:
        names: token names per example.
        support: per order, example and token; the highest is first.
        shares: of the tokens that can be taken away, above 0 and up to 1; see `n_taken`.

    Raises:
        UsageError: no shares, or one out of range.
    """
    chosen = checked_shares(shares)
    n_orders, n = len(support), len(rows)
    parts = [np.full((n_orders, n, len(chosen)), np.nan) for _ in range(3)]
    whole, nothing, n_runs = np.full(n, np.nan), np.full(n, np.nan), 0
    places = [np.array([], dtype=np.intp)] * n
    with tqdm(total=n, desc="removing tokens", unit="row", disable=not progress) as bar:
        for some in players(subject, rows, names, batch_size=batch_size, max_memory=max_memory):
            asked = [some.all_kept()]
            example = [np.arange(len(some.index))]
            for local, row in enumerate(some.index):
                places[row] = some.places[local]
                if len(places[row]):
                    sets = _sets(
                        some, local, support[:, row], chosen, row_generator(seed, rows.ids[row], "ties")
                    )
                    asked.append(sets)
                    example.append(np.full(len(sets), local))
            found, n_new = _once(some, np.concatenate(example), np.concatenate(asked))
            n_runs += n_new
            at = len(some.index)
            whole[some.index] = found[:at]
            for row in some.index:
                if not len(places[row]):
                    continue
                nothing[row] = found[at]
                size = 3 * n_orders * len(chosen)
                made = found[at + 1 : at + 1 + size].reshape(n_orders, 3, len(chosen))
                for kind, part in enumerate(parts):
                    part[:, row] = made[:, kind]
                at += 1 + size
            bar.update(len(some.index))
    return Removals(
        shares=chosen,
        whole=whole,
        nothing=nothing,
        without_first=parts[0],
        without_last=parts[1],
        only_first=parts[2],
        places=tuple(places),
        n_runs=n_runs,
    )


def checked_shares(shares: Sequence[float]) -> tuple[float, ...]:
    """The shares as numbers.

    Raises:
        UsageError: there are none, or one is out of range.
    """
    chosen = tuple(float(share) for share in shares)
    if not chosen or not all(0 < share <= 1 for share in chosen):
        raise UsageError(f"shares of tokens are {chosen}; numbers above 0 and up to 1 are expected.")
    return chosen


def _sets(
    some: Players,
    local: int,
    support: Float[np.ndarray, "order named"],
    shares: Sequence[float],
    generator: np.random.Generator,
) -> Bool[np.ndarray, "run token"]:
    """Which tokens stay: first nothing, then per order without the first, without the last, and only the first."""
    places, width = some.places[local], some.embedded.shape[1]
    n = len(places)
    taken = np.array([n_taken(share, n) for share in shares])[:, None]
    by_chance = generator.permutation(n)
    made = [np.ones((1, width), dtype=np.bool_)]
    made[0][0, places] = False
    for one in support:
        rank = np.empty(n, dtype=np.int64)
        rank[np.lexsort((by_chance, -one[places]))] = np.arange(n)
        for stays in (rank >= taken, rank < n - taken, rank < taken):
            flags = np.ones((len(shares), width), dtype=np.bool_)
            flags[:, places] = stays
            made.append(flags)
    return np.concatenate(made)


def _once(
    some: Players, example: npt.NDArray[np.int64], kept: Bool[np.ndarray, "run token"]
) -> tuple[Floats, int]:
    """The target of every run, each distinct one run once, and how many that were."""
    keys = np.concatenate(
        [example.astype(np.int32)[:, None].view(np.uint8), np.packbits(kept, axis=1)], axis=1
    )
    _, place, which = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return some.scores(example[place], kept[place], "removing tokens")[which.reshape(-1)], len(place)


def ends(
    subject: Subject,
    rows: Rows,
    names: Sequence[Sequence[str]],
    *,
    batch_size: int = 64,
    max_memory: int = MAX_MEMORY,
) -> tuple[Float[np.ndarray, " example"], Float[np.ndarray, " example"]]:
    """The target with nothing and with everything taken away, (example,) each."""
    whole, nothing = np.zeros(len(rows)), np.zeros(len(rows))
    for some in players(subject, rows, names, batch_size=batch_size, max_memory=max_memory):
        every = np.arange(len(some.index))
        whole[some.index] = some.scores(every, some.all_kept(), "removing tokens")
        nothing[some.index] = some.scores(every, some.none_kept(), "removing tokens")
    return whole, nothing
