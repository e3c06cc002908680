"""Ledgers of real models add up: texts, tables, series and images; mean gaps, conditional and matched ones."""

import dataclasses

import numpy as np
import pytest
import torch

from clinometer.bias.contrasts import conditional_gap, matched_gap, mean_gap
from clinometer.bias.ledger import ledger
from clinometer.bias.parts_of_gaps import parts_of_gap
from clinometer.bias.slice_contrasts import slice_gap
from clinometer.bias.value_units import by_value
from clinometer.bias.word_ledger import word_ledger
from clinometer.evidence import from_columns
from clinometer.interpret.methods import attribute
from clinometer.interpret.models import load, ours, wrap
from clinometer.interpret.preprocessing import SeriesPreprocessor
from clinometer.interpret.spans import in_windows, in_words
from clinometer.interpret.transformer import Architecture, Classifier
from clinometer.records import Rows
from reference.model_folders import image_folder
from reference.sentences import own_classifier, sentences
from reference.subjects import applicants, fitted

N = 24


def of_texts(_):
    rows = sentences(N)
    subject = own_classifier(rows, epochs=2)
    return rows, in_words(subject, rows, attribute(subject, rows))


def of_tables(_):
    rows = applicants(N)
    return rows, attribute(fitted(rows, epochs=2), rows)


def of_series(_):
    generator = np.random.default_rng(0)
    series = generator.normal(size=(N, 24, 2))
    preprocessor = SeriesPreprocessor.fit({"series": series}, channels=["x", "y"], patch=4, stride=4)
    torch.manual_seed(0)
    model = Classifier(
        Architecture(
            kind="series", width=8, layers=1, heads=2, feed_forward=16, dropout=0.0, **preprocessor.shape()
        )
    )
    rows = Rows(ids=tuple(f"s{i}" for i in range(N)), inputs={"series": series})
    return rows, in_windows(attribute(ours(model, preprocessor, labels=("no", "yes")), rows), 2)


def of_images(folder):
    subject = load(image_folder(folder))
    pixels = np.random.default_rng(0).integers(0, 256, (N, 20, 30, 3), dtype=np.uint8)
    rows = Rows(ids=tuple(f"p{i}" for i in range(N)), inputs={"pixels": pixels})
    return rows, attribute(subject, rows)


@pytest.fixture(scope="module", params=[of_texts, of_tables, of_series, of_images])
def seen(request, tmp_path_factory):
    """The evidence of a model's scores, and an attribution by unit."""
    rows, attribution = request.param(tmp_path_factory.mktemp("images"))
    generator = np.random.default_rng(1)
    evidence = from_columns(
        {
            "id": rows.ids,
            "score": attribution.value,
            "label": np.arange(N) % 2,
            "group": generator.permutation(["a", "b"] * (N // 2)),
            "region": generator.permutation(["x", "y"] * (N // 2)),
            "person": np.arange(N) // 2,
        },
        label="label",
        score="score",
        groups=("group", "region"),
        cluster="person",
    )
    return evidence, attribution


CONTRASTS = {
    "mean": lambda evidence: mean_gap(evidence, "group", "a", "b"),
    "equal opportunity": lambda evidence: conditional_gap(evidence, "group", "a", "b", label=True),
    "false positives": lambda evidence: conditional_gap(evidence, "group", "a", "b", label=False),
    "matched": lambda evidence: matched_gap(evidence, "group", "a", "b", on=["region"]),
    "score band": lambda evidence: matched_gap(evidence, "group", "a", "b", bands={"score": 2}),
    "slice": lambda evidence: slice_gap(evidence, np.arange(N) % 3 == 0),
}


@pytest.mark.parametrize("kind", CONTRASTS)
def test_shares_and_residual_are_the_gap_and_the_residual_is_small(seen, kind):
    evidence, attribution = seen
    pair = CONTRASTS[kind](evidence)
    entry = word_ledger(attribution, pair, minimum=2, replicates=60)
    assert sum(share.estimate for share in entry.shares) + entry.residual == pytest.approx(
        entry.gap, abs=1e-9
    )
    assert entry.gap == pytest.approx(pair.gap(evidence.column("score")), abs=1e-9)
    assert abs(entry.residual) <= np.abs(pair.weights) @ attribution.tolerance + 1e-5
    if len(set(attribution.tokens)) == 1:
        plain = ledger(attribution, pair, replicates=60)
        assert sum(share.estimate for share in plain.shares) + plain.residual == pytest.approx(
            plain.gap, abs=1e-9
        )
    found = parts_of_gap(attribution, pair, minimum=2, replicates=60)
    assert sum(part.estimate for part in found.parts) + found.residual == pytest.approx(found.gap, abs=1e-9)
    assert found.residual == pytest.approx(entry.residual, abs=1e-9)


def test_a_wrong_attribution_shows_in_the_residual(seen):
    """The control: shares that are not the model's leave the gap unexplained, and the residual says so."""
    evidence, attribution = seen
    halved = dataclasses.replace(attribution, scores=attribution.scores / 2)
    pair = CONTRASTS["mean"](evidence)
    right, wrong = (word_ledger(one, pair, minimum=2, replicates=60) for one in (attribution, halved))
    assert abs(wrong.residual) > 3 * abs(right.residual)
    assert sum(share.estimate for share in wrong.shares) + wrong.residual == pytest.approx(
        wrong.gap, abs=1e-9
    )


def test_a_table_by_its_values():
    rows, attribution = of_tables(None)
    evidence = from_columns({"id": rows.ids, "group": ["a", "b"] * (N // 2)}, groups=("group",))
    valued = by_value(attribution, rows.inputs, bins=2)
    pair = mean_gap(evidence, "group", "a", "b")
    found = parts_of_gap(
        valued.attribution, pair, into=valued.features, fold_case=False, minimum=2, replicates=60
    )
    plain = {share.unit: share.estimate for share in ledger(attribution, pair, replicates=60).shares}
    whole = {one.unit: one.share for one in found.units}
    assert sum(part.estimate for part in found.parts) + found.residual == pytest.approx(found.gap, abs=1e-9)
    assert found.n_too_rare or whole == pytest.approx(plain, abs=1e-12)


def by_construction(treated):
    """A model whose score is the sum of its words' values times 1 + `treated` where the text names the group.

    Along the straight path from zero a product of two sums is parted into equal halves, so that each share is known.
    """
    values = {"late": 1.0, "calm": -0.5, "word": 0.25, "she": 0.0, "he": 0.0}

    def encode(rows):
        words = [text.split() for text in rows.inputs["text"]]
        pairs = [[(values[word], treated * (word == "she")) for word in row] for row in words]
        return {"x": torch.tensor(pairs, dtype=torch.float64)}

    def forward(batch, embedded):
        x = batch["x"] if embedded is None else embedded
        total = x.sum(dim=1)
        return (total[:, 0] * (1 + total[:, 1]))[:, None]

    return wrap(
        torch.nn.Linear(1, 1).eval(),
        forward,
        encode=encode,
        embed=lambda batch: batch["x"],
        reference=lambda batch: torch.zeros_like(batch["x"]),
        names=lambda rows: tuple(tuple(text.split()) for text in rows.inputs["text"]),
        baseline="nothing",
    )


@pytest.mark.parametrize(
    ("often", "treated", "proxies", "treatment", "identity"),
    [
        # "late" in 8 of 10 rows of the group and 4 of 10 of the others, "calm" in the rest: .4 * (1 - -.5).
        (8, 0.0, 0.6, 0.0, 0.0),
        # Equally often; a value v counts v / 2 more, "she" the other half: .4 * 1 - .6 * .5 + .25 = .35, halved.
        (4, 1.0, 0.0, 0.175, 0.175),
    ],
    ids=["proxy", "treatment"],
)
def test_the_split_of_a_model_built_with_one_cause_is_the_truth(often, treated, proxies, treatment, identity):
    lines = [
        f"{who} {'late' if i % 10 < n else 'calm'} word"
        for who, n in (("she", often), ("he", 4))
        for i in range(40)
    ]
    rows = Rows(ids=tuple(f"r{i}" for i in range(80)), inputs={"text": np.array(lines, dtype=object)})
    attribution = attribute(by_construction(treated), rows)
    evidence = from_columns({"id": rows.ids, "sex": ["f"] * 40 + ["m"] * 40}, groups=("sex",))
    found = parts_of_gap(
        attribution, mean_gap(evidence, "sex", "f", "m"), identity=["she", "he"], replicates=200
    )
    truth = {"proxies": proxies, "treatment": treatment, "identity": identity}
    for name, expected in truth.items():
        part = found.part(name)
        assert part.estimate == pytest.approx(expected, abs=1e-9)
        assert part.low - 1e-9 <= expected <= part.high + 1e-9
        assert bool(part.low > 0) == bool(expected > 0)
    assert found.gap == pytest.approx(sum(truth.values()), abs=1e-9)
    late = next(one for one in found.units if one.unit == "late")
    assert late.share == pytest.approx(0.4 if not treated else 0.2, rel=0.1)
