"""Patching: effects are those of runs with a head's output put in; a known mediator takes all of it."""

from collections import Counter

import numpy as np
import pytest
import torch

from clinometer.errors import DataError, UsageError
from clinometer.interpret.ablation import ablated
from clinometer.interpret.gates import Constant, Mean, gates
from clinometer.interpret.interventions import every_head
from clinometer.interpret.mean_outputs import mean_outputs
from clinometer.interpret.models import score
from clinometer.interpret.patching import patch_effects
from clinometer.interpret.tracing import trace
from clinometer.records import Rows
from reference.mediating import closed, guilty, lines, other_output, swapped
from reference.sentences import bert_classifier, texts


@pytest.fixture(scope="module")
def pairs():
    rows = lines(9, seed=4)
    return rows, swapped(rows)


def test_the_whole_effect_of_a_swap_goes_through_the_one_head_that_knows(pairs):
    for seed in range(4):
        subject, head = guilty(seed)
        found = patch_effects(subject, *pairs, batch_size=4)
        at = found.heads.index(head)
        others = [i for i in range(len(found.heads)) if i != at]
        total = score(subject, pairs[1]) - score(subject, pairs[0])
        assert np.abs(total).min() > 0.1
        assert found.total == pytest.approx(total, abs=1e-10)
        assert found.indirect[:, at] == pytest.approx(total, abs=1e-10)
        assert found.direct[:, at] == pytest.approx(np.zeros(9), abs=1e-10)
        assert found.indirect[:, others] == pytest.approx(np.zeros((9, len(others))), abs=1e-10)
        assert found.direct[:, others] == pytest.approx(np.repeat(total[:, None], len(others), 1), abs=1e-10)
        assert found.layer_indirect == pytest.approx(np.column_stack([np.zeros(9), total]), abs=1e-10)
        assert np.abs(found.estimated_indirect[:, others]).max() < 1e-10
        assert np.all(np.sign(found.estimated_indirect[:, at]) == np.sign(total))


def test_effects_are_those_of_single_runs_and_total_is_direct_less_the_way_back():
    subject = bert_classifier()
    subject.module.double()
    original = texts("the film was good", "a dull story with one scene", "one actor was great")
    other = texts("the film was bad", "a fine story with one scene", "the actor was awful")
    found = patch_effects(subject, original, other)
    back = patch_effects(subject, other, original)
    assert found.heads == tuple(every_head(subject, original))
    assert np.abs(found.indirect).min() > 1e-6  # control: every head does something
    for i, head in enumerate(found.heads):
        plain = score(subject, original)
        assert found.indirect[:, i] == pytest.approx(
            other_output(subject, original, other, head) - plain, abs=1e-9
        )
        assert found.direct[:, i] == pytest.approx(
            other_output(subject, other, original, head) - plain, abs=1e-9
        )
    assert found.direct - back.indirect == pytest.approx(np.repeat(found.total[:, None], 4, 1), abs=1e-12)
    assert found.layer_direct - back.layer_indirect == pytest.approx(
        np.repeat(found.total[:, None], 2, 1), abs=1e-12
    )
    assert found.estimated_direct == pytest.approx(found.total[:, None] + back.estimated_indirect, abs=1e-12)
    mean, error = found.mean(found.indirect)
    assert mean == pytest.approx(found.indirect.mean(axis=0))
    assert error == pytest.approx(found.indirect.std(axis=0, ddof=1) / np.sqrt(3))


def test_estimates_are_exact_for_small_changes():
    subject = bert_classifier()
    subject.module.double()
    original, other = texts("the film was good"), texts("the film was great")
    table = subject.module.bert.embeddings.word_embeddings.weight
    good, great = (subject.encode(rows)["input_ids"][0, 4] for rows in (original, other))
    errors = []
    for step in (1e-1, 1e-3):
        with torch.no_grad():
            table[great] = table[good] + step * torch.linspace(-1, 1, table.shape[1])
        found = patch_effects(subject, original, other)
        errors.append(np.abs(found.estimated_indirect - found.indirect).max() / np.abs(found.indirect).max())
    assert errors[1] < 1e-2 and errors[1] < errors[0] / 10


def test_estimates_alone():
    subject, _ = guilty(0)
    rows = lines(4)
    quick = patch_effects(subject, rows, swapped(rows), exact=False)
    assert quick.indirect is None and quick.direct is None and quick.layer_indirect is None
    assert quick.estimated_indirect == pytest.approx(
        patch_effects(subject, rows, swapped(rows)).estimated_indirect
    )


def test_refusals_of_pairs(pairs):
    subject, _ = guilty(0)
    longer = Rows(
        ids=tuple(f"{name}+" for name in pairs[1].ids),
        inputs={
            "text": np.array(
                [f"{t} w1" if i == 2 else t for i, t in enumerate(pairs[1].inputs["text"])], object
            )
        },
    )
    with pytest.raises(DataError, match=r"1 of 9 pairs have different numbers of tokens.*r2 \("):
        patch_effects(subject, pairs[0], longer)
    with pytest.raises(DataError, match="9 original and 8 swapped rows"):
        patch_effects(subject, pairs[0], pairs[1].take(range(8)))
    with pytest.raises(DataError, match="0 original and 0 swapped rows"):
        patch_effects(subject, pairs[0].take([]), pairs[1].take([]))


def test_ablation_gives_what_gates_give_one_set_at_a_time():
    subject, head = guilty(2)
    rows, reference = lines(11, seed=1), lines(14, seed=2, prefix="m")
    sets = [(), (head,), (head, ("encoder.layers.0.attention", 1))]
    zero = ablated(subject, rows, sets, how="zero", batch_size=3)
    for found, one in zip(zero, sets, strict=True):
        assert found == pytest.approx(closed(subject, rows, one), abs=1e-10)
    means = mean_outputs(subject, reference)
    mean = ablated(subject, rows, sets, how="mean", reference=reference, batch_size=3)
    for found, one in zip(mean, sets, strict=True):
        with gates(subject, {(layer, h): Constant(means[layer][h]) for layer, h in one}):
            assert found == pytest.approx(score(subject, rows), abs=1e-10)
    assert np.abs(mean[1] - zero[1]).max() > 1e-3  # control: it matters what is put in place


def test_queries_keys_and_values_of_the_first_block_changed_are_not_computed_again(monkeypatch):
    subject = bert_classifier()
    rows = texts("the film was good", "the film was bad")
    names = {id(part): name for name, part in subject.module.named_modules()}
    ran = Counter()
    plain = torch.nn.Linear.forward

    def counted(self, x):
        ran[names[id(self)].removeprefix("bert.encoder.")] += 1
        return plain(self, x)

    monkeypatch.setattr(torch.nn.Linear, "forward", counted)
    sets = [
        ((f"bert.encoder.layer.{layer}.attention.self", head),) for layer in range(2) for head in range(2)
    ]
    found = ablated(subject, rows, sets, how="zero")
    assert [ran[f"layer.0.{name}"] for name in ("attention.self.query", "attention.output.dense")] == [1, 2]
    assert [ran[f"layer.1.{name}"] for name in ("attention.self.value", "attention.output.dense")] == [2, 3]
    monkeypatch.undo()
    for scores, one in zip(found, sets, strict=True):
        assert scores == pytest.approx(closed(subject, rows, one), abs=1e-6)


def test_means_are_over_real_queries_at_each_position():
    subject, _ = guilty(0)
    rows = lines(7, seed=3)
    found = mean_outputs(subject, rows, batch_size=2)
    alone = [trace(subject, rows.take([i])) for i in range(7)]
    for layer, mean in found.items():
        outputs = [seen.call(layer).output[0].double() for seen in alone]
        longest = max(one.shape[1] for one in outputs)
        assert mean.shape[1] == longest + 1
        for query in range(longest):
            there = [one[:, query] for one in outputs if one.shape[1] > query]
            assert torch.allclose(mean[:, query], torch.stack(there).mean(dim=0), atol=1e-10)
        assert torch.allclose(mean[:, -1], torch.cat(outputs, dim=1).mean(dim=1), atol=1e-10)
    batch = subject.encode(rows.take([0]))
    seen = trace(subject, rows.take([0]))
    layer = "encoder.layers.1.attention"
    with gates(subject, {(layer, 2): Mean(seen)}):
        wanted = subject.forward(batch, None)
    with gates(subject, {(layer, 2): Constant(seen.call(layer).output[0, 2].mean(dim=0))}):
        assert torch.allclose(subject.forward(batch, None), wanted, atol=1e-12)


def test_resampling_draws_another_row_of_as_many_tokens():
    subject, head = guilty(1)
    rows, reference = lines(5, seed=1), lines(16, seed=2, prefix="m")
    found = ablated(subject, rows, [(), (head,)], how="resample", reference=reference, seed=5)
    assert found[0] == pytest.approx(score(subject, rows), abs=1e-10)
    lengths = [len(names) for names in subject.names(reference)]
    for i, names in enumerate(subject.names(rows)):
        able = np.flatnonzero(np.array(lengths) == len(names))
        one = rows.take([i] * len(able))
        options = other_output(subject, one, reference.take(able), head)
        assert np.abs(options - found[1, i]).min() < 1e-9
    again = ablated(subject, rows, [(), (head,)], how="resample", reference=reference, seed=5, batch_size=2)
    assert again == pytest.approx(found, abs=1e-10)
    assert (
        np.abs(
            ablated(subject, rows, [(head,)], how="resample", reference=reference, seed=6)[0] - found[1]
        ).max()
        > 1e-3
    )  # control: another draw gives other numbers


def test_refusals_of_ablation():
    subject, head = guilty(0)
    rows = lines(6)
    with pytest.raises(UsageError, match="how is 'median'"):
        ablated(subject, rows, [(head,)], how="median")
    with pytest.raises(
        DataError, match=r"1 of 1 rows have no other row of as many tokens to draw from: 'r0'"
    ):
        ablated(subject, rows.take([0]), [(head,)], how="resample")
    with pytest.raises(DataError, match="no rows to take heads out on"):
        ablated(subject, rows.take([]), [(head,)])
    with pytest.raises(DataError, match="no rows to take the mean of"):
        mean_outputs(subject, rows.take([]))
    with pytest.raises(UsageError, match="there is no head 7"):
        ablated(subject, rows, [(("encoder.layers.0.attention", 7),)])
    with pytest.raises(UsageError, match=r"did you mean 'encoder\.layers\.0\.attention'"):
        ablated(subject, rows, [(("encoder.layers.0.attn", 0),)])
    with (
        pytest.raises(UsageError, match=r"the constant is \(4, 3, 4, 4\)"),
        gates(subject, {(0, None): Constant(torch.zeros(4, 3, 4, 4))}),
    ):
        score(subject, rows)
