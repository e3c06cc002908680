"""The cost of each decision, label by prediction, as its user gives it: checked, every cell of it there."""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..bounded_files import read_json, read_toml
from ..errors import PolicyError, first

TRUE_AS = {"True": "true", "False": "false"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CostMatrix:
    """The cost of each decision: label -> prediction -> cost. A cost below 0 is a gain."""

    unit: str  # "EUR", "hours"
    cells: Mapping[str, Mapping[str, float]]

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that have costs."""
        return tuple(self.cells)

    @property
    def predictions(self) -> tuple[str, ...]:
        """The predictions that have costs."""
        return tuple(next(iter(self.cells.values())))


def cost_matrix(cells: Any, unit: Any) -> CostMatrix:
    """A cost matrix of label -> prediction -> cost, every cell of it given.

    Names are text: True is "true", 1 is "1".

    Raises:
        PolicyError: no unit, no cells, a cell that is missing, no number or not finite, two names that are one text.
    """
    if not isinstance(unit, str) or not unit.strip():
        raise PolicyError(f'the unit of the costs is {unit!r}; a name such as "EUR" or "hours" is expected.')
    if not isinstance(cells, Mapping) or not cells:
        raise PolicyError("there are no costs: give label -> prediction -> cost.")
    made: dict[str, dict[str, float]] = {}
    for label, row in cells.items():
        if not isinstance(row, Mapping):
            raise PolicyError(
                f"the costs of label {str(label)!r} are {row!r}; prediction -> cost is expected."
            )
        if as_text(label) in made:
            raise PolicyError(f"the label {as_text(label)!r} is given twice.")
        inside = made[as_text(label)] = {}
        for prediction, cost in row.items():
            if as_text(prediction) in inside:
                raise PolicyError(f"label {as_text(label)!r} gives prediction {as_text(prediction)!r} twice.")
            if isinstance(cost, bool) or not isinstance(cost, (int, float, np.integer, np.floating)):
                raise PolicyError(
                    f"the cost of label {as_text(label)!r}, prediction {as_text(prediction)!r} is {cost!r}; "
                    "a number is expected."
                )
            if not math.isfinite(cost):
                raise PolicyError(
                    f"the cost of label {as_text(label)!r}, prediction {as_text(prediction)!r} is {cost}; "
                    "a finite number is expected."
                )
            inside[as_text(prediction)] = float(cost)
    predictions = dict.fromkeys(name for row in made.values() for name in row)
    missing = [(label, name) for label, row in made.items() for name in predictions if name not in row]
    if missing:
        told = first(f"label {label}, prediction {name}" for label, name in missing)
        raise PolicyError(
            f"{len(missing)} costs are missing: {told}. Give every one, 0 where it costs nothing."
        )
    return CostMatrix(
        unit=unit.strip(),
        cells={label: {name: row[name] for name in predictions} for label, row in made.items()},
    )


def read_costs(path: str | Path, unit: str | None = None) -> CostMatrix:
    """A cost matrix from a file.

    .toml or .json: `unit`, and a table `cost` of label -> prediction -> number. .csv: columns label, prediction,
    cost, and the unit as an argument.

    Raises:
        PolicyError: the file is missing, not of this form, or as `cost_matrix`.
    """
    file = Path(path)
    if not file.is_file():
        raise PolicyError(f"{file} is not a file. Name a .toml, .json or .csv file of costs.")
    suffix = file.suffix.lower()
    try:
        if suffix == ".csv":
            cells = _rows(file)
        elif suffix in {".toml", ".json"}:
            read = read_toml if suffix == ".toml" else read_json
            held = read(file, PolicyError, name="it", way_out="Write the costs again.")
            strange = sorted(set(held) - {"unit", "cost"}) if isinstance(held, dict) else ["(no table)"]
            if strange:
                raise PolicyError(f"it holds {first(strange)}; `unit` and `cost` are expected.")
            cells, unit = held.get("cost", {}), unit or held.get("unit")
        else:
            raise PolicyError(f"its suffix is {suffix or '(none)'!r}; .toml, .json or .csv is expected.")
        return cost_matrix(cells, unit or "")
    except PolicyError as error:
        raise PolicyError(f"{file}: {error}") from error
    except (ValueError, csv.Error) as error:  # no UTF-8, a line that is no line
        raise PolicyError(f"{file} cannot be read: {error}") from error


def _rows(file: Path) -> dict[str, dict[str, float]]:
    cells: dict[str, dict[str, float]] = {}
    with file.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines)
        if set(reader.fieldnames or ()) != {"label", "prediction", "cost"}:
            raise PolicyError(
                f"its columns are {first(reader.fieldnames or ())}; label, prediction, cost are expected."
            )
        for line, row in enumerate(reader, 2):
            try:
                cost = float(row["cost"])
            except (TypeError, ValueError):
                raise PolicyError(
                    f"line {line}: the cost is {row['cost']!r}; a number is expected."
                ) from None
            inside = cells.setdefault(row["label"], {})
            if row["prediction"] in inside:
                raise PolicyError(
                    f"line {line} gives label {row['label']!r}, prediction {row['prediction']!r} again."
                )
            inside[row["prediction"]] = cost
    return cells


def as_text(value: object) -> str:
    """A label or prediction as the name that a cost matrix knows it by: True is "true", 1.0 is "1"."""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return TRUE_AS.get(str(value), str(value))
