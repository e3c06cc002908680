"""From a model and rows to an explorer: which examples, which gap, what is affordable, all in one call."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .bias.policy import Policy
from .bias.swapped_rows import Swapped
from .errors import UsageError
from .explored_gaps import AskedGap, asked_gap, gap_of_policy
from .explored_rows import ONE, chosen_rows, clusters_of, given_rows, one_row, pool_of
from .records import Rows
from .scenes import Attends, Scene

if TYPE_CHECKING:
    from .interpret.example_scenes import Example
    from .interpret.models import Subject
    from .interpret.watched_gaps import GapAsked
    from .visualizers.explorer import Explorer

N = 24  # examples that are shown where none are named
Closings = bool | Literal["auto"]


def explore(
    subject: "Subject",
    rows: Rows | None = None,
    *,
    ids: Sequence[str] | None = None,
    n: int = N,
    targets: Sequence[str] | None = None,
    baselines: Sequence[str | Rows | None] | None = None,
    background: Rows | None = None,
    method: str = "integrated gradients",
    gap: AskedGap | None = None,
    policy: Policy | str | Path | None = None,
    against: "Subject | None" = None,
    pairs: Swapped | None = None,
    generate: int | None = None,
    attends: Attends | Literal["auto"] = "auto",
    channels: Sequence[str] = (),
    closings: Closings = "auto",
    gap_rows: int | None = None,
    cluster: Sequence[Any] | None = None,
    max_memory: int | str = "512 MB",
    seed: int = 0,
    progress: bool = False,
) -> "Explorer":
    """Examples to be looked at head by head: words, maps, gates that run the model again, and a gap beside them.

    Without `ids`, at most `n` examples are drawn with the seed, in turns from every group, right and wrong; the title
    says so. Nothing is timed: what is affordable is counted, so that one call gives one result.

    Args:
        subject: the model.
        rows: the data; `pairs.original` where pairs are given.
        ids: the examples to be shown.
        n: how many are drawn where none are named.
        targets: labels, "predicted", or scales ("probability"); the first is the one that heads are read for. By default
            the subject's own target.
        baselines: what the examples are compared with ("mask", "padding", "mean", rows, None for the subject's own).
        background: the rows of a mean.
        method: an attribution method that promises a sum.
        gap: a contrast over `rows`, or ("race", "black", "white", metric) with a metric of `explored_gaps.GAPS`.
        policy: where no gap is named, the largest gap that the policy gates.
        against: a second model, shown beside on the same examples.
        pairs: of `swapped`: originals beside their copies, those whose decision flips first.
        generate: for language models: let it write so many tokens, and show each as an example.
        attends: "cross" for what a decoder's tokens look at in an encoder's; "auto" takes it for a sequence-to-sequence
            model.
        channels: names of a series' channels.
        closings: whether each head is closed by itself, for the examples and the gap; "auto" where the operations fit
            into `interpret.affordable.CLOSINGS`.
        gap_rows: on how many rows the gap is watched; by default as many as answer at once. Drawn with the seed.
        cluster: what each row is drawn with again in the gap's interval (a person, a document, a shift); by default itself.
        max_memory: what maps may take; longer examples give windows of maps on demand.

    Returns:
        The explorer: shows itself in a notebook, `.save("explorer.html")` writes a page.

    Raises:
        UsageError: an unknown id, target, baseline, metric, or arguments that exclude one another.
        DataError: there are no rows.
        ModelError, CaptureError: attention over the examples' tokens was not seen.
    """
    from .interpret.example_scenes import examples_of, make_scenes
    from .interpret.keeping import memory
    from .interpret.live_gates import LiveGates

    rows = given_rows(rows, pairs)
    pool, notes = pool_of(subject, rows, gap_rows, gap, seed), list[str]()
    if policy is not None and gap is None:
        gap = gap_of_policy(subject, pool, policy)
        notes += [] if gap else ["the policy gates no gap that can be watched"]
    chosen, partners, words = chosen_rows(subject, rows, pool, ids, n, gap, pairs, seed)
    title = f"{subject.name}: {words}"
    way: Attends = attends if attends != "auto" else _way(subject)
    shared: dict[str, Any] = {
        "baselines": baselines,
        "background": background,
        "method": method,
        "attends": way,
        "max_memory": memory(max_memory),
        "channels": channels,
        "seed": seed,
        "progress": progress,
    }
    if generate is not None:
        from .interpret.written_scenes import written_examples

        if targets is not None or pairs is not None:
            raise UsageError("of generated text the targets are its tokens: leave out targets and pairs.")
        examples = written_examples(subject, chosen, max_new_tokens=generate)
    else:
        examples = examples_of(subject, chosen, targets)
    made = make_scenes(examples, **shared)
    scenes, said = _closed(made.scenes, examples, closings)
    notes += said + _left_out(made.left_out)
    scenes = tuple(dataclasses.replace(scene, partner=partners.get(scene.id)) for scene in scenes)
    watched = None
    record = None
    if gap is not None:
        asked = asked_gap(subject, pool, len(rows), gap, seed, cluster=clusters_of(rows, pool, cluster))
        record, watched, said = _watched(subject, asked, scenes[0], closings, seed, progress)
        notes += said
    others: tuple[Scene, ...] = ()
    if against is not None:
        if generate is not None:
            raise UsageError("two models write different texts: leave out against=, or generate=.")
        others = make_scenes(examples_of(against, chosen, targets), **shared).scenes
        others = tuple(dataclasses.replace(scene, partner=partners.get(scene.id)) for scene in others)
    from .visualizers.explorer import explorer

    return explorer(
        scenes,
        gap=record,
        runs=LiveGates(scenes, examples, watched),
        others=others,
        names=(subject.name, "" if against is None else against.name),
        title="; ".join([title, *notes]),
    )


def explain(
    subject: "Subject",
    given: str | Mapping[str, Any] | np.ndarray[Any, Any],
    *,
    closings: Closings = "auto",
    **options: Any,
) -> "Explorer":
    """One example in the explorer: a text, the features of a row, or an array (series, image, recording).

    Args:
        given: a text; {feature: value}; or one series (time, channel), image (height, width, channel), recording (time,).
        closings, options: as for `explore`.

    Raises:
        UsageError: the model reads something else.
        For others see `explore`.
    """
    return explore(subject, one_row(subject, given), ids=(ONE,), closings=closings, **options)


def _way(subject: "Subject") -> Attends:
    from .interpret.generation import TASKS

    return "cross" if subject.task == TASKS[1] else "self"


def _left_out(layers: Sequence[str]) -> list[str]:
    many = len(layers)
    return [f"{many} attention call{'s' * (many > 1)} of other tokens not shown"] if many else []


def _closed(
    scenes: Sequence[Scene], examples: "Sequence[Example]", closings: Closings
) -> tuple[tuple[Scene, ...], list[str]]:
    """Scenes with the first target under each head closed, where that is affordable."""
    from .interpret.affordable import CLOSINGS, budget, operations
    from .interpret.example_scenes import joined
    from .interpret.live_gates import closed_one_by_one

    if closings not in (True, False, "auto"):
        raise UsageError(f"closings is {closings!r}; True, False or 'auto' is expected.")
    work = sum(
        operations(example.subject, example.row) * len(scene.layers) * scene.n_heads
        for example, scene in zip(examples, scenes, strict=True)
    )
    if closings is False or (closings == "auto" and work > budget(examples[0].subject, CLOSINGS)):
        return tuple(scenes), ["heads not closed one by one"] if closings == "auto" else []
    made: list[Scene] = []
    start = 0
    while start < len(examples):
        stop = start + 1
        while stop < len(examples) and examples[stop].subjects is examples[start].subjects:
            stop += 1
        rows = joined([example.row for example in examples[start:stop]])
        closed = closed_one_by_one(examples[start].subject, rows, scenes[start].layers, scenes[start].n_heads)
        made.extend(
            dataclasses.replace(scenes[i], closings=closed[:, :, i - start]) for i in range(start, stop)
        )
        start = stop
    return tuple(made), []


def _watched(
    subject: "Subject",
    asked: "GapAsked",
    scene: Scene,
    closings: Closings,
    seed: int,
    progress: bool,
) -> tuple[Any, Any, list[str]]:
    """The gap's record, the way to compute it again, and what a reader has to know."""
    from .interpret.affordable import CLOSINGS, budget, operations
    from .interpret.watched_gaps import watch

    work = operations(subject, asked.rows) * len(scene.layers) * scene.n_heads
    close = closings is True or (closings == "auto" and work <= budget(subject, CLOSINGS))
    record, watched = watch(
        subject, asked, scene.layers, scene.n_heads, close=close, seed=seed, progress=progress
    )
    return record, watched, [] if close or closings is False else ["the gap not with each head closed"]
