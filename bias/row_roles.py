"""How often each row of evidence counts, what it weighs, and which cluster it is from."""

import numpy as np
import numpy.typing as npt

from ..errors import DataError, first
from ..evidence import Evidence
from .group_rows import whole_counts

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def row_counts(evidence: Evidence) -> Ints | None:
    """How many equal rows each row stands for, (example,); None where each stands for itself.

    Raises:
        DataError: the column holds something else than whole numbers of 0 or more.
    """
    name = evidence.count
    if name is None:
        return None
    values = evidence.column(name)
    bad = np.flatnonzero(~(values >= 0) | (values != np.floor(values)))
    if bad.size:
        raise DataError(
            f"column {name!r} counts rows and holds {values[bad[0]]:g}; first rows: "
            f"{first(evidence.ids[i] for i in bad)}. Whole numbers of 0 or more are expected."
        )
    return whole_counts(values.astype(np.int64))


def row_weights(evidence: Evidence) -> Floats | None:
    """The sampling weight of each row, (example,); None where all weigh the same.

    Raises:
        DataError: a weight is missing, negative or not finite, or all are 0.
    """
    name = evidence.weight
    if name is None:
        return None
    values = evidence.column(name)
    bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if bad.size:
        raise DataError(
            f"column {name!r} weighs rows and holds {values[bad[0]]:g}; first rows: "
            f"{first(evidence.ids[i] for i in bad)}. Finite numbers of 0 or more are expected."
        )
    if not values.any():
        raise DataError(f"all weights in column {name!r} are 0: there is nothing to average.")
    return values


def row_clusters(evidence: Evidence) -> Ints | None:
    """A code of the person or document that each row is from, (example,); None where rows are independent.

    Raises:
        DataError: a row has no cluster, or all rows are of one.
    """
    name = evidence.cluster
    if name is None:
        return None
    texts = evidence.group(name)
    missing = [i for i, text in enumerate(texts) if text is None]
    if missing:
        raise DataError(
            f"column {name!r} names no cluster in {len(missing)} rows; first rows: "
            f"{first(evidence.ids[i] for i in missing)}. Give each row its person or document."
        )
    codes = {text: code for code, text in enumerate(dict.fromkeys(texts))}
    if len(codes) < 2:
        raise DataError(
            f"column {name!r} holds one cluster, {texts[0]!r}: a standard error takes two. Name a column that tells "
            "independent people or documents apart, or none."
        )
    return np.array([codes[text] for text in texts], dtype=np.int64)
