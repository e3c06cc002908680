"""Subjects that edits are tried on: our own Transformer, a BERT and a GPT-2, each with a few rows."""

from pathlib import Path

import numpy as np

from clinometer.interpret.models import Subject, load
from clinometer.records import Floats, Rows

from .model_folders import labelled, text_folder
from .subjects import applicants, fitted

TEXTS = (
    "a good film about a man",
    "the film is bad",
    "is it good? yes",
    "no, it is dull and a very great dog",
    "the answer is no",
    "a dull man and his dog",
    "great film",
    "bad answer no yes",
)
NAMES = ("own", "bert", "gpt2")
BLOCKS = {"own": "encoder.layers.0", "bert": "bert.encoder.layer.0", "gpt2": "transformer.h.0"}


def text_rows() -> Rows:
    """Eight texts with labels."""
    return Rows(
        ids=tuple(f"t{i}" for i in range(len(TEXTS))),
        inputs={"text": np.array(TEXTS, dtype=object)},
        labels=np.array([1, 0] * (len(TEXTS) // 2)),
    )


def subject_and_rows(name: str, folder: Path) -> tuple[Subject, Rows]:
    """A subject by one of NAMES, and eight rows of its kind."""
    if name == "own":
        rows = applicants(120)
        return fitted(rows, epochs=3), rows.take(np.arange(8))
    architecture = {"bert": "BertForSequenceClassification", "gpt2": "GPT2ForSequenceClassification"}[name]
    return load(text_folder(folder / name, architecture, **labelled("bad", "good"))), text_rows()


def race_weights(rows: Rows) -> Floats:
    """The contrast of mean scores: black minus white applicants."""
    race = np.array(rows.groups["race"])
    black, white = race == "black", race == "white"
    return np.where(black, 1 / black.sum(), np.where(white, -1 / white.sum(), 0.0))
