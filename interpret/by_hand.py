"""Attention that a model computes itself: a softmax over keys, followed to its product with the values."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import CaptureError
from .frames import lengths, stated_heads
from .observer import ATTENTION_CLASS, Asked, Layout, Observer, active, begin, dropout_error

SOFTMAXES = frozenset({F.softmax, torch.softmax, Tensor.softmax})
DROPOUTS = frozenset({F.dropout, torch.dropout})
# What may happen to weights on their way to the product without their becoming something else.
KEEPING = frozenset(
    {
        *DROPOUTS,
        *(Tensor.to, Tensor.type, Tensor.type_as, Tensor.float, Tensor.double, Tensor.half, Tensor.bfloat16),
        *(Tensor.contiguous, Tensor.clone, torch.clone, Tensor.detach, Tensor.cpu, Tensor.cuda),
        *(Tensor.mul, Tensor.__mul__, torch.mul, Tensor.mul_, Tensor.__imul__, Tensor.__rmul__),
        *(Tensor.masked_fill, Tensor.masked_fill_, torch.masked_fill),
        *(Tensor.nan_to_num, torch.nan_to_num, Tensor.nan_to_num_),
    }
)
RESHAPING = frozenset({Tensor.view, Tensor.reshape, torch.reshape, Tensor.flatten, torch.flatten})
TRANSPOSING = frozenset({Tensor.transpose, torch.transpose, Tensor.swapaxes, torch.swapaxes})
PERMUTING = frozenset({Tensor.permute, torch.permute})
PRODUCTS = frozenset({torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, Tensor.bmm})
FOLLOWED = KEEPING | RESHAPING | TRANSPOSING | PERMUTING
WATCHED = SOFTMAXES | FOLLOWED | PRODUCTS | {torch.einsum}


@dataclass(frozen=True, slots=True)
class _Weights:
    """A tensor that holds a softmax's weights, and how its axes are those of the softmax."""

    tensor: Tensor  # kept, so that its identity is not given to another
    sizes: tuple[int, ...]  # of the softmax's axes
    key: int  # the softmax's axis
    axes: tuple[tuple[int, ...], ...]  # of each axis of the tensor: the softmax's axes that lie in it
    depth: int  # frames that ran when the softmax was taken
    where: tuple[str, ...]  # their names
    number: int


class Follower:
    """Follows weights from softmax to product on one thread, for every tap that listens."""

    def __init__(self) -> None:
        self.weights: dict[int, _Weights] = {}
        self.count = 0
        self.used: set[int] = set()  # softmaxes whose product with values has been seen

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one watched function, and note what it means for the weights that are followed."""
        if func in SOFTMAXES:
            return self._softmax(func, args, kwargs)
        if not self.weights:
            return func(*args, **kwargs)
        if func is torch.einsum:
            return self._einsum(args, kwargs)
        if func in PRODUCTS:
            return self._product(func, args, kwargs)
        found = self._find(args[0] if args else kwargs.get("input"))
        if found is None and func in KEEPING and len(args) > 1:
            found = self._find(args[1])  # a mask multiplied from the left
        if found is not None and func in DROPOUTS:
            rate, training = _dropout(args, kwargs)
            if training and rate > 0:
                raise dropout_error(found.where[-1], rate)
        result = func(*args, **kwargs)
        if found is not None and isinstance(result, Tensor):
            axes = _follow(func, found, result, args, kwargs)
            if axes is not None:
                self._keep(axes)
        return result

    def _find(self, tensor: Any) -> _Weights | None:
        found = self.weights.get(id(tensor))
        return found if found is not None and found.tensor is tensor else None

    def _keep(self, weights: _Weights) -> None:
        self.weights[id(weights.tensor)] = weights

    def _softmax(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        taps = [tap for tap in active() if tap.listening]
        scores = args[0] if args else kwargs.get("input")
        dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
        named = any(
            ATTENTION_CLASS.search(type(frame.module).__name__)
            for tap in taps[-1:]
            for frame in tap.stack[-2:]
        )
        if not taps or not isinstance(scores, Tensor) or not isinstance(dim, int) or scores.dim() < 3 - named:
            return func(*args, **kwargs)
        dim %= scores.dim()
        cut = _cut(taps, scores, dim)
        if cut is not None:
            with torch._C.DisableTorchFunction():
                scores = scores.masked_fill(cut, torch.finfo(scores.dtype).min)
            args, kwargs = (scores, *args[1:]), {key: item for key, item in kwargs.items() if key != "input"}
        result = func(*args, **kwargs)
        self.count += 1
        stack = taps[-1].stack
        self._forget(len(stack))
        self._keep(
            _Weights(
                tensor=result,
                sizes=tuple(result.shape),
                key=dim,
                axes=tuple((axis,) for axis in range(result.dim())),
                depth=len(stack),
                where=tuple(frame.name for frame in stack),
                number=self.count,
            )
        )
        if (named and dim == result.dim() - 1) or _pairwise(result, dim, lengths(stack)):
            for tap in taps:
                tap.by_hand[self.count] = _label(tap)
        return result

    def _forget(self, depth: int) -> None:
        """Drop weights of modules that have returned to their parent's parent."""
        self.weights = {key: kept for key, kept in self.weights.items() if kept.depth <= depth + 1}

    def _product(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        left, right = _operands(args, kwargs)
        found = self._find(left)
        if found is not None and isinstance(right, Tensor):
            n, m = left.dim(), right.dim()
            if n >= 2 and m >= 2 and found.axes[-1] == (found.key,):
                letters = [chr(97 + i) for i in range(n)]
                values = [*letters[: n - 2][max(0, n - m) :], letters[-1], "z"]
                if len(values) == m or m == 2:
                    values = values if len(values) == m else [letters[-1], "z"]
                    return self._attend(
                        found, func, args, kwargs, right, letters, values, [*letters[:-1], "z"]
                    )
        found = self._find(right)
        if found is not None and isinstance(left, Tensor):
            n, m = right.dim(), left.dim()
            if n >= 2 and m == n and found.axes[-2] == (found.key,) and found.key == len(found.sizes) - 1:
                letters = [chr(97 + i) for i in range(n)]
                values = [*letters[: n - 2], "z", letters[-2]]
                out = [*letters[: n - 2], "z", letters[-1]]
                return self._attend(found, func, args, kwargs, left, letters, values, out)
        return func(*args, **kwargs)

    def _einsum(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        equation, operands = args[0], args[1:]
        if len(operands) == 1 and isinstance(operands[0], (tuple, list)):
            operands = tuple(operands[0])
        equation = _spelt_out(equation, operands)
        place = next((i for i, operand in enumerate(operands) if self._find(operand) is not None), None)
        if place is None or len(operands) != 2 or not isinstance(equation, str) or "." in equation:
            return torch.einsum(*args, **kwargs)
        terms, _, out = equation.replace(" ", "").partition("->")
        sides = terms.split(",")
        found = self._find(operands[place])
        letters, values = list(sides[place]), list(sides[1 - place])
        contracted = [letter for letter in letters if letter not in out]
        if (
            found is None
            or not out
            or len(contracted) != 1
            or contracted[0] not in values
            or found.axes[letters.index(contracted[0])] != (found.key,)
        ):
            return torch.einsum(*args, **kwargs)
        return self._attend(
            found, torch.einsum, args, kwargs, operands[1 - place], letters, values, list(out)
        )

    def _attend(
        self,
        found: _Weights,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        value: Tensor,
        letters: list[str],
        values: list[str],
        out: list[str],
    ) -> Any:
        """Run the product of weights and values, and report it as an attention call.

        An axis that weights, values and output share is an example or a head; the query is the one that values
        lack; the width is the one that weights lack.
        """
        taps = [tap for tap in active() if tap.listening]
        key = letters[found.axes.index((found.key,))]
        queries = [letter for letter in letters if letter != key and letter not in values and letter in out]
        shared = [letter for letter in letters if letter != key and letter in values and letter in out]
        widths = [letter for letter in values if letter not in letters and letter in out]
        spare = len(letters) - 1 - len(queries) - len(shared)
        if not taps or len(widths) != 1 or spare or not queries:
            return func(*args, **kwargs)
        if found.number in self.used:
            for tap in taps:
                tap.by_hand[found.number] = f"{_label(tap)} (one softmax, several products)"
            return func(*args, **kwargs)
        if isinstance(value, torch.nn.Parameter):  # a router or a codebook: no key holds these values
            for tap in taps:
                tap.by_hand.pop(found.number, None)
            return func(*args, **kwargs)
        # Queries are one axis; where values have no example axis (or no head axis), the last one is the query.
        query, shared = queries[-1], [letter for letter in letters if letter in [*shared, *queries[:-1]]]
        with torch._C.DisableTorchFunction():
            batch = _batch_shape(found, letters, shared, taps)
            if batch is None:
                for tap in taps:
                    tap.by_hand[found.number] = (
                        f"{_label(tap)} (heads and examples on one axis; give it num_heads)"
                    )
                return func(*args, **kwargs)
            given = _arrange(found.tensor, letters, [*shared, query, key]).reshape(
                *batch, -1, found.sizes[found.key]
            )
            held = _arrange(
                value, values, [letter for letter in shared if letter in values] + [key, widths[0]]
            )
            sizes = [found.tensor.shape[letters.index(letter)] for letter in shared]
            kept = [
                held.shape[[x for x in shared if x in values].index(letter)] if letter in values else 1
                for letter in shared
            ]
            held = held.reshape(*kept, *held.shape[-2:]).expand(*sizes, *held.shape[-2:])
            held = held.reshape(*batch, *held.shape[-2:])
        asked = Asked(way="by hand", given=given, value=held)
        places = [(tap, _common(found.where, tap)) for tap in taps]
        seen = begin(asked, places)
        output = func(*args, **kwargs)
        self.used.add(found.number)
        for tap in taps:
            tap.by_hand.pop(found.number, None)
        order = [*shared, query, widths[0]]
        shape = [output.shape[out.index(letter)] for letter in order]

        def there(tensor: Tensor) -> Tensor:
            return _arrange(tensor, out, order).reshape(*batch, *shape[-2:])

        def back(tensor: Tensor) -> Tensor:
            return _arrange(tensor.reshape(shape), order, out)

        return seen.finish(output, Layout(there, back))


def _label(tap: Observer) -> str:
    frame = tap.stack[-1]
    return f"{frame.name} ({type(frame.module).__name__})"


def _pairwise(weights: Tensor, dim: int, known: set[int]) -> bool:
    """Whether a softmax looks like one over pairs of tokens: its last two axes are as long as known sequences."""
    return dim >= weights.dim() - 2 and min(weights.shape[-2:]) > 1 and set(weights.shape[-2:]) <= known


def _spelt_out(equation: Any, operands: Sequence[Any]) -> Any:
    """An einsum equation without dots, where the operands' axes tell which letters they stand for."""
    if not isinstance(equation, str) or "..." not in equation:
        return equation
    terms, arrow, out = equation.replace(" ", "").partition("->")
    sides = terms.split(",")
    free = [chr(c) for c in range(65, 91) if chr(c) not in equation]
    if not arrow or len(sides) != len(operands):
        return equation
    spare = [
        operand.dim() - len(side.replace("...", "")) for side, operand in zip(sides, operands, strict=True)
    ]
    longest = max(spare)
    sides = [
        side.replace("...", "".join(free[longest - n : longest]))
        for side, n in zip(sides, spare, strict=True)
    ]
    return f"{','.join(sides)}->{out.replace('...', ''.join(free[:longest]))}"


def _arrange(tensor: Tensor, have: Sequence[str], want: Sequence[str]) -> Tensor:
    return tensor.permute([list(have).index(letter) for letter in want])


def _common(where: tuple[str, ...], tap: Observer) -> str:
    """The innermost module in which both the softmax was taken and the product is."""
    names = [frame.name for frame in tap.stack]
    return next((name for name in reversed(names) if name in where), names[-1])


def _operands(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    left = args[0] if args else kwargs.get("input", kwargs.get("self"))
    right = args[1] if len(args) > 1 else kwargs.get("other", kwargs.get("mat2"))
    return left, right


def _dropout(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[float, bool]:
    rate = args[1] if len(args) > 1 else kwargs.get("p", 0.5)
    training = args[2] if len(args) > 2 else kwargs.get("training", kwargs.get("train", True))
    return float(rate), bool(training)


def _follow(
    func: Any, found: _Weights, result: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> _Weights | None:
    """What a function made of weights; None where they are no longer whole."""
    if func in KEEPING:
        same = result.shape == found.tensor.shape
        return dataclasses.replace(found, tensor=result) if same else None
    if func in RESHAPING:
        return _regrouped(found, result)
    n = found.tensor.dim()
    if func in TRANSPOSING:
        pair = [*args[1:], *(kwargs[key] for key in ("dim0", "dim1", "axis0", "axis1") if key in kwargs)]
        one, other = (int(axis) % n for axis in pair)
        axes = list(found.axes)
        axes[one], axes[other] = axes[other], axes[one]
        return dataclasses.replace(found, tensor=result, axes=tuple(axes))
    order = kwargs.get("dims", args[1:])
    order = order[0] if len(order) == 1 and isinstance(order[0], (tuple, list, torch.Size)) else order
    return dataclasses.replace(found, tensor=result, axes=tuple(found.axes[int(axis) % n] for axis in order))


def _regrouped(found: _Weights, result: Tensor) -> _Weights | None:
    """Weights after a reshape that merges whole axes or splits one; None where it does something else."""
    sizes = [found.sizes[axis] for group in found.axes for axis in group]
    flat = [axis for group in found.axes for axis in group]
    key = flat.index(found.key)
    axes: list[tuple[int, ...]] = []
    at = 0
    for size in result.shape:
        group: list[int] = []
        total = 1
        while at < len(sizes) and (total < size or (not group and sizes[at] == size)):
            left = size // total
            if sizes[at] > left:
                if at == key or size % total or sizes[at] % left:
                    return None
                sizes[at : at + 1] = [left, sizes[at] // left]  # one axis becomes two
                key += key > at
            total *= sizes[at]
            group.append(at)
            at += 1
        if total != size:
            return None
        axes.append(tuple(group))
    while at < len(sizes) and sizes[at] == 1 and axes:
        axes[-1] = (*axes[-1], at)
        at += 1
    if at < len(sizes) or (key,) not in axes:
        return None
    return dataclasses.replace(found, tensor=result, sizes=tuple(sizes), key=key, axes=tuple(axes))


def _batch_shape(
    found: _Weights, letters: list[str], shared: list[str], taps: list[Observer]
) -> tuple[int, int] | None:
    """(examples, heads) of the axes that are neither query nor key; None where the two cannot be told apart."""
    sizes = [found.sizes[axis] for letter in shared for axis in found.axes[letters.index(letter)]]
    if not sizes:
        return 1, 1
    if len(sizes) == 2:
        return sizes[0], sizes[1]
    total = math.prod(sizes)
    examples = {
        value.shape[0]
        for frame in taps[-1].stack[-3:]
        for value in frame.arguments().values()
        if isinstance(value, Tensor) and value.is_floating_point() and value.dim() == 3
    }
    heads = stated_heads(taps[-1].stack)
    if len(sizes) == 1:
        if total in examples and (not heads or 1 in heads or not any(total // n in examples for n in heads)):
            return total, 1
        told = [n for n in heads if total % n == 0 and total // n in examples]
        return (total // told[0], told[0]) if len(set(told)) == 1 else None
    return (sizes[0], total // sizes[0]) if total // sizes[0] in heads else None


def _cut(taps: list[Observer], scores: Tensor, dim: int) -> Tensor | None:
    """The edges that editors want cut, for scores (example, head, query, key).

    Raises:
        CaptureError: the scores have other axes, so that a pair cannot be found in them.
    """
    cuts = []
    for tap in taps:
        if tap.editor is None:
            continue
        whole = scores.dim() == 4 and dim == 3
        n_examples, n_heads, n_queries, n_keys = scores.shape if whole else (1, 1, 1, 1)
        cut = tap.editor.cut(tap.spot(tap.where, n_examples, n_heads, n_queries, n_keys, scores))
        if cut is not None and not whole:
            raise CaptureError(
                f"{tap.where}: no edge can be cut where the model takes a softmax over {tuple(scores.shape)} itself; "
                "scores (example, head, query, key) are expected."
            )
        if cut is not None:
            cuts.append(cut)
    if not cuts:
        return None
    return functools.reduce(torch.logical_or, cuts)
