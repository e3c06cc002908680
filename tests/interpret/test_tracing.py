"""A subject's trace keeps what was planned, and knows its tokens."""

from pathlib import Path

import numpy as np
import pytest
import torch

from clinometer.errors import DataError, UsageError
from clinometer.interpret.keeping import Keep
from clinometer.interpret.models import Subject, load
from clinometer.interpret.trace_files import read_trace, trace_settings
from clinometer.interpret.tracing import head_statistics, plan_trace, trace
from clinometer.records import Rows
from reference.subjects import applicants, fitted

TEXTS = np.array(["a fine film .", "dull", "not bad at all , truly fine ."], dtype=object)
ROWS = Rows(ids=("a", "b", "c"), inputs={"text": TEXTS})


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    pytest.importorskip("transformers", reason="transformers is not installed")
    from reference.model_folders import text_folder

    return load(text_folder(tmp_path_factory.mktemp("text"), "BertForSequenceClassification"))


def test_the_plan_says_what_is_kept(text: Subject) -> None:
    whole = plan_trace(text, ROWS, "1 GB")
    assert whole.choice == "maps"
    made = trace(text, ROWS, max_memory="1 GB")
    assert all(call.given is not None for call in made.calls)
    plain = trace(text, ROWS)
    assert plain.plan is None and all(call.given is None for call in plain.calls)
    assert np.allclose(made.map(0, 0, 0), plain.map(0, 0, 0), atol=1e-6)
    some = trace(text, ROWS, max_memory="1 GB", allow=("queries and keys",))
    assert some.plan is not None and some.plan.choice == "queries and keys"


def test_statistics_alone_are_those_of_the_whole_trace(text: Subject) -> None:
    plain = trace(text, ROWS)
    only = trace(text, ROWS, max_memory="1 GB", allow=("statistics",))
    assert len(only) == len(plain) and only.layers == plain.layers and not only.calls
    for one, other in zip(only.statistics(), plain.statistics(), strict=True):
        assert np.allclose(one.entropy, other.entropy, equal_nan=True)
        assert one.shares.keys() == other.shares.keys() >= {"special tokens", "separator"}
    assert "statistics only" in repr(only)
    assert list(only.summary()["layer"]) == list(plain.layers)
    assert only.heads().shape == plain.heads().shape
    with pytest.raises(UsageError, match="only statistics of this trace were kept"):
        only.map(0, 0, 0)
    with pytest.raises(UsageError, match="ask for classes and top while tracing"):
        only.statistics(top=2)


def test_too_little_memory_is_an_error_that_names_what_works(text: Subject) -> None:
    with pytest.raises(UsageError, match=r"The least that works is max_memory=\d+"):
        trace(text, ROWS, max_memory=100)


def test_shares_are_at_the_tokens_places(text: Subject) -> None:
    made = trace(text, ROWS)
    assert made.tokens is not None
    classes = made.classes(0)
    for i, names in enumerate(made.tokens):
        special = [name in text.special for name in names]
        assert classes["special tokens"][i, : len(names)].tolist() == special
        assert not classes["special tokens"][i, len(names) :].any()
    maps = made.maps(0).numpy()
    share = made.statistics(0)[0].shares["special tokens"]
    n = len(made.tokens[1])
    members = classes["special tokens"][1]
    assert np.allclose(share[1, :, :n], maps[1][:, :n][:, :, members].sum(-1), atol=1e-5)


def test_head_statistics_over_batches_with_features_and_rare_words(text: Subject) -> None:
    found = head_statistics(
        text, ROWS, features=["dull"], frequencies={"fine": 2000, "dull": 1}, batch_size=2
    )
    assert [one.n_examples for one in found] == [2] * (len(found) // 2) + [1] * (len(found) // 2)
    dull, rare = found[0].shares["dull"], found[0].shares["rare"]
    assert np.nanmax(dull[0]) == 0.0 and np.nanmax(dull[1]) > 0.0
    assert (np.nan_to_num(rare) >= np.nan_to_num(dull) - 1e-6).all()
    with pytest.raises(UsageError, match="did you mean 'dull'"):
        head_statistics(text, ROWS, features=["dul"])


def test_a_table_has_its_features_as_tokens() -> None:
    subject = fitted(applicants(120), epochs=1)
    rows = applicants(8, seed=1)
    made = trace(subject, rows)
    assert made.tokens is not None and made.tokens[0][0] == "[CLS]"
    found = head_statistics(subject, rows, features=["income"])
    place = made.tokens[0].index("income")
    assert np.allclose(found[0].shares["income"][0], made.maps(0)[0, :, :, place], atol=1e-5)


def test_a_saved_trace_keeps_its_tokens(text: Subject, tmp_path: Path) -> None:
    made = trace(text, ROWS, keep=Keep(dtype=torch.bfloat16))
    made.save(tmp_path / "kept")
    again = read_trace(tmp_path / "kept")
    assert np.array_equal(again.map(1, 0, 2), made.map(1, 0, 2))
    assert trace_settings(tmp_path / "kept")["tokens"][1] == list(made.tokens[1])  # type: ignore[index]
    assert again.tokens == made.tokens and again.special == made.special
    assert again.heads().equals(made.heads())


def test_no_rows(text: Subject) -> None:
    with pytest.raises(DataError, match="no rows to trace"):
        trace(text, ROWS.take([]))
    with pytest.raises(DataError, match="no rows to plan for"):
        plan_trace(text, ROWS.take([]), "1 GB")
