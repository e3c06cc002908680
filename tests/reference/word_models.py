"""Tiny BERT models whose vocabulary is the words of given sentences; trained on them for a moment where asked."""

import re
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from reference.model_folders import bert_settings

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def word_tokenizer(sentences: list[str]) -> Any:
    """[CLS] words [SEP], lower case; every word and mark of the sentences is one token."""
    words = sorted({word for text in sentences for word in re.findall(r"\w+|[^\w\s]", text.lower())})
    vocabulary = {word: i for i, word in enumerate([*SPECIAL, *words])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = dict(
        zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True)
    )
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **names)


def masked_model(
    sentences: list[str], *, steps: int = 0, seed: int = 0, fill: tuple[str, ...] = ()
) -> tuple[Any, Any]:
    """A masked language model and its tokenizer; with steps, trained to fill in every token of the sentences.

    Of every sentence one token is hidden at a time, as often one of the words in `fill` as any.
    """
    tokenizer = word_tokenizer(sentences + list(fill))
    torch.manual_seed(seed)
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "initializer_range": 0.3}
    config = transformers.BertConfig(**bert_settings(tokenizer), **still)
    model = transformers.BertForMaskedLM(config)
    if not steps:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.ndim >= 2:
                    parameter.normal_(0.0, 0.5)
                elif name.endswith("bias"):
                    parameter.normal_(0.0, 0.2)
        return model.eval(), tokenizer
    encoded = tokenizer(sentences, padding=True, return_tensors="pt", return_token_type_ids=False)
    ids, mask = encoded["input_ids"], encoded["attention_mask"]
    real = (mask == 1) & (ids != tokenizer.cls_token_id) & (ids != tokenizer.sep_token_id)
    often = real & torch.isin(ids, torch.tensor(tokenizer.convert_tokens_to_ids(list(fill)), dtype=ids.dtype))
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.01)
    generator = torch.Generator().manual_seed(seed)
    model.train()
    for _ in range(steps):
        among = torch.where(torch.rand(len(ids), 1, generator=generator) < 0.5, often, real) if fill else real
        chosen = torch.multinomial(among.float(), 1, generator=generator)
        hidden = torch.zeros_like(real).scatter(1, chosen, torch.ones_like(chosen, dtype=torch.bool))
        labels = ids.masked_fill(~hidden, -100)
        inputs = ids.masked_fill(hidden, tokenizer.mask_token_id)
        loss = model(input_ids=inputs, attention_mask=mask, labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval(), tokenizer


def saved(model: Any, tokenizer: Any, folder: Path) -> Path:
    """The folder, with both saved as transformers saves them."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
