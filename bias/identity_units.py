"""Which units of a ledger are identity terms: named by hand, or words of a lexicon."""

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from ..errors import DataError, did_you_mean, first
from .lexicons import SwapLexicon, lexicon_of
from .unit_rows import UnitRows, Units


def identity_units(
    table: UnitRows,
    identity: Iterable[str] | SwapLexicon,
    units: Units,
    into: Mapping[str, str] | None,
    fold_case: bool,
) -> npt.NDArray[np.bool_]:
    """(unit,) whether it is an identity term, by its own name or by the one its parts are added up under.

    Of a lexicon only words of one unit can be met; its phrases are not looked for.

    Raises:
        DataError: a unit named by hand is nowhere, or `into` names one that is not.
    """
    by_hand = not isinstance(identity, (str, SwapLexicon))
    if isinstance(identity, (str, SwapLexicon)):
        entries = lexicon_of(identity).entries
        words = [form for entry in entries for forms in entry.forms.values() for form in forms]
    else:
        words = [str(name) for name in identity]
    names = [word.casefold() if fold_case and word not in table.units else word for word in words]
    into = into or {}
    strange = [name for name in into if name not in set(table.units)]
    if strange:
        raise DataError(f"into names {first(strange)}, no unit: {did_you_mean(strange[0], table.units)}")
    known = {*table.units, *into.values()}
    absent = [word for word, name in zip(words, names, strict=True) if name not in known]
    if absent and by_hand:
        raise DataError(
            f"there is no unit {first(absent)} to be an identity term: {did_you_mean(absent[0], known)}"
        )
    wanted = set(names)
    if not by_hand and units is not None:
        wanted |= {units(name) if callable(units) else units.get(name, name) for name in names}
    return np.array([unit in wanted or into.get(unit) in wanted for unit in table.units])
