"""One row by vector-block products equals that row of the whole product; padding and batches change nothing."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from clinometer.errors import CaptureError, UsageError
from clinometer.interpret import calls as calls_module
from clinometer.interpret.calls import Call
from clinometer.interpret.capture import attention_gradient, trace
from clinometer.interpret.rollout import cross_relevance, relevance, rollout
from clinometer.interpret.trace import Trace
from clinometer.interpret.transformer import Architecture, Classifier, EncoderDecoder
from reference import rollout as slow
from reference.attention import HandMade

SHAPE: dict[str, Any] = {"width": 8, "heads": 2, "feed_forward": 8, "positions": "learned", "vocabulary": 12}


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def drawn_call(
    name: str = "layer",
    *,
    n: int = 6,
    m: int | None = None,
    examples: int = 2,
    heads: int = 4,
    key_heads: int = 2,
    dtype: torch.dtype = torch.float64,
    **rest: Any,
) -> Call:
    """A call with drawn queries, keys and values, far from uniform."""
    m = n if m is None else m
    rest = {"kind": "self", **rest}
    call = Call(
        layer=name,
        way="sdpa",
        query=3 * torch.randn(examples, heads, n, 3, dtype=dtype),
        key=torch.randn(examples, key_heads, m, 3, dtype=dtype),
        value=torch.randn(examples, key_heads, m, 5, dtype=dtype),
        output=None,
        scale=3**-0.5,
        **rest,
    )
    weights = torch.cat([call.weights(rows) for rows in call.blocks()], dim=2)
    output = (weights @ call.repeated(call.value).to(weights.dtype)).to(dtype)
    return dataclasses.replace(call, output=output)


def drawn_trace(*calls: Call) -> Trace:
    gradients = [torch.randn_like(call.output) for call in calls if call.output is not None]
    return Trace(calls, gradients=gradients)


def maps(traced: Trace, layer: int, example: int) -> np.ndarray:
    return traced.maps(layer)[example].double().numpy()


def gradient(traced: Trace, layer: int, example: int) -> np.ndarray:
    """dA = dO V^T, (head, query, key), head by head."""
    call, given_ = traced.calls[layer], traced.gradients[layer][example]
    shared = call.n_heads // call.value.shape[1]
    return np.stack(
        [(given_[h] @ call.value[example, h // shared].T).double().numpy() for h in range(call.n_heads)]
    )


def padded(*lengths: int) -> Tensor:
    n = max(lengths)
    return torch.tensor([[at < length for at in range(n)] for length in lengths])[:, None, None, :]


# Known answers


def known(*layers: list[list[float]]) -> list[Call]:
    """Calls that know their map only, one example and one head."""
    return [
        Call(
            layer=f"layer{place}",
            kind="self",
            way="by hand",
            query=None,
            key=None,
            value=torch.eye(2, dtype=torch.float64)[None, None],
            output=None,
            scale=1.0,
            given=torch.tensor(weights, dtype=torch.float64)[None, None],
        )
        for place, weights in enumerate(layers)
    ]


def test_rollout_of_two_layers_by_hand() -> None:
    # Halves: (A1 + I) / 2 = [[1, 0], [1/4, 3/4]] and (A2 + I) / 2 = [[3/4, 1/4], [1/8, 7/8]].
    traced = Trace(known([[1, 0], [0.5, 0.5]], [[0.5, 0.5], [0.25, 0.75]]))
    np.testing.assert_allclose(rollout(traced, query=0), [[13 / 16, 3 / 16]], atol=1e-15)
    np.testing.assert_allclose(rollout(traced, query=1), [[11 / 32, 21 / 32]], atol=1e-15)
    np.testing.assert_allclose(rollout(traced, query=-1, layers=[0]), [[1 / 4, 3 / 4]], atol=1e-15)


def test_relevance_of_two_layers_by_hand() -> None:
    # V = I, so dA = dO. C1 = A1 * dO1 = [[2, 0], [1/2, 0]] (-3/2 is dropped), C2 = [[1/2, 1], [0, 3/4]].
    # R - I = C1 + C2 + C2 C1 = [[2, 0], [1/2, 0]] + [[1/2, 1], [0, 3/4]] + [[3/2, 0], [3/8, 0]].
    traced = Trace(
        known([[1, 0], [0.5, 0.5]], [[0.5, 0.5], [0.25, 0.75]]),
        gradients=[
            torch.tensor([[[[2.0, 9.0], [1.0, -3.0]]]], dtype=torch.float64),
            torch.tensor([[[[1.0, 2.0], [-1.0, 1.0]]]], dtype=torch.float64),
        ],
    )
    np.testing.assert_allclose(relevance(traced, query=0), [[4, 1]], atol=1e-15)
    np.testing.assert_allclose(relevance(traced, query=1), [[7 / 8, 3 / 4]], atol=1e-15)


def test_a_residual_of_one_leaves_a_token_where_it_is() -> None:
    traced = Trace([drawn_call()])
    np.testing.assert_array_equal(rollout(traced, query=3, residual=1.0), np.eye(6)[[3, 3]])
    assert rollout(traced, query=3, residual=0.5)[0, 3] < 0.99  # control


def test_uniform_maps_spread_evenly() -> None:
    call = dataclasses.replace(drawn_call(), query=torch.zeros(2, 4, 6, 3, dtype=torch.float64), output=None)
    np.testing.assert_allclose(rollout(Trace([call] * 3), query=0, residual=0.0), np.full((2, 6), 1 / 6))


@pytest.mark.parametrize("residual", [0.0, 0.5])
def test_a_token_that_attends_to_nothing_keeps_what_it_has(residual: float) -> None:
    mask = torch.ones(6, 6, dtype=torch.bool)
    mask[2] = False  # seen by all, sees nothing
    traced = Trace([drawn_call(f"l{i}", mask=mask[None, None]) for i in range(2)])
    got = rollout(traced, query=0, residual=residual)
    np.testing.assert_allclose(got.sum(axis=1), 1.0, atol=1e-12)
    for example in range(2):
        want = slow.rollout([maps(traced, i, example) for i in range(2)], residual=residual)
        np.testing.assert_allclose(got[example], want[0], atol=1e-12)


# Slow twins


@given(
    n=st.integers(1, 9),
    seed=st.integers(0, 99),
    causal=st.booleans(),
    window=st.sampled_from([None, 1, 3]),
    heads=st.sampled_from(["mean", "max", "min"]),
    residual=st.sampled_from([0.0, 0.3, 0.5]),
    sinks=st.booleans(),
)
def test_rollout_equals_the_row_of_the_whole_product(
    n: int, seed: int, causal: bool, window: int | None, heads: Any, residual: float, sinks: bool
) -> None:
    torch.manual_seed(seed)
    more = {"causal": causal, "window": window, "sinks": torch.randn(4).double() if sinks else None}
    traced = Trace([drawn_call(f"l{i}", n=n, **more) for i in range(3)])
    queries = torch.randint(n, (2,)).tolist()
    got = rollout(traced, query=queries, residual=residual, heads=heads)
    for example, query in enumerate(queries):
        want = slow.rollout([maps(traced, i, example) for i in range(3)], residual=residual, heads=heads)
        np.testing.assert_allclose(got[example], want[query], atol=1e-12, rtol=0)
    np.testing.assert_allclose(got.sum(axis=1), 1.0, atol=1e-12)


@given(
    n=st.integers(1, 9), seed=st.integers(0, 99), causal=st.booleans(), key_heads=st.sampled_from([1, 2, 4])
)
def test_relevance_equals_the_row_of_the_whole_product(
    n: int, seed: int, causal: bool, key_heads: int
) -> None:
    torch.manual_seed(seed)
    traced = drawn_trace(*(drawn_call(f"l{i}", n=n, key_heads=key_heads, causal=causal) for i in range(3)))
    queries = torch.randint(n, (2,)).tolist()
    got = relevance(traced, query=queries)
    assert got.min() >= 0
    for example, query in enumerate(queries):
        want = slow.relevance([(maps(traced, i, example), gradient(traced, i, example)) for i in range(3)])
        np.testing.assert_allclose(got[example], want[query], atol=1e-10, rtol=1e-12)


def test_shares_of_queries_give_the_weighted_sum_of_their_rows() -> None:
    layers = [
        drawn_call("encoder.0"),
        drawn_call("decoder.0", n=4),
        drawn_call("decoder.1", n=4, m=6, kind="cross"),
    ]
    traced = drawn_trace(*layers)
    share = np.array([[0.5, 0.0, 0.25, 0.25], [0.0, 2.0, 0.0, 1.0]])
    both = cross_relevance(traced, query=share)
    found = [
        rollout(traced, query=share, layers="decoder.0"),
        relevance(traced, query=share, layers="decoder.0"),
        both.target,
        both.source,
    ]
    wanted = [np.zeros_like(part) for part in found]
    for query in range(4):
        one = cross_relevance(traced, query=query)
        rows = [
            rollout(traced, query=query, layers="decoder.0"),
            relevance(traced, query=query, layers="decoder.0"),
            one.target,
            one.source,
        ]
        wanted = [want + share[:, [query]] * row for want, row in zip(wanted, rows, strict=True)]
    for got, want in zip(found, wanted, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-12)
    assert (rollout(traced, query=np.zeros((2, 6)), layers="encoder") == 0).all()


def streams(traced: Trace, example: int) -> tuple[list[Any], list[Any]]:
    parts = [
        (traced.kinds[i], maps(traced, i, example), gradient(traced, i, example)) for i in range(len(traced))
    ]
    reading = [part[1:] for part, name in zip(parts, traced.layers, strict=True) if "encoder" in name]
    return reading, [part for part, name in zip(parts, traced.layers, strict=True) if "encoder" not in name]


@settings(max_examples=30)
@given(n=st.integers(1, 7), m=st.integers(1, 7), seed=st.integers(0, 99), causal=st.booleans())
def test_cross_relevance_equals_the_rules_on_whole_matrices(n: int, m: int, seed: int, causal: bool) -> None:
    torch.manual_seed(seed)
    layers = [drawn_call(f"encoder.{i}", n=m) for i in range(2)]
    for i in range(3):
        layers.append(drawn_call(f"decoder.{i}.own", n=n, causal=causal))
        layers.append(drawn_call(f"decoder.{i}.cross", n=n, m=m, kind="cross"))
    traced = drawn_trace(*layers)
    queries = torch.randint(n, (2,)).tolist()
    got = cross_relevance(traced, query=queries)
    assert got.target.shape == (2, n)
    assert got.source.shape == (2, m)
    for example, query in enumerate(queries):
        target, source = slow.two_streams(*streams(traced, example))
        np.testing.assert_allclose(got.target[example], target[query], atol=1e-10, rtol=1e-12)
        np.testing.assert_allclose(got.source[example], source[query], atol=1e-9, rtol=1e-11)
    np.testing.assert_allclose(got.target, relevance(traced, query=queries, layers="decoder"), atol=1e-12)


def test_rows_without_any_evidence_divide_nothing_by_zero() -> None:
    layers = [drawn_call("encoder.0"), drawn_call("decoder.0"), drawn_call("decoder.1", kind="cross")]
    traced = drawn_trace(*layers)
    silent = Trace(layers, gradients=[torch.zeros_like(traced.gradients[0])] * 2 + [traced.gradients[2]])
    got = cross_relevance(silent, query=1)
    for example in range(2):
        np.testing.assert_allclose(
            got.source[example], slow.two_streams(*streams(silent, example))[1][1], atol=1e-12
        )
    assert (got.target == 0).all() and got.source.max() > 0


@pytest.mark.parametrize("block", [1, 4 * 2 * 6 * 8 * 2])
def test_blocks_do_not_change_anything(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    traced = drawn_trace(
        drawn_call("encoder.0"), drawn_call("decoder.0"), drawn_call("decoder.1", kind="cross")
    )

    def everything() -> list[np.ndarray]:
        both = cross_relevance(traced, query=[1, 4])
        return [
            rollout(traced, query=[1, 4], layers="decoder"),
            relevance(traced, query=2, layers="encoder"),
            both.target,
            both.source,
        ]

    whole = everything()
    monkeypatch.setattr(calls_module, "BLOCK_BYTES", block)
    for one, other in zip(whole, everything(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12, rtol=0)


# Laws, on models


def hand_made(x: Tensor, pad: Tensor) -> Trace:
    torch.manual_seed(3)
    model = HandMade(causal=True).double().eval()
    return attention_gradient(lambda: model(x, pad), model)


ROWS: dict[str, Callable[[Trace, Any], np.ndarray]] = {
    "rollout": lambda traced, query: rollout(traced, query=query),
    "relevance": lambda traced, query: relevance(traced, query=query),
}


@pytest.mark.parametrize("name", ROWS)
def test_padding_gets_nothing_and_the_batch_does_not_matter(name: str) -> None:
    x = torch.randn(3, 7, 8, dtype=torch.float64)
    pad = ~padded(7, 4, 5)[:, 0, 0]
    both = ROWS[name](hand_made(x, pad), [6, 3, 0])
    for example, (length, query) in enumerate([(7, 6), (4, 3), (5, 0)]):
        alone = ROWS[name](
            hand_made(x[example : example + 1, :length], pad[example : example + 1, :length]), query
        )
        np.testing.assert_allclose(both[example, :length], alone[0], atol=1e-12, rtol=0)
        assert (both[example, length:] == 0).all()
    assert np.abs(both[0]).max() > 1e-4
    np.testing.assert_allclose(
        ROWS[name](hand_made(x.flip(0), pad.flip(0)), [0, 3, 6]), both[::-1], atol=1e-12
    )
    other = ROWS[name](hand_made(x + 0.1, pad), [6, 3, 0])  # control: other inputs have other rows
    assert np.abs(other - both).max() > 1e-4


def test_a_causal_row_sees_nothing_behind_its_query() -> None:
    traced = Trace([drawn_call(f"l{i}", causal=True) for i in range(3)])
    row = rollout(traced, query=2)
    assert (row[:, 3:] == 0).all()
    assert (row[:, :3] > 0).all()


def test_relevance_of_a_model_equals_autograd_through_its_maps() -> None:
    x, pad = torch.randn(2, 6, 8, dtype=torch.float64), ~padded(6, 4)[:, 0, 0]
    torch.manual_seed(3)
    model = HandMade(causal=False).double().eval()
    got = relevance(attention_gradient(lambda: model(x, pad), model), query=0)
    model.first.explicit = model.second.explicit = True
    value = model(x, pad)
    seen = [model.first.seen, model.second.seen]
    wanted = torch.autograd.grad(value.sum(), seen)
    for example in range(2):
        layers = [
            (a[example].detach().numpy(), g[example].numpy()) for a, g in zip(seen, wanted, strict=True)
        ]
        np.testing.assert_allclose(got[example], slow.relevance(layers)[0], atol=1e-12, rtol=0)
    assert got.max() > 1e-4


def test_our_classifier_and_our_encoder_decoder() -> None:
    tokens = torch.randint(1, 12, (2, 6))
    tokens[1, 3:] = 0
    reader = Classifier(Architecture(kind="text", **SHAPE)).double().eval()
    row = rollout(trace(lambda: reader({"tokens": tokens}), reader), query=0)
    np.testing.assert_allclose(row.sum(axis=1), 1.0, atol=1e-12)
    assert (row[1, 4:] == 0).all() and (row[1, :4] > 0).all()

    model = EncoderDecoder(Architecture(kind="text", **SHAPE)).double().eval()
    target = torch.randint(1, 12, (2, 4))
    traced = attention_gradient(lambda: model(tokens, target)[:, -1, 0], model)
    np.testing.assert_allclose(rollout(traced, query=0, layers="encoder").sum(axis=1), 1.0, atol=1e-12)
    got = cross_relevance(traced, query=-1)
    named = cross_relevance(traced, query=3, encoder="encoder", decoder="decoder")
    np.testing.assert_array_equal(got.source, named.source)
    for example in range(2):
        want = slow.two_streams(*streams(traced, example))
        np.testing.assert_allclose(got.target[example], want[0][3], atol=1e-12, rtol=1e-10)
        np.testing.assert_allclose(got.source[example], want[1][3], atol=1e-12, rtol=1e-10)
    assert (got.source[1, 3:] == 0).all() and got.source[1, :3].max() > 0


def test_streams_are_told_apart_in_t5() -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config = transformers.T5Config(
        vocab_size=30, d_model=16, d_kv=4, d_ff=16, num_layers=2, num_heads=4, decoder_start_token_id=0
    )
    model = transformers.T5ForConditionalGeneration(config).double().eval()
    ids = torch.randint(1, 30, (2, 7))
    traced = attention_gradient(
        lambda: model(input_ids=ids, decoder_input_ids=ids[:, :5]).logits[:, -1, 3], model
    )
    got = cross_relevance(traced, query=-1)
    assert got.source.shape == (2, 7) and got.source.max() > 0
    for example in range(2):
        want = slow.two_streams(*streams(traced, example))
        np.testing.assert_allclose(got.source[example], want[1][4], atol=1e-12, rtol=1e-9)


def test_maps_that_a_model_gave_are_used_as_they_are() -> None:
    traced = drawn_trace(*(drawn_call(f"l{i}", n=5) for i in range(2)))
    calls = [
        dataclasses.replace(call, way="by hand", given=traced.maps(i), query=None, key=None)
        for i, call in enumerate(traced.calls)
    ]
    before = [call.given.clone() for call in calls]
    as_given = Trace(calls, gradients=traced.gradients)
    np.testing.assert_allclose(rollout(as_given, query=2), rollout(traced, query=2), atol=1e-13)
    np.testing.assert_allclose(relevance(as_given, query=2), relevance(traced, query=2), atol=1e-13)
    assert all(torch.equal(call.given, kept) for call, kept in zip(calls, before, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_coarse_numbers_keep_the_sum(dtype: torch.dtype) -> None:
    traced = Trace([drawn_call(f"l{i}", n=300, dtype=dtype) for i in range(3)])
    row = rollout(traced, query=7)
    assert row.dtype == np.float64
    np.testing.assert_allclose(row.sum(axis=1), 1.0, atol=1e-6)


def test_autocast_around_the_question_changes_nothing() -> None:
    traced = drawn_trace(*(drawn_call(f"l{i}", dtype=torch.float32) for i in range(2)))
    plain = [rollout(traced, query=0), relevance(traced, query=0)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        again = [rollout(traced, query=0), relevance(traced, query=0)]
    for one, other in zip(plain, again, strict=True):
        np.testing.assert_array_equal(one, other)


class Count(torch.utils._python_dispatch.TorchDispatchMode):
    """Remembers the largest tensor made."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for part in made if isinstance(made, (tuple, list)) else [made]:
            if isinstance(part, Tensor):
                self.largest = max(self.largest, part.untyped_storage().nbytes())
        return made


def test_no_square_matrix_is_ever_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls_module, "BLOCK_BYTES", 2**18)
    n = 1024
    more: dict[str, Any] = {"n": n, "examples": 1, "heads": 2, "dtype": torch.float32, "causal": True}
    traced = drawn_trace(drawn_call("encoder.0", **more), drawn_call("decoder.0", **more))
    with Count() as counted:
        rollout(traced, query=-1)
        relevance(traced, query=-1)
    assert counted.largest <= 2**18  # n x n bytes would be four times this, of floats sixteen times
    with Count() as control:
        traced.maps(0)
    assert control.largest >= 2 * n * n * 4


def test_the_last_layer_costs_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    traced = Trace([drawn_call("l0"), drawn_call("l1")])
    asked: list[int] = []
    weights = Call.weights
    monkeypatch.setattr(
        Call, "weights", lambda self, rows: asked.append(rows.stop - rows.start) or weights(self, rows)
    )
    rollout(traced, query=2)
    assert asked == [1, 6]


# Refusals


def test_refusals_of_queries_and_settings() -> None:
    traced = Trace([drawn_call("l0", mask=padded(6, 4))])
    for bad, message in (
        (lambda: rollout(traced, query=5), "query 5 of example 1 is padding"),
        (lambda: rollout(traced, query=[0, 1, 2]), "3 queries were named for 2 examples"),
        (lambda: rollout(traced, query=6), "query 6 does not exist: l0 has 6"),
        (lambda: rollout(traced, query=-7), "query -7 does not exist"),
        (lambda: rollout(traced, query=0, residual=1.5), "residual is 1.5"),
        (lambda: rollout(traced, query=0, residual=math.nan), "residual is nan"),
        (lambda: rollout(traced, query=0, layers=[]), "no layer was named"),
        (lambda: rollout(traced, query=0, layers=[0, 0]), "each once, in the order they run"),
        (lambda: rollout(traced, query=0, layers="encoder"), "no part of the model with attention is named"),
        (lambda: rollout(traced, query=0, layers=["l1"]), "no layer is named 'l1'"),
        (lambda: relevance(traced, query=0), "no gradients. Make it with attention_gradient"),
        (lambda: rollout(traced, query=np.ones((2, 6)) / 6), "query 4 of example 1 is padding"),
        (lambda: rollout(traced, query=-np.ones((2, 6))), "least -1; expected numbers that are not negative"),
        (lambda: rollout(traced, query=np.ones((2, 5))), "shares of queries are"),
    ):
        with pytest.raises(UsageError, match=message):
            bad()
    assert rollout(traced, query=[5, 3]).shape == (2, 6)  # control: real tokens of both


def test_an_unknown_fusion_is_refused(shapes_unchecked: None) -> None:
    with pytest.raises(UsageError, match="did you mean 'mean'"):
        rollout(Trace([drawn_call()]), query=0, heads="meen")


def test_refusals_of_stacks() -> None:
    mixed = drawn_trace(
        drawn_call("encoder.0"), drawn_call("decoder.0"), drawn_call("decoder.1", kind="cross")
    )
    with pytest.raises(UsageError, match=r"'decoder\.1': cross-attention leads from one sequence to another"):
        rollout(mixed, query=0)
    with pytest.raises(UsageError, match="cross_relevance"):
        relevance(mixed, query=0, layers=[1, 2])
    with pytest.raises(UsageError, match=r"'decoder\.1' has no self-attention"):
        rollout(mixed, query=0, layers="decoder.1")
    with pytest.raises(UsageError, match="without a cache"):
        rollout(Trace([drawn_call("l0", n=1, m=6)]), query=0)
    with pytest.raises(
        UsageError, match=r"layers differ in \(examples, positions\): \(2, 6\) in 'l0', \(2, 7\)"
    ):
        rollout(Trace([drawn_call("l0"), drawn_call("l1", n=7)]), query=0)
    alone = drawn_trace(drawn_call("l0"), drawn_call("l1"))
    with pytest.raises(UsageError, match="cannot be told from their names"):
        cross_relevance(alone, query=0)
    with pytest.raises(UsageError, match="1 layers of self- and 0 of cross-attention"):
        cross_relevance(alone, query=0, encoder=[0], decoder=[1])
    with pytest.raises(UsageError, match="no gradients"):
        cross_relevance(Trace(mixed.calls), query=0)
    apart = drawn_trace(drawn_call("encoder.0", n=4), *mixed.calls[1:])
    with pytest.raises(UsageError, match=r"decoder.1 has \(2, 6, 6\) examples, queries and keys"):
        cross_relevance(apart, query=0)


def test_relevance_needs_values() -> None:
    traced = drawn_trace(drawn_call("l0"))
    dropped = Trace([dataclasses.replace(traced.calls[0], value=None)], gradients=traced.gradients)
    with pytest.raises(CaptureError, match="l0: the values are not known"):
        relevance(dropped, query=0)
    assert rollout(dropped, query=0).shape == (2, 6)


@pytest.mark.gpu
def test_the_device_path_equals_the_cpu() -> None:
    traced = drawn_trace(*(drawn_call(f"l{i}", n=300, dtype=torch.float32) for i in range(3)))

    def moved(call: Call) -> Call:
        parts = {name: getattr(call, name).cuda() for name in ("query", "key", "value", "output")}
        return dataclasses.replace(call, **parts)

    there = Trace([moved(call) for call in traced.calls], gradients=[g.cuda() for g in traced.gradients])
    for name, row in ROWS.items():
        np.testing.assert_allclose(row(there, 3), row(traced, 3), atol=1e-5, rtol=1e-4, err_msg=name)
