"""Which keys are special, separators, rare or named, at the places where they stand."""

import numpy as np
import pytest

from clinometer.errors import UsageError
from clinometer.interpret.token_classes import (
    check_names,
    count_tokens,
    feature_classes,
    token_classes,
)

TOKENS = [("[CLS]", "a", "▁film", ".", "[SEP]"), ("[CLS]", "odd", "[SEP]")]
SPECIAL = ("[CLS]", "[SEP]", "[PAD]")


def test_places_of_each_class() -> None:
    found = token_classes(TOKENS, 6, special=SPECIAL)
    assert set(found) == {"special tokens", "separator"}  # nothing is known of rareness
    assert np.flatnonzero(found["special tokens"][0]).tolist() == [0, 4]
    assert np.flatnonzero(found["separator"][0]).tolist() == [3, 4]
    assert np.flatnonzero(found["separator"][1]).tolist() == [2]


def test_padding_on_the_left_moves_them_and_belongs_to_no_class() -> None:
    found = token_classes(TOKENS, 6, special=SPECIAL, padded_left=[1, 3])
    assert np.flatnonzero(found["special tokens"][0]).tolist() == [1, 5]
    assert np.flatnonzero(found["special tokens"][1]).tolist() == [3, 5]
    assert found["special tokens"].dtype == bool


def test_rare_is_below_the_stated_part_of_the_corpus() -> None:
    counts = {"a": 989, "▁film": 10, "odd": 1, "[CLS]": 0}
    rare = token_classes(TOKENS, 6, special=SPECIAL, frequencies=counts, rare_below=0.005)["rare"]
    assert np.argwhere(rare).tolist() == [[1, 1]]
    more = token_classes(TOKENS, 6, special=SPECIAL, frequencies=counts, rare_below=0.05)["rare"]
    assert np.argwhere(more).tolist() == [
        [0, 2],
        [1, 1],
    ]  # special tokens and separators are never rare words
    assert count_tokens(TOKENS)["[CLS]"] == 2


def test_named_features_and_refusals() -> None:
    found = feature_classes(TOKENS, 6, ["a", "odd"])
    assert np.argwhere(found["odd"]).tolist() == [[1, 1]]
    check_names(TOKENS, ["a"])
    with pytest.raises(UsageError, match="no token is named 'odn'; did you mean 'odd'"):
        check_names(TOKENS, ["odn"])
    with pytest.raises(UsageError, match="example 0 has 5 tokens and 2 before them, the call 6 keys"):
        token_classes(TOKENS, 6, padded_left=[2, 0])
    with pytest.raises(UsageError, match="rare_below is 1"):
        token_classes(TOKENS, 6, rare_below=1)
