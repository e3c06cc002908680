"""Screening: derivatives of gates are those of the model, shares add up, whatever the model is."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from clinometer.errors import CaptureError, DataError, ModelError, UsageError
from clinometer.interpret.ablation import ablated
from clinometer.interpret.feed_forward import feed_forward_blocks, scaled
from clinometer.interpret.gate_effects import Unit, unit_effects
from clinometer.interpret.gates import Constant, gates
from clinometer.interpret.interventions import every_head
from clinometer.interpret.mean_outputs import mean_outputs
from clinometer.interpret.models import load, score, wrap
from clinometer.interpret.screening import screen, screening_of, weighted_error
from clinometer.records import Contrast, Rows
from reference.mediating import contrast, gpt2, guilty, halves, lines, path_shares, pictures, slope
from reference.model_folders import image_folder
from reference.sentences import bert_classifier, sentences
from reference.subjects import applicants, fitted

transformers = pytest.importorskip("transformers", reason="transformers is not installed")


@pytest.fixture(scope="module", params=["own text", "own table", "bert", "gpt2", "vit"])
def case(request, tmp_path_factory):
    if request.param == "own text":
        return guilty(3)[0], lines(9)
    if request.param == "own table":
        rows = applicants(30)
        return fitted(rows, epochs=0, dtype=torch.float64), rows.take(range(9))
    if request.param == "gpt2":
        return gpt2()
    if request.param == "vit":
        return load(image_folder(tmp_path_factory.mktemp("image"), "ViT"), dtype="float64"), pictures()
    subject = bert_classifier()
    subject.module.double()
    return subject, sentences(9)


def test_first_order_effects_are_the_derivatives_of_the_model(case):
    subject, rows = case
    given = halves(rows)
    found = screen(subject, rows, given, batch_size=4)
    heads = tuple(every_head(subject, rows))
    assert tuple((one.unit.layer, one.unit.head) for one in found.shares) == heads
    for one in found.shares:
        wanted = slope(subject, rows, given.weights, (one.unit.layer, one.unit.head))
        assert one.closing == pytest.approx(-wanted, rel=1e-5, abs=1e-9)
    assert found.value == pytest.approx(float(given.weights @ score(subject, rows)), abs=1e-10)
    assert max(abs(one.closing) for one in found.shares) > 1e-4  # control: there is something to find
    assert found.ids == tuple(n for n, w in zip(rows.ids, given.weights, strict=True) if w)
    assert found.closed is None and found.residual is None and found.shares[0].share is None


@pytest.mark.parametrize("options", [{}, {"feed_forward": True}, {"toward": "mean"}], ids=str)
def test_shares_add_up(case, options):
    subject, rows = case
    given = halves(rows)
    if "pixels" in rows.inputs and "toward" not in options:
        # Random weights over a summary token of almost nothing: too sharp for few nodes, and that is said.
        found = screen(subject, rows, given, integrated=True, nodes=4, most_nodes=4, **options)
        assert found.n_not_converged > 0
        assert abs(found.residual) > 1e-3
        return
    found = screen(subject, rows, given, integrated=True, **options)
    total = sum(one.share for one in found.shares)
    assert found.residual == pytest.approx(found.value - found.closed - total, abs=1e-12)
    assert found.n_not_converged == 0
    scale = float(np.abs(score(subject, rows)).max())
    assert abs(found.residual) <= 0.02 * scale
    heads = tuple(every_head(subject, rows))
    if "toward" in options:
        means = mean_outputs(subject, rows.take(np.flatnonzero(given.weights)))
        with gates(subject, {(layer, None): Constant(mean) for layer, mean in means.items()}):
            closed = score(subject, rows)
    else:
        blocks = [one.unit.layer for one in found.shares if one.unit.head is None]
        assert len(found.shares) == len(heads) + len(blocks) and bool(blocks) == bool(options)
        with gates(subject, dict.fromkeys(heads, 0.0)), scaled(subject.module, dict.fromkeys(blocks, 0.0)):
            closed = score(subject, rows)
    assert found.closed == pytest.approx(float(given.weights @ closed), abs=1e-9)


@pytest.mark.parametrize("toward", ["zero", "mean"])
def test_heads_of_the_last_call_are_closed_for_certain(case, toward):
    subject, rows = case
    plain = unit_effects(subject, rows, toward=toward, batch_size=4)
    found = unit_effects(subject, rows, toward=toward, batch_size=4, last="exact")
    heads = tuple(every_head(subject, rows))
    last = np.array([layer == heads[-1][0] for layer, _ in heads])
    assert found.exact.tolist() == last.tolist() and not plain.exact.any()
    assert found.gradient == pytest.approx(plain.gradient, abs=1e-9)
    assert plain.closing == pytest.approx(-plain.gradient, abs=0)
    assert found.closing[:, ~last] == pytest.approx(-plain.gradient[:, ~last], abs=1e-9)
    whole = ablated(subject, rows, [(head,) for head in heads], how=toward, batch_size=len(rows), together=1)
    wanted = (whole - plain.value).T
    assert found.closing[:, last] == pytest.approx(wanted[:, last], abs=1e-9)
    assert (
        np.abs(plain.closing[:, last] - wanted[:, last]).max() > 1e-5
    )  # control: first order is another number
    given = halves(rows)
    screened = screen(subject, rows, given, last="exact", integrated=True, nodes=2, most_nodes=2)
    assert [one.exact for one in screened.shares] == last.tolist()
    before = screen(subject, rows, given, integrated=True, nodes=2, most_nodes=2)
    assert [one.share for one in screened.shares] == pytest.approx([one.share for one in before.shares])
    assert not any(
        part.__dict__.get("forward") for part in subject.module.modules()
    )  # all parts are themselves again


def test_a_closed_feed_forward_block_stays_first_order():
    subject, rows = bert_classifier(), sentences(8)
    found = screen(subject, rows, halves(rows), last="exact", feed_forward=True)
    assert {one.unit.layer for one in found.shares if one.exact} == {"bert.encoder.layer.1.attention.self"}
    assert all(one.unit.head is not None for one in found.shares if one.exact)


class Twice(nn.Module):
    """One block that runs twice, so that nothing of it can stand in."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.MultiheadAttention(8, 2, batch_first=True)])

    def forward(self, x):
        for _ in range(2):
            x = torch.tanh(x + self.layers[0](x, x, x)[0])
        return x[:, 0, :1]


def test_a_block_that_runs_twice_is_closed_in_its_second_run_alone():
    torch.manual_seed(0)
    model = Twice().double().eval()
    data = np.random.default_rng(0).normal(size=(3, 4, 8))
    rows = Rows(ids=("a", "b", "c"), inputs={"x": data})
    subject = wrap(model, lambda batch: model(batch["x"]), names=lambda rows: (("t",) * 4,) * len(rows))
    found = unit_effects(subject, rows, last="exact")
    assert found.units[2:] == (Unit("layers.0#2", 0), Unit("layers.0#2", 1))
    for head in range(2):
        with gates(subject, {("layers.0#2", head): 0.0}):
            assert found.closing[:, 2 + head] == pytest.approx(score(subject, rows) - found.value, abs=1e-12)
    assert found.exact.tolist() == [False, False, True, True]
    again = wrap(
        model,
        lambda batch: model(batch["x"]) + model(-batch["x"]),
        names=lambda rows: (("t",) * 4,) * len(rows),
    )
    with pytest.raises(CaptureError, match=r"layers\.0 is called twice under one name"):
        unit_effects(again, rows, last="exact")


def test_tight_nodes_agree_with_the_slow_twin():
    subject, _ = guilty(1, heads=2)
    rows = lines(4)
    given = contrast(rows)
    heads = tuple(every_head(subject, rows))
    found = screen(subject, rows, given, integrated=True, nodes=32)
    wanted = path_shares(subject, rows, given.weights, heads, steps=10)
    scale = sum(abs(share) for share in wanted.values())
    for one in found.shares:
        assert one.share == pytest.approx(wanted[(one.unit.layer, one.unit.head)], abs=1e-2 * scale)
    assert abs(found.residual) < 1e-9
    first_order = sum(-one.closing for one in found.shares)
    assert abs(first_order - (found.value - found.closed)) > 0.05 * scale  # control: the path matters


def test_one_pass_serves_every_contrast():
    subject, _ = guilty(0)
    rows = lines(16)
    known = unit_effects(subject, rows, toward="mean")
    for seed in range(3):
        inside = np.random.default_rng(seed).permutation(16) < 8
        again = screening_of(known, contrast(rows, inside))
        wanted = screen(subject, rows, contrast(rows, inside), toward="mean")
        assert [one.closing for one in again.shares] == pytest.approx(
            [one.closing for one in wanted.shares], abs=1e-12
        )
    with pytest.raises(DataError, match="have no derivatives: 'x0'"):
        screening_of(known, contrast(lines(4, prefix="x")))


def test_the_guilty_head_comes_first_and_its_error_is_that_of_two_means():
    for seed in range(6):
        subject, head = guilty(seed)
        rows = lines(24, seed=seed)
        found = screen(subject, rows, contrast(rows))
        assert found.ranked()[0].unit == head
        effects = unit_effects(subject, rows)
        column = effects.gradient[:, effects.units.index(Unit(*head))]
        weights = contrast(rows).weights
        sides = [column[weights > 0], column[weights < 0]]
        welch = np.sqrt(sum(side.var(ddof=1) / len(side) for side in sides))
        assert found.of(*head).error == pytest.approx(welch, rel=1e-12)
        assert found.of(*head).closing == pytest.approx(sides[1].mean() - sides[0].mean(), rel=1e-12)


def test_an_error_of_one_row_alone_is_not_invented():
    assert weighted_error(np.array([1.0, -0.5, -0.5]), np.ones((3, 1)))[0] == 0.0


def test_a_closed_feed_forward_block_is_what_its_gate_says():
    subject = bert_classifier()
    subject.module.double()
    rows = sentences(8)
    given = halves(rows)
    found = screen(subject, rows, given, feed_forward=True)
    blocks = feed_forward_blocks(subject, subject.encode(rows.take([0])))
    assert blocks == ("bert.encoder.layer.0.output.dense", "bert.encoder.layer.1.output.dense")
    for name in blocks:
        values = []
        for sign in (1, -1):
            with scaled(subject.module, {name: 1 + sign * 1e-5}):
                values.append(float(given.weights @ score(subject, rows)))
        assert found.of(name, None).closing == pytest.approx(-(values[0] - values[1]) / 2e-5, rel=1e-5)
    assert not subject.module.bert.encoder.layer[0].output.dense._forward_hooks


@pytest.mark.parametrize(
    ("family", "settings", "wanted"),
    [
        ("GPT2", {"n_embd": 16, "n_layer": 2, "n_head": 2}, "h.{}.mlp.c_proj"),
        ("Llama", {"hidden_size": 16, "intermediate_size": 40}, "layers.{}.mlp.down_proj"),
        ("Gemma", {"hidden_size": 16, "intermediate_size": 40, "head_dim": 24}, "layers.{}.mlp.down_proj"),
        ("Phi3", {"hidden_size": 16, "intermediate_size": 40}, "layers.{}.mlp.down_proj"),
        ("DistilBert", {"dim": 16, "hidden_dim": 40, "n_layers": 2, "n_heads": 2}, "transformer.layer.{}.ffn.lin2"),
        (
            "Albert",
            {"hidden_size": 16, "intermediate_size": 40, "embedding_size": 8},
            "encoder.albert_layer_groups.0.albert_layers.0.ffn_output",
        ),
        ("T5Encoder", {"d_model": 16, "d_ff": 40, "d_kv": 12, "num_layers": 2, "num_heads": 2},
         "encoder.block.{}.layer.1.DenseReluDense.wo"),
    ],
    ids=lambda value: value if isinstance(value, str) and "." not in value else "",
)  # fmt: skip
def test_feed_forward_blocks_of_families(family, settings, wanted):
    shape = {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2}
    name = family.removesuffix("Encoder")
    config = getattr(transformers, f"{name}Config")(vocab_size=20, pad_token_id=0, **{**shape, **settings})
    kind = f"{family}Model"
    model = getattr(transformers, kind)(config).eval()
    batch = {"input_ids": torch.tensor([[3, 4, 5]])}
    subject = wrap(model, lambda batch: model(**batch).last_hidden_state[:, 0, :1], encode=lambda rows: batch)
    expected = tuple(dict.fromkeys(wanted.format(i) for i in range(2)))
    assert feed_forward_blocks(subject, batch) == expected


class Mixed(nn.Module):
    """Attention, and experts that are one tensor."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(
            [nn.ModuleDict({"attention": nn.MultiheadAttention(8, 2, batch_first=True)})]
        )
        self.experts = nn.Parameter(torch.randn(8, 8))

    def forward(self, x):
        for layer in self.layers:
            x = x + layer["attention"](x, x, x)[0]
        return (x @ self.experts)[:, 0, :1]


def test_what_is_no_feed_forward_block_is_refused_in_words():
    model = Mixed().eval()
    rows = Rows(
        ids=("a", "b"), inputs={"x": np.random.default_rng(0).normal(size=(2, 3, 8)).astype("float32")}
    )
    subject = wrap(model, lambda batch: model(batch["x"]), names=lambda rows: (("t",) * 3,) * len(rows))
    given = Contrast(
        attribute="x", group="a", reference="b", ids=rows.ids, weights=np.array([1.0, -1.0]), n_group=1, n_reference=1
    )  # fmt: skip
    assert len(screen(subject, rows, given).shares) == 2
    with pytest.raises(ModelError, match=r"no feed-forward block is recognised.*feed_forward=False"):
        screen(subject, rows, given, feed_forward=True)
    with pytest.raises(UsageError, match="no module 'layer'"), scaled(model, {"layer": 0.0}):
        pass


def test_windows_of_one_row_belong_to_it_and_other_batches_are_refused():
    model = Mixed().eval()

    def windows(batch):
        x = batch["x"]
        return model(x.reshape(-1, 3, 8)).reshape(len(x), 2).sum(dim=1, keepdim=True)

    data = np.random.default_rng(0).normal(size=(4, 6, 8)).astype("float32")
    rows = Rows(ids=("a", "b", "c", "d"), inputs={"x": data})
    weights = np.array([0.5, -0.5, 0.5, -0.5])
    given = Contrast(
        attribute="x", group="a", reference="b", ids=rows.ids, weights=weights, n_group=2, n_reference=2
    )
    names = lambda rows: (("t",) * 6,) * len(rows)  # noqa: E731
    found = screen(wrap(model, windows, names=names), rows, given)
    exact = screen(wrap(model, windows, names=names), rows, given, last="exact")
    closed = ablated(wrap(model, windows, names=names), rows, [(("layers.0.attention", 0),)], how="zero")
    wanted = weights @ closed[0] - found.value
    assert exact.of("layers.0.attention", 0).closing == pytest.approx(wanted, abs=1e-5)
    alone = wrap(model, lambda batch: model(batch["x"]), names=lambda rows: (("t",) * 3,) * len(rows))
    parts = [dataclasses.replace(rows, inputs={"x": part}) for part in np.split(data, 2, axis=1)]
    wanted = [screen(alone, some, given) for some in parts]
    for i, one in enumerate(found.shares):
        assert one.closing == pytest.approx(sum(half.shares[i].closing for half in wanted), abs=1e-5)
    odd = wrap(model, lambda batch: model(batch["x"][:, :3].repeat(2, 1, 1)[:3])[:2], names=names)
    with pytest.raises(CaptureError, match="2 rows became 3 examples of attention"):
        screen(
            odd, rows.take([0, 1]), dataclasses.replace(given, ids=("a", "b"), weights=np.array([1.0, -1.0]))
        )


def test_refusals():
    subject, _ = guilty(0)
    rows = lines(6)
    given = contrast(rows)
    with pytest.raises(DataError, match=r"another order: 'r5'"):
        screen(subject, rows.take(range(5, -1, -1)), given)
    with pytest.raises(DataError, match="every weight of the contrast is 0"):
        screen(subject, rows, dataclasses.replace(given, weights=np.zeros(6)))
    with pytest.raises(DataError, match="weights are not finite in 'r2'"):
        screen(subject, rows, dataclasses.replace(given, weights=np.array([1, -1, np.nan, 0, 0, 0])))
    with pytest.raises(DataError, match="no rows to screen"):
        unit_effects(subject, rows.take([]))
    with pytest.raises(UsageError, match="toward is 'nothing'"):
        screen(subject, rows, given, toward="nothing")
    with pytest.raises(UsageError, match="last is 'exactly'; did you mean 'exact'"):
        screen(subject, rows, given, last="exactly")
    with pytest.raises(UsageError, match="toward zero only"):
        screen(subject, rows, given, toward="mean", feed_forward=True)
    with pytest.raises(UsageError, match="1 nodes"):
        screen(subject, rows, given, integrated=True, nodes=1)
    with pytest.raises(UsageError, match=r"has no head 9"):
        screen(subject, rows, given).of("encoder.layers.0.attention", 9)
    with pytest.raises(UsageError, match=r"did you mean 'encoder\.layers\.0\.attention'"):
        screen(subject, rows, given).of("encoder.layers.0.attn", 0)
