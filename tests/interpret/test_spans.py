"""Sub-tokens, words, sentences, marked spans, windows, groups: sums are kept, and offsets are those of the text."""

from itertools import pairwise

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from clinometer.errors import DataError, ModelError, UsageError
from clinometer.interpret.methods import attribute
from clinometer.interpret.models import load
from clinometer.interpret.spans import in_groups, in_sentences, in_spans, in_windows, in_words, words
from clinometer.records import Rows
from reference.model_folders import text_folder
from reference.subjects import applicants, fitted

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"  # three people in one emoji
WAVE = "\U0001f44b\U0001f3fd"  # a hand and a skin tone
TEXT = (
    f"Don't  re-read the caf\u00e9, na\u00efve {FAMILY}{WAVE} \u6620\u753b\u306f\u826f\u3044 "
    "\u0939\u093f\u0928\u094d\u0926\u0940 x_1!"
)
LEARN = [" ".join(TEXT), "the film the cafe read", "a good film about a dull man"] * 3


def trained(kind):
    special = ["<unk>"]
    if kind == "byte-level BPE":
        backend = tokenizers.Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
        )
    elif kind == "metaspace unigram":
        backend = tokenizers.Tokenizer(models.Unigram())
        backend.normalizer = normalizers.NFKC()
        backend.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=120, unk_token="<unk>", special_tokens=special, show_progress=False
        )
    else:
        backend = tokenizers.Tokenizer(models.WordPiece(unk_token="<unk>"))
        backend.normalizer = normalizers.BertNormalizer(lowercase=True)
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(vocab_size=120, special_tokens=special, show_progress=False)
    backend.train_from_iterator(LEARN, trainer)
    return backend


def units(kind, text):
    offsets = trained(kind).encode(text).offsets
    index, ranges = words(text, offsets)
    assert sorted(set(index)) == list(range(len(ranges))), "every unit has a token"
    return [text[a:b] for a, b in ranges], offsets, index, ranges


@pytest.mark.parametrize("kind", ["byte-level BPE", "metaspace unigram", "WordPiece"])
def test_words_of_every_kind_of_tokenizer_are_those_of_the_text(kind):
    found, *_ = units(kind, TEXT)
    for word in ("Don't", "re", "-", "read", "the", "caf\u00e9", ",", "na\u00efve", "x_1", "!"):
        assert word in found
    spaced = "\u0939\u093f\u0928\u094d\u0926\u0940"
    assert spaced in found, "vowel signs belong to their word"
    assert any(FAMILY in word for word in found), "an emoji of several characters is never parted"
    sentence = "\u6620\u753b\u306f\u826f\u3044"
    assert not any(sentence in word for word in found), "a Japanese sentence is no single word"


def test_the_bytes_of_one_character_are_never_parted():
    found, offsets, index, _ = units("byte-level BPE", "\U0001f600 ok")
    assert found == ["\U0001f600", "ok"]
    assert len(offsets) > 3 and index[:2] == [0, 0]


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=40))
def test_every_token_is_in_one_unit_and_units_never_overlap(text):
    offsets = BPE.encode(text).offsets
    index, ranges = words(text, offsets)
    assert len(index) == len(offsets) and all(0 <= i < len(ranges) for i in index)
    solid = sorted(r for r in ranges if r[0] < r[1])
    assert all(a[1] <= b[0] for a, b in pairwise(solid))
    for token, (start, end) in enumerate(offsets):
        low, high = ranges[index[token]]
        stripped = text[start:end].strip()
        assert not stripped or (low <= start + text[start:end].index(stripped[0]) < high)


BPE = trained("byte-level BPE")


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reader")
    text_folder(folder, "BertForSequenceClassification")
    subject = load(folder, dtype="float64")
    texts = ["the filmgood is bad. Is it? yes!", "dog, dog", "unseenwordhere"]
    rows = Rows(ids=("a", "b", "c"), inputs={"text": np.array(texts, dtype=object)})
    return subject, rows, attribute(subject, rows)


def test_sub_tokens_add_up_to_words_and_sums_are_kept(read):
    subject, rows, whole = read
    made = in_words(subject, rows, whole)
    assert made.tokens[0] == (
        "[CLS]", "the", "filmgood", "is", "bad", ".", "Is", "it", "?", "yes", "!", "[SEP]",
    )  # fmt: skip
    assert len(whole.tokens[0]) > len(made.tokens[0]), "some words have several tokens"
    np.testing.assert_allclose(made.scores.sum(axis=1), whole.scores.sum(axis=1), atol=1e-14)
    np.testing.assert_allclose(made.residual, whole.residual, atol=1e-14)
    pieces = [i for i, name in enumerate(whole.tokens[2]) if name not in ("[CLS]", "[SEP]")]
    assert made.scores[2, 1] == pytest.approx(whole.scores[2, pieces].sum())
    assert made.tokens[1] == ("[CLS]", "dog", ",", "dog", "[SEP]"), "a word that comes twice is there twice"


def test_sentences_and_marked_spans(read):
    subject, rows, whole = read
    made = in_sentences(subject, rows, whole)
    assert made.tokens[0] == ("[CLS]", "the filmgood is bad.", "Is it?", "yes!", "[SEP]")
    np.testing.assert_allclose(made.scores.sum(axis=1), whole.scores.sum(axis=1), atol=1e-14)
    marked = in_spans(
        subject, rows, whole, {"a": [(4, 12, "subject"), (13, 19, "claim")], "b": [(5, 8, "second")]}
    )
    assert marked.tokens[0] == ("alone", "subject", "claim")
    assert marked.tokens[2] == ("alone",)
    by_word = in_words(subject, rows, whole)
    assert marked.scores[1, marked.tokens[1].index("second")] == pytest.approx(by_word.scores[1, 3])
    with pytest.raises(UsageError, match="overlaps"):
        in_spans(subject, rows, whole, {"a": [(0, 8, "x"), (7, 9, "y")]})
    with pytest.raises(UsageError, match="beyond the text"):
        in_spans(subject, rows, whole, {"b": [(5, 90, "x")]})
    with pytest.raises(UsageError, match="rows that are not there: 'z'"):
        in_spans(subject, rows, whole, {"z": []})


def test_windows_and_groups_of_features():
    rows = applicants(12)
    subject = fitted(rows, epochs=2)
    whole = attribute(subject, rows)
    made = in_windows(whole, 3)
    assert made.tokens[0] == ("income to noise", "home")
    np.testing.assert_allclose(made.scores[:, 0], whole.scores[:, :3].sum(axis=1))
    grouped = in_groups(whole, {"money": ["income", "debt"]})
    assert grouped.features == ("money", "noise", "home")
    np.testing.assert_allclose(grouped.scores[:, 0], whole.scores[:, :2].sum(axis=1))
    np.testing.assert_allclose(grouped.residual, whole.residual, atol=1e-14)
    with pytest.raises(UsageError, match="no 'incom'"):
        in_groups(whole, {"money": ["incom"]})
    with pytest.raises(UsageError, match="in two groups"):
        in_groups(whole, {"money": ["income"], "more": ["income"]})
    with pytest.raises(UsageError, match="window of 0"):
        in_windows(whole, 0)
    with pytest.raises(ModelError, match="does not read texts"):
        in_words(subject, rows, whole)


def test_rows_of_another_text_are_refused(read):
    subject, rows, whole = read
    with pytest.raises(DataError, match="ids differ"):
        in_words(subject, rows.take([1, 0, 2]), whole)
    with pytest.raises(DataError, match="tokens in the attribution"):
        in_words(subject, rows, in_words(subject, rows, whole))
