"""Inputs on their way to a device: the same values; page-locked on the way to a GPU, and there alone."""

from typing import Any

import pytest
import torch

from clinometer.interpret.placing import placed

CPU = torch.device("cpu")


def test_values_are_kept_and_types_changed() -> None:
    value = torch.arange(6).reshape(2, 3) / 3
    assert placed(value, CPU) is value
    assert torch.equal(placed(value, CPU, torch.bfloat16), value.to(torch.bfloat16))


@pytest.mark.parametrize(
    ("there", "asked"),
    [
        ("cuda:1", [("to", torch.float16), ("pin_memory",), ("to", torch.device("cuda:1"))]),
        ("mps", [("to", torch.float16), ("to", torch.device("mps"))]),
    ],
)
def test_only_what_goes_to_a_gpu_is_locked(
    monkeypatch: pytest.MonkeyPatch, there: str, asked: list[tuple[Any, ...]]
) -> None:
    value, seen, waits = torch.ones(3), list[tuple[Any, ...]](), list[bool]()
    real = torch.Tensor.to

    def to(self: torch.Tensor, what: Any, **named: Any) -> torch.Tensor:
        seen.append(("to", what))
        waits.append(not named.get("non_blocking", False))
        return real(self, what) if isinstance(what, torch.dtype) else self

    def pin_memory(self: torch.Tensor) -> torch.Tensor:
        seen.append(("pin_memory",))
        return self

    monkeypatch.setattr(torch.Tensor, "to", to)
    monkeypatch.setattr(torch.Tensor, "pin_memory", pin_memory)
    assert placed(value, torch.device(there), torch.float16).dtype == torch.float16
    assert seen == asked and waits[-1] is (there == "mps")


@pytest.mark.gpu
def test_on_a_gpu_the_values_are_the_same() -> None:
    gpu = torch.device("cuda")
    values = [torch.randn(64, 512, generator=torch.Generator().manual_seed(i)) for i in range(20)]
    there = [placed(value, gpu, torch.float16) for value in values]
    assert all(torch.equal(one.cpu(), value.half()) for one, value in zip(there, values, strict=True))
