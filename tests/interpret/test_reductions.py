"""Every statistic equals its slow twin from the whole map, whatever the call is like, in both engines."""

import dataclasses
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clinometer.errors import UsageError
from clinometer.interpret import torch_reductions
from clinometer.interpret.calls import Call
from clinometer.interpret.positions import Positions
from clinometer.interpret.reductions import Statistics, reduce
from reference.calls import drawn_call, make_call, random_classes
from reference.statistics import map_statistics, seen_keys

NAMED = ("entropy", "peak", "distance", "first", "itself", "previous", "following", "mass")


def whole_map(call: Call) -> np.ndarray:
    """(example, head, query, key), computed at once."""
    return call.weights(slice(0, call.n_queries)).double().numpy()


def check_against_twin(
    call: Call, found: Statistics, classes: dict[str, np.ndarray], *, shift: int | None, top: int, atol: float
) -> None:
    maps, valid = whole_map(call), call.valid().numpy()
    np.testing.assert_array_equal(found.valid, valid)
    shape = (call.n_examples, call.n_heads, call.n_queries, call.n_keys)
    allowed = np.broadcast_to(call.allowed(slice(0, call.n_queries)).numpy(), shape)
    np.testing.assert_array_equal(found.n_allowed, allowed.sum(axis=3))
    for example in range(call.n_examples):
        seen = seen_keys(allowed[example])
        for head in range(call.n_heads):
            at = (example, head)
            want = map_statistics(
                maps[at],
                valid=valid[example],
                first_key=seen.index(True) if any(seen) else 0,
                shift=shift,
                classes={name: list(members[example]) for name, members in classes.items()},
                top=top,
            )
            for name in NAMED:
                scale = {"entropy": 10.0, "distance": max(1, call.n_keys)}.get(name, 1.0)
                got = getattr(found, name)[at]
                np.testing.assert_allclose(got, want[name], atol=atol * scale, rtol=0, err_msg=name)
            for name in classes:
                np.testing.assert_allclose(
                    found.shares[name][at], want[name], atol=atol, rtol=0, err_msg=name
                )
            np.testing.assert_allclose(found.received[at], want["received"], atol=atol, rtol=0)
            if top:
                assert found.top is not None
                keys, weights = found.top[0][at], found.top[1][at]
                np.testing.assert_allclose(weights, want["top"], atol=atol, rtol=0)
                for i in np.flatnonzero(valid[example]):
                    chosen = keys[i][keys[i] >= 0]
                    assert len(set(chosen)) == len(chosen)
                    np.testing.assert_allclose(
                        maps[at][i, chosen], weights[i][: len(chosen)], atol=atol, rtol=0
                    )
                    assert (weights[i][len(chosen) :] == 0).all()


CALLS: dict[str, tuple[dict[str, Any], int | None]] = {
    "plain": ({"mask": "none"}, 0),
    "right padding": ({"right": 3}, 0),
    "left padding": ({"left": 2}, 0),
    "left padding, causal": ({"left": 2, "causal": True}, 0),
    "additive": ({"left": 1, "right": 2, "mask": "additive"}, 0),
    "full boolean mask": ({"right": 2, "mask": "full"}, 0),
    "full additive mask": ({"right": 2, "mask": "full additive"}, 0),
    "window": ({"window": 2}, 0),
    "causal window": ({"window": 3, "causal": True, "right": 2}, 0),
    "a cache, causal": ({"n_queries": 3, "n_keys": 7, "causal": True, "causal_offset": 4}, 4),
    "a cache, masked": ({"n_queries": 1, "n_keys": 7, "left": 2}, 6),
    "a cache longer than what it holds": (
        {"n_examples": 1, "n_queries": 2, "n_keys": 9, "right": 3, "mask": "keys"},
        4,
    ),
    "cross": ({"n_keys": 5, "kind": "cross", "right": 2}, None),
    "soft-cap": ({"softcap": 1.5}, 0),
    "sinks": ({"sinks": True, "right": 1}, 0),
    "position bias": ({"bias": True, "right": 2}, 0),
    "one key": ({"n_queries": 1, "mask": "none"}, 0),
    "nothing may be attended to": ({"n_queries": 5, "right": 5}, 0),
    "an offset that closes rows": ({"causal": True, "causal_offset": -3, "mask": "none"}, -3),
}


@pytest.mark.parametrize("top", [0, 3, 9])
@pytest.mark.parametrize("name", CALLS)
def test_statistics_equal_those_of_the_whole_map(name: str, top: int) -> None:
    made, shift = CALLS[name]
    call = make_call(**made)
    classes = random_classes(call)
    found = reduce(call, classes=classes, top=top, engine="torch")
    assert found.engine == "torch"
    check_against_twin(call, found, classes, shift=shift, top=top, atol=1e-11)
    if top == 0:
        assert found.top is None


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_statistics_hold_for_any_length_padding_and_rule(data: st.DataObject) -> None:
    call, shift = drawn_call(data.draw, torch.float64, longest=40)
    classes = random_classes(call)
    top = data.draw(st.integers(0, 4))
    found = reduce(call, classes=classes, top=top, engine="torch")
    check_against_twin(call, found, classes, shift=shift, top=top, atol=1e-10)


@pytest.mark.parametrize("length", [64, 131, 300])
def test_long_maps_equal_the_twin(length: int) -> None:
    call = make_call(n_examples=1, n_heads=1, key_heads=1, n_queries=length, left=5, right=9, causal=True)
    found = reduce(call, top=5, engine="torch")
    check_against_twin(call, found, {}, shift=0, top=5, atol=1e-10)


@pytest.mark.parametrize("name", CALLS)
def test_positions_equal_those_read_from_every_pair(name: str) -> None:
    call = make_call(**CALLS[name][0])
    found = Positions.of(call)
    shape = (call.n_examples, call.n_heads, call.n_queries, call.n_keys)
    allowed = call.allowed(slice(0, call.n_queries)).expand(shape)
    assert torch.equal(found.valid, call.valid())
    assert torch.equal(found.n_allowed, allowed.sum(dim=3))
    assert torch.equal(found.seen, allowed.any(dim=1).any(dim=1))


def test_blocks_do_not_change_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    call = make_call(left=2, mask="full", sinks=True)
    classes = random_classes(call)
    whole = reduce(call, classes=classes, top=3)
    monkeypatch.setattr(torch_reductions, "BLOCK_BYTES", 1)
    parts = reduce(call, classes=classes, top=3)
    for name in (*NAMED, "received"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), atol=1e-13, rtol=0)
    np.testing.assert_allclose(parts.top[1], whole.top[1], atol=1e-13, rtol=0)
    np.testing.assert_array_equal(parts.top[0], whole.top[0])


@pytest.mark.parametrize("mask", ["keys", "full", "additive", "full additive"])
def test_padding_influences_nothing(mask: str) -> None:
    call = make_call(left=2, right=1, mask=mask, n_queries=9)
    classes = random_classes(call)

    def changed(position: int) -> Statistics:
        query, key = (part.clone() for part in call.pair)
        query[-1, :, position], key[-1, :, position] = 7.0, -5.0
        return reduce(dataclasses.replace(call, query=query, key=key), classes=classes, top=2)

    before = reduce(call, classes=classes, top=2)
    differs = {}
    for position in (0, 8, 4):
        after = changed(position)
        pairs = [(getattr(before, name), getattr(after, name)) for name in (*NAMED[:-1], "received")]
        pairs += [(before.shares[name], after.shares[name]) for name in classes]
        pairs += list(zip(before.top, after.top, strict=True))
        differs[position] = any(not np.array_equal(a, b, equal_nan=True) for a, b in pairs)
    assert differs == {0: False, 8: False, 4: True}  # the last is no padding: the control


def test_padding_of_any_amount_gives_the_same_statistics() -> None:
    plain = make_call(n_examples=1, n_queries=6, mask="none", causal=True)
    query, key = (torch.nn.functional.pad(part, (0, 0, 3, 0), value=9.0) for part in plain.pair)
    mask = torch.arange(9)[None, None, None, :] >= 3
    padded = reduce(dataclasses.replace(plain, query=query, key=key, mask=mask), top=2)
    bare = reduce(plain, top=2)
    for name in NAMED:
        np.testing.assert_allclose(getattr(padded, name)[:, :, 3:], getattr(bare, name), atol=1e-13, rtol=0)
    np.testing.assert_allclose(padded.received[:, :, 3:], bare.received, atol=1e-13, rtol=0)
    assert padded.n_valid.tolist() == bare.n_valid.tolist() == [6]


def test_numbers_of_padding_that_are_not_finite_stay_there() -> None:
    call = make_call(right=2, mask="keys")
    query, key = (part.clone() for part in call.pair)
    query[-1, :, -1], key[-1, :, -1] = torch.nan, torch.inf
    spoilt, clean = reduce(dataclasses.replace(call, query=query, key=key)), reduce(call)
    np.testing.assert_array_equal(spoilt.received, clean.received)
    np.testing.assert_array_equal(spoilt.entropy, clean.entropy)


def test_a_given_map_is_reduced_as_it_is() -> None:
    call = make_call(right=2)
    given_map = call.weights(slice(0, call.n_queries))
    bare = dataclasses.replace(call, query=None, key=None, mask=None, given=given_map)
    one, other = reduce(call), reduce(bare)
    for name in ("entropy", "peak", "distance", "itself", "received"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_lower_precision_is_reduced_in_float32(dtype: torch.dtype) -> None:
    call = make_call(right=2, dtype=dtype)
    found = reduce(call, engine="torch")
    assert found.entropy.dtype == np.float32
    check_against_twin(call, found, {}, shift=0, top=0, atol=1e-6)


def test_known_answers() -> None:
    call = make_call(n_examples=1, n_queries=5, mask="none", sharpness=0.0)  # every weight is 1/5
    found = reduce(call, classes={"pair": np.array([[True, False, False, True, False]])}, top=1)
    np.testing.assert_allclose(found.entropy, np.log(5), atol=1e-12)
    np.testing.assert_allclose(found.distance[0, 0], [2.0, 1.4, 1.2, 1.4, 2.0], atol=1e-12)
    np.testing.assert_allclose(found.previous[0, 0], [0, 0.2, 0.2, 0.2, 0.2], atol=1e-12)
    np.testing.assert_allclose(found.following[0, 0], [0.2, 0.2, 0.2, 0.2, 0], atol=1e-12)
    np.testing.assert_allclose(found.shares["pair"], 0.4, atol=1e-12)
    assert found.class_sizes["pair"].tolist() == [pytest.approx(0.4)]
    assert (
        "Statistics(layer, self: 1 examples, 4 heads, 5 of 5 queries no padding, 5 keys, by torch)"
        in repr(found)
    )


def test_the_kernel_of_a_gpu_is_refused_on_a_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(UsageError, match=r"Triton is not installed|kept on cpu, and it runs on CUDA devices"):
        reduce(make_call(dtype=torch.float32), engine="triton")


def test_no_keys_and_no_queries_give_empty_statistics() -> None:
    assert reduce(make_call(n_queries=3, n_keys=0, mask="none", kind="cross"), top=2).mass.tolist() == (
        np.zeros((2, 4, 3)).tolist()
    )
    assert reduce(make_call(n_queries=0, n_keys=3, mask="none", kind="cross")).entropy.shape == (2, 4, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"classes": {"a": np.zeros((2, 6), dtype=bool)}},
            r"class 'a' is bool \(2, 6\); expected one boolean",
        ),
        ({"classes": {"a": np.zeros((2, 7))}}, "class 'a' is float64"),
        ({"top": -1}, "top is -1"),
        ({"max_memory": 100}, "max_memory is 100 bytes; the rows of one query in 2 examples and 4 heads"),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        reduce(make_call(), **options)


LONG = """
import resource, sys, torch
from clinometer.interpret.calls import Call
from clinometer.interpret.reductions import reduce
torch.set_num_threads(1)
torch.manual_seed(0)
n, engine = 16384, sys.argv[1]
q, k = torch.randn(1, 1, n, 8), torch.randn(1, 1, n, 8)
call = Call(layer="a", kind="self", way="sdpa", query=q, key=k, value=None, output=None, scale=0.3, window=4096)
reduce(call.part(0, 0).__class__(**{**{f: getattr(call, f) for f in call.__dataclass_fields__},
       "query": q[:, :, :300], "key": k[:, :, :300]}), engine=engine)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = reduce(call, engine=engine, max_memory=2**26)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, float(found.received.sum()))
"""


@pytest.mark.parametrize("engine", ["torch", "numba"])
def test_memory_does_not_grow_with_the_square_of_the_length(engine: str) -> None:
    pytest.importorskip("resource", reason="peak memory is read by a call that this system lacks")
    if engine == "numba":
        pytest.importorskip("numba", reason="numba is not installed")
    ran = subprocess.run(
        [sys.executable, "-c", LONG, engine], capture_output=True, text=True, timeout=600, check=False
    )
    assert ran.returncode == 0, ran.stderr
    megabytes, total = ran.stdout.split()
    assert float(total) == pytest.approx(1.0, abs=1e-4)
    assert int(megabytes) < 150  # one map is 1024 MB
