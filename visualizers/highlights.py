"""An attribution as marked text, each word shaded by its signed score, with the sum it has to reach beside it."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from ..errors import DataError, OutputError, did_you_mean
from ..records import Attribution
from .palette import BLUE, ORANGE
from .wording import number, signed

MOST = 20  # examples shown unless more are asked for
STEPS = 5  # of shading
FULL_AT = 0.98  # quantile of magnitudes at which the shade is full, so that one word cannot blank all others


@dataclass(frozen=True, slots=True, kw_only=True)
class Highlights:
    """Marked texts: shown by a notebook as they are, written to a file by `save`."""

    title: str
    fragment: str  # HTML without a page around it
    page: str  # a whole page: no network, no file beside it

    def _repr_html_(self) -> str:
        return self.fragment

    def save(self, path: str | Path, *, force: bool = False) -> Path:
        """Write the page. The file appears whole or not at all; an existing one is replaced only with `force`.

        Raises:
            OutputError: the file exists, or cannot be written.
        """
        target = Path(path)
        if target.exists() and not force:
            raise OutputError(f"{target} exists. Name another file, or replace it with force=True (--force).")
        temporary: Path | None = None
        try:
            with tempfile.NamedTemporaryFile(
                "w", encoding="utf-8", dir=target.parent, prefix=f".{target.name}-", delete=False
            ) as file:
                temporary = Path(file.name)
                file.write(self.page)
            temporary.chmod(0o644)
            temporary.replace(target)
        except OSError as error:
            raise OutputError(
                f"{target} cannot be written: {error.strerror or error}. Name another file."
            ) from error
        finally:
            if temporary is not None:
                temporary.unlink(missing_ok=True)
        return target

    def __repr__(self) -> str:
        return f"Highlights({self.title}; {len(self.page):,} characters of HTML, .save(path) writes them)"


def highlights(
    attribution: Attribution,
    *,
    ids: Sequence[str] | None = None,
    title: str | None = None,
) -> Highlights:
    """Texts (or features) whose words are shaded by what they add to the target.

    Blue and underlined speaks for the target, orange and dotted against it; the number is on each word, as its title
    and in a table below. One scale for all examples shown. Under each stands what the scores add up to, and by how
    much they miss it; or that they add up to nothing.

    Args:
        ids: which examples, in this order; the first 20 where None.
        title: the headline.

    Raises:
        DataError: there is no such example, or there are none.
    """
    if not len(attribution):
        raise DataError("the attribution has no examples to show.")
    known = {name: i for i, name in enumerate(attribution.ids)}
    wanted = list(attribution.ids[:MOST]) if ids is None else list(ids)
    for name in wanted:
        if name not in known:
            raise DataError(f"there is no example {name!r}; {did_you_mean(name, known)}")
    rows = [known[name] for name in wanted]
    magnitudes = np.abs(
        np.concatenate([attribution.scores[i, : len(attribution.tokens[i])] for i in rows] or [np.zeros(1)])
    )
    full = float(np.quantile(magnitudes, FULL_AT)) if magnitudes.size else 0.0
    unsigned = not bool((attribution.scores < 0).any())
    headline = title or f"{attribution.method}: {attribution.target}"
    environment = Environment(
        loader=PackageLoader("clinometer.visualizers"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, signed=signed)
    template = environment.get_template("highlights.html.j2")
    given: dict[str, Any] = {
        "attribution": attribution,
        "title": headline,
        "examples": [_example(attribution, i, full) for i in rows],
        "left": len(attribution) - len(rows) if ids is None else 0,
        "full": full,
        "unsigned": unsigned,
        "blue": BLUE,
        "orange": ORANGE,
        "steps": STEPS,
    }
    return Highlights(
        title=headline,
        fragment=template.render(**given, whole=False),
        page=template.render(**given, whole=True),
    )


def _example(attribution: Attribution, row: int, full: float) -> dict[str, Any]:
    words = []
    for at, token in enumerate(attribution.tokens[row]):
        score = float(attribution.scores[row, at])
        step = 0 if full <= 0 else min(STEPS, round(STEPS * abs(score) / full))
        words.append({"name": token, "score": score, "step": step, "for": score >= 0})
    total = float(attribution.scores[row].sum())
    return {
        "id": attribution.ids[row],
        "words": words,
        "ranked": sorted(words, key=lambda word: -abs(word["score"])),
        "value": float(attribution.value[row]),
        "base": float(attribution.base_value[row]),
        "sum": total,
        "residual": float(attribution.residual[row]),
        "converged": bool(attribution.converged[row]),
        "tolerance": float(attribution.tolerance[row]),
        "nodes": int(attribution.nodes[row]),
    }
