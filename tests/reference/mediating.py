"""Transformers in which one head alone can know a word, and plain versions of what mediation computes."""

import itertools

import numpy as np
import torch

from clinometer.interpret.gates import gates
from clinometer.interpret.models import ours, score, wrap
from clinometer.interpret.preprocessing import TextPreprocessor
from clinometer.interpret.transformer import Architecture, Classifier
from clinometer.records import Contrast, Rows

IDENTITY = ("alpha", "beta")
FILLER = tuple(f"w{i}" for i in range(12))


def lines(n, *, seed=0, prefix="r", word=None):
    """Texts of fillers and one identity word, half and half; its group is the word."""
    generator = np.random.default_rng(seed)
    texts, groups = [], []
    for i in range(n):
        words = list(generator.choice(FILLER, size=int(generator.integers(4, 7))))
        groups.append(IDENTITY[i % 2] if word is None else word)
        words.insert(int(generator.integers(len(words) + 1)), groups[-1])
        texts.append(" ".join(words))
    return Rows(
        ids=tuple(f"{prefix}{i}" for i in range(n)),
        inputs={"text": np.array(texts, object)},
        groups={"word": tuple(groups)},
    )


def swapped(rows):
    """The same texts with the other identity word."""
    other = dict(zip(IDENTITY, IDENTITY[::-1], strict=True))
    texts = [" ".join(other.get(word, word) for word in text.split()) for text in rows.inputs["text"]]
    return Rows(ids=tuple(f"{name}'" for name in rows.ids), inputs={"text": np.array(texts, object)})


def contrast(rows, inside=None, *, group="alpha", reference="beta"):
    """The difference in mean score: by default alpha's less beta's."""
    first = np.array([g == group for g in rows.groups["word"]]) if inside is None else np.asarray(inside)
    return Contrast(
        attribute="word",
        group=group,
        reference=reference,
        ids=rows.ids,
        weights=first / first.sum() - ~first / (~first).sum(),
        n_group=int(first.sum()),
        n_reference=int((~first).sum()),
    )


def guilty(seed=0, *, layers=2, heads=4, width=16, strength=8.0):
    """A subject, and the one head of its last layer that can tell the identity words apart.

    The words differ along one direction u alone, on either side of a common vector, so that every norm treats them
    alike. No query, key, feed-forward block or value reads u, and nothing writes to it, but for one value of the guilty
    head, which adds it to what the label is read from. A strength of 0 leaves a model that cannot tell the words apart.
    """
    generator = np.random.default_rng(seed)
    torch.manual_seed(seed)
    preprocessor = TextPreprocessor.fit({"text": np.array([" ".join((*FILLER, *IDENTITY))], object)})
    model = Classifier(
        Architecture(
            kind="text",
            width=width,
            layers=layers,
            heads=heads,
            feed_forward=2 * width,
            dropout=0.0,
            positions="none",
            **preprocessor.shape(),
        )
    ).double()
    u, read = torch.zeros(2, width, dtype=torch.float64)
    u[0], u[1], read[2], read[3] = 1.0, -1.0, 1.0, -1.0
    u, read = u / u.norm(), read / read.norm()
    apart = torch.eye(width, dtype=torch.float64) - torch.outer(u, u)
    places = [preprocessor.words.index(word) + 3 for word in IDENTITY]
    head = int(generator.integers(heads))
    with torch.no_grad():
        table = model.embedding.tokens.weight
        table.copy_(table @ apart)
        table[places[1]] = table[places[0]]
        model.summary.copy_(model.summary @ apart)
        for sign, place in zip((1.0, -1.0), places, strict=True):
            table[place] += sign * 0.3 * u
        for layer in model.encoder.layers:
            for part in (layer.attention.query, layer.attention.key, layer.attention.value):
                part.weight.copy_(part.weight @ apart)
            layer.feed_forward.inner.weight.copy_(layer.feed_forward.inner.weight @ apart)
            for part in (layer.attention.out, layer.feed_forward.outer):
                part.weight.copy_(apart @ part.weight)
                part.bias.copy_(apart @ part.bias)
        last = model.encoder.layers[-1].attention
        carried = head * (width // heads)
        last.value.weight[carried] = strength * u
        last.out.weight[:, carried] = read
        model.head.weight.copy_(model.head.weight @ apart)
        model.head.weight[1] += read
    subject = ours(model, preprocessor, labels=("no", "yes"), name="guilty" if strength else "clean")
    return subject, (f"encoder.layers.{layers - 1}.attention", head)


def closed(subject, rows, heads):
    """Scores with heads closed, one run of all rows."""
    with gates(subject, dict.fromkeys(heads, 0.0)):
        return score(subject, rows, batch_size=len(rows))


def slope(subject, rows, weights, head, step=1e-5):
    """d contrast / d gate by central differences, all other gates at 1."""
    values = []
    for sign in (1, -1):
        with gates(subject, {head: 1 + sign * step}):
            values.append(float(weights @ score(subject, rows, batch_size=len(rows))))
    return (values[0] - values[1]) / (2 * step)


def path_shares(subject, rows, weights, heads, steps=400):
    """Shares by the midpoint rule: every gate moved a little by itself, at each step between closed and open."""
    shares = dict.fromkeys(heads, 0.0)
    for i, head in itertools.product(range(steps), heads):
        at, step = (i + 0.5) / steps, 1e-5
        values = []
        for sign in (1, -1):
            with gates(subject, {one: at + (sign * step if one == head else 0.0) for one in heads}):
                values.append(float(weights @ score(subject, rows, batch_size=len(rows))))
        shares[head] += (values[0] - values[1]) / (2 * step) / steps
    return shares


def other_output(subject, rows, donors, head):
    """Scores of rows one by one, with a head's output put in from the donor of the same place."""
    from clinometer.interpret.capture import trace
    from clinometer.interpret.gates import Patch

    made = []
    for i in range(len(rows)):
        batch = subject.encode(donors.take([i]))
        with torch.no_grad():
            seen = trace(lambda batch=batch: subject.forward(batch, None), subject.module)
        with gates(subject, {head: Patch(seen)}):
            made.append(score(subject, rows.take([i]))[0])
    return np.array(made)


def halves(rows, *, seed=0):
    """A contrast of two arbitrary halves of any rows, one row left out."""
    weights = np.zeros(len(rows))
    order = np.random.default_rng(seed).permutation(len(rows) - 1)
    n = len(order) // 2
    weights[order[:n]], weights[order[n:]] = 1 / n, -1 / (len(order) - n)
    return Contrast(
        attribute="half",
        group="one",
        reference="other",
        ids=rows.ids,
        weights=weights,
        n_group=n,
        n_reference=len(order) - n,
    )


def gpt2(n=9):
    """A tiny GPT-2 with a head of two labels, which reads rows of numbers padded with 0."""
    import transformers

    torch.manual_seed(0)
    config = transformers.GPT2Config(
        n_embd=16,
        n_layer=2,
        n_head=4,
        vocab_size=30,
        bos_token_id=1,
        eos_token_id=2,
        n_positions=12,
        num_labels=2,
        pad_token_id=0,
    )
    model = transformers.GPT2ForSequenceClassification(config).double().eval()
    generator = np.random.default_rng(0)
    ids = generator.integers(1, 30, (n, 8))
    lengths = generator.integers(4, 9, n)
    ids[np.arange(8) >= lengths[:, None]] = 0

    def encode(rows):
        numbers = torch.as_tensor(ids[rows.inputs["place"]])
        return {"input_ids": numbers, "attention_mask": (numbers > 0).long()}

    subject = wrap(
        model,
        lambda batch: model(**batch).logits,
        encode=encode,
        names=lambda rows: tuple(("t",) * int(lengths[i]) for i in rows.inputs["place"]),
        labels=("no", "yes"),
    )
    return subject, Rows(ids=tuple(f"g{i}" for i in range(n)), inputs={"place": np.arange(n)})


def pictures(n=3):
    """Images of noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (n, 20, 30, 3), dtype=np.uint8)
    return Rows(ids=tuple(f"p{i}" for i in range(n)), inputs={"pixels": pixels})
