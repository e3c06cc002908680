"""Slices at their limits: fewest rows and clusters on either side, and the shorter slice that says a longer one."""

import numpy as np
import pytest

from clinometer.bias.slices import slices_of
from clinometer.errors import DataError, UsageError

SETTINGS = {"permutations": 99, "min_count": 2, "most": 1000, "depth": 1}


def names(found):
    return {one.name for one in found.slices}


def clustered(times=5):
    """40 clusters: 4 hold one value and 5 another; of a second column 4 lack what all others hold."""
    at = np.arange(40)
    first = np.where(at < 4, "four", np.where(at < 9, "five", "rest"))
    second = np.where(at % 10 == 9, "few", "most")
    value = np.random.default_rng(0).normal(size=40 * times)
    columns = {"c": np.repeat(first, times), "d": np.repeat(second, times)}
    return columns, value, np.repeat(at, times)


def test_a_slice_and_its_complement_need_five_clusters():
    columns, value, cluster = clustered()
    found = slices_of(columns, value, cluster=cluster, min_support=0.01, **SETTINGS)
    assert names(found) == {"c=five", "c=rest"}
    assert {one.name: one.n_clusters for one in found.slices} == {"c=five": 5, "c=rest": 31}
    assert found.n_searched == 5 and found.n_tested == 2


def test_rows_without_clusters_need_no_more_than_the_smallest_count():
    columns, value, _ = clustered(1)
    found = slices_of(columns, value, min_support=0.01, **SETTINGS)
    assert names(found) == {"c=four", "c=five", "c=rest", "d=few", "d=most"}
    assert all(one.n_clusters is None for one in found.slices)
    five = slices_of(columns, value, min_support=0.01, **{**SETTINGS, "min_count": 5})
    assert names(five) == {"c=five", "c=rest"}  # of d=most the complement has four rows


def test_what_cannot_be_compared_says_how_many_rows_or_clusters_are_missing():
    columns, value, cluster = clustered()
    one = {"d": columns["d"]}
    with pytest.raises(DataError) as raised:
        slices_of(one, value, cluster=cluster, **SETTINGS)
    assert str(raised.value) == (
        "none of 2 slices can be compared with its complement: either value does not vary, or every slice leaves "
        "fewer than 2 rows or 5 clusters outside it. Name columns that divide the rows."
    )
    with pytest.raises(DataError) as raised:
        slices_of({"d": np.full(40, "x")}, value[:40], **SETTINGS)
    assert str(raised.value) == (
        "none of 1 slices can be compared with its complement: either value does not vary, or every slice leaves "
        "fewer than 2 rows outside it. Name columns that divide the rows."
    )
    with pytest.raises(DataError) as raised:
        slices_of({"d": [str(i) for i in range(40)]}, value[:40], **SETTINGS)
    assert str(raised.value) == (
        "no slice holds 2 of the 40 rows of the denominator. Lower min_support or min_count, or give more rows."
    )


def test_every_longer_slice_has_a_shorter_one_and_what_its_last_item_adds():
    """The first slice of all, where the search begins to count, is the shorter one of some as well."""
    generator = np.random.default_rng(1)
    columns = {name: generator.choice(["u", "v"], 400) for name in "abc"}
    value = generator.normal(size=400) + (columns["a"] == "u") + 0.5 * (columns["b"] == "v")
    found = slices_of(columns, value, **{**SETTINGS, "depth": 3})
    whole = {one.items: one for one in found.slices}
    assert len(whole) == found.n_searched == 6 + 12 + 8
    for one in found.slices:
        if len(one.items) == 1:
            assert (one.parent, one.parent_effect, one.incremental_effect) == (None, None, None)
            continue
        shorter = whole[one.parent]
        assert set(one.parent) < set(one.items) and len(one.parent) == len(one.items) - 1
        assert one.parent_effect == pytest.approx(shorter.effect)
        assert one.incremental_effect == pytest.approx(one.estimate - shorter.estimate)
    parents = {"".join(map(str, one.parent)) for one in found.slices if one.parent and len(one.parent) == 1}
    assert "a=u" in parents, "the first of all slices"


@pytest.mark.parametrize(
    ("name", "bad", "fine"),
    [
        ("min_support", (0.0, 1.0, -0.1), (0.999, 1e-6)),
        ("alpha", (0.0, 1.0, -0.1), (0.999, 0.01)),
        ("jaccard", (0.0, 1.01, -0.1), (1.0, 0.01)),
        ("min_count", (1, 0), (2,)),
        ("depth", (0, -1), (1,)),
        ("most", (0, -1), (1,)),
        ("permutations", (98, 0), (99,)),
        ("epsilon", (-1e-9, float("nan")), (0.0, 9.0)),
    ],
)
def test_numbers_of_a_search_at_their_limits(name, bad, fine):
    columns = {"c": ["u", "v"] * 300, "d": ["x"] * 599 + ["y"]}
    value = np.random.default_rng(2).normal(size=600)
    for number in fine:
        settings = {**SETTINGS, name: number}
        if (name, number) == ("min_support", 0.999):
            with pytest.raises(DataError, match="no slice holds 600 of the 600 rows"):
                slices_of(columns, value, **settings)
        else:
            assert slices_of(columns, value, **settings).slices
    for number in bad:
        with pytest.raises(UsageError, match=f"^{name} is {number}; .* expected"):
            slices_of(columns, value, **{**SETTINGS, name: number})


def test_too_few_permutations_for_alpha_are_refused_and_just_enough_are_taken():
    columns = {"c": ["u", "v"] * 300}
    value = np.random.default_rng(3).normal(size=600)
    assert slices_of(columns, value, **{**SETTINGS, "alpha": 0.01}).permutations == 99
    with pytest.raises(UsageError) as raised:
        slices_of(columns, value, **{**SETTINGS, "alpha": 0.0099})
    assert str(raised.value) == (
        "99 permutations have no p-value below 0.01, too few for alpha 0.0099. Take 101 permutations or more."
    )
    with pytest.raises(UsageError, match="Take 399 permutations or more"):
        slices_of(columns, value, confirm=0.5, **SETTINGS)
    assert slices_of(columns, value, confirm=0.5, **{**SETTINGS, "permutations": 399}).n_confirm == 300
