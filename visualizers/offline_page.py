"""The explorer as one file: script, words and maps inside, nothing asked of any server."""

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ..errors import UsageError
from ..scenes import Gap, Scene
from .explorer_payload import BUDGET, index, pack_page

LANGUAGE = "en"
AT_ONCE = 400_000  # bytes of the first example's arrays up to which they are not compressed
# In the order in which they are joined: later parts use earlier ones.
PARTS = ("explorer_values", "explorer_drawing", "explorer_example", "explorer_heads", "explorer")


@cache
def script() -> str:
    """The explorer's one module: its parts one after another, which import nothing."""
    return "\n".join(_static(f"{part}.js") for part in PARTS)


@cache
def style() -> str:
    """The explorer's style sheet."""
    return _static("explorer.css")


@cache
def phrases(language: str = LANGUAGE) -> Mapping[str, str]:
    """Every phrase of the explorer in one language: one file for each.

    Raises:
        UsageError: there is no such file.
    """
    try:
        read: dict[str, str] = json.loads(_static(f"phrases.{language}.json"))
    except FileNotFoundError as error:
        raise UsageError(
            f"the explorer has no phrases in {language!r}; add visualizers/static/phrases.{language}.json."
        ) from error
    return read


def whole_page(
    scenes: Sequence[Scene],
    others: Sequence[Scene],
    *,
    gap: Gap | None,
    names: tuple[str, str],
    title: str,
    chosen: Mapping[str, Any],
    fallback: str,
    budget: int = BUDGET,
) -> str:
    """The page, whole: it works from a file and inside a sandboxed frame, and keeps and sends nothing.

    Args:
        chosen: what is selected at first: layer, head, example, target, query.
        fallback: HTML for readers without a script.
        budget: bytes of numbers before compression, for all examples together.

    Raises:
        DataError: not even the scores of all examples fit.
    """
    made = pack_page([*scenes, *others], budget=budget)
    first = [scene.id for scene in scenes].index(chosen["example"])
    # A browser unpacks in steps, between which it reads the rest of the page: what is seen first does not wait for them.
    plain = made[first].first.raw <= AT_ONCE
    state = index(scenes, others, gap=gap, names=names, title=title, live=False, phrases=phrases())
    environment = Environment(
        loader=PackageLoader("clinometer.visualizers"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "allow_nan": False}
    return environment.get_template("explorer.html.j2").render(
        title=title or phrases()["title"],
        style=style(),
        fallback=fallback,
        first=first,
        plain=plain,
        state={**state, "page": True, "runs": False, "chosen": dict(chosen)},
        scenes=[
            {
                "words": one.words,
                "first": _text(
                    gzip.decompress(one.first.data) if plain and place == first else one.first.data
                ),
                "maps": _text(one.maps.data),
            }
            for place, one in enumerate(made)
        ],
        module=_text(script().encode()),
    )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _static(name: str) -> str:
    return (files("clinometer.visualizers") / "static" / name).read_text(encoding="utf-8")
