"""Counterfactuals: rows with an identity swapped, scored elsewhere, compared pair by pair with the originals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import UsageError, did_you_mean
from ..records import EXIT_CODES, PRECEDENCE, Verdict, plain
from .column_flips import flipped as flipped
from .pair_inputs import clusters, predictions, scores
from .pair_statistics import Flips, Shift, flips, shift
from .pair_verdicts import Judged as Judged
from .pair_verdicts import judge, tolerances
from .swapped_rows import Swapped as Swapped
from .swapped_rows import swapped as swapped

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Pairs of one direction: decisions that flip, scores that move."""

    direction: str  # "male -> female"; "all" for all of them
    group: str  # a value of the column named by `by`; "" for all rows
    n: int
    flips: Flips | None  # None without predictions or a threshold
    shift: Shift | None  # None without scores


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstPair:
    """A pair to look at: those that flip first, then the largest shifts."""

    id: str
    original: str
    direction: str
    score_before: float | None
    score_after: float | None
    flipped: bool | None
    before: str  # the text, or the changed columns
    after: str
    warning: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Counterfactuals:
    """What a model does when nothing but an identity changes."""

    n: int  # pairs
    n_rows: int  # original rows handed in
    overall: Compared
    directions: tuple[Compared, ...]
    groups: tuple[Compared, ...]  # each direction by a column of groups, where one was named
    judged: tuple[Judged, ...]
    verdict: Verdict | None  # None: no tolerance declared
    worst: tuple[WorstPair, ...]
    not_swapped: Mapping[str, int]  # reason -> rows (a row counts once for every copy that was asked of it)
    shifts: Floats | None  # (pair,) score after minus before
    flipped: Bools | None  # (pair,)
    tolerance: Mapping[str, float]
    set_by: str | None
    threshold: float | None
    confidence: float
    alpha: float
    clustered: bool
    notes: tuple[str, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 within tolerance or nothing gated, 1 exceeds, 4 inconclusive or not assessed."""
        return EXIT_CODES[self.verdict]

    @property
    def frame(self) -> Any:
        """Every direction, overall and by group, as a pandas DataFrame."""
        import pandas as pd

        listed = []
        for one in (self.overall, *self.directions, *self.groups):
            row: dict[str, Any] = {"direction": one.direction, "group": one.group, "n": one.n}
            if one.flips is not None:
                row |= {f"flip_{k}": v for k, v in plain(one.flips).items() if k not in ("n", "n_units")}
            if one.shift is not None:
                row |= {f"shift_{k}": v for k, v in plain(one.shift).items() if k not in ("n", "n_units")}
            listed.append(row)
        return pd.DataFrame(listed)

    def of(self, direction: str) -> Compared:
        """The pairs of one direction.

        Raises:
            UsageError: there is none of this name.
        """
        for one in (self.overall, *self.directions):
            if one.direction == direction:
                return one
        known = [ALL, *(one.direction for one in self.directions)]
        raise UsageError(f"there is no direction {direction!r}: {did_you_mean(direction, known)}")

    def __repr__(self) -> str:
        flip = self.overall.flips
        said = "" if flip is None else f", {flip.n_flipped} flipped"
        move = self.overall.shift
        said += "" if move is None else f", mean |shift| {move.mean_absolute:.3g}"
        return f"Counterfactuals({self.n} pairs{said}; verdict: {self.verdict or 'no tolerance declared'})"


def compare_pairs(
    swapped: Swapped,
    score_original: npt.ArrayLike | None = None,
    score_swapped: npt.ArrayLike | None = None,
    *,
    threshold: float | None = None,
    prediction_original: npt.ArrayLike | None = None,
    prediction_swapped: npt.ArrayLike | None = None,
    per_pair: bool = False,
    cluster: Sequence[Any] | npt.NDArray[Any] | None = None,
    by: str | None = None,
    tolerance: Mapping[str, float] | None = None,
    set_by: str | None = None,
    alpha: float = 0.05,
    confidence: float = 0.95,
    minimum: int = 10,
    replicates: int = 0,
    seed: int = 0,
    n_worst: int = 10,
) -> Counterfactuals:
    """Each original row beside its swapped copies: flip rate, score shift, direction, worst pairs, verdict.

    Directions ("male -> female") are never pooled where signs matter: a model that always prefers one group
    shifts up one way and down the other. Verdicts, for each direction and declared measure: within tolerance where the
    one-sided 1 - alpha upper bound (of the size, for the mean shift) is inside; exceeds where "no more than the
    tolerance" is rejected, Holm over everything judged; else inconclusive. A direction with fewer than `minimum`
    pairs (clusters) is not assessed. Of texts that name several groups the mean shift is not judged.

    Args:
        swapped: from `swapped` or `flipped`.
        score_original: (original row,) scores of `swapped.original`.
        score_swapped: (swapped row,) scores of `swapped.rows`, by the same model in the same unit.
        threshold: a row is predicted positive where its score is above it.
        prediction_original, prediction_swapped: decisions, in place of a threshold; bool, or labels.
        per_pair: what is given of the originals is (swapped row,), of `swapped.originals`, as scores are that depend on
            both sentences of a pair (`interpret.pseudo_likelihood.pair_scores`).
        cluster: (original row,) people, documents or templates that rows belong to; by default every row is its own.
        by: a group column of the rows: every direction by its values too, which are not judged.
        tolerance: of "flip_rate" (a share), "mean_shift" (of its size), "mean_absolute_shift" (in the unit of the score).
        set_by: who set the tolerances.
        replicates: draws of the BCa bootstrap for the intervals shown; 0 for Student's t. Verdicts use t.

    Raises:
        DataError: scores or predictions of other lengths or not finite, or a cluster is missing.
        UsageError: neither scores nor predictions, a threshold without scores, an unknown measure or group column, an
            impossible number.
    """
    _check_numbers(alpha, confidence, minimum, replicates, n_worst)
    declared = tolerances(tolerance or {})
    before, after = scores(swapped, score_original, score_swapped, per_pair=per_pair)
    decided = predictions(
        swapped,
        score_original,
        score_swapped,
        threshold,
        prediction_original,
        prediction_swapped,
        per_pair=per_pair,
    )
    if before is None and decided is None:
        raise UsageError("neither scores nor predictions are given: compare_pairs(swapped, before, after).")
    codes = clusters(swapped, cluster)
    names = np.array([one.direction for one in swapped.swaps], dtype=object)

    def compared(direction: str, group: str, where: Ints) -> Compared:
        # Copies of one row are of different directions: only all of them together can hold a row twice.
        part = codes[where]
        inside = part if cluster is not None or len(np.unique(part)) < len(part) else None
        one_way = direction != ALL and " & " not in direction
        return Compared(
            direction=direction,
            group=group,
            n=len(where),
            flips=None
            if decided is None
            else flips(decided[0][where], decided[1][where], cluster=inside, confidence=confidence),
            shift=None
            if before is None or after is None
            else shift(
                before[where],
                after[where],
                cluster=inside,
                one_direction=one_way,
                confidence=confidence,
                replicates=replicates,
                seed=seed,
            ),
        )

    places = {name: np.flatnonzero(names == name) for name in swapped.directions}
    flipped_ = None if decided is None else np.asarray(decided[0] != decided[1])
    shifts = None if before is None or after is None else after - before
    judged = judge(places, flipped_, shifts, codes if cluster is not None else None, declared, alpha, minimum)
    verdict = None
    if declared:
        verdict = next(v for v in PRECEDENCE if any(one.verdict == v for one in judged))
    return Counterfactuals(
        n=len(swapped),
        n_rows=len(swapped.original),
        overall=compared(ALL, "", np.arange(len(swapped))),
        directions=tuple(compared(name, "", where) for name, where in places.items()),
        groups=tuple(
            compared(name, group, part)
            for name, where in places.items()
            for group, part in _by(swapped, by, where)
        ),
        judged=judged,
        verdict=verdict,
        worst=_worst(swapped, before, after, flipped_, n_worst),
        not_swapped=swapped.reasons,
        shifts=shifts,
        flipped=flipped_,
        tolerance=declared,
        set_by=set_by,
        threshold=threshold,
        confidence=confidence,
        alpha=alpha,
        clustered=cluster is not None,
        notes=swapped.notes,
        provenance=swapped.provenance,
    )


def _check_numbers(alpha: float, confidence: float, minimum: int, replicates: int, n_worst: int) -> None:
    if not 0 < alpha < 0.5 or not 0 < confidence < 1:
        raise UsageError(f"alpha is {alpha}, confidence {confidence}; 0 to 0.5 and 0 to 1 are expected.")
    if minimum < 2 or n_worst < 0 or not (replicates == 0 or replicates >= 100):
        raise UsageError(
            f"minimum is {minimum}, n_worst {n_worst}, replicates {replicates}; 2 or more, 0 or more, and 0 or 100 or more "
            "are expected."
        )


def _by(swapped: Swapped, by: str | None, where: Ints) -> list[tuple[str, Ints]]:
    if by is None:
        return []
    if by not in swapped.rows.groups:
        raise UsageError(f"the rows have no group column {by!r}: {did_you_mean(by, swapped.rows.groups)}")
    values = np.array([value or "unknown" for value in swapped.rows.groups[by]], dtype=object)
    return [(name, where[values[where] == name]) for name in dict.fromkeys(values[where].tolist())]


def _worst(
    swapped: Swapped, before: Floats | None, after: Floats | None, flipped_: Bools | None, most: int
) -> tuple[WorstPair, ...]:
    n = len(swapped)
    size = np.zeros(n) if before is None or after is None else np.abs(after - before)
    turned = np.zeros(n, dtype=np.bool_) if flipped_ is None else flipped_
    order = np.lexsort((np.arange(n), -size, ~turned))[:most]
    made = []
    for i in (int(at) for at in order):
        if size[i] == 0 and not turned[i]:
            break
        one = swapped.swaps[i]
        if swapped.column is not None:
            shown = (
                str(swapped.original.inputs[swapped.column][swapped.place[i]]),
                str(swapped.rows.inputs[swapped.column][i]),
            )
        else:
            shown = (
                ", ".join(f"{name} = {old}" for name, (old, _) in one.changes.items()),
                ", ".join(f"{name} = {new}" for name, (_, new) in one.changes.items()),
            )
        made.append(
            WorstPair(
                id=one.id,
                original=one.original,
                direction=one.direction,
                score_before=None if before is None else float(before[i]),
                score_after=None if after is None else float(after[i]),
                flipped=None if flipped_ is None else bool(turned[i]),
                before=shown[0],
                after=shown[1],
                warning=one.warning,
            )
        )
    return tuple(made)
