"""Two versions of a model on the same rows: decisions, gaps, heads, time and size, before and after compression."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .bias.attributes import resolve_attributes
from .bias.comparison import compare
from .bias.policy import Policy, read_policy
from .compression_cost import Footprint, VariantComparison, affected
from .errors import DataError, UsageError, first
from .records import Rows
from .review import read_rows, rows_hash
from .scored_rows import binary, evidence_of, refuse_names

if TYPE_CHECKING:
    from .interpret.latency import Latency
    from .interpret.models import Subject


def compare_models(
    teacher: "Subject",
    student: "Subject",
    rows: Rows,
    policy: Policy | str | Path | None = None,
    *,
    tolerance_change: Mapping[str, float] | None = None,
    tolerance_gap_change: Mapping[str, float] | None = None,
    set_by: str | None = None,
    metrics: Sequence[str] | None = None,
    head_rows: int = 64,
    counting: str = "gradients",
    rounds: int = 7,
    timed_rows: int = 256,
    batch_size: int = 32,
    replicates: int = 1000,
    disk_bytes: tuple[int | None, int | None] = (None, None),
    seed: int = 0,
    title: str | None = None,
    progress: bool = False,
) -> VariantComparison:
    """Score both models on the same rows and lay what changed beside what was saved.

    Args:
        teacher, student: the model there is, and its smaller version; both score the same target.
        rows: neither was trained on, with group columns, and labels 0 and 1 where there are any.
        policy: groups, alpha, confidence; see `bias.comparison.compare`, which judges the change.
        tolerance_change, tolerance_gap_change, set_by, metrics: see there. Without a margin nothing is judged.
        head_rows: heads are compared on so many rows, drawn by the seed; 0 compares none.
        counting: how heads count; "closing" is for int8. See `interpret.head_changes`.
        rounds: interleaved passes that are timed, over the first `timed_rows` rows; 0 times none.
        disk_bytes: of the folders that they came from.
        replicates: of the intervals of heads.

    Raises:
        UsageError: the two score different targets, or an argument is impossible.
        DataError: no rows, labels other than 0 and 1, or what `compare` refuses.
    """
    from .interpret.head_changes import head_changes
    from .interpret.latency import latencies
    from .interpret.models import score

    _comparable(teacher, student, rows)
    rules = read_policy(policy) if isinstance(policy, (str, Path)) else policy or Policy()
    scores = [score(one, rows, batch_size=batch_size) for one in (teacher, student)]
    tables = [evidence_of(one, rows, made) for one, made in zip((teacher, student), scores, strict=True)]
    named = title or f"{teacher.name} and {student.name}"
    compared = compare(
        tables[0],
        tables[1],
        rules,
        tolerance_change=tolerance_change,
        tolerance_gap_change=tolerance_gap_change,
        set_by=set_by,
        metrics=metrics,
        title=named,
    )
    times: dict[str, Latency] = {}
    if rounds:
        some = rows.take(range(min(timed_rows, len(rows))))
        pair = {"before": teacher, "after": student}
        times = latencies(pair, some, rounds=rounds, batch_size=batch_size, seed=seed, progress=progress)
    heads = None
    if head_rows:
        drawn = np.sort(np.random.default_rng(seed).permutation(len(rows))[:head_rows])
        heads = head_changes(
            teacher,
            student,
            rows.take(drawn),
            counting=counting,
            batch_size=batch_size,
            confidence=rules.confidence,
            replicates=replicates,
            seed=seed,
            progress=progress,
        )
    decided = [made > one.threshold for one, made in zip((teacher, student), scores, strict=True)]
    return VariantComparison(
        title=named,
        n=len(rows),
        before=_footprint(teacher, disk_bytes[0], times.get("before")),
        after=_footprint(student, disk_bytes[1], times.get("after")),
        comparison=compared,
        affected=affected(
            decided[0],
            decided[1],
            None if rows.labels is None else np.asarray(rows.labels).astype(bool),
            resolve_attributes(tables[0], rules),
            rules.confidence,
        ),
        heads=heads,
        data={"rows": len(rows), "rows_sha256": rows_hash(rows)},
        notes=tuple(compared.notes),
    )


def compare_folders(
    old: str | Path,
    new: str | Path,
    data: str | Path,
    *,
    label: str | None = None,
    groups: Sequence[str] = (),
    policy: Policy | str | Path | None = None,
    id: str | None = None,
    old_as: str = "float32",
    new_as: str = "float32",
    positive: str | None = None,
    device: str = "cpu",
    **asked: Any,
) -> VariantComparison:
    """`compare_models` of two models' folders on a data file: what `clinometer compare OLD/ NEW/ DATA` does.

    Args:
        old, new: folders of models; the same one twice compares two ways to load it.
        data: CSV or Parquet; see `review.read_rows` for `label`, `groups` and `id`.
        policy: its groups are compared where `groups` names none.
        old_as, new_as: a number type, "int8" or "int8-weights": how each is loaded.
        positive: the label that is scored; by default the one each folder names.
        asked: see `compare_models`.

    Raises:
        ModelError: a folder cannot be loaded, or not in this way.
        UsageError, DataError: see `compare_models`.
    """
    from .interpret.footprint import folder_bytes
    from .interpret.variants import load_as

    rules = read_policy(policy) if isinstance(policy, (str, Path)) else policy or Policy()
    named = tuple(groups) or tuple(rules.groups)
    if not named:
        raise UsageError(
            "there is no group column: name at least one (--group), or declare [groups.NAME] in the policy."
        )
    teacher = load_as(old, old_as, device=device, positive=positive)
    student = load_as(new, new_as, device=device, positive=positive)
    columns = tuple(dict.fromkeys((*teacher.columns, *student.columns)))
    optional = tuple(dict.fromkeys((*teacher.optional, *student.optional)))
    rows = read_rows(data, columns=columns, groups=named, label=label, id=id, optional=optional)
    names = [path if how == "float32" else f"{path} as {how}" for path, how in ((old, old_as), (new, new_as))]
    asked.setdefault("title", " and ".join(Path(one).name for one in names))
    made = compare_models(
        teacher,
        student,
        rows,
        rules,
        disk_bytes=(folder_bytes(old), folder_bytes(new)),
        **asked,
    )
    converted = [one for one in (old_as, new_as) if one != "float32"]
    if not converted:
        return made
    note = (
        f"{first(converted)} is made while loading: the size on disk is that of the folder it is made from."
    )
    return dataclasses.replace(made, notes=(*made.notes, note))


def _comparable(teacher: "Subject", student: "Subject", rows: Rows) -> None:
    asked = [(one.target, one.unit) for one in (teacher, student)]
    if asked[0] != asked[1]:
        raise UsageError(
            f"{teacher.name} is asked for {asked[0][0]!r} and {student.name} for {asked[1][0]!r}: their scores cannot be "
            "compared. Name the label that both have (positive=...), or wrap one of them."
        )
    if not all(np.isfinite(one.threshold) for one in (teacher, student)):
        raise UsageError(
            "a model without a threshold decides nothing, so that no decision can be compared. Give it one: "
            "dataclasses.replace(subject, threshold=...)."
        )
    if not len(rows):
        raise DataError("there are no rows to compare on.")
    if rows.labels is not None:
        binary(rows.labels, rows.ids)
    refuse_names(rows)


def _footprint(subject: "Subject", disk: int | None, latency: "Latency | None") -> Footprint:
    from .interpret.footprint import weight_bytes

    return Footprint(
        name=subject.name,
        module=type(subject.module).__qualname__,
        provenance=dict(subject.provenance),
        weight_bytes=weight_bytes(subject.module),
        disk_bytes=disk,
        latency=latency,
    )
