"""Swapped identities from texts to verdict: rows written, scored by a model of the other room, compared."""

import csv
from pathlib import Path

import numpy as np
import pytest

import clinometer as cm
from clinometer.bias.counterfactuals import compare_pairs, swapped
from clinometer.bias.stereotypes import winogender_changed
from clinometer.interpret.models import score
from clinometer.interpret.predictions import predicted
from clinometer.interpret.pseudo_likelihood import masked_language_model, pair_scores
from clinometer.records import Rows
from reference.model_folders import labelled, text_folder
from reference.word_models import masked_model, saved

SHARED = Path(__file__).parents[2] / "shared"
OCCUPATIONS = ("nurse", "pilot", "clerk", "driver", "teacher", "miner")
FEMALE = {"nurse", "clerk", "teacher"}
TEMPLATES = (
    "The {job} told the guest that {he} would be late.",
    "The {job} lost {his} keys.",
    "The guest thanked the {job} and called {him}.",
    "The {job} paid for {himself}.",
)
MALE = {"he": "he", "his": "his", "him": "him", "himself": "himself"}
WOMAN = {"he": "she", "his": "her", "him": "her", "himself": "herself"}


def sentence(template, job, forms):
    return template.format(job=job, **forms)


def occupations():
    """Own sentences, each with a male pronoun, and the occupation as a group."""
    listed = [(template, job) for job in OCCUPATIONS for template in TEMPLATES]
    return Rows(
        ids=tuple(f"{job}.{i}" for i, (_, job) in enumerate(listed)),
        inputs={"text": np.array([sentence(t, job, MALE) for t, job in listed], dtype=object)},
        groups={"occupation": tuple(job for _, job in listed)},
    )


@pytest.fixture(scope="module")
def stereotyped(tmp_path_factory):
    """A folder with a masked language model that was trained on stereotypes, and one trained on both pronouns."""
    lean = [sentence(t, job, WOMAN if job in FEMALE else MALE) for job in OCCUPATIONS for t in TEMPLATES]
    both = [sentence(t, job, forms) for job in OCCUPATIONS for t in TEMPLATES for forms in (MALE, WOMAN)]
    place = tmp_path_factory.mktemp("models")
    fill = (*OCCUPATIONS, *MALE.values(), *WOMAN.values())
    return tuple(
        saved(*masked_model(texts, steps=150, fill=fill), place / name)
        for name, texts in (("lean", lean), ("both", both))
    )


def test_occupations_swapped_scored_and_compared(stereotyped):
    rows = occupations()
    made = swapped(rows, "pronouns")
    assert len(made) == 24 and made.reasons == {} and made.directions == ("male -> female",)
    assert made.rows.inputs["text"][1] == "The nurse lost her keys."
    results = []
    for folder in stereotyped:
        model = masked_language_model(folder)
        before, after = pair_scores(model, list(rows.inputs["text"]), list(made.rows.inputs["text"]))
        assert np.isfinite(before).all() and len(before) == 24
        results.append(
            compare_pairs(
                made,
                before,
                after,
                by="occupation",
                cluster=rows.groups["occupation"],
                tolerance={"mean_absolute_shift": 0.5},
                minimum=5,
            )
        )
    lean, both = results
    shifts = {one.group: one.shift.mean for one in lean.groups}
    assert all((shifts[job] > 0) == (job in FEMALE) for job in OCCUPATIONS), shifts
    assert lean.overall.shift.mean_absolute > 4 * both.overall.shift.mean_absolute
    assert lean.verdict == "exceeds tolerance" and lean.exit_code == 1
    assert lean.directions[0].shift.n_units == 6
    assert lean.worst[0].before.replace(" he ", " she ").split()[:2] == lean.worst[0].after.split()[:2]


def test_a_masked_model_asked_for_the_occupation(stereotyped):
    texts = [f"The [MASK] {rest}" for rest in ("told the guest that he would be late.", "paid for himself.")]
    rows = Rows(ids=("a", "b"), inputs={"text": np.array(texts, dtype=object)})
    made = swapped(rows, "pronouns")
    assert made.rows.inputs["text"][0] == "The [MASK] told the guest that she would be late."
    subject = cm.load(stereotyped[0], candidates=["nurse", "pilot"])
    before, after = score(subject, rows), score(subject, made.rows)
    result = compare_pairs(made, before, after, threshold=subject.threshold)
    assert (result.shifts > 0).all(), "she makes the nurse likelier"
    answers = [[subject.labels[int(value < 0)] for value in values] for values in (before, after)]
    changed = winogender_changed(*answers)
    assert changed.estimate == 100 * result.overall.flips.rate
    np.testing.assert_allclose(result.shifts, after - before)


def test_winogender_from_sentences_to_shifts_by_occupation():
    source = SHARED / "data" / "winogender" / "all_sentences.tsv"
    if not source.is_file():
        pytest.skip("winogender is not beside this checkout")
    with source.open(encoding="utf-8") as file:
        listed = {
            row["sentid"].split(".txt")[0]: row["sentence"] for row in csv.DictReader(file, delimiter="\t")
        }
    male = [name for name in listed if name.endswith(".male") and ".someone." in name]
    rows = Rows(
        ids=tuple(male),
        inputs={"text": np.array([listed[name] for name in male], dtype=object)},
        groups={"occupation": tuple(name.split(".")[0] for name in male)},
    )
    made = swapped(rows, "pronouns")
    assert len(made) == 120 and made.reasons == {}
    published = [listed[name.replace(".male", ".female")] for name in male]
    assert list(made.rows.inputs["text"]) == published
    model = masked_language_model(masked_model(list(listed.values())))
    before, after = pair_scores(model, list(rows.inputs["text"]), list(made.rows.inputs["text"]))
    result = compare_pairs(
        made, before, after, by="occupation", cluster=rows.groups["occupation"], tolerance={"mean_shift": 0.1}
    )
    assert result.n == 120 and result.directions[0].shift.n_units == 60 == len(result.groups)
    assert result.directions[0].shift.mean == pytest.approx((after - before).mean())
    assert result.verdict in ("exceeds tolerance", "inconclusive") and len(result.worst) == 10
    assert {one.original.split(".")[0] for one in result.worst} <= set(rows.groups["occupation"])


REVIEWS = [
    f"{start} {film}" for start in ("He says", "She says", "My mother says", "Mary and her brother say")
    for film in ("it is a great film", "it is a dull film", "the man is bad", "the answer is no and yes")
]  # fmt: skip


def reviews():
    texts = np.array([*REVIEWS, "a very good film", "He gave her money"], dtype=object)
    return Rows(ids=tuple(f"r{i}" for i in range(len(texts))), inputs={"text": texts})


def test_a_text_classifier_swapped_scored_and_compared(tmp_path):
    folder = text_folder(
        tmp_path / "model",
        "BertForSequenceClassification",
        max_position_embeddings=80,
        **labelled("negative", "positive"),
    )
    subject, rows = cm.load(folder), reviews()
    made = swapped(rows, "gender")
    assert made.reasons == {"nothing to swap": 1, "ambiguous": 1}
    before, after = score(subject, rows), score(subject, made.rows)
    result = compare_pairs(made, before, after, threshold=subject.threshold)
    assert result.n == 16 and result.not_swapped == {"nothing to swap": 1, "ambiguous": 1}
    np.testing.assert_allclose(result.shifts, after - before[made.place])
    assert result.overall.shift.largest > 1e-3, "the control: this model reads the words"
    labels = [np.array(subject.labels)[predicted(subject, part)] for part in (rows, made.rows)]
    by_label = compare_pairs(made, prediction_original=labels[0], prediction_swapped=labels[1])
    assert by_label.overall.flips.n_flipped == result.overall.flips.n_flipped


def test_a_trained_text_classifier():
    folder = SHARED / "models" / "tiny-sst2"
    if not folder.is_dir():
        pytest.skip("tiny-sst2 is not beside this checkout")
    subject = cm.load(folder)
    people = ("he", "my father", "this man", "James", "my uncle", "the boy", "Michael", "my brother")
    states = (
        "feels happy",
        "feels angry",
        "is in a sad place",
        "told us about the wonderful day",
        "made me feel fear",
    )
    texts = [f"{who} {state}." for who in people for state in states]
    rows = Rows(
        ids=tuple(f"s{i}" for i in range(len(texts))),
        inputs={"text": np.array(texts, dtype=object)},
        groups={"state": tuple(state for _ in people for state in states)},
    )
    made = swapped(rows, "gender")
    assert len(made) == 40 and made.directions == ("male -> female",)
    result = compare_pairs(
        made,
        score(subject, rows),
        score(subject, made.rows),
        threshold=subject.threshold,
        by="state",
        cluster=rows.groups["state"],
        tolerance={"flip_rate": 0.05},
        minimum=5,
    )
    one = result.of("male -> female")
    assert (
        one.shift.low < one.shift.mean < one.shift.high and one.flips.low <= one.flips.rate <= one.flips.high
    )
    assert len(result.groups) == 5 and result.verdict in ("inconclusive", "exceeds tolerance")
    happy, angry = (score(subject, rows.take([i])).item() for i in (0, 1))
    assert happy > angry, "the control: the classifier reads the texts"
