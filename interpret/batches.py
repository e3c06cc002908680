"""Which rows run together: of about one length, as many as memory allows, fewer where it runs out after all."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from ..errors import DataError, ModelError
from ..records import Floats, Rows
from .keeping import size
from .models import Batch, Subject, check_finite

Result = TypeVar("Result")
Places = npt.NDArray[np.intp]

# What one pass may keep for its backward pass. A fixed number, and not what is free at the moment: batches
# decide the last digits, and two runs of one command have to give the same ones.
MAX_MEMORY = 2 * 10**9
STRETCH = 1.15


def bucketed(lengths: Sequence[int], batch_size: int) -> list[Places]:
    """The places of rows in batches of about one length, shortest first; rows of one length stay in their order.

    The longest row of a batch has at most `STRETCH` times the tokens of its shortest, and two more: a batch costs what
    its longest row costs, and padding is computed like anything else.

    Raises:
        ModelError: a batch size below one.
    """
    if batch_size < 1:
        raise ModelError(f"batch_size is {batch_size}, expected 1 or more.")
    sizes = np.asarray(lengths)
    made: list[list[int]] = []
    for place in np.argsort(sizes, kind="stable").tolist():
        whole = not made or len(made[-1]) == batch_size
        if whole or sizes[place] > STRETCH * sizes[made[-1][0]] + 2:
            made.append([])
        made[-1].append(place)
    return [np.array(places, dtype=np.intp) for places in made]


def rows_of_length(
    subject: Subject, rows: Rows, lengths: Sequence[int], max_memory: int = MAX_MEMORY
) -> Callable[[int], int]:
    """How many rows of a length fit into memory: `rows_at_once` of the longest row, in proportion to the tokens.

    What is kept grows with the tokens at least in proportion, so that shorter rows take no more than this allows, but
    for what does not depend on them; and the model is run once for it, not once for every batch.
    """
    longest = int(np.argmax(np.asarray(lengths)))
    most = rows_at_once(subject, subject.encode(rows.take([longest])), max_memory)
    tokens = max(1, int(lengths[longest]))
    return lambda length: max(1, most * tokens // max(1, length))


def rows_at_once(subject: Subject, batch: Batch, max_memory: int = MAX_MEMORY) -> int:
    """How many rows like the longest of a batch fit into memory, forward and backward; one at least.

    The first row is run once, and what autograd keeps of it is counted, parameters left out.
    """
    one = {key: value[:1] for key, value in batch.items()}
    parameters = subject.module.parameters()
    known = {storage.data_ptr() for parameter in parameters for storage in storages(parameter)}
    kept: dict[int, int] = {}
    held = []  # so that no memory is given out, and counted, twice

    def count(tensor: Tensor) -> Tensor:
        for storage in storages(tensor):
            if storage.data_ptr() not in known:
                kept[storage.data_ptr()] = storage.nbytes()
                held.append(storage)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor), torch.enable_grad():
        embedded = subject.embed(one).detach().requires_grad_()
        subject.select(subject.forward(one, embedded))
    return max(1, max_memory // max(1, sum(kept.values())))


def storages(tensor: Tensor) -> Iterator[torch.UntypedStorage]:
    """A tensor's memory: its own, or that of the parts of one that only stands for them, as torchao's weights do."""
    standing: Any = tensor
    if is_traceable_wrapper_subclass(standing):
        names, _ = standing.__tensor_flatten__()
        for name in names:
            yield from storages(getattr(standing, name))
    else:
        yield tensor.untyped_storage()


@torch.no_grad()
def scored(subject: Subject, rows: Rows, lengths: Sequence[int], batch_size: int) -> Floats:
    """`models.score` of rows of known lengths, those of about one length together, so that no padding is computed.

    Raises:
        DataError: there are no rows, or a score is not finite.
    """
    if not len(rows):
        raise DataError("there are no rows to score.")
    made = np.zeros(len(rows))
    for index in bucketed(lengths, batch_size):
        batch = subject.encode(rows.take(index))
        made[index] = subject.select(subject.forward(batch, None)).cpu().double().numpy()
    check_finite(made, rows.ids, subject.name)
    return made


def backing_off(run: Callable[[int], Result], at_once: int, what: str) -> Result:
    """What `run(rows at once)` returns, tried with half as many rows each time memory runs out.

    Raises:
        ModelError: memory runs out with a single row.
    """
    while True:
        try:
            return run(at_once)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            reason = str(error).split("\n")[0]
        if at_once == 1:
            raise ModelError(
                f"{what}: memory ran out with one row at a time ({reason}). Shorten the rows, load the model with "
                f"dtype='bfloat16', or take a device with more than the {size(MAX_MEMORY)} planned for."
            )
        at_once //= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def out_of_memory(error: BaseException) -> bool:
    """Whether an error is one of memory; torch's allocator of the CPU, and cuBLAS, have no class of their own for it."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return any(words in str(error) for words in ("not enough memory", "CUBLAS_STATUS_ALLOC_FAILED"))


def repeated(batch: Batch, which: Any) -> dict[str, Tensor]:
    """The rows of a batch at these places, which may repeat."""
    index = torch.as_tensor(np.asarray(which, dtype=np.int64))
    return {key: value[index.to(value.device)] for key, value in batch.items()}
