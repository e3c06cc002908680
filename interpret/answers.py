"""Answers of language models as targets: the log-probability of a whole text, and of each generated token."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import DataError, ModelError, UsageError, first
from ..records import Attribution, Rows
from .generation import TASKS, generated
from .methods import DEFAULT, attribute
from .models import Batch, Subject

SCALES = {"log-probability": "nat", "logit difference": "logit"}


def answering(
    subject: Subject,
    answers: Mapping[str, str | Sequence[int]],
    *,
    target: str = "log-probability",
    last: bool = False,
) -> Subject:
    """The same language model, asked how likely it is to continue each row with a given answer.

    Causal models read the text and the answer behind it; encoder-decoder models read the text, and their decoder
    its start and the answer. The answer is given, not explained: its tokens keep their embeddings in the baseline
    and so get nothing. Its own last token is predicted and not read.

    Args:
        subject: a causal or a sequence-to-sequence model loaded with `clinometer.load`.
        answers: row id -> a text (begin it with a space where the tokenizer's words do), or token numbers.
        target: "log-probability": the sum of log p(token | everything before) in nats, the log-probability of the
            answer; "logit difference": the sum over its tokens of logit(token) - mean of the other logits.
        last: of the answer's last token only, given those before it.

    Raises:
        ModelError: the subject is of another kind.
        UsageError: no such target.
        DataError: a row without an answer, or an answer without a token.
    """
    whole, spell = subject.whole, subject.spell
    if subject.task not in TASKS or whole is None or spell is None:
        raise ModelError(
            f"{subject.name} is for {subject.task}; an answer is a target of a {' or '.join(TASKS)} model that "
            "clinometer.load read."
        )
    if target not in SCALES:
        raise UsageError(f"an answer has no target {target!r}; expected one of {first(SCALES)}.")
    paired = subject.decoder_names is not None

    def numbers(rows: Rows) -> list[list[int]]:
        missing = [name for name in rows.ids if name not in answers]
        if missing:
            raise DataError(f"{len(missing)} rows have no answer; first rows: {first(missing)}.")
        given = [answers[name] for name in rows.ids]
        made = [spell([one])[0] if isinstance(one, str) else [int(n) for n in one] for one in given]
        empty = [name for name, row in zip(rows.ids, made, strict=True) if not row]
        if empty:
            raise DataError(f"{len(empty)} answers have no token; first rows: {first(empty)}.")
        return made

    def encode(rows: Rows) -> Batch:
        made = _continued(subject.encode(rows), numbers(rows), last=last, paired=paired)
        longest, width = subject.provenance.get("longest_text"), made["given"].shape[1]
        if longest is not None and width > longest:
            raise DataError(
                f"a text and its answer have {width} tokens together, {subject.name} reads {longest}; first rows of the "
                f"batch: {first(rows.ids)}. Shorten them."
            )
        return made

    def forward(batch: Batch, embedded: Tensor | None) -> Tensor:
        asked = {key: value for key, value in batch.items() if key not in ("answer", "counted", "given")}
        logits = whole(asked, embedded)
        answer, counted = batch["answer"].to(logits.device), batch["counted"].to(logits.device)
        if target == "log-probability":
            logits = logits.log_softmax(dim=2)
        one = logits.gather(2, answer[:, :, None])[:, :, 0]
        if target == "logit difference":
            one = one - (logits.sum(dim=2) - one) / (logits.shape[2] - 1)
        return (one * counted).sum(dim=1, keepdim=True)

    def reference(batch: Batch) -> Tensor:
        neutral = subject.reference(batch)
        return neutral if paired else torch.where(batch["given"][:, :, None], subject.embed(batch), neutral)

    def extended(names: tuple[tuple[str, ...], ...], rows: Rows) -> tuple[tuple[str, ...], ...]:
        if subject.decode is None:
            raise ModelError(f"{subject.name} cannot name the tokens of an answer.")
        read = [subject.decode(row[:-1]) for row in numbers(rows)]
        return tuple((*one, *other) for one, other in zip(names, read, strict=True))

    def characters(rows: Rows) -> tuple[tuple[str, tuple[tuple[int, int], ...]], ...]:
        if subject.characters is None:
            raise ModelError(f"{subject.name} does not say where tokens stand in a text.")
        read = zip(subject.characters(rows), numbers(rows), strict=True)
        return tuple((text, (*offsets, *[(0, 0)] * (len(row) - 1))) for (text, offsets), row in read)

    decoder = subject.decoder_names
    words = "the last token of the answer" if last else "the answer"
    return dataclasses.replace(
        subject,
        encode=encode,
        forward=forward,
        reference=reference,
        whole=None,
        labels=("answer",),
        positive=0,
        says=f"{'log-probability' if target == 'log-probability' else 'summed logit difference'} of {words}",
        measured_in=SCALES[target],
        threshold=float("nan"),
        names=subject.names if paired else (lambda rows: extended(subject.names(rows), rows)),
        characters=subject.characters if paired else characters,
        decoder_names=None if decoder is None else (lambda rows: extended(decoder(rows), rows)),
    )


def _continued(batch: Batch, answers: Sequence[Sequence[int]], *, last: bool, paired: bool) -> Batch:
    """A batch whose rows go on with their answers, asked at every position that predicts one of its tokens.

    Adds `answer` and `counted` (example, answer token), 0 beyond a row's own, and `given` (example, token): the
    answer among what is read.
    """
    ids_key, mask_key = (
        ("decoder_input_ids", "decoder_attention_mask") if paired else ("input_ids", "attention_mask")
    )
    ids, mask = batch[ids_key], batch[mask_key]
    before = [int(n) for n in mask.sum(dim=1)]
    longest = max(len(row) for row in answers)
    width = max(n + len(row) - 1 for n, row in zip(before, answers, strict=True))
    like: dict[str, Any] = {"device": ids.device}
    read = torch.zeros((len(answers), width), dtype=ids.dtype, **like)
    seen = torch.zeros((len(answers), width), dtype=mask.dtype, **like)
    given = torch.zeros((len(answers), width), dtype=torch.bool, **like)
    answer = torch.zeros((len(answers), longest), dtype=torch.long, **like)
    counted = torch.zeros((len(answers), longest), **like)
    position = torch.zeros((len(answers), longest), dtype=torch.long, **like)
    for i, (n, row) in enumerate(zip(before, answers, strict=True)):
        end = n + len(row) - 1
        read[i, :n] = ids[i, :n]
        read[i, n:end] = torch.tensor(list(row[:-1]), dtype=ids.dtype, **like)
        seen[i, :end] = 1
        given[i, n:end] = True
        answer[i, : len(row)] = torch.tensor(list(row), **like)
        counted[i, len(row) - 1 if last else 0 : len(row)] = 1.0
        position[i, : len(row)] = torch.arange(n - 1, end, **like)
        position[i, len(row) :] = end - 1
    made = {key: value for key, value in batch.items() if key != "chosen"} | {ids_key: read, mask_key: seen}
    for key, value in batch.items():
        if not paired and key == "token_type_ids":
            wider = torch.zeros((len(answers), width), dtype=value.dtype, **like)
            wider[:, : value.shape[1]] = value
            made[key] = wider
    return made | {"position": position, "answer": answer, "counted": counted, "given": given}


def attribute_generation(
    subject: Subject,
    rows: Rows,
    method: str = DEFAULT,
    *,
    max_new_tokens: int = 20,
    target: str = "log-probability",
    **options: Any,
) -> tuple[Attribution, ...]:
    """One attribution for each generated token, given the prompt and the tokens before it.

    The tokens are those of greedy generation (`trace_generation` says how). Attribution i explains token i of every
    row that has one; for causal models the tokens generated before count as part of what was read: they are named,
    and, other than in `answering`, may get a share.

    Args:
        method, options: as for `attribute`.
        max_new_tokens: where to stop if no end token comes.
        target: "log-probability" (nats) or "logit difference" of the token.

    Returns:
        One record per step, of the rows that reached it.

    Raises:
        ModelError, DataError, UsageError: see `trace_generation`, `answering` and `attribute`.
    """
    written = generated(subject, rows, max_new_tokens=max_new_tokens)
    made = []
    for step in range(max(len(row) for row in written)):
        reached = [i for i, row in enumerate(written) if len(row) > step]
        some = rows.take(reached)
        answers = {rows.ids[i]: written[i][: step + 1] for i in reached}
        asked = answering(subject, answers, target=target, last=True)
        if subject.decoder_names is None:
            asked = dataclasses.replace(asked, reference=subject.reference)
        decode: Callable[[Sequence[int]], tuple[str, ...]] | None = subject.decode
        shown = {decode([written[i][step]])[0] for i in reached} if decode is not None else set()
        token = f"token {step + 1}" + (f" ({shown.pop()})" if len(shown) == 1 else "")
        asked = dataclasses.replace(asked, says=f"{target} of generated {token}")
        made.append(attribute(asked, some, method, **options))
    return tuple(made)
