"""Attention while a model generates: each step's calls, and the map of generated tokens over all keys."""

import copy
import dataclasses
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import CaptureError, DataError, ModelError, UsageError, first
from ..records import Floats, Rows
from .calls import Call
from .models import Batch, Subject, chunks
from .tap import tap
from .trace import Trace

REPEATED = re.compile(r"#\d+$")
TASKS = ("causal language model", "sequence to sequence")
# Whatever a folder's own settings say, one token is chosen at a time, by one pass over a cache that grows.
# None would not do for any of these: transformers fills it from the folder.
GREEDY: dict[str, Any] = {
    "do_sample": False,
    "num_beams": 1,
    "num_beam_groups": 1,
    "num_return_sequences": 1,
    "penalty_alpha": 0.0,
    "guidance_scale": 1.0,
    "cache_implementation": "dynamic",
    "use_cache": True,
    "return_dict_in_generate": True,
    "output_logits": True,
}
OTHER_WAYS = (
    "prompt_lookup_num_tokens",
    "assistant_early_exit",
    "use_mtp",
    "dola_layers",
    "constraints",
    "force_words_ids",
    "prefill_chunk_size",
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Generation:
    """Greedy generation with every attention call kept, step by step.

    Examples that end early stop counting at their end token; later steps of theirs are padding.
    """

    ids: tuple[str, ...]
    prompts: tuple[tuple[str, ...], ...]  # what stood before: the text, or what a decoder begins with
    sources: tuple[tuple[str, ...], ...] | None  # what the encoder read, where there is one
    tokens: tuple[tuple[str, ...], ...]  # generated, the end token included
    numbers: tuple[tuple[int, ...], ...]  # the same as numbers of the vocabulary
    log_probabilities: tuple[Floats, ...]  # of each token, under the model's own distribution, in nats
    prompt: Trace  # the pass that read the prompt, all its queries
    encoder: Trace | None
    steps: tuple[Trace, ...]  # steps[i]: the one query that chose token i, over all keys so far
    padding: tuple[int, ...]  # positions before each prompt that are padding

    @property
    def layers(self) -> tuple[str, ...]:
        """Attention calls of each step."""
        return self.steps[0].layers

    def keys(self, layer: int | str, example: int = 0) -> tuple[str, ...]:
        """The tokens that a layer's generated tokens attend to: those of the encoder, or all before the last."""
        at = _place("example", example, len(self.ids))
        if self.sources is not None and self.steps[0].call(layer).kind == "cross":
            return self.sources[at]
        return (*self.prompts[at], *self.tokens[at][:-1])

    def attention(self, layer: int | str, head: int, example: int = 0) -> Floats:
        """What each generated token was chosen by looking at: (generated token, key), each row summing to one.

        Row i is the query at the position before token i, which chose it. In self-attention the map is a lower
        trapezoid: keys after the query do not exist yet, and are 0. Keys that a sliding window has dropped from the
        cache are 0 too.

        Raises:
            UsageError: there is no such layer, head or example.
            CaptureError: a step has more keys than there are positions.
        """
        at = _place("example", example, len(self.ids))
        names = self.keys(layer, at)
        made = np.zeros((len(self.tokens[at]), len(names)))
        crossed = self.sources is not None and self.steps[0].call(layer).kind == "cross"
        n_prompt = len(self.prompts[at])
        for i in range(len(made)):
            row = self.steps[i].row(layer, head, at, -1)
            if crossed:
                made[i] = row[: len(names)]
                continue
            n_positions = self.padding[at] + n_prompt + i
            if len(row) > n_positions:
                raise CaptureError(
                    f"step {i} of {self.layers[0]} has {len(row)} keys at position {n_positions}: its cache holds places "
                    "that are not filled yet. Only caches that grow are understood."
                )
            whole = np.concatenate([np.zeros(n_positions - len(row)), row])
            made[i, : n_prompt + i] = whole[self.padding[at] :]
        return made

    @property
    def frame(self) -> Any:
        """One line per generated token as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame(
            [
                {
                    "id": self.ids[e],
                    "step": i,
                    "token": token,
                    "log_probability": self.log_probabilities[e][i],
                }
                for e, tokens in enumerate(self.tokens)
                for i, token in enumerate(tokens)
            ]
        )

    def __repr__(self) -> str:
        return f"Generation({len(self.ids)} examples, {len(self.steps)} steps, {len(self.layers)} attention calls per step)"


def trace_generation(subject: Subject, rows: Rows, *, max_new_tokens: int = 20) -> Generation:
    """Let a language model continue each row greedily, and keep every attention call of every step.

    The tokens are those of transformers' own `generate` with do_sample=False and num_beams=1; what a folder's
    generation settings ask for besides (repetition penalties, forbidden or forced tokens) is kept, sampling,
    beams and static caches are not. Causal models read the column `text`, padded on the left; encoder-decoder models
    read `text` and begin with `target_text` where the rows have it. Keys are kept once, not once per step.

    Args:
        subject: a causal or a sequence-to-sequence model loaded with `clinometer.load`.
        rows: the prompts.
        max_new_tokens: where to stop if no end token comes.

    Raises:
        ModelError: the subject is of another kind.
        DataError: no rows, prompts that leave no room, or decoder prefixes of different lengths.
        CaptureError: attention was not seen, is not reproduced by its map, or was written over.
    """
    inputs, padding, prompts, decode = _prompted(subject, rows, max_new_tokens)
    paired = subject.decoder_names is not None
    model: Any = subject.module
    steps = _Steps(model)
    with torch.no_grad(), tap(model, steps.listen), steps:
        made = model.generate(**inputs, generation_config=_settings(model, max_new_tokens))
    steps.finish()
    n_before = made.sequences.shape[1] - len(made.logits)
    numbers = _until_end(made.sequences[:, n_before:], made.logits, model)
    n_steps = max(len(row) for row in numbers)
    logs = torch.stack([part.log_softmax(dim=1) for part in made.logits[:n_steps]], dim=1).cpu().double()
    traces = [Trace(step) for step in (steps.prompt, *steps.later)]
    for trace in traces:
        trace.certify()
    encoder = Trace(steps.encoder) if steps.encoder else None
    if encoder is not None:
        encoder.certify()
    return Generation(
        ids=rows.ids,
        prompts=prompts,
        sources=subject.names(rows) if paired else None,
        tokens=tuple(decode(row) for row in numbers),
        numbers=numbers,
        log_probabilities=tuple(
            logs[e, torch.arange(len(row)), torch.tensor(row)].numpy() for e, row in enumerate(numbers)
        ),
        prompt=traces[0],
        encoder=encoder,
        steps=(Trace([_last_query(call) for call in steps.prompt]), *traces[1:n_steps]),
        padding=padding,
    )


def generated(
    subject: Subject, rows: Rows, *, max_new_tokens: int = 20, batch_size: int = 32
) -> tuple[tuple[int, ...], ...]:
    """The token numbers that a language model continues each row with, greedily, its end token included.

    The tokens of `trace_generation`, whose errors it raises, without the attention.
    """
    made: list[tuple[int, ...]] = []
    model: Any = subject.module
    for part in chunks(rows, batch_size):
        inputs, *_ = _prompted(subject, part, max_new_tokens)
        with torch.no_grad():
            found = model.generate(**inputs, generation_config=_settings(model, max_new_tokens))
        n_before = found.sequences.shape[1] - len(found.logits)
        made.extend(_until_end(found.sequences[:, n_before:], found.logits, model))
    return tuple(made)


def _prompted(
    subject: Subject, rows: Rows, max_new_tokens: int
) -> tuple[
    dict[str, Tensor],
    tuple[int, ...],
    tuple[tuple[str, ...], ...],
    Callable[[Sequence[int]], tuple[str, ...]],
]:
    """What a model generates from, the padding before each row's prompt, the prompts' tokens, and a way to name tokens."""
    if subject.task not in TASKS or subject.decode is None:
        raise ModelError(
            f"{subject.name} is for {subject.task}; generation is traced for a {' or '.join(TASKS)} model "
            "that clinometer.load read."
        )
    if not len(rows):
        raise DataError("there are no rows to continue.")
    if max_new_tokens < 1:
        raise UsageError(f"max_new_tokens is {max_new_tokens}, expected 1 or more.")
    with torch.no_grad():
        batch = subject.encode(rows)
    inputs, padding = _paired(batch, rows) if subject.decoder_names is not None else _left(batch)
    prompts = subject.decoder_names(rows) if subject.decoder_names is not None else subject.names(rows)
    _room(subject, prompts, rows, max_new_tokens)
    return inputs, padding, prompts, subject.decode


def _place(axis: str, at: int, size: int) -> int:
    if not -size <= at < size:
        raise UsageError(
            f"{axis} {at} does not exist: there are {size}, so 0 to {size - 1} (or from the end, -1)."
        )
    return at % size


def _settings(model: Any, max_new_tokens: int) -> Any:
    settings = copy.deepcopy(model.generation_config)
    others = [name for name in OTHER_WAYS if getattr(settings, name, None)]
    if others:
        raise ModelError(
            f"the folder's generation settings ask for {first(others)}, so that a pass would not choose one token. "
            "Delete it from generation_config.json."
        )
    for name, value in {**GREEDY, "max_new_tokens": max_new_tokens}.items():
        setattr(settings, name, value)
    if settings.pad_token_id is None:
        settings.pad_token_id = model.config.get_text_config().pad_token_id
    return settings


def _left(batch: Batch) -> tuple[dict[str, Tensor], tuple[int, ...]]:
    """Prompts padded on the left, so that every example's next token comes after the last position."""
    ids, mask = batch["input_ids"], batch["attention_mask"]
    lengths = [int(n) for n in mask.sum(dim=1)]
    width = ids.shape[1]
    moved, seen = torch.zeros_like(ids), torch.zeros_like(mask)
    for i, n in enumerate(lengths):
        moved[i, : width - n] = ids[i, n:]  # the padding that was at the end
        moved[i, width - n :] = ids[i, :n]
        seen[i, width - n :] = 1
    return {"input_ids": moved, "attention_mask": seen}, tuple(width - n for n in lengths)


def _paired(batch: Batch, rows: Rows) -> tuple[dict[str, Tensor], tuple[int, ...]]:
    mask = batch["decoder_attention_mask"]
    if not bool((mask == 1).all()):
        short = [rows.ids[i] for i in (mask == 0).any(dim=1).nonzero()[:, 0].tolist()]
        raise DataError(
            f"the decoder's prefixes (target_text) have different lengths; {first(short)} are shorter than others. "
            "Trace rows with prefixes of one length together: rows.take([...])."
        )
    names = ("input_ids", "attention_mask", "decoder_input_ids")
    return {name: batch[name] for name in names}, (0,) * len(rows)


def _room(subject: Subject, prompts: Sequence[Sequence[str]], rows: Rows, max_new_tokens: int) -> None:
    longest = subject.provenance.get("longest_text")
    if longest is None:
        return
    full = [rows.ids[i] for i, prompt in enumerate(prompts) if len(prompt) + max_new_tokens > longest]
    if full:
        raise DataError(
            f"{len(full)} prompts leave no room for {max_new_tokens} tokens in the {longest} positions of {subject.name}; "
            f"first rows: {first(full)}. Shorten them, or ask for fewer tokens."
        )


def _until_end(made: Tensor, logits: Sequence[Tensor], model: Any) -> tuple[tuple[int, ...], ...]:
    """Each example's tokens up to its first end token."""
    ends = model.generation_config.eos_token_id
    known = set(ends if isinstance(ends, (list, tuple)) else [ends])
    rows = []
    for row in made[:, : len(logits)].tolist():
        stop = next((i + 1 for i, number in enumerate(row) if number in known), len(row))
        rows.append(tuple(row[:stop]))
    return tuple(rows)


def _last_query(call: Call) -> Call:
    """The call as its last query alone made it."""

    def last(tensor: Tensor | None) -> Tensor | None:
        return tensor if tensor is None or tensor.shape[2] == 1 else tensor[:, :, -1:]

    return dataclasses.replace(
        call,
        query=last(call.query),
        output=last(call.output),
        given=last(call.given),
        mask=last(call.mask),
        position_bias=last(call.position_bias),
        causal_offset=call.causal_offset + call.n_queries - 1,
    )


class _Steps:
    """Sorts the calls of a generation into the encoder's, the prompt's and those of each later step."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.encoder: list[Call] = []
        self.passes: list[list[Call]] = []
        self.counts: dict[str, int] = {}
        self.grown: list[
            dict[int, int]
        ] = []  # per pass: calls whose keys the next pass has too, and how many

    @property
    def prompt(self) -> list[Call]:
        return self.passes[0]

    @property
    def later(self) -> list[list[Call]]:
        return self.passes[1:]

    def __enter__(self) -> None:
        self.handle = self.model.register_forward_pre_hook(self._next)

    def __exit__(self, *_: Any) -> None:
        self.handle.remove()

    def _next(self, *_: Any) -> None:
        self._share()
        self.passes.append([])
        self.counts.clear()

    def listen(self, call: Call) -> None:
        """Take one call, named within its own step."""
        name = REPEATED.sub("", call.layer)
        n = self.counts[name] = self.counts.get(name, 0) + 1
        named = dataclasses.replace(call, layer=name if n == 1 else f"{name}#{n}")
        (self.passes[-1] if self.passes else self.encoder).append(named)

    def finish(self) -> None:
        """The last step is complete: let each step look into the keys of the next one, where these only grew.

        Raises:
            CaptureError: what was kept has been written over since, as a static cache does.
        """
        self._share()
        self._refuse_overwritten([*self.encoder, *(self.passes[-1] if self.passes else [])])
        if not self.passes or not all(self.passes):
            raise CaptureError(
                f"{type(self.model).__name__} generated without an attention call that was seen. Load it with "
                "attn_implementation='sdpa'."
            )
        for p in reversed(range(len(self.passes) - 1)):
            for place, n in self.grown[p].items():
                later = self.passes[p + 1][place]
                if later.key is not None and later.value is not None:
                    self.passes[p][place] = dataclasses.replace(
                        self.passes[p][place], key=later.key[:, :, :n], value=later.value[:, :, :n]
                    )

    def _refuse_overwritten(self, calls: Sequence[Call]) -> None:
        changed = [call.layer for call in calls if call.changed_in_place()]
        if changed:
            raise CaptureError(
                f"{first(changed)}: keys were written over by a later step (a static cache does so), so that what was kept "
                "is not what was used. Let the model use its dynamic cache."
            )

    def _share(self) -> None:
        """Let go of the keys of the step before the last one, where the last one's begin with the very same."""
        if len(self.passes) < 2:
            return
        before, now = self.passes[-2:]
        self._refuse_overwritten(before)
        if [call.layer for call in before] != [call.layer for call in now]:
            raise CaptureError(
                f"a step of {type(self.model).__name__} made other attention calls than the one before, which is not "
                "understood."
            )
        grown = {i: n for i, n in enumerate(map(_grown, before, now)) if n is not None}
        self.grown.append(grown)
        self.passes[-2] = [
            dataclasses.replace(
                call,
                versions=(),
                key=None if i in grown else call.key,
                value=None if i in grown else call.value,
            )
            for i, call in enumerate(before)
        ]


def _grown(old: Call, new: Call) -> int | None:
    """The number of old keys, where the new ones begin with them."""
    if old.key is None or new.key is None or old.value is None or new.value is None:
        return None
    n = old.key.shape[2]
    if new.key.shape[2] < n or not torch.equal(new.key[:, :, :n], old.key):
        return None
    return n if torch.equal(new.value[:, :, :n], old.value) else None
