"""Inputs on their way to a device: to a GPU from page-locked memory, so that the copy waits for nothing."""

import torch
from torch import Tensor


def placed(value: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """A tensor of the processor's memory on a device, and of a number type where one is given.

    A copy from page-locked ("pinned") memory runs beside what the GPU is computing; torch keeps that memory until
    the copy is over (`torch.Tensor.pin_memory`, `non_blocking`). Its number type is changed before, so that one copy is
    made and no other memory is between.
    """
    if dtype is not None:
        value = value.to(dtype)
    if device.type != "cuda" or value.device.type != "cpu":
        return value.to(device)
    return value.pin_memory().to(device, non_blocking=True)
