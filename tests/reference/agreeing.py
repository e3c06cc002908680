"""Statistics of one call by two engines: equal to what float32 allows."""

import numpy as np

from clinometer.interpret.reductions import Statistics

SHARES = ("peak", "first", "itself", "previous", "following", "mass", "received")


def agree(one: Statistics, other: Statistics, *, engine: str) -> None:
    """Shares to 1e-5, entropy to 1e-4, distance to 1e-5 of the length; the first by this engine, the other by torch."""
    assert (one.engine, other.engine) == (engine, "torch")
    for name in SHARES:
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-5, rtol=0, err_msg=name)
    for name, members in one.shares.items():
        np.testing.assert_allclose(members, other.shares[name], atol=1e-5, rtol=0, err_msg=name)
    np.testing.assert_allclose(one.entropy, other.entropy, atol=1e-4, rtol=0)
    np.testing.assert_allclose(one.distance, other.distance, atol=1e-5 * max(16, one.n_keys), rtol=0)
    for name in ("valid", "n_allowed"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    if one.top is not None and other.top is not None:
        np.testing.assert_allclose(one.top[1], other.top[1], atol=1e-5, rtol=0)
