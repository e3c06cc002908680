"""Padded batches for tiny models, and which of their positions are real."""

from typing import Any

import torch
from torch import Tensor, nn

Batch = dict[str, Any]

VOCABULARY, WIDTH, HEADS, EXAMPLES, LENGTH, SHORT = 30, 16, 4, 2, 7, 4


# Batches: two examples, the second padded.


def real(n: int = LENGTH, short: int = SHORT, *, left: bool = False) -> Tensor:
    """1 where a token is real, (example, token)."""
    mask = torch.ones(EXAMPLES, n, dtype=torch.long)
    mask[1, slice(0, n - short) if left else slice(short, n)] = 0
    return mask


def text(n: int = LENGTH, short: int = SHORT, *, left: bool = False) -> Batch:
    mask = real(n, short, left=left)
    ids = torch.randint(3, VOCABULARY, (EXAMPLES, n))
    return {"input_ids": ids.masked_fill(mask == 0, 0), "attention_mask": mask}


def unmasked() -> Batch:
    return {"input_ids": text()["input_ids"]}


def causal(*, left: bool = False) -> Batch:
    return {**text(left=left), "use_cache": False}


def pair(n: int = LENGTH) -> Batch:
    """Source and target of equal length on purpose: nothing but the module tells cross from self."""
    target = text(n, 5)
    return {**text(n), **decoding(target["input_ids"], target["attention_mask"])}


def decoding(ids: Tensor, mask: Tensor) -> Batch:
    return {"decoder_input_ids": ids, "decoder_attention_mask": mask, "use_cache": False}


def remembering() -> Batch:
    memory = {"encoder_hidden_states": torch.randn(EXAMPLES, 5, WIDTH), "encoder_attention_mask": real(5, 3)}
    return {**causal(), **memory}


def images(size: int = 6) -> Batch:
    return {"pixel_values": torch.randn(EXAMPLES, 3, size, size)}


def captioned() -> Batch:
    return {**text(), **images()}


def sound() -> Batch:
    return {"input_values": torch.randn(EXAMPLES, 40), "attention_mask": real(40, 22)}


def speech() -> Batch:
    return {"input_features": torch.randn(EXAMPLES, 4, 16), **decoding(*text().values())}


def vectors(width: int = WIDTH) -> Batch:
    return {"x": torch.randn(EXAMPLES, LENGTH, width), "pad": real() == 0}


def vectors_and_memory(width: int = WIDTH) -> Batch:
    return {**vectors(), "memory": torch.randn(EXAMPLES, 5, width), "memory_pad": real(5, 3) == 0}


def tokens() -> Batch:
    return {"tokens": text()["input_ids"]}


# Which positions are no padding, of the queries of a layer or of the result (layer ""); None: all of them.


def marked(batch: Batch, layer: str) -> Tensor | None:
    """By the batch's own mask; the decoder's where the layer is the decoder's, and for the result."""
    target = batch.get("decoder_attention_mask")
    if target is not None and (not layer or "decoder" in layer):
        return target.bool()
    mask = batch.get("attention_mask")
    return None if mask is None else mask.bool()


def not_padded(batch: Batch, layer: str) -> Tensor | None:
    return ~batch["pad"]


def everywhere(batch: Batch, layer: str) -> Tensor | None:
    return None


def text_tower(batch: Batch, layer: str) -> Tensor | None:
    return batch["attention_mask"].bool() if layer.startswith("text") else None


def sound_frames(batch: Batch, layer: str) -> Tensor | None:
    """40 samples, and 22, through convolutions of width 4 and 2 at stride 2."""
    return real(9, 5).bool()


def our_pair_batch() -> Batch:
    return {"source": text()["input_ids"], "target": text(LENGTH, 5)["input_ids"]}


def our_tokens(batch: Batch, layer: str) -> Tensor | None:
    """A classifier has its own token in front."""
    if "source" in batch:
        return batch["target" if not layer or "decoder" in layer else "source"] != 0
    return None if not layer else nn.functional.pad(batch["tokens"] != 0, (1, 0), value=True)
