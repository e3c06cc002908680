"""Small subjects whose target is read at a class token, a last token, a mask, a mean, or in a decoder."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import clinometer
from clinometer.interpret.models import Subject, wrap
from clinometer.interpret.tracing import gradient_trace
from clinometer.records import Rows

from .model_folders import text_folder

LINES = (
    "a very good film",
    "the film is bad, the answer is no and yes",
    "is it good? no, it is dull",
    "dull",
)
WIDTH = 8


def texts(*lines: str, **columns: Any) -> Rows:
    """Rows of texts, t0, t1, ..."""
    inputs = {"text": np.array(lines, dtype=object), **{key: np.array(c) for key, c in columns.items()}}
    return Rows(ids=tuple(f"t{i}" for i in range(len(lines))), inputs=inputs)


def loaded(
    folder: Any, architecture: str, *, dtype: str = "float64", load: Any = None, **more: Any
) -> Subject:
    """A tiny random text model of this architecture, saved and loaded."""
    return clinometer.load(text_folder(folder, architecture, **more), dtype=dtype, **(load or {}))


class Attention(nn.Module):
    """Two heads of attention; values come from a module of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        q, k, v = (
            part(x).unflatten(2, (2, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        heads = F.scaled_dot_product_attention(q, k, v, attn_mask=real[:, None, None, :])
        return self.leave(heads.transpose(1, 2).flatten(2))

    def leave(self, joined: Tensor) -> Tensor:
        return self.out(joined)


class Block(nn.Module):
    """Attention and a feed-forward layer, each behind a norm, beside a residual."""

    def __init__(self, attention: type[Attention] = Attention) -> None:
        super().__init__()
        self.attention = attention()
        self.first, self.second = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.inner, self.outer = nn.Linear(WIDTH, 16), nn.Linear(16, WIDTH)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        x = x + self.attention(self.first(x), real)
        return x + self.outer(torch.tanh(self.inner(self.second(x))))


class Reader(nn.Module):
    """Blocks over vectors, and a linear head on the mean of the real positions, on the first, or on padding."""

    def __init__(self, read: str = "mean", *, layers: int = 2, outputs: int = 1, block: Any = Block) -> None:
        super().__init__()
        self.read = read
        self.blocks = nn.ModuleList(block() for _ in range(layers))
        self.head = nn.Linear(WIDTH, outputs)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x, real)
        if self.read == "first":
            return self.head(x[:, 0])
        if self.read == "end":
            return self.head(x[:, -1])
        share = real.to(x.dtype) / real.sum(dim=1, keepdim=True)
        return self.head((x * share[:, :, None]).sum(dim=1))


class Pooling(nn.Module):
    """A Reader's blocks, pooled by attention with a learned query."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Reader()
        self.query = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.pooler = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        for block in self.encoder.blocks:
            x = block(x, real)
        query = self.query.expand(len(x), -1, -1)
        return self.head(self.pooler(query, x, x, key_padding_mask=~real)[0][:, 0])


def vectors(*lengths: int, seed: int = 0) -> Rows:
    """Rows of so many vectors, drawn."""
    generator = np.random.default_rng(seed)
    rows = np.empty(len(lengths), dtype=object)
    for i, n in enumerate(lengths):
        rows[i] = generator.normal(size=(n, WIDTH))
    return Rows(ids=tuple(f"v{i}" for i in range(len(lengths))), inputs={"vectors": rows})


def reader(module: nn.Module, *, dtype: torch.dtype = torch.float64, seed: int = 0, **more: Any) -> Subject:
    """A Subject over rows of vectors, padded to the longest; its weights drawn, so that no map is close to uniform."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, 1.5 / parameter.shape[1] ** 0.5)
            else:
                parameter.add_(0.3 * torch.randn_like(parameter))
    module = module.to(dtype).eval()

    def encode(rows: Rows) -> dict[str, Tensor]:
        held = rows.inputs["vectors"]
        longest = max(len(part) for part in held)
        x = torch.zeros(len(held), longest, WIDTH, dtype=dtype)
        real = torch.zeros(len(held), longest, dtype=torch.bool)
        for i, part in enumerate(held):
            x[i, : len(part)] = torch.from_numpy(np.asarray(part)).to(dtype)
            real[i, : len(part)] = True
        return {"x": x, "real": real}

    settings: dict[str, Any] = {
        "encode": encode,
        "embed": lambda batch: batch["x"],
        "reference": lambda batch: torch.zeros_like(batch["x"]),
        "names": lambda rows: tuple(
            tuple(f"x{i}" for i in range(len(part))) for part in rows.inputs["vectors"]
        ),
        "baseline": "zero vectors",
        "name": "reader",
        **more,
    }
    return wrap(module, lambda batch, e: module(batch["x"] if e is None else e, batch["real"]), **settings)


def whole(subject: Subject, rows: Rows) -> list[list[tuple[str, np.ndarray, np.ndarray]]]:
    """Every call's kind, maps and dA (head, query, key), of each row alone and without padding: [row][call]."""
    made = []
    for i in range(len(rows)):
        traced = gradient_trace(subject, subject.encode(rows.take([i])))
        layers = []
        for place, call in enumerate(traced.calls):
            gradient = traced.gradients[place][0] @ call.repeated(call.value)[0].transpose(1, 2)
            layers.append((call.kind, traced.maps(place)[0].numpy(), gradient.numpy()))
        made.append(layers)
    return made
