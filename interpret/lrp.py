"""Attention-aware layer-wise relevance propagation (AttnLRP), as one gradient under rules."""

from ..records import Attribution, Rows
from .attributions import attributed
from .batches import MAX_MEMORY
from .models import Subject
from .propagation import propagated
from .rules import ATTN_LRP

METHOD = "AttnLRP"
LICENCE = (
    "licence: the package of AttnLRP's authors grants no patent rights and calls layer-wise relevance propagation patented, "
    "free for personal and scientific use only; find out whether you may use it"
)
CONSERVED = "relevance is lost in bias terms and in the softmax, so that the scores add up to nothing that is promised"


def attn_lrp(
    subject: Subject,
    rows: Rows,
    *,
    batch_size: int = 64,
    max_memory: int = MAX_MEMORY,
    seed: int = 0,
    progress: bool = False,
) -> Attribution:
    """The relevance of each token for the target by AttnLRP, signed, in the subject's unit. Only on request.

    AttnLRP (Achtibat et al. 2024) as embedding times gradient under rules. Activations pass on f(z) / z instead of
    their derivative, and the scale of a norm is a constant (eq. 9, proposition 3.4). Of a product of two tensors that
    depend on the tokens each factor gets half of its gradient (propositions 3.2 and 3.3): at attention a quarter for
    queries and keys, which are two products away from the output, and a half for values. Softmax passes on its
    gradient (proposition 3.1), linear layers theirs (eq. 8 with eps = 0). Equal to the authors' package lxt 2.1, in its
    efficient form, to 1e-8 on Llama, GPT-2, Qwen 2 and 3 and BERT. That package replaces functions of a few families of
    models; this one applies the rules to any model that calls torch's functions.

    One departure, which those models do not show: an activation whose f(0) is not 0 passes on (f(z) - f(0)) / z. At
    z = 0 every activation passes on its derivative.

    Relevance is lost in bias terms and in the softmax, so that no sum is promised. On decoders the first token
    may collect relevance as it collects attention. lxt takes CP-LRP as default for GPT-2, which `frozen_decomposition`
    is.

    Licence: the authors' package grants no patent rights; it calls layer-wise relevance propagation patented, and free
    for personal and scientific use only. None of its code is used here, and Clinometer's licence cannot grant what
    its authors do not hold: find out whether you may use this method before you do. No default is of this family.

    Args:
        batch_size: rows encoded together, of about one length.
        max_memory: bytes that one pass may keep for its backward pass.
        seed: not used; every method takes one.
        progress: show a bar.

    Returns:
        Scores (example, token), float64, 0 beyond an example's last token. Two forward passes and one backward pass.

    Raises:
        DataError: no rows, or a score that is not finite.
        ModelError: a batch size below one, or memory that one row alone exceeds.
    """
    found = propagated(
        subject, rows, ATTN_LRP, METHOD, batch_size=batch_size, max_memory=max_memory, progress=progress
    )
    return attributed(
        METHOD,
        subject,
        rows,
        found.names,
        found.scores,
        value=found.value,
        baseline="",
        notes=(LICENCE, CONSERVED),
    )
