"""Language models as Subjects: causal, masked and sequence-to-sequence, asked for one token."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import DataError, ModelError, first
from ..records import Rows
from .models import Batch, Subject, difference, label_index
from .text_subjects import WAYS, Run, against_the_rest, of_texts
from .texts import Encoded, Texts

DECODER_PLACE = "next token of the decoder (its first, or the one after target_text)"


def causal_model(
    model: Any, texts: Texts, *, candidates: tuple[str, ...] | None, positive: str | None, **common: Any
) -> Subject:
    """A decoder, asked for the token that comes next after the text in the column `text`."""
    run = Run(model)
    return _language(
        model,
        texts,
        run,
        candidates,
        positive,
        place="next token after the text",
        encode=lambda rows, encoded, batch: {**batch, "position": batch["attention_mask"].sum(dim=1) - 1},
        common=common,
    )


def masked_model(
    model: Any, texts: Texts, *, candidates: tuple[str, ...] | None, positive: str | None, **common: Any
) -> Subject:
    """An encoder, asked for the token at the one mask token of the text in the column `text`."""
    run = Run(model)
    mask = texts.tokenizer.mask_token_id
    if mask is None:
        raise ModelError("the tokenizer has no mask token, which a masked language model is asked at.")

    def encode(rows: Rows, encoded: list[Encoded], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        counts = [row["input_ids"].count(mask) for row in encoded]
        wrong = [rows.ids[i] for i, n in enumerate(counts) if n != 1]
        if wrong:
            raise DataError(
                f"{len(wrong)} texts do not hold {texts.tokenizer.mask_token} exactly once; first rows: {first(wrong)}. Put "
                "it where the model is to fill in a token."
            )
        return {**batch, "position": (batch["input_ids"] == mask).long().argmax(dim=1)}

    return _language(
        model,
        texts,
        run,
        candidates,
        positive,
        place=f"at {texts.tokenizer.mask_token}",
        encode=encode,
        common=common,
    )


def sequence_to_sequence(
    model: Any, texts: Texts, *, candidates: tuple[str, ...] | None, positive: str | None, **common: Any
) -> Subject:
    """An encoder and a decoder, asked for the decoder's next token.

    The encoder reads the column `text`. The decoder reads its start token (and the first token that `generate`
    forces, where the folder names one), then the column `target_text` where the rows have it.
    """
    run = Run(model)

    def prefixes(rows: Rows) -> list[list[int]]:
        start = decoder_start(model)
        if "target_text" not in rows.inputs:
            return [start] * len(rows)
        given = texts.tokenizer(
            text_target=texts.texts(rows, "target_text"),
            add_special_tokens=False,
            return_attention_mask=False,
        )
        return [[*start, *(int(n) for n in ids)] for ids in given["input_ids"]]

    def encode(rows: Rows, encoded: list[Encoded], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {**batch, **decoder_batch(texts, prefixes(rows), common["device"])}

    return _language(
        model,
        texts,
        run,
        candidates,
        positive,
        place=DECODER_PLACE,
        encode=encode,
        common=common,
        decoder_names=lambda rows: tuple(texts.tokens(row) for row in prefixes(rows)),
    )


def decoder_start(model: Any) -> list[int]:
    """The token numbers that a decoder begins with when it generates.

    Raises:
        ModelError: the model names no start token.
    """
    settings = getattr(model, "generation_config", None) or model.config
    start = getattr(settings, "decoder_start_token_id", None)
    for other in (model.config.decoder_start_token_id, getattr(settings, "bos_token_id", None)):
        start = other if start is None else start
    if not isinstance(start, int):
        raise ModelError("the model names no decoder_start_token_id, so its decoder cannot begin.")
    forced = getattr(settings, "forced_bos_token_id", None)
    return [start] if forced is None else [start, int(forced)]


def decoder_batch(texts: Texts, prefixes: Sequence[Sequence[int]], device: torch.device) -> dict[str, Tensor]:
    """What a decoder reads, padded on the right, and the last real position of each row."""
    ones = [[1] * len(row) for row in prefixes]
    mask = texts.padded(ones, 0, device)
    return {
        "decoder_input_ids": texts.padded(prefixes, texts.padding or 0, device),
        "decoder_attention_mask": mask,
        "position": mask.sum(dim=1) - 1,
    }


def _language(
    model: Any,
    texts: Texts,
    run: Run,
    candidates: tuple[str, ...] | None,
    positive: str | None,
    *,
    place: str,
    encode: Callable[[Rows, list[Encoded], dict[str, Tensor]], dict[str, Tensor]],
    common: dict[str, Any],
    decoder_names: Callable[[Rows], tuple[tuple[str, ...], ...]] | None = None,
) -> Subject:
    """A language model asked at one position: candidates against each other, or its own choice against the rest."""
    question = Question.asked(texts, candidates, positive)
    n_tokens = int(model.config.get_text_config().vocab_size)

    def made(rows: Rows) -> Batch:
        encoded = texts.encode(rows)
        batch = encode(rows, encoded, texts.batch(encoded, common["device"]))
        return question.with_choice(batch, run.at)

    return Subject(
        labels=question.labels,
        positive=question.positive,
        says=question.words(n_tokens, place),
        encode=made,
        embed=run.embed,
        filled=run.filled,
        whole=run.at,
        numbers=question.numbers,
        spell=texts.spell,
        reference=run.reference(texts),
        forward=lambda batch, embedded: question.select(run.at(batch, embedded), batch),
        decoder_names=decoder_names,
        optional=() if decoder_names is None else ("target_text",),
        **of_texts(model, texts, common),
    )


class Question:
    """What a language model is asked at one position: which of the candidates, or how sure of its own choice."""

    def __init__(self, labels: tuple[str, ...], positive: int, numbers: tuple[int, ...]) -> None:
        self.labels, self.positive, self.numbers = labels, positive, numbers

    @classmethod
    def asked(cls, texts: Texts, candidates: tuple[str, ...] | None, positive: str | None) -> "Question":
        """The question, with candidates looked up.

        Raises:
            ModelError: fewer than two candidates, one twice, one that is several tokens, or `positive` is none.
        """
        if candidates is None:
            if positive is not None:
                raise ModelError(
                    f"positive={positive!r} names no label of a language model. Name the words to compare: "
                    f"candidates=({positive!r}, ...)."
                )
            return cls(WAYS, 0, ())
        numbers = tuple(texts.one_token(word) for word in candidates)
        if len(numbers) < 2 or len(set(numbers)) != len(numbers):
            raise ModelError(
                f"candidates={candidates!r}: two or more different words are expected, each one token of the model."
            )
        return cls(candidates, 0 if positive is None else label_index(candidates, positive), numbers)

    def words(self, n_tokens: int, place: str) -> str:
        """The target, in words."""
        if self.numbers:
            return f"{difference(self.labels, self.positive)}, {place}"
        return f"logit of the model's own most likely token - mean logit of the other {n_tokens - 1}, {place}"

    @torch.no_grad()
    def with_choice(self, batch: Batch, run: Callable[[Batch, Tensor | None], Tensor]) -> Batch:
        """The batch with the model's own choice, made once on the true input, so that it is one target everywhere."""
        return batch if self.numbers else {**batch, "chosen": run(batch, None).argmax(dim=1)}

    def select(self, logits: Tensor, batch: Batch) -> Tensor:
        """(example, vocabulary) -> (example, label)."""
        if self.numbers:
            return logits[:, torch.tensor(self.numbers, device=logits.device)]
        return against_the_rest(logits, batch["chosen"])
