"""Attention written out pair by pair, slower and less complicated than the code it checks."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def attention_map(
    query: Tensor, key: Tensor, *, scale: float, allowed: Tensor | None = None, bias: Tensor | None = None
) -> Tensor:
    """softmax over keys of scale * <q_i, k_j> + bias_ij, one example and one head; else zero."""
    n, m = len(query), len(key)
    result = torch.zeros(n, m, dtype=query.dtype)
    for i in range(n):
        terms = {}
        for j in range(m):
            if allowed is not None and not allowed[i, j]:
                continue
            score = scale * sum(float(query[i, d]) * float(key[j, d]) for d in range(query.shape[1]))
            terms[j] = math.exp(score + (0.0 if bias is None else float(bias[i, j])))
        for j, term in terms.items():
            result[i, j] = term / sum(terms.values())
    return result


class HandMade(nn.Module):
    """A two-layer model over vectors that calls torch's fused attention, or softmax in plain sight."""

    def __init__(self, width: int = 8, heads: int = 4, key_heads: int = 2, causal: bool = False) -> None:
        super().__init__()
        self.first = Attending(width, heads, key_heads, causal)
        self.second = Attending(width, heads, key_heads, False)
        self.head = nn.Linear(width, 1)

    def forward(self, x: Tensor, pad: Tensor | None = None, memory: Tensor | None = None) -> Tensor:
        x = x + self.first(x, pad=pad)
        x = x + torch.tanh(self.second(x, memory, pad=None if memory is not None else pad))
        return self.head(x[:, 0])[:, 0]


class Attending(nn.Module):
    """Grouped-query attention; `explicit` keeps its map, differentiable, in `seen`."""

    def __init__(self, width: int, heads: int, key_heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.key_heads, self.causal, self.size = heads, key_heads, causal, width // heads
        self.q = nn.Linear(width, heads * self.size)
        self.k = nn.Linear(width, key_heads * self.size)
        self.v = nn.Linear(width, key_heads * self.size)
        self.o = nn.Linear(width, width)
        self.explicit = False
        self.dropout = 0.0
        self.seen: Tensor | None = None

    def forward(self, x: Tensor, memory: Tensor | None = None, *, pad: Tensor | None = None) -> Tensor:
        source = x if memory is None else memory
        q = self.q(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k = self.k(source).unflatten(-1, (self.key_heads, -1)).transpose(1, 2)
        v = self.v(source).unflatten(-1, (self.key_heads, -1)).transpose(1, 2)
        mask = None if pad is None else ~pad[:, None, None, :]
        if self.causal and mask is not None:
            mask = mask & torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril()
        if self.explicit:
            repeat = self.heads // self.key_heads
            k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
            scores = q @ k.transpose(2, 3) / math.sqrt(self.size)
            if self.causal and mask is None:
                mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril()
            if mask is not None:
                scores = scores.masked_fill(~mask, -math.inf)
            self.seen = torch.softmax(scores, dim=-1)
            out = self.seen @ v
        else:
            out = F.scaled_dot_product_attention(
                q,
                k,
                v,
                attn_mask=mask,
                dropout_p=self.dropout if self.training else 0.0,
                is_causal=self.causal and mask is None,
                enable_gqa=self.heads != self.key_heads,
            )
        return self.o(out.transpose(1, 2).flatten(2))
