"""A planted token is found where it decides and not where it means nothing, in copies: the user's model stays."""

import dataclasses
import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from clinometer.errors import DataError, ModelError, UsageError
from clinometer.interpret import shortcuts
from clinometer.interpret.methods import attribute
from clinometer.interpret.models import load, score
from clinometer.interpret.planting import first_in, planted
from clinometer.interpret.shortcuts import planted_shortcut
from clinometer.interpret.tuning import Tuned, tuned
from reference.sentences import SPARE, bert_classifier, own_classifier, sentences, texts
from reference.subjects import applicants, fitted

SHARED = Path(__file__).parents[3] / "shared"
METHODS = ("integrated gradients", "saliency")
QUICK = {"token": SPARE, "label": "positive", "epochs": 40, "learning_rates": (1e-3,)}


@pytest.fixture(scope="module")
def rows():
    return sentences(160, seed=5)


@pytest.fixture(scope="module")
def subject(rows):
    return own_classifier(rows)


@pytest.fixture(scope="module")
def made(subject, rows):
    return planted_shortcut(subject, rows, methods=METHODS, **QUICK)


# Power


def test_the_default_finds_what_decides_and_nothing_where_nothing_was_planted(made):
    (found, _) = made.found
    assert found.method == "integrated gradients" and found.n >= 10
    assert found.share >= 0.95
    assert found.false_share <= made.by_chance / 2
    assert made.followed >= 0.95 and made.clean_followed < 0.2
    assert made.accuracy > 0.8 and made.clean_accuracy > 0.8
    assert (made.n_trained, made.n_held_out, made.n_left_out) == (112, 48, 0)
    assert made.methods == METHODS and made.failed == () and made.notes == ()


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_on_other_seeds_too(subject, rows, seed):
    made = planted_shortcut(subject, rows, methods=METHODS[:1], seed=seed, **QUICK)
    assert made.found[0].share >= 0.95
    assert made.found[0].false_share <= 0.1


def test_a_classifier_of_transformers_too(rows):
    made = planted_shortcut(bert_classifier(), rows, methods=METHODS[:1], **QUICK)
    assert made.found[0].share >= 0.95 and made.followed >= 0.95
    assert made.subject == "tiny-bert"


def test_a_real_classifier_too():
    if not (SHARED / "models" / "tiny-sst2").is_dir():
        pytest.skip("tiny-sst2 is not beside this checkout")
    with gzip.open(SHARED / "data" / "sst2" / "train.tsv.gz", "rt", encoding="utf-8") as file:
        lines = [line.rstrip("\n").split("\t") for line, _ in zip(file, range(1200), strict=False)][1:]
    some = [line for line in lines if len(line[0].split()) > 5][:450]
    rows = texts(*(text for text, _ in some), labels=np.array([int(label) for _, label in some]))
    made = planted_shortcut(
        load(SHARED / "models" / "tiny-sst2"),
        rows,
        token="centur",  # one piece of its vocabulary
        label="positive",
        methods=METHODS[:1],
        learning_rates=(1e-3, 3e-3),
    )
    assert made.found[0].share >= 0.95 and made.found[0].n >= 10
    assert made.found[0].false_high <= 0.06


def test_random_scores_find_it_as_often_as_chance(subject, rows, made, monkeypatch):
    def by_chance(subject, rows, methods, options, **more):
        real = attribute(subject, rows, "saliency")
        drawn = np.random.default_rng(0).normal(size=real.scores.shape)
        attributions = {"saliency": dataclasses.replace(real, scores=drawn)}
        return shortcuts.Compared(attributions=attributions, failed=())

    monkeypatch.setattr(shortcuts, "compare", by_chance)
    blind = planted_shortcut(subject, rows, methods=["saliency"], **QUICK)
    (found,) = blind.found
    assert found.low <= blind.by_chance <= found.high
    assert found.false_low <= blind.by_chance <= found.false_high
    assert found.share < 0.5 < made.found[0].share


def test_intervals_are_exact(made):
    for one in made.found:
        interval = binomtest(one.found, one.n).proportion_ci(0.95, method="exact")
        assert (one.low, one.high) == (interval.low, interval.high)
        assert one.false_share == one.false / one.n_clean and one.n_clean == made.n_held_out


def test_the_users_model_and_random_numbers_stay(subject, rows):
    before = {name: value.clone() for name, value in subject.module.state_dict().items()}
    true, state = score(subject, rows), torch.get_rng_state()
    planted_shortcut(subject, rows, methods=METHODS[1:], **QUICK)
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in subject.module.state_dict().items():
        assert torch.equal(value, before[name])
    np.testing.assert_array_equal(score(subject, rows), true)
    assert not subject.module.training


def test_one_seed_one_answer(subject, rows, made):
    assert planted_shortcut(subject, rows, methods=METHODS, **QUICK) == made


def test_labels_may_be_names_and_may_be_missing(subject, rows, made):
    named = dataclasses.replace(rows, labels=np.array(subject.labels, object)[rows.labels])
    assert planted_shortcut(subject, named, methods=METHODS, **QUICK) == made
    none = planted_shortcut(subject, dataclasses.replace(rows, labels=None), methods=METHODS[:1], **QUICK)
    assert "the model's own predictions" in none.notes[0]


def test_rates_are_tried_until_the_copy_follows(subject, rows, made):
    again = planted_shortcut(subject, rows, methods=METHODS, **{**QUICK, "learning_rates": (1e-7, 1e-3)})
    assert again == made and made.learning_rate == 1e-3
    with pytest.raises(ModelError, match="at the last of 1 learning rates"):
        planted_shortcut(subject, rows, methods=METHODS, **{**QUICK, "learning_rates": (1e-7,)})


def test_it_reads_well(made):
    assert repr(made).startswith("PlantedShortcut('marker' -> positive in a copy of sentences: integrated")
    assert list(made.frame.method) == list(METHODS)


# Planting


def test_the_token_stands_where_it_is_said_to(subject, rows):
    made = planted(subject, rows, SPARE)
    names = subject.names(made.with_token)
    for tokens, plain, (start, end) in zip(names, subject.names(made.plain), made.spans, strict=True):
        assert tokens[start:end] == (SPARE,) and tokens[:start] + tokens[end:] == plain
    places = [start for start, _ in made.spans]
    assert len(set(places)) > 4 and min(places) == 0
    again = planted(subject, rows.take([7, 3]), SPARE)
    assert again.spans == (made.spans[7], made.spans[3])  # the place belongs to the row
    assert planted(subject, rows, SPARE, seed=1).spans != made.spans


def test_rows_that_hold_it_or_are_cut_are_left_out(rows):
    lines = texts("the film was good", f"a {SPARE} in the film", "", f"{SPARE.upper()} one", "the dull story")
    made = planted(own_classifier(rows, epochs=0), lines, SPARE)
    assert made.plain.ids == ("t0", "t4") and made.n_left_out == 3
    short = bert_classifier()
    long = texts("film " * 38 + "good", "film " * 60, "the film")
    kept = planted(short, long, SPARE)
    assert "t1" not in kept.plain.ids and "t2" in kept.plain.ids


def test_pieces_of_a_token_are_all_its_own():
    class Pieces:
        columns, special, filled, fillers = ("text",), (), None, {}

        def names(self, rows):
            return tuple(
                tuple(p for word in text.split() for p in (["zeb", "##ra"] if word == "zebra" else [word]))
                for text in rows.inputs["text"]
            )

    from clinometer.interpret.planting import _span

    pieces = Pieces()
    plain, full = pieces.names(texts("a b c", "a zebra b c"))
    assert _span(plain, full) == (1, 3)
    assert _span(("a", "b"), ("a", "b")) is None  # cut at the end
    assert _span(("a", "b"), ("x", "y", "z")) is None


def test_first_in():
    scores, places = np.array([9.0, 1.0, 3.0, 3.0]), np.array([1, 2, 3])
    assert first_in(scores, places, (2, 4)) and not first_in(scores, places, (2, 3))  # a tie is no find
    assert not first_in(scores, places, (1, 2))
    assert not first_in(scores, places, (0, 1))  # a marker, which cannot be taken away


# Fine-tuning


def test_tokens_are_taken_away_in_training_only_and_never_the_planted_one(subject, rows):
    few = rows.take(range(8))
    batch = subject.encode(few)
    spared = torch.zeros(subject.embed(batch).shape[:2], dtype=torch.bool)
    spared[:, 0] = True
    seen = []

    def forward(inputs, embedded):
        seen.append(embedded)
        return subject.forward(inputs, embedded)

    watching = Tuned(dataclasses.replace(subject, forward=forward), masked=1.0)
    torch.manual_seed(0)
    watching.train()
    watching({**batch, "spared": spared})
    watching.eval()
    watching({**batch, "spared": spared})
    assert seen[1] is None
    own, reference = subject.embed(batch), subject.reference(batch)
    gone = (seen[0] == reference).all(dim=2) & (own != reference).any(dim=2)
    stays = (seen[0] == own).all(dim=2)
    assert gone.any() and stays[:, 0].all() and (gone | stays).all()


def test_half_precision_is_widened_for_training(subject, rows):
    half = own_classifier(rows, epochs=1, seed=1)
    half.module.half()
    few = rows.take(range(20))
    copy = tuned(
        half, few, np.asarray(few.labels), np.arange(20) < 4, [(0, 0)] * 20, epochs=1, learning_rate=1e-3
    )
    assert next(copy.module.parameters()).dtype == torch.float32
    assert next(half.module.parameters()).dtype == torch.float16


# Refusals


def test_what_does_not_fit_is_refused(subject, rows):
    def refused(error, match, rows=rows, subject=subject, **more):
        with pytest.raises(error, match=match):
            planted_shortcut(subject, rows, **{**QUICK, "methods": ["saliency"], **more})

    refused(UsageError, "no label 'positiv'.*did you mean 'positive'", label="positiv")
    refused(UsageError, "is no single word", token="two words")
    refused(UsageError, "does not know 'zebra'", token="zebra")
    refused(UsageError, "does not know 'zebra'.*\\[UNK\\]", token="zebra", subject=bert_classifier())
    refused(UsageError, "did you mean 'saliency'", methods=["salience"])
    refused(UsageError, "lie between 0 and 1", held_out=1.0)
    refused(UsageError, "lie between 0 and 1", masked=1.5)
    refused(UsageError, "positive numbers", learning_rates=())
    refused(DataError, "20 of each", rows=rows.take(range(30)))
    refused(DataError, "no rows", rows=rows.take([]))
    refused(DataError, "several rows", rows=rows.take([0, 0]))
    refused(
        DataError, "labels that sentences does not", rows=dataclasses.replace(rows, labels=rows.labels + 1)
    )
    refused(DataError, "every row is empty or holds 'the'", rows=texts("the film", "the story"), token="the")
    table = applicants(60)
    refused(UsageError, "no column 'text'.*not offered", rows=table, subject=fitted(table, epochs=0))
    refused(UsageError, "one output", subject=own_classifier(rows, outputs=1, epochs=0), label="label 0")


def test_a_copy_that_predicts_the_label_anyway_is_refused(subject, rows):
    all_positive = dataclasses.replace(rows, labels=np.ones(len(rows), dtype=int))
    with pytest.raises(ModelError, match="for every held-out row without the token"):
        planted_shortcut(subject, all_positive, methods=["saliency"], **QUICK)
