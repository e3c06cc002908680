"""A second device that every machine has: memory of the CPU that torch takes for another device's.

`register()` gives torch a device called "elsewhere" through its key for backends of others, PrivateUse1. Its tensors
are plain ones (`torch.Tensor`, nothing wrapped) with their own sizes, strides and storage; the memory is the CPU's, and
every operation is the CPU's kernel on it, so that values and gradients are real ones. What holds on CUDA holds here:

* an operation of tensors of two devices is refused, but for copies, for numbers (0-dimensional CPU tensors) and for
  CPU tensors as indices; a device tensor indexes no CPU tensor, and no in-place operation of a CPU tensor takes one;
* `numpy()` and `np.asarray` of a device tensor are refused;
* a random generator of another device is refused;
* "elsewhere", the device that a subject is asked for, and "elsewhere:0", that of its tensors, are not equal;
* the backward pass runs on a thread of its own, not on the one that called it.

Inside `without_float64()` it refuses 64-bit floats too, as Apple's MPS does.

It does not show what only a GPU has: its kernels and their last digits, kernels that are missing, branches that ask for
"cuda" by name, pinned memory, streams and what is read before they are done, memory that runs out, and speed.

The registration cannot be undone, and has to come before the first backward pass of a process: `apart` runs the tests
of a file in another process.
"""

import functools
import os
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
import torch.utils._pytree as trees
from torch import Tensor
from torch.utils import backend_registration

from clinometer.interpret.float64 import LACKING

NAME = "elsewhere"
APART = "CLINOMETER_TESTS_ON_ANOTHER_DEVICE"  # set in the process that has it
DEVICE = torch.device("cpu")  # until `register`; then "elsewhere"
KERNELS = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)
ACCEPTED = {"aten::_copy_from", "aten::_copy_from_and_resize", "aten::copy_"}
INDEXED = {"aten::index", "aten::_unsafe_index", "aten::index_put_", "aten::_index_put_impl_"}
# Operations that refuse even a number from the CPU.
STRICT = {
    "aten::index_select",
    "aten::gather",
    "aten::scatter",
    "aten::embedding",
    "aten::cat",
    "aten::stack",
}
_refused: set[torch.dtype] = set()
_kept: list[Any] = []  # the registration lasts as long as its library


class _Backend:
    """What torch asks of the module of a device."""

    is_initialized = is_available = staticmethod(lambda: True)
    current_device = staticmethod(lambda: 0)
    device_count = staticmethod(lambda: 1)
    _is_in_bad_fork = staticmethod(lambda: False)
    get_amp_supported_dtype = staticmethod(lambda: [torch.bfloat16, torch.float16])
    manual_seed_all = staticmethod(lambda seed: None)


def register() -> None:
    """The device "elsewhere", in this process, from now on."""
    global DEVICE
    backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=_Backend())
    DEVICE = torch.device(NAME)
    library = torch.library.Library("_", "IMPL", "PrivateUse1")

    def run(operation: Any, *args: Any, **kwargs: Any) -> Any:
        with torch._C.DisableTorchFunction(), torch._C._AutoDispatchBelowAutograd():
            return _run(operation, args, kwargs)

    library.fallback(run)
    # torch calls these in place of its own convolution for devices of others, and has a kernel that only refuses.
    convolutions = torch.library.Library("aten", "IMPL")
    forward, backward = torch.ops.aten.convolution.default, torch.ops.aten.convolution_backward.default
    convolutions.impl("convolution_overrideable", lambda *args: run(forward, *args), "PrivateUse1")
    convolutions.impl(
        "convolution_backward_overrideable",
        lambda gradient, inputs, weight, *rest: run(backward, gradient, inputs, weight, [len(weight)], *rest),
        "PrivateUse1",
    )
    _kept.extend((library, convolutions))
    torch.UntypedStorage.__deepcopy__ = _deep_copy


@contextmanager
def without_float64() -> Iterator[None]:
    """In the body the device has no numbers of 64 bits, and the package knows it."""
    _refused.add(torch.float64)
    LACKING.add(NAME)
    try:
        yield
    finally:
        _refused.clear()
        LACKING.discard(NAME)


def _is_there(value: Any) -> bool:
    return isinstance(value, Tensor) and value.device.type == NAME


def _here(tensor: Tensor) -> Tensor:
    """A CPU tensor on the memory of a device tensor."""
    memory = tensor.untyped_storage().here
    return torch.empty(0, dtype=tensor.dtype).set_(
        memory, tensor.storage_offset(), tensor.size(), tensor.stride()
    )


def _there(tensor: Tensor, into: Tensor | None = None) -> Tensor:
    """A device tensor on the memory of a CPU tensor; views of one memory share one storage."""
    memory = tensor.untyped_storage()
    known = getattr(memory, "there", lambda: None)()
    if known is None or known.data_ptr() != memory.data_ptr() or known.nbytes() != memory.nbytes():
        device = torch.device(NAME, 0)
        known = torch._C._construct_storage_from_data_pointer(memory.data_ptr(), device, memory.nbytes())
        known.here = memory
        memory.there = weakref.ref(known)
    made = torch._C._acc.create_empty_tensor([0], tensor.dtype) if into is None else into
    place = torch.ops.aten.set_.source_Storage_storage_offset
    return place.redispatch(KERNELS, made, known, tensor.storage_offset(), tensor.size(), tensor.stride())


def _deep_copy(storage: torch.UntypedStorage, memo: dict[int, Any]) -> torch.UntypedStorage:
    """The copy of a storage: torch asks for the device's allocator, which this one lacks."""
    if storage._cdata not in memo:
        if storage.device.type == NAME:
            copied = _there(torch.empty(0, dtype=torch.uint8).set_(storage.here).clone()).untyped_storage()
        else:
            copied = storage.clone()
        memo[storage._cdata] = copied
    return memo[storage._cdata]


def _check(operation: Any, leaves: list[Any], first: Any) -> None:
    """Refuse what CUDA refuses."""
    name, written = operation._schema.name, operation._schema.arguments[:1]
    written = any(argument.alias_info is not None and argument.alias_info.is_write for argument in written)
    for leaf in leaves:
        if isinstance(leaf, torch.Generator) and leaf.device.type != NAME:
            raise RuntimeError(
                f"Expected a '{NAME}' device type for generator but found '{leaf.device.type}'"
            )
        if not isinstance(leaf, Tensor) or _is_there(leaf) or name in ACCEPTED:
            continue
        as_index = name in INDEXED and leaf is not first and not leaf.is_floating_point()
        if (leaf is first and written) or name in STRICT or (leaf.ndim and not as_index):
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but found at least two devices, {NAME}:0 and "
                f"{leaf.device}! ({name})"
            )


def _run(operation: Any, args: Any, kwargs: Any) -> Any:
    """An operation of device tensors: the CPU's kernel on their memory, and its results as device tensors."""
    name = operation._schema.name
    leaves, form = trees.tree_flatten((args, kwargs))
    device = next((leaf for leaf in leaves if isinstance(leaf, torch.device)), None)
    _check(operation, leaves, args[0] if args else None)
    moved: dict[int, tuple[Tensor, Tensor]] = {}

    def unwrapped(leaf: Any) -> Any:
        if _is_there(leaf):
            return moved.setdefault(id(leaf), (leaf, _here(leaf)))[1]
        return torch.device("cpu") if isinstance(leaf, torch.device) else leaf

    if any(isinstance(leaf, torch.UntypedStorage) for leaf in leaves):
        return operation.redispatch(KERNELS, *args, **kwargs)
    given, named = trees.tree_unflatten([unwrapped(leaf) for leaf in leaves], form)
    kinds = [str(argument.type) for argument in operation._schema.arguments]
    called = operation
    if any(
        kind == "Tensor" and isinstance(one, (bool, int, float))
        for kind, one in zip(kinds, given, strict=False)
    ):
        called = operation._overloadpacket  # torch hands on the plain number of "tensor & True"
    if name in ACCEPTED:
        source, target = given[:2] if name != "aten::copy_" else (given[1], given[0])
        target.copy_(source)
        return args[0] if name == "aten::copy_" else args[1]
    found = called(*given, **named)
    for original, changed in moved.values():  # an output may have been given another size
        if original.size() != changed.size() or original.data_ptr() != changed.data_ptr():
            _there(changed, into=original)
    originals = {id(changed): original for original, changed in moved.values()}
    stays = device is not None and device.type == "cpu"

    def wrapped(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or stays:
            return leaf
        if leaf.dtype in _refused:
            raise TypeError(
                f"Cannot convert a {NAME} tensor to {leaf.dtype}, which {NAME} does not support ({name})"
            )
        return originals[id(leaf)] if id(leaf) in originals else _there(leaf)

    return trees.tree_map(wrapped, found)


def apart(test: Callable[..., None]) -> Callable[..., None]:
    """A test that runs on the other device, in a process of its own for all such tests of its file.

    In that process it is itself; elsewhere it passes, fails and is skipped as it did there.
    """
    file = Path(sys.modules[test.__module__].__file__ or "")

    @functools.wraps(test)
    def told(*args: Any, **kwargs: Any) -> None:
        if os.environ.get(APART):
            return test(*args, **kwargs)
        name = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0].rpartition("::")[2]
        outcomes, output = _outcomes(file)
        if name not in outcomes:
            pytest.fail(f"{name} did not run in the process with the other device:\n{output}", pytrace=False)
        kind, text = outcomes[name]
        if kind == "skipped":
            pytest.skip(text)
        if kind != "passed":
            pytest.fail(text, pytrace=False)

    return told


@functools.cache
def _outcomes(file: Path) -> tuple[dict[str, tuple[str, str]], str]:
    """What became of each test of a file in a process that has the other device, by name; and the last of its output."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [
            sys.executable,
            *["-m", "pytest", "-q", "-p", "no:cacheprovider"],
            *(f"-W{one}" for one in os.environ.get("CLINOMETER_TESTS_WARNINGS", "").splitlines()),
            f"--junitxml={report}",
            str(file),
        ]
        where: dict[str, Any] = {"env": {**ours, APART: "1"}, "cwd": file.parents[2]}
        done = subprocess.run(command, **where, capture_output=True, text=True, check=False)
        cases = ElementTree.parse(report).iter("testcase") if report.exists() else ()
        found = {}
        for case in cases:
            told = next((part for part in case if part.tag in ("failure", "error", "skipped")), None)
            text = "" if told is None else told.text or told.get("message", "")
            found[case.get("name", "")] = ("passed" if told is None else told.tag, text)
        return found, done.stdout[-3000:] + done.stderr[-3000:]


if os.environ.get(APART):
    register()
