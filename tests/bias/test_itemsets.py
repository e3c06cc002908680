"""All conjunctions above a support: a slow twin, two engines, counts, and refusals."""

import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinometer.bias.items import code_columns
from clinometer.bias.itemsets import find_itemsets
from clinometer.errors import UsageError
from reference.slice_search import conjunctions

HAS_NUMBA = importlib.util.find_spec("numba") is not None
ENGINES = [
    "numpy",
    pytest.param("numba", marks=pytest.mark.skipif(not HAS_NUMBA, reason="numba is not installed")),
]


def table(n, n_columns, seed, n_values=3):
    generator = np.random.default_rng(seed)
    return {
        f"c{j}": generator.choice([f"v{i}" for i in range(n_values)], size=n, p=[0.6, 0.3, 0.1][:n_values])
        for j in range(n_columns)
    }


def as_dict(itemsets):
    return {
        frozenset((item.column, item.value) for item in itemsets.named(i)): (
            int(itemsets.support[i]),
            None if itemsets.hits is None else int(itemsets.hits[i]),
        )
        for i in range(len(itemsets))
    }


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=25)
@given(
    n=st.integers(1, 140),
    n_columns=st.integers(1, 5),
    minimum=st.integers(1, 12),
    depth=st.integers(1, 5),
    counted=st.booleans(),
    seed=st.integers(0, 999),
)
def test_the_same_as_the_slow_twin(engine, n, n_columns, minimum, depth, counted, seed):
    columns = table(n, n_columns, seed)
    generator = np.random.default_rng(seed)
    marked = generator.random(n) < 0.3
    count = generator.integers(0, 6, size=n) if counted else None
    found = find_itemsets(
        code_columns(columns), minimum=minimum, depth=depth, count=count, marked=marked, engine=engine
    )
    expected = conjunctions(
        columns, minimum, depth, None if count is None else count.tolist(), marked.tolist()
    )
    assert as_dict(found) == expected
    assert len(found) == len(expected) and found.engine == engine
    assert found.n == (n if count is None else count.sum())


@pytest.mark.skipif(not HAS_NUMBA, reason="numba is not installed")
def test_both_engines_find_the_same_in_the_same_order():
    coded = code_columns(table(5000, 8, 1), {"term": np.random.default_rng(2).random(5000) < 0.2})
    marked = np.random.default_rng(3).random(5000) < 0.1
    plain, compiled = (
        find_itemsets(coded, minimum=50, marked=marked, engine=engine) for engine in ("numpy", "numba")
    )
    assert len(plain) > 4096, "more than the compiled search first makes room for"
    for name in ("members", "support", "hits"):
        assert np.array_equal(getattr(plain, name), getattr(compiled, name))
    assert plain.items == compiled.items


@pytest.mark.parametrize("engine", ENGINES)
def test_terms_are_found_by_their_presence_alone(engine):
    held = np.arange(100) % 4 == 0
    coded = code_columns({"sex": ["f", "m"] * 50}, {"gay": held, "old": ~held})
    found = as_dict(find_itemsets(coded, minimum=1, engine=engine))
    assert found[frozenset([("gay", "present")])] == (25, None)
    assert frozenset([("gay", "present"), ("old", "present")]) not in found
    assert {value for key in found for name, value in key if name != "sex"} == {"present"}


def test_order_and_positions_of_shorter_slices():
    found = find_itemsets(code_columns(table(400, 6, 4)), minimum=8, engine="numpy")
    size = found.size
    assert np.all(np.diff(size) >= 0) and size.max() > 3
    for k in range(1, size.max() + 1):
        level = found.members[size == k].tolist()
        assert level == sorted(level)
    without = found.without_each()
    for i in range(len(found)):
        mine = [x for x in found.members[i].tolist() if x >= 0]
        for j in range(found.members.shape[1]):
            if j >= len(mine):
                assert without[i, j] == -2
                continue
            rest = mine[:j] + mine[j + 1 :]
            if not rest:
                assert without[i, j] == -1
            else:
                assert [x for x in found.members[without[i, j]].tolist() if x >= 0] == rest


def test_rows_collapsed_with_counts_are_the_same_rows():
    columns = table(300, 3, 5)
    rows, where, count = np.unique(
        np.stack(list(columns.values())), axis=1, return_index=True, return_counts=True
    )
    assert len(where) < 300
    collapsed = dict(zip(columns, rows, strict=True))
    whole = find_itemsets(code_columns(columns), minimum=10)
    fewer = find_itemsets(code_columns(collapsed), minimum=10, count=count)
    assert as_dict(whole) == as_dict(fewer) and whole.n == fewer.n == 300


def test_a_lower_depth_finds_the_shorter_ones():
    coded = code_columns(table(200, 5, 6))
    everything, shallow = find_itemsets(coded, minimum=5), find_itemsets(coded, minimum=5, depth=2)
    assert len(shallow) == np.count_nonzero(everything.size <= 2) < len(everything)


def test_nothing_above_the_support_is_no_error():
    found = find_itemsets(code_columns({"a": ["x", "y"]}), minimum=2)
    assert len(found) == 0 and found.items == () and found.without_each().shape == (0, 1)


@pytest.mark.parametrize("engine", ENGINES)
def test_too_many_are_refused(engine):
    coded = code_columns(table(200, 6, 7))
    n = len(find_itemsets(coded, minimum=1, engine=engine))
    assert len(find_itemsets(coded, minimum=1, engine=engine, most=n)) == n
    with pytest.raises(UsageError, match=r"more than 1,000 conjunctions .* Raise min_support"):
        find_itemsets(coded, minimum=1, engine=engine, most=1000)


def test_engines_are_named_and_chosen(monkeypatch):
    coded = code_columns(table(100, 2, 8))
    with pytest.raises(UsageError, match="no engine is named 'numbe'; did you mean 'numba'"):
        find_itemsets(coded, minimum=1, engine="numbe")
    with pytest.raises(UsageError, match="minimum is 0 and depth 1"):
        find_itemsets(coded, minimum=0, depth=1)
    assert find_itemsets(coded, minimum=1).engine == "numpy", "a small table does not wait for a compiler"
    if HAS_NUMBA:
        monkeypatch.setattr("clinometer.bias.itemsets.WORTH_COMPILING", 1)
        assert find_itemsets(coded, minimum=1).engine == "numba"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert find_itemsets(coded, minimum=1).engine == "numpy"
    with pytest.raises(UsageError, match="needs numba"):
        find_itemsets(coded, minimum=1, engine="numba")


@pytest.mark.skipif(not HAS_NUMBA, reason="numba is not installed")
@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_the_search_that_is_compiled_finds_the_same_before_it_is(counted, depth, monkeypatch):
    from clinometer.bias import compiled_itemsets

    monkeypatch.setattr(compiled_itemsets, "mine", lambda: compiled_itemsets._mine)
    columns = table(150, 4, 3)
    generator = np.random.default_rng(4)
    marked, count = generator.random(150) < 0.3, generator.integers(0, 6, size=150) if counted else None
    coded = code_columns(columns)
    for marks in (marked, None):
        found = find_itemsets(coded, minimum=3, depth=depth, count=count, marked=marks, engine="numba")
        expected = conjunctions(
            columns,
            3,
            depth,
            None if count is None else count.tolist(),
            None if marks is None else marks.tolist(),
        )
        assert as_dict(found) == expected and len(found) == len(expected)
    plain = find_itemsets(coded, minimum=3, depth=depth, count=count, marked=marked, engine="numpy")
    found = find_itemsets(coded, minimum=3, depth=depth, count=count, marked=marked, engine="numba")
    assert np.array_equal(plain.members, found.members) and np.array_equal(plain.hits, found.hits)
    with pytest.raises(UsageError, match="more than 10 conjunctions"):
        find_itemsets(coded, minimum=1, depth=depth, engine="numba", most=10)
    n = len(find_itemsets(coded, minimum=1, depth=depth, engine="numpy"))
    members, _, _ = compiled_itemsets._mine(
        *laid_out(coded), np.zeros((0, 3), np.uint64), np.zeros((0, 3), np.uint64), 1, depth, 5
    )
    assert n > 6 == len(members), "it stops one beyond the limit"


def laid_out(coded):
    """Bitsets, columns and rows of all items of 150 rows, each bit set by hand."""
    bits, rows = [], []
    for column, code in coded.keys:
        held = np.flatnonzero(coded.codes[column] == code)
        words = np.zeros(3, dtype=np.uint64)
        for row in held.tolist():
            words[row // 64] |= np.uint64(1) << np.uint64(row % 64)
        bits.append(words)
        rows.append(len(held))
    return np.stack(bits), np.array([column for column, _ in coded.keys]), np.array(rows)


@pytest.mark.skipif(not HAS_NUMBA, reason="numba is not installed")
def test_room_is_made_for_more_than_four_thousand_before_it_is_compiled(monkeypatch):
    from clinometer.bias import compiled_itemsets

    monkeypatch.setattr(compiled_itemsets, "mine", lambda: compiled_itemsets._mine)
    coded = code_columns(table(120, 8, 1))
    marked = np.arange(120) % 3 == 0
    plain, other = (
        find_itemsets(coded, minimum=2, marked=marked, engine=engine) for engine in ("numpy", "numba")
    )
    assert len(plain) > 4096
    for name in ("members", "support", "hits"):
        assert np.array_equal(getattr(plain, name), getattr(other, name))


@pytest.mark.skipif(not HAS_NUMBA, reason="numba is not installed")
def test_common_bits_are_counted_in_every_word(monkeypatch):
    from clinometer.bias import compiled_itemsets

    monkeypatch.setattr(compiled_itemsets, "_ones", lambda word: np.uint64(int(word).bit_count()))
    monkeypatch.setattr(compiled_itemsets, "_widest", lambda: None)
    one, two = np.array([0b1011, 2**63 | 1], np.uint64), np.array([0b0110, 2**63 | 2], np.uint64)
    third = np.array([0b0010, 1], np.uint64)
    for way in (lambda f: f, lambda f: f.py_func):
        out = np.zeros(2, dtype=np.uint64)
        assert way(compiled_itemsets._joined)(one, two, out) == 2 and out.tolist() == [2, 2**63]
        assert way(compiled_itemsets._common)(one, two) == 2
        assert way(compiled_itemsets._common_of_three)(one, two, third) == 1


def test_one_row_one_column_and_counts_of_zero():
    found = find_itemsets(code_columns({"a": ["x"]}), minimum=1)
    assert as_dict(found) == {frozenset([("a", "x")]): (1, None)} and found.without_each().tolist() == [[-1]]
    found = find_itemsets(code_columns({"a": ["x", "y"]}), minimum=1, count=np.array([0, 3]))
    assert as_dict(found) == {frozenset([("a", "y")]): (3, None)} and found.n == 3
    # 64 and 65 rows: a full word, and one bit of the next.
    for n in (64, 65):
        found = find_itemsets(code_columns({"a": ["x"] * n}), minimum=n, marked=np.arange(n) >= n - 1)
        assert as_dict(found) == {frozenset([("a", "x")]): (n, 1)}
        assert len(find_itemsets(code_columns({"a": ["x"] * n}), minimum=n + 1)) == 0
    with pytest.raises(UsageError, match="minimum is 1 and depth 0"):
        find_itemsets(code_columns({"a": ["x"]}), minimum=1, depth=0)
