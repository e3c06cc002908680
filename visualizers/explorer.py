"""The explorer: examples, heads and gates in linked panels, live in a notebook or saved as one page."""

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, UsageError, did_you_mean, first
from ..records import plain
from ..scenes import Gap, Rerun, Runs, Scene, distinct
from .explorer_payload import BUDGET, LEVELS, PackedScene, index, pack_scene, window_bytes
from .explorer_picture import fallback
from .explorer_widget import Widget, widget
from .highlights import Highlights
from .offline_page import phrases, whole_page

SELECTION = ("layer", "head", "example", "target", "query")
NO_QUERY = -1
Handler = Callable[[Mapping[str, Any]], None]


class Explorer:
    """Examples to be explored: a bare one at a cell's end is a live view, `save` writes it as a page.

    The selection can be read and set: `layer` and `head` (from 0), `example` (an id), `target` (a name, or its
    number), `query` (the place of the chosen token, -1 for none). `observe` calls back when it changes, whether
    Python or the view changed it.
    """

    def __init__(
        self,
        scenes: Sequence[Scene],
        *,
        gap: Gap | None = None,
        runs: Runs | None = None,
        others: Sequence[Scene] = (),
        names: tuple[str, str] = ("", ""),
        title: str = "",
    ) -> None:
        distinct(scenes)
        if others:
            distinct(others)
        self._scenes = tuple(scenes)
        self._others = tuple(others)
        self._gap, self._runs, self._names, self._title = gap, runs, names, title
        self._packed: dict[int, PackedScene] = {}
        self._handlers: list[tuple[Handler, tuple[str, ...]]] = []
        self._widget: Widget | None = None
        self._gates: dict[tuple[int, int], float] = {}
        self._said: Rerun | None = None
        layer, head = _strongest(self._scenes[0])
        self._chosen: dict[str, Any] = {
            "layer": layer,
            "head": head,
            "example": self._scenes[0].id,
            "target": 0,
            "query": NO_QUERY,
        }

    # The selection

    @property
    def layer(self) -> int:
        """The chosen layer, from 0."""
        return int(self._chosen["layer"])

    @layer.setter
    def layer(self, value: int) -> None:
        self._choose("layer", self._within("layer", value, len(self._scene().layers)))

    @property
    def head(self) -> int:
        """The chosen head of the layer, from 0."""
        return int(self._chosen["head"])

    @head.setter
    def head(self, value: int) -> None:
        self._choose("head", self._within("head", value, self._scene().n_heads))

    @property
    def query(self) -> int:
        """The place of the chosen token, from 0; -1 where none is."""
        return int(self._chosen["query"])

    @query.setter
    def query(self, value: int) -> None:
        if value != NO_QUERY:
            value = self._within("query", value, len(self._scene().queries))
        self._choose("query", value)

    @property
    def target(self) -> str:
        """The name of the target that is explained."""
        return self._scene().targets[int(self._chosen["target"])]

    @target.setter
    def target(self, value: str | int) -> None:
        known = self._scene().targets
        if isinstance(value, str):
            if value not in known:
                raise DataError(f"there is no target {value!r}; {did_you_mean(value, known)}")
            value = known.index(value)
        self._choose("target", self._within("target", value, len(known)))

    @property
    def example(self) -> str:
        """The id of the example that is shown."""
        return str(self._chosen["example"])

    @example.setter
    def example(self, value: str) -> None:
        known = [scene.id for scene in self._scenes]
        if value not in known:
            raise DataError(f"there is no example {value!r}; {did_you_mean(value, known)}")
        self._choose("example", value)

    def observe(self, handler: Handler, names: str | Sequence[str] = SELECTION) -> None:
        """Call `handler({"name", "old", "new", "owner"})` whenever one of these changes.

        Raises:
            UsageError: there is no such name.
        """
        wanted = (names,) if isinstance(names, str) else tuple(names)
        for name in wanted:
            if name not in SELECTION:
                raise UsageError(f"an explorer has no {name!r} to observe; {did_you_mean(name, SELECTION)}")
        self._handlers.append((handler, wanted))

    # What it was made of, and what the model said last

    @property
    def scenes(self) -> tuple[Scene, ...]:
        """The examples."""
        return self._scenes

    @property
    def others(self) -> tuple[Scene, ...]:
        """The same examples of a second model."""
        return self._others

    @property
    def gap(self) -> Gap | None:
        """The gap that gates are watched for."""
        return self._gap

    @property
    def runs(self) -> Runs | None:
        """The way to run the model with some heads scaled."""
        return self._runs

    @property
    def names(self) -> tuple[str, str]:
        """What the two models are called."""
        return self._names

    @property
    def title(self) -> str:
        """The headline."""
        return self._title

    @property
    def gates(self) -> dict[tuple[int, int], float]:
        """The factors that the model was asked with last: (layer, head) -> factor; empty before any."""
        return dict(self._gates)

    @property
    def answer(self) -> Rerun | None:
        """What the model said to these gates; None before any."""
        return self._said

    # The views

    @property
    def widget(self) -> Widget:
        """The live view, for ipywidgets to compose: its `layer`, `head`, `query`, `target`, `example` are traits.

        Raises:
            UsageError: anywidget is not installed.
        """
        if self._widget is None:
            self._widget = widget(self._answer, self._chosen)
            self._widget.observe(self._heard, names=list(SELECTION))
        return self._widget

    def page(self, *, budget: int = BUDGET) -> str:
        """The whole offline page. `budget` is in bytes of numbers, before compression.

        Raises:
            DataError: not even the scores fit.
        """
        return whole_page(
            self._scenes,
            self._others,
            gap=self._gap,
            names=self._names,
            title=self._title,
            chosen=self._chosen,
            fallback=self._fallback(),
            budget=budget,
        )

    def save(self, path: str | Path, *, force: bool = False, budget: int = BUDGET) -> Path:
        """Write the explorer as one HTML file that needs no network and no Python.

        The page holds every example's scores and coarse maps, and whole maps of the most important heads as far as
        the budget goes; of gates it knows what `closings` hold. What is not there says so.

        Raises:
            OutputError: the file exists, or cannot be written.
            DataError: not even the scores fit.
        """
        page = self.page(budget=budget)
        return Highlights(title=self._title, fragment="", page=page).save(path, force=force)

    def close(self) -> None:
        """End the live view; the explorer can still be saved."""
        if self._widget is not None:
            self._widget.close()
            self._widget = None

    def __repr__(self) -> str:
        scene = self._scene()
        return (
            f"Explorer({len(self._scenes)} examples, {len(scene.layers)} layers x {scene.n_heads} heads; "
            f"showing {self.example!r}, L{self.layer}.H{self.head}; .save('heads.html') writes a page)"
        )

    def _ipython_display_(self) -> None:
        """The live view, and after it the picture, which the view's style sheet hides while it lives.

        One bundle with both would not do: in a notebook of one's own, reopened without its kernel, JupyterLab tries
        the view alone and says that its model is not found.
        """
        from IPython import display

        publish: Callable[[Mapping[str, str]], None] = display.publish_display_data
        made = self._repr_mimebundle_()
        still = {name: made.pop(name) for name in ("text/html", "text/plain")}
        if made:
            publish({**made, "text/plain": still["text/plain"]})
        publish(still)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """A live view where there is a kernel; beside it a picture for a notebook without one."""
        made: dict[str, Any] = {"text/plain": repr(self), "text/html": self._fallback()}
        if find_spec("anywidget") is not None:
            made["application/vnd.jupyter.widget-view+json"] = {
                "version_major": 2,
                "version_minor": 1,
                "model_id": self.widget.model_id,
            }
        return made

    # What the script asks

    def _answer(self, message: Mapping[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        kind = message.get("kind")
        if kind == "open":
            state = index(
                self._scenes,
                self._others,
                gap=self._gap,
                names=self._names,
                title=self._title,
                live=True,
                phrases=phrases(),
            )
            return {"state": {**state, "page": False, "runs": self._runs is not None}}, []
        place = int(message["place"])
        scene = (*self._scenes, *self._others)[place]
        if kind in ("scene", "maps"):
            if place not in self._packed:
                kept = dict(list(self._packed.items())[-1:])  # two at a time: they are large
                self._packed = {**kept, place: pack_scene(scene, live=True)}
            one = self._packed[place]
            return ({"words": one.words}, [one.first.data]) if kind == "scene" else ({}, [one.maps.data])
        if kind == "map":
            q0, q1, k0, k1 = (int(v) for v in message["window"])
            made = window_bytes(scene, int(message["layer"]), int(message["head"]), (q0, q1, k0, k1))
            return {"layout": made.layout, "levels": LEVELS[0]}, [made.data]
        if kind == "rerun":
            return self._rerun(scene, message), []
        raise UsageError(f"the explorer was asked for {kind!r}, which it does not know.")

    def _rerun(self, scene: Scene, message: Mapping[str, Any]) -> dict[str, Any]:
        if self._runs is None:
            raise UsageError("this explorer was made without a way to run the model again.")
        gates = {(int(layer), int(head)): float(factor) for layer, head, factor in message["gates"]}
        wrong = [
            f"L{layer}.H{head}"
            for layer, head in gates
            if not (0 <= layer < len(scene.layers) and 0 <= head < scene.n_heads)
        ]
        if wrong:
            raise DataError(f"there is no head {first(wrong)} in {scene.id!r}.")
        answer = self._runs(scene.id, gates)
        self._gates, self._said = gates, answer
        return {"value": plain(np.asarray(answer.value, dtype=float)), "gap": plain(answer.gap)}

    # Inside

    def _scene(self) -> Scene:
        return next(scene for scene in self._scenes if scene.id == self._chosen["example"])

    def _within(self, name: str, value: int, count: int) -> int:
        if not 0 <= value < count:
            raise DataError(f"there is no {name} {value} in {self.example!r}: 0 to {count - 1} are there.")
        return int(value)

    def _choose(self, name: str, value: Any) -> None:
        old = self._chosen[name]
        if old == value:
            return
        self._chosen[name] = value
        if self._widget is not None and getattr(self._widget, name) != value:
            setattr(self._widget, name, value)
        if name == "example":
            self._fit()
        for handler, names in list(self._handlers):
            if name in names:
                handler({"name": name, "old": old, "new": value, "owner": self})

    def _fit(self) -> None:
        """Another example may have fewer layers, heads, targets or tokens."""
        scene = self._scene()
        for name, count in (
            ("layer", len(scene.layers)),
            ("head", scene.n_heads),
            ("target", len(scene.targets)),
        ):
            self._choose(name, min(int(self._chosen[name]), count - 1))
        if self.query >= len(scene.queries):
            self._choose("query", NO_QUERY)

    def _heard(self, change: Mapping[str, Any]) -> None:
        self._choose(str(change["name"]), change["new"])

    def _fallback(self) -> str:
        return fallback(
            self._scene(), self.layer, self.head, target=int(self._chosen["target"]), title=self._title
        )


def explorer(
    scenes: Sequence[Scene],
    *,
    gap: Gap | None = None,
    runs: Runs | None = None,
    others: Sequence[Scene] = (),
    names: tuple[str, str] = ("", ""),
    title: str = "",
) -> Explorer:
    """An explorer of these examples.

    Args:
        scenes: the examples, the first shown first.
        gap: the difference between two groups that gates are watched for, and each head's share in it.
        runs: runs the model on an example with some heads scaled; None where gates cannot be tried.
        others: the same examples of a second model, matched by id, to be shown beside.
        names: what the two models are called.
        title: the headline.

    Raises:
        DataError: there is no example, or two have one id.
    """
    return Explorer(scenes, gap=gap, runs=runs, others=others, names=names, title=title)


def _strongest(scene: Scene) -> tuple[int, int]:
    sizes = np.abs(np.nan_to_num(scene.importance[0]))
    at = int(sizes.argmax()) if sizes.size else 0
    return at // scene.n_heads, at % scene.n_heads
