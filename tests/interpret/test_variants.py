"""Ready variants: copies that leave the model alone, run, and weigh what they should."""

import importlib.util

import numpy as np
import pytest
import torch
from torch import nn

from clinometer.errors import ModelError, UsageError
from clinometer.interpret.footprint import folder_bytes, weight_bytes
from clinometer.interpret.low_rank import ranks_of
from clinometer.interpret.low_rank_folders import load_low_rank, save_low_rank
from clinometer.interpret.models import load, score, wrap
from clinometer.interpret.variants import (
    VARIANTS,
    has_gradients,
    load_as,
    variant,
)
from reference.subjects import applicants, fitted

TEST = applicants(60, seed=3)


@pytest.fixture(scope="module")
def subject():
    return fitted(applicants(150), epochs=3)


@pytest.mark.parametrize(
    ("how", "near"),
    [("bfloat16", 0.2), ("float16", 0.02), ("float64", 1e-5), ("float32", 0.0), ("int8", 0.3)],
)
def test_a_variant_scores_nearly_as_the_model_which_stays_as_it_was(subject, how, near):
    before = score(subject, TEST)
    state = {name: value.clone() for name, value in subject.module.state_dict().items()}
    made = variant(subject, TEST, how)
    apart = np.abs(score(made, TEST) - before).max()
    assert apart <= near
    assert (apart > 0) == (how != "float32")
    np.testing.assert_array_equal(score(subject, TEST), before)
    assert all(torch.equal(value, state[name]) for name, value in subject.module.state_dict().items())
    assert made.name == f"planted {how}" and made.provenance["variant of"] == "planted"


def test_weights_are_counted_in_bytes(subject):
    numbers = sum(p.numel() for p in subject.module.parameters())
    place = sum(b.numel() * b.element_size() for b in subject.module.buffers())
    assert place == 8  # one whole number: where the one categorical feature begins
    assert weight_bytes(subject.module) == 4 * numbers + place
    assert weight_bytes(variant(subject, TEST, "float64").module) == 8 * numbers + place
    assert weight_bytes(variant(subject, TEST, "bfloat16").module) == 2 * numbers + place
    linear = sum(m.weight.numel() for m in subject.module.modules() if isinstance(m, nn.Linear))
    assert weight_bytes(variant(subject, TEST, "int8").module) == linear + 4 * (numbers - linear) + place
    made = variant(subject, TEST, "low-rank", rank=2)
    assert weight_bytes(made.module) == 4 * sum(p.numel() for p in made.module.parameters()) + place


def test_what_two_names_share_is_counted_once():
    module = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 5, bias=False))
    assert weight_bytes(module) == 2 * 15 * 4
    module[1].weight = module[0].weight
    assert weight_bytes(module) == 15 * 4


def test_low_rank_in_memory_is_that_of_a_folder(subject, tmp_path):
    made = variant(subject, TEST, "low-rank", rank=3)
    assert made.provenance["variant"] == "low rank in 13 Linear layers, rank 3"
    subject.write(subject, tmp_path / "dense")
    save_low_rank(tmp_path / "dense", tmp_path / "thin", rank=3)
    np.testing.assert_array_equal(score(load_low_rank(tmp_path / "thin"), TEST), score(made, TEST))
    made.write(made, tmp_path / "memory")
    np.testing.assert_array_equal(score(load_low_rank(tmp_path / "memory"), TEST), score(made, TEST))
    assert folder_bytes(tmp_path / "thin") < folder_bytes(tmp_path / "dense")


def test_low_rank_keeps_nine_tenths_of_the_energy_unless_told(subject):
    with pytest.raises(ModelError, match=r"keeping 0.9 of the energy"):
        variant(subject, TEST, "low-rank")  # 16 x 16 random weights have no such rank that is smaller
    made = variant(subject, TEST, "low-rank", energy=0.6)
    assert ranks_of(made.module)


def test_int8_has_no_gradients_and_the_others_do(subject):
    known = {how: has_gradients(variant(subject, TEST, how)) for how in ("int8", "bfloat16")}
    assert known == {"int8": False, "bfloat16": True}
    assert has_gradients(subject)
    made = variant(subject, TEST, "int8")
    with pytest.raises(ModelError, match="no gradient"):
        made.forward(made.encode(TEST), None)


def test_folders_load_in_any_way(subject, tmp_path):
    subject.write(subject, tmp_path / "dense")
    save_low_rank(tmp_path / "dense", tmp_path / "thin", rank=3)
    for name in ("dense", "thin"):
        whole = load_as(tmp_path / name)
        assert whole.provenance["quantisation"] == "none"
        made = load_as(tmp_path / name, "int8")
        assert not has_gradients(made) and "int8" in made.provenance["quantisation"]
        assert np.corrcoef(score(made, TEST), score(whole, TEST))[0, 1] > 0.99
        assert weight_bytes(made.module) < weight_bytes(whole.module) / 2
        half = load_as(tmp_path / name, "bfloat16")
        assert weight_bytes(half.module) - 8 == (weight_bytes(whole.module) - 8) / 2  # 8 bytes are no weights
    np.testing.assert_array_equal(
        score(load_as(tmp_path / "dense"), TEST), score(load(tmp_path / "dense"), TEST)
    )


def test_torchao_is_asked_for_where_it_is_missing_and_used_where_it_is_there(subject):
    if importlib.util.find_spec("torchao") is None:
        with pytest.raises(ModelError, match="pip install torchao"):
            variant(subject, TEST, "int8-weights")
        return
    made = variant(subject, TEST, "int8-weights")
    assert has_gradients(made) and weight_bytes(made.module) < weight_bytes(subject.module)
    assert np.corrcoef(score(made, TEST), score(subject, TEST))[0, 1] > 0.99


def test_unknown_variants_are_refused(subject, tmp_path):
    with pytest.raises(UsageError, match="did you mean 'bfloat16'"):
        variant(subject, TEST, "bfloat")
    with pytest.raises(UsageError, match="energy and rank are of 'low-rank'"):
        variant(subject, TEST, "int8", rank=3)
    with pytest.raises(UsageError, match="cannot be loaded as 'low-rank'"):
        load_as(tmp_path, "low-rank")
    assert {"int8", "bfloat16", "low-rank"} < set(VARIANTS)


def test_a_model_that_does_not_run_in_a_number_type_is_named():
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(1, 1)

        def forward(self, income: torch.Tensor) -> torch.Tensor:
            return self.inner(income.float()[:, None])

    module = Fixed().eval()
    made = wrap(module, lambda batch: module(batch["income"]), columns=("income",), name="fixed")
    rows = applicants(5)
    with pytest.raises(ModelError, match=r"fixed bfloat16 does not run"):
        variant(made, rows, "bfloat16")
