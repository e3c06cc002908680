"""Commands that judge a change: two models on the same rows, and one over time."""

from pathlib import Path
from typing import Annotated

import typer

from .errors import UsageError
from .figure_files import FIGURES, draw_into, refuse_full, said
from .file_tables import comparison_line, comparison_tables, monitoring_line, monitoring_tables
from .flags import (
    CLUSTER,
    GROUP,
    ID,
    JSON,
    JUNIT,
    LABEL,
    MEASURE,
    OUT,
    POLICY,
    POSITIVE,
    PREDICTION,
    QUIET,
    SCORE,
    SET_BY,
    roles_of,
    tolerances,
)
from .judged_files import (
    declared,
    deliver,
    evidence_from,
    grouped_by,
    refuse_overwriting,
    refuse_test_cases,
    write_test_cases,
)
from .output import as_json, emit
from .terminal import printable


def compare(
    old: Annotated[
        Path,
        typer.Argument(metavar="OLD", help="CSV or Parquet of the model there was, or the model's folder."),
    ],
    new: Annotated[
        Path, typer.Argument(metavar="NEW", help="The same rows, by id, of the model to be released.")
    ],
    data: Annotated[
        Path | None,
        typer.Argument(metavar="[DATA]", help="Rows for both, where OLD and NEW are folders of models."),
    ] = None,
    label: LABEL = None,
    prediction: PREDICTION = None,
    score: SCORE = None,
    group: GROUP = None,
    measure: MEASURE = None,
    id: ID = None,
    positive: POSITIVE = None,
    cluster: CLUSTER = None,
    policy: POLICY = None,
    worsening: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC=VALUE", help="Largest worsening allowed, of everybody and of each group."
        ),
    ] = None,
    gap_growth: Annotated[
        list[str] | None,
        typer.Option(metavar="METRIC=VALUE", help="Largest growth allowed of any gap between groups."),
    ] = None,
    set_by: SET_BY = None,
    intersect: Annotated[bool, typer.Option("--intersect", help="Compare the rows in common only.")] = False,
    new_as: Annotated[
        str, typer.Option(help="Models: how NEW is loaded: float32, bfloat16, float16, int8, int8-weights.")
    ] = "float32",
    device: Annotated[str, typer.Option(help="Models: cpu, cuda or mps.")] = "cpu",
    json: JSON = False,
    quiet: QUIET = False,
    out: OUT = None,
    junit: JUNIT = None,
    figures: FIGURES = None,
) -> int:
    """Two models on the same rows: did accuracy and each gap move, beyond noise, and for whom?"""
    from .bias.comparison import compare as run_comparison

    refuse_overwriting(out, old, new, policy, data)
    refuse_test_cases(junit, out, old, new, policy, data)
    refuse_full(figures)
    rules = None if policy is None else declared(policy, group or [], positive=positive)
    groups = tuple(group or ()) if rules is None else grouped_by(rules) or ()
    if data is not None or old.is_dir() or new.is_dir():
        if data is None or not (old.is_dir() and new.is_dir()):
            raise UsageError(
                "two folders of models are compared on DATA, a third argument; two files of predictions take none."
            )
        if not quiet and not json:
            emit(f"reading {data.name}, loading {old.name} and {new.name} ...\n")
        from .variant_comparison import compare_folders

        models = compare_folders(
            old,
            new,
            data,
            label=label,
            groups=groups,
            policy=rules,
            id=id,
            new_as=new_as,
            positive=positive,
            device=device,
            tolerance_change=tolerances(worsening or [], "--worsening"),
            tolerance_gap_change=tolerances(gap_growth or [], "--gap-growth"),
            set_by=set_by or (None if policy else "whoever typed the command"),
        )
        words = "".join(f"{printable(line)}\n" for line in models.words)
        written = draw_into(figures, [models.comparison], models.comparison.title)
        tables = comparison_tables(models.comparison) + said(figures, written)
        write_test_cases(junit, models.comparison)
        deliver(as_json(models), comparison_line(models.comparison), words + tables, json, quiet, out)
        return models.exit_code
    roles = roles_of(label, prediction, score, groups, measure, id, positive) | {"cluster": cluster}
    before, after = (evidence_from(str(path), roles) for path in (old, new))
    made = run_comparison(
        before,
        after,
        rules,
        tolerance_change=tolerances(worsening or [], "--worsening"),
        tolerance_gap_change=tolerances(gap_growth or [], "--gap-growth"),
        set_by=set_by or (None if policy else "whoever typed the command"),
        intersect=intersect,
        title=f"{old.name} and {new.name}",
    )
    written = draw_into(figures, [made], made.title)
    tables = comparison_tables(made) + said(figures, written)
    write_test_cases(junit, made)
    deliver(as_json(made), comparison_line(made), tables, json, quiet, out)
    return made.exit_code


def monitor(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Files named by their date, as 2026-11-03.parquet.")
    ],
    label: LABEL = None,
    prediction: PREDICTION = None,
    score: SCORE = None,
    group: GROUP = None,
    measure: MEASURE = None,
    positive: POSITIVE = None,
    cluster: CLUSTER = None,
    policy: POLICY = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="Gap to be charted; by default those the policy gates.")
    ] = None,
    baseline: Annotated[int, typer.Option(min=5, help="So many of the first dates set the limits.")] = 12,
    false_alarms: Annotated[
        float | None,
        typer.Option(help="Expected false alarms over all charts and the horizon; alpha unless said."),
    ] = None,
    horizon: Annotated[
        int | None, typer.Option(min=1, help="So many dates; a year of them unless said.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="DATE", help="Only alarms from this date on decide the exit code.")
    ] = None,
    json: JSON = False,
    quiet: QUIET = False,
    out: OUT = None,
    junit: JUNIT = None,
    figures: FIGURES = None,
) -> int:
    """A control chart of each declared gap over dated files: did a gap grow beyond chance?"""
    from datetime import date

    from .bias.monitor import monitor as run_monitor

    refuse_overwriting(out, policy)
    refuse_test_cases(junit, out, policy)
    refuse_full(figures)
    try:
        start = None if since is None else date.fromisoformat(since)
    except ValueError as error:
        raise UsageError(f"--since {since}: a date as 2026-11-03 is expected.") from error
    rules = None if policy is None else declared(policy, group or [], positive=positive)
    groups = group if rules is None else grouped_by(rules)
    roles = roles_of(label, prediction, score, groups, measure, None, positive) | {"cluster": cluster}
    made = run_monitor(
        folder,
        rules,
        baseline=baseline,
        false_alarms=false_alarms,
        horizon=horizon,
        since=start,
        metrics=metric or None,
        title=f"monitoring of {folder.name}",
        **{name: value for name, value in roles.items() if value is not None},
    )
    written = draw_into(figures, [made], made.title)
    tables = monitoring_tables(made) + said(figures, written)
    write_test_cases(junit, made)
    deliver(as_json(made), monitoring_line(made), tables, json, quiet, out)
    return made.exit_code
