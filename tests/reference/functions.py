"""Subjects whose target is a given function of a few numbers, so that the right attributions are known."""

import numpy as np
import torch

from clinometer.interpret.models import wrap
from clinometer.records import Rows

NAMES = ("first", "second", "third")


class Function(torch.nn.Module):
    """A function of embeddings as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, points):
        return self.function(points)


def subject_of(function, *, names=NAMES, reference=0.0, keep=(), labels=("output",), dtype=torch.float64):
    """A Subject of rows of numbers, each number a token of width one.

    Args:
        function: embeddings (example, token, 1) -> (example,) or (example, label); a module or any function.
        reference: what every token is compared with.
        keep: places where the reference is the input's own, as at markers.
    """
    module = function if isinstance(function, torch.nn.Module) else Function(function)

    def compared_with(batch):
        made = torch.full_like(batch["x"], reference)
        made[:, list(keep)] = batch["x"][:, list(keep)]
        return made

    return wrap(
        module.eval(),
        encode=lambda rows: {"x": torch.from_numpy(np.asarray(rows.inputs["x"])).to(dtype)[:, :, None]},
        embed=lambda batch: batch["x"],
        forward=lambda batch, embedded: module(batch["x"] if embedded is None else embedded),
        reference=compared_with,
        names=lambda rows: (tuple(names),) * len(rows),
        labels=labels,
        baseline=f"{reference} everywhere",
        columns=("x",),
        name="function",
    )


def numbers(n=5, *, tokens=3, seed=0):
    """Rows of normal numbers."""
    x = np.random.default_rng(seed).normal(size=(n, tokens))
    return Rows(ids=tuple(f"p{i}" for i in range(n)), inputs={"x": x})
