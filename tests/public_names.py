"""Everything that is public, one a line: names with parameters, verbs with flags; `docs/api.txt` keeps it.

python tests/public_names.py > docs/api.txt
"""

import dataclasses
import inspect
import sys
from collections.abc import Iterator
from typing import Any

HEAD = """\
# What is public, and therefore changes as docs/versions.md says. Written by: python tests/public_names.py > docs/api.txt
# A line is a name with its parameters; of a class also its public attributes and methods; of a verb its flags.
"""


def public() -> str:
    """The text of docs/api.txt."""
    import clinometer

    lines = [HEAD.rstrip(), "", "# import clinometer", ""]
    for name in clinometer.__all__:
        lines += _named(name, getattr(clinometer, name))
    lines += ["", "# clinometer VERB", ""]
    lines += _verbs()
    return "\n".join(lines) + "\n"


def _named(name: str, value: Any) -> Iterator[str]:
    if inspect.isclass(value):
        yield f"class {name}{_parameters(value)}"
        fields = {one.name for one in dataclasses.fields(value)} if dataclasses.is_dataclass(value) else set()
        inherited = set(dir(value.__bases__[0])) if value.__bases__ else set()
        for member in sorted(dir(value)):
            if member.startswith("_") or member in fields or member in inherited:
                continue
            held = inspect.getattr_static(value, member)
            called = getattr(value, member)
            yield f"    {member}" + (
                "" if isinstance(held, property) or not callable(called) else _parameters(called)
            )
    elif callable(value):
        yield f"{name}{_parameters(value)}"
    else:
        yield f"{name}: {', '.join(sorted(str(getattr(one, 'name', one)) for one in value))}"


def _parameters(value: Any) -> str:
    """Names, kinds and defaults; annotations are left out, which each version of Python spells in its own way."""
    try:
        signature = inspect.signature(value)
    except ValueError:
        return "(...)"
    made = {
        name for name, one in getattr(value, "model_fields", {}).items() if one.default_factory is not None
    }
    plain = [  # that a default is made anew each time is said by some versions of pydantic only
        one.replace(
            annotation=inspect.Parameter.empty,
            default=_Shown("<factory>") if one.name in made else _default(one.default),
        )
        for one in signature.parameters.values()
        if one.name != "self"
    ]
    return str(signature.replace(parameters=plain, return_annotation=inspect.Signature.empty))


class _Shown:
    """A default that is printed as a word."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _default(value: Any) -> Any:
    plain = (str, int, float, bool, type(None))
    if value is inspect.Parameter.empty or isinstance(value, plain):
        return value
    if isinstance(value, tuple) and all(isinstance(one, plain) for one in value):
        return value
    return _Shown("<factory>" if "factory" in repr(value) else f"<{type(value).__name__}>")


def _verbs() -> Iterator[str]:
    from clinometer.cli import built

    command = built()
    for verb, one in sorted(command.commands.items()):
        arguments = [item for item in one.params if item.param_type_name == "argument"]
        flags = [item for item in one.params if item.param_type_name == "option" and item.name != "help"]
        yield " ".join([verb, *(_argument(item) for item in arguments)])
        for item in sorted(flags, key=lambda item: item.opts[0]):
            taken = "" if item.is_flag else " VALUE, repeated" if item.multiple else " VALUE"
            needed = ", required" if item.required else ""
            yield f"    {', '.join([*item.opts, *item.secondary_opts])}{taken}{needed}"
    shared = sorted(option for item in command.params for option in item.opts if option.startswith("--"))
    yield f"(before a verb) {' '.join(shared)}"


def _argument(item: Any) -> str:
    shown = (item.metavar or item.name or "").upper().strip("[]")
    return shown if item.required else f"[{shown}]"


if __name__ == "__main__":
    sys.stdout.write(public())
