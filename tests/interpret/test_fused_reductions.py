"""The compiled pass gives the statistics of the torch path, refuses by name, and needs nothing it may not have."""

import dataclasses
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clinometer.errors import UsageError
from clinometer.interpret import reductions
from clinometer.interpret.calls import Call
from clinometer.interpret.reductions import Statistics, reduce
from reference.agreeing import agree
from reference.calls import drawn_call, make_call, random_classes

pytest.importorskip("numba", reason="numba is not installed")

from clinometer.interpret import fused_reductions, kernel_calls


def both(call: Call, top: int = 0, **options: Any) -> tuple[Statistics, Statistics]:
    classes = random_classes(call)
    fast = reduce(call, classes=classes, top=top, engine="numba", **options)
    return fast, reduce(call, classes=classes, top=top, engine="torch")


@settings(max_examples=250, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_the_compiled_pass_equals_the_torch_path(data: st.DataObject) -> None:
    call, _ = drawn_call(data.draw, torch.float32, longest=300)
    top = data.draw(st.sampled_from([0, 1, 5, 20]))
    fast, plain = both(call, top)
    agree(fast, plain, engine="numba")
    if top:
        check_keys(call, fast)


def check_keys(call: Call, found: Statistics) -> None:
    """The keys named are those that have the weights named, each once."""
    assert found.top is not None
    maps = call.weights(slice(0, call.n_queries)).numpy()
    keys, weights = found.top
    picked = np.take_along_axis(maps, np.maximum(keys, 0), axis=3)
    named = keys >= 0
    np.testing.assert_allclose(picked[named], weights[named], atol=1e-5, rtol=0)
    ordered = np.sort(np.where(named, keys, -1 - np.arange(keys.shape[3])), axis=3)
    assert (np.diff(ordered, axis=3) != 0).all()


def large(**made: Any) -> Call:
    return make_call(**{"n_queries": 150, "dtype": torch.float32, "right": 20, **made})


@pytest.fixture
def threads() -> Any:
    """Set torch's number of threads, and put it back."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("n_threads", [1, 2, 3, 7])
@pytest.mark.parametrize("causal", [False, True])
def test_any_number_of_threads_gives_the_same_numbers(threads: Any, n_threads: int, causal: bool) -> None:
    call = large(n_examples=1, n_heads=1, key_heads=1, causal=causal, window=70)
    threads(n_threads)
    fast, plain = both(call, top=3)
    agree(fast, plain, engine="numba")
    threads(1)
    alone, _ = both(call, top=3)
    np.testing.assert_array_equal(fast.entropy, alone.entropy)
    np.testing.assert_allclose(fast.received, alone.received, atol=1e-7, rtol=0)


def test_calls_from_several_threads_do_not_meet(threads: Any) -> None:
    import concurrent.futures

    threads(2)
    calls = [large(seed=i, n_queries=100 + i) for i in range(8)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda call: both(call, top=2), calls))
    for fast, plain in found:
        agree(fast, plain, engine="numba")


def test_less_memory_gives_the_same_numbers() -> None:
    call = large()
    whole, plain = both(call, top=2)
    small, _ = both(call, top=2, max_memory=20_000)
    agree(small, plain, engine="numba")
    np.testing.assert_array_equal(small.entropy, whole.entropy)
    with pytest.raises(
        UsageError, match=r"max_memory is 5000 bytes; one thread of the compiled pass takes \d+"
    ):
        both(call, max_memory=5000)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_lower_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    agree(*both(large(dtype=dtype, mask="keys"), top=2), engine="numba")


def test_masks_that_repeat_themselves_are_read_as_they_lie() -> None:
    call = large(mask="full")
    assert call.mask is not None
    wide = call.mask.expand(-1, call.n_heads, -1, -1)
    agree(*both(dataclasses.replace(call, mask=wide)), engine="numba")
    rows = large(mask="additive").mask
    assert rows is not None
    agree(*both(dataclasses.replace(call, mask=rows.expand(-1, 1, call.n_queries, -1))), engine="numba")
    agree(*both(dataclasses.replace(call, mask=call.mask.transpose(2, 3))), engine="numba")


def test_weights_far_apart_and_alike_are_told_exactly() -> None:
    sharp = large(sharpness=20.0)
    agree(*both(sharp, top=4), engine="numba")
    even = large(sharpness=0.0, right=0, mask="none")
    fast, _ = both(even, top=4)
    np.testing.assert_allclose(fast.entropy, math.log(150), atol=2e-6)
    np.testing.assert_allclose(fast.top[1], 1 / 150, atol=1e-8)


def test_auto_takes_the_compiled_pass_where_it_can_and_where_it_pays() -> None:
    assert reduce(large()).engine == "numba"
    assert reduce(large(n_queries=30)).engine == "torch"
    assert reduce(large(dtype=torch.float64)).engine == "torch"


def refused() -> dict[str, tuple[Call, str]]:
    call = large()
    query, key = (part.clone() for part in call.pair)
    query[0, 0, 0, 0] = torch.nan
    key[0, 0, 0, 0] = torch.inf
    both_added = large(mask="full additive", bias=True)
    maps = call.weights(slice(0, 150))
    return {
        "given": (dataclasses.replace(call, query=None, key=None, given=maps), "handed out its map"),
        "float64": (large(dtype=torch.float64), "computed in float64"),
        "NaN": (dataclasses.replace(call, query=query), "not finite"),
        "infinity": (dataclasses.replace(call, key=key), "not finite"),
        "bfloat16 mask": (large(mask="additive", dtype=torch.bfloat16), "neither boolean nor float32"),
        "two added": (both_added, "both additive"),
        "sink": (dataclasses.replace(call, sinks=torch.full((4,), -torch.inf)), "a sink is not finite"),
    }


@pytest.mark.parametrize("name", refused())
def test_what_the_compiled_pass_cannot_take_is_refused_by_name_and_left_to_torch_by_auto(name: str) -> None:
    call, message = refused()[name]
    with pytest.raises(UsageError, match=f"layer: engine='numba' cannot be used: .*{message}"):
        reduce(call, engine="numba")
    assert reduce(call).engine == "torch"


def test_an_engine_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match="no engine is named 'nunba'; did you mean 'numba'"):
        reduce(large(), engine="nunba")


def test_without_numba_torch_does_it_and_asking_for_numba_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    call = large()
    with_it = reduce(call)
    found = reductions.importlib.util.find_spec
    monkeypatch.setattr(
        reductions.importlib.util, "find_spec", lambda name: None if name == "numba" else found(name)
    )
    agree(with_it, reduce(call), engine="numba")
    with pytest.raises(UsageError, match=r"numba is not installed \(pip install 'clinometer\[fast\]'\)"):
        reduce(call, engine="numba")


NO_NUMBA = """
import importlib.util, sys
import torch
from reference.calls import make_call
sys.modules["numba"] = sys.modules["llvmlite"] = None  # an import of them fails
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "numba" else found(name, package)
from clinometer.interpret.reductions import reduce
assert reduce(make_call(n_queries=150, dtype=torch.float32)).engine == "torch"
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    tests = str(Path(__file__).parents[1])
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, "PYTHONPATH": tests, **environment},
    )


def test_nothing_of_the_torch_path_imports_numba() -> None:
    ran = run(NO_NUMBA)
    assert ran.returncode == 0, ran.stderr


CACHE = """
from clinometer.interpret import fused_reductions
print(sum(fused_reductions.scan().stats.cache_hits.values()), len(fused_reductions.scan().overloads))
"""


@pytest.mark.parametrize("broken", ["__init__", "save_overload"])
def test_a_cache_that_cannot_be_written_does_not_matter(broken: str, tmp_path: Path) -> None:
    breaking = f"""
from numba.core.caching import FunctionCache
def broken(*arguments):
    raise {"RuntimeError('no locator available')" if broken == "__init__" else "OSError(28, 'no space left')"}
FunctionCache.{broken} = broken
"""
    ran = run(breaking + CACHE, NUMBA_CACHE_DIR=str(tmp_path))
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["0", "1"]


def test_the_compiled_code_is_kept_on_disk_and_made_again_where_it_is_damaged(tmp_path: Path) -> None:
    first, second = (run(CACHE, NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2))
    assert first.stdout.split() == ["0", "1"], first.stderr
    assert second.stdout.split() == ["1", "1"], second.stderr
    for kept in tmp_path.rglob("*.nb?"):
        kept.write_bytes(kept.read_bytes()[:100])
    damaged = run(CACHE, NUMBA_CACHE_DIR=str(tmp_path))
    assert damaged.stdout.split() == ["0", "1"], damaged.stderr


def test_the_compiled_exponential_is_exact_to_rounding() -> None:
    numba = pytest.importorskip("numba")
    power = fused_reductions._exp

    @numba.njit
    def over(x: Any, out: Any) -> None:
        for i in range(x.shape[0]):
            out[i] = power(x[i])

    x = np.linspace(-87, 87, 300_001, dtype=np.float32)
    out = np.empty_like(x)
    over(x, out)
    wanted = np.exp(x.astype(np.float64))
    assert np.abs(out / wanted - 1).max() < 3e-7


def test_the_plan_keeps_whole_tiles_and_at_least_one() -> None:
    for n in (1, 5, 24, 25, 4000, 60_000):
        call = large(n_examples=1, n_heads=1, key_heads=1, n_queries=n, right=0, mask="none", width=1)
        block, n_threads = kernel_calls._plan(call, 3, None)
        assert block % fused_reductions.ROWS == 0 and block >= fused_reductions.ROWS
        assert n_threads == 3
