"""The flags that several commands have, and what their values mean."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from .errors import UsageError

MODEL = Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a saved model.")]
DATA = Annotated[Path, typer.Argument(metavar="DATA", help="CSV or Parquet with the model's columns.")]
FILE = Annotated[Path, typer.Argument(metavar="FILE", help="CSV or Parquet, one row per example.")]
LABEL = Annotated[str | None, typer.Option(help="Column of the truth.")]
PREDICTION = Annotated[str | None, typer.Option(help="Column of the decision.")]
SCORE = Annotated[str | None, typer.Option(help="Column of the score behind the decision.")]
GROUP = Annotated[list[str] | None, typer.Option(help="Column of a sensitive attribute; may be repeated.")]
MEASURE = Annotated[
    list[str] | None, typer.Option(help="Column of numbers to be audited like a score; may be repeated.")
]
ID = Annotated[str | None, typer.Option("--id", help="Column that names a row.")]
POSITIVE = Annotated[
    str | None, typer.Option(metavar="VALUE", help="The positive value of label and prediction.")
]
SUPPRESS = Annotated[
    int | None,
    typer.Option(metavar="N", help="Withhold groups of fewer than N rows, and what would give them away."),
]
LOCAL_LAW_144 = Annotated[
    str | None,
    typer.Option(
        metavar="SEX:RACE",
        help="Add New York City's tables for hiring tools, by these two columns; they carry no verdict.",
    ),
]
POLICY = Annotated[Path | None, typer.Option(metavar="FILE", help="What is judged: a policy.toml.")]
WEIGHT = Annotated[str | None, typer.Option(help="Column of sampling weights.")]
CLUSTER = Annotated[
    str | None,
    typer.Option(help="Column that names the person or document of a row: rows of one go together."),
]
COUNT = Annotated[str | None, typer.Option(help="Column of how many equal rows a row stands for.")]
STRATA = Annotated[
    list[str] | None, typer.Option(help="Column that is held fixed beside the plain gaps; may be repeated.")
]
SET_BY = Annotated[str | None, typer.Option(metavar="WHO", help="Who set the tolerances.")]
JSON = Annotated[bool, typer.Option("--json", help="Print everything as JSON instead of tables.")]
ENGINE = Annotated[str, typer.Option(help="Who works: local, torchrun (in processes it started) or ray.")]
WORKERS = Annotated[int, typer.Option(min=1, help="Processes of local, actors of ray.")]
THREADS = Annotated[
    int | None,
    typer.Option(min=1, help="Of each worker; with it and --shard-rows, any engine gives the same bytes."),
]
SHARD_ROWS = Annotated[int, typer.Option(min=1, help="So many rows are done, and kept, at a time.")]
BATCH_SIZE = Annotated[int, typer.Option(min=1, help="Rows encoded together.")]
ON_BAD_ROW = Annotated[str, typer.Option(help="At a row that cannot be used: stop, or skip it and list it.")]
QUIET = Annotated[bool, typer.Option("--quiet", help="Print the verdict only.")]
OUT = Annotated[Path | None, typer.Option(metavar="FILE", help="Write the result as JSON, too.")]
JUNIT = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write JUnit XML, too: a test case for each gated question."),
]


def tolerances(given: Sequence[str], flag: str = "--tolerance") -> dict[str, float]:
    """Metric -> value, each given once.

    Raises:
        UsageError: something else than METRIC=VALUE, or a metric given twice.
    """
    made: dict[str, float] = {}
    for item in given:
        metric, equals, value = item.rpartition("=")
        try:
            number = float(value)
        except ValueError:
            number = None
        if not equals or not metric or number is None:
            raise UsageError(f"{flag} {item}: METRIC=VALUE is expected, e.g. false_positive_rate=0.05.")
        if metric in made:
            raise UsageError(f"{flag} {metric} is given twice. Give each metric once.")
        made[metric] = number
    return made


def roles_of(
    label: str | None,
    prediction: str | None,
    score: str | None,
    groups: Sequence[str] | None,
    measures: Sequence[str] | None,
    id: str | None,
    positive: str | None,
) -> dict[str, Any]:
    """Roles of columns as `evidence_files.read` takes them."""
    return {
        "label": label,
        "prediction": prediction,
        "score": score,
        "groups": tuple(groups) if groups else None,
        "measures": tuple(measures) if measures else None,
        "id": id,
        "positive": positive,
    }
