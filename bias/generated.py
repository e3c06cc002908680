"""Generated text as numbers to audit: a user's function of each text, or the terms that it uses."""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ..errors import DataError, UsageError, first
from ..evidence import Evidence
from .group_rows import Floats, Ints

WORD = re.compile(r"\w+(?:['’-]\w+)*")


def score_texts(
    texts: Sequence[str | None],
    function: Callable[[str], float],
    *,
    ids: Sequence[str] | None = None,
    between: tuple[float, float] | None = None,
) -> Floats:
    """A number of each text, (row,), by a function such as toxicity, refusal (0 or 1) or length.

    Args:
        texts: one a row.
        function: text -> number. It is called once for each row, in order, an empty text included.
        ids: names of the rows, for errors.
        between: smallest and largest value that the function may give.

    Raises:
        DataError: a text is missing, or the function raised, or gave something that is no finite number between these.
            The row is named.
    """
    names = [str(i) for i in range(len(texts))] if ids is None else list(ids)
    if len(names) != len(texts):
        raise DataError(f"there are {len(texts)} texts and {len(names)} ids.")
    missing = [name for name, text in zip(names, texts, strict=True) if not isinstance(text, str)]
    if missing:
        raise DataError(
            f"{len(missing)} rows have no text, first: {first(missing)}. Leave them out, or give an empty text."
        )
    called = getattr(function, "__name__", type(function).__name__)
    made = np.empty(len(texts))
    for i, (name, text) in enumerate(zip(names, texts, strict=True)):
        try:
            value = function(str(text))
        except Exception as error:
            raise DataError(
                f"row {name!r}: {called} raised {type(error).__name__}: {error}. Mend it, or leave the row out."
            ) from error
        if not isinstance(value, (bool, int, float, np.bool_, np.integer, np.floating)):
            raise DataError(f"row {name!r}: {called} gave {value!r}; a number is expected.")
        made[i] = float(value)
        if not math.isfinite(made[i]):
            raise DataError(f"row {name!r}: {called} gave {value}; a finite number is expected.")
        if between is not None and not between[0] <= made[i] <= between[1]:
            raise DataError(
                f"row {name!r}: {called} gave {value}; between {between[0]} and {between[1]} is expected."
            )
    return made


def measured(
    evidence: Evidence,
    text: str,
    function: Callable[[str], float],
    name: str,
    *,
    between: tuple[float, float] | None = None,
) -> Evidence:
    """The evidence with one measure more: `function` of the texts in the column `text`, called `name`.

    The audit then treats it as any measure: means by group, differences with intervals, tolerances.

    Raises:
        DataError: as `score_texts`.
        UsageError: the column is missing, or there is one called `name`.
    """
    columns = evidence.table.column_names
    if text not in columns:
        raise UsageError(f"there is no column {text!r}. Columns: {first(columns, 12)}.")
    if name in columns:
        raise UsageError(f"there is a column {name!r} already. Give the measure another name.")
    values = score_texts(evidence.table.column(text).to_pylist(), function, ids=evidence.ids, between=between)
    return dataclasses.replace(
        evidence,
        table=evidence.table.append_column(name, pa.array(values, pa.float64())),
        measures=(*evidence.measures, name),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Representation:
    """How often generated texts mention each group, against equal mention of all."""

    shares: Mapping[str, float | None]  # group -> its share of the mentions; None: there are none
    mentions: Mapping[str, int]
    total_variation: float | None  # half the sum of |share - 1 / groups|: 0 equal, near 1 only one group
    by_chance: float | None  # mean of the same were each mention equally likely to be of any group
    p: float | None  # of at least this much by chance, texts kept whole
    n_texts: int
    n_texts_with: int  # that mention anybody
    replicates: int
    seed: int


def representation(
    texts: Sequence[str], terms: Mapping[str, Sequence[str]], *, replicates: int = 2000, seed: int = 0
) -> Representation:
    """The distance of term counts from uniform (demographic representation of HELM, Liang et al. 2022).

    Words are compared in lower case and whole; a term may be several words. The distance is above 0 by chance, the
    more so the fewer mentions: `by_chance` and p are of draws in which, text by text, the groups' names are exchanged at
    random, so that ten mentions in one text are not taken for ten texts.

    Args:
        texts: what was generated.
        terms: group -> its terms.
        replicates: draws.
        seed: of the draws.

    Raises:
        DataError: fewer than two groups, a group without terms, a term of two groups, or without a word.
    """
    if replicates < 1:
        raise UsageError(f"{replicates} draws; 1 or more are expected.")
    counts = mentions(texts, terms)
    totals = counts.sum(axis=0)
    n, n_groups = int(totals.sum()), len(terms)
    told = counts[counts.sum(axis=1) > 0]
    distance = chance = p = None
    if n:
        distance = _distance(totals[None])[0]
        generator = np.random.default_rng(seed)
        drawn = np.zeros((replicates, n_groups), dtype=np.int64)
        for row in told:
            drawn += generator.permuted(np.broadcast_to(row, (replicates, n_groups)), axis=1)
        null = _distance(drawn)
        chance = float(null.mean())
        p = float(1 + np.count_nonzero(null >= distance - 1e-12)) / (1 + replicates)
    return Representation(
        shares={name: int(k) / n if n else None for name, k in zip(terms, totals, strict=True)},
        mentions={name: int(k) for name, k in zip(terms, totals, strict=True)},
        total_variation=None if distance is None else float(distance),
        by_chance=chance,
        p=p,
        n_texts=len(texts),
        n_texts_with=len(told),
        replicates=replicates,
        seed=seed,
    )


def mentions(texts: Sequence[str], terms: Mapping[str, Sequence[str]]) -> Ints:
    """How often each text uses a term of each group, (text, group)."""
    if len(terms) < 2:
        raise DataError(f"there are terms of {len(terms)} groups; two or more are expected.")
    owner: dict[tuple[str, ...], int] = {}
    for i, (group, listed) in enumerate(terms.items()):
        if not listed:
            raise DataError(f"the group {group!r} has no terms.")
        for term in listed:
            parts = tuple(WORD.findall(term.lower()))
            if not parts:
                raise DataError(f"the term {term!r} of {group!r} has no word in it.")
            if owner.setdefault(parts, i) != i:
                raise DataError(
                    f"the term {term!r} is of {list(terms)[owner[parts]]!r} and of {group!r}: it tells them not apart."
                )
    lengths = sorted({len(parts) for parts in owner}, reverse=True)
    made = np.zeros((len(texts), len(terms)), dtype=np.int64)
    for i, text in enumerate(texts):
        words = WORD.findall(text.lower())
        at = 0
        while at < len(words):
            # The longest term that begins here; its words belong to no other.
            step = 1
            for length in lengths:
                found = owner.get(tuple(words[at : at + length]))
                if found is not None and at + length <= len(words):
                    made[i, found] += 1
                    step = length
                    break
            at += step
    return made


def _distance(totals: Ints) -> Floats:
    shares = totals / totals.sum(axis=1, keepdims=True)
    made: Floats = np.abs(shares - 1 / totals.shape[1]).sum(axis=1) / 2
    return made
