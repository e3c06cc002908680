"""A metric that is a function of the user's: computed in every group, with errors from drawing rows again."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError, UsageError
from .columns import Columns
from .estimates import Estimate, Resampled
from .influence import Ints
from .resampling import bootstrap_rows
from .scored import Undefined

Own = Callable[[Mapping[str, npt.NDArray[Any]]], float]
REPLICATES = 500
FEWEST = 5


def own_metric(
    function: Own, name: str, columns: Columns, *, seed: int = 0
) -> Callable[[Ints, bool], Estimate]:
    """An estimate of some rows by `function`, with the standard deviation over bootstrap replicates as its error.

    Args:
        function: of columns by name, each (row,): label and prediction (bool), score, actual and predicted (numbers),
            weight, as far as the evidence has them; gives a number, NaN where it is undefined.
        name: what it is called in messages.
        columns: of the table.
        seed: of the draws, the same for every group.
    """
    design = columns.design
    given: dict[str, npt.NDArray[Any]] = {
        key: value
        for key in ("label", "prediction", "score", "actual", "predicted")
        if (value := getattr(columns, key)) is not None
    }
    if design.weight is not None:
        given["weight"] = design.weight

    def call(*values: npt.NDArray[Any]) -> float:
        try:
            return float(function(dict(zip(given, values, strict=True))))
        except Exception as error:
            raise UsageError(
                f"the metric {name!r} failed on {len(values[0])} rows with columns {', '.join(given)}: "
                f"{type(error).__name__}: {error}. It has to give a number, NaN where it is undefined."
            ) from error

    def measure(rows: Ints, exact: bool) -> Estimate:
        if not exact:
            raise UsageError(
                f"the metric {name!r} cannot be compared with everybody, whose rows a group shares: take "
                'compare = "complement".'
            )
        cluster = None if design.cluster is None else design.cluster[rows]
        n = design.rows(rows)
        units = n if cluster is None else len(np.unique(cluster))
        if units < FEWEST:
            return Undefined(reason=f"{units} rows or clusters are too few to be drawn again", n=n)
        taken = [values[rows] for values in given.values()]
        if not np.isfinite(call(*taken)):
            return Undefined(reason="the function gives no finite number", n=n)
        count = None if design.count is None else design.count[rows]
        try:
            (found,) = bootstrap_rows(
                call, *taken, count=count, cluster=cluster, replicates=REPLICATES, seed=seed
            )
            return Resampled(
                estimate=found.estimate,
                se=found.se,
                ends=tuple(found.draws.tolist()),
                n=n,
                units=units,
                rows=rows,
            )
        except DataError as error:
            return Undefined(reason=str(error), n=n)

    return measure
