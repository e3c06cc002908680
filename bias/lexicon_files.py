"""Identity lexicons from a user's own file: TOML entries, a CSV of pairs, a list of names with their group."""

import csv
import gzip
import io
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..bounded_files import read_toml
from ..errors import DataError, UsageError, did_you_mean, first
from .lexicons import Entry, SwapLexicon, key

LARGEST = 2**28  # bytes of a CSV, unpacked
FORMS_BETWEEN = "|"  # divides the words of one cell of a CSV


class _EntryKeys(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    forms: dict[str, str | list[str]]
    role: str = ""
    capitalised: bool = False


class _FileKeys(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    version: str
    source: str
    attribute: str
    groups: list[str] | None = None
    written_only: list[str] = Field(default_factory=list)
    plural: list[str] = Field(default_factory=list)
    entry: list[_EntryKeys]


def read_lexicon(
    path: str | Path,
    *,
    name: str | None = None,
    version: str | None = None,
    source: str | None = None,
    attribute: str | None = None,
    capitalised: bool = False,
) -> SwapLexicon:
    """The lexicon of a file: TOML, or a CSV (also .csv.gz) with a column per group and an entry per row.

    A TOML file has `name`, `version`, `source`, `attribute` and tables `[[entry]]` with `forms = { female = "waitress",
    male = "waiter" }`, perhaps `role` and `capitalised`; `groups` orders the groups, `written_only` and `plural`
    name some of them. In a CSV words that are recognised as well are divided by "|", and an empty cell is a group
    without a word of this meaning; name, version, source and attribute are given here.

    Args:
        capitalised: of a CSV: words are found only where they begin with a capital, as names do.

    Raises:
        DataError: the file is missing, no UTF-8, of another kind, or holds words that cannot be swapped.
        UsageError: a CSV without its name, version, source and attribute, or a TOML file with them.
    """
    file = Path(path)
    given = {"name": name, "version": version, "source": source, "attribute": attribute}
    try:
        if file.suffix == ".toml":
            extra = [k for k, value in given.items() if value is not None]
            if extra or capitalised:
                raise UsageError(
                    f"it says its {first(extra or ['capitalised'])} itself: leave the argument out."
                )
            return _from_toml(file)
        if file.name.endswith((".csv", ".csv.gz")):
            absent = [k for k, value in given.items() if value is None]
            if absent:
                raise UsageError(
                    f"a CSV does not say its {first(absent)}: give it, read_lexicon(..., {absent[0]}='...')."
                )
            return _from_csv(file, {k: str(value) for k, value in given.items()}, capitalised)
    except (DataError, UsageError) as error:
        raise error if str(file) in str(error) else type(error)(f"{file}: {error}") from error
    raise DataError(f"{file} is neither .toml nor .csv nor .csv.gz; a lexicon is read from one of these.")


def _from_csv(file: Path, about: Mapping[str, str], capitalised: bool) -> SwapLexicon:
    header, rows = _read_csv(file)
    entries = []
    for row in rows:
        forms = {
            group.strip(): tuple(word.strip() for word in cell.split(FORMS_BETWEEN))
            for group, cell in zip(header, row, strict=True)
            if cell.strip()
        }
        entries.append(Entry(forms=forms, capitalised=capitalised))
    return SwapLexicon(
        groups=tuple(group.strip() for group in header),
        entries=tuple(entries),
        **about,  # type: ignore[arg-type]
    )


def names_lexicon(
    names: Mapping[str, Sequence[str]],
    *,
    name: str,
    version: str,
    source: str,
    attribute: str = "gender",
    exclude: Sequence[str] = (),
    seed: int = 0,
) -> SwapLexicon:
    """A lexicon of names from a list for each group, each name with a partner that is drawn once.

    Partners are drawn at random: names of one origin stand beside names of another, unless the lists are of one.
    Where one group has more names than another, those left over share a partner and do not come back when a text is
    swapped twice. A name in the lists of several groups is left out, and listed in `left_out`.

    Args:
        names: group -> names. They are found only where they begin with a capital.
        exclude: names that are ordinary words as well (Will, Grace) or are not to be swapped for another reason.
        seed: of the pairing.

    Raises:
        DataError: fewer than two groups, or a group of which no name is left.
    """
    lists = {
        group: sorted({key(one): one.strip() for one in sorted(listed, reverse=True) if one.strip()}.values())
        for group, listed in names.items()
    }
    seen: dict[str, set[str]] = {}
    for group, listed in lists.items():
        for one in listed:
            seen.setdefault(key(one), set()).add(group)
    dropped = {key(one) for one in exclude} | {one for one, groups in seen.items() if len(groups) > 1}
    kept = {group: [one for one in listed if key(one) not in dropped] for group, listed in lists.items()}
    empty = [group for group, listed in kept.items() if not listed]
    if len(kept) < 2 or empty:
        raise DataError(
            f"names of {len(kept)} groups, none left of {first(empty) or 'any'}; two groups with a name of their own are "
            "expected."
        )
    generator = np.random.default_rng(seed)
    size = min(len(listed) for listed in kept.values())
    ordered = {
        group: [listed[i] for i in generator.permutation(len(listed))] for group, listed in kept.items()
    }
    entries = [{group: [listed[i]] for group, listed in ordered.items()} for i in range(size)]
    for group, listed in ordered.items():
        for i, more in enumerate(listed[size:]):
            entries[i % size][group].append(more)
    return SwapLexicon(
        name=name,
        version=version,
        source=source,
        attribute=attribute,
        groups=tuple(kept),
        entries=tuple(
            Entry(forms={group: tuple(words) for group, words in forms.items()}, capitalised=True)
            for forms in entries
        ),
        left_out=tuple(sorted({one for listed in lists.values() for one in listed if key(one) in dropped})),
    )


def read_names(
    path: str | Path, *, name_column: str = "name", group_column: str = "gender"
) -> dict[str, list[str]]:
    """Names by group from a CSV (also .csv.gz) with a column of names and one of their groups.

    Raises:
        DataError: the file or a column is missing, or a row has no group.
    """
    file = Path(path)
    header, rows = _read_csv(file)
    for column in (name_column, group_column):
        if column not in header:
            raise DataError(f"{file} has no column {column!r}: {did_you_mean(column, header)}")
    at, by = header.index(name_column), header.index(group_column)
    nobody = [row[at] for row in rows if not row[by].strip()]
    if nobody:
        raise DataError(f"{file}: {len(nobody)} names have no {group_column}, first {first(nobody)}.")
    made: dict[str, list[str]] = {}
    for row in rows:
        made.setdefault(row[by].strip(), []).append(row[at].strip())
    return made


def _from_toml(file: Path) -> SwapLexicon:
    values = read_toml(file, DataError, way_out="Name a lexicon's file.")
    try:
        keys = _FileKeys.model_validate(values)
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:3])
        raise DataError(f"{file}: {said}.") from error
    entries = [
        Entry(
            forms={g: (words,) if isinstance(words, str) else tuple(words) for g, words in one.forms.items()},
            role=one.role,
            capitalised=one.capitalised,
        )
        for one in keys.entry
    ]
    found = tuple(dict.fromkeys(group for entry in entries for group in entry.forms))
    return SwapLexicon(
        name=keys.name,
        version=keys.version,
        source=keys.source,
        attribute=keys.attribute,
        groups=tuple(keys.groups) if keys.groups is not None else found,
        entries=tuple(entries),
        written_only=tuple(keys.written_only),
        plural=tuple(keys.plural),
    )


def _read_csv(file: Path) -> tuple[list[str], list[list[str]]]:
    try:
        with (gzip.open if file.suffix == ".gz" else open)(file, "rb") as opened:
            raw = opened.read(LARGEST + 1)
        if len(raw) > LARGEST:
            raise DataError(f"{file} has more than {LARGEST:,} bytes, unpacked: no list of words has.")
        text = _text(file, raw)
        rows = [row for row in csv.reader(io.StringIO(text)) if any(cell.strip() for cell in row)]
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise DataError(f"{file} cannot be read: {error}. Name a CSV file of words.") from error
    if len(rows) < 2:
        raise DataError(f"{file} has {len(rows)} lines; a header and one line or more are expected.")
    ragged = [i + 1 for i, row in enumerate(rows) if len(row) != len(rows[0])]
    if ragged:
        raise DataError(
            f"{file}: lines {first(ragged)} have another number of cells than the header's {len(rows[0])}."
        )
    return rows[0], rows[1:]


def _text(file: Path, raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file} is not UTF-8: byte {error.start} cannot be read. Save it as UTF-8."
        ) from error
