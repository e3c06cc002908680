"""Every error a user can meet, with the exit code the command gives for it.

ClinometerError                 5  something this project did not foresee
├── UsageError                  2  a flag, an argument or a policy is wrong
│   └── PolicyError             2  the policy file is wrong
├── InputError                  3  the data or the model cannot be used
│   ├── DataError               3  a table, a column or a row
│   └── ModelError              3  a model folder or a module
│       └── CaptureError        3  attention that cannot be seen or certified
└── OutputError                 3  the result could not be written
"""

from collections.abc import Iterable

LONGEST = 2000  # characters of a message


class ClinometerError(Exception):
    """An error with a message made for the person who reads it: what, where, and the way out.

    A message that quotes more of a file than a person reads is cut in its middle: what and where stand at its
    beginning, the way out at its end.
    """

    exit_code = 5

    def __str__(self) -> str:
        said = super().__str__()
        if len(said) <= LONGEST:
            return said
        left = len(said) - LONGEST
        return f"{said[: LONGEST - 500]} [... {left:,} characters left out ...] {said[-500:]}"


class UsageError(ClinometerError):
    """A flag, an argument or a configuration file is wrong."""

    exit_code = 2


class PolicyError(UsageError):
    """The policy names something that does not exist, or gives it an impossible value."""


class InputError(ClinometerError):
    """What was handed in cannot be used."""

    exit_code = 3


class DataError(InputError):
    """A table, a column or a row cannot be used."""


class ModelError(InputError):
    """A model cannot be loaded or run."""


class CaptureError(ModelError):
    """An attention call cannot be seen, or what was seen does not reproduce the output."""


class OutputError(ClinometerError):
    """A result could not be written."""

    exit_code = 3


def first(names: Iterable[object], limit: int = 5) -> str:
    """The first few names, quoted, and how many more there are."""
    listed = [str(name) for name in names]
    shown = ", ".join(repr(name) for name in listed[:limit])
    return shown if len(listed) <= limit else f"{shown} and {len(listed) - limit} more"


def did_you_mean(got: str, known: Iterable[str]) -> str:
    """A closing half-sentence that suggests the nearest known name, or lists what is known."""
    from difflib import get_close_matches

    names = [str(name) for name in known]
    near = get_close_matches(got, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known: {first(sorted(names), 12)}." if names else "there are none."
