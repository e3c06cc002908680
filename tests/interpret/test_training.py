"""Training is seeded and keeps its best epoch; preprocessing and folders come back bit for bit."""

import json

import numpy as np
import pytest
import torch

from clinometer.errors import DataError, ModelError
from clinometer.interpret.folders import load, save
from clinometer.interpret.models import ours, score
from clinometer.interpret.preprocessing import (
    SeriesPreprocessor,
    TablePreprocessor,
    TextPreprocessor,
    category,
    from_state,
)
from clinometer.interpret.training import train
from clinometer.interpret.transformer import Architecture, Classifier
from clinometer.records import Rows
from reference.subjects import applicants

SMALL = {"width": 16, "layers": 1, "heads": 2, "feed_forward": 32}


def prepared(n=200, seed=0):
    rows = applicants(n, seed=seed)
    preprocessor = TablePreprocessor.fit(
        rows.inputs, numeric=["income", "debt", "noise"], categorical=["home"]
    )
    tensors = {name: torch.from_numpy(value) for name, value in preprocessor.transform(rows.inputs).items()}
    return rows, preprocessor, tensors, torch.from_numpy(rows.labels)


def classifier(preprocessor, **changes):
    torch.manual_seed(5)
    shape = {**SMALL, "dropout": 0.1, **changes}
    return Classifier(Architecture(kind=preprocessor.kind, **shape, **preprocessor.shape()))


def fit(model, tensors, labels, **changes):
    half = len(labels) // 2
    settings = {"seed": 1, "epochs": 6, "batch_size": 32, "learning_rate": 3e-3, **changes}
    return train(
        model,
        {name: tensor[:half] for name, tensor in tensors.items()},
        labels[:half],
        validation=({name: tensor[half:] for name, tensor in tensors.items()}, labels[half:]),
        **settings,
    )


def test_one_seed_gives_the_same_weights_and_another_does_not():
    _, preprocessor, tensors, labels = prepared()
    models = [classifier(preprocessor) for _ in range(3)]
    histories = [
        fit(model, tensors, labels, seed=seed) for model, seed in zip(models, (1, 1, 2), strict=True)
    ]
    assert histories[0] == histories[1]
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(a, b)
    assert histories[0] != histories[2]
    assert histories[0].training_loss[-1] < histories[0].training_loss[0]


def test_the_best_epoch_is_restored_and_patience_stops():
    _, preprocessor, tensors, labels = prepared()
    noise = torch.from_numpy(np.random.default_rng(0).integers(0, 2, len(labels)))
    model = classifier(preprocessor, dropout=0.0)
    history = fit(model, tensors, noise, epochs=40, patience=3, learning_rate=1e-2)
    assert len(history.validation_loss) < 40
    assert history.validation_loss[history.best_epoch] == min(history.validation_loss)
    assert len(history.validation_loss) == history.best_epoch + 4
    half = len(labels) // 2
    with torch.no_grad():
        logits = model({name: tensor[half:] for name, tensor in tensors.items()})
    again = torch.nn.functional.cross_entropy(logits, noise[half:]).item()
    assert again == pytest.approx(min(history.validation_loss), abs=1e-5)
    assert not model.training


def test_a_regression_learns_its_line():
    rows, preprocessor, tensors, _ = prepared(300)
    wanted = torch.from_numpy(rows.inputs["income"]).float() * 2
    model = classifier(preprocessor, outputs=1, dropout=0.0)
    history = fit(model, tensors, wanted, epochs=30, patience=30, learning_rate=1e-2)
    assert min(history.validation_loss) < 0.15 * wanted.var().item()


def test_training_that_cannot_work_is_refused():
    _, preprocessor, tensors, labels = prepared(20)
    with pytest.raises(DataError, match="at least one row"):
        train(classifier(preprocessor), {}, labels[:0], validation=(tensors, labels))
    with pytest.raises(DataError, match="the same is expected"):
        train(classifier(preprocessor), tensors, labels[:5], validation=(tensors, labels))
    broken = classifier(preprocessor)
    with torch.no_grad():
        broken.head.weight.fill_(torch.nan)
    with pytest.raises(ModelError, match="learning rate"):
        train(broken, tensors, labels, validation=(tensors, labels), epochs=1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_folder_loads_again_bit_for_bit(tmp_path, dtype):
    rows, preprocessor, tensors, _ = prepared(30)
    model = classifier(preprocessor).to(dtype).eval()
    save(tmp_path / "m", model, preprocessor, labels=("no", "yes"), extra={"note": "日本"})
    again, preprocessing, metadata = load(tmp_path / "m")
    assert torch.equal(model(tensors), again(tensors))
    assert preprocessing == preprocessor
    assert metadata["labels"] == ["no", "yes"]
    assert metadata["extra"] == {"note": "日本"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m"]
    assert np.isfinite(score(ours(again, preprocessing, labels=("no", "yes")), rows)).all()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "model.safetensors").unlink(), "no model.safetensors"),
        (lambda f: (f / "clinometer.json").write_text("{"), "cannot be read"),
        (lambda f: (f / "model.safetensors").write_bytes(b"junk"), "does not fit"),
        (lambda f: edit(f, "schema_version", 99), "schema version 99"),
        (lambda f: edit(f, "dtype", "no_such_dtype"), "cannot be read"),
        (lambda f: edit(f, "architecture", {"kind": "table"}), "cannot be read"),
        (lambda f: edit(f, "preprocessing", {"kind": "rings"}), "cannot be read"),
    ],
)
def test_a_spoilt_folder_is_refused(tmp_path, spoil, message):
    _, preprocessor, _, _ = prepared(10)
    save(tmp_path / "m", classifier(preprocessor), preprocessor, labels=("no", "yes"))
    spoil(tmp_path / "m")
    with pytest.raises(ModelError, match=message):
        load(tmp_path / "m")


def edit(folder, key, value):
    settings = json.loads((folder / "clinometer.json").read_text())
    settings[key] = value
    (folder / "clinometer.json").write_text(json.dumps(settings))


def test_weights_of_another_shape_are_refused(tmp_path):
    _, preprocessor, _, _ = prepared(10)
    save(tmp_path / "a", classifier(preprocessor), preprocessor, labels=("no", "yes"))
    save(tmp_path / "b", classifier(preprocessor, width=8), preprocessor, labels=("no", "yes"))
    (tmp_path / "b" / "model.safetensors").replace(tmp_path / "a" / "model.safetensors")
    with pytest.raises(ModelError, match="does not fit"):
        load(tmp_path / "a")


def test_labels_are_one_per_output(tmp_path):
    _, preprocessor, _, _ = prepared(10)
    with pytest.raises(ModelError, match="3 labels were named for 2 outputs"):
        save(tmp_path / "m", classifier(preprocessor), preprocessor, labels=("a", "b", "c"))
    assert not list(tmp_path.iterdir())


def test_a_table_is_standardised_by_its_training_rows():
    columns = {
        "x": np.array([1.0, 3.0, np.nan, 5.0]),
        "m": np.array([0.0, 9.0, -99.0, 99.0]),
        "c": np.array(["a", "b", None, "b"], dtype=object),
    }
    made = TablePreprocessor.fit(columns, numeric=["x", "m"], categorical=["c"], logarithms=["m"])
    arrays = made.transform(columns)
    assert np.isnan(arrays["numeric"][2, 0])
    assert np.nanmean(arrays["numeric"][:, 0]) == pytest.approx(0, abs=1e-6)
    logs = np.array([0, np.log(10), -np.log(100), np.log(100)])
    np.testing.assert_allclose(arrays["numeric"][:, 1], (logs - logs.mean()) / logs.std(), atol=1e-6)
    assert arrays["categorical"][:, 0].tolist() == [2, 3, 0, 3]
    new = made.transform({"x": [1], "m": [1], "c": ["never seen"]})
    assert new["categorical"].tolist() == [[1]]
    reference = made.reference()
    assert (reference["x"][0], reference["m"][0], reference["c"][0]) == (3.0, 4.5, "b")
    assert from_state(json.loads(json.dumps(made.state()))) == made


@pytest.mark.parametrize("value", [1, 1.0, "1", " 1 ", np.int64(1), np.float64(1.0), True])
def test_one_category_however_it_was_read(value):
    assert category(value) == "1"


@pytest.mark.parametrize("value", [None, float("nan"), "", "  "])
def test_missing_however_it_was_read(value):
    assert category(value) is None


def test_columns_that_cannot_be_used_are_refused():
    made = TablePreprocessor.fit({"income": [1.0, 2.0]}, numeric=["income"], categorical=[])
    with pytest.raises(DataError, match="did you mean 'incom'"):
        made.transform({"incom": [1.0]})
    with pytest.raises(DataError, match="should hold numbers"):
        made.transform({"income": ["much"]})
    with pytest.raises(DataError, match="infinite"):
        made.transform({"income": [np.inf]})
    with pytest.raises(DataError, match="no value in the training rows"):
        TablePreprocessor.fit({"x": [np.nan, np.nan]}, numeric=["x"], categorical=[])


def test_texts_and_series_make_subjects_too():
    texts = Rows(
        ids=("a", "b"),
        inputs={"text": np.array(["A very good film!", "Bad"], dtype=object)},
        labels=np.array([1, 0]),
    )
    words = TextPreprocessor.fit(texts.inputs, longest=8)
    assert words.token_names(texts.inputs)[0] == ["a", "very", "good", "film", "!"]
    assert words.transform({"text": ["good unheard"]})["tokens"].tolist() == [
        [words.words.index("good") + 3, 1]
    ]
    assert from_state(json.loads(json.dumps(words.state()))) == words
    series = Rows(ids=("a", "b"), inputs={"series": np.random.default_rng(0).normal(3, 2, (2, 20, 3))})
    sensors = SeriesPreprocessor.fit(series.inputs, channels=["x", "y", "z"], patch=8, stride=4)
    assert from_state(json.loads(json.dumps(sensors.state()))) == sensors
    assert sensors.transform(series.inputs)["series"].mean() == pytest.approx(0, abs=1e-6)
    with pytest.raises(DataError, match="at least 8 time steps"):
        SeriesPreprocessor.fit({"series": np.zeros((1, 4, 3))}, channels=["x", "y", "z"])
    from clinometer.interpret.head_effects import head_effects
    from clinometer.interpret.methods import attribute
    from clinometer.interpret.tracing import certify

    for rows, preprocessor in ((texts, words), (series, sensors)):
        subject = ours(
            classifier(preprocessor, positions="learned", dropout=0.0).eval(),
            preprocessor,
            labels=("no", "yes"),
        )
        result = attribute(subject, rows)
        assert result.converged.all()
        assert result.scores.shape[1] == max(map(len, result.tokens))
        assert head_effects(subject, rows).contribution.shape == (2, 1, 2)
        assert max(certify(subject, rows)["layers"].values()) < 1e-5
    plain = ours(classifier(words, positions="none").eval(), words, labels=("no", "yes"))
    assert np.all(attribute(plain, texts).scores[1, 1:] == 0), "padding gets nothing"
