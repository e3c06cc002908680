"""Tiny models whose weights follow from their parameters' names, and what the package lxt says of them.

Run as a script by a Python that has torch, transformers 4 and lxt (which does not import under transformers 5), this
file writes `relevance.json` beside it:

    pip install "torch==2.13.0" "transformers==4.57.6" && pip install --no-deps "lxt==2.1"
    python tests/reference/relevance_models.py
"""

import importlib
import json
import sys
import warnings
import zlib
from pathlib import Path
from subprocess import run
from typing import Any
from unittest.mock import MagicMock, patch

import numpy as np
import torch
import transformers

STORED = Path(__file__).with_name("relevance.json")
IDS = (3, 11, 7, 7, 29, 1, 18)
ONE, OTHER = (
    5,
    12,
)  # the target is the difference of these two outputs (of the next token, or of the labels 1 and 0)
SMALL = {
    "vocab_size": 32,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
}
GROUPED = {
    **SMALL,
    "num_key_value_heads": 2,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "tie_word_embeddings": False,
}
GPT = {
    "vocab_size": 32,
    "n_embd": 16,
    "n_layer": 3,
    "n_head": 4,
    "n_positions": 32,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "LlamaForCausalLM": ("llama", GROUPED),
    "GPT2LMHeadModel": ("gpt2", GPT),
    "Qwen2ForCausalLM": ("qwen2", GROUPED),
    "Qwen3ForCausalLM": ("qwen3", {**GROUPED, "head_dim": 4}),
    "BertForSequenceClassification": ("bert", {**SMALL, "num_labels": 2}),
}
PICTURES = ("torchvision", "torchvision.models")  # what lxt imports for image models alone
RULES = ("attnLRP", "cp_LRP")


def build(name: str) -> Any:
    """The model in float64. Its weights depend on nothing but the names and shapes of its parameters."""
    module, settings = MODELS[name]
    prefix = next(
        name.removesuffix(end)
        for end in ("ForCausalLM", "LMHeadModel", "ForSequenceClassification")
        if name.endswith(end)
    )
    if module not in ("gpt2", "bert"):
        theta = {"rope_theta": 10000.0}
        old = int(transformers.__version__.split(".")[0]) < 5
        settings = {**settings, **(theta if old else {"rope_parameters": {"rope_type": "default", **theta}})}
    config = getattr(transformers, f"{prefix}Config")(**settings)
    model = getattr(transformers, name)(config).double().eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            drawn = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(tuple(parameter.shape))
            if parameter.dim() > 1:
                drawn *= 1.0 if "embed" in key or "wte" in key else 1.5 / np.sqrt(parameter.shape[-1])
            else:
                drawn = drawn * 0.2 + (0.0 if key.endswith("bias") else 1.0)
            parameter.copy_(torch.from_numpy(drawn))
    return model


def target(model: Any, embedded: torch.Tensor) -> torch.Tensor:
    """The difference of two outputs, of one example's embeddings (1, token, width)."""
    outputs = model(inputs_embeds=embedded)
    logits = outputs.logits
    found: torch.Tensor = (
        logits[0, 1] - logits[0, 0] if logits.dim() == 2 else logits[0, -1, ONE] - logits[0, -1, OTHER]
    )
    return found


def relevance(name: str, rules: str) -> tuple[float, list[float]]:
    """The target, and embedding times gradient of every token, with lxt's patches."""
    module, _ = MODELS[name]
    home = importlib.import_module(f"transformers.models.{module}.modeling_{module}")
    with warnings.catch_warnings(), patch.dict(sys.modules, dict.fromkeys(PICTURES, MagicMock())):
        warnings.simplefilter("ignore")
        patches = importlib.import_module(f"lxt.efficient.models.{module}")
        importlib.import_module("lxt.efficient").monkey_patch(home, getattr(patches, rules))
    model = build(name)
    embedded = model.get_input_embeddings()(torch.tensor([IDS])).detach().requires_grad_()
    value = target(model, embedded)
    value.backward()
    return float(value.detach()), (embedded * embedded.grad).sum(dim=2)[0].tolist()


def main() -> None:
    """Each model and set of rules in a process of its own: lxt patches classes for good."""
    if len(sys.argv) == 3:
        print(json.dumps(relevance(*sys.argv[1:])))
        return
    found: dict[str, Any] = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "lxt": "2.1",
    }
    for name in MODELS:
        for rules in RULES:
            if name.startswith("Bert") and rules == "cp_LRP":
                continue  # lxt has none
            ran = run([sys.executable, __file__, name, rules], capture_output=True, text=True, check=True)
            value, scores = json.loads(ran.stdout.splitlines()[-1])
            found.setdefault(name, {"value": value})[rules] = scores
    STORED.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
