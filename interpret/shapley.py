"""Shapley values of the tokens that can be taken away: exact, by sampled permutations, or by a regression."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from ..errors import ModelError, first
from ..records import Attribution, Rows
from .attributions import attributed
from .batches import MAX_MEMORY
from .draws import drawing, row_seed
from .models import Subject, score
from .players import Players, players

EXACT_UP_TO = 10
MOST_EXACT = 20  # 2^20 coalitions of one example
TOGETHER = 4096  # coalitions handed over in one call, of several examples where one has fewer


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Game:
    """The coalitions of one example's players that have to be run, and the permutations they came from, if any."""

    coalitions: Bool[np.ndarray, "run player"]  # True: in place
    permutations: Int[np.ndarray, "draw player"] | None = (
        None  # None: the coalitions are all there are, in order
    )
    steps: Int[np.ndarray, "draw step"] | None = (
        None  # the place of each permutation's growing coalition among them
    )

    def shares(
        self, values: Float[np.ndarray, " run"]
    ) -> tuple[Float[np.ndarray, " player"], Float[np.ndarray, " player"]]:
        """Each player's share of f(x) - f(b), and its standard error, from the target of each coalition."""
        if self.permutations is None or self.steps is None:
            made = exact_shares(values)
            return made, np.zeros_like(made)
        gained = np.diff(values[self.steps], axis=1)
        of_player = np.empty_like(gained)
        np.put_along_axis(of_player, self.permutations, gained, axis=1)
        half = len(of_player) // 2  # the second half are the first's reversals: a pair is one draw
        pairs = (of_player[:half] + of_player[half:]) / 2
        return pairs.mean(axis=0), pairs.std(axis=0, ddof=1) / math.sqrt(half)


def every_coalition(n: int) -> Bool[np.ndarray, "run {n}"]:
    """All 2^n coalitions of n players; player i is in those whose number has bit i."""
    made: npt.NDArray[np.bool_] = (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(np.bool_)
    return made


def exact_shares(values: Float[np.ndarray, " run"]) -> Float[np.ndarray, " player"]:
    """Shapley values from the worth of all coalitions, in the order of `every_coalition` (Lundberg & Lee 2017, eq. 4)."""
    n = len(values).bit_length() - 1
    number = np.arange(len(values))
    weights = np.array([1 / (n * math.comb(n - 1, size)) for size in range(n)])
    shares = np.zeros(n)
    for player in range(n):
        without = number[(number >> player & 1) == 0]
        gained = values[without | 1 << player] - values[without]
        shares[player] = weights[np.bitwise_count(without)] @ gained
    return shares


def sampled_game(n: int, pairs: int, seed: int) -> Game:
    """The coalitions that grow along random permutations and their reversals, each coalition once."""
    drawn = np.random.default_rng(seed).permuted(np.tile(np.arange(n), (pairs, 1)), axis=1)
    permutations = np.concatenate([drawn, drawn[:, ::-1]])
    place = np.argsort(permutations, axis=1)
    grown = place[:, None, :] < np.arange(n + 1)[None, :, None]  # (draw, step, player)
    flat = grown.reshape(-1, n)
    _, first_place, again = np.unique(
        np.packbits(flat, axis=1), axis=0, return_index=True, return_inverse=True
    )
    return Game(
        coalitions=flat[first_place], permutations=permutations, steps=again.reshape(len(permutations), n + 1)
    )


def shapley_values(
    subject: Subject,
    rows: Rows,
    *,
    pairs: int = 25,
    exact_up_to: int = EXACT_UP_TO,
    batch_size: int = 64,
    max_memory: int = MAX_MEMORY,
    seed: int = 0,
    progress: bool = False,
) -> Attribution:
    """Each token's Shapley value: its mean gain of the target over all orders in which tokens can be put in place.

    A token that is not in place has the reference's embedding instead of its own; padding and markers, which the
    reference shares, are no players and get 0. An example of at most `exact_up_to` players is solved exactly, by all 2^n
    coalitions (Shapley 1953). A larger one is sampled (Castro et al. 2009) in antithetic pairs, a permutation and its
    reversal (Mitchell et al. 2022). Exact or sampled, the scores add up to f(x) - f(b)
    to rounding, since every permutation's gains do; the residual says nothing of the sampling error, which is in
    `Attribution.errors`.

    Args:
        pairs: permutations drawn for a sampled example, each run in both directions; 2 or more.
        exact_up_to: the most players that are solved exactly, 0 to 20.
        batch_size: rows encoded together, of about one length.
        max_memory: bytes that decide how many coalitions one pass runs, counted as if for a backward pass.
        seed: of the permutations, which depend on it, on the row's id and on the baseline in words, and on no other row.
        progress: show a bar.

    Returns:
        Scores (example, token) in the subject's unit, float64, 0 beyond an example's last token. `errors` are standard
        errors over pairs, 0 where exact; `nodes` the coalitions run: 2^n, or up to 2 pairs (n - 1) + 2.

    Raises:
        DataError: no rows, or a score that is not finite.
        ModelError: pairs, exact_up_to or a batch size out of range, or memory that one row alone exceeds.
    """
    if pairs < 2:
        raise ModelError(f"pairs is {pairs}; a standard error needs 2 or more.")
    if not 0 <= exact_up_to <= MOST_EXACT:
        raise ModelError(
            f"exact_up_to is {exact_up_to}, expected 0 to {MOST_EXACT}: an example of n players takes 2^n coalitions."
        )
    value = score(subject, rows, batch_size=batch_size)
    names = subject.names(rows)
    scores = np.zeros((len(rows), max(len(tokens) for tokens in names)))
    errors = np.zeros_like(scores)
    base = np.zeros(len(rows))
    runs = np.zeros(len(rows), dtype=np.int64)
    sampled = 0
    with tqdm(total=len(rows), desc="Shapley values", unit="row", disable=not progress) as bar:
        for group in players(subject, rows, names, batch_size=batch_size, max_memory=max_memory):
            games = (
                Game(coalitions=every_coalition(len(places)))
                if len(places) <= exact_up_to
                else sampled_game(len(places), pairs, row_seed(seed, rows.ids[i], subject.baseline))
                for i, places in zip(group.index, group.places, strict=True)
            )
            for which, game, values in played(group, games):
                i, places = group.index[which], group.places[which]
                scores[i, places], errors[i, places] = game.shares(values)
                base[i] = values[game.coalitions.sum(axis=1).argmin()]
                runs[i] = len(values)
                sampled += game.permutations is not None
                bar.update()
    notes = (f"{len(rows) - sampled} examples by all coalitions, {sampled} by {pairs} pairs of permutations",)
    return attributed(
        "Shapley values",
        subject,
        rows,
        names,
        scores,
        value=value,
        base_value=base,
        nodes=runs,
        errors=errors,
        seed=seed,
        notes=notes,
    )


def played(group: Players, games: Iterable[Game]) -> Iterator[tuple[int, Game, Float[np.ndarray, " run"]]]:
    """Each example's place, its game and the target of every coalition; small games of several examples run together."""
    waiting: list[tuple[int, Game]] = []
    for which, game in enumerate(games):
        waiting.append((which, game))
        if sum(len(other.coalitions) for _, other in waiting) >= TOGETHER:
            yield from _together(group, waiting)
            waiting = []
    if waiting:
        yield from _together(group, waiting)


def _together(
    group: Players, waiting: list[tuple[int, Game]]
) -> Iterator[tuple[int, Game, Float[np.ndarray, " run"]]]:
    lengths = [len(game.coalitions) for _, game in waiting]
    kept = np.concatenate([in_place(group, which, game.coalitions) for which, game in waiting])
    values = group.scores(np.repeat([which for which, _ in waiting], lengths), kept, "Shapley values")
    parts = np.split(values, np.cumsum(lengths)[:-1])
    for (which, game), part in zip(waiting, parts, strict=True):
        yield which, game, part


def in_place(
    group: Players, which: int, coalitions: Bool[np.ndarray, "run player"]
) -> Bool[np.ndarray, "run token"]:
    """Coalitions of an example's players, as flags of all its tokens."""
    kept = np.ones((len(coalitions), group.embedded.shape[1]), dtype=np.bool_)
    kept[:, group.places[which]] = coalitions
    return kept


def kernel_shap(
    subject: Subject,
    rows: Rows,
    *,
    samples: int | None = None,
    batch_size: int = 64,
    max_memory: int = MAX_MEMORY,
    seed: int = 0,
    progress: bool = False,
) -> Attribution:
    """Shapley values as the weights of a linear model of which tokens are in place, by captum's KernelShap.

    Coalitions are drawn with the Shapley kernel's probabilities and the target is regressed on them (Lundberg & Lee 2017,
    theorem 2). The kernel's infinite weights of the empty and of the full coalition are 10^6 in captum, which fits in
    float32: the scores add up to f(x) - f(b) up to that, and `residual` says how closely. No standard errors: for these,
    and for small examples solved exactly, take `shapley_values`. A token taken away has the reference's embedding
    instead of its own; padding and markers, which the reference shares, get 0.

    Args:
        samples: coalitions drawn per example of n players, the empty and the full one included, n + 2 or more; by
            default 2 n + 2048. Those drawn twice run once.
        batch_size: rows encoded together, of about one length.
        max_memory: bytes that decide how many coalitions one pass runs, counted as if for a backward pass.
        seed: of the coalitions, which depend on it, on the row's id and on the baseline in words, and on no other row.
        progress: show a bar.

    Returns:
        Scores (example, token) in the subject's unit, float64 numbers of float32 precision, 0 beyond an example's last
        token. `nodes` are the different coalitions run.

    Raises:
        DataError: no rows, or a score that is not finite.
        ModelError: fewer samples than a regression needs, a batch size below one, or memory that one row alone exceeds.
    """
    value = score(subject, rows, batch_size=batch_size)
    names = subject.names(rows)
    scores = np.zeros((len(rows), max(len(tokens) for tokens in names)))
    base = np.zeros(len(rows))
    runs = np.zeros(len(rows), dtype=np.int64)
    with tqdm(total=len(rows), desc="KernelSHAP", unit="row", disable=not progress) as bar:
        for group in players(subject, rows, names, batch_size=batch_size, max_memory=max_memory):
            ids = [rows.ids[i] for i in group.index]
            _enough(samples, ids, group)
            everyone = np.arange(len(ids))
            base[group.index] = group.scores(everyone, group.none_kept(), "KernelSHAP")
            for which, places in enumerate(group.places):
                i = group.index[which]
                how_many = 2 * len(places) + 2048 if samples is None else samples
                drawn_with = row_seed(seed, ids[which], subject.baseline)
                scores[i, places], runs[i] = _regressed(group, which, how_many, drawn_with)
                bar.update()
    return attributed(
        "KernelSHAP",
        subject,
        rows,
        names,
        scores,
        value=value,
        base_value=base,
        nodes=runs,
        seed=seed,
    )


def _enough(samples: int | None, ids: list[str], group: Players) -> None:
    if samples is None:
        return
    short = [name for name, places in zip(ids, group.places, strict=True) if samples < len(places) + 2]
    if short:
        most = max(len(places) for places in group.places)
        raise ModelError(
            f"samples is {samples}, and {len(short)} rows have up to {most} players, first {first(short)}: the regression "
            f"needs n + 2 coalitions at least. Give samples={2 * most + 2048}, or leave it out."
        )


def _regressed(
    group: Players, which: int, samples: int, seed: int
) -> tuple[Float[np.ndarray, " player"], int]:
    """The weights of one example's players, and how many different coalitions were run."""
    from captum.attr import KernelShap

    n = len(group.places[which])
    ran = 0

    def worth(vectors: Tensor) -> Tensor:
        nonlocal ran
        different, again = np.unique(vectors.numpy() > 0.5, axis=0, return_inverse=True)
        ran += len(different)
        flags = in_place(group, which, different)
        return torch.from_numpy(
            group.scores(np.full(len(flags), which), flags, "KernelSHAP")[again.reshape(-1)]
        )

    if n < 2:  # nothing to draw: captum's distribution of coalition sizes is empty
        empty, full = np.zeros((1, n), dtype=np.bool_), np.ones((1, n), dtype=np.bool_)
        flags = in_place(group, which, np.concatenate([empty, full]))
        without, whole = group.scores(np.full(2, which), flags, "KernelSHAP")
        return np.full(n, whole - without), 2
    with drawing(seed):
        made: Tensor = KernelShap(worth).attribute(
            torch.ones(1, n), baselines=torch.zeros(1, n), n_samples=samples, perturbations_per_eval=samples
        )
    return made[0].double().numpy(), ran
