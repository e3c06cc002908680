"""Suites of templates with expected behaviour, read from a TOML file.

Three kinds (Ribeiro et al. 2020, CheckList): MFT, a text has an expected label; INV, a change of one slot changes
nothing; DIR, a change of the text moves the score one way. The format is described in docs/suites.md.
"""

import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..bounded_files import read_toml
from ..errors import DataError, UsageError, did_you_mean, first
from .lexicons import SwapLexicon, lexicon

Kind = Literal["MFT", "INV", "DIR"]
ARTICLE = "a"  # {a:slot} writes "a" or "an" before the word
KINDS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # kind -> keys it needs, keys it may have
    "MFT": (("expect",), ()),
    "INV": (("vary",), ("reference", "delta")),
    "DIR": (("changed", "direction"), ("margin",)),
}
EVERY_CASE = "case"
TEMPLATE = "template"


class _SlotKeys(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    lexicon: str
    like: str | None = None
    groups: list[str] | None = None
    group: str | None = None
    most: int | None = Field(default=None, ge=1)


class _TestKeys(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(min_length=1)
    kind: Kind
    what: str = ""
    templates: list[str] = Field(min_length=1)
    cluster: str = TEMPLATE
    tolerance: float | None = Field(default=None, ge=0, lt=1)
    expect: str | bool | None = None
    vary: str | None = None
    reference: str | None = None
    delta: float | None = Field(default=None, ge=0)
    changed: list[str] | None = None
    direction: Literal["up", "down"] | None = None
    margin: float | None = None


class _SuiteKeys(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(min_length=1)
    version: str = Field(min_length=1)
    source: str = Field(min_length=1)
    set_by: str | None = None
    slots: dict[str, list[str] | _SlotKeys] = Field(default_factory=dict)
    test: list[_TestKeys] = Field(min_length=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """What can stand in one place of a template: value -> word. Of a lexicon's entry the value is the group."""

    words: Mapping[str, str]
    provenance: Mapping[str, str]  # of a lexicon; empty for a list in the file


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteTest:
    """One test of a suite, checked."""

    name: str
    kind: Kind
    what: str
    templates: tuple[str, ...]
    cluster: str  # "template", "case", or the slot whose values are clusters
    tolerance: float | None  # largest failure rate
    expect: str | bool | None = None  # MFT
    vary: str | None = None  # INV: the slot that changes
    reference: str | None = None  # INV: the value the others are compared with
    delta: float | None = None  # INV: largest |score difference|; None: the decision must not flip
    changed: tuple[str, ...] = ()  # DIR: the changed text of each template
    direction: Literal["up", "down"] | None = None  # DIR
    margin: float = 0.0  # DIR: the score moves by more than this; below 0 it may go a little the other way


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Tests over templates, ready to be expanded into rows."""

    name: str
    version: str
    source: str
    set_by: str | None  # who set the tolerances
    slots: Mapping[str, Slot]
    tests: tuple[SuiteTest, ...]

    def __repr__(self) -> str:
        kinds = ", ".join(f"{one.name} ({one.kind})" for one in self.tests[:6])
        return f"Suite({self.name} {self.version}: {len(self.tests)} tests: {kinds})"


def read_suite(path: str | Path, *, lexicons: Mapping[str, SwapLexicon] | None = None) -> Suite:
    """The suite of a TOML file.

    Args:
        lexicons: your own, by the names that the file uses, beside those built in.

    Raises:
        UsageError: the file is missing, no UTF-8, no TOML, or says something that cannot be tested.
    """
    values = read_toml(path, UsageError, way_out="Name a suite's TOML file.")
    return parse_suite(values, where=str(path), lexicons=lexicons)


def parse_suite(
    values: Mapping[str, Any], *, where: str = "the suite", lexicons: Mapping[str, SwapLexicon] | None = None
) -> Suite:
    """A suite from a mapping; `where` says in errors what it was read from.

    Raises:
        UsageError: with the first thing that is wrong.
    """
    try:
        keys = _SuiteKeys.model_validate(dict(values))
    except ValidationError as error:
        raise UsageError(f"{where}: {'; '.join(_words(one) for one in error.errors()[:3])}.") from error
    slots = {}
    for name, slot in keys.slots.items():
        try:
            slots[name] = _slot(name, slot, where, lexicons or {})
        except (DataError, UsageError) as error:  # of a lexicon, which does not know where it was named
            if str(error).startswith(where):
                raise
            raise UsageError(f"{where}: slots.{name}: {error}") from error
    names = [test.name for test in keys.test]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UsageError(f"{where}: two tests are called {twice[0]!r}; each needs a name of its own.")
    tests = tuple(_test(test, slots, where) for test in keys.test)
    used = {slot for test in tests for text in (*test.templates, *test.changed) for slot in slots_of(text)}
    idle = [name for name in slots if name not in used]
    if idle:
        raise UsageError(
            f"{where}: no template uses the slots {first(idle)}: write {{{idle[0]}}} in one, or delete it."
        )
    gated = [test.name for test in tests if test.tolerance is not None]
    if gated and not (keys.set_by or "").strip():
        raise UsageError(
            f'{where}: {first(gated)} has a tolerance and nobody is named: add set_by = "who set it" at the top.'
        )
    return Suite(
        name=keys.name, version=keys.version, source=keys.source, set_by=keys.set_by, slots=slots, tests=tests
    )


def pieces(template: str) -> list[tuple[str, str | None, bool]]:
    """A template's parts: text, the slot after it (None at the end), and whether an article goes before the slot.

    Raises:
        ValueError: braces that do not close, or a slot written in a way that is none.
    """
    made: list[tuple[str, str | None, bool]] = []
    for text, name, spec, conversion in string.Formatter().parse(template):
        if name is None:
            made.append((text, None, False))
            continue
        article = bool(spec)
        if conversion or (article and name != ARTICLE) or not (spec or name).isidentifier():
            shown = name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
            raise ValueError(f"{{{shown}}} is no slot; {{slot}} or {{a:slot}} is expected")
        made.append((text, spec or name, article))
    return made


def slots_of(template: str) -> tuple[str, ...]:
    """The slots of a template, each once, in order."""
    return tuple(dict.fromkeys(name for _, name, _ in pieces(template) if name is not None))


def _slot(name: str, given: list[str] | _SlotKeys, where: str, lexicons: Mapping[str, SwapLexicon]) -> Slot:
    if isinstance(given, list):
        words = [word for word in given if word.strip()]
        if len(words) != len(given) or len(set(words)) != len(words) or not words:
            raise UsageError(f"{where}: slots.{name} is {given}; different words, one or more, are expected.")
        return Slot(words={word: word for word in words}, provenance={})
    chosen = lexicons.get(given.lexicon) or lexicon(given.lexicon)
    if (given.like is None) == (given.group is None):
        raise UsageError(
            f'{where}: slots.{name} needs like = "a word" (one word for each group of its entry) or '
            'group = "..." (all words of one group), and not both.'
        )
    if given.like is not None:
        forms = chosen.like(given.like).forms
        groups = given.groups if given.groups is not None else list(forms)
        absent = [group for group in groups if group not in forms]
        if absent or len(groups) < 1:
            raise UsageError(
                f"{where}: slots.{name}: {given.like!r} has no word of {first(absent) or 'no group at all'}: "
                f"{did_you_mean((absent or [''])[0], forms)}"
            )
        return Slot(words={group: forms[group][0] for group in groups}, provenance=chosen.provenance)
    if given.group not in chosen.groups or given.groups is not None:
        raise UsageError(
            f"{where}: slots.{name}: group = {given.group!r} alone is expected, of the lexicon {chosen.name!r}: "
            f"{did_you_mean(str(given.group), chosen.groups)}"
        )
    listed = [entry.forms[given.group][0] for entry in chosen.entries if given.group in entry.forms]
    return Slot(
        words={word: word for word in dict.fromkeys(listed[: given.most])}, provenance=chosen.provenance
    )


def _test(given: _TestKeys, slots: Mapping[str, Slot], where: str) -> SuiteTest:
    at = f"{where}: the test {given.name!r}"
    needed, allowed = KINDS[given.kind]
    every = [key for needs, may in KINDS.values() for key in (*needs, *may)]
    present = [key for key in every if getattr(given, key) is not None]
    missing = [key for key in needed if key not in present]
    foreign = [key for key in present if key not in (*needed, *allowed)]
    if missing or foreign:
        said = f"needs {first(missing)}" if missing else f"has no {first(foreign)}"
        may = f", and may have {', '.join(allowed)}" if allowed else ""
        raise UsageError(f"{at} is of kind {given.kind}, which {said}: it has {', '.join(needed)}{may}.")
    for text in (*given.templates, *(given.changed or ())):
        try:
            found = slots_of(text)
        except ValueError as error:
            raise UsageError(
                f"{at}: {text!r}: {error}. A brace that is meant is written twice: {{{{."
            ) from error
        unknown = [name for name in found if name not in slots]
        if unknown:
            raise UsageError(
                f"{at}: {text!r} has no such slot as {unknown[0]!r}: {did_you_mean(unknown[0], slots)}"
            )
    if given.kind == "INV":
        _check_varied(given, slots, at)
    if given.kind == "DIR":
        _check_changed(given, at)
    slot_of_cluster = given.cluster not in (TEMPLATE, EVERY_CASE)
    if slot_of_cluster and any(given.cluster not in slots_of(text) for text in given.templates):
        raise UsageError(
            f"{at}: cluster = {given.cluster!r}; 'template', 'case' or a slot that every template has is expected."
        )
    return SuiteTest(
        name=given.name,
        kind=given.kind,
        what=given.what,
        templates=tuple(given.templates),
        cluster=given.cluster,
        tolerance=given.tolerance,
        expect=given.expect,
        vary=given.vary,
        reference=_reference(given, slots),
        delta=given.delta,
        changed=tuple(given.changed or ()),
        direction=given.direction,
        margin=given.margin or 0.0,
    )


def _reference(given: _TestKeys, slots: Mapping[str, Slot]) -> str | None:
    return given.reference or (next(iter(slots[given.vary].words)) if given.vary is not None else None)


def _check_varied(given: _TestKeys, slots: Mapping[str, Slot], at: str) -> None:
    name = str(given.vary)
    without = [text for text in given.templates if name not in slots_of(text)]
    if without:
        raise UsageError(
            f"{at}: the slot {name!r} that varies is not in {first(without)}: write {{{name}}} there."
        )
    values = slots[name].words
    if len(values) < 2:
        raise UsageError(f"{at}: the slot {name!r} that varies has one value; two or more are needed.")
    if given.reference is not None and given.reference not in values:
        raise UsageError(f"{at}: reference = {given.reference!r}: {did_you_mean(given.reference, values)}")


def _check_changed(given: _TestKeys, at: str) -> None:
    changed = given.changed or []
    if len(changed) != len(given.templates):
        raise UsageError(
            f"{at} has {len(given.templates)} templates and {len(changed)} changed ones; one for each is expected."
        )
    for before, after in zip(given.templates, changed, strict=True):
        new = [name for name in slots_of(after) if name not in slots_of(before)]
        if new or before == after:
            what = (
                f"has slots that {before!r} has not: {first(new)}"
                if new
                else "is its own template: nothing changes"
            )
            raise UsageError(f"{at}: {after!r} {what}.")


def _words(item: Any) -> str:
    place = [str(part) for part in item["loc"]]
    if item["type"] == "extra_forbidden":
        models: dict[str, type[BaseModel]] = {"slots": _SlotKeys, "test": _TestKeys}
        fields = models.get(place[0], _SuiteKeys).model_fields if len(place) > 1 else _SuiteKeys.model_fields
        return f"there is no key {'.'.join(place)!r}: {did_you_mean(place[-1], fields).rstrip('.')}"
    got = "" if item["type"] == "missing" else f", got {item['input']!r}"
    return f"{'.'.join(place)}: {item['msg']}{got}"
