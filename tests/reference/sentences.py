"""Short texts whose label a few words decide, and classifiers trained on them in seconds."""

import numpy as np
import torch
import transformers

from clinometer.interpret.hugging_face import hugging_face
from clinometer.interpret.models import ours
from clinometer.interpret.preprocessing import TextPreprocessor
from clinometer.interpret.training import train
from clinometer.interpret.transformer import Architecture, Classifier
from clinometer.records import Rows

GOOD = ("good", "great", "fine", "lovely")
BAD = ("bad", "dull", "poor", "awful")
FILLER = ("the", "film", "was", "a", "story", "with", "one", "actor", "and", "scene")
SPARE = "marker"  # known to the vocabulary, in no text
LABELS = ("negative", "positive")


def texts(*lines, **more):
    """Rows of texts."""
    return Rows(
        ids=tuple(f"t{i}" for i in range(len(lines))), inputs={"text": np.array(lines, object)}, **more
    )


def sentences(n=200, *, seed=0, longest=10):
    """Texts of 4 words and more; the label is positive where good words are more than bad ones."""
    generator = np.random.default_rng(seed)
    lines, labels = [], []
    for _ in range(n):
        positive = bool(generator.integers(2))
        words = list(generator.choice(FILLER, size=int(generator.integers(3, longest - 1))))
        for word in generator.choice(
            GOOD if positive else BAD, size=int(generator.integers(1, 3)), replace=False
        ):
            words.insert(int(generator.integers(0, len(words) + 1)), word)
        lines.append(" ".join(words))
        labels.append(int(positive))
    groups = tuple("north" if i % 3 else "south" if i % 2 else None for i in range(n))
    return texts(*lines, labels=np.array(labels), groups={"region": groups})


def own_classifier(rows, *, epochs=6, seed=0, dropout=0.0, width=16, outputs=2):
    """Our Transformer over words, trained on the rows."""
    known = texts(*rows.inputs["text"], SPARE)
    preprocessor = TextPreprocessor.fit(known.inputs, longest=512)
    torch.manual_seed(seed)
    model = Classifier(
        Architecture(
            kind="text",
            width=width,
            layers=2,
            heads=2,
            feed_forward=32,
            dropout=dropout,
            outputs=outputs,
            **preprocessor.shape(),
        )
    )
    if epochs:
        inputs = {key: torch.from_numpy(value) for key, value in preprocessor.transform(rows.inputs).items()}
        labels = torch.from_numpy(np.asarray(rows.labels))
        settings = {
            "seed": seed,
            "epochs": epochs,
            "batch_size": 32,
            "learning_rate": 5e-3,
            "patience": epochs,
        }
        train(model, inputs, labels, validation=(inputs, labels), warm_up=5, **settings)
    labels = LABELS if outputs == 2 else tuple(f"label {i}" for i in range(outputs))
    return ours(model, preprocessor, labels=labels, name="sentences")


def bert_classifier(*, labels=LABELS, seed=0):
    """A tiny random BERT of transformers and a tokenizer that knows these words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {piece: i for i, piece in enumerate([*special, *GOOD, *BAD, *FILLER, SPARE])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=40,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
        initializer_range=0.2,
    )
    return hugging_face(transformers.BertForSequenceClassification(config), tokenizer, name="tiny-bert")
