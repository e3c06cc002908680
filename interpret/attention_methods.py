"""Attributions read off attention: its maps combined with gradients, rolled out, or as they are."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import CaptureError
from ..records import Attribution, Rows
from .batches import MAX_MEMORY
from .calls import Call
from .float64 import sum_in_float64
from .models import Subject
from .reading import Found, Reading, read
from .rollout import Fusion, cross_relevance, fused, relevance, rollout, times

# Rank correlations with sampled Shapley values on three small classifiers; the project's own measurements.
WEAK = (
    "no explanation: in our measurements {what} ranked tokens hardly better than chance (rank correlation with Shapley "
    "values {rho}, integrated gradients .79); it knows neither values nor signs nor the target"
)
POSITIVE = (
    "only what speaks for the target counts: a token that speaks against it gets 0 or what little speaks for it, so that "
    "the negated target needs a run of its own"
)
FIRST_ORDER = (
    "first order, and through attention alone: what a token's own residual stream carries is not in it"
)


def attention_x_gradient(
    subject: Subject,
    rows: Rows,
    *,
    batch_size: int = 64,
    max_memory: int = MAX_MEMORY,
    seed: int = 0,
    progress: bool = False,
) -> Attribution:
    """A * dA summed over layers, heads and queries, per key token, signed, in the subject's unit.

    dA = dO V^T is the target's gradient at the map, so that A_ij dA_ij is what the target gains, first order, when
    query i looks at key j in proportion more. Summed over queries and keys it is <O, dO>, what scaling the head does
    (Michel et al. 2019, eq. 2 without its absolute value); per token it is `HeadEffect.moved`, summed over layers
    and heads. Of an encoder-decoder the maps with the source as keys count: the encoder's and the decoder's
    cross-attention.

    A token is credited where it is looked at, in each layer anew: of a deep layer's keys, which hold what earlier
    layers brought there, as much as of the first layer's. Scores add up to nothing.

    Args:
        batch_size: rows encoded together, of about one length.
        max_memory: bytes that one pass may keep for its backward pass; fewer rows run together accordingly.
        seed: not used; every method takes one.
        progress: show a bar.

    Returns:
        Scores (example, token) in the subject's unit, float64, 0 beyond an example's last token. One forward and
        one backward pass.

    Raises:
        DataError: no rows, a row that is padding alone, or a score that is not finite.
        ModelError: attention over other positions than the tokens; a batch size or memory out of range.
        CaptureError: attention that cannot be seen, or is known only by the weights it returns.
    """

    def compute(reading: Reading) -> Found:
        trace, gradients = reading.trace, reading.trace.gradients or ()
        own, decoding = torch.zeros(1, 1), torch.zeros(1, 1)
        for place, call in enumerate(trace.calls):
            if place in (*reading.own, *reading.crossing):
                own = own + _moved(call, gradients[place])
            else:
                decoding = decoding + _moved(call, gradients[place])
        return Found(
            scores=own.numpy(), elsewhere=decoding.abs().sum(dim=1).numpy() if reading.is_pair else None
        )

    return read(
        "attention x gradient",
        subject,
        rows,
        compute,
        batch_size=batch_size,
        max_memory=max_memory,
        progress=progress,
        notes=(FIRST_ORDER,),
        unit=None,
    )


def gradient_weighted_relevance(
    subject: Subject,
    rows: Rows,
    *,
    batch_size: int = 64,
    max_memory: int = MAX_MEMORY,
    seed: int = 0,
    progress: bool = False,
) -> Attribution:
    """Evidence for the target that attention led to the position it is read from, per token; not negative, no unit.

    The reading position's row of R - I, with R <- R + C R and C = mean over heads of max(0, A * dA) from layer to
    layer (Chefer et al. 2021b, equations 5 and 6); of an encoder-decoder the row of R_ts, over the source
    (equations 7 to 10). Where several positions are read, the mean of their rows. See `rollout.relevance` and
    `rollout.cross_relevance`. For arguments and errors see `attention_x_gradient`.
    """

    def compute(reading: Reading) -> Found:
        if reading.is_pair:
            both = cross_relevance(
                reading.trace, query=reading.share, encoder=reading.own, decoder=_decoder(reading)
            )
            return Found(scores=both.source, elsewhere=both.target.sum(axis=1))
        scores = relevance(reading.trace, query=reading.share, layers=reading.own)
        return Found(scores=scores, pooled=reading.pools)

    return read(
        "gradient-weighted relevance",
        subject,
        rows,
        compute,
        batch_size=batch_size,
        max_memory=max_memory,
        progress=progress,
        notes=(POSITIVE,),
    )


def attention_rollout(
    subject: Subject,
    rows: Rows,
    *,
    residual: float = 0.5,
    heads: Fusion = "mean",
    batch_size: int = 64,
    max_memory: int = MAX_MEMORY,
    seed: int = 0,
    progress: bool = False,
) -> Attribution:
    """Where the position that the target is read from can have got its content, per token; a baseline, no explanation.

    The reading position's row of the product of all layers' (1 - residual) A + residual I (Abnar & Zuidema 2020,
    section 3); where several are read, the mean of their rows. Shares that are not negative and sum to one together
    with what falls on the model's own first tokens. The target decides which row is read and nothing else. See
    `rollout.rollout`; for other arguments and errors see `attention_x_gradient`.

    Args:
        residual: the share of a token that skips attention, from 0 to 1.
        heads: how heads are fused: "mean" as in the paper, "max" or "min".

    Raises:
        UsageError: a residual or a fusion out of range.
        ModelError: an encoder-decoder, for which rollout is not defined.
    """

    def compute(reading: Reading) -> Found:
        reading.one_stack("attention rollout")
        scores = rollout(
            reading.trace, query=reading.share, layers=reading.own, residual=residual, heads=heads
        )
        return Found(scores=scores, pooled=reading.pools)

    return read(
        "attention rollout",
        subject,
        rows,
        compute,
        batch_size=batch_size,
        max_memory=max_memory,
        progress=progress,
        notes=(WEAK.format(what="attention rollout", rho=".19"),),
    )


def raw_attention(
    subject: Subject,
    rows: Rows,
    *,
    batch_size: int = 64,
    max_memory: int = MAX_MEMORY,
    seed: int = 0,
    progress: bool = False,
) -> Attribution:
    """What the position that the target is read from looks at in the last layer, mean over heads; no explanation.

    One row of the last self-attention map; of an encoder-decoder one row of the last cross-attention map, over the
    source. Where several positions are read, the mean of their rows. Keys of the last layer are no longer tokens:
    each holds what earlier layers brought there. It is offered because others publish it, to be shown beside methods
    that were found to be faithful. For arguments and errors see `attention_x_gradient`.
    """

    def compute(reading: Reading) -> Found:
        call = reading.trace.calls[reading.crossing[-1] if reading.is_pair else reading.last]
        row = times(torch.from_numpy(reading.share), call, fused(call))
        return Found(scores=row.numpy(), pooled=reading.pools)

    return read(
        "raw attention",
        subject,
        rows,
        compute,
        batch_size=batch_size,
        max_memory=max_memory,
        progress=progress,
        notes=(WEAK.format(what="the last layer's attention", rho=".12"),),
    )


def _decoder(reading: Reading) -> list[int]:
    """Places of the decoder's calls."""
    return [i for i in range(len(reading.trace)) if i not in reading.own]


@torch.no_grad()
def _moved(call: Call, gradient: Float[Tensor, "example head query width"]) -> Float[Tensor, "example key"]:
    """A * dA summed over heads and queries: <v_j, sum_i A_ij dO_i>, without the maps being held whole."""
    if call.value is None:
        raise CaptureError(f"{call.layer}: the values are not known ({call.way}), which dA = dO V^T needs.")
    value = call.repeated(call.value.to(call.compute_dtype))
    found = torch.zeros_like(value)
    with torch.autocast(call.device.type, enabled=False):
        for queries in call.blocks():
            there = gradient[:, :, queries].to(device=call.device, dtype=call.compute_dtype)
            found += torch.matmul(call.weights(queries).transpose(2, 3), there)
        return sum_in_float64(found * value, 3).sum(dim=1).cpu()
