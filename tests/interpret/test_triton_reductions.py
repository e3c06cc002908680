"""The GPU kernel's statistics equal the torch path's: in Triton's interpreter, on a GPU where there is one."""

import dataclasses
import importlib.util
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from project_files import ROOT

from clinometer.errors import UsageError
from clinometer.interpret.calls import Call
from clinometer.interpret.reductions import Statistics, reduce
from reference.agreeing import SHARES, agree
from reference.calls import drawn_call, make_call, random_classes

if importlib.util.find_spec("triton") is None:
    pytest.skip("Triton is not installed (it comes with torch's builds for CUDA)", allow_module_level=True)
HAS_GPU = torch.cuda.is_available()
if (
    not HAS_GPU
):  # Triton reads it when it is first imported, its own functions too: here, before any test runs
    os.environ["TRITON_INTERPRET"] = "1"
WHERE = "cuda" if HAS_GPU else "cpu"
TYPES = [torch.float32, torch.bfloat16, torch.float16]


def there(call: Call) -> Call:
    """The call on the device that is tested."""
    moved = {
        field.name: value.to(WHERE)
        for field in dataclasses.fields(call)
        if isinstance(value := getattr(call, field.name), torch.Tensor)
    }
    return dataclasses.replace(call, **moved)


def both(call: Call) -> tuple[Statistics, Statistics]:
    classes = random_classes(call)
    return (
        reduce(there(call), classes=classes, engine="triton"),
        reduce(call, classes=classes, engine="torch"),
    )


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_kernel_equals_the_torch_path(data: st.DataObject) -> None:
    call, _ = drawn_call(data.draw, data.draw(st.sampled_from(TYPES)), longest=100)
    agree(*both(call), engine="triton")


CASES: dict[str, dict[str, Any]] = {
    "plain": {"mask": "none"},
    "padding": {"left": 3, "right": 20},
    "full boolean mask": {"right": 9, "mask": "full"},
    "full additive mask": {"right": 9, "mask": "full additive"},
    "a mask and a bias, both additive": {"right": 9, "mask": "full additive", "bias": True},
    "causal": {"left": 3, "causal": True},
    "causal, later": {"n_queries": 70, "n_keys": 140, "causal": True, "causal_offset": 70},
    "an offset that closes rows": {"causal": True, "causal_offset": -30, "mask": "none"},
    "window": {"window": 20},
    "a window of one": {"window": 1},
    "causal window": {"window": 70, "causal": True, "right": 5},
    "cross": {"n_keys": 90, "kind": "cross", "right": 30},
    "soft-cap": {"softcap": 1.5},
    "sinks": {"sinks": True, "right": 7},
    "one query": {"n_queries": 1, "n_keys": 130, "left": 2},
    "nothing may be attended to": {"n_queries": 70, "right": 70},
}


@pytest.mark.parametrize("dtype", TYPES, ids=["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", CASES)
def test_more_than_a_tile_of_every_kind_of_call(name: str, dtype: torch.dtype) -> None:
    agree(
        *both(make_call(**{"n_examples": 2, "n_queries": 130, "dtype": dtype, **CASES[name]})),
        engine="triton",
    )


@pytest.mark.parametrize("width", [1, 16, 65, 80, 129, 256])
def test_heads_of_any_width(width: int) -> None:
    call = make_call(n_examples=1, n_queries=40, dtype=torch.float32, right=3)
    n_heads, n_shared = call.pair[0].shape[1], call.pair[1].shape[1]
    draw = torch.Generator().manual_seed(width)
    query = torch.randn(1, n_heads, 40, width, generator=draw)
    key = torch.randn(1, n_shared, 40, width, generator=draw)
    made = dataclasses.replace(call, query=query, key=key, value=None, output=None, scale=width**-0.5)
    agree(*both(made), engine="triton")


@pytest.mark.parametrize("n", [0, 1, 16, 17])
def test_any_number_of_classes(n: int) -> None:
    call = make_call(n_examples=2, n_queries=70, dtype=torch.float32, right=4)
    draw = np.random.default_rng(n)
    classes = {str(i): draw.random((2, 70)) < 0.3 for i in range(n)}
    one = reduce(there(call), classes=classes, engine="triton")
    other = reduce(call, classes=classes, engine="torch")
    agree(one, other, engine="triton")
    assert list(one.shares) == list(classes)


def test_tensors_that_are_views_are_read_where_they_lie() -> None:
    call = make_call(n_examples=2, n_queries=70, dtype=torch.float32, mask="none")
    query, key = (part.transpose(1, 2).contiguous().transpose(1, 2) for part in call.pair)
    wide = torch.stack([query, query + 1], dim=4)[..., 0]  # a step of 2 between the numbers of a head
    assert not query.is_contiguous() and wide.stride(3) == 2
    agree(*both(dataclasses.replace(call, query=wide, key=key)), engine="triton")


def test_nothing_to_reduce_is_empty() -> None:
    for shape in ({"n_queries": 3, "n_keys": 0}, {"n_queries": 0, "n_keys": 3}):
        call = make_call(mask="none", kind="cross", dtype=torch.float32, **shape)
        found = reduce(there(call), engine="triton")
        assert found.entropy.shape[2] == shape["n_queries"] and not found.mass.any()


def refused() -> dict[str, tuple[Call, dict[str, Any], str]]:
    call = make_call(n_queries=30, dtype=torch.float32)
    query, key = (part.clone() for part in call.pair)
    query[0, 0, 0, 0] = torch.nan
    wide = torch.zeros(1, 1, 4, 300)
    maps = call.weights(slice(0, 30))
    return {
        "given": (dataclasses.replace(call, query=None, key=None, given=maps), {}, "handed out its map"),
        "float64": (make_call(dtype=torch.float64), {}, "computed in float64"),
        "NaN": (dataclasses.replace(call, query=query, key=key), {}, "not finite"),
        "a sink": (
            dataclasses.replace(call, sinks=torch.full((call.n_heads,), torch.inf)),
            {},
            "a sink is not finite",
        ),
        "wide": (
            dataclasses.replace(
                make_call(
                    n_examples=1, n_heads=1, key_heads=1, n_queries=4, dtype=torch.float32, mask="none"
                ),
                query=wide,
                key=wide,
            ),
            {},
            "300 wide, and 256 fit",
        ),
        "top": (call, {"top": 3}, "keeps no largest weights"),
    }


@pytest.mark.parametrize("name", ["given", "float64", "NaN", "a sink", "wide", "top"])
def test_what_it_cannot_take_is_refused_with_the_reason(name: str) -> None:
    call, options, match = refused()[name]
    with pytest.raises(UsageError, match=f"engine='triton' cannot be used: .*{match}"):
        reduce(there(call), engine="triton", **options)


COMPILE = """
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
import triton
from clinometer.interpret import triton_reductions as kernel

PLACES = {"classes": "*fp32", "out": "*fp32", "shares": "*fp32", "normaliser": "*fp32", "sinks": "*fp32",
          "first_key": "*i64", "counted": "*u8", "received": "*fp64"}
KINDS = ({"BIAS": 0, "MASK": 1, "CAUSAL": False, "WINDOW": False, "CAP": False},
         {"BIAS": 2, "MASK": 2, "CAUSAL": True, "WINDOW": True, "CAP": True})
made = 0
for architecture, number, width, tile, kind in (
    (75, "*fp16", 64, 64, 0), (80, "*fp32", 64, 64, 1), (90, "*bf16", 128, 32, 1), (90, "*fp32", 256, 16, 0),
):
    constants = {**KINDS[kind], "WIDTH": width, "QUERIES": tile, "KEYS": tile}
    for function, more in (
        (kernel.rows_of, {"N_CLASSES": 2, "CLASSES": 16, "SINKS": kind == 1, "NEIGHBOURS": True}),
        (kernel.columns_of, {}),
    ):
        named = {**constants, **more, "query_step": 1, "key_step": 1}
        places = {**PLACES, "query": number, "key": number}
        places |= {name: {0: number, 1: "*u8", 2: number}[named[name.upper()]] for name in ("bias", "mask")}
        kinds = {
            name: "constexpr" if name in named else places.get(name)
            or ("fp32" if name in ("scale", "softcap") or name.endswith("threshold") else "i32")
            for name in function.arg_names
        }
        fixed = {(i,): named[name] for i, name in enumerate(function.arg_names) if name in named}
        compiled = triton.compile(
            ASTSource(function, kinds, constexprs=fixed), target=GPUTarget("cuda", architecture, 32),
            options={"num_warps": 4, "num_stages": 2},
        )
        assert compiled.asm["cubin"] and compiled.metadata.shared <= (65536 if architecture == 75 else 101376)
        made += 1
print(made, "kernels")
"""


def test_it_compiles_for_gpus_of_three_generations_and_fits_onto_them() -> None:
    """Without a GPU: to machine code, whose memory on the chip is what the smallest of its generation have."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([p for p in sys.path if p] + [str(ROOT.parent)]),
    }
    environment.pop("TRITON_INTERPRET", None)
    done = subprocess.run(
        [sys.executable, "-c", COMPILE],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["8", "kernels"]


@pytest.mark.gpu
def test_on_a_gpu_a_second_run_gives_the_same_bytes() -> None:
    call = there(make_call(n_examples=4, n_queries=300, dtype=torch.bfloat16, right=9, causal=True))
    one, other = (reduce(call, engine="triton") for _ in range(2))
    for name in (*SHARES, "entropy", "distance"):
        assert np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True), name
