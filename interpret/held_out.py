"""Validation rows in two parts, drawn with a seed: what is learned from, what decides."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError, UsageError
from ..records import Rows

Places = npt.NDArray[np.intp]


def split(
    rows: Rows,
    *strata: npt.NDArray[Any],
    held: float,
    clusters: Sequence[str] | None,
    seed: int,
) -> tuple[Places, Places]:
    """Places of the rows to train on and of those held out, drawn with the seed.

    Every stratum (a combination of the values given) gives its part, rounded; clusters are drawn whole instead.

    Raises:
        UsageError: `held` is no part, or clusters are not one per row.
        DataError: one of the two parts is empty.
    """
    if not 0 < held < 1:
        raise UsageError(f"held is {held}, a part of the rows between 0 and 1 is expected.")
    if clusters is not None and len(clusters) != len(rows):
        raise UsageError(
            f"{len(clusters)} clusters were named for {len(rows)} rows; one for each is expected."
        )
    generator = np.random.default_rng(seed)
    out = np.zeros(len(rows), dtype=bool)
    if clusters is None:
        keys = np.array([str(key) for key in zip(*(one.tolist() for one in strata), strict=True)])
        for key in sorted(set(keys.tolist())):
            places = generator.permutation(np.flatnonzero(keys == key))
            out[places[: round(held * len(places))]] = True
    else:
        names = sorted(set(map(str, clusters)))
        drawn = set(generator.permutation(np.array(names))[: round(held * len(names))].tolist())
        out = np.array([str(name) in drawn for name in clusters])
    if out.all() or not out.any():
        raise DataError(
            f"{int(out.sum())} of {len(rows)} validation rows would be held out (held={held:g}); both parts need some. Give "
            "more rows."
        )
    return np.flatnonzero(~out), np.flatnonzero(out)
