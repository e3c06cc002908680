"""A number of each row's name: the same whenever it is asked for, whatever other rows there are."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Words = npt.NDArray[np.uint64]
# What a number is for is part of what is hashed: which rows judge says nothing of how they are decided.
Purpose = Literal["row", "cluster", "split", "stratum", "decision"]


def id_words(ids: Sequence[str], purpose: Purpose, seed: int = 0) -> Words:
    """64 bits of each name (BLAKE2b, keyed with the seed and the purpose), (row,)."""
    begin = blake2b(
        digest_size=8, key=str(seed).encode(), person=b"clinometer", salt=purpose.encode()
    )  # one state, copied for each name
    held = bytearray()
    for name in ids:
        state = begin.copy()
        state.update(name.encode())
        held += state.digest()
    return np.frombuffer(bytes(held), dtype=">u8").astype(np.uint64)


def id_draws(ids: Sequence[str], purpose: Purpose, seed: int = 0) -> Floats:
    """A uniform number in [0, 1) of each name, (row,): the first 53 of its bits."""
    made: Floats = (id_words(ids, purpose, seed) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return made
