"""The integral of the gradient along the straight path from the baseline to the input, as exact as is asked for."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from .batches import Places, backing_off, repeated
from .float64 import in_float64
from .models import Batch, Subject
from .quadrature import gauss, nested

Gradients = Callable[
    [Batch, Tensor], list[Tensor]
]  # (batch, points) -> (example, token, width) of each target
Sums = Float[np.ndarray, "target example token"]
# (target, example) sums of scores, places of these examples in the batch -> which are near enough.
Enough = Callable[[npt.NDArray[np.float64], Places], npt.NDArray[np.bool_]]


def integrate(
    subject: Subject,
    batch: Batch,
    gradients: Gradients,
    enough: Enough,
    *,
    nodes: int,
    most_nodes: int,
    at_once: int,
    wide: bool = False,
    what: str = "integrated gradients",
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Integrated gradients of a batch, and how many nodes each example was given.

    Gauss's rule of `nodes` nodes comes first. Examples that are not near enough get Kronrod's rule, which uses these
    nodes again and adds `nodes + 1`; those that still are not start anew with four times as many. It ends where the
    next rule has more than `most_nodes` nodes.

    Args:
        gradients: of each target in the points.
        enough: which examples are done, from the sums of their scores.
        at_once: points that run together.
        wide: keep the embedding's axis.

    Returns:
        Scores (target, example, token), or (target, example, token, width); and nodes (example,).
    """
    with torch.no_grad():
        embedded, reference = subject.embed(batch), subject.reference(batch)

    def along(
        which: Places, points: npt.NDArray[np.float64], weights: list[npt.NDArray[np.float64]]
    ) -> Tensor:
        """(weighting, target, example, token[, width]), float64."""
        runs = np.repeat(which, len(points))
        at = np.tile(np.arange(len(points)), len(which))
        own = np.repeat(np.arange(len(which)), len(points))

        def run(together: int) -> Tensor:
            made: Tensor | None = None
            place, shares = torch.from_numpy(own), [torch.from_numpy(weight[at]) for weight in weights]
            for start in range(0, len(runs), together):
                here = slice(start, start + together)
                rows = torch.from_numpy(runs[here]).to(reference.device)
                step = torch.from_numpy(points[at[here]]).to(reference)[:, None, None]
                moved = embedded[rows] - reference[rows]
                found = gradients(
                    repeated(batch, runs[here]), (reference[rows] + step * moved).requires_grad_()
                )
                parts = in_float64(torch.stack([gradient * moved for gradient in found]))
                if not wide:
                    parts = parts.sum(dim=3)
                if made is None:
                    made = parts.new_zeros(len(weights), len(parts), len(which), *parts.shape[2:])
                shape = (1, -1, *[1] * (parts.ndim - 2))
                for one, share in zip(made, shares, strict=True):
                    weighted = parts * share[here].to(parts.device).reshape(shape)
                    one.index_add_(1, place[here].to(parts.device), weighted)
            assert made is not None
            return made

        return backing_off(run, min(at_once, len(runs)), what)

    n = len(embedded)
    used = np.zeros(n, dtype=np.int64)
    left: Places = np.arange(n)
    scores: Tensor | None = None

    def settle(made: Tensor) -> npt.NDArray[np.bool_]:
        nonlocal scores
        if scores is None:
            scores = made.clone()
        scores[:, torch.from_numpy(left).to(made.device)] = made
        return enough(made.flatten(2).sum(dim=2).cpu().numpy(), left)

    while True:
        further = 2 * nodes + 1 <= most_nodes
        points, weights = gauss(nodes)
        made = along(left, points, [weights, nested(nodes).kept] if further else [weights])
        used[left] += nodes
        todo = ~settle(made[0])
        left = left[todo]
        if not left.size or not further:
            break
        more = along(left, nested(nodes).added, [nested(nodes).added_weights])
        used[left] += nodes + 1
        todo_again = ~settle(made[1][:, torch.from_numpy(todo).to(made.device)] + more[0])
        left = left[todo_again]
        nodes *= 4
        if not left.size or nodes > most_nodes:
            break
    assert scores is not None
    return scores.cpu().numpy(), used
