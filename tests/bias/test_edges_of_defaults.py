"""What holds where nobody says: defaults of functions, fields and keys, and constants, as documented."""

import importlib
import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from clinometer.bias import ledger as ledgers
from clinometer.records import Attribution

HERE = Path(__file__).parent
PINNED = json.loads((HERE / "pinned_defaults.json").read_text(encoding="utf-8"))
TABLE = runpy.run_path(str(HERE / "pinned_defaults.py"))
IMPORTED, of_module = TABLE["IMPORTED"], TABLE["of_module"]
WAY_OUT = (
    "Was this meant? A change that a user can notice goes into changes/; then: "
    "python tests/bias/pinned_defaults.py > tests/bias/pinned_defaults.json"
)


@pytest.mark.parametrize("name", IMPORTED)
def test_defaults_and_constants_are_the_pinned_ones(name):
    made = of_module(importlib.import_module(f"clinometer.bias.{name}"))
    assert json.loads(json.dumps(made)) == PINNED.get(name, {}), WAY_OUT


def test_no_module_is_pinned_that_is_gone():
    assert [
        name for name in PINNED if name not in IMPORTED and (TABLE["HAS_NUMBA"] or "compiled" not in name)
    ] == []


def test_what_is_drawn_is_drawn_alike_wherever_nobody_says():
    """The control of the table: defaults that docs promise everywhere are the same everywhere."""
    for module, made in PINNED.items():
        for name, defaults in made.items():
            if not isinstance(defaults, dict):
                continue
            assert defaults.get("seed") in (0, None), f"{module}.{name}"
            assert defaults.get("power", 0.8) == 0.8, f"{module}.{name}"
            if not name.startswith("_") and not isinstance(defaults.get("confidence"), list):
                assert defaults.get("confidence", 0.95) == 0.95, f"{module}.{name}"
            if "inequality" not in module and isinstance(defaults.get("alpha"), float):
                assert defaults["alpha"] == 0.05, f"{module}.{name}"


def small_attribution(n=40):
    scores = np.column_stack([np.arange(n) % 7 - 3.0, np.arange(n) % 5 - 2.0])
    return Attribution(
        method="a test",
        target="yes",
        unit="logit",
        baseline="none",
        ids=tuple(f"r{i}" for i in range(n)),
        tokens=(("f0", "f1"),) * n,
        scores=scores,
        value=scores.sum(axis=1),
        base_value=np.zeros(n),
        nodes=np.full(n, 2),
        converged=np.ones(n, dtype=bool),
        tolerance=np.full(n, 0.01),
    )


def test_a_ledger_is_of_2000_replicates_and_its_control_of_200_times_500(monkeypatch):
    made = small_attribution()
    compared = ledgers.contrast_of(made.ids, ["a"] * 16 + ["b"] * 24, "group", "a", "b")
    drawn = []
    plainly = ledgers.bootstrap_t

    def noted(values, weights, **settings):
        drawn.append((settings["replicates"], settings["confidence"], settings["seed"]))
        return plainly(values, weights, **{**settings, "replicates": 50})

    monkeypatch.setattr(ledgers, "bootstrap_t", noted)
    entry = ledgers.ledger(made, compared)
    assert drawn == [(2000, 0.95, 0)] and (entry.replicates, entry.confidence, entry.seed) == (2000, 0.95, 0)
    drawn.clear()
    share = ledgers.null_coverage(made, compared)
    assert drawn == [(500, 0.95, 1 + i) for i in range(200)]  # each permutation draws anew
    assert share == pytest.approx(round(200 * share) / 200, abs=1e-12) and 0.8 < share <= 1
    drawn.clear()
    ledgers.null_coverage(made, compared, permutations=3, confidence=0.9, replicates=60, seed=7)
    assert drawn == [(60, 0.9, 8), (60, 0.9, 9), (60, 0.9, 10)]


def test_two_rows_on_each_side_can_be_compared_and_one_cannot():
    ids = tuple("abcd")
    assert ledgers.contrast_of(ids, list("xxyy"), "g", "x").weights.tolist() == [0.5, 0.5, -0.5, -0.5]
    for groups, n, name in (
        (list("xyyy"), 1, "x"),
        (list("xxxy"), 1, "everyone else"),
        (list("yyyy"), 0, "x"),
    ):
        with pytest.raises(ledgers.DataError, match=rf"^g: {n} rows of '{name}'; at least two are needed\."):
            ledgers.contrast_of(ids, groups, "g", "x")
    with pytest.raises(
        ledgers.DataError, match=r"^4 ids and 3 groups were given; one group per row is expected\.$"
    ):
        ledgers.contrast_of(ids, list("xyy"), "g", "x")
