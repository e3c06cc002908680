"""Classifiers of texts, and of tokens in them, as Subjects."""

import inspect
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import DataError, ModelError, first
from ..records import Rows
from .models import Batch, Subject, difference, label_index
from .replacing import replaced
from .texts import Texts

OWN = frozenset({"position", "chosen"})  # entries of a batch that are ours, not the model's
OUTSIDE = "O"  # a tagger's label of a token that is nothing in particular
WAYS = ("the model's own choice", "mean of the others")


def against_the_rest(
    logits: Float[Tensor, "example label"], chosen: Int[Tensor, " example"]
) -> Float[Tensor, "example 2"]:
    """The logit of the label chosen, and the mean logit of all others."""
    one = logits.gather(1, chosen.to(logits.device)[:, None])[:, 0]
    rest = (logits.sum(dim=1) - one) / (logits.shape[1] - 1)
    return torch.stack([one, rest], dim=1)


def widened(logits: Tensor) -> Tensor:
    """Logits in float32 at least: differences of half-precision numbers would be rounded twice."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


class Run:
    """Runs a model on a batch, from embeddings where given; token numbers stay known to it."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.pair = bool(model.config.is_encoder_decoder)
        part = model.get_encoder() if self.pair else model
        self.table = part.get_input_embeddings()
        accepted = inspect.signature(model.forward).parameters
        # Over several devices the positions to keep would lie on another one than the states they pick from.
        several = len(set(getattr(model, "hf_device_map", {}).values())) > 1
        self.accepts_fewer = "logits_to_keep" in accepted and not several
        self.always = {"use_cache": False} if "use_cache" in accepted else {}

    def embed(self, batch: Batch) -> Tensor:
        """(example, token, width): the table's vectors of the tokens, before positions are added."""
        embedded: Tensor = self.table(batch["input_ids"])
        return embedded

    def reference(self, texts: Texts) -> Callable[[Batch], Tensor]:
        """The baseline's embeddings of a batch."""

        def made(batch: Batch) -> Tensor:
            neutral: Tensor = self.table(texts.neutral(batch["input_ids"], batch["attention_mask"]))
            return neutral

        return made

    def __call__(self, batch: Batch, embedded: Tensor | None, **more: Any) -> Tensor:
        inputs = {key: value for key, value in batch.items() if key not in OWN}
        with replaced(self.table, embedded) if embedded is not None else nullcontext():
            logits: Tensor = self.model(**inputs, **self.always, **more).logits
        return widened(logits)

    def filled(self, batch: Batch, number: int) -> Tensor:
        """The embeddings of a batch with one token everywhere."""
        made: Tensor = self.table(torch.full_like(batch["input_ids"], number))
        return made

    def at(self, batch: Batch, embedded: Tensor | None) -> Tensor:
        """The logits at each row's position (example, vocabulary), or its positions (example, position, vocabulary)."""
        position: Any = batch["position"]
        rows = torch.arange(len(position), device=position.device)
        rows = rows if position.dim() == 1 else rows[:, None]
        if self.accepts_fewer:
            kept, where = position.unique(return_inverse=True)
            logits = self(batch, embedded, logits_to_keep=kept)
            return logits[rows.to(logits.device), where.to(logits.device)]
        logits = self(batch, embedded)
        return logits[rows.to(logits.device), position.to(logits.device)]


def sequence_classifier(
    model: Any, texts: Texts, *, labels: tuple[str, ...], positive: str | None, **common: Any
) -> Subject:
    """One label per text. Inputs are in the column `text`.

    An encoder-decoder classifier reads the text twice; both readings are explained as one.
    """
    run = Run(model)
    decoder = model.get_decoder().get_input_embeddings() if run.pair else None

    def forward(batch: Batch, embedded: Tensor | None) -> Tensor:
        if decoder is None or embedded is None:
            return run(batch, embedded)
        with torch.no_grad():
            start = decoder(_shifted(model, batch["input_ids"])[:, :1]).expand(len(embedded), -1, -1)
        again = torch.cat([start.to(embedded.dtype), embedded[:, :-1]], dim=1)
        if decoder is run.table:
            with replaced(decoder, embedded, again):
                return run(batch, None)
        with replaced(decoder, again):
            return run(batch, embedded)

    return Subject(
        labels=labels,
        positive=label_index(labels, positive),
        encode=lambda rows: texts.batch(texts.encode(rows), common["device"]),
        embed=run.embed,
        filled=run.filled,
        reference=run.reference(texts),
        forward=forward,
        decoder_names=_twice(model, texts) if run.pair else None,
        **of_texts(model, texts, common),
    )


def _shifted(model: Any, ids: Tensor) -> Tensor:
    start = model.config.decoder_start_token_id
    if start is None:
        raise ModelError("the model names no decoder_start_token_id, so its decoder cannot begin.")
    return torch.cat([torch.full_like(ids[:, :1], start), ids[:, :-1]], dim=1)


def _twice(model: Any, texts: Texts) -> Callable[[Rows], tuple[tuple[str, ...], ...]]:
    start = texts.tokens([model.config.decoder_start_token_id])
    return lambda rows: tuple((*start, *names[:-1]) for names in texts.names(rows))


def token_classifier(
    model: Any, texts: Texts, *, labels: tuple[str, ...], positive: str | None, **common: Any
) -> Subject:
    """One label per token, of which one token per text is asked about.

    The token is the one at the row's `position` (its place in `names`, special tokens counted) where the rows
    have that column; else the first whose most likely label is not "O"; else the first that is not special.
    """
    run = Run(model)
    outside = labels.index(OUTSIDE) if OUTSIDE in labels else None
    asked = label_index(labels, positive) if positive is not None else None

    @torch.no_grad()
    def encode(rows: Rows) -> Batch:
        encoded = texts.encode(rows)
        batch = texts.batch(encoded, common["device"])
        given = _given_positions(rows, [len(row["input_ids"]) for row in encoded])
        if given is not None and asked is not None:
            return {**batch, "position": given.to(common["device"])}
        logits = run(batch, None)
        best = logits.argmax(dim=2)
        position = given if given is not None else _first_named(best, batch, texts, outside)
        position = position.to(best.device)
        chosen = best[torch.arange(len(best), device=best.device), position]
        return {**batch, "position": position} | ({} if asked is not None else {"chosen": chosen})

    def forward(batch: Batch, embedded: Tensor | None) -> Tensor:
        logits = run.at(batch, embedded)
        return logits if asked is not None else against_the_rest(logits, batch["chosen"])

    where = (
        "at the row's position, or the first token labelled other than O"
        if outside is not None
        else "at the token asked"
    )
    own = f"logit of the token's own most likely label - mean logit of the other {len(labels) - 1} labels"
    return Subject(
        labels=labels if asked is not None else WAYS,
        whole=run.at if asked is None else None,
        optional=("position",),
        positive=asked or 0,
        says=f"{own if asked is None else difference(labels, asked)}, {where}",
        encode=encode,
        embed=run.embed,
        filled=run.filled,
        reference=run.reference(texts),
        forward=forward,
        **of_texts(model, texts, common),
    )


def _given_positions(rows: Rows, lengths: Sequence[int]) -> Tensor | None:
    if "position" not in rows.inputs:
        return None
    given = np.asarray(rows.inputs["position"])
    if given.dtype.kind not in "iu":
        raise DataError(
            f"the column 'position' holds {given.dtype}; whole numbers, places in names(rows), are expected."
        )
    wrong = [i for i, n in enumerate(lengths) if not 0 <= int(given[i]) < n]
    if wrong:
        i = wrong[0]
        raise DataError(
            f"{len(wrong)} rows ask for a position their text does not have, first {first(rows.ids[j] for j in wrong)}: "
            f"{rows.ids[i]!r} asks for {int(given[i])} and has tokens 0 to {lengths[i] - 1}."
        )
    return torch.from_numpy(given.astype(np.int64))


def _first_named(best: Tensor, batch: Batch, texts: Texts, outside: int | None) -> Tensor:
    special = torch.tensor(texts.special, device=best.device)
    ids, mask = batch["input_ids"].to(best.device), batch["attention_mask"].to(best.device)
    word = ~torch.isin(ids, special) & (mask == 1)
    named = word if outside is None else word & (best != outside)
    pick = torch.where(named.any(dim=1, keepdim=True), named, word)
    return pick.long().argmax(dim=1)


def of_texts(model: Any, texts: Texts, common: dict[str, Any]) -> dict[str, Any]:
    """What all text Subjects share."""
    return {
        "module": model,
        "threshold": 0.0,
        "baseline": texts.baseline,
        "prefix": (),
        "special": texts.special_names,
        "columns": ("text",),
        "names": texts.names,
        "decode": lambda numbers: texts.tokens([int(n) for n in numbers]),
        "fillers": texts.fillers,
        "characters": texts.characters,
        **common,
    }
