"""Texts as token batches for a transformers model: padded on the right, named, with a stated baseline."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import DataError, ModelError, did_you_mean, first
from ..records import Rows
from .placing import placed
from .weights import panics_refused, unreadable

LARGEST_FILE = 200 * 2**20  # bytes; the largest vocabularies in use take about 35 MB
VOCABULARIES = (
    "tokenizer.json",
    "tekken.json",
    "vocab*",
    "*.model",
    "*.spm",
)

Encoded = dict[str, list[int]]


def read_tokenizer(path: Path) -> Any:
    """The tokenizer of a folder.

    Raises:
        ModelError: there is none, it is larger than any vocabulary, or it cannot be read.
    """
    found = sorted({file for pattern in VOCABULARIES for file in path.glob(pattern)})
    if not found:
        raise ModelError(
            f"{path} has no tokenizer (tokenizer.json or a vocabulary). Copy the tokenizer's files of the same model "
            "beside its weights: tokenizer.save_pretrained(folder)."
        )
    huge = [file.name for file in found if file.stat().st_size > LARGEST_FILE]
    if huge:
        raise ModelError(
            f"{path}: {first(huge)} is larger than {LARGEST_FILE // 2**20} MB, which no vocabulary is. The file is "
            "damaged or not a tokenizer; copy it again."
        )
    from transformers import AutoTokenizer

    try:
        with panics_refused(path.name):
            return AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except ModelError:
        raise
    except Exception as error:
        raise unreadable(path, error) from error


class Texts:
    """One tokenizer beside the model that it feeds.

    Rows are padded on the right whatever the tokenizer's habit, so that the n-th name is the n-th position of
    an attention map. A tokenizer without a padding token borrows the end-of-text or unknown token; padding is
    masked, so which one it is changes nothing but `sequence classification` of decoders, which look for it.
    """

    def __init__(self, tokenizer: Any, model: Any, name: str, *, cut: bool) -> None:
        self.tokenizer, self.name, self.cut = tokenizer, name, cut
        config = model.config.get_text_config()
        self.padding = next(
            (
                int(number)
                for number in (
                    config.pad_token_id,
                    tokenizer.pad_token_id,
                    tokenizer.eos_token_id,
                    tokenizer.unk_token_id,
                )
                if isinstance(number, int)
            ),
            None,
        )
        if self.padding is None:
            raise ModelError(
                f"the tokenizer of {name} has no padding, end-of-text or unknown token to pad with. Name one and save "
                "it: tokenizer.pad_token = tokenizer.convert_ids_to_tokens(0)."
            )
        if config.pad_token_id is None:
            config.pad_token_id = self.padding  # what a decoder's classification head looks for
        self.word, self.substitute = self._substitute()
        self.special = sorted(set(tokenizer.all_special_ids))
        self.special_names = tuple(tokenizer.convert_ids_to_tokens(self.special))
        self.has_types = bool(getattr(config, "type_vocab_size", 0))
        self.rows_of_table = model.get_input_embeddings().weight.shape[0]
        positions = _positions(model)
        told = tokenizer.model_max_length
        if isinstance(told, bool) or not isinstance(told, int | float) or not told >= 1:
            raise ModelError(f"the tokenizer of {name} has model_max_length {told!r}; 1 or more is expected.")
        longest = int(min(positions or 10**9, told if cut else 10**9))
        self.longest = longest if longest < 10**9 else None

    @property
    def fillers(self) -> dict[str, int]:
        """The tokens that can stand for nothing, best first."""
        tokenizer = self.tokenizer
        known = {
            "mask": tokenizer.mask_token_id,
            "padding": tokenizer.pad_token_id,
            "unknown": tokenizer.unk_token_id,
            "end-of-text": tokenizer.eos_token_id,
        }
        return {word: int(number) for word, number in known.items() if number is not None}

    def spell(self, texts: Sequence[str]) -> list[list[int]]:
        """Token numbers of texts that a model writes, without markers of begin and end."""
        given = self.tokenizer(text_target=list(texts), add_special_tokens=False, return_attention_mask=False)
        return [[int(n) for n in ids] for ids in given["input_ids"]]

    def _substitute(self) -> tuple[str, int]:
        for word, number in self.fillers.items():
            return f"the {word} token {self.tokenizer.convert_ids_to_tokens(number)}", number
        raise ModelError(
            f"the tokenizer of {self.name} has no mask, padding, unknown or end-of-text token to compare a text with. "
            "Name one: tokenizer.pad_token = tokenizer.convert_ids_to_tokens(0)."
        )

    @property
    def baseline(self) -> str:
        """The reference input, in words."""
        return f"{self.word} at every token but special ones"

    def encode(self, rows: Rows, column: str = "text") -> list[Encoded]:
        """The token numbers of every row, special tokens and all, without padding.

        Raises:
            DataError: the column is missing, or a text is empty, too long, or beyond the model's table.
        """
        texts = self.texts(rows, column)
        with panics_refused(self.name):
            encoded = self.tokenizer(texts, **self._how)
        made = [
            {key: [int(n) for n in values[i]] for key, values in encoded.items()} for i in range(len(texts))
        ]
        self._check(rows, made)
        for row in made:
            if not self.has_types and not any(row.get("token_type_ids", [])):
                row.pop("token_type_ids", None)  # zeros mean nothing to a model without token types
        return made

    @property
    def _how(self) -> dict[str, Any]:
        return {"truncation": True, "max_length": self.longest} if self.cut and self.longest else {}

    def characters(self, rows: Rows) -> tuple[tuple[str, tuple[tuple[int, int], ...]], ...]:
        """Each text, with the characters [start, end) of every token; an empty range for special tokens.

        Raises:
            ModelError: the tokenizer is a slow one, which does not know.
        """
        if not self.tokenizer.is_fast:
            raise ModelError(
                f"the tokenizer of {self.name} ({type(self.tokenizer).__name__}) does not say where tokens stand in a text. "
                "Save a fast one (tokenizer.json) beside the model."
            )
        texts = self.texts(rows, "text")
        found = self.tokenizer(texts, return_offsets_mapping=True, **self._how)["offset_mapping"]
        return tuple(
            (text, tuple((int(a), int(b)) for a, b in offsets))
            for text, offsets in zip(texts, found, strict=True)
        )

    def texts(self, rows: Rows, column: str) -> list[str]:
        """A column of texts.

        Raises:
            DataError: the column is missing.
        """
        if column not in rows.inputs:
            raise DataError(
                f"the model {self.name} reads the column {column!r}, which is missing: "
                f"{did_you_mean(column, rows.inputs)}"
            )
        return [str(text) for text in rows.inputs[column]]

    def _check(self, rows: Rows, made: Sequence[Encoded]) -> None:
        lengths = [len(row["input_ids"]) for row in made]
        empty = [rows.ids[i] for i, n in enumerate(lengths) if n == 0]
        if empty:
            raise DataError(
                f"{len(empty)} texts have no token at all; first rows: {first(empty)}. Leave out empty texts."
            )
        if self.longest is not None:
            long = [rows.ids[i] for i, n in enumerate(lengths) if n > self.longest]
            if long:
                raise DataError(
                    f"{len(long)} texts have more than the {self.longest} tokens {self.name} can read (up to "
                    f"{max(lengths)}); first rows: {first(long)}. Shorten them: cutting would move the place asked."
                )
        beyond = [rows.ids[i] for i, row in enumerate(made) if max(row["input_ids"]) >= self.rows_of_table]
        if beyond:
            raise DataError(
                f"the tokenizer gives token numbers beyond the {self.rows_of_table} that {self.name} knows; first rows: "
                f"{first(beyond)}. The tokenizer belongs to another model."
            )

    def padded(self, rows: Sequence[Sequence[int]], filler: int, device: torch.device) -> Tensor:
        """(example, token), filled on the right."""
        width = max(len(row) for row in rows)
        return placed(torch.tensor([[*row, *[filler] * (width - len(row))] for row in rows]), device)

    def batch(self, encoded: Sequence[Encoded], device: torch.device) -> dict[str, Tensor]:
        """Tensors for the model, padded on the right."""
        fillers = {"input_ids": self.padding or 0, "attention_mask": 0}
        made = {
            key: self.padded([row[key] for row in encoded], fillers.get(key, 0), device) for key in encoded[0]
        }
        ones = [[1] * len(row["input_ids"]) for row in encoded]
        return {**made, "attention_mask": self.padded(ones, 0, device)}

    def tokens(self, numbers: Sequence[int]) -> tuple[str, ...]:
        """The names of token numbers."""
        return tuple(str(token) for token in self.tokenizer.convert_ids_to_tokens(list(numbers)))

    def names(self, rows: Rows) -> tuple[tuple[str, ...], ...]:
        """Token names per row, special tokens and all, no padding."""
        return tuple(self.tokens(row["input_ids"]) for row in self.encode(rows))

    def neutral(self, ids: Tensor, mask: Tensor) -> Tensor:
        """The baseline's token numbers: the substitute at every real token that is not special."""
        special = torch.tensor(self.special, device=ids.device, dtype=ids.dtype)
        kept = torch.isin(ids, special) | (mask == 0)
        return torch.where(kept, ids, torch.full_like(ids, self.substitute))

    def one_token(self, word: str) -> int:
        """The number of a word that is one token.

        Raises:
            ModelError: it is several, with the way out.
        """
        numbers = self.tokenizer(word, add_special_tokens=False)["input_ids"]
        if len(numbers) != 1 or numbers[0] == self.tokenizer.unk_token_id:
            raise ModelError(
                f"the candidate {word!r} is {list(self.tokens(numbers))} to the tokenizer of {self.name}; one known "
                "token is expected. A word that continues a text begins with a space for some tokenizers: try "
                f"{' ' + word.strip()!r}, or a shorter word."
            )
        return int(numbers[0])


def _positions(model: nn.Module) -> int | None:
    """How many positions a model has vectors (or training) for; None where they are relative."""
    config: Any = model.config
    told = getattr(config.get_text_config(), "max_position_embeddings", None)
    for name, part in model.named_modules():
        if (
            name.endswith("position_embeddings")
            and isinstance(part, nn.Embedding)
            and part.padding_idx is not None
        ):
            return int(part.num_embeddings - part.padding_idx - 1)  # positions count from after the padding's
    return int(told) if isinstance(told, int) and told > 0 else None
