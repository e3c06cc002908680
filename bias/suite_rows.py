"""The rows of a suite of templates: every combination of its slots as a text, and what each is compared with."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import UsageError
from ..records import Rows
from .grammar import begins_with_vowel
from .suites import Suite, SuiteTest, pieces, slots_of
from .word_spans import capital

LARGEST = 100_000  # texts of one test


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing to be checked: a row, alone or beside the row it is compared with."""

    test: int
    template: int  # of the test
    row: int  # position in the rows
    reference: int | None  # position of the row it is compared with; None for an MFT
    values: Mapping[str, str]  # slot -> value, of the row


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Expanded:
    """A suite as rows to be scored, in the column `text`, and the cases to be checked when the scores are there."""

    suite: Suite
    rows: Rows
    cases: tuple[Case, ...]

    def __repr__(self) -> str:
        n = len(self.suite.tests)
        return f"Expanded({self.suite.name}: {len(self.rows)} rows, {len(self.cases)} cases of {n} tests)"


def expand(suite: Suite) -> Expanded:
    """Every template with every combination of the values of its slots.

    Row ids are test/number; the groups `test`, `template` and one for each slot say where a row comes from. The first
    letter of a text becomes a capital; {a:slot} is "a" or "an" with the word.

    Raises:
        UsageError: a test has more than 100,000 texts.
    """
    texts: list[str] = []
    ids: list[str] = []
    origins: list[tuple[int, int, Mapping[str, str]]] = []
    cases: list[Case] = []
    for at, test in enumerate(suite.tests):
        _check_size(suite, test)
        begin = len(texts)

        def add(text: str, template: int, values: Mapping[str, str], at: int = at, begin: int = begin) -> int:
            ids.append(f"{suite.tests[at].name}/{len(texts) - begin}")
            texts.append(text)
            origins.append((at, template, values))
            return len(texts) - 1

        for number, template in enumerate(test.templates):
            reference_rows: dict[tuple[str, ...], int] = {}
            for values in _combinations(suite, test, template):
                row = add(_filled(suite, template, values), number, values)
                reference: int | None = None
                if test.kind == "DIR":
                    reference, row = row, add(_filled(suite, test.changed[number], values), number, values)
                if test.kind == "INV":
                    others = tuple(value for slot, value in values.items() if slot != test.vary)
                    if values[str(test.vary)] == test.reference:
                        reference_rows[others] = row
                        continue
                    reference = reference_rows[others]
                cases.append(Case(test=at, template=number, row=row, reference=reference, values=values))
    groups: dict[str, tuple[str | None, ...]] = {
        "test": tuple(suite.tests[at].name for at, _, _ in origins),
        "template": tuple(f"{suite.tests[at].name}/{template}" for at, template, _ in origins),
    }
    for slot in suite.slots:
        groups[f"slot {slot}"] = tuple(values.get(slot) for _, _, values in origins)
    rows = Rows(ids=tuple(ids), inputs={"text": np.array(texts, dtype=object)}, groups=groups)
    return Expanded(suite=suite, rows=rows, cases=tuple(cases))


def _combinations(suite: Suite, test: SuiteTest, template: str) -> Iterator[dict[str, str]]:
    """Slot -> value for every text of a template; of an INV the reference first."""
    names = slots_of(template)
    listed: list[Sequence[str]] = []
    for name in names:
        values = list(suite.slots[name].words)
        if name == test.vary:
            values.sort(key=lambda value: value != test.reference)
        listed.append(values)
    for chosen in itertools.product(*listed):
        yield dict(zip(names, chosen, strict=True))


def _filled(suite: Suite, template: str, values: Mapping[str, str]) -> str:
    parts = []
    for text, slot, article in pieces(template):
        parts.append(text)
        if slot is not None:
            word = suite.slots[slot].words[values[slot]]
            parts.append(f"{'an' if begins_with_vowel(word) else 'a'} {word}" if article else word)
    return capital("".join(parts))


def _check_size(suite: Suite, test: SuiteTest) -> None:
    size = 0
    for template in test.templates:
        n = 1
        for name in slots_of(template):
            n *= len(suite.slots[name].words)
        size += n * (2 if test.kind == "DIR" else 1)
    if size > LARGEST:
        raise UsageError(
            f"the test {test.name!r} has {size:,} texts, more than {LARGEST:,}: shorten its slots (most = N takes the first "
            "N words of a lexicon)."
        )
