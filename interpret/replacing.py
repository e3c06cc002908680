"""One module's output replaced by a given tensor, for a single run of the model that holds it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from ..errors import ModelError


@contextmanager
def replaced(module: nn.Module, *given: Tensor, same_shape: bool = True) -> Iterator[None]:
    """In the body, the first runs of `module` return the tensors given, one after the other.

    Gradients flow into the tensors given. Later runs, and runs on other threads, are left alone. A model can
    so be run from its embeddings with its token numbers still known to it, which some models need.

    Args:
        module: a part of a model whose output is one tensor.
        given: what its first, second, ... run returns.
        same_shape: refuse a tensor that has not the shape of the true output.

    Raises:
        ModelError: the module ran fewer times than tensors were given, or its output has another shape.
    """
    thread = threading.get_ident()
    left = list(given)

    def substitute(_: nn.Module, __: Any, output: Any) -> Any:
        if threading.get_ident() != thread or not left:
            return output
        tensor = left.pop(0)
        if same_shape and output.shape != tensor.shape:
            raise ModelError(
                f"{type(module).__name__} gave {tuple(output.shape)}, and {tuple(tensor.shape)} was to replace it. "
                "Embeddings must belong to the batch they are used with."
            )
        return tensor.to(output.device)

    handle = module.register_forward_hook(substitute)
    try:
        yield
    finally:
        handle.remove()
    if left:
        raise ModelError(
            f"the model looked nothing up in its {type(module).__name__}, so it cannot be run from embeddings "
            "(it reads its table by another way). Use clinometer.wrap() with a forward of your own."
        )
