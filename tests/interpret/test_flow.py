"""Attention flow equals networkx's maximum flow and closed forms, and refuses what would take hours."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinometer.errors import DataError, UsageError
from clinometer.interpret.flow import attention_flow, flows, with_residual
from reference import mixing as slow
from reference import rollout as slow_rollout
from reference.readers import LINES, Reader, loaded, reader, texts, vectors, whole


def drawn(n: int, layers: int, seed: int, causal: bool = False) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    made = []
    for _ in range(layers):
        weights = generator.dirichlet(np.full(n, 0.5), size=n)
        weights = np.tril(weights) if causal else weights
        made.append(with_residual(weights, 0.5))
    return made


@settings(max_examples=30)
@given(n=st.integers(1, 7), layers=st.integers(1, 4), seed=st.integers(0, 99), causal=st.booleans())
def test_equal_to_networkx(n: int, layers: int, seed: int, causal: bool) -> None:
    capacities = drawn(n, layers, seed, causal)
    query = seed % n
    got = flows(capacities, np.eye(n)[query])
    np.testing.assert_allclose(got, slow.flows(capacities, query), atol=layers * n * n * 2.0**-31, rtol=0)
    if causal:
        assert (got[query + 1 :] == 0).all()


@given(n=st.integers(1, 9), seed=st.integers(0, 99))
def test_two_layers_in_closed_form(n: int, seed: int) -> None:
    # Paths i -> k -> j share no edge, so that each carries what its thinner edge does.
    first, second = drawn(n, 2, seed)
    for query in range(n):
        want = [sum(min(second[query, k], first[k, j]) for k in range(n)) for j in range(n)]
        np.testing.assert_allclose(flows([first, second], np.eye(n)[query]), want, atol=1e-7)


def test_one_layer_is_its_map_and_no_attention_leaves_a_token_where_it_is() -> None:
    (only,) = drawn(5, 1, 0)
    np.testing.assert_allclose(flows([only], np.eye(5)[2]), only[2], atol=1e-9)
    np.testing.assert_array_equal(flows([np.eye(5)] * 3, np.eye(5)[2]), np.eye(5)[2])
    silent = with_residual(np.zeros((2, 2)), 0.25)
    np.testing.assert_array_equal(silent, np.eye(2))


def test_several_read_positions_share_the_flow() -> None:
    (only,) = drawn(4, 1, 3)
    share = np.array([0.5, 0.0, 0.5, 0.0])
    want = np.minimum(0.5, only[0]) + np.minimum(0.5, only[2])
    np.testing.assert_allclose(flows([only], share), want, atol=1e-9)
    assert (flows([only], np.zeros(4)) == 0).all()


def test_of_a_model(tmp_path) -> None:
    bert = loaded(tmp_path, "BertForSequenceClassification")
    rows = texts(*LINES[:2])
    made = attention_flow(bert, rows)
    for i, layers in enumerate(whole(bert, rows)):
        mixed = [0.5 * slow_rollout.fused(a) + 0.5 * np.eye(a.shape[1]) for _, a, _ in layers]
        np.testing.assert_allclose(made.scores[i, : len(mixed[0])], slow.flows(mixed, 0), atol=1e-6)
    assert made.scores.max() <= 1 and made.scores[0, 0] > 0.5
    other = attention_flow(bert, rows, residual=0.2)
    assert np.abs(other.scores - made.scores).max() > 0.05


def test_long_rows_are_refused_with_the_way_out() -> None:
    rows = vectors(3, 140)
    with pytest.raises(DataError, match=r"1 rows have more than 128 tokens \(up to 140\).*first rows: 'v1'"):
        attention_flow(reader(Reader()), rows)
    assert attention_flow(reader(Reader()), rows.take([0]), most_tokens=3).scores.shape == (1, 3)
    with pytest.raises(DataError, match="more than 2 tokens"):
        attention_flow(reader(Reader()), rows.take([0]), most_tokens=2)


@pytest.mark.parametrize("options", [{"residual": -0.1}, {"most_tokens": 0}])
def test_impossible_options_are_refused(options) -> None:
    with pytest.raises(UsageError, match=r"residual is|most_tokens is"):
        attention_flow(reader(Reader()), vectors(2), **options)
