"""Which attribution method is faithful to this model: curves, ERASER's measures, infidelity, checks, a ranking."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import DataError, UsageError, did_you_mean
from ..records import Attribution, Faithfulness, Floats, Randomised, Rows
from .agreement import shapley_agreement, some_rows
from .batches import MAX_MEMORY
from .bootstrap import checked
from .compared_methods import Options, compare, given, named
from .deletion import Removals, checked_shares, removals
from .infidelity import drops, infidelity
from .measures import CHANCE, MEASURES, curves, of_removals, summarised
from .models import Subject
from .outcomes import Of, Watched, supports, watched
from .predictions import distinct
from .ranks import random_scores
from .recommendation import labels, ranked, recommended
from .sanity import randomisation
from .sensitivity import on_some

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5)
ERASER_SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)  # DeYoung et al. 2020, section 4.2


def faithfulness(
    subject: Subject,
    rows: Rows,
    *,
    methods: Sequence[str] | None = None,
    attributions: Mapping[str, Attribution] | None = None,
    options: Options | None = None,
    of: Of = "prediction",
    shares: Sequence[float] = SHARES,
    eraser_shares: Sequence[float] = ERASER_SHARES,
    perturbations: int = 32,
    random_draws: int = 3,
    shapley_rows: int = 0,
    shaken_rows: int = 0,
    randomised_rows: int = 0,
    trained_with_masks: bool | None = None,
    group: str | None = None,
    seed: int = 0,
    replicates: int = 1000,
    confidence: float = 0.95,
    batch_size: int = 64,
    max_memory: int = MAX_MEMORY,
    progress: bool = False,
) -> Faithfulness:
    """Attribution methods measured on this model and these rows, beside random scores, with one recommended.

    The outcome that is watched while tokens are taken away is the softmax probability of the row's own predicted
    label; of a subject with one output, and of a language model, it is the target itself, in its unit. A token taken
    away has the embedding of the subject's baseline in place of its own. Tokens are ordered by their support for the
    outcome: signed scores times the side on which the row is (`outcomes.watched`), so that the strongest evidence for
    what was predicted is taken first and evidence against it last; scores that are never negative as they are. A
    share of tokens is rounded up. What each measure is stands in `measures.MEASURES`.

    Methods explain the row's own predicted label, so that those that keep positive evidence only are not judged on
    evidence they drop. Measures are means over rows with bias-corrected and accelerated bootstrap
    intervals; differences to the best method and to random scores are paired. `recommendation.recommended` says how a
    method is chosen.

    Args:
        subject: the model, with a baseline.
        rows: each with an id of its own.
        methods: names of the table; None for all of them but those on request (`Method.on_request`), or, where
            `attributions` are given, for these alone.
            Methods that cannot be used with this model are listed in `failed`, with the reason.
        attributions: made before, by name, of the same rows, with label="predicted" or, of two labels, for the
            subject's own target; not computed again.
        options: method -> its own options.
        of: "prediction" explains each row's own predicted label; "target" the subject's target. The same for one output.
        shares: of the tokens that can be taken away, for curves and areas.
        eraser_shares: the same for comprehensiveness and sufficiency; ERASER's five.
        perturbations: random sets of tokens per row, for infidelity.
        random_draws: how many random attributions the floor is the mean of.
        shapley_rows: on how many rows (drawn by the seed among those of 3 to 50 tokens that can be taken away) rank
            agreement with Shapley values is measured; costs 2^n runs for up to 10 tokens, else about 50 n.
        shaken_rows: on how many rows max-sensitivity is measured; costs four attributions each.
        randomised_rows: on how many rows `sanity.randomisation` is run, for the subject's own target.
        trained_with_masks: whether the model saw the baseline's tokens in training; None where that is unknown.
        group: a column of the rows' groups: every measure for each group too.
        seed: of everything drawn.
        replicates, confidence: of the bootstrap.
        batch_size: rows encoded together.
        max_memory: bytes that one pass may keep.
        progress: show bars.

    Raises:
        UsageError: a method, option, number or group that does not exist or is out of range.
        DataError: no rows, two rows with one id, attributions of other rows, or a score that is not finite.
        ModelError: no method can be used with this model.
    """
    checked(replicates, confidence)
    wanted = tuple(sorted({*checked_shares(shares), *checked_shares(eraser_shares)}))
    _checked(rows, of, group, random_draws, perturbations)
    before = dict(attributions or {})
    asked = () if methods is None and before else named(methods, options)
    if not asked and not before:
        raise UsageError("methods is empty and no attributions are given: there is nothing to measure.")
    if clash := [name for name in before if name in asked or name == CHANCE]:
        raise UsageError(
            f"{clash[0]!r} is given, and asked for or the name of the floor; give each name once."
        )
    how: dict[str, Any] = {"batch_size": batch_size, "max_memory": max_memory}
    question = watched(subject, rows, of, **how)
    explained = question.explained
    made = given(before, subject, explained, rows, question.sign)
    ran = compare(explained, rows, asked, options, batch_size=batch_size, seed=seed, progress=progress)
    made |= ran.attributions
    scores = _scores(made, rows, question, random_draws, seed)
    support = supports(scores, question.side)
    orders: dict[str, tuple[int, ...]] = {name: (i,) for i, name in enumerate(made)}
    orders[CHANCE] = tuple(range(len(made), len(scores)))
    how |= {"seed": seed, "progress": progress}
    taken = removals(question.outcome, rows, question.names, support, wanted, **how)
    found = of_removals(taken, question.side, shares, eraser_shares)
    falls = drops(explained, rows, question.names, perturbations=perturbations, **how)
    plain, relative = zip(*(infidelity(one, falls) for one in scores), strict=True)
    in_unit = [one.unit == explained.unit for one in made.values()] + [False] * random_draws
    found["infidelity"] = np.where(np.array(in_unit)[:, None], np.array(plain), np.nan)
    found["relative_infidelity"] = np.array(relative)
    if shapley_rows:
        found["shapley_correlation"] = shapley_agreement(
            explained, rows, made, support, question.side, taken.places, shapley_rows, **how
        )
    n_tokens = np.array([len(places) for places in taken.places])
    if shaken_rows:
        some = some_rows(rows.ids, n_tokens, shaken_rows, seed, "shaken")
        moved = on_some(explained, rows, made, asked, options, some, seed=seed, batch_size=batch_size)
        found["max_sensitivity"] = np.concatenate([moved, np.full((random_draws, len(rows)), np.nan)])
    measures = tuple(measure.name for measure in MEASURES if measure.name in found)
    values = np.array(
        [[found[name][list(places)].mean(axis=0) for name in measures] for places in orders.values()]
    )
    bootstrap: dict[str, Any] = {"replicates": replicates, "confidence": confidence, "seed": seed}
    groups = None if group is None else rows.groups[group]
    measured = summarised(values, tuple(orders), measures, groups, **bootstrap)
    chosen, reason = recommended(measured, made)
    randomised: tuple[Randomised, ...] = ()
    if randomised_rows:
        some = some_rows(rows.ids, n_tokens, randomised_rows, seed, "randomised")
        able = tuple(name for name in made if name in asked)
        randomised = randomisation(
            subject, rows.take(some), methods=able, options=options, batch_size=batch_size, **bootstrap
        ).randomised
    return Faithfulness(
        subject=subject.name,
        target=explained.target,
        outcome=question.words,
        baseline=explained.baseline,
        ids=rows.ids,
        methods=tuple(orders),
        failed=ran.failed,
        measures=measures,
        values=values,
        measured=measured,
        curves=curves(taken, question.side, shares, orders, **bootstrap),
        randomised=randomised,
        ranking=ranked(measured),
        recommended=chosen,
        reason=reason,
        grouped_by=group or "",
        confidence=confidence,
        replicates=replicates,
        seed=seed,
        n_runs=taken.n_runs,
        notes=(*masking(taken, question, trained_with_masks), *labels(made)),
    )


def _checked(rows: Rows, of: str, group: str | None, random_draws: int, perturbations: int) -> None:
    if not len(rows):
        raise DataError("there are no rows to measure on.")
    distinct(rows)
    if of not in ("prediction", "target"):
        raise UsageError(f"of is {of!r}; {did_you_mean(of, ('prediction', 'target'))}")
    if group is not None and group not in rows.groups:
        raise UsageError(f"the rows have no group column {group!r}; {did_you_mean(group, rows.groups)}")
    if random_draws < 1:
        raise UsageError(f"random_draws is {random_draws}; the floor needs 1 or more.")
    if perturbations < 2:
        raise UsageError(f"perturbations is {perturbations}, expected 2 or more.")


def _scores(
    made: Mapping[str, Attribution], rows: Rows, question: Watched, random_draws: int, seed: int
) -> list[Floats]:
    """The scores of every method, then of every random draw, (example, token) each, of one width."""
    lengths = [len(tokens) for tokens in question.names]
    drawn = [random_scores(seed, rows.ids, lengths, draw) for draw in range(random_draws)]
    return [one.scores[:, : max(lengths)] for one in made.values()] + drawn


def masking(taken: Removals, question: Watched, trained_with_masks: bool | None) -> tuple[str, ...]:
    """What taking tokens away did to the inputs, and whether the model knew inputs like these."""
    n_players = np.array([len(places) for places in taken.places])
    n, none = len(n_players), int((n_players == 0).sum())
    moved = np.abs(taken.whole - taken.nothing)[n_players > 0]
    notes = []
    if none:
        notes.append(f"{none} of {n} rows have no token that can be taken away and are in no measure")
    single = int((n_players == 1).sum())
    if single:
        notes.append(
            f"{single} of {n} rows have one such token: every share takes all of it, and orders cannot differ"
        )
    if len(moved):
        notes.append(
            f"with every token taken away ({question.explained.baseline}) the outcome moves by {moved.mean():.3g} on "
            f"average and is {np.nanmean(taken.nothing):.3g} (standard deviation {np.nanstd(taken.nothing):.2g})"
        )
    if trained_with_masks is None:
        notes.append(
            "whether the model was trained with tokens taken away like this is not known: if it was not, partly masked "
            "inputs are none it knows, and falls mix what a token adds with how strange the input has become. The mix is "
            "the same for all methods, so that the order of methods is safer than the size of a measure"
        )
    elif not trained_with_masks:
        notes.append(
            "the model was not trained with tokens taken away like this: partly masked inputs are out of its training "
            "distribution, and falls mix what a token adds with how strange the input has become"
        )
    else:
        notes.append(
            "the model was trained with tokens taken away like this: masked inputs are none it does not know"
        )
    return tuple(notes)
