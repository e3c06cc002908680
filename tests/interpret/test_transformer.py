"""Our Transformer equals torch's layer by layer, forgets padding, and learns what it should."""

import numpy as np
import pytest
import torch
from torch import nn

from clinometer.interpret.transformer import (
    Architecture,
    Classifier,
    DecoderLayer,
    EncoderDecoder,
    EncoderLayer,
    MultiHeadAttention,
    sinusoids,
)

WIDTH, HEADS, HIDDEN = 16, 4, 32


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def pairs(ours, theirs):
    """Our attention's parameters beside torch's packed ones."""
    for i, name in enumerate(("query", "key", "value")):
        part = getattr(ours, name)
        rows = slice(i * WIDTH, (i + 1) * WIDTH)
        yield part.weight, theirs.in_proj_weight, rows
        yield part.bias, theirs.in_proj_bias, rows
    yield ours.out.weight, theirs.out_proj.weight, slice(None)
    yield ours.out.bias, theirs.out_proj.bias, slice(None)


def layer_pairs(ours, theirs):
    yield from pairs(ours.attention, theirs.self_attn)
    if hasattr(ours, "cross"):
        yield from pairs(ours.cross, theirs.multihead_attn)
        norms = ((ours.norm_1, theirs.norm1), (ours.norm_2, theirs.norm2), (ours.norm_3, theirs.norm3))
    else:
        norms = ((ours.norm_1, theirs.norm1), (ours.norm_2, theirs.norm2))
    linear = ((ours.feed_forward.inner, theirs.linear1), (ours.feed_forward.outer, theirs.linear2))
    for a, b in (*norms, *linear):
        yield a.weight, b.weight, slice(None)
        yield a.bias, b.bias, slice(None)


def share(matched):
    with torch.no_grad():
        for ours, theirs, rows in matched:
            theirs.normal_(std=0.3) if rows == slice(None) else theirs[rows].normal_(std=0.3)
            ours.copy_(theirs[rows])


def same_gradients(matched):
    for ours, theirs, rows in matched:
        torch.testing.assert_close(ours.grad, theirs.grad[rows], atol=1e-10, rtol=1e-8)


def batch(tokens=7, examples=3):
    x = torch.randn(examples, tokens, WIDTH, dtype=torch.float64)
    mask = torch.arange(tokens)[None, :] < torch.tensor([tokens, tokens - 2, tokens - 4])[:, None]
    return x, mask


@pytest.mark.parametrize("causal", [False, True])
def test_attention_equals_torch(causal):
    ours = MultiHeadAttention(WIDTH, HEADS).double()
    theirs = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True).double()
    matched = list(pairs(ours, theirs))
    share(matched)
    x, mask = batch()
    memory, memory_mask = batch(5)
    if causal:
        hidden = torch.triu(torch.ones(7, 7, dtype=torch.bool), 1)
        got = ours(x, mask=mask, causal=True)
        expected = theirs(x, x, x, key_padding_mask=~mask, attn_mask=hidden)[0]
    else:
        got = ours(x, memory, mask=memory_mask)
        expected = theirs(x, memory, memory, key_padding_mask=~memory_mask)[0]
    torch.testing.assert_close(got, expected, atol=1e-12, rtol=1e-10)
    got.square().sum().backward()
    expected.square().sum().backward()
    same_gradients(matched)


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_an_encoder_layer_equals_torch(norm, activation):
    ours = EncoderLayer(WIDTH, HEADS, HIDDEN, norm=norm, activation=activation).double()
    theirs = nn.TransformerEncoderLayer(
        WIDTH, HEADS, HIDDEN, dropout=0.0, activation=activation, batch_first=True, norm_first=norm == "pre"
    ).double()
    matched = list(layer_pairs(ours, theirs))
    share(matched)
    x, mask = batch()
    got, expected = ours(x, mask=mask), theirs(x, src_key_padding_mask=~mask)
    torch.testing.assert_close(got[mask], expected[mask], atol=1e-11, rtol=1e-9)
    got[mask].square().sum().backward()
    expected[mask].square().sum().backward()
    same_gradients(matched)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_decoder_layer_equals_torch(norm):
    ours = DecoderLayer(WIDTH, HEADS, HIDDEN, norm=norm).double()
    theirs = nn.TransformerDecoderLayer(
        WIDTH, HEADS, HIDDEN, dropout=0.0, batch_first=True, norm_first=norm == "pre"
    ).double()
    matched = list(layer_pairs(ours, theirs))
    share(matched)
    x, mask = batch()
    memory, memory_mask = batch(5)
    got = ours(x, memory, mask=mask, memory_mask=memory_mask)
    expected = theirs(
        x,
        memory,
        tgt_mask=torch.triu(torch.ones(7, 7, dtype=torch.bool), 1),
        tgt_key_padding_mask=~mask,
        memory_key_padding_mask=~memory_mask,
    )
    torch.testing.assert_close(got[mask], expected[mask], atol=1e-11, rtol=1e-9)
    got[mask].square().sum().backward()
    expected[mask].square().sum().backward()
    same_gradients(matched)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor:UserWarning")  # torch's own, of its own layer
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_the_whole_encoder_decoder_equals_torch(norm):
    shape = {
        "width": WIDTH,
        "heads": HEADS,
        "feed_forward": HIDDEN,
        "layers": 2,
        "dropout": 0.0,
        "norm": norm,
    }
    ours = EncoderDecoder(
        Architecture(
            kind="text", activation="relu", positions="sinusoidal", vocabulary=11, longest=9, **shape
        )
    ).double()
    theirs = nn.Transformer(
        WIDTH, HEADS, 2, 2, HIDDEN, dropout=0.0, batch_first=True, norm_first=norm == "pre"
    ).double()
    if norm == "post":  # torch adds a last norm to both stacks, which the paper does not have
        theirs.encoder.norm = theirs.decoder.norm = None
    for a, b in zip(ours.encoder.layers, theirs.encoder.layers, strict=True):
        share(layer_pairs(a, b))
    for a, b in zip(ours.decoder.layers, theirs.decoder.layers, strict=True):
        share(layer_pairs(a, b))
    source = torch.tensor([[3, 4, 5, 6], [7, 8, 0, 0]])
    target = torch.tensor([[1, 3, 4], [1, 9, 0]])
    embed = [ours.embedding({"tokens": tokens}) for tokens in (source, target)]
    expected = theirs(
        *embed,
        tgt_mask=torch.triu(torch.ones(3, 3, dtype=torch.bool), 1),
        src_key_padding_mask=source == 0,
        tgt_key_padding_mask=target == 0,
        memory_key_padding_mask=source == 0,
    )
    real = target != 0
    torch.testing.assert_close(ours(source, target)[real], ours.head(expected)[real], atol=1e-10, rtol=1e-8)


def test_a_window_is_a_mask_over_distance():
    ours = MultiHeadAttention(WIDTH, HEADS, window=2).double()
    theirs = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True).double()
    share(pairs(ours, theirs))
    x, _ = batch(9)
    place = torch.arange(9)
    far = (place[:, None] - place[None, :]).abs() > 2
    torch.testing.assert_close(ours(x), theirs(x, x, x, attn_mask=far)[0], atol=1e-12, rtol=1e-10)
    free = MultiHeadAttention(WIDTH, HEADS).double()
    free.load_state_dict(ours.state_dict())
    assert not torch.allclose(ours(x), free(x))


def test_sinusoids_are_the_paper_s():
    table = sinusoids(50, 6)
    assert table[0].tolist() == [0, 1, 0, 1, 0, 1]
    assert table[7, 2].item() == pytest.approx(np.sin(7 / 10000 ** (2 / 6)), abs=1e-6)
    assert table[7, 5].item() == pytest.approx(np.cos(7 / 10000 ** (4 / 6)), abs=1e-6)


def text(**changes):
    shape = {
        "width": WIDTH,
        "heads": HEADS,
        "feed_forward": HIDDEN,
        "layers": 2,
        "dropout": 0.0,
        "vocabulary": 20,
    }
    return Classifier(
        Architecture(kind="text", positions="learned", longest=12, **{**shape, **changes})
    ).eval()


@pytest.mark.parametrize("window", [None, 2])
def test_padding_changes_nothing(window):
    model = text(window=window).double()
    alone = model({"tokens": torch.tensor([[3, 4, 5]])})
    padded = model({"tokens": torch.tensor([[3, 4, 5, 0, 0, 0], [6, 7, 8, 9, 10, 11]])})
    torch.testing.assert_close(alone[0], padded[0], atol=1e-12, rtol=1e-10)


def test_an_example_of_padding_alone_is_a_number():
    assert torch.isfinite(text()({"tokens": torch.zeros(2, 4, dtype=torch.long)})).all()


def table(**changes):
    shape = {"width": WIDTH, "heads": HEADS, "feed_forward": HIDDEN, "layers": 1, "dropout": 0.0}
    return Classifier(Architecture(kind="table", numeric=2, categories=(4, 3), **{**shape, **changes})).eval()


def test_a_missing_value_is_a_token_of_its_own_feature():
    model = table()
    numeric = torch.tensor([[1.0, torch.nan], [1.0, 0.0], [torch.nan, 2.0]])
    embedded = model.embed({"numeric": numeric, "categorical": torch.tensor([[0, 1], [2, 1], [3, 0]])})
    assert embedded.shape == (3, 4, WIDTH)
    assert torch.isfinite(embedded).all()
    torch.testing.assert_close(embedded[0, 1], model.embedding.missing[1])
    torch.testing.assert_close(embedded[1, 1], model.embedding.bias_term[1])
    assert not torch.allclose(embedded[0, 1], embedded[1, 1])
    assert not torch.allclose(embedded[0, 2], embedded[2, 3]), "missing differs between features"


def test_a_missing_number_sends_no_gradient_that_is_not_finite():
    model = table().train()
    model(
        {"numeric": torch.tensor([[torch.nan, 1.0]]), "categorical": torch.tensor([[0, 0]])}
    ).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_a_series_is_cut_into_patches():
    shape = {
        "width": WIDTH,
        "heads": HEADS,
        "feed_forward": HIDDEN,
        "layers": 1,
        "dropout": 0.0,
        "longest": 8,
    }
    model = Classifier(
        Architecture(kind="series", positions="none", channels=3, patch=4, stride=2, **shape)
    ).eval()
    series = torch.randn(2, 10, 3)
    assert model.embed({"series": series}).shape == (2, 4, WIDTH)
    first = model.embedding.project(series[0, 2:6].T.flatten())
    torch.testing.assert_close(model.embed({"series": series})[0, 1], first)
    short = torch.cat([series[:, :6], torch.full((2, 4, 3), torch.nan)], dim=1)
    assert model.mask({"series": short}).tolist() == [[True, True, True, False]] * 2
    assert torch.isfinite(model({"series": short})).all()


def test_forward_is_embed_and_then_the_rest():
    model = text()
    inputs = {"tokens": torch.tensor([[3, 4, 5, 0], [6, 7, 8, 9]])}
    assert torch.equal(model(inputs), model.forward_embedded(model.embed(inputs), model.mask(inputs)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_precisions(dtype):
    model = table()
    inputs = {"numeric": torch.randn(3, 2), "categorical": torch.zeros(3, 2, dtype=torch.long)}
    exact = model(inputs)
    got = model.to(dtype)(inputs)
    assert got.dtype == dtype
    torch.testing.assert_close(got.float(), exact, atol=0.1 if dtype == torch.bfloat16 else 1e-5, rtol=0.1)


def test_a_compiled_model_gives_the_same(shapes_unchecked):
    model = table()
    inputs = {"numeric": torch.randn(3, 2), "categorical": torch.zeros(3, 2, dtype=torch.long)}
    torch.testing.assert_close(torch.compile(model, backend="aot_eager")(inputs), model(inputs))


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_cuda_gives_what_the_cpu_gives(dtype):
    model = table()
    inputs = {"numeric": torch.randn(3, 2), "categorical": torch.zeros(3, 2, dtype=torch.long)}
    expected = model(inputs)
    got = model.to("cuda", dtype)({name: tensor.to("cuda") for name, tensor in inputs.items()})
    torch.testing.assert_close(
        got.float().cpu(), expected, atol=0.1 if dtype == torch.bfloat16 else 1e-3, rtol=0.1
    )


@pytest.mark.parametrize("changes", [{"width": 15}, {"window": -1}])
def test_an_impossible_architecture_is_refused(changes):
    with pytest.raises(ValueError, match=r"expected 0 or more|multiple"):
        text(**changes)


def test_too_many_tokens_are_refused():
    with pytest.raises(ValueError, match="13 tokens were given, the model takes at most 12"):
        text()({"tokens": torch.ones(1, 13, dtype=torch.long)})


def learn(model, source, target, steps, rate=3e-3):
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    for _ in range(steps):
        logits = model(source, target[:, :-1])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), target[:, 1:].flatten(), ignore_index=0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def small(vocabulary, longest, **changes):
    shape = {"width": 32, "heads": 4, "feed_forward": 64, "layers": 1, "dropout": 0.0, **changes}
    return EncoderDecoder(
        Architecture(kind="text", positions="sinusoidal", vocabulary=vocabulary, longest=longest, **shape)
    )


def test_it_learns_to_copy_sequences_it_has_not_seen():
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randint(3, 11, (600, 6), generator=generator)
    target = torch.cat([torch.full((600, 1), 1), numbers, torch.full((600, 1), 2)], dim=1)
    model = learn(small(11, 10), numbers[:500], target[:500], 250)
    copied = model.generate(numbers[500:], start=1, end=2, longest=8)
    right = (copied[:, :6] == numbers[500:]).all(dim=1).double().mean()
    assert right > 0.95


SENTENCES = (
    ("the cat sleeps", "le chat dort"),
    ("the dog sleeps", "le chien dort"),
    ("the cat eats", "le chat mange"),
    ("the dog eats a fish", "le chien mange un poisson"),
    ("a bird sings", "un oiseau chante"),
    ("the bird eats", "l oiseau mange"),
    ("i see the house", "je vois la maison"),
    ("you see a house", "tu vois une maison"),
    ("the house is red", "la maison est rouge"),
    ("the fish is small", "le poisson est petit"),
    ("a small bird sees the cat", "un petit oiseau voit le chat"),
    ("the red house is big", "la maison rouge est grande"),
)


def test_it_overfits_a_toy_translation_to_bleu_100():
    import sacrebleu

    words = sorted({word for pair in SENTENCES for side in pair for word in side.split()})
    number = {word: i + 3 for i, word in enumerate(words)}

    def encode(side, start=()):
        rows = [[*start, *(number[word] for word in pair[side].split()), 2] for pair in SENTENCES]
        longest = max(map(len, rows))
        return torch.tensor([row + [0] * (longest - len(row)) for row in rows])

    model = learn(small(len(words) + 3, 12), encode(0), encode(1, start=(1,)), 150)
    generated = model.generate(encode(0), start=1, end=2, longest=11)
    lines = [" ".join(words[token - 3] for token in row if token > 2) for row in generated.tolist()]
    assert sacrebleu.corpus_bleu(lines, [[pair[1] for pair in SENTENCES]]).score == pytest.approx(100.0)
    assert (generated[0] == 0).any(), "padding follows the end of a sentence"
