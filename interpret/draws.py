"""Random draws of one row: the same whatever rows it is batched with, and of no effect on anybody else's draws."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def row_seed(seed: int, *of: str) -> int:
    """A number from 0 to 2^63 - 1 that depends on the seed and on what the draws are of: a row's id, a reference."""
    text = "\x1f".join((str(seed), *of))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


@contextmanager
def drawing(seed: int) -> Iterator[None]:
    """In the body, the global generators of NumPy and of torch on the CPU start at `seed`; afterwards they go on as before.

    Captum draws from these two and takes no generator. Generators of other devices are left alone, so that one seed
    gives the same draws on all of them: hand captum tensors on the CPU.
    """
    kept = np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            np.random.set_state(kept)
