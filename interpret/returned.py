"""Attention weights that a module returns itself: the last way in, read-only."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from .float64 import sum_in_float64
from .frames import Frame, stated_heads


def returned_weights(frame: Frame, output: Any) -> Tensor | None:
    """The weights (example, head, query, key) among a module's outputs; None where none can be told for sure.

    A tensor counts as weights where it has four axes, the examples and queries of the module's own input, as many
    heads as the module or its configuration says it has, no negative entry, and rows that sum to one or to zero.
    """
    inputs = [
        value
        for value in frame.arguments().values()
        if isinstance(value, Tensor) and value.is_floating_point() and value.dim() == 3
    ]
    if not inputs:
        return None
    n_examples, n_queries = inputs[0].shape[:2]
    lengths = {value.shape[1] for value in inputs if value.shape[0] == n_examples}
    heads = stated_heads([frame])
    for found in _tensors(output):
        if (
            found.dim() == 4
            and found.is_floating_point()
            and found.shape[0] == n_examples
            and found.shape[2] == n_queries
            and found.shape[3] in lengths
            and found.shape[1] in heads
        ):
            sums = sum_in_float64(found.detach(), -1)
            one_or_nothing = ((sums - 1.0).abs() < 2e-2) | (sums == 0.0)
            if bool((found >= 0).all()) and bool(one_or_nothing.all()) and bool((sums > 0).any()):
                return found
    return None


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, dict):
        for item in output.values():
            yield from _tensors(item)
    elif isinstance(output, (tuple, list)):
        for item in output:
            yield from _tensors(item)
