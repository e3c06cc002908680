"""Every attention call of every architecture is captured, certified, and equal to eager attention."""

import dataclasses
import importlib.util
from importlib.metadata import version

import numpy as np
import pytest
import torch
from packaging.version import Version
from torch import Tensor

from clinometer.errors import CaptureError
from clinometer.interpret.calls import Call
from clinometer.interpret.capture import attention_gradient, trace
from clinometer.interpret.trace import Trace

pytest.importorskip("transformers", reason="transformers is not installed")
from reference.architectures import ARCHITECTURES, REFUSED, Architecture, Refused
from reference.attending import run
from reference.padded import Batch


def marks(architecture: Architecture) -> list[pytest.MarkDecorator]:
    absent = [name for name in architecture.needs if importlib.util.find_spec(name) is None]
    if Version(version("transformers")) < Version(architecture.since):
        return [pytest.mark.skip(reason=f"captured in this way from transformers {architecture.since} on")]
    return [pytest.mark.skip(reason=f"{' and '.join(absent)} not installed")] if absent else []


every = pytest.mark.parametrize(
    "architecture", [pytest.param(each, id=each.name, marks=marks(each)) for each in ARCHITECTURES]
)


def error(maps: Tensor, want: Tensor, real: Tensor | None) -> float:
    """The largest difference over the queries that are no padding."""
    assert maps.shape == want.shape
    worst = (maps - want).abs().amax(dim=(1, 3))
    return float((worst if real is None else worst[real]).max())


def captured(architecture: Architecture) -> tuple[Trace, torch.nn.Module, Batch]:
    model, batch = architecture.build(), architecture.inputs()
    with torch.no_grad():
        return trace(lambda: run(model, batch), model), model, batch


def spoiled(call: Call) -> list[tuple[str, Call]]:
    """The call recomputed wrongly: heads in another order; no mask."""
    bare = dataclasses.replace(call, versions=())
    if call.given is not None:
        return [("heads", dataclasses.replace(bare, given=call.given.roll(1, 1)))]
    assert call.query is not None
    wrong = [("heads", dataclasses.replace(bare, query=call.query.roll(1, 1)))]
    if not bool(call.allowed(slice(0, call.n_queries)).all()):
        open_ = {"mask": None, "causal": False, "window": None}
        wrong.append(("mask", dataclasses.replace(bare, **open_)))
    return wrong


def test_the_matrix_is_as_wide_as_it_says() -> None:
    names = [each.name for each in ARCHITECTURES] + [each.name for each in REFUSED]
    assert len(names) == len(set(names))
    assert len(ARCHITECTURES) >= 90
    assert sum(each.differentiable for each in ARCHITECTURES) >= 60


@every
def test_every_call_is_captured_under_its_name_and_certified(architecture: Architecture) -> None:
    found, model, _ = captured(architecture)
    assert found.layers == architecture.layers
    assert {layer.split("#")[0] for layer in found.layers} <= set(dict(model.named_modules()))
    assert found.kinds == architecture.kinds()
    assert tuple(call.way for call in found.calls) == architecture.ways()
    found.certify()
    assert max(found.certificate().values()) < 2e-6


@every
def test_maps_equal_the_reference_and_wrong_ones_do_not(architecture: Architecture) -> None:
    found, model, batch = captured(architecture)
    with torch.no_grad():
        wanted = architecture.reference(model, batch).maps
    assert len(wanted) == len(found)
    controls = set()
    for layer, want in zip(found.layers, wanted, strict=True):
        real = architecture.real(batch, layer)
        maps = found.maps(layer)
        assert error(maps, want, real) < 1e-5
        rows = maps.sum(dim=3).transpose(1, 2)
        sinks = found.call(layer).sinks is not None
        assert bool(((rows if real is None else rows[real]) - 1.0).abs().max() < 1e-5) != sinks
        for what, wrong in spoiled(found.call(layer)):
            if error(wrong.weights(slice(0, wrong.n_queries)), want, real) > 1e-3:
                controls.add(what)
                with pytest.raises(CaptureError, match="does not reproduce the layer's output"):
                    Trace([wrong]).maps(0)
    assert "heads" in controls
    if any(what == "mask" for call in found.calls for what, _ in spoiled(call)):
        assert "mask" in controls


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype")
@every
def test_outputs_are_those_of_the_untapped_model(architecture: Architecture) -> None:
    model, batch = architecture.build(), architecture.inputs()
    with torch.no_grad():
        plain = architecture.result(run(model, batch))
        tapped = architecture.result(trace(lambda: run(model, batch), model).output)
    real = architecture.real(batch, "")
    if architecture.exact:
        assert torch.equal(plain, tapped)
    else:
        one, other = (plain, tapped) if real is None else (plain[real], tapped[real])
        assert torch.allclose(one, other, atol=1e-5, rtol=0)
    with torch.no_grad():
        after = architecture.result(run(model, batch))
    assert torch.equal(plain, after)


def target(result: Tensor, real: Tensor | None) -> Tensor:
    """One number per example, a fixed mixture of what is no padding."""
    flat = result if real is None else result * real[..., None]
    flat = flat.reshape(len(flat), -1)
    return flat @ torch.linspace(-3.0, 2.0, flat.shape[1], dtype=flat.dtype).sin()


differentiable = pytest.mark.parametrize(
    "architecture",
    [pytest.param(each, id=each.name, marks=marks(each)) for each in ARCHITECTURES if each.differentiable],
)


@differentiable
def test_attention_gradients_equal_autograd_through_the_reference(architecture: Architecture) -> None:
    model, batch = architecture.build(torch.float64), architecture.inputs(torch.float64)
    real = architecture.real(batch, "")
    reference = architecture.reference(model, batch)
    wanted = torch.autograd.grad(target(architecture.result(reference.result), real).sum(), reference.maps)
    found = attention_gradient(lambda: target(architecture.result(run(model, batch)), real), model)
    found.certify()
    for layer, weights, gradient in zip(found.layers, reference.maps, wanted, strict=True):
        want = (weights * gradient).detach().numpy()
        assert np.abs(want).max() > 1e-3
        np.testing.assert_allclose(found.contribution(layer), want, atol=1e-6, rtol=0)
        assert np.abs(found.contribution(layer) - np.roll(want, 1, axis=1)).max() > 1e-4  # control


@pytest.mark.parametrize("refused", REFUSED, ids=lambda each: each.name)
def test_what_cannot_be_captured_is_refused_by_name(refused: Refused) -> None:
    model, batch = refused.build(), refused.inputs()
    with torch.no_grad():
        run(model, batch)  # control: it is the tap that refuses
        with pytest.raises(CaptureError, match=refused.message):
            trace(lambda: run(model, batch), model)
