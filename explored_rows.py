"""Which rows an explorer shows and watches a gap on, and the one row that a text or features make."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .bias.gap_contrast import GapContrast
from .bias.swapped_rows import Swapped
from .errors import DataError, UsageError, did_you_mean, first
from .explored_gaps import AskedGap
from .records import Rows

if TYPE_CHECKING:
    from .interpret.models import Subject

ONE = "example"  # the id of an example that is given by itself


def one_row(subject: "Subject", given: str | Mapping[str, Any] | np.ndarray[Any, Any]) -> Rows:
    """The one row that a text, features or an array make.

    Raises:
        UsageError: the model reads something else, or a feature is missing or unknown.
    """
    columns = subject.columns
    if isinstance(given, Mapping):
        known = (*columns, *subject.optional)
        missing = [name for name in columns if name not in given]
        odd = [name for name in given if known and name not in known]
        if odd:
            raise UsageError(f"{subject.name} reads no {odd[0]!r}; {did_you_mean(odd[0], known)}")
        if missing:
            raise UsageError(f"{subject.name} also reads {first(missing)}; give each a value.")
        return Rows(ids=(ONE,), inputs={name: _column(value) for name, value in given.items()})
    if isinstance(given, str):
        if columns and "text" not in columns:
            raise UsageError(f"{subject.name} reads {first(columns)}, and a text is given.")
        return Rows(ids=(ONE,), inputs={"text": _column(given)})
    arrays = [name for name in ("pixels", "series", "audio") if name in columns]
    if not arrays:
        raise UsageError(f"{subject.name} reads {first(columns)}, and an array is given.")
    one = np.asarray(given)
    if arrays[0] != "audio":
        return Rows(ids=(ONE,), inputs={arrays[0]: one[None]})
    recordings = np.empty(1, dtype=object)
    recordings[0] = one
    return Rows(ids=(ONE,), inputs={"audio": recordings})


def _column(value: Any) -> np.ndarray[Any, Any]:
    if isinstance(value, (bool, int, float, np.number)):
        return np.array([value], dtype=np.float64)
    made = np.empty(1, dtype=object)
    made[0] = value
    return made


def given_rows(rows: Rows | None, pairs: Swapped | None) -> Rows:
    if rows is None:
        if pairs is None:
            raise UsageError("there are no rows: give rows, or pairs of swapped ones.")
        rows = pairs.original
    if not len(rows):
        raise DataError("there are no rows to explore.")
    return rows


def pool_of(subject: "Subject", rows: Rows, gap_rows: int | None, gap: AskedGap | None, seed: int) -> Rows:
    """The rows that a gap is watched on and examples are drawn from, spread over groups."""
    from .interpret.affordable import rows_of_a_gap
    from .interpret.chosen_examples import spread

    if gap_rows is not None and gap_rows < 2:
        raise UsageError(f"gap_rows is {gap_rows}; a gap needs 2 rows or more.")
    most = rows_of_a_gap(subject, rows) if gap_rows is None else gap_rows
    if len(rows) <= most:
        return rows
    return rows.take(spread(_kinds(rows, gap), most, seed=seed))


def clusters_of(rows: Rows, pool: Rows, cluster: Sequence[Any] | None) -> npt.NDArray[np.int64] | None:
    """Codes of the pool's clusters, (row,), from one name per row of all rows.

    Raises:
        UsageError: another number of names than rows.
    """
    if cluster is None:
        return None
    if len(cluster) != len(rows):
        raise UsageError(
            f"cluster names {len(cluster)} rows and there are {len(rows)}; one name per row is expected."
        )
    place = {name: i for i, name in enumerate(rows.ids)}
    known: dict[Any, int] = {}
    return np.array([known.setdefault(cluster[place[name]], len(known)) for name in pool.ids], dtype=np.int64)


def _kinds(rows: Rows, gap: AskedGap | None) -> list[tuple[Any, ...]]:
    """What each row is one of: its value of the attribute watched, or of all attributes; the sign of its weight."""
    if isinstance(gap, tuple):
        if gap[0] not in rows.groups:
            raise UsageError(f"there is no group column {gap[0]!r}; {did_you_mean(gap[0], rows.groups)}")
        return [(value,) for value in rows.groups[gap[0]]]
    if gap is not None:
        contrast = gap.contrast if isinstance(gap, GapContrast) else gap
        return [(float(sign),) for sign in np.sign(np.asarray(contrast.weights))]
    return [values for values in zip(*rows.groups.values(), strict=True)] or [()] * len(rows)


def chosen_rows(
    subject: "Subject",
    rows: Rows,
    pool: Rows,
    ids: Sequence[str] | None,
    n: int,
    gap: AskedGap | None,
    pairs: Swapped | None,
    seed: int,
) -> tuple[Rows, dict[str, str], str]:
    """The rows to be shown, each one's partner, and how they were chosen, in words."""
    from .interpret.chosen_examples import spread
    from .interpret.example_scenes import facts_of
    from .interpret.models import score

    if n < 1:
        raise UsageError(f"n is {n}; 1 example or more is expected.")
    if ids is not None and (isinstance(ids, str) or not ids):
        raise UsageError(f"ids={ids!r}; several are expected, e.g. ids=({rows.ids[0]!r},).")
    if pairs is not None:
        return _chosen_pairs(subject, rows, pairs, ids, n)
    if ids is not None:
        place = {name: i for i, name in enumerate(rows.ids)}
        unknown = [name for name in ids if name not in place]
        if unknown:
            raise UsageError(f"no row has the id {unknown[0]!r}; {did_you_mean(unknown[0], rows.ids[:2000])}")
        many = "1 example" if len(ids) == 1 else f"{len(ids)} examples"
        return rows.take([place[name] for name in ids]), {}, many
    if len(pool) <= n:
        what = "all" if len(pool) == len(rows) else f"{len(pool)} of"
        return pool, {}, f"{what} {len(rows)} examples"
    scores = score(subject, pool)
    wrong = [facts_of(subject, pool.take([i]), float(scores[i]))[1] for i in range(len(pool))]
    kinds = [(*kind, bad) for kind, bad in zip(_kinds(pool, gap), wrong, strict=True)]
    over = [
        *(["groups"] if pool.groups else []),
        *(["errors"] if any(bad is not None for bad in wrong) else []),
    ]
    said = f", spread over {' and '.join(over)}" if over else ""
    taken = pool.take(spread(kinds, n, seed=seed))
    return taken, {}, f"{n} of {len(rows)} examples, drawn with seed {seed}{said}"


def _chosen_pairs(
    subject: "Subject", rows: Rows, pairs: Swapped, ids: Sequence[str] | None, n: int
) -> tuple[Rows, dict[str, str], str]:
    """Originals beside copies: those whose decision flips first, then the largest shifts."""
    from .interpret.example_scenes import joined
    from .interpret.models import score

    originals = pairs.originals
    before, after = score(subject, originals), score(subject, pairs.rows)
    flips = (before > subject.threshold) != (after > subject.threshold)
    order = np.lexsort((-np.abs(after - before), ~flips))
    if ids is not None:
        wanted = set(ids)
        known = {*originals.ids, *pairs.rows.ids}
        unknown = [name for name in ids if name not in known]
        if unknown:
            raise UsageError(f"no pair has the id {unknown[0]!r}; {did_you_mean(unknown[0], known)}")
        order = np.array(
            [i for i in order if originals.ids[i] in wanted or pairs.rows.ids[i] in wanted], dtype=np.int64
        )
    else:
        order = order[: max(1, n // 2)]
    partners: dict[str, str] = {}
    some: list[Rows] = []
    for i in order.tolist():
        one, other = originals.ids[i], pairs.rows.ids[i]
        if one not in partners:
            some.append(originals.take([i]))
            partners[one] = other
        some.append(pairs.rows.take([i]))
        partners[other] = one
    said = f"{len(order)} of {len(pairs)} swapped pairs, those whose decision flips first ({int(flips.sum())} of all do)"
    return joined(some), partners, said
