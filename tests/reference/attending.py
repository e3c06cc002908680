"""Small models that attend in every way torch and tutorials know, over vectors or tokens."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from clinometer.interpret import transformer as own

from .padded import EXAMPLES, HEADS, LENGTH, VOCABULARY, WIDTH, Batch


def split(x: Tensor, heads: int) -> Tensor:
    """(example, position, head x width) -> (example, head, position, width)."""
    return x.unflatten(2, (heads, -1)).transpose(1, 2)


def run(model: nn.Module, batch: Batch) -> Any:
    """A forward pass."""
    return model(batch) if isinstance(model, own.Classifier) else model(**batch)


class Tutorial(nn.Module):
    """Attention as tutorials write it: scores, softmax, product, in one of three spellings."""

    def __init__(self, style: str) -> None:
        super().__init__()
        self.style, self.heads = style, HEADS
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.dropout = nn.Dropout(0.1)
        self.seen = torch.empty(0)

    def forward(self, x: Tensor, pad: Tensor) -> Tensor:
        query, key, value = self.qkv(x).chunk(3, dim=2)
        scale = (WIDTH // HEADS) ** -0.5
        if self.style == "matmul":
            query, key, value = (split(part, HEADS) for part in (query, key, value))
            scores = torch.matmul(query, key.transpose(-2, -1)) * scale
            scores = scores.masked_fill(pad[:, None, None, :], float("-inf"))
            self.seen = scores.softmax(dim=-1)
            mixed = torch.matmul(self.dropout(self.seen), value).transpose(1, 2)
        elif self.style == "einsum":
            query, key, value = (part.unflatten(2, (HEADS, -1)) for part in (query, key, value))
            scores = torch.einsum("bqhd,bkhd->bhqk", query, key) * scale
            scores = scores + pad[:, None, None, :].to(scores.dtype) * -1e30
            self.seen = nn.functional.softmax(scores, dim=-1)
            mixed = torch.einsum("bhqk,bkhd->bqhd", self.seen, value)
        else:
            query, key, value = (split(part, HEADS).flatten(0, 1) for part in (query, key, value))
            scores = torch.bmm(query, key.transpose(1, 2)) * scale
            scores = scores.masked_fill(pad.repeat_interleave(HEADS, 0)[:, None, :], -1e9)
            weights = torch.softmax(scores, -1)
            self.seen = weights.unflatten(0, (-1, HEADS))
            mixed = torch.bmm(weights, value).unflatten(0, (-1, HEADS)).transpose(1, 2)
        return self.out(mixed.flatten(2))


class Tutorials(nn.Module):
    """Two residual layers of tutorial attention."""

    def __init__(self, style: str) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Tutorial(style) for _ in range(2))

    def forward(self, x: Tensor, pad: Tensor) -> Tensor:
        for layer in self.layers:
            x = x + layer(x, pad)
        return x


class MultiHead(nn.Module):
    """nn.MultiheadAttention, called in one of its styles."""

    def __init__(self, *, mask: str = "", settings: Batch | None = None, **how: Any) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, **{"batch_first": True, **(settings or {})})
        self.mask, self.how = mask, how

    def forward(
        self, x: Tensor, pad: Tensor, memory: Tensor | None = None, memory_pad: Tensor | None = None
    ) -> Tensor:
        source = x if memory is None else memory
        flip = not self.attention.batch_first
        query, key = (part.transpose(0, 1) if flip else part for part in (x, source))
        masks: Batch = {"key_padding_mask": pad if memory is None else memory_pad}
        if self.mask == "causal":
            masks["attn_mask"] = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)
        elif self.mask == "per head":
            shape = (EXAMPLES * HEADS, LENGTH, LENGTH)
            masks = {
                "attn_mask": torch.linspace(-3.0, 3.0, math.prod(shape), dtype=x.dtype).sin().view(shape)
            }
        out = self.attention(query, key, key, **masks, **self.how)[0]
        return out.transpose(0, 1) if flip else out


class Stack(nn.Module):
    """torch's encoder or decoder."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.stack = part

    def forward(
        self, x: Tensor, pad: Tensor, memory: Tensor | None = None, memory_pad: Tensor | None = None
    ) -> Tensor:
        if memory is None:
            return self.stack(x, src_key_padding_mask=pad)
        return self.stack(x, memory, tgt_key_padding_mask=pad, memory_key_padding_mask=memory_pad)


def torch_encoder(**how: Any) -> nn.Module:
    nested = how.pop("nested", False)
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 16, **{"batch_first": True, **how})
    stack = Stack(nn.TransformerEncoder(layer, 2, enable_nested_tensor=nested))
    return stack if how.get("batch_first", True) else Flipped(stack)


def torch_decoder() -> nn.Module:
    return Stack(nn.TransformerDecoder(nn.TransformerDecoderLayer(WIDTH, HEADS, 16, batch_first=True), 2))


class Flipped(nn.Module):
    """A model whose first axis is the position."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, pad: Tensor) -> Tensor:
        return self.model(x.transpose(0, 1), pad).transpose(0, 1)


class OurStack(nn.Module):
    """The encoder or the decoder of our Transformer, over vectors."""

    def __init__(self, *, causal: bool = False, decoder: bool = False, **how: Any) -> None:
        super().__init__()
        shape = own.Architecture(
            kind="text", width=WIDTH, heads=HEADS, feed_forward=16, vocabulary=VOCABULARY, **how
        )
        self.stack = own.Decoder(shape) if decoder else own.Encoder(shape)
        self.causal = {} if decoder else {"causal": causal}

    def forward(
        self, x: Tensor, pad: Tensor, memory: Tensor | None = None, memory_pad: Tensor | None = None
    ) -> Tensor:
        if memory is None or memory_pad is None:
            return self.stack(x, mask=~pad, **self.causal)
        return self.stack(x, memory, mask=~pad, memory_mask=~memory_pad)


OUR_SHAPE = {"width": WIDTH, "heads": HEADS, "feed_forward": 16, "vocabulary": VOCABULARY}


def our_pair() -> nn.Module:
    return own.EncoderDecoder(own.Architecture(kind="text", **OUR_SHAPE))


def timm_model() -> nn.Module:
    import timm

    return timm.create_model(  # type: ignore
        "vit_tiny_patch16_224",
        pretrained=False,
        img_size=6,
        patch_size=2,
        embed_dim=WIDTH,
        depth=2,
        num_heads=HEADS,
        num_classes=3,
    )


class Beside(nn.Module):
    """An attention that is seen, and a part that must not be missed because of it."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.seen, self.part = MultiHead(need_weights=False), part

    def forward(self, x: Tensor, pad: Tensor) -> Tensor:
        return self.part(self.seen(x, pad))  # type: ignore[no-any-return]


class Odd(nn.Module):
    """Attention whose weights are more, or less, than one softmax; its class does not say that it attends."""

    def __init__(self, style: str) -> None:
        super().__init__()
        self.style, self.num_heads = style, HEADS
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.relative = nn.Parameter(torch.randn(LENGTH, LENGTH, WIDTH // HEADS))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (split(part, HEADS) for part in self.qkv(x).chunk(3, dim=2))
        scores = query @ key.transpose(2, 3) / math.sqrt(WIDTH // HEADS)
        weights = scores.softmax(dim=-1)
        if self.style == "relative values":  # Shaw et al. 2018, equation 3
            mixed = weights @ value + torch.einsum("bhqk,qkd->bhqd", weights, self.relative)
        elif self.style == "the difference of two":
            mixed = (weights - 0.3 * scores.transpose(2, 3).softmax(dim=-1)) @ value
        elif self.style == "the largest only":
            largest, place = weights.topk(3, dim=-1)
            mixed = torch.zeros_like(weights).scatter(-1, place, largest) @ value
        elif self.style == "renormalised":
            mixed = (weights / (weights.sum(dim=-1, keepdim=True) + 1e-3)) @ value
        else:
            mixed = (weights[..., None] * value[:, :, None]).sum(dim=3)
        return mixed.transpose(1, 2).flatten(2)


def beside_odd(style: str) -> nn.Module:
    return Beside(Odd(style))


class Headless(nn.Module):
    """Attention over (example x head), in a module that does not say how many heads it has."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (split(part, HEADS).flatten(0, 1) for part in self.qkv(x).chunk(3, dim=2))
        weights = torch.softmax(torch.bmm(query, key.transpose(1, 2)), -1)
        return torch.bmm(weights, value).unflatten(0, (-1, HEADS)).transpose(1, 2).flatten(2)
