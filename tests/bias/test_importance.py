"""Shapley values of items, and nested slices: by definition, laws, known answers."""

import numpy as np
import pytest

from clinometer.bias.importance import contributions, global_importance
from clinometer.bias.items import code_columns
from clinometer.bias.itemsets import find_itemsets
from clinometer.bias.redundancy import group_nested, nearest_parents, overlap
from reference.slice_search import global_divergence, shapley


@pytest.fixture(scope="module")
def found():
    """Columns, itemsets and divergences of a table in which one pair is worse."""
    generator = np.random.default_rng(0)
    columns = {f"c{j}": generator.choice(["u", "v", "w"], size=300, p=[0.6, 0.3, 0.1]) for j in range(4)}
    value = generator.random(300) < np.where((columns["c0"] == "v") & (columns["c1"] == "v"), 0.8, 0.2)
    coded = code_columns(columns)
    itemsets = find_itemsets(coded, minimum=5, marked=value)
    divergence = itemsets.hits / itemsets.support - value.mean()
    named = {
        frozenset((item.column, item.value) for item in itemsets.named(i)): float(divergence[i])
        for i in range(len(itemsets))
    }
    return coded, itemsets, divergence, {frozenset(): 0.0, **named}


def test_contributions_are_gains_averaged_over_orders_and_add_up(found):
    _, itemsets, divergence, named = found
    without = itemsets.without_each()
    assert itemsets.size.max() == 4
    for i in range(len(itemsets)):
        items = [(item.column, item.value) for item in itemsets.named(i)]
        made = contributions(i, without, divergence)
        expected = shapley(items, named)
        assert made == pytest.approx([expected[item] for item in items], abs=1e-12)
        assert sum(made) == pytest.approx(divergence[i], abs=1e-12)


def test_global_importance_is_the_papers_sum(found):
    coded, itemsets, divergence, named = found
    n_values = tuple(len(values) for values in coded.values)
    made = global_importance(itemsets, itemsets.without_each(), divergence, n_values)
    sizes = dict(zip(coded.names, n_values, strict=True))
    for item, one in zip(itemsets.items, made, strict=True):
        assert one == pytest.approx(global_divergence((item.column, item.value), named, sizes), abs=1e-12)
    top = {str(itemsets.items[i]) for i in np.argsort(-made)[:2]}
    assert top == {"c0=v", "c1=v"}


def test_an_item_that_changes_nothing_counts_nothing():
    value = np.tile([True, True, False, False], 25)
    columns = {"same": np.tile(["a", "b"], 50), "what": np.where(value, "x", "y")}
    coded = code_columns(columns)
    itemsets = find_itemsets(coded, minimum=1, marked=value)
    divergence = itemsets.hits / itemsets.support - 0.5
    made = dict(
        zip(
            map(str, itemsets.items),
            global_importance(itemsets, itemsets.without_each(), divergence, (2, 2)),
            strict=True,
        )
    )
    assert made["same=a"] == made["same=b"] == 0.0
    # 1/2 . 1/2 . 1/2 alone, and with each of two values of the other column 1/2 . 1/4 . 1/2
    assert made["what=x"] == pytest.approx(0.25) and made["what=y"] == pytest.approx(-0.25)


def test_the_nearest_parent_and_what_is_added(found):
    _, itemsets, divergence, named = found
    parent, added = nearest_parents(itemsets.without_each(), divergence, 0.0)
    for i in range(len(itemsets)):
        mine = frozenset((item.column, item.value) for item in itemsets.named(i))
        gains = {mine - {item}: named[mine] - named[mine - {item}] for item in mine}
        nearest = min(gains.values(), key=abs)
        assert added[i] == pytest.approx(nearest, abs=1e-12)
        if len(mine) == 1:
            assert parent[i] == -1
        else:
            above = frozenset((item.column, item.value) for item in itemsets.named(parent[i]))
            assert above < mine and gains[above] == pytest.approx(nearest, abs=1e-12)


def test_overlap_is_jaccards_index_of_rows():
    rows = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 1]], dtype=np.uint8)
    jaccard, nested = overlap(rows, np.array([2, 3, 5, 1]))
    assert (
        jaccard[0, 1] == pytest.approx(5 / 10)
        and jaccard[1, 2] == pytest.approx(5 / 11)
        and jaccard[0, 2] == 0
    )
    assert nested.tolist() == [[True, True, False], [True, True, False], [False, False, True]]


def test_groups_are_nested_alike_in_direction_and_led_by_what_is_not_redundant():
    effect = np.array([0.3, 0.2, -0.2, 0.1, 0.1])
    nested = np.eye(5, dtype=bool)
    for a, b in ((0, 1), (0, 2), (3, 4)):
        nested[a, b] = nested[b, a] = True
    jaccard = np.eye(5)
    none = np.zeros(5, dtype=bool)
    assert group_nested(effect, jaccard, nested, none, 0.8).tolist() == [0, 0, 1, 2, 2]
    first_redundant = np.array([True, False, False, False, False])
    assert group_nested(effect, jaccard, nested, first_redundant, 0.8).tolist() == [0, 0, 1, 2, 2]
    assert group_nested(effect, jaccard, np.eye(5, dtype=bool), none, 0.8).tolist() == [0, 1, 2, 3, 4]
    jaccard[3, 1] = jaccard[1, 3] = 0.9
    assert group_nested(effect, jaccard, np.eye(5, dtype=bool), none, 0.8).tolist() == [0, 1, 2, 1, 3]
