"""A review of files: rows explained shard by shard beside the folder that is written."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from .bias.policy import read_policy
from .engines import joined, keeping, threads
from .errors import OutputError, UsageError, first
from .explanations import merged
from .published_law import LawQuestion
from .records import Review
from .review import review, save_review
from .review_questions import FixQuestion, GapQuestion
from .shard_runs import Work, alone, prepare
from .staged_rows import Columns
from .terminal import printable
from .whole_files import file_hash


def review_files(
    model: Path,
    data: Path,
    *,
    policy: Path | None,
    label: str | None,
    groups: tuple[str, ...],
    out: Path,
    seed: int = 0,
    device: str = "cpu",
    quiet: bool = False,
    force: bool = False,
    faithful_rows: int = 0,
    why: Sequence[GapQuestion | str] = (),
    mitigate: FixQuestion | str | None = None,
    law: LawQuestion | str | None = None,
    explorer: bool = False,
    work: Work | None = None,
) -> Review | None:
    """Review a model's folder on a data file and save the result: what `clinometer review` does.

    Rows are explained shard by shard beside `out`, in a folder that a killed run goes on from and a finished one
    removes. None in processes of torchrun other than the first.
    """
    how = work or Work()
    _may_write(out, force)
    resolved = read_policy(policy) if policy is not None else None
    if not groups and (resolved is None or not resolved.groups):
        raise UsageError(
            "there is no group column: name at least one (--group), or declare [groups.NAME] in the policy."
        )
    declared = tuple(resolved.groups) if resolved else ()
    columns = Columns(inputs=(), groups=groups or declared, label=label)
    folder = out.with_name(f"{out.name}.unfinished")
    with (
        joined(how.engine) as team,
        alone(folder, team, say=not quiet) as hold,
        threads(how.threads_each),
    ):
        if hold is not None:
            _may_write(out, force)  # again: another run may have ended in between
        run = prepare("explanations", model, data, columns, folder, how, team, load={"device": device})
        if run.told and not quiet:
            print(f"note: {printable(run.told)}; it is begun anew", file=sys.stderr)
        run.carry_out(team, progress=not quiet)
        if hold is None:
            return None
        with keeping(run.job):
            left_out = run.left_out
            rows = run.rows.rows(0, len(run.rows), [place for place, _, _ in left_out])
            made = review(
                run.subject,
                rows,
                policy=resolved,
                seed=seed,
                batch_size=how.batch_size,
                shard_rows=how.shard_rows,
                explanations=merged(run.shards.each()),
                data={
                    "name": data.name,
                    "file_sha256": file_hash(data),
                    "columns": dataclasses.asdict(run.rows.columns),
                    "left_out": [list(one) for one in left_out],
                },
                limits=_left_out(left_out, len(run.rows)),
                faithful_rows=faithful_rows,
                why=why,
                mitigate=mitigate,
                law=law,
                explorer=explorer,
                progress=not quiet,
            )
            save_review(made, out, progress=not quiet)
        hold.clear()
    return made


def _may_write(out: Path, force: bool) -> None:
    if out.exists() and any(out.iterdir()) and not force:
        raise OutputError(
            f"{out} exists and is not empty. Name another folder with --out, or replace it with --force."
        )


def _left_out(rows: Sequence[tuple[int, str, str]], n: int) -> tuple[str, ...]:
    if not rows:
        return ()
    return (
        f"{len(rows)} of {n} rows could not be used and are in no number here: "
        f"{first([f'{name} ({why})' for _, name, why in rows], 3)}. All are listed in review.json, data.left_out.",
    )
