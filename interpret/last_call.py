"""The heads of the last attention call, closed one by one from what a pass had computed before that call."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import CaptureError
from .batches import repeated
from .feed_forward import linear_layers
from .gates import Constant, Gates, Intervention
from .interventions import parts_of
from .models import Batch, Subject
from .observer import Spot
from .standing_parts import by_row, outermost, repeated_rows, standing_in
from .tap import tap

TOGETHER = 4  # heads in one batch: few fit a processor's cache


class LastCall:
    """Keeps, in one run, the outputs of parts that end before the last attention call, and runs on from there.

    A part stands for itself where it ran once and what it gave has the row as its first axis and tokens as another;
    all else is computed again, so that a model whose blocks share their weights is run whole for every head.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        parts = parts_of(subject.module)
        self.parts = parts | linear_layers(subject.module)
        self.outputs: dict[str, Any] = {}
        self.runs: dict[str, int] = {}
        self.before: tuple[str, ...] = ()
        self.layer, self.n_heads = "", 0
        self.met: set[str] = set()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """In the body, note what each part gives."""
        self.outputs, self.runs, self.before, self.met = {}, {}, (), set()
        with ExitStack() as stack:
            for name, part in self.parts.items():
                stack.callback(part.register_forward_hook(self._keeper(name)).remove)
            yield

    def note(self, spot: Spot) -> None:
        """An attention call is being made: what has run so far ran before it.

        Raises:
            CaptureError: the call was made before, so that the model runs several times for one score.
        """
        if spot.layer in self.met:
            raise CaptureError(
                f"{spot.layer} is called twice under one name: {self.subject.name} runs its model several times for one "
                "score, and has no last call. Screen it with last='first order'."
            )
        self.met.add(spot.layer)
        self.layer, self.n_heads, self.before = spot.layer, spot.n_heads, tuple(self.outputs)

    def _keeper(self, name: str) -> Any:
        def keep(module: nn.Module, args: Any, output: Any) -> None:
            self.runs[name] = self.runs.get(name, 0) + 1
            self.outputs[name] = output

        return keep

    @torch.no_grad()
    def closed(self, batch: Batch, n: int, means: Mapping[str, Tensor]) -> Float[np.ndarray, "row head"]:
        """The score of each of the `n` rows with each head of the last call closed, or at its mean where one is known."""
        standing = [name for name in self.before if self.runs[name] == 1 and by_row(self.outputs[name], n)]
        outer = outermost(standing)
        made = []
        for start in range(0, self.n_heads, TOGETHER):
            heads = range(start, min(start + TOGETHER, self.n_heads))
            put = {head: Constant(means[self.layer][head]) if self.layer in means else 0.0 for head in heads}
            editor = Gates([Intervention(heads={(self.layer, head): value}) for head, value in put.items()])
            outputs = {name: repeated_rows(self.outputs[name], n, len(heads)) for name in outer}
            module = self.subject.module
            with standing_in(self.parts, outputs), tap(module, editor=editor):
                some = repeated(batch, np.tile(np.arange(n), len(heads)))
                scores = self.subject.select(self.subject.forward(some, None))
            made.append(scores.cpu().double().numpy().reshape(len(heads), n))
        self.outputs = {}
        return np.concatenate(made).T
