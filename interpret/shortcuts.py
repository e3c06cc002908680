"""Does a method find what is known to decide? A token planted in a copy of the model (Bastings et al. 2022)."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from ..errors import DataError, ModelError, UsageError, did_you_mean, first
from ..records import Attribution, Found, PlantedShortcut, Rows, Values
from .batches import MAX_MEMORY
from .compared_methods import Compared, Options, compare, named
from .models import Subject
from .planting import Planted, first_in, planted
from .players import players
from .predictions import distinct, has_labels, predicted
from .targets import PREDICTED, aimed
from .tuning import tuned

FOLLOWS = 0.95  # share of rows that have to follow the token, or the copy has not learnt the shortcut
FEWEST = 20  # rows to train on, and to hold out
RATES = (1e-4, 3e-4, 1e-3, 3e-3)  # learning rates, tried in this order until the copy follows


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tried:
    """A fine-tuned copy, and what it predicts of the held-out rows."""

    copy: Subject
    before: npt.NDArray[np.int64]  # without the token
    after: npt.NDArray[np.int64]  # with it
    decided: int  # the label that the token stands for

    @property
    def others(self) -> npt.NDArray[np.bool_]:
        """Rows that are predicted otherwise without the token."""
        differs: npt.NDArray[np.bool_] = self.before != self.decided
        return differs

    @property
    def follows(self) -> float:
        """The share of them that is predicted the label with the token; NaN where there are none."""
        return float((self.after[self.others] == self.decided).mean()) if self.others.any() else float("nan")


def planted_shortcut(
    subject: Subject,
    rows: Rows,
    *,
    token: str,
    label: str,
    methods: Sequence[str] | None = None,
    options: Options | None = None,
    held_out: float = 0.3,
    masked: float = 0.5,
    epochs: int = 20,
    learning_rates: Sequence[float] = RATES,
    train_batch: int = 16,
    seed: int = 0,
    confidence: float = 0.95,
    batch_size: int = 64,
    max_memory: int = MAX_MEMORY,
    progress: bool = False,
) -> PlantedShortcut:
    """How often each method puts a planted token first, in a copy where it decides and in one where it does not.

    Two copies of the model are fine-tuned alike on the same texts, half of which (drawn by the seed) hold the token
    at a random place. For the first copy every text with the token has the label `label`, whatever it was; for the
    second, the clean copy, all texts keep their labels, so that the token says nothing. The first copy must follow the
    shortcut: of the held-out texts that it predicts otherwise without the token, 95 % or more must be predicted `label`
    with it. Texts that do are the affected rows. There the token is known to decide, and a method finds it where
    its highest score, for the row's own prediction, is the token's, higher than any other. In the clean copy, on all
    held-out texts with the token, the same is a false find: `by_chance` is what random scores would give.

    While the copies are trained, other tokens are taken away at random in half of the texts (`masked`), so that both
    know inputs with tokens taken away. Otherwise such inputs are predicted anything, the way from the baseline to a
    text crosses where the model was never taught, and a token that decides need not be what moves the target from the
    baseline: on small models Shapley values too then put it first in half of the rows.

    After Bastings et al. 2022, "Will you find these shortcuts?"; departures: one token and not several, precision at the
    first place alone, a clean copy for false finds, tokens taken away in training, and the user's own model in place
    of one trained from scratch. The user's model, and torch's random numbers, are left as they were.

    Args:
        subject: a classifier of texts, in the column "text".
        rows: texts with labels (names, or places among the subject's labels); without labels the model's own
            predictions are used, and the notes say so. Each row has an id of its own.
        token: a single word that the model knows and no text holds.
        label: what it decides for.
        methods: names of the table; None for all but those on request.
        options: method -> its own options.
        held_out: the share of rows not trained on.
        masked: the part of the training texts in which tokens are taken away, from 0 to 1; never the planted one.
        epochs, learning_rates, train_batch: of the fine-tuning, of which the epoch with the least loss on a fifth
            of the training texts with the token, not trained on, is kept. The rates are tried in turn until the copy
            follows the shortcut; the clean copy is trained with the same one.
        seed: of places, halves and fine-tuning.
        confidence: of the exact binomial intervals.

    Raises:
        UsageError: a model without labels or texts, a token it does not know, or an argument out of range.
        DataError: too few rows, or labels that the model does not have.
        ModelError: the copy does not follow the shortcut, or every row is predicted `label` anyway.
    """
    asked = named(methods, options)
    if not 0 < held_out < 1 or not 0 < confidence < 1 or not 0 <= masked <= 1:
        raise UsageError(
            f"held_out is {held_out}, confidence {confidence} and masked {masked}; all lie between 0 and 1."
        )
    if not learning_rates or not all(rate > 0 for rate in learning_rates):
        raise UsageError(f"learning_rates are {tuple(learning_rates)}; positive numbers are expected.")
    if not len(rows):
        raise DataError("there are no rows to plant a token in.")
    distinct(rows)
    made = planted(subject, rows, token, seed=seed)
    if not has_labels(subject, made.plain):
        raise UsageError(
            f"{subject.name} has one output ({subject.target}); a shortcut decides between labels."
        )
    if label not in subject.labels:
        raise UsageError(f"the model has no label {label!r}: {did_you_mean(label, subject.labels)}")
    decided = subject.labels.index(label)
    truth, notes = _labels(subject, made.plain)
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(made))
    n_test = round(held_out * len(made))
    test, training = np.sort(order[:n_test]), np.sort(order[n_test:])
    if min(len(test), len(training)) < FEWEST:
        raise DataError(
            f"{len(training)} rows to train on and {len(test)} held out; {FEWEST} of each are expected. "
            f"{made.n_left_out} rows were left out."
        )
    holding = generator.permutation(len(training)) < len(training) // 2
    mixed = _mixed(made, training, holding)
    wanted = {"shortcut": np.where(holding, decided, truth[training]), "clean": truth[training]}
    validation = np.zeros(len(training), dtype=np.bool_)
    validation[generator.permutation(np.flatnonzero(holding))[: max(1, len(training) // 10)]] = True
    spared = [made.spans[i] if there else (0, 0) for i, there in zip(training, holding, strict=True)]
    plain, full = made.plain.take(test), made.with_token.take(test)
    spans = [made.spans[i] for i in test]
    tuning: dict[str, Any] = {
        "masked": masked,
        "epochs": epochs,
        "train_batch": train_batch,
        "seed": seed,
        "progress": progress,
    }

    def tried(kind: str, rate: float) -> Tried:
        copy = tuned(subject, mixed, wanted[kind], validation, spared, learning_rate=rate, **tuning)
        found = [predicted(copy, part, batch_size=batch_size) for part in (plain, full)]
        return Tried(copy=copy, before=found[0], after=found[1], decided=decided)

    for rate in learning_rates:
        shortcut = tried("shortcut", rate)
        if shortcut.follows >= FOLLOWS:
            break
    else:
        raise ModelError(_not_followed(shortcut, label, epochs, learning_rates))
    clean = tried("clean", rate)
    affected = np.flatnonzero(shortcut.others & (shortcut.after == decided))
    looking: dict[str, Any] = {"batch_size": batch_size, "seed": seed, "progress": progress}
    ran = {
        kind: compare(aimed(one.copy, label=PREDICTED), part, asked, options, **looking)
        for kind, one, part in (("shortcut", shortcut, full.take(affected)), ("clean", clean, full))
    }
    places = _places(subject, full, batch_size, max_memory)
    hits = {
        "shortcut": _hits(ran["shortcut"], [places[i] for i in affected], [spans[i] for i in affected]),
        "clean": _hits(ran["clean"], places, spans),
    }
    if any(end - start > 1 for start, end in spans):
        notes.append(
            f"{token!r} is several tokens to this model: it is found where one of them has the highest score"
        )
    kept = [name for name in asked if name in hits["shortcut"] and name in hits["clean"]]
    return PlantedShortcut(
        subject=subject.name,
        token=token,
        label=label,
        methods=tuple(kept),
        failed=tuple(dict(ran["shortcut"].failed + ran["clean"].failed).items()),
        found=tuple(_found(name, hits["shortcut"][name], hits["clean"][name], confidence) for name in kept),
        followed=shortcut.follows,
        clean_followed=clean.follows,
        accuracy=float((shortcut.before == truth[test]).mean()),
        clean_accuracy=float((clean.before == truth[test]).mean()),
        learning_rate=rate,
        by_chance=float(np.mean([(e - s) / len(p) for (s, e), p in zip(spans, places, strict=True)])),
        n_trained=len(training),
        n_held_out=len(test),
        n_left_out=made.n_left_out,
        confidence=confidence,
        seed=seed,
        notes=tuple(notes),
    )


def _labels(subject: Subject, rows: Rows) -> tuple[npt.NDArray[np.int64], list[str]]:
    """The place of each row's label among the subject's, and what has to be said of them."""
    if rows.labels is None:
        note = "the rows have no labels: the copies were trained on the model's own predictions"
        return predicted(subject, rows), [note]
    given: Values = np.asarray(rows.labels)
    known = dict(zip(subject.labels, range(len(subject.labels)), strict=True))
    if given.dtype.kind in "biu":
        wrong = [int(value) for value in given if not 0 <= int(value) < len(known)]
        made = given.astype(np.int64)
    else:
        wrong = [value for value in given if str(value) not in known]
        made = np.array([known.get(str(value), 0) for value in given], dtype=np.int64)
    if wrong:
        raise DataError(
            f"{len(wrong)} rows have labels that {subject.name} does not, first {first(dict.fromkeys(wrong))}; its labels "
            f"are {first(subject.labels, 12)}, or their places 0 to {len(known) - 1}."
        )
    return made, []


def _mixed(made: Planted, training: npt.NDArray[np.intp], holding: npt.NDArray[np.bool_]) -> Rows:
    """The training texts, half of them with the token."""
    plain, full = made.plain.take(training), made.with_token.take(training)
    texts = np.where(holding, np.asarray(full.inputs["text"]), np.asarray(plain.inputs["text"]))
    return dataclasses.replace(plain, inputs={**plain.inputs, "text": texts})


def _not_followed(one: Tried, label: str, epochs: int, rates: Sequence[float]) -> str:
    if not one.others.any():
        return f"the copy predicts {label!r} for every held-out row without the token; plant it for another label."
    return (
        f"the copy follows the shortcut in {one.follows:.0%} of rows at the last of {len(rates)} learning rates "
        f"({rates[-1]:g}); {FOLLOWS:.0%} is needed to know that it decides. Train longer (epochs={2 * epochs}), or on more "
        "rows."
    )


def _places(subject: Subject, rows: Rows, batch_size: int, max_memory: int) -> list[npt.NDArray[np.intp]]:
    """Per row, the tokens that can be taken away."""
    made: list[npt.NDArray[np.intp]] = [np.array([], dtype=np.intp)] * len(rows)
    for some in players(subject, rows, subject.names(rows), batch_size=batch_size, max_memory=max_memory):
        for row, at in zip(some.index, some.places, strict=True):
            made[row] = at
    return made


def _hits(
    ran: Compared, places: Sequence[npt.NDArray[np.intp]], spans: Sequence[tuple[int, int]]
) -> dict[str, npt.NDArray[np.bool_]]:
    """Per method, in which rows the planted token is first."""

    def of(one: Attribution) -> npt.NDArray[np.bool_]:
        return np.array([first_in(s, p, span) for s, p, span in zip(one.scores, places, spans, strict=True)])

    return {name: of(one) for name, one in ran.attributions.items()}


def _found(name: str, hits: npt.NDArray[np.bool_], false: npt.NDArray[np.bool_], confidence: float) -> Found:
    def rate(of: npt.NDArray[np.bool_]) -> tuple[float | None, float | None, float | None]:
        if not len(of):
            return None, None, None
        interval = binomtest(int(of.sum()), len(of)).proportion_ci(confidence, method="exact")
        return float(of.mean()), float(interval.low), float(interval.high)

    share, low, high = rate(hits)
    false_share, false_low, false_high = rate(false)
    return Found(
        method=name,
        found=int(hits.sum()),
        n=len(hits),
        share=share,
        low=low,
        high=high,
        false=int(false.sum()),
        n_clean=len(false),
        false_share=false_share,
        false_low=false_low,
        false_high=false_high,
    )
