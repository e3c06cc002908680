"""The frozen decomposition: a target divided among tokens and constants, all that multiplies them held fixed."""

import dataclasses

import torch
from torch import Tensor

from ..errors import first
from ..records import Attribution, HeadEffect, Rows
from .attributions import attributed
from .batches import MAX_MEMORY
from .head_effects import head_effects
from .models import Batch, Subject
from .propagation import propagated
from .rules import FROZEN, following

METHOD = "frozen decomposition"
NOTE = (
    "attention, the scales of norms, the slopes of activations and gates are held fixed: a token that acts only through "
    "them, as by where a head looks, gets no credit; the share of bias terms and positions is the base value"
)


def frozen_decomposition(
    subject: Subject,
    rows: Rows,
    *,
    batch_size: int = 64,
    max_memory: int = MAX_MEMORY,
    seed: int = 0,
    progress: bool = False,
) -> Attribution:
    """The part of the target that comes from each token when all factors are held fixed, in the subject's unit.

    With attention weights, scales of norms, slopes of activations and gates held as they are for an input, the target
    is a linear function of the tokens' embeddings e_i, and a constant. A token's score is e_i . df/de_i under these
    rules, summed over the embedding: what DecompX without its redistribution of bias terms (Modarressi et al. 2023,
    section 3) carries forward as one vector per token, and CP-LRP (Ali et al. 2022) finds, by one backward pass.

    `base_value` is what the fixed model makes of its constants alone: bias terms, positions, token types, a [CLS] that
    is no token of the input. It is computed forward, beside the model, and not as a difference; the target is of a
    forward pass without rules. So `residual` is a proof: 0 up to rounding where the rules reach all that the tokens
    pass, and not where they miss a function that is not linear. Rows beyond the tolerance are marked
    `converged = False`, and a note names the functions of torch that a gradient passed without a rule.

    e_i is what `Subject.embed` returns: the word's vector for models of transformers, together with its position for
    ours, in tables together with an offset of the feature's own, and the pixels of a patch for images.

    An activation is held as the line from (0, f(0)) through (z, f(z)), at z = 0 with the derivative as slope; DecompX
    knows f(0) = 0 only. Of a gated layer act(g) * u the gate act(g) is the constant, of routed experts the routing.

    Tokens and base value were the target (to 1e-5 of it) for BERT, RoBERTa, DistilBERT, ELECTRA, ALBERT, DeBERTa,
    ModernBERT, GPT-2, Llama, Mistral, Mixtral, Qwen 2 and 3, Gemma 1 to 3, Phi, OLMo, DeepSeek-V3, GPT-OSS, T5, BART,
    Whisper, ViT, Swin, Wav2Vec2 and all other architectures of transformers tried but those named below, for torch's and
    our own Transformers, and for attention, norms, activations and gates written by hand. They were not, so that rows do
    not converge, for Mamba (products of two states), LSTMs, YOSO (a function that is not torch's), and scores that
    are products of a text's and an image's vector (CLIP, SigLIP). Nor do they converge where attention is a kernel
    called by name (flash-attn) or the target a probability or its logarithm.

    Args:
        batch_size: rows encoded together, of about one length.
        max_memory: bytes that one pass may keep, for its backward pass and for what is left without tokens.
        seed: not used; every method takes one.
        progress: show a bar.

    Returns:
        Scores (example, token), float64, 0 beyond an example's last token; `base_value` and `converged` (example,).
        It takes three forward passes, one of them of the constants, and one backward pass.

    Raises:
        DataError: no rows, or a score that is not finite.
        ModelError: a batch size below one, or memory that one row alone exceeds.
    """
    found = propagated(
        subject, rows, FROZEN, METHOD, batch_size=batch_size, max_memory=max_memory, progress=progress
    )
    curved = (f"not linear under the rules, and passed by a gradient: {first(found.curved)}",)
    return attributed(
        METHOD,
        subject,
        rows,
        found.names,
        found.scores,
        value=found.value,
        base_value=found.rest,
        baseline="",
        notes=(NOTE, *(curved if found.curved else ())),
    )


def frozen(subject: Subject) -> Subject:
    """The Subject with the backward pass of the frozen decomposition; its scores are what they were."""

    def forward(batch: Batch, embedded: Tensor | None) -> Tensor:
        if not torch.is_grad_enabled():
            return subject.forward(batch, embedded)
        start = subject.embed(batch).detach().requires_grad_() if embedded is None else embedded
        with following(subject.module, FROZEN) as run:
            return subject.forward(batch, run.start(start))

    return dataclasses.replace(subject, forward=forward)


def head_decomposition(
    subject: Subject, rows: Rows, *, batch_size: int = 64, progress: bool = False
) -> HeadEffect:
    """What each head, and each token through it, adds to the target when all factors are held fixed.

    In head h, query i takes C_ij = A_ij <v_j, g_i> from key j, where g is the gradient of the target in the
    head's output under the rules of `frozen_decomposition`. Summed over queries and keys that is <O_h, g_h>, the
    part of the target that has passed through the head; signed, in the subject's unit. Heads of several
    layers overlap: what passed through one passes through later ones too.

    Raises:
        ModelError: calls of one model differ in their number of heads.
        CaptureError: an attention call could not be seen; see `tap`.
    """
    return head_effects(frozen(subject), rows, batch_size=batch_size, progress=progress)
