"""Small models in which a bias was planted, and texts to find it in: what is true of them is known."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from clinometer.bias.ledger import contrast_of
from clinometer.interpret.models import Subject, ours, wrap
from clinometer.interpret.preprocessing import TextPreprocessor
from clinometer.interpret.training import train
from clinometer.interpret.transformer import Architecture, Classifier
from clinometer.records import Contrast, Rows

SIDES = ("a", "b")
IDENTITY = ("alpha", "beta")  # names of the two sides
PROXY = (
    "quartz",
    "flint",
)  # one of them in every text that has a proxy; who has which more often is a plan's
CONTENT = ("good", "bad")
FILLER = tuple(f"w{i}" for i in range(12))
WORDS = (*FILLER, *IDENTITY, *PROXY, *CONTENT)
Head = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which words texts hold, and what their labels depend on, in logits."""

    named: bool = True  # each text holds the name of its side
    often: tuple[float, float] | None = (
        None  # how often each side has the first word of PROXY in place of the second
    )
    content: float | None = None  # of a good in place of a bad word, times 2; None: no such word
    identity: float = 0.0  # of being named alpha in place of beta, times 2
    proxy: float = 0.0  # of the first word of PROXY in place of the second, times 2
    by_side: float = (
        0.0  # of the first word of PROXY with alpha in place of beta, times 2; of the second: nothing
    )


IDENTITY_SHORTCUT = Plan(content=1.5, identity=1.5)
PROXY_SHORTCUT = Plan(named=False, often=(0.7, 0.3), content=1.5, proxy=1.5)
CLEAN = Plan(content=2.0)
NAMED, WITH_PROXY = (
    Plan(),
    Plan(named=False, often=(0.75, 0.25)),
)  # of texts without labels that mean anything
ONLY_PROXY = Plan(named=False, often=(0.75, 0.25), proxy=2.0)
ONLY_TREATMENT = Plan(often=(0.5, 0.5), by_side=3.0)


def texts(n: int, plan: Plan, *, seed: int, prefix: str = "r") -> Rows:
    """Texts of 5 to 10 words in any order, of two sides in turn, with labels drawn by the plan."""
    draw = np.random.default_rng(seed)
    lines, labels, sides = [], [], []
    for i in range(n):
        place = i % 2
        sign = 1.0 if place == 0 else -1.0
        words = [str(word) for word in draw.choice(FILLER, size=int(draw.integers(4, 8)))]
        logit = 0.0
        if plan.named:
            words.append(IDENTITY[place])
            logit += plan.identity * sign
        if plan.often is not None:
            first = bool(draw.random() < plan.often[place])
            words.append(PROXY[0] if first else PROXY[1])
            logit += plan.proxy * (1.0 if first else -1.0) + plan.by_side * sign * first
        if plan.content is not None:
            good = bool(draw.integers(2))
            words.append(CONTENT[0] if good else CONTENT[1])
            logit += plan.content * (1.0 if good else -1.0)
        draw.shuffle(words)
        lines.append(" ".join(words))
        labels.append(int(draw.random() < 1 / (1 + np.exp(-logit))))
        sides.append(SIDES[place])
    return Rows(
        ids=tuple(f"{prefix}{i}" for i in range(n)),
        inputs={"text": np.array(lines, dtype=object)},
        labels=np.array(labels),
        groups={"side": tuple(sides)},
    )


def contrast(rows: Rows, sides: Sequence[str] | None = None) -> Contrast:
    """The mean score of side a less that of side b; of other sides where given."""
    return contrast_of(rows.ids, rows.groups["side"] if sides is None else sides, "side", *SIDES)


def _model(seed: int, width: int, layers: int, heads: int) -> tuple[Classifier, TextPreprocessor]:
    torch.manual_seed(seed)
    preprocessor = TextPreprocessor.fit({"text": np.array([" ".join(WORDS)], dtype=object)})
    shape: Any = preprocessor.shape()
    architecture = Architecture(
        kind="text",
        width=width,
        layers=layers,
        heads=heads,
        feed_forward=2 * width,
        dropout=0.0,
        positions="none",
        **shape,
    )
    return Classifier(architecture), preprocessor


def guilty(
    seed: int,
    *,
    words: tuple[str, str] = IDENTITY,
    strength: float = 8.0,
    width: int = 16,
    layers: int = 2,
    heads: int = 4,
    steady: float = 0.0,
) -> tuple[Subject, Head]:
    """A Transformer with random weights, and the one head of it that can tell two words apart.

    The words share one vector and lie on either side of it along a direction u. No query, key, value or feed-forward block
    reads u but one value of the guilty head, which writes what it reads to a direction that the label is read from and no
    later layer reads. What that adds to the score is known: the score less that of the model with a strength of 0,
    whose weights are the same but for this one.

    Args:
        steady: length of a vector that every token has and nothing reads: where it is large, norms divide all texts by
            nearly the same number, and the score is nearly a sum over words.
    """
    draw = np.random.default_rng(seed)
    model, preprocessor = _model(seed, width, layers, heads)
    model.double()
    u, read, same = torch.zeros(3, width, dtype=torch.float64)
    for place, one in enumerate((u, read, same)):
        one[2 * place : 2 * place + 2] = torch.tensor([1.0, -1.0], dtype=torch.float64) / 2**0.5
    silent = torch.outer(u, u) + (torch.outer(same, same) if steady else 0.0)
    unwritten = torch.eye(width, dtype=torch.float64) - silent
    unread = unwritten - torch.outer(read, read)
    places = [preprocessor.words.index(word) + 3 for word in words]
    layer, head = int(draw.integers(layers)), int(draw.integers(heads))
    tokens: Tensor = model.embedding.tokens.weight  # type: ignore[union-attr,assignment]
    with torch.no_grad():
        tokens.copy_(tokens @ unwritten + steady * same / model.embedding.scale)
        model.summary.copy_(model.summary @ unwritten + steady * same)
        tokens[places[1]] = tokens[places[0]]
        for sign, place in zip((0.3, -0.3), places, strict=True):
            tokens[place] += sign * u
        for one in model.encoder.layers:
            attention: Any = one.attention
            block: Any = one.feed_forward
            for part in (attention.query, attention.key, attention.value, block.inner):
                part.weight.copy_(part.weight @ unread)
            for part in (attention.out, block.outer):
                part.weight.copy_(unwritten @ part.weight)
                part.bias.copy_(unwritten @ part.bias)
        chosen: Any = model.encoder.layers[layer].attention
        carried = head * (width // heads)
        chosen.value.weight[carried] = strength * u
        chosen.out.weight[:, carried] = read
        model.head.weight.copy_(model.head.weight @ unwritten)
        model.head.weight[1] += read
    name = "guilty" if strength else "clean"
    return ours(model, preprocessor, labels=("no", "yes"), name=name), (
        f"encoder.layers.{layer}.attention",
        head,
    )


def trained(
    seed: int,
    plan: Plan,
    *,
    n: int = 600,
    width: int = 16,
    layers: int = 2,
    heads: int = 4,
    epochs: int = 25,
) -> Subject:
    """A Transformer trained on texts of the plan; the last fifth of them says when to stop."""
    model, preprocessor = _model(seed, width, layers, heads)
    rows = texts(n, plan, seed=seed, prefix="t")
    arrays = preprocessor.transform(rows.inputs)
    inputs = {key: torch.from_numpy(value) for key, value in arrays.items()}
    labels = torch.from_numpy(np.asarray(rows.labels))
    first = n - n // 5
    train(
        model,
        {key: value[:first] for key, value in inputs.items()},
        labels[:first],
        validation=({key: value[first:] for key, value in inputs.items()}, labels[first:]),
        seed=seed,
        epochs=epochs,
        batch_size=48,
        learning_rate=5e-3,
        warm_up=10,
        patience=6,
    )
    return ours(model, preprocessor, labels=("no", "yes"), name="trained")


class Bag(nn.Module):
    """A score that is the mean of known values of words, and a product of two words where both are there.

    score = mean over words of value + product * (words of PROXY[0]) * (alpha less beta). Against words that count
    nothing, integrated gradients give half of the product to each of its two words.
    """

    def __init__(self, seed: int, *, proxy: float = 0.0, identity: float = 0.0, product: float = 0.0) -> None:
        super().__init__()
        draw = np.random.default_rng(seed)
        values = dict(zip(WORDS, draw.normal(0.0, 0.2, len(WORDS)).tolist(), strict=True))
        values.update({IDENTITY[0]: identity, IDENTITY[1]: -identity, PROXY[0]: proxy, PROXY[1]: -proxy})
        self.values, self.product = values, product
        table = torch.zeros(len(WORDS) + 1, 3, dtype=torch.float64)  # 0 is padding
        for place, word in enumerate(WORDS, start=1):
            table[place, 0] = values[word]
        table[1 + WORDS.index(PROXY[0]), 1] = 1.0
        table[1 + WORDS.index(IDENTITY[0]), 2], table[1 + WORDS.index(IDENTITY[1]), 2] = 1.0, -1.0
        self.table = nn.Embedding.from_pretrained(table, freeze=True, padding_idx=0)

    def embed(self, batch: Any) -> Tensor:
        """(example, token, 3): value, proxy, side."""
        return self.table(batch["tokens"])  # type: ignore[no-any-return]

    def forward(self, batch: Any, embedded: Tensor | None = None) -> Tensor:
        """(example, 1)"""
        x = self.embed(batch) if embedded is None else embedded
        n = (batch["tokens"] > 0).sum(dim=1).to(x.dtype)
        summed = x.sum(dim=1)
        return (summed[:, 0] / n + self.product * summed[:, 1] * summed[:, 2])[:, None]

    def true_scores(self, text: str) -> list[float]:
        """What integrated gradients of each word are, by the formula."""
        words = text.split()
        q, z = words.count(PROXY[0]), words.count(IDENTITY[0]) - words.count(IDENTITY[1])
        side = {IDENTITY[0]: 1.0, IDENTITY[1]: -1.0}
        return [
            self.values[word] / len(words)
            + self.product * (z * (word == PROXY[0]) + q * side.get(word, 0.0)) / 2
            for word in words
        ]

    def subject(self) -> Subject:
        """The model for attribution."""

        def encode(rows: Rows) -> dict[str, Tensor]:
            lines = [[1 + WORDS.index(word) for word in text.split()] for text in rows.inputs["text"]]
            most = max(len(line) for line in lines)
            return {"tokens": torch.tensor([line + [0] * (most - len(line)) for line in lines])}

        return wrap(
            self.eval(),
            self.forward,
            encode=encode,
            embed=self.embed,
            reference=lambda batch: torch.zeros_like(self.embed(batch)),
            names=lambda rows: tuple(tuple(text.split()) for text in rows.inputs["text"]),
            labels=("score",),
            baseline="words that count nothing",
            name="bag of words",
        )
