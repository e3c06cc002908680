"""The command that scores files of any size into evidence, on one processor or many machines."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from .errors import UsageError
from .flags import BATCH_SIZE, ENGINE, GROUP, ID, LABEL, MODEL, ON_BAD_ROW, SHARD_ROWS, THREADS, WORKERS
from .output import as_json, emit, emit_json
from .terminal import left_out_line, printable


def evidence(
    model: MODEL,
    data: Annotated[
        list[str], typer.Argument(metavar="DATA...", help="CSV or Parquet files of one kind, or patterns.")
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where evidence.parquet is written.")],
    label: LABEL = None,
    group: GROUP = None,
    id_column: ID = None,
    engine: ENGINE = "local",
    workers: WORKERS = 1,
    threads: THREADS = None,
    shard_rows: SHARD_ROWS = 1024,
    batch_size: BATCH_SIZE = 64,
    on_bad_row: ON_BAD_ROW = "stop",
    device: Annotated[str, typer.Option(help="cpu, cuda or mps.")] = "cpu",
    device_map: Annotated[
        str | None,
        typer.Option(
            metavar="auto", help="Spread a large model over the GPUs of a machine; needs accelerate."
        ),
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32, float64, bfloat16 or float16.")] = "float32",
    rounding: Annotated[
        str,
        typer.Option(
            help="In bfloat16 or float16: check 512 rows beside float32 and refuse where decisions differ, record how "
            "much they differ and go on, or skip it."
        ),
    ] = "check",
    force: Annotated[bool, typer.Option("--force", help="Replace evidence of another run.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar, and fewer words.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> int:
    """Score files of any size, shard by shard: a killed run goes on, and the bytes are the same on every engine."""
    if not group:
        raise UsageError("there is no group column: name at least one (--group).")
    from .shard_runs import Work
    from .sharded_evidence import evidence as score_files

    made = score_files(
        model,
        data,
        groups=tuple(group),
        out=out,
        label=label,
        id=id_column,
        work=Work(
            engine=engine,
            workers=workers,
            threads=threads,
            shard_rows=shard_rows,
            batch_size=batch_size,
            on_bad_row=on_bad_row,
            rounding=rounding,
        ),
        load={
            "device": device,
            "dtype": dtype,
            **({} if device_map is None else {"device_map": device_map}),
        },
        force=force,
        progress=not quiet and not json,
    )
    if made is None:  # a process of torchrun that is not the first
        return 0
    if json:
        emit_json(as_json(asdict(made)))
        return 0
    if made.told and not quiet:
        emit(f"note:   {printable(made.told)}; it was begun anew\n")
    if made.rounding is not None:
        emit(f"note:   {made.rounding}\n")
    if made.left_out:
        emit(left_out_line(made.left_out, out / "run.json"))
    emit(f"saved:  {printable(str(made.path))}: {made.n} rows, SHA-256 {made.sha256[:12]}\n")
    if not quiet:
        emit(f"next:   clinometer audit {printable(str(made.path))} --policy policy.toml\n")
    return 0
