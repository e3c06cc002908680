"""Commands that judge files and load no model: audit, slices, count, schema."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .errors import OutputError, UsageError
from .figure_files import FIGURES, curves_of, draw_into, refuse_full, said
from .file_tables import impact_table, local_law_table, slice_table, summary_table
from .flags import (
    CLUSTER,
    COUNT,
    FILE,
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
    STRATA,
    SUPPRESS,
    WEIGHT,
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
from .output import as_json, emit, emit_json
from .terminal import audit_tables, verdict_line

if TYPE_CHECKING:
    from .evidence import Evidence
    from .records import Audit


NO_CURVES = (
    "Calibration and thresholds are not drawn beside --suppress-below: their curves are of every group."
)


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
    junit: JUNIT = None,
    figures: FIGURES = None,
    suppress_below: SUPPRESS = None,
) -> int:
    """Whom does a model fail? Rates, gaps and verdicts from a file of predictions: no model, no torch."""
    from .bias.audit import audit as run_audit

    refuse_overwriting(out, Path(file), policy)
    refuse_test_cases(junit, out, Path(file), policy)
    refuse_full(figures)
    if preset is not None and figures is not None:
        raise UsageError("--figures draws an audit; the tables of --preset have no figure. Leave one out.")
    if preset is not None and junit is not None:
        raise UsageError("--junit writes what is gated; the tables of --preset gate nothing. Leave one out.")
    if preset is not None and suppress_below is not None:
        raise UsageError(
            "--suppress-below withholds groups of an audit; the tables of --preset name every group. Leave one out."
        )
    rules = declared(
        policy,
        group or [],
        tolerances(tolerance or []),
        set_by=set_by,
        confidence=confidence,
        min_group=min_group,
        positive=positive,
        task=task,
    )
    roles = {
        "label": label,
        "prediction": prediction,
        "score": score,
        "groups": grouped_by(rules),
        "measures": tuple(measure) if measure else None,
        "id": id,
        "positive": positive,
        "weight": weight,
        "cluster": cluster,
        "count": count,
        "strata": tuple(strata) if strata else None,
    }
    evidence = evidence_from(file, roles)
    if preset is not None:
        return _preset(preset, evidence, list(group or evidence.groups), json=json, out=out)
    made = audited = run_audit(evidence, rules, title=f"audit of {Path(file).name}")
    if suppress_below is not None:
        from .small_cells import without_small_cells

        made = without_small_cells(audited, suppress_below)
    shown = _only(made, show or [])
    written: tuple[Path, ...] = ()
    if figures is not None:
        curves, notes = curves_of(evidence, rules, audited) if suppress_below is None else ([], [NO_CURVES])
        written = draw_into(figures, [shown, *curves], made.title, notes)
    write_test_cases(junit, made)
    deliver(
        as_json(made),
        verdict_line(made.verdict) + "\n",
        audit_tables(shown, "" if show else summary_table(made)) + said(figures, written),
        json,
        quiet,
        out,
    )
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
    figures: FIGURES = None,
) -> int:
    """Which combination of groups fares worst? What is found survives the searching. Explores; gates nothing."""
    from .bias.slices import slices as search

    refuse_overwriting(out, file)
    refuse_full(figures)
    roles = roles_of(label, prediction, score, column, measure, id, positive) | {
        "weight": weight,
        "cluster": cluster,
        "count": count,
        "strata": tuple(strata) if strata else None,
    }
    made = search(
        evidence_from(str(file), roles),
        of=of,
        min_support=min_support,
        min_count=min_count,
        depth=depth,
        permutations=permutations,
        confirm=confirm,
        seed=seed,
    )
    text = slice_table(made)
    written = draw_into(figures, [made], f"slices of {file.name}")
    deliver(as_json(made), text.splitlines()[-2] + "\n", text + said(figures, written), json, quiet, out)
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
    roles = roles_of(label, prediction, score, group, measure, None, positive) | {
        "weight": weight,
        "cluster": cluster,
        "count": counted,
        "strata": tuple(strata) if strata else None,
    }
    made = scan(files if len(files) > 1 else files[0], memory_limit=memory, **roles).counted()
    write_evidence(made, out)
    emit(f"{int(made.counts.sum()):,} rows are {len(made):,} distinct ones\nsaved: {out}\n")
    return 0


def schema(
    of: Annotated[
        str, typer.Option(metavar="WHAT", help="policy: of policy.toml; review: of review.json.")
    ] = "policy",
) -> int:
    """The JSON schema of policy.toml, for editors that check it, or of review.json, for programs that read it."""
    from json import dumps

    if of == "policy":
        from .bias.policy import policy_schema as described
    elif of == "review":
        from .saved_reviews import review_schema as described
    else:
        from .errors import did_you_mean

        raise UsageError(f"--of {of}: {did_you_mean(of, ('policy', 'review'))}")
    emit_json(dumps(described(), indent=1, sort_keys=True) + "\n")
    return 0


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
    deliver(as_json(made), text, text, json, False, out)
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
