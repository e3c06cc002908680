"""Generated text as a measure, errors that name the row, terms counted whole and against chance."""

import math

import numpy as np
import pytest

from clinometer.bias.audit import audit
from clinometer.bias.generated import measured, mentions, representation, score_texts
from clinometer.errors import DataError, UsageError
from clinometer.evidence import from_columns

TERMS = {"women": ["she", "her", "woman"], "men": ["he", "his", "man"]}


def test_scores_and_a_measure_for_the_audit():
    texts = ["I cannot help with that.", "Here you are.", "I cannot.", "Yes.", ""]
    assert score_texts(texts, len).tolist() == [24, 13, 9, 4, 0]
    rows = from_columns({"text": texts, "dialect": ["a", "b", "a", "b", "b"]}, groups=["dialect"])
    more = measured(rows, "text", lambda text: text.startswith("I cannot"), "refusal", between=(0, 1))
    assert more.measures == ("refusal",) and more.column("refusal").tolist() == [1, 0, 1, 0, 0]
    assert rows.measures == (), "the evidence given is left as it was"
    means = {cell.group: cell.estimate for cell in audit(more).cells if cell.metric == "refusal"}
    assert means["a"] == 1 and means["b"] == 0


def test_errors_name_the_row():
    def fails(text):
        if text == "bad":
            raise KeyError("no such word")
        return 1.0

    with pytest.raises(DataError, match="row 'r2': fails raised KeyError: 'no such word'") as caught:
        score_texts(["good", "bad"], fails, ids=["r1", "r2"])
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(DataError, match="row '0': <lambda> gave None; a number"):
        score_texts(["a"], lambda text: None)
    with pytest.raises(DataError, match="row '0': <lambda> gave nan; a finite"):
        score_texts(["a"], lambda text: math.nan)
    with pytest.raises(DataError, match="row '1': len gave 2; between 0 and 1"):
        score_texts(["a", "ab"], len, between=(0, 1))
    with pytest.raises(DataError, match="1 rows have no text, first: '1'"):
        score_texts(["a", None], len)
    with pytest.raises(DataError, match="1 texts and 2 ids"):
        score_texts(["a"], len, ids=["x", "y"])
    rows = from_columns({"text": ["a", "b"]})
    with pytest.raises(UsageError, match="no column 'prompt'"):
        measured(rows, "prompt", len, "length")
    with pytest.raises(UsageError, match="a column 'text' already"):
        measured(rows, "text", len, "text")


def test_terms_are_whole_words_in_any_case_and_the_longest_wins():
    counts = mentions(["She said he's the chairman. HER man?", ""], TERMS)
    assert counts.tolist() == [[2, 1], [0, 0]], "neither he's nor chairman is a term"
    long = mentions(["a police woman and a woman"], {"officers": ["police woman"], "women": ["woman"]})
    assert long.tolist() == [[1, 1]]
    assert mentions(["police"], {"officers": ["police woman"], "women": ["woman"]}).tolist() == [[0, 0]]


def test_representation_by_hand():
    made = representation(["he and his man", "she", "nobody"], TERMS, replicates=500)
    assert made.mentions == {"women": 1, "men": 3} and made.shares == {"women": 0.25, "men": 0.75}
    assert made.total_variation == pytest.approx(0.25) and made.n_texts_with == 2
    # The four equally likely draws: 3 - 1, 1 - 3, 4 - 0, 0 - 4.
    assert made.by_chance == pytest.approx((0.25 + 0.25 + 0.5 + 0.5) / 4, abs=0.02) and made.p == 1
    three = representation(["x", "x", "x"], {"a": ["x"], "b": ["y"], "c": ["z"]})
    assert three.total_variation == pytest.approx(2 / 3)


def test_nobody_mentioned_is_no_equality():
    made = representation(["nothing"], TERMS)
    assert made.total_variation is None and made.p is None and made.shares == {"women": None, "men": None}


def test_p_keeps_its_level_with_long_texts_and_finds_a_lean():
    generator = np.random.default_rng(0)
    false = true = 0
    for seed in range(100):
        fair = [" ".join([str(generator.choice(["he", "she"]))] * 8) for _ in range(20)]
        lean = [" ".join([str(generator.choice(["he", "she"], p=[0.9, 0.1]))] * 8) for _ in range(20)]
        false += representation(fair, TERMS, replicates=199, seed=seed).p <= 0.05
        true += representation(lean, TERMS, replicates=199, seed=seed).p <= 0.05
    assert false <= 12 and true >= 85


def test_refusals_of_terms():
    with pytest.raises(DataError, match="terms of 1 groups"):
        representation(["a"], {"women": ["she"]})
    with pytest.raises(DataError, match="group 'men' has no terms"):
        representation(["a"], {"women": ["she"], "men": []})
    with pytest.raises(DataError, match="'they' is of 'women' and of 'men'"):
        representation(["a"], {"women": ["they"], "men": ["they"]})
    with pytest.raises(DataError, match="has no word in it"):
        representation(["a"], {"women": ["?"], "men": ["he"]})
    with pytest.raises(UsageError, match="0 draws"):
        representation(["a"], TERMS, replicates=0)
