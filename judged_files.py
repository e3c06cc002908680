"""What a command that judges files reads and hands over: evidence in, a line, tables or JSON out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import UsageError
from .output import emit, emit_json, write

if TYPE_CHECKING:
    from .bias.policy import Policy
    from .evidence import Evidence
    from .junit import Judged


def declared(
    path: Path | None,
    groups: Sequence[str],
    tolerances: Mapping[str, float] | None = None,
    *,
    set_by: str | None = None,
    **settings: Any,
) -> "Policy":
    """The policy file, if any, with the flags over it; the result says so where they change a tolerance.

    Args:
        path: policy.toml.
        groups: attributes named by flags: each is added, and none that the policy declares is dropped.
        settings: other keys of a policy; None leaves the file's.

    Raises:
        PolicyError: the file or a flag's value is none that a policy takes.
    """
    from .bias.policy import parse_policy, policy_from_flags, read_policy

    given = {name: value for name, value in settings.items() if value is not None}
    if path is None:
        return policy_from_flags(groups, tolerances or {}, set_by=set_by, **given)
    rules = read_policy(path)
    values = rules.model_dump(mode="json")
    if rules.groups or groups:
        values["groups"] = {**values["groups"], **{name: {} for name in groups if name not in rules.groups}}
    if tolerances:
        values["tolerance"] = {**values["tolerance"], **tolerances}
        given["set_by"] = set_by or f"whoever typed the command, over {rules.set_by or 'nobody'}"
    elif set_by is not None:
        given["set_by"] = set_by
    return parse_policy({**values, **given}, where=f"{path} with the command's flags")


def grouped_by(rules: "Policy") -> tuple[str, ...] | None:
    """The columns of the policy's attributes, those of its intersections too; None where it names none."""
    joint = (name for names in rules.intersections for name in names)
    return tuple(dict.fromkeys([*rules.groups, *joint])) or None


def evidence_from(file: str, roles: dict[str, Any]) -> "Evidence":
    """One file is read; a pattern or a folder is counted where it lies."""
    from .evidence_files import read
    from .sources import scan

    path = Path(file)
    if (path.is_dir() or any(sign in file for sign in "*?[")) and not path.is_file():
        return scan(path if path.is_dir() else file, **roles).counted()
    return read(path, **roles)


def refuse_overwriting(out: Path | None, *read: Path | None, flag: str = "--out") -> None:
    """Refuse an output that is one of the files read.

    Raises:
        UsageError: it is.
    """
    if out is not None and out.resolve() in {path.resolve() for path in read if path is not None}:
        raise UsageError(f"{flag} {out} would overwrite what is read. Name another file.")


def refuse_test_cases(junit: Path | None, out: Path | None, *read: Path | None) -> None:
    """Refuse JUnit XML over one of the files read, or over the JSON.

    Raises:
        UsageError: it would be.
    """
    refuse_overwriting(junit, *read, flag="--junit")
    if junit is not None and out is not None and junit.resolve() == out.resolve():
        raise UsageError(f"--junit and --out are both {junit}. Name two files.")


def write_test_cases(junit: Path | None, made: "Judged") -> None:
    """JUnit XML of what was judged, where a file is named."""
    if junit is not None:
        from .junit import junit as as_xml

        write(junit, as_xml(made), "--junit")


def deliver(as_text: str, line: str, tables: str, json: bool, quiet: bool, out: Path | None) -> None:
    """Write JSON where a file is named; print JSON, one line, or tables."""
    if out is not None:
        write(out, as_text)
    if json:
        emit_json(as_text)
    else:
        emit(line if quiet else tables)
