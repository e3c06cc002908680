"""DecompX without redistributed bias terms (Modarressi et al. 2023, section 3), in loops, of a BERT classifier."""

import math
from typing import Any

import numpy as np

Vectors = list[list[np.ndarray]]  # [position][source]; the last source is everything constant


class Weights:
    """A model's parameters by name, in float64."""

    def __init__(self, model: Any) -> None:
        self.named = {name: value.detach().double().numpy() for name, value in model.state_dict().items()}

    def linear(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        return self.named[f"{name}.weight"], self.named[f"{name}.bias"]


def gelu(z: np.ndarray) -> np.ndarray:
    return np.array([0.5 * value * (1.0 + math.erf(value / math.sqrt(2.0))) for value in z])


def total(sources: list[np.ndarray]) -> np.ndarray:
    made = np.zeros_like(sources[0])
    for source in sources:
        made = made + source
    return made


def mapped(weight: np.ndarray, bias: np.ndarray, sources: list[np.ndarray]) -> list[np.ndarray]:
    """A linear layer on every source; its bias term goes to the constant source."""
    made = [weight @ source for source in sources]
    made[-1] = made[-1] + bias
    return made


def normed(weight: np.ndarray, bias: np.ndarray, eps: float, sources: list[np.ndarray]) -> list[np.ndarray]:
    """Layer normalisation on every source, with the standard deviation of their sum."""
    whole = total(sources)
    deviation = math.sqrt(((whole - whole.mean()) ** 2).mean() + eps)
    made = [(source - source.mean()) / deviation * weight for source in sources]
    made[-1] = made[-1] + bias
    return made


def activated(function: Any, sources: list[np.ndarray]) -> list[np.ndarray]:
    """An activation as the line through the origin and (z, f(z)), for every source."""
    whole = total(sources)
    slope = function(whole) / whole
    return [slope * source for source in sources]


def decomposition(model: Any, ids: list[int]) -> np.ndarray:
    """What each token, and last everything constant, adds to each logit: (token + 1, label).

    Each token's own source is its word embedding; positions, types and bias terms are constant.
    """
    weights, config = Weights(model), model.config
    n, n_heads = len(ids), config.num_attention_heads
    dim = config.hidden_size // n_heads
    named, eps = weights.named, config.layer_norm_eps
    zero = np.zeros(config.hidden_size)

    states: Vectors = []
    for i, token in enumerate(ids):
        sources = [zero.copy() for _ in range(n + 1)]
        sources[i] = named["bert.embeddings.word_embeddings.weight"][token]
        sources[n] = (
            named["bert.embeddings.position_embeddings.weight"][i]
            + named["bert.embeddings.token_type_embeddings.weight"][0]
        )
        states.append(normed(*weights.linear("bert.embeddings.LayerNorm"), eps, sources))

    for layer in range(config.num_hidden_layers):
        name = f"bert.encoder.layer.{layer}"
        (w_q, b_q), (w_k, b_k) = (
            weights.linear(f"{name}.attention.self.{part}") for part in ("query", "key")
        )
        values = [mapped(*weights.linear(f"{name}.attention.self.value"), sources) for sources in states]
        queries = [w_q @ total(sources) + b_q for sources in states]
        keys = [w_k @ total(sources) + b_k for sources in states]
        after: Vectors = []
        for i in range(n):
            mixed = [zero.copy() for _ in range(n + 1)]
            for head in range(n_heads):
                part = slice(head * dim, (head + 1) * dim)
                scores = np.array([queries[i][part] @ keys[j][part] for j in range(n)]) / math.sqrt(dim)
                attention = np.exp(scores - scores.max())
                attention = attention / attention.sum()
                for j in range(n):
                    for source in range(n + 1):
                        mixed[source][part] += attention[j] * values[j][source][part]
            out = mapped(*weights.linear(f"{name}.attention.output.dense"), mixed)
            out = [one + other for one, other in zip(out, states[i], strict=True)]
            out = normed(*weights.linear(f"{name}.attention.output.LayerNorm"), eps, out)
            inner = activated(gelu, mapped(*weights.linear(f"{name}.intermediate.dense"), out))
            outer = mapped(*weights.linear(f"{name}.output.dense"), inner)
            outer = [one + other for one, other in zip(outer, out, strict=True)]
            after.append(normed(*weights.linear(f"{name}.output.LayerNorm"), eps, outer))
        states = after

    pooled = activated(np.tanh, mapped(*weights.linear("bert.pooler.dense"), states[0]))
    return np.stack(mapped(*weights.linear("classifier"), pooled))
