"""Every record of `bias/`: fixed once it is made, without room for others, its fields given by name."""

import dataclasses
import importlib
import pkgutil

import pytest

import clinometer.bias

IN_ORDER = ("Masks", "UnitRows", "_Side", "_Draws", "_Counted")  # arrays that are handed on within one module
MODULES = sorted(one.name for one in pkgutil.iter_modules(clinometer.bias.__path__))
HAS_NUMBA = importlib.util.find_spec("numba") is not None


@pytest.mark.parametrize("name", [name for name in MODULES if HAS_NUMBA or not name.startswith("compiled_")])
def test_records_are_frozen_slotted_and_keyword_only(name):
    module = importlib.import_module(f"clinometer.bias.{name}")
    for record in vars(module).values():
        if not (isinstance(record, type) and dataclasses.is_dataclass(record)):
            continue
        if record.__module__ != module.__name__ or record.__name__ == "_Edit":  # the one that is built up
            continue
        assert record.__dataclass_params__.frozen, f"{record.__name__} can be changed"
        assert "__dict__" not in dir(record), f"{record.__name__} takes any attribute"
        by_name = all(field.kw_only for field in dataclasses.fields(record))
        assert by_name is (record.__name__ not in IN_ORDER), f"{record.__name__} goes by order"


def test_there_are_records_and_an_array_in_one_is_compared_by_nobody():
    from clinometer.bias.permutations import Null
    from clinometer.bias.slice_effects import Compared
    from clinometer.bias.splitting import Split
    from clinometer.bias.swapped_rows import Swapped

    for record in (Null, Compared, Split, Swapped):
        # Whether two arrays are equal has no single answer: such records are equal to themselves alone.
        assert record.__eq__ is object.__eq__
