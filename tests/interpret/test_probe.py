"""A probe proves what can be seen of a model, and says why where nothing can."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from clinometer.errors import DataError
from clinometer.interpret.models import Subject, load, wrap
from clinometer.interpret.probe import probe
from clinometer.records import Rows
from reference.attention import HandMade

pytest.importorskip("transformers", reason="transformers is not installed")
from reference.model_folders import text_folder

TEXTS = Rows(ids=("a", "b"), inputs={"text": np.array(["a fine film .", "dull"], dtype=object)})
SERIES = Rows(ids=("a", "b"), inputs={"x": np.random.default_rng(0).normal(size=(2, 5, 8))})


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(
    "architecture",
    ["BertForSequenceClassification", "GPT2LMHeadModel", "T5ForConditionalGeneration", "BertForMaskedLM"],
)
def test_loading_a_folder_proves_its_attention(architecture: str, tmp_path: Path) -> None:
    subject = load(text_folder(tmp_path, architecture))
    said = subject.provenance["attention"]
    assert (
        "attention calls, ||A V - O|| / ||O|| at most" in said
        and "closing all heads moves the score by" in said
    )
    texts = ["a [MASK] film .", "[MASK]"] if architecture == "BertForMaskedLM" else ["a film .", "dull"]
    found = probe(subject, Rows(ids=("a", "b"), inputs={"text": np.array(texts, dtype=object)}))
    assert found.row_sums is not None and found.row_sums < 1e-5
    assert max(found.certificate.values()) < 1e-5 and set(found.certificate) == set(found.layers)
    assert found.closing is not None and found.closing > 1e-6
    assert not found.refusal


class Blind(nn.Module):
    """No attention at all: a mean over positions."""

    def forward(self, x: Tensor) -> Tensor:
        return x.float().mean(1)[:, :2]


def wrapped(module: nn.Module) -> Subject:
    return wrap(module.eval(), lambda batch: module(batch["x"].float()), labels=("no", "yes"))


def test_a_model_without_attention_is_no_error_and_says_why() -> None:
    found = probe(wrapped(Blind()), SERIES)
    assert found.layers == () and found.closing is None
    assert "no attention call was seen" in found.refusal
    assert str(found).startswith("not seen: Blind ran")


def test_heads_that_do_nothing_are_told_from_heads_that_do() -> None:
    class Ignored(HandMade):
        def forward(self, x: Tensor, pad: Tensor | None = None, memory: Tensor | None = None) -> Tensor:
            super().forward(x, pad, memory)
            return x.mean(1)[:, :2]

    class Used(HandMade):
        def forward(self, x: Tensor, pad: Tensor | None = None, memory: Tensor | None = None) -> Tensor:
            out = super().forward(x, pad, memory)
            return torch.stack([out, -out], dim=1)

    assert probe(wrapped(Ignored()), SERIES).closing == 0.0
    found = probe(wrapped(Used()), SERIES)
    assert found.closing is not None and found.closing > 1e-3
    assert str(found) == (
        f"2 attention calls, ||A V - O|| / ||O|| at most {max(found.certificate.values()):.0e}; closing all heads moves "
        f"the score by {found.closing:.1g} (n = 2)"
    )


def test_no_rows() -> None:
    with pytest.raises(DataError, match="no rows to probe with"):
        probe(wrapped(Blind()), SERIES.take([]))
