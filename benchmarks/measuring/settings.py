"""One setting of a comparison: the length, the model and where it runs, with the inputs that every way is given."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor

WIDTH, INNER, HEADS = 768, 3072, 12  # of BERT-base
VOCABULARY = 100  # small, so that the language head weighs little beside the layers
SHORT = 16  # tokens of the short run that loads and compiles whatever is loaded or compiled once


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A masked language model of BERT-base's width with random weights, and one example."""

    length: int
    layers: int
    device: str = "cpu"
    dtype: str = "float32"
    padded: bool = False  # the last eighth of the tokens is padding

    @property
    def item_bytes(self) -> int:
        """Bytes of one number."""
        return getattr(torch, self.dtype).itemsize

    @property
    def map_bytes(self) -> int:
        """Bytes of the attention maps of one layer."""
        return HEADS * self.length**2 * self.item_bytes

    @property
    def forward_bytes(self) -> int:
        """What a plain forward pass holds at once, about: its feed-forward layer twice, and eight hidden states."""
        return self.length * (2 * INNER + 8 * WIDTH) * self.item_bytes

    def describe(self) -> str:
        """In words."""
        padded = ", the last eighth padding" if self.padded else ""
        layers = "1 layer" if self.layers == 1 else f"{self.layers} layers"
        return f"N = {self.length}, {layers}, {self.device}, {self.dtype}{padded}"


@dataclass(frozen=True, slots=True)
class Inputs:
    """Token numbers and the mask of one example."""

    tokens: Tensor
    mask: Tensor

    @property
    def named(self) -> dict[str, Tensor]:
        """As a model of transformers takes them."""
        return {"input_ids": self.tokens, "attention_mask": self.mask}


def inputs(setting: Setting, length: int | None = None) -> Inputs:
    """The example of a setting, or a shorter one."""
    n = setting.length if length is None else length
    tokens = torch.randint(1, VOCABULARY, (1, n), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(tokens)
    if setting.padded:
        mask[:, n - n // 8 :] = 0
    return Inputs(tokens.to(setting.device), mask.to(setting.device))


def model(setting: Setting) -> Any:
    """The model, attending by torch's fused kernel."""
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=VOCABULARY,
        num_hidden_layers=setting.layers,
        max_position_embeddings=max(setting.length, SHORT),
        architectures=["BertForMaskedLM"],
    )
    built = transformers.BertForMaskedLM._from_config(config, attn_implementation="sdpa")
    return built.to(setting.device, getattr(torch, setting.dtype)).eval()


def eager_twin(plain: Any) -> Any:
    """A second module over the very same weights that computes its maps whole."""
    twin = type(plain)._from_config(copy.deepcopy(plain.config), attn_implementation="eager")
    twin.to(plain.device, plain.dtype).load_state_dict(plain.state_dict(), assign=True)
    return twin.eval()
