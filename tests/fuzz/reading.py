"""One reader under test: files that it accepts, how a case is made of them, and how somebody would read them."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from fuzz.mutations import bytes_changed, tree_changed

Files = Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """One reader: files that it accepts, how one case is made of them, and how a user would read them."""

    name: str
    valid: Callable[[], Files]  # name -> bytes
    changed: Callable[[Random, Files], Files]
    read: Callable[[Path], Any]  # of the folder that the files lie in
    use: Callable[[Any], object] = lambda made: made  # what a user does next: its errors name no file


def kept(folder: Path) -> Files:
    """The bytes of every file under a folder, by its path within."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def put(files: Files, folder: Path) -> None:
    """The folder with these files and no others."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, raw in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(raw)


def written(make: Callable[[Path], object]) -> Files:
    """The files that a function writes into a folder."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
        return kept(Path(folder))


def text_file(name: str, parse: Callable[[bytes], Any], unparse: Callable[[Any], bytes]) -> Any:
    """Mutations of one file that has a structure: the tree more often than the bytes, sometimes both."""

    def changed(draw: Random, files: Files) -> Files:
        raw = files[name]
        how = draw.random()
        if how < 0.7:
            raw = unparse(tree_changed(draw, parse(raw)))
        if how > 0.6:
            raw = bytes_changed(draw, raw)
        return {**files, name: raw}

    return changed


def parsed_toml(raw: bytes) -> Any:
    """The tree of a TOML file."""
    import tomllib

    return tomllib.loads(raw.decode())


def parsed_json(raw: bytes) -> Any:
    """The tree of a JSON file."""
    return json.loads(raw)
