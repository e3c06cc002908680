"""A concept erased from a layer: no linear probe of what the layer gives does better than chance."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..errors import DataError, UsageError, did_you_mean, first
from ..records import Floats, Rows
from .copying import copied
from .edits import AT_RUN_TIME, Edit, with_edit
from .models import Subject, chunks
from .runtime_edits import OUTPUT, module_named, states_of

METHODS = ("leace", "mean projection")
POOLS = ("first", "mean", "last", "tokens")
SMALLEST = (
    1e-10  # part of the largest variance; a direction that has less, rounding perhaps, counts as having this
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Eraser:
    """The affine map r(x) = x - L R (x - mean) that takes a concept out of representations."""

    method: str
    left: Floats  # (width, rank)
    right: Floats  # (rank, width)
    mean: Floats  # (width,)
    cross_covariance: float  # largest |covariance| with the concept after erasure, part of the largest before
    change: float  # mean ||r(x) - x||^2, part of the representations' total variance

    def __call__(self, states: Floats) -> Floats:
        """Representations (example, width) with the concept erased."""
        erased: Floats = states - (states - self.mean) @ self.right.T @ self.left.T
        return erased


def fit_eraser(
    states: Floats, concept: Floats, *, method: Literal["leace", "mean projection"] = "leace"
) -> Eraser:
    """The map that makes representations uncorrelated with a concept.

    "leace" is least-squares concept erasure (Belrose et al. 2023, theorem 4.2): with S_xx and S_xz the covariances and
    W = (S_xx^1/2)^+, P the orthogonal projection onto the columns of W S_xz: r(x) = x - W^+ P W (x - mean). Of all
    affine maps after which no linear predictor of z beats a constant one, it changes x least in mean square. "mean
    projection" projects onto the orthogonal complement of the columns of S_xz, which for classes are
    differences of their means (all directions of Shao et al. 2023, spectral attribute removal): simpler, it guards as
    well, and changes x more.

    Departure: variances of less than 1e-10 of the largest are taken to be that in W, so that W has an inverse, and what
    rounding leaves of a correlation in such directions goes too.

    Args:
        states: (example, width) float64.
        concept: (example, dimension): indicators of classes, or numbers.

    Raises:
        UsageError: there is no such method, or the shapes do not belong together.
        DataError: fewer than two rows, a value that is not finite, or nothing to erase: the concept is constant
            or uncorrelated with the representations already.
    """
    if method not in METHODS:
        raise UsageError(f"method {method!r} is not known: {did_you_mean(method, METHODS)}")
    if states.ndim != 2 or concept.ndim != 2 or len(states) != len(concept):
        raise UsageError(
            f"states have the shape {states.shape} and the concept {concept.shape}; (example, width) and (example, "
            "dimension) of the same examples are expected."
        )
    if len(states) < 2:
        raise DataError(
            f"{len(states)} rows are known of the concept; two at least are expected, and many more make sense."
        )
    x, z = states.astype(np.float64), concept.astype(np.float64)
    if not np.isfinite(x).all() or not np.isfinite(z).all():
        raise DataError("representations or concept hold values that are not finite.")
    mean = x.mean(axis=0)
    x, z = x - mean, z - z.mean(axis=0)
    s_xx, s_xz = x.T @ x / len(x), x.T @ z / len(x)
    scale = np.sqrt(np.outer(np.diag(s_xx), np.diag(z.T @ z / len(z))))
    if not np.any(np.abs(s_xz) > 1e-12 * max(float(scale.max()), np.finfo(np.float64).tiny)):
        raise DataError(
            "there is nothing to erase: the concept is the same in all rows, or no feature of the representations is "
            "correlated with it."
        )
    if method == "leace":
        values, vectors = np.linalg.eigh(s_xx)
        roots = np.sqrt(np.maximum(values, SMALLEST * values[-1]))
        whiten = vectors / roots @ vectors.T  # W
        colour = vectors * roots @ vectors.T  # W^+
        basis = _columns(whiten @ s_xz)
        left, right = colour @ basis, basis.T @ whiten
    else:
        basis = _columns(s_xz)
        left, right = basis, basis.T
    erased = x - x @ right.T @ left.T
    return Eraser(
        method=method,
        left=left,
        right=right,
        mean=mean,
        cross_covariance=float(np.abs(erased.T @ z / len(x)).max() / np.abs(s_xz).max()),
        change=float(((erased - x) ** 2).sum() / (x**2).sum()),
    )


def _columns(matrix: Floats) -> Floats:
    """An orthonormal basis of a matrix's columns, (row, rank)."""
    u, values, _ = np.linalg.svd(matrix, full_matrices=False)
    basis: Floats = u[:, values > 1e-9 * values[0]]
    return basis


def least_squares_r2(states: Floats, concept: Floats) -> float:
    """The part of the concept's variance that a least-squares probe with intercept explains on its own rows.

    Directions whose variance is less than 1e-10 of the largest are left out: they hold rounding.
    """
    x, z = states - states.mean(axis=0), concept - concept.mean(axis=0)
    told = x @ np.linalg.lstsq(x, z, rcond=SMALLEST**0.5)[0]
    return float((told**2).sum() / (z**2).sum())


def erase_concept(
    subject: Subject,
    rows: Rows,
    concept: npt.ArrayLike | Sequence[str | None],
    *,
    module: str,
    pool: Literal["first", "mean", "last", "tokens"] = "first",
    method: Literal["leace", "mean projection"] = "leace",
    name: str = "concept",
    batch_size: int = 64,
) -> Subject:
    """A new Subject that goes on from a module's output without a concept; the old one stays as it is.

    The map is fitted on representations of the rows (`fit_eraser`) and applied whenever the module runs. What is fitted on
    the "first" token is applied there alone; what is fitted on the mean over tokens, the last one or every token is
    applied at every token (the map is affine, so that the mean of what is erased is the erased mean). Later
    layers may still find the concept elsewhere: other tokens, or by what is not linear.

    Args:
        rows: validation rows.
        concept: one value per row: names of groups (None is unknown, and left out), or numbers, (example,) or
            (example, dimension).
        module: a part of `subject.module` whose (first) output is (example, token, width) or (example, width).
        pool: which tokens represent a row: "first", "mean", "last" or "tokens" (each one, with its row's concept).
            Padding is left out. Of an output without tokens it says nothing.
        name: of the concept, for the record.

    Raises:
        UsageError: there is no such pool or method, or the concept has not one value per row.
        ModelError: there is no such module, or its output is no such tensor.
        DataError: there are no rows, or there is nothing to erase.
    """
    if pool not in POOLS:
        raise UsageError(f"pool {pool!r} is not known: {did_you_mean(pool, POOLS)}")
    if not len(rows):
        raise DataError("there are no validation rows to fit the erasure on.")
    wanted, known, levels = _concept(concept, rows)
    some = rows.take(known)
    states, place = representations(subject, some, module=module, pool=pool, batch_size=batch_size)
    z = wanted[known][place]
    eraser = fit_eraser(states, z, method=method)
    parameters: dict[str, Any] = {
        "concept": name,
        "levels": levels,
        "module": module,
        "pool": pool,
        "method": method,
        "rank": int(eraser.left.shape[1]),
        "width": int(eraser.left.shape[0]),
        "n_representations": len(states),
        "n_unknown": len(rows) - len(known),
        "probe_r2_before": least_squares_r2(states, z),
        "probe_r2_after": least_squares_r2(eraser(states), z),
        "cross_covariance_after": eraser.cross_covariance,
        "change": eraser.change,
    }
    edit = Edit(
        kind="concept erasure",
        way=AT_RUN_TIME,
        n_rows=len(some),
        parameters=parameters,
        place={"at": OUTPUT, "module": module, "positions": "first" if pool == "first" else "every"},
        tensors={key: torch.from_numpy(getattr(eraser, key).copy()) for key in ("left", "right", "mean")},
    )
    return with_edit(copied(subject, some), edit)


def representations(
    subject: Subject,
    rows: Rows,
    *,
    module: str,
    pool: Literal["first", "mean", "last", "tokens"] = "first",
    batch_size: int = 64,
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """What a module gives for each row, (representation, width) in float64, and the row of each.

    Raises:
        ModelError: there is no such module, it did not run, or its output is no tensor of states.
        DataError: a representation is not finite.
    """
    part = module_named(subject, module)
    found: list[Floats] = []
    places: list[int] = []
    start = 0
    for some in chunks(rows, batch_size):
        states = _run(subject, part, some, module)
        if states.ndim == 2:
            found.append(states)
            places.extend(range(start, start + len(some)))
        else:
            for i, tokens in enumerate(subject.names(some)):
                own = states[i, : len(subject.prefix) + len(tokens)]
                pooled = {"first": own[:1], "last": own[-1:], "tokens": own}
                found.append(own.mean(axis=0, keepdims=True) if pool == "mean" else pooled[pool])
                places.extend([start + i] * len(found[-1]))
        start += len(some)
    stacked = np.concatenate(found)
    if not np.isfinite(stacked).all():
        raise DataError(f"{module} gives values that are not finite on these {len(rows)} rows.")
    return stacked, np.array(places, dtype=np.int64)


@torch.no_grad()
def _run(subject: Subject, part: nn.Module, rows: Rows, module: str) -> Floats:
    seen: list[Tensor] = []
    handle = part.register_forward_hook(
        lambda owner, _, output: seen.append(states_of(owner, output).detach().cpu().double())
    )
    try:
        batch = subject.encode(rows)
        seen.clear()  # an encode may run the model too
        subject.forward(batch, None)
    finally:
        handle.remove()
    if len(seen) != 1 or len(seen[0]) != len(rows):
        shapes = [tuple(one.shape) for one in seen]
        raise UsageError(
            f"{module} ran {len(seen)} time(s) for {len(rows)} rows and gave {first(shapes)}; one run with the example "
            "first is expected. Name another module."
        )
    states: Floats = seen[0].numpy()
    return states


def _concept(
    concept: npt.ArrayLike | Sequence[str | None], rows: Rows
) -> tuple[Floats, npt.NDArray[np.intp], list[str]]:
    """The concept as numbers (example, dimension), the rows where it is known, and the names of its levels."""
    values = np.asarray(concept)
    if len(values) != len(rows) or values.ndim not in (1, 2):
        raise UsageError(
            f"the concept has the shape {values.shape}; one value per row ({len(rows)}) is expected."
        )
    if values.dtype.kind in "biuf":
        numbers = values.astype(np.float64).reshape(len(values), -1)
        return numbers, np.flatnonzero(np.isfinite(numbers).all(axis=1)), []
    if values.ndim != 1:
        raise UsageError(
            "a concept in words has one word per row; several columns are expected to be numbers."
        )
    known = np.array([value is not None for value in values.tolist()])
    levels = sorted({str(value) for value in values[known].tolist()})
    if len(levels) < 2:
        raise DataError(f"the concept has the level(s) {first(levels) or 'none'}; two or more are expected.")
    # One level fewer than there are says it all: the last is what none of the others is.
    shown = np.array([[float(str(value) == level) for level in levels[:-1]] for value in values.tolist()])
    return shown, np.flatnonzero(known), levels
