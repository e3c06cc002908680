"""A model run again with some heads scaled: what an explorer's gates ask, for one example and for a watched gap."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import UsageError, did_you_mean, first
from ..records import Floats, Rows
from ..scenes import Rerun, Scene
from .ablation import ablated
from .audited import Audited
from .example_scenes import Example
from .gates import Head, Layer, Value, gates
from .models import Subject, score

Factors = Mapping[tuple[int, int], float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Watched:
    """A gap that is computed again when heads are scaled."""

    subject: Subject
    rows: Rows
    metric: Audited

    def of(self, scores: Floats) -> float:
        """The gap of scores of the rows."""
        return float(
            self.metric.values(np.asarray(scores, dtype=np.float64), np.ones((1, len(self.rows))))[0]
        )

    def now(self) -> float:
        """The gap as the model is now, within a gate or outside."""
        return self.of(score(self.subject, self.rows))


class LiveGates:
    """(id of an example, {(layer, head): factor}) -> the answer with these heads scaled. Layers are places in the scene."""

    def __init__(
        self, scenes: Sequence[Scene], examples: Sequence[Example], watched: Watched | None = None
    ) -> None:
        self.scenes = {scene.id: scene for scene in scenes}
        self.examples = {example.id: example for example in examples}
        self.watched = watched

    def __call__(self, name: str, factors: Factors) -> Rerun:
        """One answer.

        Raises:
            UsageError: there is no such example, layer or head.
        """
        if name not in self.scenes:
            raise UsageError(f"there is no example {name!r}; {did_you_mean(name, self.scenes)}")
        scene, example = self.scenes[name], self.examples[name]
        wrong = [
            place
            for place in factors
            if not (0 <= place[0] < len(scene.layers) and 0 <= place[1] < scene.n_heads)
        ]
        if wrong:
            raise UsageError(
                f"there is no head {first(wrong)}: {name} has {len(scene.layers)} layers of {scene.n_heads} heads, counted "
                "from 0."
            )
        heads: dict[tuple[Layer, Head], Value] = {
            (scene.layers[layer], head): float(factor) for (layer, head), factor in factors.items()
        }
        with gates(example.subject, heads):
            value = np.array([score(subject, example.row)[0] for subject in example.subjects])
        gap = None
        if self.watched is not None:
            with gates(self.watched.subject, heads):
                gap = self.watched.now()
        return Rerun(id=name, value=value, gap=gap)


def closed_one_by_one(
    subject: Subject, rows: Rows, layers: Sequence[str], n_heads: int, *, progress: bool = False
) -> Floats:
    """Scores of the rows with each head alone closed, (layer, head, row)."""
    sets = [[(layer, head)] for layer in layers for head in range(n_heads)]
    found = ablated(subject, rows, sets, how="zero", progress=progress)
    return found.reshape(len(layers), n_heads, len(rows))
