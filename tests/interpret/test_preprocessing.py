"""Columns become arrays by what the training rows taught, missing stays missing, and bad columns are refused."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clinometer.errors import DataError, ModelError, OutputError, UsageError
from clinometer.interpret.folders import load, save
from clinometer.interpret.preprocessing import (
    MASK,
    MISSING,
    OTHER,
    PAD,
    UNKNOWN_WORD,
    SeriesPreprocessor,
    TablePreprocessor,
    TextPreprocessor,
    category,
    from_state,
    split,
)
from clinometer.interpret.training import train
from clinometer.interpret.transformer import Architecture, Classifier, EncoderDecoder

PEOPLE = {
    "age": np.array([20.0, 30.0, np.nan, 40.0]),
    "debt": np.array([0.0, 1.0, 2.0, 9.0]),
    "home": np.array(["rent", "own", None, "own"], dtype=object),
}


def people(**changes):
    return TablePreprocessor.fit(
        {**PEOPLE, **changes}, numeric=["age", "debt"], categorical=["home"], logarithms=["debt"]
    )


def sensors(time=16, **settings):
    series = np.random.default_rng(0).normal(5, 3, (4, time, 2))
    return series, SeriesPreprocessor.fit({"series": series}, channels=["x", "y"], **settings)


# Tables


def test_numbers_are_standardised_by_hand():
    arrays = people().transform(PEOPLE)
    assert arrays["numeric"].dtype == np.float32 and arrays["categorical"].dtype == np.int64
    age = (np.array([20, 30, 40]) - 30) / np.sqrt(200 / 3)
    np.testing.assert_allclose(arrays["numeric"][[0, 1, 3], 0], age, atol=1e-7)
    assert np.isnan(arrays["numeric"][:, 0]).tolist() == [False, False, True, False]
    logs = np.log1p(PEOPLE["debt"])
    np.testing.assert_allclose(arrays["numeric"][:, 1], (logs - logs.mean()) / logs.std(), atol=1e-6)


def test_features_are_in_the_order_of_the_tokens():
    made = people()
    assert made.feature_names == ("age", "debt", "home") == made.columns
    assert made.shape() == {"numeric": 2, "categories": (4,)}
    model = Classifier(Architecture(kind="table", width=8, heads=2, **made.shape())).eval()
    inputs = {name: torch.from_numpy(array) for name, array in made.transform(PEOPLE).items()}
    before = model.embed(inputs)
    for place, name in enumerate(made.feature_names):
        other = made.transform({**PEOPLE, name: PEOPLE[name][[1, 0, 0, 2]]})
        after = model.embed({key: torch.from_numpy(array) for key, array in other.items()})
        changed = (before != after).any(dim=2).any(dim=0)
        assert changed.tolist() == [i == place for i in range(3)]


def test_an_unseen_category_is_other_and_not_missing():
    codes = people().transform({**PEOPLE, "home": ["own", "castle", None, "rent"]})["categorical"][:, 0]
    assert codes.tolist() == [2, OTHER, MISSING, 3]


def test_the_training_rows_alone_decide():
    made = people()
    elsewhere = {"age": [90.0], "debt": [1e6], "home": ["castle"]}
    before = made.transform(PEOPLE)
    made.transform(elsewhere)
    for name, array in made.transform(PEOPLE).items():
        np.testing.assert_array_equal(array, before[name])
    assert {name: values[0] for name, values in made.reference().items()} == {
        "age": 30.0,
        "debt": 1.5,
        "home": "own",
    }


def test_the_reference_row_transforms_to_one_whole_row():
    arrays = people().transform(people().reference())
    assert arrays["numeric"].shape == (1, 2) and np.isfinite(arrays["numeric"]).all()
    assert arrays["categorical"].tolist() == [[2]]


def test_the_most_frequent_category_does_not_hang_on_the_order_of_the_rows():
    for home in (["b", "a"], ["a", "b"]):
        made = TablePreprocessor.fit({"home": home}, numeric=[], categorical=["home"])
        assert made.most_frequent["home"] == "a"


def test_a_category_that_is_never_there_has_a_missing_reference():
    made = TablePreprocessor.fit({"x": [1.0, 2.0], "c": [None, ""]}, numeric=["x"], categorical=["c"])
    assert made.transform(made.reference())["categorical"].tolist() == [[MISSING]]


@pytest.mark.parametrize("constant", [0.0, 0.1, -3.3, 1e9])
def test_a_constant_column_is_not_blown_up_by_rounding(constant):
    made = TablePreprocessor.fit({"x": np.full(7, constant)}, numeric=["x"], categorical=[])
    assert made.spread["x"] == 1.0
    assert abs(made.transform({"x": [constant + 1]})["numeric"][0, 0] - 1) < 1e-6


def test_a_small_spread_is_kept():
    made = TablePreprocessor.fit({"x": [1.0, 1.0 + 1e-6]}, numeric=["x"], categorical=[])
    assert made.spread["x"] == pytest.approx(5e-7)


@pytest.mark.parametrize("nothing", [None, np.nan, pd.NA, pd.NaT, "", "  "])
def test_missing_is_missing_however_it_was_read(nothing):
    assert category(nothing) is None
    made = people()
    arrays = made.transform({"age": [nothing], "debt": [1.0], "home": [nothing]})
    assert np.isnan(arrays["numeric"][0, 0])
    assert arrays["categorical"].tolist() == [[MISSING]]
    assert split(nothing) == []


@pytest.mark.parametrize("kind", ["Int64", "Float64", "float32", "object"])
def test_columns_of_a_data_frame_are_taken(kind):
    frame = dict(pd.DataFrame({"x": pd.array([1, 3], dtype=kind)}))
    made = TablePreprocessor.fit(frame, numeric=["x"], categorical=[])
    assert made.transform(frame)["numeric"][:, 0].tolist() == [-1.0, 1.0]


def test_no_rows_give_empty_arrays():
    arrays = people().transform({"age": [], "debt": [], "home": []})
    assert arrays["numeric"].shape == (0, 2) and arrays["categorical"].shape == (0, 1)


@given(st.lists(st.floats(-1e6, 1e6) | st.none(), min_size=2, max_size=20))
def test_transform_is_one_row_at_a_time(values):
    if all(value is None for value in values):
        values = [1.0, *values]
    made = TablePreprocessor.fit({"x": values}, numeric=["x"], categorical=[])
    together = made.transform({"x": values})["numeric"]
    alone = np.concatenate([made.transform({"x": [value]})["numeric"] for value in values])
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"age": [1.0], "debt": [1.0], "hom": ["own"]}, r"'home', which is missing: did you mean 'hom'\?"),
        (
            {"age": ["old", 3, "young"], "debt": [1.0] * 3, "home": ["own"] * 3},
            "2 values are none.*'old', 'young'",
        ),
        ({"age": [1.0, np.inf], "debt": [1.0] * 2, "home": ["own"] * 2}, "'age' holds infinite.*'1'"),
        ({"age": [1.0, 2.0], "debt": [1.0], "home": ["own"]}, "'age' has 2 rows and column 'debt' 1"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(columns, message):
    with pytest.raises(DataError, match=message):
        people().transform(columns)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"numeric": [], "categorical": []}, "no feature was named"),
        ({"numeric": ["age"], "categorical": ["age"]}, "'age' is named more than once"),
        ({"numeric": ["age"], "categorical": ["hame"]}, "did you mean 'home'"),
        ({"numeric": ["age"], "categorical": [], "logarithms": ["aeg"]}, "did you mean 'age'"),
        ({"numeric": ["home"], "categorical": []}, "'home' should hold numbers"),
    ],
)
def test_features_that_cannot_be_learned_are_refused(features, message):
    with pytest.raises(DataError, match=message):
        TablePreprocessor.fit(PEOPLE, **features)


# Texts


def test_words_are_numbered_by_frequency():
    made = TextPreprocessor.fit({"text": ["B a, a", "a B c"]})
    assert made.words == ("a", "b", ",", "c")
    tokens = made.transform({"text": ["a A d", "c"]})["tokens"]
    assert tokens.dtype == np.int64
    assert tokens.tolist() == [[3, 3, UNKNOWN_WORD], [6, PAD, PAD]]
    assert made.shape()["vocabulary"] == 7
    assert TextPreprocessor.fit({"text": ["B a a"]}, most=1).words == ("a",)


def test_a_missing_text_is_no_word():
    made = TextPreprocessor.fit({"text": ["good film", None, np.nan]})
    assert set(made.words) == {"good", "film"}
    assert made.token_names({"text": [None, "", "good"]}) == [["[UNK]"], ["[UNK]"], ["good"]]
    assert made.transform({"text": [None]})["tokens"].tolist() == [[UNKNOWN_WORD]]
    assert made.transform({"text": []})["tokens"].shape == (0, 1)


def test_long_texts_are_cut_and_masks_keep_the_padding():
    made = TextPreprocessor.fit({"text": ["a b c d"]}, longest=3)
    arrays = made.transform({"text": ["a b c d", "a"]})
    assert arrays["tokens"].shape == (2, 3)
    assert made.neutral(arrays)["tokens"].tolist() == [[MASK] * 3, [MASK, PAD, PAD]]


# Series


def test_channels_are_standardised():
    series, made = sensors(patch=4, stride=2)
    got = made.transform({"series": series})["series"]
    assert got.dtype == np.float32
    np.testing.assert_allclose(got.mean(axis=(0, 1)), 0, atol=1e-6)
    np.testing.assert_allclose(got.std(axis=(0, 1)), 1, atol=1e-6)
    assert np.abs(made.neutral({"series": got})["series"]).max() == 0
    flat = SeriesPreprocessor.fit({"series": np.full((2, 8, 1), 0.1)}, channels=["x"])
    assert flat.spread == (1.0,)


@pytest.mark.parametrize(
    ("time", "patch", "stride"), [(16, 4, 4), (17, 4, 4), (19, 4, 4), (16, 4, 2), (9, 8, 3)]
)
def test_names_places_and_patches_agree(time, patch, stride):
    series, made = sensors(time, patch=patch, stride=stride)
    model = Classifier(Architecture(kind="series", width=8, heads=2, **made.shape())).eval()
    arrays = {"series": torch.from_numpy(made.transform({"series": series})["series"])}
    names = made.token_names({"series": series})[0]
    assert len(names) == made.longest == model.embed(arrays).shape[1] == model.mask(arrays).shape[1]
    assert names[0] == f"t0-{patch - 1}"
    assert names[-1] == f"t{(len(names) - 1) * stride}-{(len(names) - 1) * stride + patch - 1}"
    assert torch.isfinite(model(arrays)).all()


@pytest.mark.parametrize("time", [3, 20])
def test_a_series_of_another_length_is_refused(time):
    _, made = sensors(16, patch=4, stride=4)
    assert made.transform({"series": np.zeros((1, 19, 2))})["series"].shape == (1, 19, 2)
    with pytest.raises(DataError, match="with 4 to 19 time steps is expected"):
        made.transform({"series": np.zeros((1, time, 2))})


@pytest.mark.parametrize(
    ("series", "settings", "message"),
    [
        (np.zeros((2, 8, 3)), {}, r"\(2, 8, 3\) were given"),
        (np.stack([np.zeros((2, 8)), np.full((2, 8), np.nan)], axis=2), {}, "'y' have no value"),
        (np.full((2, 8, 2), np.inf), {}, "infinite values; first row positions: '0', '1'"),
        (np.zeros((2, 8, 2)), {"stride": 0}, "stride 0"),
        ([[[1.0, 2.0]], [[1.0, 2.0], [3.0, 4.0]]], {}, "padded with NaN"),
    ],
)
def test_a_series_that_cannot_be_learned_is_refused(series, settings, message):
    with pytest.raises(DataError, match=message):
        SeriesPreprocessor.fit({"series": series}, channels=["x", "y"], **settings)


# Saved, and loaded again

ALL = [people(), TextPreprocessor.fit({"text": ["a b", None]}), sensors(patch=4, stride=3)[1]]


@pytest.mark.parametrize("made", ALL, ids=lambda made: made.kind)
def test_a_state_is_json_and_comes_back(made):
    again = from_state(json.loads(json.dumps(made.state(), allow_nan=False)))
    assert again == made and type(again) is type(made) and again.kind == made.kind


@pytest.mark.parametrize("made", ALL, ids=lambda made: made.kind)
def test_a_missing_column_is_named(made):
    with pytest.raises(DataError, match=f"'{made.columns[0]}', which is missing"):
        made.transform({"nothing": [1]})


@pytest.mark.parametrize(
    "state", [{}, {"kind": "rings"}, {"kind": "text"}, {**people().state(), "categories": []}]
)
def test_a_spoilt_state_is_refused(state):
    with pytest.raises(ModelError, match="saved preprocessing cannot be read"):
        from_state(state)


def model_of(made, **changes):
    torch.manual_seed(0)
    return Classifier(Architecture(kind="table", width=8, heads=2, layers=1, **made.shape(), **changes))


def test_a_model_is_replaced_whole_and_nothing_else_is(tmp_path):
    made, folder = people(), tmp_path / "m"
    save(folder, model_of(made), made, labels=("no", "yes"), extra={"run": 1})
    save(folder, model_of(made), made, labels=("no", "yes"), extra={"run": 2})
    assert load(folder)[2]["extra"] == {"run": 2}
    with pytest.raises(ModelError, match="cannot hold `extra`"):
        save(folder, model_of(made), made, labels=("no", "yes"), extra={"run": {3}})
    with pytest.raises(ModelError, match="cannot hold `extra`"):
        save(folder, model_of(made), made, labels=("no", "yes"), extra={"run": np.nan})
    assert load(folder)[2]["extra"] == {"run": 2}
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("kept")
    with pytest.raises(OutputError, match="something other than a saved model"):
        save(tmp_path / "letters", model_of(made), made, labels=("no", "yes"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["letters", "m"]
    assert (tmp_path / "letters" / "dear.txt").read_text() == "kept"


def test_the_model_before_comes_back_where_the_new_one_cannot_be_put(tmp_path, monkeypatch):
    made, folder = people(), tmp_path / "m"
    save(folder, model_of(made), made, labels=("no", "yes"), extra={"run": 1})
    rename = type(folder).rename

    def refuse(self, target):
        if target == folder and self.name != "before":
            raise PermissionError(13, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(type(folder), "rename", refuse)
    with pytest.raises(OutputError, match="Permission denied"):
        save(folder, model_of(made), made, labels=("no", "yes"), extra={"run": 2})
    assert load(folder)[2]["extra"] == {"run": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("dtype", "nn", "no dtype"),
        ("dtype", "float64", "settings say torch.float64"),
        ("labels", ["one"], "1 labels for 2 outputs"),
    ],
)
def test_settings_that_do_not_fit_the_weights_are_refused(tmp_path, key, value, message):
    made = people()
    save(tmp_path, model_of(made), made, labels=("no", "yes"))
    settings = json.loads((tmp_path / "clinometer.json").read_text())
    (tmp_path / "clinometer.json").write_text(json.dumps({**settings, key: value}))
    with pytest.raises(ModelError, match=message):
        load(tmp_path)


# What the model and its training refuse


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"norm": "pr"}, "pre, post"), ({"activation": "tanh"}, "relu, gelu"), ({"heads": 0}, "heads is 0")],
)
def test_a_misspelt_architecture_does_not_mean_something_else(shapes_unchecked, changes, message):
    with pytest.raises(ValueError, match=message):
        Architecture(kind="text", vocabulary=9, **{"width": 8, "heads": 2, **changes})


def test_generation_never_chooses_padding():
    torch.manual_seed(0)
    model = EncoderDecoder(Architecture(kind="text", vocabulary=6, width=8, heads=2, layers=1)).eval()
    with torch.no_grad():
        model.head.bias[0] = 1e3  # token 0 would win every time
    generated = model.generate(torch.tensor([[3, 4], [5, 0]]), start=1, end=2, longest=5)
    for row in generated.tolist():
        kept = row[: row.index(2) + 1] if 2 in row else row
        assert 0 not in kept and not any(row[len(kept) :])


def test_training_arguments_that_cannot_work_are_refused():
    made = people()
    tensors = {name: torch.from_numpy(array) for name, array in made.transform(PEOPLE).items()}
    labels = torch.tensor([0, 1, 0, 1])
    with pytest.raises(UsageError, match="epochs is 0"):
        train(model_of(made), tensors, labels, validation=(tensors, labels), epochs=0)
    with pytest.raises(UsageError, match="batch_size 0"):
        train(model_of(made), tensors, labels, validation=(tensors, labels), batch_size=0)
    with pytest.raises(DataError, match="validation inputs have"):
        train(model_of(made), tensors, labels, validation=(tensors, labels[:2]))


def test_a_loss_that_fails_in_validation_says_so_and_leaves_finite_weights():
    made = people()
    tensors = {name: torch.from_numpy(array) for name, array in made.transform(PEOPLE).items()}
    wanted = torch.tensor([0.0, 1.0, 0.0, 1.0])
    model = model_of(made, outputs=1)
    with pytest.raises(ModelError, match=r"nan in validation after epoch 1"):
        train(model, tensors, wanted, validation=(tensors, wanted * torch.nan), epochs=2)
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
