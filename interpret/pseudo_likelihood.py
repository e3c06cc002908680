"""Pseudo-log-likelihoods of sentences under a masked language model: each token predicted from all the others."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import DataError, ModelError, first
from ..records import Rows
from .float64 import in_float64
from .hugging_face import task_of
from .models import check_finite, pick_device
from .text_subjects import Run
from .texts import Encoded, Texts, read_tokenizer
from .weights import check_weights, dtype_named, read_model, read_settings

TASK = "masked language model"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MaskedLanguageModel:
    """A masked language model and its tokenizer, ready to score sentences."""

    name: str
    texts: Texts
    run: Run
    mask: int  # the mask token's number
    device: torch.device


def masked_language_model(
    folder_or_model: str | Path | tuple[Any, Any],
    *,
    device: str = "cpu",
    dtype: str = "float32",
    name: str = "model",
) -> MaskedLanguageModel:
    """A model that `pseudo_log_likelihood` can score with.

    Args:
        folder_or_model: a folder that transformers saved, read as `clinometer.load` reads it (safetensors only, no
            code of the folder is run); or a model and its tokenizer, which stay where they are.
        device, dtype: of a folder's model; see `clinometer.load`.
        name: of a model in memory.

    Raises:
        ModelError: the folder cannot be read or is of another kind, the model has no masked-language head, or the
            tokenizer no mask token.
    """
    if isinstance(folder_or_model, tuple):
        model, tokenizer = folder_or_model
        model = model.eval()
        where = model.device
    else:
        import transformers

        path = Path(folder_or_model)
        if not path.is_dir():
            raise ModelError(f"{path} is not a folder. Name the folder that holds the model's files.")
        name = path.name
        settings = read_settings(path / "config.json")
        architectures = [str(one) for one in settings.get("architectures") or []]
        kind = task_of(path, architectures, None).name
        if kind != TASK:
            raise ModelError(f"{path} is a model for {kind}; a {TASK} is expected.")
        check_weights(path, architecture=(architectures or ["AutoModelForMaskedLM"])[0])
        where = pick_device(device)
        model = read_model(path, transformers.AutoModelForMaskedLM, dtype=dtype_named(dtype), device_map=None)
        model = model.to(where)
        tokenizer = read_tokenizer(path)
    if tokenizer.mask_token_id is None:
        raise ModelError(
            f"the tokenizer of {name} has no mask token, which a pseudo-likelihood replaces each token by. A causal model "
            "has a likelihood of its own."
        )
    if bool(model.config.is_encoder_decoder) or model.get_output_embeddings() is None:
        raise ModelError(
            f"{name} ({type(model).__name__}) is no masked language model: it predicts no token in its place."
        )
    texts = Texts(tokenizer, model, name, cut=False)
    return MaskedLanguageModel(
        name=name, texts=texts, run=Run(model), mask=int(tokenizer.mask_token_id), device=where
    )


def pseudo_log_likelihood(
    model: MaskedLanguageModel, sentences: Sequence[str], *, batch_size: int = 64
) -> Float[np.ndarray, " sentence"]:
    """Sum over the tokens of each sentence of log P(token | all others), (sentence,), natural logarithm.

    One token is masked at a time (Salazar et al. 2020, eq. 2; Wang & Cho 2019); markers of begin and end never are, and a
    token that the tokenizer does not know is scored as the unknown token. Longer
    sentences have lower scores: compare sentences of the same tokens but a few, or see `pair_scores`.

    Args:
        batch_size: masked copies that run at once.

    Raises:
        DataError: no sentences, an empty one, or one that is too long for the model.
    """
    encoded = _encoded(model, sentences)
    return _scored(model, encoded, [_own(model, one) for one in encoded], _ids(sentences), batch_size)


def pair_scores(
    model: MaskedLanguageModel,
    first_sentences: Sequence[str],
    second_sentences: Sequence[str],
    *,
    batch_size: int = 64,
) -> tuple[Float[np.ndarray, " pair"], Float[np.ndarray, " pair"]]:
    """log P(unmodified tokens | modified ones, the other unmodified tokens) of both sentences of each pair.

    The tokens that both sentences share, by the longest matching blocks of `difflib`, are masked one at a time and
    their log-probabilities added up (Nangia et al. 2020, eq. 1), so that how frequent a name or an identity word is
    does not count. The two scores are of the same tokens.

    Returns:
        (pair,) each, natural logarithms; what `bias.stereotypes.crows_pairs` takes.

    Raises:
        DataError: lists of different lengths, two equal sentences, or a pair that shares no token.
    """
    if len(first_sentences) != len(second_sentences):
        raise DataError(
            f"{len(first_sentences)} and {len(second_sentences)} sentences; one of each is expected."
        )
    one, other = _encoded(model, first_sentences), _encoded(model, second_sentences)
    equal = [i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a["input_ids"] == b["input_ids"]]
    if equal:
        raise DataError(
            f"{len(equal)} pairs hold the same tokens twice, at {first(equal)}, counted from 0: nothing was changed, or the "
            "tokenizer knows neither word."
        )
    kept: tuple[list[list[int]], list[list[int]]] = ([], [])
    for a, b in zip(one, other, strict=True):
        own = set(_own(model, a)), set(_own(model, b))
        blocks = difflib.SequenceMatcher(
            None, a["input_ids"], b["input_ids"], autojunk=False
        ).get_matching_blocks()
        places = [(i + k, j + k) for i, j, size in blocks for k in range(size)]
        places = [(i, j) for i, j in places if i in own[0] and j in own[1]]
        kept[0].append([i for i, _ in places])
        kept[1].append([j for _, j in places])
    nothing = [i for i, places_of in enumerate(kept[0]) if not places_of]
    if nothing:
        raise DataError(
            f"{len(nothing)} pairs share no token, at {first(nothing)}, counted from 0: there is nothing to compare them by."
        )
    ids = _ids(first_sentences)
    return (
        _scored(model, one, kept[0], ids, batch_size),
        _scored(model, other, kept[1], ids, batch_size),
    )


def _ids(sentences: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(i) for i in range(len(sentences)))


def _encoded(model: MaskedLanguageModel, sentences: Sequence[str]) -> list[Encoded]:
    if isinstance(sentences, str) or not len(sentences):
        raise DataError("one sentence or none is given; a list of sentences is expected.")
    wrong = [i for i, one in enumerate(sentences) if not str(one).strip()]
    if wrong:
        raise DataError(f"{len(wrong)} sentences are empty, at {first(wrong)}, counted from 0.")
    return model.texts.encode(Rows(ids=_ids(sentences), inputs={"text": np.array(sentences, dtype=object)}))


def _own(model: MaskedLanguageModel, encoded: Encoded) -> list[int]:
    """Positions of the sentence's tokens: all but markers of begin and end."""
    markers = model.texts.tokenizer.get_special_tokens_mask(
        encoded["input_ids"], already_has_special_tokens=True
    )
    unknown = model.texts.tokenizer.unk_token_id
    return [
        i
        for i, (number, marker) in enumerate(zip(encoded["input_ids"], markers, strict=True))
        if not marker or number == unknown
    ]


@torch.no_grad()
def _scored(
    model: MaskedLanguageModel,
    encoded: Sequence[Encoded],
    places: Sequence[Sequence[int]],
    ids: tuple[str, ...],
    batch_size: int,
) -> Float[np.ndarray, " sentence"]:
    """Sums of log P at these places of each sentence. Copies run in order of length, so that little is padding."""
    if batch_size < 1:
        raise ModelError(f"batch_size is {batch_size}, expected 1 or more.")
    copies = [(i, place) for i, listed in enumerate(places) for place in listed]
    copies.sort(key=lambda copy: len(encoded[copy[0]]["input_ids"]))
    made: Any = np.zeros((len(encoded), max(len(one["input_ids"]) for one in encoded)))
    for start in range(0, len(copies), batch_size):
        part = copies[start : start + batch_size]
        batch = model.texts.batch([encoded[i] for i, _ in part], model.device)
        rows = torch.arange(len(part), device=model.device)
        position = torch.tensor([place for _, place in part], device=model.device)
        truth = batch["input_ids"][rows, position].clone()
        batch["input_ids"][rows, position] = model.mask
        logits: Tensor = model.run.at({**batch, "position": position}, None)
        likely = in_float64(logits).log_softmax(dim=1)
        chance = likely[rows.to(likely.device), truth.to(likely.device)].cpu().numpy()
        for (i, place), value in zip(part, chance.tolist(), strict=True):
            made[i, place] = value
    sums = made.sum(axis=1)
    check_finite(sums, ids, model.name)
    return np.asarray(sums, dtype=np.float64)
