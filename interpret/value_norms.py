"""Norms of what each token's value adds to each other's output, rolled out over the layers."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import CaptureError, UsageError
from ..records import Attribution, Rows
from .batches import MAX_MEMORY
from .calls import Call
from .float64 import float64_device
from .models import Subject
from .projections import projections
from .reading import Found, Reading, read
from .rollout import Block, rolled

UNSIGNED = (
    "no sign and no target: what a token adds is measured, not whether it speaks for the target; in our measurements "
    "such norms, rolled out, ranked tokens poorly (rank correlation with Shapley values .30, integrated gradients .79)"
)


def value_weighted_norms(
    subject: Subject,
    rows: Rows,
    *,
    residual: float = 0.5,
    batch_size: int = 64,
    max_memory: int = MAX_MEMORY,
    seed: int = 0,
    progress: bool = False,
) -> Attribution:
    """Shares of what the position the target is read from is made of, by norms of weighted values, per token.

    In each layer N_ij = || sum over heads of A_ij^h v_j^h W_O^h ||, the norm of what position j adds to the attention
    output of i (Kobayashi et al. 2020, section 3, the heads summed before the norm is taken), with v_j including
    the value's additive term. Rows of N are divided by their sums, and the layers rolled out as attention maps are: the
    reading position's row of the product of all (1 - residual) N + residual I (Abnar & Zuidema 2020, section 3);
    where several positions are read, the mean of their rows.

    The residual is a constant and not measured, and layer norms and feed-forward layers are left out: Kobayashi et
    al. 2021 and GlobEnc (Modarressi et al. 2022) put the residual and the norms into N, which needs to know where they
    stand in a block.

    W_O is found by watching one row and proved on it; see `projections.projections`.

    Args:
        residual: the share of a position that skips attention, from 0 to 1.
        batch_size: rows encoded together, of about one length.
        max_memory: bytes that one pass may keep for its backward pass; fewer rows run together accordingly.
        seed: not used; every method takes one.
        progress: show a bar.

    Returns:
        Scores (example, token), not negative, without a unit, float64, 0 beyond an example's last token; they sum to
        one together with what falls on the model's own first tokens.

    Raises:
        UsageError: a residual out of range.
        CaptureError: a layer whose output projection cannot be found; see also
            `attention_methods.attention_x_gradient`.
        ModelError: an encoder-decoder, for which this is not defined.
    """
    if not 0 <= residual <= 1:
        raise UsageError(f"residual is {residual}; expected a share of the token, from 0 to 1.")
    found: dict[str, Tensor] = {}

    def compute(reading: Reading) -> Found:
        reading.one_stack("rolling out value-weighted norms")
        if not found:
            found.update(projections(subject, rows))
        row = torch.from_numpy(reading.share)
        for place in reversed(reading.own):
            call = reading.trace.calls[place]
            row = rolled(row, call, shares_of_norms(call, found[call.layer]), residual)
        return Found(scores=row.numpy(), pooled=reading.pools)

    return read(
        "value-weighted norms",
        subject,
        rows,
        compute,
        batch_size=batch_size,
        max_memory=max_memory,
        progress=progress,
        notes=(UNSIGNED,),
    )


def shares_of_norms(call: Call, weight: Float[Tensor, "head width output"]) -> Block:
    """N of a call by blocks of its rows, each row divided by its sum; a row of zeros where nothing is added.

    || sum_h A_ij^h T_j^h ||^2 = sum over heads h and g of A_ij^h A_ij^g <T_j^h, T_j^g> with T_j^h = v_j^h W_O^h: so
    many products per pair as there are pairs of heads, and no vector per pair of positions.
    """
    # In float64, as heads that cancel leave little of large products.
    where = float64_device(call.device)
    gram = _gram(call, weight).to(where)

    @torch.no_grad()
    def block(queries: slice) -> Float[Tensor, "example query key"]:
        weights = call.weights(queries).to(where).double()
        mixed = torch.einsum("bhqk,bkhg->bgqk", weights, gram)
        norms = (mixed * weights).sum(dim=1).clamp(min=0.0).sqrt()
        sums = norms.sum(dim=2, keepdim=True)
        return norms / torch.where(sums > 0, sums, 1.0)

    return block


@torch.no_grad()
def _gram(call: Call, weight: Float[Tensor, "head width output"]) -> Float[Tensor, "example key head head"]:
    """<T_j^h, T_j^g> of every key and every two heads."""
    if call.value is None:
        raise CaptureError(f"{call.layer}: the values are not known ({call.way}), whose norms are asked for.")
    parts = []
    for value in call.repeated(call.value).cpu().double():
        moved = torch.einsum("hkw,hwo->kho", value, weight)
        parts.append(torch.einsum("kho,kgo->khg", moved, moved))
    return torch.stack(parts)
