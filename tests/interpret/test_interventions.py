"""Many interventions at once give what each gives alone, and run no more of the model than they must."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from clinometer.errors import DataError, UsageError
from clinometer.interpret.capture import trace
from clinometer.interpret.gates import Edge, Intervention, Mean, gates
from clinometer.interpret.interventions import every_head, intervene
from clinometer.interpret.models import Subject, ours, score
from clinometer.interpret.preprocessing import TextPreprocessor
from clinometer.interpret.transformer import Architecture, Classifier
from clinometer.records import Rows

transformers = pytest.importorskip("transformers", reason="transformers is not installed")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


IDS = torch.tensor([[5, 6, 7, 8, 9], [3, 4, 5, 0, 0], [9, 8, 7, 6, 0]])
SHAPE: dict[str, Any] = {
    "hidden_size": 16,
    "num_attention_heads": 2,
    "num_hidden_layers": 3,
    "intermediate_size": 16,
}


def subject(kind: str) -> Subject:
    """A model with a head of two labels whose rows are places in IDS."""
    small = {**SHAPE, "vocab_size": 30, "num_labels": 2, "pad_token_id": 0}
    if kind == "bert":
        model = transformers.BertForSequenceClassification(transformers.BertConfig(**small))
    elif kind == "llama":
        model = transformers.LlamaForSequenceClassification(transformers.LlamaConfig(**small))
    elif kind == "albert":
        model = transformers.AlbertForSequenceClassification(
            transformers.AlbertConfig(**small, embedding_size=8)
        )
    elif kind == "gpt2":
        model = transformers.GPT2ForSequenceClassification(
            transformers.GPT2Config(
                n_embd=16, n_layer=3, n_head=2, vocab_size=30, n_positions=8, num_labels=2, pad_token_id=0
            )
        )
    else:
        model = transformers.BartForSequenceClassification(
            transformers.BartConfig(
                d_model=16,
                encoder_layers=2,
                decoder_layers=2,
                encoder_attention_heads=2,
                decoder_attention_heads=2,
                encoder_ffn_dim=16,
                decoder_ffn_dim=16,
                vocab_size=30,
                max_position_embeddings=8,
                num_labels=2,
                pad_token_id=0,
                eos_token_id=9,
            )
        )
    model = model.double().eval()

    def encode(rows: Rows) -> dict[str, Tensor]:
        ids = IDS[torch.as_tensor(rows.inputs["place"].astype(int))]
        if kind == "bart":
            ids = torch.cat([ids.where(ids != 9, 2), torch.full((len(ids), 1), 9)], dim=1)  # one end each
        return {"input_ids": ids, "attention_mask": (ids > 0).long()}

    def forward(batch: Any, embedded: Tensor | None) -> Tensor:
        logits: Tensor = model(**batch).logits
        return logits

    return Subject(
        name=kind,
        module=model,
        labels=("no", "yes"),
        positive=1,
        threshold=0.0,
        baseline="none",
        prefix=(),
        columns=("place",),
        encode=encode,
        names=lambda rows: (("a",) * 5,) * len(rows),
        embed=lambda batch: batch["input_ids"],
        reference=lambda batch: batch["input_ids"],
        forward=forward,
        device=torch.device("cpu"),
    )


ROWS = Rows(ids=("a", "b", "c"), inputs={"place": np.arange(3)})
every = pytest.mark.parametrize("kind", ["bert", "llama", "gpt2", "bart", "albert"])


def wanted(of: Subject) -> list[Intervention]:
    heads = list(every_head(of, ROWS).values())
    layer = next(iter(heads[-1].heads))[0]
    two = Intervention(heads={(1, 0): 0.5, (layer, None): 0.0})
    return [*heads, two, Intervention(), Intervention(cut=(Edge(layer=1, key=1, query=2, head=0),))]


@every
def test_together_and_alone_give_the_same(kind: str) -> None:
    of = subject(kind)
    some = wanted(of)
    together = intervene(of, ROWS, some, batch_size=2, together=3)
    assert together.shape == (len(some), 3)
    assert np.allclose(together, intervene(of, ROWS, some, share_prefix=False), atol=1e-12, rtol=0)
    alone = []
    for one in some:
        with gates(of, one.heads, cut=one.cut):
            alone.append(score(of, ROWS))
    assert np.allclose(together, alone, atol=1e-12, rtol=0)
    plain = score(of, ROWS)
    assert np.allclose(together[-2], plain, atol=1e-12, rtol=0)
    assert (np.abs(together - plain).max(axis=1) > 1e-9).sum() == len(
        some
    ) - 1  # control: every other one changes


def runs(of: Subject, *names: str) -> Counter[str]:
    """How often parts of a model compute: their linear layers, since a stand-in answers for a block."""
    counted: Counter[str] = Counter()
    for name in names:
        part = dict(of.module.named_modules())[name]
        linear = next(inner for inner in part.modules() if isinstance(inner, nn.Linear))
        linear.register_forward_hook(lambda *_, name=name: counted.update([name]))
    return counted


def test_only_blocks_from_the_first_change_on_are_run_again() -> None:
    of = subject("bert")
    blocks = [f"bert.encoder.layer.{i}" for i in range(3)]
    last = [Intervention(heads={(2, head): 0.0}) for head in range(2)]
    middle = [Intervention(heads={(1, head): 0.0}) for head in range(2)]
    counted = runs(of, *blocks)
    intervene(of, ROWS, [*last, *middle])
    # One clean run; one run from block 1 on; one run of block 2 alone.
    assert [counted[block] for block in blocks] == [1, 2, 3]
    counted.clear()
    intervene(of, ROWS, [*last, *middle], share_prefix=False)
    assert [counted[block] for block in blocks] == [3, 3, 3]
    assert all("forward" not in part.__dict__ for part in of.module.modules())


def test_the_whole_encoder_is_kept_where_the_change_is_in_the_decoder() -> None:
    of = subject("bart")
    names = ["model.encoder.layers.0", "model.encoder.layers.1", "model.decoder.layers.0"]
    counted = runs(of, *names)
    intervene(of, ROWS, [Intervention(heads={("model.decoder.layers.1.encoder_attn", 0): 0.0})])
    assert [counted[name] for name in names] == [1, 1, 1]


def test_values_from_a_trace() -> None:
    of = subject("bert")
    batch = of.encode(ROWS)
    seen = trace(lambda: of.forward(batch, None), of.module)
    mean = every_head(of, ROWS, Mean(seen))
    together = intervene(of, ROWS, list(mean.values()), together=2)
    with gates(of, {(2, 1): Mean(seen)}):
        assert np.allclose(together[-1], score(of, ROWS), atol=1e-12, rtol=0)
    assert list(mean) == [
        (f"bert.encoder.layer.{i}.attention.self", head) for i in range(3) for head in (0, 1)
    ]


def test_our_classifier_too() -> None:
    texts = np.array(["good film", "bad long film", "film"], dtype=object)
    preprocessor = TextPreprocessor.fit({"text": texts})
    model = Classifier(
        Architecture(
            kind="text",
            width=16,
            heads=2,
            layers=2,
            feed_forward=16,
            vocabulary=len(preprocessor.words) + 3,
            positions="learned",
        )
    )
    of = ours(model, preprocessor, labels=("bad", "good"))
    rows = Rows(ids=("a", "b", "c"), inputs={"text": texts})
    some = list(every_head(of, rows).values())
    assert np.allclose(intervene(of, rows, some), intervene(of, rows, some, share_prefix=False), atol=1e-6)


def test_refusals() -> None:
    of = subject("bert")
    with pytest.raises(DataError, match="no rows"):
        intervene(of, ROWS.take([]), [])
    with pytest.raises(UsageError, match="expected 1 or more"):
        intervene(of, ROWS, [], together=0)
    with pytest.raises(UsageError, match=r"did you mean 'bert\.encoder"):
        intervene(of, ROWS, [Intervention(heads={("bert.encoder.layer.0.attention.slef", 0): 0.0})])
    with pytest.raises(UsageError, match="call 3 does not exist"):
        intervene(of, ROWS, [Intervention(heads={(3, 0): 0.0})])
