"""Partial counts added up: what counting all the rows in one place gives."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .distinct_rows import (
    MOST_EXACT,
    SCORE_BINS,
    Binned,
    Codes,
    Floats,
    Ints,
    Roles,
    ScoreRule,
    Tally,
    binned_before,
    evidence_of,
)
from .errors import DataError, UsageError
from .evidence import Evidence


def merge(
    parts: Sequence[Evidence],
    *,
    score_edges: tuple[float, float] | None = None,
    score_bins: int = SCORE_BINS,
    most_exact: int = MOST_EXACT,
) -> Evidence:
    """Partial counts added up: what counting all the rows in one place gives.

    Counts are integers and exact. Means and squares of measures agree with those of the whole to 1e-12 of
    the largest value. Scores that one part kept exactly and another in bins are put into these bins; exact
    scores that are too many together are binned by the rule of `Source.counted`.

    Args:
        parts: counted evidence with the same roles, from `Source.counted` or from files of it.
        score_edges, score_bins, most_exact: as in `Source.counted`.

    Raises:
        UsageError: there are no parts.
        DataError: a part is not counted, has other roles, or its scores lie in other bins.
    """
    if not parts:
        raise UsageError("there are no parts to merge. Give at least one.")
    rule = ScoreRule(most_exact=most_exact, bins=score_bins, edges=score_edges)
    roles = _roles_of(parts)
    binned = _bins_of(parts)
    scores = [part.column(part.score) + 0.0 if part.score else None for part in parts]
    score: Floats | None = None
    if roles.score is not None:
        known = [values for values in scores if values is not None]
        if binned is None:
            score = np.concatenate(known)
            if len(np.unique(score)) > most_exact:
                low, high = rule.edges_of(float(score.min()), float(score.max()))
                binned = Binned(low=low, high=high, bins=score_bins)
                _inside(known, binned)
                score = binned.of(score)
        else:
            own = [binned_before(part.provenance) is not None for part in parts]
            _inside([values for values, done in zip(known, own, strict=True) if not done], binned)
            score = np.concatenate(
                [values if done else binned.of(values) for values, done in zip(known, own, strict=True)]
            )
    tally = Tally(
        texts={name: _united([part.codes(name) for part in parts]) for name in roles.texts},
        weight=np.concatenate([part.weights for part in parts]) if roles.weight else None,
        score=score,
        counts=np.concatenate([part.counts for part in parts]),
        measures={
            name: (
                np.concatenate([part.column(name) for part in parts]),
                np.concatenate(
                    [
                        part.column(part.squares[name]) if name in part.squares else np.zeros(len(part))
                        for part in parts
                    ]
                ),
            )
            for name in roles.measures
        },
        join=_joined,
    )
    return evidence_of(tally, roles, binned, _provenance_of(parts))


def _roles_of(parts: Sequence[Evidence]) -> Roles:
    names = (
        "label",
        "prediction",
        "score",
        "groups",
        "measures",
        "positive",
        "weight",
        "cluster",
        "strata",
    )
    for i, part in enumerate(parts):
        if part.count is None:
            raise DataError(
                f"part {i + 1} of {len(parts)} is not counted: it has a row per example. "
                "Count it with clinometer.sources.scan(...).counted() before it is merged."
            )
        for name in names:
            if getattr(part, name) != getattr(parts[0], name):
                raise DataError(
                    f"part {i + 1} of {len(parts)} has the {name} {getattr(part, name)!r}, part 1 has "
                    f"{getattr(parts[0], name)!r}. Count all parts with the same roles."
                )
    given = {name: getattr(parts[0], name) for name in names}
    return Roles(**given, count=parts[0].count, squares=parts[0].squares)


def _bins_of(parts: Sequence[Evidence]) -> Binned | None:
    found: dict[Binned, int] = {}
    for i, part in enumerate(parts):
        said = binned_before(part.provenance)
        if part.score is not None and said is not None:
            found.setdefault(said, i + 1)
    if len(found) > 1:
        shown = "; ".join(f"part {i}: {b.bins:,} between {b.low} and {b.high}" for b, i in found.items())
        low, high = min(b.low for b in found), max(b.high for b in found)
        raise DataError(
            f"the scores of the parts lie in different bins ({shown}), which cannot be added up. "
            f"Count each part with score_edges=({low}, {high}) and the same score_bins."
        )
    return next(iter(found), None)


def _inside(scores: Sequence[Floats], binned: Binned) -> None:
    out = sum(int(((values < binned.low) | (values > binned.high)).sum()) for values in scores)
    if out:
        low = min(float(values.min()) for values in scores if len(values))
        high = max(float(values.max()) for values in scores if len(values))
        raise DataError(
            f"{out} scores lie outside the edges {binned.low} and {binned.high}: they reach from {low} to {high}. "
            f"Count each part with score_edges=({min(low, binned.low)}, {max(high, binned.high)})."
        )


def _united(parts: Sequence[tuple[Codes, tuple[str, ...]]]) -> tuple[Codes, tuple[str, ...]]:
    names = sorted({name for _, named in parts for name in named})
    code = {name: i for i, name in enumerate(names)}
    return (
        np.concatenate(
            [np.array([*(code[name] for name in named), -1], dtype=np.int32)[codes] for codes, named in parts]
        ),
        tuple(names),
    )


def _provenance_of(parts: Sequence[Evidence]) -> dict[str, Any]:
    """What the parts agree on; where they differ, what each of them says, in an order of its own."""
    own = [{k: v for k, v in part.provenance.items() if k not in {"counted", "notes"}} for part in parts]
    written = sorted({json.dumps(said, sort_keys=True, default=str) for said in own})
    return own[0] if len(written) == 1 else {"parts": [json.loads(said) for said in written]}


def _joined(
    _: str, arrays: tuple[npt.NDArray[Any], ...], n: Ints, starts: Ints, counts: Ints
) -> tuple[Floats, Floats]:
    """Mean and sum of squared deviations of the rows of each run (Chan, Golub and LeVeque 1983, equation 2.1)."""
    mean, squares = arrays
    if len(starts) == len(mean):
        return mean, squares
    # From the first mean of each run, so that parts of one value keep it to the last bit.
    base = mean[starts]
    which = np.repeat(np.arange(len(starts)), np.diff([*starts, len(mean)]))
    off = mean - base[which]
    shift = np.add.reduceat(n * off, starts) / counts
    joint = np.add.reduceat(squares + n * (off - shift[which]) ** 2, starts)
    return base + shift, joint
