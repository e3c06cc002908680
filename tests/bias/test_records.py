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


# Records that hold arrays or matrices and are equal to themselves alone, one on a line for each module.
ALONE = {
    "bootstrap_t": ("Critical", "_Side", "_Draws"),
    "classes": ("Confusion",),
    "counterfactuals": ("Counterfactuals",),
    "decision_rules": ("GroupThresholds", "Heads"),
    "exchangeable": ("Units",),
    "gap_contrast": ("GapContrast",),
    "group_rows": ("Taken",),
    "group_thresholds": ("GroupThresholds",),
    "items": ("Coded",),
    "itemsets": ("Itemsets",),
    "mitigation": ("Mitigation",),
    "permutations": ("Null",),
    "rankings": ("Rankings",),
    "reweighing": ("Reweighing",),
    "score_curves": ("ScoreCurves",),
    "seen_rows": ("Seen",),
    "slice_effects": ("Compared",),
    "slice_masks": ("Masks",),
    "slice_outcomes": ("Outcome",),
    "slice_table": ("Table",),
    "span_labels": ("SpanCounts",),
    "splitting": ("Split",),
    "suite_rows": ("Expanded",),
    "swapped_rows": ("Swapped",),
    "unit_rows": ("UnitRows",),
    "words": ("_Counted",),
}


@pytest.mark.parametrize("name", sorted(ALONE))
def test_records_of_arrays_are_compared_by_nobody_and_have_a_hash(name):
    """Whether two arrays are equal has no single answer; made by fields, equality would raise and the hash too."""
    module = importlib.import_module(f"clinometer.bias.{name}")
    for record in ALONE[name]:
        made = getattr(module, record)
        assert not made.__dataclass_params__.eq, f"{record} is compared by its fields"
        assert made.__eq__ is object.__eq__ and made.__hash__ is object.__hash__
