"""Linear layers as products of two thinner ones, by truncated singular value decomposition."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import ModelError, UsageError
from .float64 import in_float64


class LowRank(nn.Module):
    """x -> outer(inner(x)): what a Linear layer does whose weights have at most this rank.

    `weight`, `bias`, `in_features` and `out_features` are those of the one layer it stands for, so that code which
    reads them goes on working.
    """

    def __init__(self, in_features: int, out_features: int, rank: int, *, bias: bool = True) -> None:
        super().__init__()
        self.inner = nn.Linear(in_features, rank, bias=False)
        self.outer = nn.Linear(rank, out_features, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        return self.outer(self.inner(x))  # type: ignore[no-any-return]

    @property
    def weight(self) -> Tensor:
        """The product of both, (out, in)."""
        return self.outer.weight @ self.inner.weight

    @property
    def bias(self) -> Tensor | None:
        """The bias, (out,)."""
        return self.outer.bias

    @property
    def in_features(self) -> int:
        """Width of what comes in."""
        return self.inner.in_features

    @property
    def out_features(self) -> int:
        """Width of what goes out."""
        return self.outer.out_features

    @property
    def rank(self) -> int:
        """Width in between."""
        return self.inner.out_features


def rank_for(singular: Float[Tensor, " value"], energy: float) -> int:
    """The least rank that keeps this share of a matrix's energy: the sum of its squared singular values.

    By Eckart & Young (1936) no matrix of that rank is nearer; what is lost is at most (1 - energy) of the squared
    Frobenius norm. At least 1.
    """
    squares = in_float64(singular).square()
    total = float(squares.sum())
    if total == 0:
        return 1
    kept = squares.cumsum(0) / total
    enough = torch.nonzero(kept >= energy * (1 - 1e-12))
    return int(enough[0]) + 1 if len(enough) else len(singular)


def factorised(layer: nn.Linear, *, energy: float | None = None, rank: int | None = None) -> LowRank:
    """The layer as a product: U sqrt(S) and sqrt(S) V^T of its largest singular values, found in float64.

    Raises:
        UsageError: neither or both of `energy` (above 0, at most 1) and `rank` (1 or more) are given, or impossible.
    """
    _asked(energy, rank)
    weight = layer.weight.detach()
    u, s, v = torch.linalg.svd(in_float64(weight), full_matrices=False)
    kept = rank_for(s, energy) if energy is not None else min(int(rank or 1), len(s))
    made = LowRank(layer.in_features, layer.out_features, kept, bias=layer.bias is not None)
    made = made.to(weight.device, weight.dtype)
    root = s[:kept].sqrt()
    with torch.no_grad():
        made.inner.weight.copy_(root[:, None] * v[:kept])
        made.outer.weight.copy_(u[:, :kept] * root)
        if layer.bias is not None:
            made.outer.bias.copy_(layer.bias)
    return made.train(layer.training)


def _asked(energy: float | None, rank: int | None) -> None:
    if (energy is None) == (rank is None):
        raise UsageError(f"energy={energy} and rank={rank}: exactly one of them says what is kept.")
    if energy is not None and not 0 < energy <= 1:
        raise UsageError(f"energy is {energy}; a share above 0 and at most 1 is expected, as energy=.9.")
    if rank is not None and rank < 1:
        raise UsageError(f"rank is {rank}, expected 1 or more.")


def low_rank(module: nn.Module, *, energy: float | None = None, rank: int | None = None) -> dict[str, int]:
    """Replace, in place, the Linear layers inside a module by products of two thinner ones; name -> rank.

    Args:
        energy: each layer keeps this share of its squared singular values, and stays as it is where the product would
            hold as many numbers or more.
        rank: every layer is given this rank, or its full one where that is less.

    Raises:
        UsageError: see `factorised`.
        ModelError: there is no Linear layer inside, or none becomes smaller.
    """
    _asked(energy, rank)
    made: dict[int, LowRank | None] = {}
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is not nn.Linear:  # subclasses have ways of their own
                continue
            if id(child) not in made:
                product = factorised(child, energy=energy, rank=rank)
                made[id(child)] = None if energy is not None and _size(product) >= _size(child) else product
            replacement = made[id(child)]
            if replacement is not None:
                setattr(parent, name, replacement)
    if not made:
        raise ModelError(
            f"{type(module).__name__} has no Linear layer inside to factorise. Leave it as it is."
        )
    found = ranks_of(module)
    if not found:
        raise ModelError(
            f"keeping {energy} of the energy makes none of the {len(made)} Linear layers of {type(module).__name__} "
            "smaller. Keep less, or name a rank (rank=...)."
        )
    return found


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def ranks_of(module: nn.Module) -> dict[str, int]:
    """The factorised layers of a module and their ranks."""
    return {name: part.rank for name, part in module.named_modules() if isinstance(part, LowRank)}


def shaped(module: nn.Module, ranks: Mapping[str, int]) -> nn.Module:
    """The module with factorised layers, of random weights, where `ranks` names them: ready for saved weights.

    Raises:
        ModelError: a name is no Linear layer of the module, or a rank is impossible.
    """
    parts = dict(module.named_modules())
    for name, rank in ranks.items():
        layer = parts.get(name)
        if type(layer) is not nn.Linear:
            raise ModelError(
                f"the saved model has a layer {name!r} of rank {rank!r}; {type(module).__name__} has "
                f"{'no such part' if layer is None else type(layer).__name__} there. The settings do not fit the weights."
            )
        full = min(layer.in_features, layer.out_features)
        if type(rank) is not int or not 1 <= rank <= full:
            raise ModelError(
                f"the saved model has a layer {name!r} of rank {rank!r}; 1 to {full} is expected of one that is "
                f"{layer.out_features} by {layer.in_features}. The settings do not fit the weights."
            )
        made = LowRank(layer.in_features, layer.out_features, rank, bias=layer.bias is not None)
        made = made.to(layer.weight.device, layer.weight.dtype).train(layer.training)
        for parent in list(module.modules()):
            for short, child in list(parent.named_children()):
                if child is layer:
                    setattr(parent, short, made)
    return module
