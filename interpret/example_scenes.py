"""Scenes of examples: attributions to every target and baseline, maps, statistics of heads, facts."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from tqdm.auto import tqdm

from ..errors import UsageError, did_you_mean, first
from ..records import Attribution, Floats, Rows
from ..scenes import Attends, Scene
from .head_roles import NO_ROLE, roles, summaries
from .methods import DEFAULT, attribute, method_named
from .models import Subject, score
from .reductions import Statistics
from .scene_maps import Seen, Windows, chosen_size, seen
from .scene_tokens import Shown, shown
from .targets import PREDICTED, UNITS, aimed

ROLE = "role: "  # a statistic that is 1 where a head passes that role's threshold over the examples shown


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Example:
    """One example to be shown: its row, and the model asked for each target; heads are read for the first."""

    id: str
    row: Rows
    subjects: tuple[Subject, ...]
    facts: Mapping[str, str | None] = field(default_factory=dict)  # label, prediction, groups
    wrong: bool | None = None

    @property
    def subject(self) -> Subject:
        """The model asked for the first target."""
        return self.subjects[0]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Made:
    """Scenes with the examples they are of, and what of the model they do not show."""

    scenes: tuple[Scene, ...]
    examples: tuple[Example, ...]
    left_out: tuple[str, ...]  # attention calls over other positions, or of the other kind


def asked(subject: Subject, targets: Sequence[str] | None) -> tuple[Subject, ...]:
    """The subject aimed at each target: a label, "predicted", or a scale such as "probability".

    Raises:
        UsageError: there is no such target, or targets have different units.
    """
    if targets is not None and (isinstance(targets, str) or not targets):
        raise UsageError(f"targets={targets!r}; several names are expected: ({first(subject.labels)},).")
    made = []
    for name in targets or ():
        if name in subject.labels or name == PREDICTED:
            made.append(aimed(subject, label=name))
        elif name in UNITS:
            made.append(aimed(subject, name))
        else:
            raise UsageError(
                f"there is no target {name!r}; {did_you_mean(name, (*subject.labels, PREDICTED, *UNITS))}"
            )
    units = {one.unit for one in made}
    if len(units) > 1:
        raise UsageError(f"the targets have the units {first(sorted(units))}; one for all is expected.")
    return tuple(made) or (subject,)


def examples_of(subject: Subject, rows: Rows, targets: Sequence[str] | None = None) -> tuple[Example, ...]:
    """One example for each row. Its prediction is the subject's own, whatever the targets are.

    Raises:
        DataError: there are no rows.
        UsageError: see `asked`.
    """
    subjects = asked(subject, targets)
    made = []
    for i, value in enumerate(score(subject, rows).tolist()):
        row = rows.take([i])
        facts, wrong = facts_of(subject, row, value)
        made.append(Example(id=row.ids[0], row=row, subjects=subjects, facts=facts, wrong=wrong))
    return tuple(made)


def make_scenes(
    examples: Sequence[Example],
    *,
    baselines: Sequence[str | Rows | None] | None = None,
    background: Rows | None = None,
    method: str = DEFAULT,
    attends: Attends = "self",
    max_memory: int = 2**29,
    channels: Sequence[str] = (),
    batch_size: int = 16,
    seed: int = 0,
    progress: bool = False,
) -> Made:
    """The scene of every example: scores that add up, maps or the way to them, statistics and roles of heads.

    Each example is traced alone, so that no map holds padding. Maps are kept whole where those of all examples fit into
    `max_memory`; else a scene has block means, and windows that are computed when they are asked for.

    Args:
        baselines: what the examples are compared with, see `baselines.compared`; None for the subject's own.
        method: one that promises a sum.
        attends: "cross" shows what a decoder's tokens attend to among those of an encoder.
        max_memory: bytes of all maps together.

    Raises:
        UsageError: the method promises no sum.
        ModelError: attention over these tokens was not seen.
    """
    if not method_named(method).adds_up:
        raise UsageError(
            f"scores of {method} add up to nothing, which an explorer shows the rest of; take one that does, as {DEFAULT!r}."
        )
    scored = _scored(examples, baselines, background, method, batch_size, seed, progress)
    windows = Windows()
    made: list[Scene] = []
    measured: list[list[Statistics]] = []
    left: dict[str, None] = {}
    for example, attributions in zip(
        tqdm(examples, desc="maps", unit="example", disable=not progress), scored, strict=True
    ):
        tokens = shown(example.subject, example.row, channels=channels)
        look = [
            seen(subject, example.row, attends=attends, n_tokens=len(tokens.tokens))
            for subject in example.subjects
        ]
        whole = chosen_size(look[0].shape, len(examples), max_memory) == "whole"
        scene, statistics = _scene(example, tokens, look, attributions, attends, whole)
        if not whole:
            again = partial(seen, example.subject, example.row, attends=attends, n_tokens=len(tokens.tokens))
            scene = dataclasses.replace(scene, detail=windows.of(example.id, again))
        left.update(dict.fromkeys(look[0].left_out))
        made.append(scene)
        measured.append(statistics)
    return Made(scenes=tuple(_with_roles(made, measured)), examples=tuple(examples), left_out=tuple(left))


def _scored(
    examples: Sequence[Example],
    baselines: Sequence[str | Rows | None] | None,
    background: Rows | None,
    method: str,
    batch_size: int,
    seed: int,
    progress: bool,
) -> list[list[list[Attribution]]]:
    """(example, target, baseline) attributions of one row each; examples of one subject run together."""
    given: Sequence[str | Rows | None] = (None,) if baselines is None else baselines
    if not given or isinstance(given, str):
        raise UsageError(f"baselines={given!r}; several are expected, e.g. ('mask', 'padding').")
    made: list[list[list[Attribution]]] = [[] for _ in examples]
    start = 0
    while start < len(examples):
        stop = start + 1
        while stop < len(examples) and examples[stop].subjects is examples[start].subjects:
            stop += 1
        rows = joined([example.row for example in examples[start:stop]])
        for subject in examples[start].subjects:
            found = [
                attribute(
                    subject, rows, method, baseline=one, background=background, batch_size=batch_size, seed=seed,
                    progress=progress,
                )
                for one in given
            ]  # fmt: skip
            for i in range(start, stop):
                made[i].append([one.take([i - start]) for one in found])
        start = stop
    return made


def joined(rows: Sequence[Rows]) -> Rows:
    """Rows one after the other."""
    one = rows[0]
    return Rows(
        ids=tuple(name for part in rows for name in part.ids),
        inputs={name: np.concatenate([part.inputs[name] for part in rows]) for name in one.inputs},
        labels=None if one.labels is None else np.concatenate([np.asarray(part.labels) for part in rows]),
        groups={name: tuple(value for part in rows for value in part.groups[name]) for name in one.groups},
    )


def _scene(
    example: Example,
    tokens: Shown,
    look: Sequence[Seen],
    attributions: Sequence[Sequence[Attribution]],
    attends: Attends,
    whole: bool,
) -> tuple[Scene, list[Statistics]]:
    of = look[0]
    n, before = len(attributions[0][0].tokens[0]), len(example.subject.prefix)
    scores = np.zeros((len(attributions), len(attributions[0]), len(tokens.tokens)))
    for i, part in enumerate(attributions):
        for j, one in enumerate(part):  # tokens of the prefix are in no input, and get nothing
            scores[i, j, before:] = one.scores[0, :n]
    decoder = of.trace.decoder_tokens
    queries = decoder[0] if attends == "cross" and decoder is not None else tokens.tokens
    statistics = [of.trace.statistics(place)[0] for place in of.places]
    value = np.array([part[0].value[0] for part in attributions])
    made = Scene(
        id=example.id,
        kind=tokens.kind,
        attends=attends,
        tokens=tokens.tokens,
        queries=queries,
        words=tokens.words,
        values=tokens.values,
        targets=tuple(part[0].target for part in attributions),
        unit=attributions[0][0].unit,
        baselines=tuple(one.baseline for one in attributions[0]),
        scores=scores,
        value=value,
        base_value=np.array([[one.base_value[0] for one in part] for part in attributions]),
        residual=np.array([[one.residual[0] for one in part] for part in attributions]),
        layers=of.layers,
        importance=np.stack([one.importance() for one in look]),
        statistics=_statistics(statistics, of.layers, of.shape[1]),
        attention=of.attention() if whole else None,
        contribution=of.contribution() if whole else None,
        overview=None if whole else of.overview(),
        facts=example.facts,
        wrong=example.wrong,
        picture=tokens.picture,
    )
    return made, statistics


def _statistics(found: Sequence[Statistics], layers: Sequence[str], n_heads: int) -> dict[str, Floats]:
    """Means over the queries of this example, (layer, head), NaN where nothing is defined."""
    place = {name: i for i, name in enumerate(layers)}
    made: dict[str, Floats] = {}
    for one in summaries(found):
        numbers = {"entropy": one.entropy, "distance": one.distance}
        numbers |= {f"share on {name}": share for name, share in one.shares.items()}
        for name, number in numbers.items():
            table = made.setdefault(name, np.full((len(layers), n_heads), np.nan))
            table[place[one.layer], one.head] = np.nan if number is None else number
    return {name: table for name, table in made.items() if not np.isnan(table).all()}


def _with_roles(scenes: Sequence[Scene], measured: Sequence[Sequence[Statistics]]) -> list[Scene]:
    """Scenes whose statistics also say which roles each head passes over all examples of the same layers."""
    made = []
    named = {}
    for layers in dict.fromkeys(scene.layers for scene in scenes):
        some = [
            one
            for scene, found in zip(scenes, measured, strict=True)
            if scene.layers == layers
            for one in found
        ]
        named[layers] = [one for one in roles(some) if one.role != NO_ROLE]
    for scene in scenes:
        tables: dict[str, Floats] = {}
        for one in named[scene.layers]:
            table = tables.setdefault(f"{ROLE}{one.role}", np.zeros((len(scene.layers), scene.n_heads)))
            table[scene.layers.index(one.layer), one.head] = 1.0
        made.append(dataclasses.replace(scene, statistics={**scene.statistics, **tables}))
    return made


def facts_of(subject: Subject, row: Rows, value: float) -> tuple[dict[str, str | None], bool | None]:
    """The label, the prediction and the groups of one row, and whether the prediction is another than the label."""
    facts: dict[str, str | None] = {}
    label = None if row.labels is None else bool(np.asarray(row.labels)[0])
    own_choice = subject.whole is not None and not subject.numbers  # of a language model: no label of the row
    decided = None if np.isnan(subject.threshold) or own_choice else value > subject.threshold
    named = len(subject.labels) > 1 and not own_choice
    words = {
        True: subject.labels[subject.positive] if named else "positive",
        False: "negative" if not named else _other(subject),
    }
    if label is not None:
        facts["label"] = words[label]
    if decided is not None:
        facts["prediction"] = words[decided]
    facts.update({name: values[0] for name, values in row.groups.items()})
    return facts, None if label is None or decided is None else bool(decided != label)


def _other(subject: Subject) -> str:
    others = [name for i, name in enumerate(subject.labels) if i != subject.positive]
    return others[0] if len(others) == 1 else f"not {subject.labels[subject.positive]}"
