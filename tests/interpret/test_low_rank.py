"""Factorised layers: exact at full rank, nearest at any other, with the energy asked for; bit for bit."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from clinometer.errors import ModelError, OutputError, UsageError
from clinometer.interpret.low_rank import LowRank, factorised, low_rank, rank_for, ranks_of, shaped
from clinometer.interpret.low_rank_folders import is_low_rank, load_low_rank, save_low_rank
from clinometer.interpret.models import load, score
from clinometer.interpret.tracing import certify
from clinometer.records import Rows
from reference.model_folders import labelled, text_folder
from reference.subjects import applicants, fitted

TEST = applicants(40, seed=3)
TEXTS = Rows(
    ids=("t0", "t1", "t2"),
    inputs={"text": np.array(["the film is a very good film", "dull", "is it good? yes"], dtype=object)},
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Our Transformer, a little trained, as a folder."""
    subject = fitted(applicants(120), epochs=2)
    path = tmp_path_factory.mktemp("models") / "ours"
    assert subject.write is not None
    subject.write(subject, path)
    return path


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**16), st.booleans())
def test_at_full_rank_nothing_changes(n_in, n_out, seed, bias):
    torch.manual_seed(seed)
    layer, x = nn.Linear(n_in, n_out, bias=bias), torch.randn(5, n_in)
    made = factorised(layer, rank=99)
    assert made.rank == min(n_in, n_out)
    torch.testing.assert_close(made(x), layer(x), rtol=0, atol=1e-5)
    torch.testing.assert_close(made.weight, layer.weight, rtol=0, atol=1e-5)
    assert (made.in_features, made.out_features) == (n_in, n_out)
    assert (made.bias is None) == (not bias)


@given(st.integers(0, 2**16), st.integers(1, 5))
def test_what_is_lost_is_the_energy_of_the_singular_values_left_out(seed, rank):
    torch.manual_seed(seed)
    layer = nn.Linear(7, 6).double()
    made = factorised(layer, rank=rank)
    lost = (made.weight - layer.weight).square().sum()
    values = torch.linalg.svdvals(layer.weight)
    torch.testing.assert_close(lost, values[rank:].square().sum())
    other = torch.randn(6, rank).double() @ torch.randn(rank, 7).double()  # no other product is nearer
    best = torch.linalg.lstsq(other, layer.weight).solution
    assert (other @ best - layer.weight).square().sum() >= lost - 1e-9


@pytest.mark.parametrize(
    ("values", "energy", "rank"),
    [
        ([3.0, 4.0], 0.36, 1),  # 9 of 25 is exactly .36
        ([4.0, 3.0], 0.64, 1),
        ([4.0, 3.0], 0.65, 2),
        ([1.0, 0.0, 0.0], 1.0, 1),
        ([0.0, 0.0], 0.9, 1),
        ([2.0, 2.0, 2.0, 2.0], 0.5, 2),
    ],
)
def test_the_least_rank_that_keeps_the_energy(values, energy, rank):
    assert rank_for(torch.tensor(values), energy) == rank


def test_layers_that_would_not_become_smaller_stay_and_shared_ones_stay_shared():
    torch.manual_seed(0)
    thin, wide = nn.Linear(64, 2), nn.Linear(64, 64)
    with torch.no_grad():
        wide.weight.copy_(torch.randn(64, 3) @ torch.randn(3, 64))
    module = nn.Sequential(nn.Sequential(wide), nn.Sequential(wide), thin)
    expected = module(torch.ones(1, 64))
    assert low_rank(module, energy=0.999999) == {"0.0": 3}
    assert module[0][0] is module[1][0] and type(module[2]) is nn.Linear
    torch.testing.assert_close(module(torch.ones(1, 64)), expected, rtol=1e-3, atol=1e-2)


def test_a_layer_can_only_lose_a_share_it_was_allowed_to():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(40, 40), nn.Linear(40, 40))
    before = [layer.weight.clone() for layer in module]
    low_rank(module, energy=0.6)
    for layer, weight in zip(module, before, strict=True):
        assert isinstance(layer, LowRank)
        lost = ((layer.weight - weight).square().sum() / weight.square().sum()).item()
        assert 0.2 < lost <= 0.4 + 1e-6


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ({}, "exactly one"),
        ({"energy": 0.5, "rank": 2}, "exactly one"),
        ({"energy": 0.0}, "above 0 and at most 1"),
        ({"energy": 1.5}, "above 0 and at most 1"),
        ({"rank": 0}, "1 or more"),
    ],
)
def test_what_is_kept_is_said_once_and_possible(asked, match):
    with pytest.raises(UsageError, match=match):
        low_rank(nn.Sequential(nn.Linear(4, 4)), **asked)


def test_nothing_to_factorise_is_refused():
    with pytest.raises(ModelError, match="no Linear layer inside"):
        low_rank(nn.Sequential(nn.ReLU()), rank=1)
    with pytest.raises(ModelError, match=r"none of the 1 Linear layers .* smaller"):
        low_rank(nn.Sequential(nn.Linear(2, 2)), energy=1.0)


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ModelError, match="no such part"):
        shaped(nn.Sequential(nn.Linear(2, 2)), {"7": 1})
    with pytest.raises(ModelError, match="ReLU there"):
        shaped(nn.Sequential(nn.ReLU()), {"0": 1})
    for rank in (0, 3, 10**30):
        with pytest.raises(ModelError, match=rf"rank {rank!r}; 1 to 2 is expected"):
            shaped(nn.Sequential(nn.Linear(2, 4)), {"0": rank})


def test_our_model_is_saved_factorised_and_loads_bit_for_bit(folder, tmp_path):
    dense = load(folder)
    ranks = save_low_rank(folder, tmp_path / "thin", rank=3)
    made = load_low_rank(tmp_path / "thin")
    assert is_low_rank(tmp_path / "thin") and not is_low_rank(folder)
    assert ranks_of(made.module) == ranks and set(ranks.values()) == {2, 3}  # 2: the head's full rank
    again = load(folder)
    low_rank(again.module, rank=3)
    state = again.module.state_dict()
    assert state.keys() == made.module.state_dict().keys()
    assert all(torch.equal(value, state[name]) for name, value in made.module.state_dict().items())
    np.testing.assert_array_equal(score(made, TEST), score(again, TEST))
    assert np.abs(score(made, TEST) - score(dense, TEST)).max() > 1e-3
    assert (made.labels, made.threshold, made.positive) == (dense.labels, dense.threshold, dense.positive)
    assert max(certify(made, TEST)["layers"].values()) < 1e-5


def test_full_rank_scores_as_the_model_did(folder, tmp_path):
    save_low_rank(folder, tmp_path / "full", rank=1000)
    np.testing.assert_allclose(
        score(load_low_rank(tmp_path / "full"), TEST), score(load(folder), TEST), atol=1e-4
    )


def test_a_factorised_subject_writes_itself(folder, tmp_path):
    save_low_rank(folder, tmp_path / "thin", rank=3)
    made = load_low_rank(tmp_path / "thin")
    made.write(made, tmp_path / "again")
    np.testing.assert_array_equal(score(load_low_rank(tmp_path / "again"), TEST), score(made, TEST))


def test_a_hugging_face_classifier_is_saved_factorised_and_loads_bit_for_bit(tmp_path):
    path = text_folder(tmp_path, "BertForSequenceClassification", **labelled("negative", "positive"))
    save_low_rank(path, tmp_path / "thin", rank=2)
    made = load_low_rank(tmp_path / "thin")
    again = load(path)
    low_rank(again.module, rank=2)
    np.testing.assert_array_equal(score(made, TEXTS), score(again, TEXTS))
    assert (
        made.labels == ("negative", "positive")
        and np.abs(score(made, TEXTS) - score(load(path), TEXTS)).max() > 0
    )
    save_low_rank(path, tmp_path / "full", rank=1000)
    np.testing.assert_allclose(
        score(load_low_rank(tmp_path / "full"), TEXTS), score(load(path), TEXTS), atol=1e-4
    )


def test_folders_that_do_not_fit_are_refused(folder, tmp_path):
    thin = tmp_path / "thin"
    save_low_rank(folder, thin, rank=3)
    with pytest.raises(ModelError, match="factorised already"):
        save_low_rank(thin, tmp_path / "other", rank=2)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("kept")
    with pytest.raises(OutputError, match="something other"):
        save_low_rank(folder, tmp_path / "mine", rank=3)
    assert (tmp_path / "mine" / "letter.txt").read_text() == "kept"
    settings = json.loads((thin / "low_rank.json").read_text())
    (thin / "low_rank.json").write_text(json.dumps({**settings, "schema_version": 9}))
    with pytest.raises(ModelError, match="schema version 9"):
        load_low_rank(thin)
    name = next(iter(settings["ranks"]))
    for rank in ("2", True, 2.0, None):
        (thin / "low_rank.json").write_text(json.dumps({**settings, "ranks": {name: rank}}))
        with pytest.raises(ModelError, match=rf"low_rank\.json says that .* has the rank {rank!r}"):
            load_low_rank(thin)
    (thin / "low_rank.json").write_text(
        json.dumps({**settings, "ranks": {k: v for k, v in settings["ranks"].items() if k != name}})
    )
    with pytest.raises(ModelError, match="missing"):
        load_low_rank(thin)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"hidden_size": 2**40}, "cannot be loaded by transformers"),
        ({"vocab_size": 2**33}, r"settings are of .* numbers, the file holds"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers = 1,000,000"),
        ({"hidden_act": "/etc/passwd"}, "cannot be loaded by transformers"),
        ({"architectures": 7}, "has architectures 7; a list of names is expected"),
    ],
)
def test_settings_of_another_classifier_are_refused_before_memory_is_taken(tmp_path, change, match):
    path = text_folder(tmp_path, "BertForSequenceClassification", **labelled("negative", "positive"))
    save_low_rank(path, tmp_path / "thin", rank=2)
    file = tmp_path / "thin" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(ModelError, match=match):
        load_low_rank(tmp_path / "thin")


def test_what_a_factorised_folder_holds_is_in_its_provenance(folder, tmp_path):
    save_low_rank(folder, tmp_path / "ours", rank=3)
    whole = text_folder(tmp_path, "BertForSequenceClassification", **labelled("negative", "positive"))
    save_low_rank(whole, tmp_path / "theirs", rank=2)
    for name, parts in (("ours", ()), ("theirs", ("tokenizer",))):
        known = load(tmp_path / name).provenance
        for part in ("weights", "settings", "low_rank", *parts):
            assert len(known[f"{part}_sha256"]) == 64
        settings = json.loads((tmp_path / name / "low_rank.json").read_text())
        (tmp_path / name / "low_rank.json").write_text(json.dumps(settings, indent=4))
        again = load(tmp_path / name).provenance
        assert {key for key in known if known[key] != again[key]} == {"low_rank_sha256"}


def test_other_tasks_are_refused_with_the_way_out(tmp_path):
    path = text_folder(tmp_path, "BertForMaskedLM")
    with pytest.raises(ModelError, match=r"masked language model.*in memory"):
        save_low_rank(path, tmp_path / "thin", rank=2)


def test_a_factorised_folder_is_loaded_like_any_other(folder, tmp_path):
    """`load` knows it, and refuses what is for plain folders."""
    save_low_rank(folder, tmp_path / "low", rank=2)
    np.testing.assert_array_equal(
        score(load(tmp_path / "low"), TEST), score(load_low_rank(tmp_path / "low"), TEST)
    )
    assert not np.allclose(score(load(tmp_path / "low"), TEST), score(load(folder), TEST))
    with pytest.raises(ModelError, match="holds factorised layers; 'candidates'"):
        load(tmp_path / "low", candidates=["good", "bad"])
