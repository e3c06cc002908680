"""A ledger adds up, its simultaneous intervals hold their rate, and what cannot be compared is refused."""

import dataclasses

import numpy as np
import pytest

from clinometer.bias.ledger import contrast_of, grouped, ledger, null_coverage
from clinometer.errors import DataError
from clinometer.records import Attribution


def attribution(n=620, features=20, *, seed=0, residual=1e-4, shift=0.0, n_group=120):
    """Heavy-tailed, correlated scores; the first feature differs between the groups by `shift`."""
    generator = np.random.default_rng(seed)
    scores = generator.standard_t(5, size=(n, features)) * np.linspace(0.1, 1, features)
    scores += 0.5 * generator.normal(size=(n, 1))
    scores[:n_group, 0] += shift
    value = scores.sum(axis=1) + 1.5 + residual * generator.normal(size=n)
    return Attribution(
        method="integrated gradients",
        target="logit(yes) - logit(no)",
        unit="logit",
        baseline="the reference row",
        ids=tuple(f"r{i}" for i in range(n)),
        tokens=(tuple(f"f{i}" for i in range(features)),) * n,
        scores=scores,
        value=value,
        base_value=np.full(n, 1.5),
        nodes=np.full(n, 20),
        converged=np.arange(n) % 100 != 3,
        tolerance=np.full(n, 0.01),
    )


def compared(made, n_group=120):
    groups = ["a"] * n_group + ["b"] * (len(made) - n_group)
    return contrast_of(made.ids, groups, "group", "a", "b")


def test_shares_and_residual_are_the_gap():
    made = attribution(shift=2.0)
    entry = ledger(made, compared(made), replicates=200)
    assert sum(s.estimate for s in entry.shares) + entry.residual == pytest.approx(entry.gap, abs=1e-12)
    assert entry.gap == pytest.approx(made.value[:120].mean() - made.value[120:].mean(), abs=1e-12)
    assert entry.residual == pytest.approx(made.residual[:120].mean() - made.residual[120:].mean(), abs=1e-12)
    assert entry.n_not_converged == 7
    for share in entry.shares:
        assert share.simultaneous_low <= share.low <= share.estimate <= share.high <= share.simultaneous_high
    assert entry.gap_low < entry.gap < entry.gap_high


def test_a_planted_share_is_found_and_is_the_largest():
    made = attribution(shift=2.0)
    entry = ledger(made, compared(made), replicates=400)
    assert entry.ranked[0].unit == "f0"
    assert entry.ranked[0].simultaneous_low > 1.5
    assert entry.ranked[0].simultaneous_high < 2.5
    others = [s for s in entry.shares if s.unit != "f0"]
    assert all(s.simultaneous_low < 0 < s.simultaneous_high for s in others)


def test_simultaneous_intervals_cover_zero_at_their_rate_under_permuted_groups():
    made = attribution()
    rate = null_coverage(made, compared(made), permutations=300, replicates=300)
    error = np.sqrt(0.95 * 0.05 / 300)
    assert abs(rate - 0.95) <= 3 * error


def test_pointwise_intervals_would_not_do():
    """The control's own control: without the adjustment over 20 units the coverage is far from nominal."""
    made = attribution()
    generator = np.random.default_rng(1)
    covered = 0
    for i in range(40):
        groups = np.where(generator.permutation(len(made)) < 120, "a", "b")
        entry = ledger(
            made, contrast_of(made.ids, groups.tolist(), "group", "a", "b"), replicates=100, seed=i
        )
        covered += all(s.low <= 0 <= s.high for s in entry.shares)
    assert covered / 40 < 0.85


def test_units_add_features_up_and_keep_the_sum():
    made = attribution(features=4)
    units = {"f0": "money", "f1": "money", "f2": "money"}
    names, scores = grouped(made, units)
    assert names == ("money", "f3")
    np.testing.assert_allclose(scores.sum(axis=1), made.scores.sum(axis=1))
    fine, coarse = (ledger(made, compared(made), units=u, replicates=100) for u in (None, units))
    assert coarse.shares[0].estimate == pytest.approx(sum(s.estimate for s in fine.shares[:3]))
    assert coarse.residual == pytest.approx(fine.residual)


def test_the_order_of_rows_changes_no_share():
    made = attribution(features=5)
    order = np.random.default_rng(2).permutation(len(made))
    turned = dataclasses.replace(
        made,
        ids=tuple(made.ids[i] for i in order),
        **{
            k: getattr(made, k)[order]
            for k in ("scores", "value", "base_value", "nodes", "converged", "tolerance")
        },
    )
    groups = np.array(["a"] * 120 + ["b"] * 500)[order].tolist()
    first = ledger(made, compared(made), replicates=100)
    second = ledger(turned, contrast_of(turned.ids, groups, "group", "a", "b"), replicates=100)
    for a, b in zip(first.shares, second.shares, strict=True):
        assert a.estimate == pytest.approx(b.estimate, abs=1e-12)


def test_rows_of_no_group_weigh_nothing_and_everyone_else_is_a_reference():
    ids = tuple("abcdefg")
    made = contrast_of(ids, ["x", "x", "y", "y", "z", None, None], "g", "x")
    np.testing.assert_allclose(made.weights, [0.5, 0.5, -1 / 3, -1 / 3, -1 / 3, 0, 0])
    assert made.gap(np.array([1, 3, 1, 1, 4, 99, 99.0])) == pytest.approx(0.0)


def test_a_constant_feature_has_no_width():
    made = attribution(features=3)
    made.scores[:, 1] = 0.25
    entry = ledger(made, compared(made), replicates=100)
    constant = entry.shares[1]
    assert constant.estimate == pytest.approx(0.0, abs=1e-15)
    assert constant.simultaneous_high - constant.simultaneous_low == pytest.approx(0.0, abs=1e-12)


def test_what_cannot_be_divided_is_refused():
    made = attribution(features=3)
    with pytest.raises(DataError, match="0 rows of 'c'"):
        contrast_of(made.ids, ["a"] * len(made), "group", "c", "a")
    with pytest.raises(DataError, match="with itself"):
        contrast_of(made.ids, ["a", "b"] * 310, "group", "a", "a")
    with pytest.raises(DataError, match="another order"):
        ledger(made, dataclasses.replace(compared(made), ids=made.ids[::-1]))
    with pytest.raises(DataError, match="did you mean 'f1'"):
        ledger(made, compared(made), units={"f1x": "money"})
    with pytest.raises(DataError, match="50 or more"):
        ledger(made, compared(made), replicates=10)
    ragged = dataclasses.replace(made, tokens=(("f0",), *made.tokens[1:]))
    with pytest.raises(DataError, match="one list of features"):
        ledger(ragged, compared(made))
