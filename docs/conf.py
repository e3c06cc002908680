"""The site: Markdown pages, notebooks as they are stored, references written from the literal tables.

    sphinx-build -W docs build/site

Pages of the repository that lie outside this folder (the notebooks, the contributor's guide, the results of the
benchmarks) are copied into `docs/generated/` when a build starts; nothing there is kept in the repository.
"""

import re
import shutil
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import clinometer as cm
from clinometer.bias.metrics import METRICS
from clinometer.bias.presets import PRESETS
from clinometer.interpret.measures import MEASURES
from clinometer.interpret.methods import METHODS

HERE = Path(__file__).parent
ROOT = HERE.parent
MADE = HERE / "generated"
PAGES = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/RESULTS.md": "results.md",
}

project = "Clinometer"
author = "the Clinometer project"
version = release = installed("clinometer")
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
suppress_warnings = [
    "myst.xref_missing"
]  # links to files of the repository that are no page; a test follows them
nb_execution_mode = "off"  # the tests execute them; the site shows them as they are stored
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
napoleon_use_rtype = False
html_theme = "alabaster"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "description": "See where a Transformer leans, what makes it lean, and prove the fix.",
    "fixed_sidebar": True,
    "page_width": "1180px",
    "body_max_width": "auto",
}
html_show_sourcelink = False
html_copy_source = False


def cell(text: str) -> str:
    """Text for a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|") or "–"


def table(header: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *[[cell(text) for text in row] for row in rows]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def methods() -> str:
    """The reference of attribution methods."""
    rows = [
        [
            f"`{m.name}`" + (" (on request)" if m.on_request else ""),
            m.adds_up or "nothing",
            m.cost,
            "signed" if m.signed else "sizes only",
            "yes" if m.class_specific else "no",
            "yes" if m.compares else "no",
            m.source,
            m.note,
        ]
        for m in METHODS
    ]
    measures = [[f"`{m.name}`", m.says, m.better, m.source] for m in MEASURES]
    return (
        "# Methods, and measures of faithfulness\n\nWritten from `interpret/methods.py`. f and b are a forward and a "
        "backward pass, n the tokens of an example. How to choose and what each picture does not prove: "
        "[attributions](../attributions.md).\n\n"
        + table(
            ["method", "adds up to", "cost", "sign", "knows the target", "has a baseline", "source", "note"],
            rows,
        )
        + "\n## Measures of faithfulness\n\nWritten from `interpret/measures.py`.\n\n"
        + table(["measure", "what it is", "better", "source"], measures)
    )


def metrics() -> str:
    """The reference of metrics and presets."""
    rows = [[f"`{m.name}`", m.words, m.better, ", ".join(m.needs), m.kind, m.source] for m in METRICS]
    rules = [[f"`{p.name}`", p.title, p.decides, p.does_not_decide, p.source] for p in PRESETS]
    return (
        "# Metrics, and published rules\n\nWritten from `bias/metrics.py` and `bias/presets.py`. How gaps, intervals and "
        "verdicts come of them: [auditing predictions](../audit.md).\n\n"
        + table(["metric", "what it is", "better", "needs", "kind", "source"], rows)
        + "\n## Published rules\n\n"
        + table(["preset", "title", "what it decides", "what it does not", "source"], rules)
    )


def api() -> str:
    """Every public name, by the room it is in."""
    rooms: dict[str, list[str]] = {}
    for name in cm.__all__:
        module = cm._WHERE[name].partition(":")[0].lstrip(".")
        rooms.setdefault(module.split(".")[0] if "." in module else "top level", []).append(name)
    titles = {
        "interpret": "What did the model use?",
        "bias": "Whom does it fail?",
        "visualizers": "Show it honestly",
    }
    text = "# Every public name\n\n`import clinometer as cm`; each is imported when it is first used.\n"
    for room in sorted(rooms, key=lambda one: ("top level", "interpret", "bias", "visualizers").index(one)):
        text += f"\n## {titles.get(room, 'Composed, and the records')}\n\n"
        for name in rooms[room]:
            kind = "autoclass" if isinstance(getattr(cm, name), type) else "autofunction"
            if not callable(getattr(cm, name)):
                page = {"METHODS": "methods.md", "METRICS": "metrics.md", "FIGURES": "../pictures.md"}.get(
                    name
                )
                text += (
                    f"`cm.{name}`: the literal table" + (f", [as a page]({page})" if page else "") + ".\n\n"
                )
                continue
            where, _, attribute = cm._WHERE[name].partition(":")
            members = (
                ":members:\n:undoc-members:\n:exclude-members: __init__, __new__\n"
                if kind == "autoclass"
                else ""
            )
            text += (
                f"### cm.{name}\n\n```{{eval-rst}}\n.. {kind}:: clinometer{where}.{attribute or name}\n"
                + "".join(f"   {line}\n" for line in members.splitlines())
                + "```\n\n"
            )
    return text


def write(app: Any) -> None:
    """Fill `docs/generated/`."""
    shutil.rmtree(MADE, ignore_errors=True)
    MADE.mkdir()
    for name, text in (("methods.md", methods()), ("metrics.md", metrics()), ("api.md", api())):
        (MADE / name).write_text(text, encoding="utf-8")
    for source, name in PAGES.items():
        text = re.sub(
            r"\[([^]]+)\]\((?!https?:|#)[^)]+\)", r"\1", (ROOT / source).read_text(encoding="utf-8")
        )
        (MADE / name).write_text(text, encoding="utf-8")
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        shutil.copy(notebook, MADE / notebook.name)


def bars(app: Any, what: str, name: str, found: Any, options: Any, lines: list[str]) -> None:
    """A bar in a docstring is an absolute value, no substitution."""
    lines[:] = [line.replace("|", "\\|") for line in lines]


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("builder-inited", write)
    app.connect("autodoc-process-docstring", bars)
