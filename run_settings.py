"""Run settings from a TOML file: a table for each verb, a key for each of its flags."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .bounded_files import read_toml
from .errors import UsageError, did_you_mean


def read_settings(path: Path, known: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, Any]]:
    """Verb -> parameter -> value, as defaults that the command line and the environment go over.

    Args:
        path: the file, e.g. `[audit]` with `label = "approved"` and `group = ["race", "sex"]`.
        known: verb -> flag, without its dashes -> the parameter's name.

    Raises:
        UsageError: the file cannot be read, or names a verb or a flag that does not exist.
    """
    values = read_toml(path, UsageError, name=f"--config {path}", way_out="Name a TOML file of settings.")
    made: dict[str, dict[str, Any]] = {}
    for verb, flags in values.items():
        if verb not in known:
            raise UsageError(f"--config {path}: there is no verb {verb!r}: {did_you_mean(verb, known)}")
        if not isinstance(flags, dict):
            raise UsageError(f"--config {path}: {verb} is {flags!r}; a table [{verb}] of flags is expected.")
        made[verb] = {}
        for flag, value in flags.items():
            named = flag.replace("_", "-")
            if named not in known[verb]:
                raise UsageError(
                    f"--config {path}: {verb} has no flag {flag!r}: {did_you_mean(named, known[verb])}"
                )
            if isinstance(value, dict):
                raise UsageError(f"--config {path}: {verb}.{flag} is a table; a value or a list is expected.")
            made[verb][known[verb][named]] = list(value) if isinstance(value, list) else value
    return made
