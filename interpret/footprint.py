"""How many bytes a model takes, in memory as on disk."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn


def weight_bytes(module: nn.Module) -> int:
    """Bytes that a module's parameters and buffers take, 8-bit ones too; what two names share counts once."""
    seen: dict[tuple[int, int], int] = {}
    tensors = list(_tensors(module))  # held, so that an address stays one tensor's
    for tensor in tensors:
        size = tensor.numel() * tensor.element_size()
        if tensor.is_quantized and tensor.qscheme() in (
            torch.per_channel_affine,
            torch.per_channel_affine_float_qparams,
        ):
            size += 16 * tensor.q_per_channel_scales().numel()  # a scale and a zero point of 8 bytes each
        seen[(tensor.data_ptr(), size)] = size
    return sum(seen.values())


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    for part in module.modules():
        packed = getattr(part, "_packed_params", None)
        if packed is not None and not isinstance(packed, nn.Module):
            continue  # the parts of a packed layer, which is counted whole below
        if packed is not None:
            yield from (one for one in part._weight_bias() if one is not None)  # type: ignore[operator]
        for tensor in (*part._parameters.values(), *part._buffers.values()):
            if tensor is not None:
                yield from _inner(tensor)


def _inner(tensor: Tensor) -> Iterator[Tensor]:
    """The tensors that one of a subclass is made of (torchao's), or the tensor itself."""
    flatten = getattr(tensor, "__tensor_flatten__", None)
    if flatten is None or type(tensor) in (Tensor, nn.Parameter):
        yield tensor
        return
    for name in flatten()[0]:
        yield from _inner(getattr(tensor, name))


def folder_bytes(folder: str | Path) -> int:
    """Bytes of all weight files (safetensors) of a model's folder."""
    return sum(file.stat().st_size for file in Path(folder).glob("*.safetensors"))
