"""Commands that judge files and load no model: audit, compare, monitor, slices, count, schema."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .errors import OutputError, UsageError
from .file_tables import (
    comparison_line,
    comparison_tables,
    impact_table,
    local_law_table,
    monitoring_line,
    monitoring_tables,
    slice_table,
    summary_table,
)
from .flags import tolerances
from .output import as_json, emit, emit_json, write
from .terminal import audit_tables, printable, verdict_line

if TYPE_CHECKING:
    from .bias.policy import Policy
    from .evidence import Evidence
    from .records import Audit


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
QUIET = Annotated[bool, typer.Option("--quiet", help="Print the verdict only.")]
OUT = Annotated[Path | None, typer.Option(metavar="FILE", help="Write the result as JSON, too.")]


def audit(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="CSV or Parquet, one row per example; a pattern or a folder of files is counted out of core.",
        ),
    ],
    label: LABEL = None,
    prediction: PREDICTION = None,
    score: SCORE = None,
    group: GROUP = None,
    measure: MEASURE = None,
    id: ID = None,
    positive: POSITIVE = None,
    weight: WEIGHT = None,
    cluster: CLUSTER = None,
    count: COUNT = None,
    strata: STRATA = None,
    policy: POLICY = None,
    preset: Annotated[
        str | None,
        typer.Option(help="A published rule: four-fifths, local-law-144 (first --group sex, then race)."),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="binary, multiclass or regression; multilabel needs a policy.")
    ] = None,
    show: Annotated[
        list[str] | None, typer.Option(metavar="METRIC", help="Print these metrics only; may be repeated.")
    ] = None,
    tolerance: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC=VALUE", help="Largest difference allowed between any two groups; may be repeated."
        ),
    ] = None,
    set_by: SET_BY = None,
    confidence: Annotated[
        float | None, typer.Option(help="Of the intervals shown; 0.95 unless said.")
    ] = None,
    min_group: Annotated[
        int | None, typer.Option(help="Smallest denominator that is judged; 1 unless said.")
    ] = None,
    json: JSON = False,
    quiet: QUIET = False,
    out: OUT = None,
) -> int:
    """Whom does a model fail? Rates, gaps and verdicts from a file of predictions: no model, no torch."""
    from .bias.audit import audit as run_audit

    _no_overwriting(out, Path(file), policy)
    rules = _policy(
        policy, group or [], tolerances(tolerance or []), set_by, confidence, min_group, positive, task
    )
    named = dict.fromkeys([*rules.groups, *(name for joint in rules.intersections for name in joint)])
    roles = {
        "label": label,
        "prediction": prediction,
        "score": score,
        "groups": tuple(named) or None,
        "measures": tuple(measure) if measure else None,
        "id": id,
        "positive": positive,
        "weight": weight,
        "cluster": cluster,
        "count": count,
        "strata": tuple(strata) if strata else None,
    }
    evidence = _evidence(file, roles)
    if preset is not None:
        return _preset(preset, evidence, list(group or evidence.groups), json=json, out=out)
    made = run_audit(evidence, rules, title=f"audit of {Path(file).name}")
    shown = _only(made, show or [])
    _deliver(
        as_json(made),
        verdict_line(made.verdict) + "\n",
        audit_tables(shown, "" if show else summary_table(made)),
        json,
        quiet,
        out,
    )
    return made.exit_code


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
) -> int:
    """Two models on the same rows: did accuracy and each gap move, beyond noise, and for whom?"""
    from .bias.comparison import compare as run_comparison

    _no_overwriting(out, old, new, policy, data)
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
            groups=tuple(group or ()),
            policy=policy,
            id=id,
            new_as=new_as,
            positive=positive,
            device=device,
            tolerance_change=tolerances(worsening or [], "--worsening"),
            tolerance_gap_change=tolerances(gap_growth or [], "--gap-growth"),
            set_by=set_by or (None if policy else "whoever typed the command"),
        )
        words = "".join(f"{printable(line)}\n" for line in models.words)
        tables = comparison_tables(models.comparison)
        _deliver(as_json(models), comparison_line(models.comparison), words + tables, json, quiet, out)
        return models.exit_code
    roles = _roles(label, prediction, score, group, measure, id, positive) | {"cluster": cluster}
    before, after = (_evidence(str(path), roles) for path in (old, new))
    made = run_comparison(
        before,
        after,
        policy,
        tolerance_change=tolerances(worsening or [], "--worsening"),
        tolerance_gap_change=tolerances(gap_growth or [], "--gap-growth"),
        set_by=set_by or (None if policy else "whoever typed the command"),
        intersect=intersect,
        title=f"{old.name} and {new.name}",
    )
    _deliver(as_json(made), comparison_line(made), comparison_tables(made), json, quiet, out)
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
) -> int:
    """A control chart of each declared gap over dated files: did a gap grow beyond chance?"""
    from datetime import date

    from .bias.monitor import monitor as run_monitor

    _no_overwriting(out, policy)
    try:
        start = None if since is None else date.fromisoformat(since)
    except ValueError as error:
        raise UsageError(f"--since {since}: a date as 2026-11-03 is expected.") from error
    roles = _roles(label, prediction, score, group, measure, None, positive) | {"cluster": cluster}
    made = run_monitor(
        folder,
        policy,
        baseline=baseline,
        false_alarms=false_alarms,
        horizon=horizon,
        since=start,
        metrics=metric or None,
        title=f"monitoring of {folder.name}",
        **{name: value for name, value in roles.items() if value is not None},
    )
    _deliver(as_json(made), monitoring_line(made), monitoring_tables(made), json, quiet, out)
    return made.exit_code


def slices(
    file: FILE,
    of: Annotated[
        str, typer.Option(help="A rate, the score's or a measure's mean: what is searched.")
    ] = "error_rate",
    label: LABEL = None,
    prediction: PREDICTION = None,
    score: SCORE = None,
    column: Annotated[
        list[str] | None, typer.Option(help="Column whose values make slices; may be repeated; at least one.")
    ] = None,
    measure: MEASURE = None,
    id: ID = None,
    positive: POSITIVE = None,
    weight: WEIGHT = None,
    cluster: CLUSTER = None,
    count: COUNT = None,
    strata: STRATA = None,
    min_support: Annotated[float, typer.Option(help="Smallest share of the denominator.")] = 0.01,
    min_count: Annotated[int, typer.Option(min=2, help="Smallest number of rows.")] = 30,
    depth: Annotated[int, typer.Option(min=1, help="Items of a slice.")] = 3,
    permutations: Annotated[int, typer.Option(min=99, help="Of the max-T test.")] = 2000,
    confirm: Annotated[
        float | None, typer.Option(help="Share of the rows kept apart to confirm what the others found.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="One seed, one result.")] = 0,
    json: JSON = False,
    quiet: QUIET = False,
    out: OUT = None,
) -> int:
    """Which combination of groups fares worst? What is found survives the searching. Explores; gates nothing."""
    from .bias.slices import slices as search

    _no_overwriting(out, file)
    roles = _roles(label, prediction, score, column, measure, id, positive) | {
        "weight": weight,
        "cluster": cluster,
        "count": count,
        "strata": tuple(strata) if strata else None,
    }
    made = search(
        _evidence(str(file), roles),
        of=of,
        min_support=min_support,
        min_count=min_count,
        depth=depth,
        permutations=permutations,
        confirm=confirm,
        seed=seed,
    )
    text = slice_table(made)
    _deliver(as_json(made), text.splitlines()[-2] + "\n", text, json, quiet, out)
    return 0


def count(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILES", help="CSV or Parquet files, patterns, or counts made before."),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Parquet of distinct rows and how many of each.")],
    label: LABEL = None,
    prediction: PREDICTION = None,
    score: SCORE = None,
    group: GROUP = None,
    measure: MEASURE = None,
    positive: POSITIVE = None,
    weight: WEIGHT = None,
    cluster: CLUSTER = None,
    counted: Annotated[
        str | None, typer.Option("--count", help="Column of how many equal rows a row stands for.")
    ] = None,
    strata: STRATA = None,
    memory: Annotated[str, typer.Option(metavar="SIZE", help="Beyond it DuckDB works on disk.")] = "1GB",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> int:
    """Count distinct rows, out of core: what an audit needs of a table of any size, and parts of it that add up."""
    from .evidence_files import write as write_evidence
    from .sources import scan

    if out.exists() and not force:
        raise OutputError(f"{out} exists. Name another file, or replace it with --force.")
    roles = _roles(label, prediction, score, group, measure, None, positive) | {
        "weight": weight,
        "cluster": cluster,
        "count": counted,
        "strata": tuple(strata) if strata else None,
    }
    made = scan(files if len(files) > 1 else files[0], memory_limit=memory, **roles).counted()
    write_evidence(made, out)
    emit(f"{int(made.counts.sum()):,} rows are {len(made):,} distinct ones\nsaved: {out}\n")
    return 0


def schema() -> int:
    """The JSON schema of policy.toml, for editors that check it."""
    from json import dumps

    from .bias.policy import policy_schema

    emit_json(dumps(policy_schema(), indent=1, sort_keys=True) + "\n")
    return 0


def _roles(
    label: str | None,
    prediction: str | None,
    score: str | None,
    groups: Sequence[str] | None,
    measures: Sequence[str] | None,
    id: str | None,
    positive: str | None,
) -> dict[str, Any]:
    return {
        "label": label,
        "prediction": prediction,
        "score": score,
        "groups": tuple(groups) if groups else None,
        "measures": tuple(measures) if measures else None,
        "id": id,
        "positive": positive,
    }


def _evidence(file: str, roles: dict[str, Any]) -> "Evidence":
    """One file is read; a pattern or a folder is counted where it lies."""
    from .evidence_files import read
    from .sources import scan

    path = Path(file)
    if (path.is_dir() or any(sign in file for sign in "*?[")) and not path.is_file():
        return scan(path if path.is_dir() else file, **roles).counted()
    return read(path, **roles)


def _preset(name: str, evidence: "Evidence", groups: Sequence[str], *, json: bool, out: Path | None) -> int:
    """A published rule: tables, and no verdict, as none of them has one."""
    from .bias.four_fifths import four_fifths
    from .bias.local_law_144 import local_law_144
    from .bias.presets import PRESETS
    from .errors import did_you_mean

    if name == "four-fifths":
        if not groups:
            raise UsageError("--preset four-fifths compares the groups of a column: name one with --group.")
        impacts = [four_fifths(evidence, attribute) for attribute in groups]
        made: Any = impacts if len(impacts) > 1 else impacts[0]
        text = "".join(map(impact_table, impacts))
    elif name == "local-law-144":
        if len(groups) != 2:
            raise UsageError("--preset local-law-144 needs two groups: first --group SEX, then --group RACE.")
        rate: Any = "selection rate" if evidence.prediction else "scoring rate"
        made = local_law_144(evidence, sex=groups[0], race_ethnicity=groups[1], rate=rate)
        text = local_law_table(made)
    elif name == "equalized-odds":
        raise UsageError(
            "--preset equalized-odds is a policy with a tolerance of yours: give --tolerance true_positive_rate=VALUE "
            "and --tolerance false_positive_rate=VALUE."
        )
    else:
        raise UsageError(f"--preset {name}: {did_you_mean(name, [one.name for one in PRESETS])}")
    _deliver(as_json(made), text, text, json, False, out)
    return 0


def _only(made: "Audit", metrics: Sequence[str]) -> "Audit":
    """The audit with these metrics alone, of every class or output."""
    from dataclasses import replace

    from .errors import did_you_mean

    if not metrics:
        return made
    known = {cell.metric for cell in made.cells}
    absent = [name for name in metrics if not any(name in {m, m.split("[")[0]} for m in known)]
    if absent:
        raise UsageError(f"--show {absent[0]}: {did_you_mean(absent[0], known)}")
    wanted = {m for m in known if m in metrics or m.split("[")[0] in metrics}
    return replace(
        made,
        cells=tuple(cell for cell in made.cells if cell.metric in wanted),
        findings=tuple(finding for finding in made.findings if finding.metric in wanted),
    )


def _no_overwriting(out: Path | None, *read: Path | None) -> None:
    if out is not None and out.resolve() in {path.resolve() for path in read if path is not None}:
        raise UsageError(f"--out {out} would overwrite what is read. Name another file.")


def _deliver(as_text: str, line: str, tables: str, json: bool, quiet: bool, out: Path | None) -> None:
    if out is not None:
        write(out, as_text)
    if json:
        emit_json(as_text)
    else:
        emit(line if quiet else tables)


def _policy(
    path: Path | None,
    groups: Sequence[str],
    tolerances: dict[str, float],
    set_by: str | None,
    confidence: float | None,
    min_group: int | None,
    positive: str | None,
    task: str | None = None,
) -> "Policy":
    """The policy file, if any, with the flags over it; the result says so where they change a tolerance."""
    from .bias.policy import parse_policy, policy_from_flags, read_policy

    settings = {"confidence": confidence, "min_group": min_group, "positive": positive, "task": task}
    given: dict[str, Any] = {name: value for name, value in settings.items() if value is not None}
    if path is None:
        return policy_from_flags(groups, tolerances, set_by=set_by, **given)
    rules = read_policy(path)
    values = rules.model_dump(mode="json")
    if rules.groups or groups:
        # A flag adds an attribute; it drops none that the policy declares.
        values["groups"] = {**values["groups"], **{name: {} for name in groups if name not in rules.groups}}
    if tolerances:
        values["tolerance"] = {**values["tolerance"], **tolerances}
        given["set_by"] = set_by or f"whoever typed the command, over {rules.set_by or 'nobody'}"
    elif set_by is not None:
        given["set_by"] = set_by
    return parse_policy({**values, **given}, where=f"{path} with the command's flags")
