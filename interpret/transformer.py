"""The Transformer of Vaswani et al. 2017, "Attention Is All You Need", written to be read.

Section and equation numbers are that paper's. Shapes are (example, token, width) throughout. A mask is True where
a token is real. Attention is computed by torch's fused call, once per attention module, on queries, keys and
values of shape (example, head, token, dim): so Clinometer's tap sees every map, and no map is ever built here.

Departures, each by choice: pre-normalisation is offered beside the paper's post-normalisation (section 3.1);
positions may be learned; attention may be limited to a local window; GELU is offered beside ReLU.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

Norm = Literal["pre", "post"]
Positions = Literal["sinusoidal", "learned", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """The shape of a Classifier or an EncoderDecoder. What the inputs are sets the rest when it is built."""

    kind: Literal["table", "text", "series"]
    width: int = 64
    layers: int = 2
    heads: int = 4
    feed_forward: int = 128
    dropout: float = 0.1
    norm: Norm = "pre"
    activation: Literal["relu", "gelu"] = "gelu"
    positions: Positions = "sinusoidal"  # of text and series; a table's features have names, not places
    window: int | None = None  # attend only to tokens at most this far away
    outputs: int = 2  # labels, or 1 for regression
    numeric: int = 0  # table: numeric features
    categories: tuple[int, ...] = ()  # table: categories per categorical feature, missing included
    vocabulary: int = 0  # text
    longest: int = 512  # text, series: most tokens
    channels: int = 0  # series
    patch: int = 8  # series: time steps in a patch
    stride: int = 8  # series: time steps from one patch to the next

    def __post_init__(self) -> None:
        # Read from a file, a misspelt word would otherwise silently mean the other choice.
        choices = {
            "kind": ("table", "text", "series"),
            "norm": get_args(Norm),
            "activation": ("relu", "gelu"),
            "positions": get_args(Positions),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected one of {', '.join(known)}")
        whole = ("width", "layers", "heads", "feed_forward", "outputs", "longest", "patch", "stride")
        for name in (*whole, "numeric", "vocabulary", "channels"):
            value, least = getattr(self, name), 1 if name in whole else 0
            if type(value) is not int or value < least:
                raise ValueError(f"{name} is {value!r}, expected a whole number, {least} or more")
        for categories in self.categories:
            if type(categories) is not int or categories < 0:
                raise ValueError(f"categories are {self.categories!r}, expected whole numbers, 0 or more")
        dropout: object = self.dropout
        if not isinstance(dropout, int | float) or not 0 <= dropout <= 1:
            raise ValueError(f"dropout is {dropout!r}, expected 0 to 1")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of {self.heads} heads")
        if self.window is not None and (type(self.window) is not int or self.window < 0):
            raise ValueError(f"window is {self.window!r}, expected 0 or more, a whole number")


class MultiHeadAttention(nn.Module):
    """Section 3.2.2: h heads of scaled dot-product attention, side by side.

    head_i = softmax(Q_i K_i^T / sqrt(d_k)) V_i (eq. 1); the heads are concatenated and projected by W^O.
    """

    def __init__(self, width: int, heads: int, *, dropout: float = 0.0, window: int | None = None) -> None:
        super().__init__()
        self.heads, self.dropout, self.window = heads, dropout, window
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        x: Float[Tensor, "example query width"],
        memory: Float[Tensor, "example key width"] | None = None,
        *,
        mask: Bool[Tensor, "example key"] | None = None,
        causal: bool = False,
    ) -> Float[Tensor, "example query width"]:
        """Attend from x to memory (to x itself when there is none), to real tokens only."""
        source = x if memory is None else memory
        q, k, v = self._split(self.query(x)), self._split(self.key(source)), self._split(self.value(source))
        allowed = self._allowed(q.shape[2], k.shape[2], mask, causal, x.device)
        attended = F.scaled_dot_product_attention(
            q, k, v, attn_mask=allowed, dropout_p=self.dropout if self.training else 0.0
        )
        return self.out(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)  # type: ignore[no-untyped-call,no-any-return]

    def _allowed(
        self, queries: int, keys: int, mask: Tensor | None, causal: bool, device: torch.device
    ) -> Tensor | None:
        """Which query may see which key, (example or 1, 1, query, key); None when everything may."""
        allowed = None if mask is None else mask[:, None, None, :]
        if causal or self.window is not None:
            distance = (
                torch.arange(queries, device=device)[:, None] - torch.arange(keys, device=device)[None, :]
            )
            near = torch.ones_like(distance, dtype=torch.bool)
            if causal:
                near = near & (distance >= 0)
            if self.window is not None:
                near = near & (distance.abs() <= self.window)
            allowed = near[None, None] if allowed is None else allowed & near[None, None]
        if mask is not None and allowed is not None:
            # A query with nothing to see would be 0/0; it is padding, and looks at the first key.
            nothing = ~allowed.any(dim=-1, keepdim=True)
            first = torch.arange(keys, device=device) == 0
            allowed = allowed | (nothing & first)
        return allowed


class FeedForward(nn.Module):
    """Section 3.3: max(0, x W1 + b1) W2 + b2 at every position alike (eq. 2); GELU on request."""

    def __init__(self, width: int, hidden: int, *, activation: str = "relu", dropout: float = 0.0) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.activation = nn.GELU() if activation == "gelu" else nn.ReLU()
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(example, token, width) -> the same shape."""
        return self.outer(self.dropout(self.activation(self.inner(x))))  # type: ignore[no-any-return]


class EncoderLayer(nn.Module):
    """Section 3.1: self-attention, then feed-forward, each with a residual connection and LayerNorm."""

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int,
        *,
        dropout: float = 0.0,
        norm: Norm = "post",
        activation: str = "relu",
        window: int | None = None,
    ) -> None:
        super().__init__()
        self.norm_first = norm == "pre"
        self.attention = MultiHeadAttention(width, heads, dropout=dropout, window=window)
        self.feed_forward = FeedForward(width, hidden, activation=activation, dropout=dropout)
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, *, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """(example, token, width) -> the same shape."""
        if self.norm_first:
            x = x + self.dropout(self.attention(self.norm_1(x), mask=mask, causal=causal))
            return x + self.dropout(self.feed_forward(self.norm_2(x)))  # type: ignore[no-any-return]
        x = self.norm_1(x + self.dropout(self.attention(x, mask=mask, causal=causal)))
        return self.norm_2(x + self.dropout(self.feed_forward(x)))  # type: ignore[no-any-return]


class DecoderLayer(nn.Module):
    """Section 3.1: masked self-attention, attention to the encoder's output, feed-forward."""

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int,
        *,
        dropout: float = 0.0,
        norm: Norm = "post",
        activation: str = "relu",
        window: int | None = None,
    ) -> None:
        super().__init__()
        self.norm_first = norm == "pre"
        self.attention = MultiHeadAttention(width, heads, dropout=dropout, window=window)
        self.cross = MultiHeadAttention(width, heads, dropout=dropout)
        self.feed_forward = FeedForward(width, hidden, activation=activation, dropout=dropout)
        self.norm_1, self.norm_2, self.norm_3 = (nn.LayerNorm(width) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, memory: Tensor, *, mask: Tensor | None = None, memory_mask: Tensor | None = None
    ) -> Tensor:
        """(example, token, width), attending to (example, source, width) -> the shape of x."""
        if self.norm_first:
            x = x + self.dropout(self.attention(self.norm_1(x), mask=mask, causal=True))
            x = x + self.dropout(self.cross(self.norm_2(x), memory, mask=memory_mask))
            return x + self.dropout(self.feed_forward(self.norm_3(x)))  # type: ignore[no-any-return]
        x = self.norm_1(x + self.dropout(self.attention(x, mask=mask, causal=True)))
        x = self.norm_2(x + self.dropout(self.cross(x, memory, mask=memory_mask)))
        return self.norm_3(x + self.dropout(self.feed_forward(x)))  # type: ignore[no-any-return]


def _layer_settings(a: Architecture) -> dict[str, object]:
    return {"dropout": a.dropout, "norm": a.norm, "activation": a.activation, "window": a.window}


class Encoder(nn.Module):
    """A stack of encoder layers; with pre-normalisation, a last LayerNorm."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            EncoderLayer(a.width, a.heads, a.feed_forward, **_layer_settings(a))  # type: ignore[arg-type]
            for _ in range(a.layers)
        )
        self.norm = nn.LayerNorm(a.width) if a.norm == "pre" else nn.Identity()

    def forward(self, x: Tensor, *, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """(example, token, width) -> the same shape."""
        for layer in self.layers:
            x = layer(x, mask=mask, causal=causal)
        return self.norm(x)  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """A stack of decoder layers; with pre-normalisation, a last LayerNorm."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DecoderLayer(a.width, a.heads, a.feed_forward, **_layer_settings(a))  # type: ignore[arg-type]
            for _ in range(a.layers)
        )
        self.norm = nn.LayerNorm(a.width) if a.norm == "pre" else nn.Identity()

    def forward(
        self, x: Tensor, memory: Tensor, *, mask: Tensor | None = None, memory_mask: Tensor | None = None
    ) -> Tensor:
        """(example, token, width), attending to (example, source, width) -> the shape of x."""
        for layer in self.layers:
            x = layer(x, memory, mask=mask, memory_mask=memory_mask)
        return self.norm(x)  # type: ignore[no-any-return]


def sinusoids(tokens: int, width: int) -> Float[Tensor, "token width"]:
    """Section 3.5: PE(pos, 2i) = sin(pos / 10000^(2i / width)), PE(pos, 2i + 1) the cosine."""
    place = torch.arange(tokens, dtype=torch.float64)[:, None]
    pair = torch.arange(0, width, 2, dtype=torch.float64)[None, :]
    angle = place / torch.pow(torch.tensor(10000.0, dtype=torch.float64), pair / width)
    table = torch.zeros(tokens, width, dtype=torch.float64)
    table[:, 0::2] = angle.sin()
    table[:, 1::2] = angle.cos()[:, : width // 2]
    return table.float()


class Place(nn.Module):
    """Adds positions: the paper's sinusoids, learned vectors, or nothing."""

    def __init__(self, kind: Positions, longest: int, width: int) -> None:
        super().__init__()
        self.kind, self.longest = kind, longest
        if kind == "learned":
            self.table: Tensor | None = nn.Parameter(torch.randn(longest, width) * 0.02)
        elif kind == "sinusoidal":
            self.register_buffer("table", sinusoids(longest, width), persistent=False)
        else:
            self.table = None

    def forward(self, x: Tensor) -> Tensor:
        """(example, token, width) -> the same shape."""
        if x.shape[1] > self.longest:
            raise ValueError(f"{x.shape[1]} tokens were given, the model takes at most {self.longest}")
        return x if self.table is None else x + self.table[: x.shape[1]].to(x.dtype)


class TokenEmbedding(nn.Module):
    """Section 3.4: learned vectors times sqrt(width), plus positions. Token 0 is padding."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.tokens = nn.Embedding(a.vocabulary, a.width)
        nn.init.normal_(self.tokens.weight, std=a.width**-0.5)
        self.scale = math.sqrt(a.width)
        self.place = Place(a.positions, a.longest, a.width)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """`tokens` (example, token) -> (example, token, width)."""
        return self.place(self.tokens(inputs["tokens"]) * self.scale)  # type: ignore[no-any-return]

    def mask(self, inputs: Mapping[str, Tensor]) -> Bool[Tensor, "example token"] | None:
        """True where a token is real."""
        return inputs["tokens"] != 0


class TableEmbedding(nn.Module):
    """One token per feature: numeric ones first, then categorical ones.

    A number x of feature f is x * w_f + b_f; a category is a vector of its own. A missing number (NaN) and a
    missing category (0) are learned tokens of their feature, not a filled-in value.
    """

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(a.numeric, a.width) * 0.5)
        self.bias_term = nn.Parameter(torch.randn(a.numeric, a.width) * 0.5)
        self.missing = nn.Parameter(torch.randn(a.numeric, a.width) * 0.5)
        self.register_buffer(
            "offsets", torch.tensor([0, *a.categories], dtype=torch.long).cumsum(0)[:-1], persistent=False
        )
        self.offsets: Tensor
        self.values = nn.Parameter(torch.randn(sum(a.categories), a.width) * 0.5)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """`numeric` (example, feature) and `categorical` (example, feature) -> (example, feature, width)."""
        numbers = inputs["numeric"].to(self.weight.dtype)
        absent = numbers.isnan()
        filled = torch.where(absent, torch.zeros_like(numbers), numbers)
        numeric = filled[..., None] * self.weight + self.bias_term
        numeric = torch.where(absent[..., None], self.missing, numeric)
        # A lookup, not an index: the gradient of an index adds up in whatever order the threads come.
        categorical = F.embedding(inputs["categorical"] + self.offsets, self.values)
        return torch.cat([numeric, categorical], dim=1)

    def mask(self, inputs: Mapping[str, Tensor]) -> None:
        """Every feature is there: a missing value is a token too."""
        return


class SeriesEmbedding(nn.Module):
    """Windowed patches of a multivariate series, each projected to one token, plus positions."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.patch, self.stride = a.patch, a.stride
        self.project = nn.Linear(a.patch * a.channels, a.width)
        self.place = Place(a.positions, a.longest, a.width)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """`series` (example, time, channel) -> (example, patch, width). NaN (missing, padding) counts as 0."""
        series = inputs["series"].to(self.project.weight.dtype)
        filled = torch.where(series.isnan(), torch.zeros_like(series), series)
        patches = filled.unfold(1, self.patch, self.stride).flatten(2)  # (example, patch, channel * time)
        return self.place(self.project(patches))  # type: ignore[no-any-return]

    def mask(self, inputs: Mapping[str, Tensor]) -> Bool[Tensor, "example patch"] | None:
        """True where a patch holds any value: a series padded with NaN ends early."""
        there = ~inputs["series"].isnan().all(dim=2)
        return there.unfold(1, self.patch, self.stride).any(dim=2)


class Classifier(nn.Module):
    """An encoder with a learned [CLS] token in front, whose last state gives the logits.

    `embed` and `forward_embedded` are `forward` in two steps, so that an attribution can start in between.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        kinds: dict[str, type[TableEmbedding | TokenEmbedding | SeriesEmbedding]] = {
            "table": TableEmbedding,
            "text": TokenEmbedding,
            "series": SeriesEmbedding,
        }
        self.architecture = architecture
        self.embedding = kinds[architecture.kind](architecture)
        self.summary = nn.Parameter(torch.randn(1, 1, architecture.width) * 0.5)
        self.encoder = Encoder(architecture)
        self.head = nn.Linear(architecture.width, architecture.outputs)

    def embed(self, inputs: Mapping[str, Tensor]) -> Float[Tensor, "example token width"]:
        """Inputs -> embeddings with their positions, without [CLS]."""
        return self.embedding(inputs)  # type: ignore[no-any-return]

    def mask(self, inputs: Mapping[str, Tensor]) -> Bool[Tensor, "example token"] | None:
        """True where a token is real, without [CLS]; None when all are."""
        return self.embedding.mask(inputs)

    def forward_embedded(
        self, embedded: Float[Tensor, "example token width"], mask: Bool[Tensor, "example token"] | None
    ) -> Float[Tensor, "example label"]:
        """Embeddings -> logits."""
        x = torch.cat([self.summary.expand(len(embedded), -1, -1), embedded], dim=1)
        real = None if mask is None else F.pad(mask, (1, 0), value=True)
        return self.head(self.encoder(x, mask=real)[:, 0])  # type: ignore[no-any-return]

    def forward(self, inputs: Mapping[str, Tensor]) -> Float[Tensor, "example label"]:
        """Inputs -> logits, or (example, 1) for a regression."""
        return self.forward_embedded(self.embed(inputs), self.mask(inputs))


class EncoderDecoder(nn.Module):
    """Figure 1, whole: tokens in, next-token logits out. Source and target share one vocabulary and one embedding."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.embedding = TokenEmbedding(architecture)
        self.encoder, self.decoder = Encoder(architecture), Decoder(architecture)
        self.head = nn.Linear(architecture.width, architecture.vocabulary)

    def forward(
        self, source: Int[Tensor, "example source"], target: Int[Tensor, "example target"]
    ) -> Float[Tensor, "example target token"]:
        """Logits of the token after each target token, given the source and the target so far."""
        return self._decode(target, self.encode(source), source != 0)

    def encode(self, source: Int[Tensor, "example source"]) -> Float[Tensor, "example source width"]:
        """The encoder's states of the source."""
        return self.encoder(self.embedding({"tokens": source}), mask=source != 0)  # type: ignore[no-any-return]

    def _decode(self, target: Tensor, memory: Tensor, memory_mask: Tensor) -> Tensor:
        x = self.embedding({"tokens": target})
        x = self.decoder(x, memory, mask=target != 0, memory_mask=memory_mask)
        return self.head(x)  # type: ignore[no-any-return]

    @torch.no_grad()
    def generate(
        self, source: Int[Tensor, "example source"], *, start: int, end: int, longest: int
    ) -> Int[Tensor, "example token"]:
        """Greedy generation: the likeliest token each time, until every example has ended. (example, token)

        Padding follows `end` and is never chosen before it. At most `longest` tokens, `start` not returned. Call
        `eval()` first: in training mode dropout makes the choice random.
        """
        memory = self.encode(source)
        target = torch.full((len(source), 1), start, dtype=torch.long, device=source.device)
        ended = torch.zeros(len(source), dtype=torch.bool, device=source.device)
        for _ in range(longest):
            logits = self._decode(target, memory, source != 0)[:, -1]
            token = logits[:, 1:].argmax(dim=-1) + 1  # token 0 is padding: it would be masked, not read
            token = torch.where(ended, torch.zeros_like(token), token)
            target = torch.cat([target, token[:, None]], dim=1)
            ended = ended | (token == end)
            if bool(ended.all()):
                break
        return target[:, 1:]
