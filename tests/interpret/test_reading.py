"""From which positions a target is read, and which positions are tokens: found, weighed, or refused."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from clinometer.errors import CaptureError, DataError, ModelError
from clinometer.interpret.attention_methods import attention_rollout, attention_x_gradient, raw_attention
from clinometer.interpret.models import wrap
from clinometer.interpret.reading import Reading, bytes_kept, reading_of
from clinometer.interpret.transformer import Architecture, EncoderDecoder
from clinometer.records import Rows
from reference.readers import LINES, WIDTH, Pooling, Reader, loaded, reader, texts, vectors
from reference.subjects import applicants, fitted


def read(subject, rows):
    batch = subject.encode(rows)
    return reading_of(subject, rows, batch, [len(tokens) for tokens in subject.names(rows)])


def places(reading: Reading) -> list[list[int]]:
    return [np.flatnonzero(row).tolist() for row in reading.share]


def test_a_class_token_a_last_token_and_a_mask_are_read_where_they_stand(tmp_path) -> None:
    rows = texts(*LINES)
    lengths = [len(tokens) for tokens in loaded(tmp_path / "a", "BertForSequenceClassification").names(rows)]
    bert = loaded(tmp_path / "b", "BertForSequenceClassification")
    assert places(read(bert, rows)) == [[0]] * 4
    gpt = loaded(tmp_path / "c", "GPT2ForSequenceClassification")
    assert places(read(gpt, rows)) == [[len(tokens) - 1] for tokens in gpt.names(rows)]
    masked = loaded(tmp_path / "d", "BertForMaskedLM", load={"candidates": ("good", "bad")})
    asked = texts("a [MASK] film", "is it very [MASK]?")
    assert places(read(masked, asked)) == [[2], [4]]
    tagger = loaded(tmp_path / "e", "BertForTokenClassification")
    assert places(read(tagger, texts(*LINES[:2], position=[1, 3]))) == [[1], [3]]
    assert min(lengths) < max(lengths), "some row is padded"


def test_pooled_positions_weigh_alike_and_padding_nothing() -> None:
    reading = read(reader(Reader("mean")), vectors(5, 2, 1))
    np.testing.assert_array_equal(reading.share, [[0.2] * 5, [0.5, 0.5, 0, 0, 0], [1, 0, 0, 0, 0]])
    assert not reading.is_pair and not reading.pools
    assert places(read(reader(Reader("first")), vectors(5, 2, 1))) == [[0]] * 3


def test_a_target_that_nothing_moves_is_read_nowhere() -> None:
    module = Reader("mean")
    subject = reader(module)
    with torch.no_grad():
        module.head.weight.zero_()
    assert places(read(subject, vectors(3, 2))) == [[], []]


@pytest.mark.parametrize("architecture", ["T5ForConditionalGeneration", "BartForConditionalGeneration"])
def test_an_encoder_decoder_is_told_apart_and_read_at_the_decoder(tmp_path, architecture) -> None:
    subject = loaded(tmp_path, architecture, load={"candidates": ("good", "bad")})
    rows = texts(*LINES[:2], target_text=["a film", "a"])
    reading = read(subject, rows)
    assert reading.is_pair and not reading.pools
    assert places(reading) == [[len(names) - 1] for names in subject.decoder_names(rows)]
    assert [reading.trace.layers[i].split(".")[0] for i in reading.own] in (["encoder"] * 2, ["model"] * 2)
    assert all("encoder." in reading.trace.layers[i] for i in reading.own)
    assert [reading.trace.kinds[i] for i in reading.crossing] == ["cross"] * 2
    assert "decoder." in reading.trace.layers[reading.last]


def test_attention_that_pools_is_no_decoder_and_is_said() -> None:
    subject, rows = reader(Pooling()), vectors(4, 2)
    reading = read(subject, rows)
    assert not reading.is_pair and reading.pools and len(reading.crossing) == 1
    assert places(reading) == [[0, 1, 2, 3], [0, 1]]
    assert any("weigh alike" in note for note in attention_rollout(subject, rows).notes)
    assert not any("weigh alike" in note for note in attention_rollout(reader(Reader()), rows).notes)


def test_our_encoder_decoder_is_told_apart() -> None:
    torch.manual_seed(0)
    shape = {"width": 8, "heads": 2, "feed_forward": 8, "vocabulary": 12, "positions": "learned"}
    model = EncoderDecoder(Architecture(kind="text", **shape)).double().eval()
    subject = wrap(
        model,
        lambda batch: model(batch["source"], batch["target"])[:, -1, :1],
        names=lambda rows: (("a", "b", "c"),) * len(rows),
    )
    rows = Rows(
        ids=("r0", "r1"),
        inputs={"source": np.array([[1, 2, 3], [4, 5, 6]]), "target": np.array([[7, 8], [9, 10]])},
    )
    reading = read(subject, rows)
    assert reading.is_pair and places(reading) == [[1], [1]]


def test_rows_run_together_as_far_as_memory_allows() -> None:
    subject, rows = reader(Reader()), vectors(6, 6, 6, 6)
    kept = bytes_kept(subject, subject.encode(rows))
    assert bytes_kept(subject, subject.encode(vectors(60))) > 8 * kept
    for fitting, runs in ((kept * 4, [1, 4]), (kept * 2, [1, 2, 2]), (1, [1, 1, 1, 1, 1])):
        sizes: list[int] = []

        def counted(batch, embedded, sizes=sizes):
            sizes.append(len(batch["x"]))
            return subject.forward(batch, embedded)

        attention_rollout(dataclasses.replace(subject, forward=counted), rows, max_memory=fitting)
        assert sizes == runs


# Refusals


class Marked(nn.Module):
    """A Reader that puts a vector of its own before the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.reader = Reader("first")
        self.mark = nn.Parameter(torch.randn(1, 1, WIDTH))

    def forward(self, x: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        x = torch.cat([self.mark.expand(len(x), -1, -1), x], dim=1)
        return self.reader(x, torch.cat([torch.ones_like(real[:, :1]), real], dim=1))


def test_a_first_token_that_is_not_named_is_refused_and_named_it_is_left_out_and_told() -> None:
    rows = vectors(4, 2)
    with pytest.raises(
        ModelError, match=r"blocks.0.attention attends over 3 positions of row 'v1'.* 2 tokens.*prefix="
    ):
        attention_rollout(reader(Marked()), rows)
    made = attention_rollout(reader(Marked(), prefix=("[MARK]",)), rows)
    assert made.scores.shape == (2, 4) and (made.scores[1, 2:] == 0).all()
    told = next(note for note in made.notes if "[MARK]" in note)
    left = 1 - made.scores.sum(axis=1).mean()
    assert told.startswith(f"{left:.1%} ") and 0.01 < left < 0.99


class Halved(nn.Module):
    """A Reader over every second position."""

    def __init__(self) -> None:
        super().__init__()
        self.reader = Reader()

    def forward(self, x: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        return self.reader(x[:, ::2], real[:, ::2])


def test_positions_that_are_not_the_tokens_are_refused() -> None:
    with pytest.raises(ModelError, match="other positions than its 5 tokens"):
        attention_rollout(reader(Halved()), vectors(5, 4))


def test_a_target_read_from_padding_is_refused() -> None:
    subject = reader(Reader("end"))
    with pytest.raises(ModelError, match="from padding alone in 1 rows, first 'v1'"):
        raw_attention(subject, vectors(4, 2))
    assert raw_attention(subject, vectors(4, 4)).scores.min() > 0  # control: there it is a token


def test_rows_of_padding_alone_are_refused() -> None:
    with pytest.raises(DataError, match=r"1 rows have no token, only padding; first rows: 'v1'"):
        attention_x_gradient(reader(Reader()), vectors(3, 0, 2))
    hidden = reader(
        Reader("first"), encode=lambda rows: {**plain.encode(rows), "real": torch.zeros(2, 3).bool()}
    )
    plain = reader(Reader("first"))
    with pytest.raises(DataError, match="padding alone"):
        attention_x_gradient(hidden, vectors(3, 3))
    with pytest.raises(DataError, match="no rows"):
        attention_x_gradient(plain, vectors(3).take([]))


def test_a_model_without_attention_or_known_by_its_weights_alone_is_refused() -> None:
    subject = reader(Reader(layers=0))
    with pytest.raises(CaptureError, match="no attention call was seen"):
        attention_rollout(subject, vectors(3))


def test_a_module_wrapped_without_embeddings_can_be_read() -> None:
    module = Reader().double().eval()
    subject = wrap(
        module,
        lambda batch: module(batch["x"], batch["x"][:, :, 0] == batch["x"][:, :, 0]),
        encode=lambda rows: {"x": torch.from_numpy(np.stack(list(rows.inputs["vectors"])))},
        names=lambda rows: (("a", "b", "c"),) * len(rows),
    )
    made = attention_x_gradient(subject, vectors(3, 3))
    assert np.abs(made.scores).min() > 0


def test_our_transformer_reads_at_its_class_token() -> None:
    rows = applicants(6)
    subject = fitted(rows, epochs=0)
    reading = read(subject, rows)
    assert places(reading) == [[0]] * 6 and reading.n_tokens == (4,) * 6
