"""Attributions of the same rows by several methods, computed or given; those that fail are named with why."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from ..errors import ClinometerError, DataError, ModelError, UsageError, did_you_mean, first
from ..records import Attribution, Rows
from .methods import METHODS, attribute, method_named
from .models import Subject

Options = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What ran, in the order asked for, and what did not, with the reason."""

    attributions: Mapping[str, Attribution]
    failed: tuple[tuple[str, str], ...]


def compare(
    subject: Subject,
    rows: Rows,
    methods: Sequence[str] | None,
    options: Options | None,
    *,
    batch_size: int,
    seed: int,
    progress: bool,
) -> Compared:
    """Attributions of the rows by methods of the table, all of them where `methods` is None.

    Raises:
        UsageError: a method, or an option of one, that does not exist.
        ModelError: none of the methods asked for can be used with this model.
    """
    names = named(methods, options)
    made: dict[str, Attribution] = {}
    failed = []
    for name in names:
        try:
            made[name] = attribute(
                subject,
                rows,
                name,
                batch_size=batch_size,
                seed=seed,
                progress=progress,
                **(options or {}).get(name, {}),
            )
        except UsageError:
            raise
        except (ClinometerError, RuntimeError) as error:
            failed.append((name, f"{type(error).__name__}: {error}".split("\n")[0]))
    if names and not made:
        raise ModelError(f"none of {len(names)} methods ran; {failed[0][0]}: {failed[0][1]}")
    return Compared(attributions=made, failed=tuple(failed))


def named(methods: Sequence[str] | None, options: Options | None) -> tuple[str, ...]:
    """The methods asked for, each once; all but those on request where none are named.

    Raises:
        UsageError: a method does not exist, or options are given for one that is not asked for.
    """
    if isinstance(methods, str):
        raise UsageError(f"methods={methods!r} is one text; several names are expected: ({methods!r},).")
    usual = tuple(method.name for method in METHODS if not method.on_request)
    names = usual if methods is None else tuple(dict.fromkeys(methods))
    for name in names:
        method_named(name)
    for name in options or {}:
        if name not in names:
            raise UsageError(
                f"options are given for {name!r}, which is not asked for; {did_you_mean(name, names)}"
            )
    return names


def given(
    attributions: Mapping[str, Attribution],
    subject: Subject,
    explained: Subject,
    rows: Rows,
    sign: Float[np.ndarray, " example"] | None,
) -> dict[str, Attribution]:
    """Attributions made before, once they are shown to be of these rows and of the target that is measured.

    Args:
        explained: the Subject whose target is measured.
        sign: what turns the subject's own target into that one; None where no sign does.

    Raises:
        DataError: other rows or tokens.
        UsageError: another target.
    """
    names = explained.names(rows) if attributions else ()
    made = {}
    for name, one in attributions.items():
        if one.ids != rows.ids:
            odd = [a for a, b in zip(one.ids, rows.ids, strict=False) if a != b]
            raise DataError(
                f"the attribution {name!r} is of {len(one)} rows and {len(rows)} are measured, or in another order; first "
                f"difference: {first(odd) or 'the number'}. Make it from the same rows."
            )
        if one.tokens != names:
            odd = [i for i, a, b in zip(one.ids, one.tokens, names, strict=True) if a != b]
            raise DataError(
                f"the attribution {name!r} has other tokens than the model reads, first rows: {first(odd)}. Give it before "
                "it is added up to words."
            )
        if one.target == explained.target:
            made[name] = one
        elif one.target == subject.target and sign is not None:
            made[name] = turned(one, sign, explained.target)
        else:
            raise UsageError(
                f"the attribution {name!r} explains {one.target!r}, and {explained.target!r} is measured. Attribute "
                "with label='predicted', or measure the subject's own target: of='target'."
            )
    return made


def turned(one: Attribution, sign: Float[np.ndarray, " example"], target: str) -> Attribution:
    """The attribution of sign * target. Scores without a sign of their own stay as they are."""
    scores = one.scores * sign[:, None] if signed(one) else one.scores
    return dataclasses.replace(
        one, target=target, scores=scores, value=one.value * sign, base_value=one.base_value * sign
    )


def signed(one: Attribution) -> bool:
    """Whether any score is negative: scores that never are rank tokens for both sides of a target alike."""
    return bool((one.scores < 0).any())
