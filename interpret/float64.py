"""Numbers of 64 bits: where a tensor lies, or on the processor where its device has none, as Apple's."""

import torch
from torch import Tensor

LACKING = {"mps"}  # types of devices that refuse float64


def float64_device(device: torch.device) -> torch.device:
    """The device, or the processor where the device has no float64."""
    return torch.device("cpu") if device.type in LACKING else device


def in_float64(tensor: Tensor) -> Tensor:
    """The tensor in float64, on `float64_device` of its own; gradients go back through it."""
    return tensor.to(float64_device(tensor.device)).double()


def sum_in_float64(tensor: Tensor, dim: int) -> Tensor:
    """The sum along an axis, added up in float64 without a copy of the whole, on `float64_device` of the tensor's own."""
    return tensor.to(float64_device(tensor.device)).sum(dim=dim, dtype=torch.float64)
