"""Classes of tokens whose share of attention is counted: special tokens, separators, rare words, features."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from operator import eq

import numpy as np
from jaxtyping import Bool

from ..errors import UsageError, did_you_mean

SEPARATORS = frozenset(".,;:!?…。、，；：！？।؟،") | {"[SEP]", "</s>", "<|endoftext|>", "<eos>", "<sep>"}
MARKS = "▁Ġ"  # how subword tokenizers write the space before a word


def token_classes(
    tokens: Sequence[Sequence[str]],
    n_keys: int,
    *,
    special: Collection[str] = (),
    frequencies: Mapping[str, int] | None = None,
    rare_below: float = 1e-3,
    padded_left: Sequence[int] | None = None,
) -> dict[str, Bool[np.ndarray, "example key"]]:
    """Which keys belong to which class; only classes with a member somewhere are returned.

    "special tokens": the tokenizer's own. "separator": punctuation and tokens that end a segment (Clark et al.
    2019 look at the two together). "rare": tokens that make up less than `rare_below` of a corpus, special tokens
    and separators left out; only where `frequencies` tells.

    Args:
        tokens: the names of the keys of each example, padding left out.
        n_keys: keys of the call, padding included.
        special: names of special tokens.
        frequencies: token -> how often it was seen in a corpus (see `count_tokens`).
        rare_below: part of the corpus below which a token is rare, in (0, 1).
        padded_left: positions before each example that are padding; padding is at the end where None.

    Raises:
        UsageError: an example has more tokens than there are keys, or a number is out of range.
    """
    if not 0 < rare_below < 1:
        raise UsageError(f"rare_below is {rare_below}; expected a part of the corpus, between 0 and 1.")
    total = sum(frequencies.values()) if frequencies else 0

    def rare(token: str) -> bool:
        return frequencies is not None and frequencies.get(token, 0) < rare_below * total

    found = {
        "special tokens": mark(tokens, n_keys, lambda token: token in special, padded_left),
        "separator": mark(tokens, n_keys, lambda token: token.strip(MARKS) in SEPARATORS, padded_left),
        "rare": mark(
            tokens,
            n_keys,
            lambda token: rare(token) and token not in special and token.strip(MARKS) not in SEPARATORS,
            padded_left,
        ),
    }
    return {name: members for name, members in found.items() if members.any()}


def feature_classes(
    tokens: Sequence[Sequence[str]],
    n_keys: int,
    names: Sequence[str],
    padded_left: Sequence[int] | None = None,
) -> dict[str, Bool[np.ndarray, "example key"]]:
    """One class per named feature or word: the keys of that name; a class without members is returned too."""
    return {name: mark(tokens, n_keys, partial(eq, name), padded_left) for name in names}


def check_names(tokens: Sequence[Sequence[str]], names: Sequence[str]) -> None:
    """Refuse names that are no token of any example.

    Raises:
        UsageError: naming the first, and what it may have meant.
    """
    known = sorted({token for row in tokens for token in row})
    absent = [name for name in names if name not in known]
    if absent:
        raise UsageError(f"no token is named {absent[0]!r}; {did_you_mean(absent[0], known)}")


def count_tokens(tokens: Sequence[Sequence[str]]) -> dict[str, int]:
    """How often each token occurs, most frequent first."""
    return dict(Counter(token for row in tokens for token in row).most_common())


def mark(
    tokens: Sequence[Sequence[str]],
    n_keys: int,
    member: Callable[[str], bool],
    padded_left: Sequence[int] | None = None,
) -> Bool[np.ndarray, "example key"]:
    """True at the keys whose token is a member.

    Raises:
        UsageError: an example has more tokens than there are keys.
    """
    marked = np.zeros((len(tokens), n_keys), dtype=np.bool_)
    for i, row in enumerate(tokens):
        start = padded_left[i] if padded_left is not None else 0
        if start + len(row) > n_keys:
            raise UsageError(
                f"example {i} has {len(row)} tokens and {start} before them, the call {n_keys} keys."
            )
        marked[i, start : start + len(row)] = [member(token) for token in row]
    return marked
