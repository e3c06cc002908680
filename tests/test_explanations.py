"""Explanations shard by shard are those of all rows at once, through files and back."""

import json
from pathlib import Path

import numpy as np
import pytest

from clinometer.explanations import Explanations, explained, explained_here, merged
from clinometer.interpret.head_effects import head_effects
from clinometer.interpret.head_roles import summaries
from clinometer.interpret.methods import attribute
from clinometer.interpret.models import Subject, load
from clinometer.interpret.tracing import certify, head_statistics
from clinometer.records import Rows, plain
from clinometer.review import review
from clinometer.shards import Plan, Shards
from reference.model_folders import text_folder
from reference.subjects import applicants, fitted

TEXTS = [
    "the movie was good",
    "bad",
    "a very long and sad story of the city and the sea",
    "not good not bad",
] * 6


def texts() -> Rows:
    return Rows(
        ids=tuple(f"t{i}" for i in range(len(TEXTS))),
        inputs={"text": np.array(TEXTS, dtype=object)},
        labels=np.arange(len(TEXTS)) % 2,
        groups={"length": tuple("long" if len(text) > 18 else "short" for text in TEXTS)},
    )


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Subject, Rows]]:
    rows = applicants(90)
    folder = text_folder(tmp_path_factory.mktemp("bert"), "BertForSequenceClassification")
    return {"table": (fitted(rows, epochs=2), rows), "texts": (load(folder), texts())}


def same(left: Explanations, right: Explanations) -> None:
    assert plain(left.attribution) == plain(right.attribution)
    assert np.array_equal(left.contribution, right.contribution) and left.layers == right.layers
    assert all(np.array_equal(a, b) for a, b in zip(left.received, right.received, strict=True))
    assert left.certificate == right.certificate and left.heads == right.heads


@pytest.mark.parametrize("kind", ["table", "texts"])
def test_one_shard_is_every_pass_over_all_rows(cases: dict[str, tuple[Subject, Rows]], kind: str) -> None:
    subject, rows = cases[kind]
    made = explained_here(subject, rows, shard_rows=1000)
    effects = head_effects(subject, rows)
    assert plain(made.attribution) == plain(attribute(subject, rows))
    assert np.array_equal(made.contribution, effects.contribution)
    before = len(subject.prefix)
    for i, row in enumerate(made.received):
        assert len(row) == before + len(made.attribution.tokens[i])
        assert np.array_equal(row, effects.received.mean(axis=(1, 2))[i, : len(row)])
    assert made.certificate == certify(subject, rows)
    assert made.heads == summaries(head_statistics(subject, rows))


@pytest.mark.parametrize("kind", ["table", "texts"])
def test_shards_put_together_agree_with_all_rows_at_once(
    cases: dict[str, tuple[Subject, Rows]], kind: str
) -> None:
    subject, rows = cases[kind]
    whole, parts = (explained_here(subject, rows, shard_rows=n) for n in (1000, 7))
    assert parts.attribution.ids == rows.ids and parts.attribution.tokens == whole.attribution.tokens
    assert np.allclose(parts.attribution.value, whole.attribution.value, atol=1e-5)
    assert np.allclose(parts.contribution, whole.contribution, atol=1e-5)
    assert (
        np.abs(parts.attribution.residual[parts.attribution.converged]).max()
        <= parts.attribution.tolerance.max() + 1e-4
    )
    assert (
        parts.certificate["n"] == len(rows)
        and parts.certificate["layers"].keys() == whole.certificate["layers"].keys()
    )
    for left, right in zip(parts.heads, whole.heads, strict=True):
        assert (left.n_examples, left.n_queries, left.roles) == (
            right.n_examples,
            right.n_queries,
            right.roles,
        )
        for name, share in left.shares.items():
            other = right.shares[name]
            assert (share is None) == (other is None)
            assert share is None or share == pytest.approx(other, abs=1e-6)


@pytest.mark.parametrize("kind", ["table", "texts"])
def test_files_give_back_what_was_put_in_bit_for_bit(
    cases: dict[str, tuple[Subject, Rows]], kind: str, tmp_path: Path
) -> None:
    subject, rows = cases[kind]
    plan = Plan(n_rows=len(rows), shard_rows=10)
    shards, _ = Shards.opened(tmp_path / "run", plan)
    for index in reversed(range(plan.n_shards)):
        shards.put(index, explained(subject, rows.take(range(*plan.bounds(index)))), seconds=0.0)
    same(merged(shards.each()), explained_here(subject, rows, shard_rows=10))
    note = json.loads((tmp_path / "run" / "shards" / "000000.json").read_text())
    assert note["notes"]["attribution"]["method"] == "integrated gradients"


def test_a_review_takes_explanations_that_were_made_and_refuses_those_of_other_rows(
    cases: dict[str, tuple[Subject, Rows]],
) -> None:
    from clinometer.errors import UsageError

    subject, rows = cases["table"]
    made = explained_here(subject, rows, shard_rows=20)
    few: dict[str, int] = {"replicates": 50, "slice_permutations": 0}
    given, own = (review(subject, rows, shard_rows=20, explanations=one, **few) for one in (made, None))  # type: ignore[arg-type]
    left, right = plain(given), plain(own)
    assert {**left, "created": ""} == {**right, "created": ""}
    with pytest.raises(UsageError, match="explanations are of other rows"):
        review(subject, rows.take(range(50)), explanations=made, **few)  # type: ignore[arg-type]
