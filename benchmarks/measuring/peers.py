"""How other tools are asked for the attention maps of the same weights; each function imports its tool itself."""

import warnings
from typing import Any

import torch

from .settings import VOCABULARY, Inputs, Setting, eager_twin


def bertviz(_: Setting, plain: Any) -> Any:
    """Maps by `output_attentions`, then everything that `head_view` builds, without its being shown."""
    from bertviz import head_view

    eager = eager_twin(plain)

    def run(given: Inputs) -> Any:
        maps = eager(**given.named, output_attentions=True).attentions
        tokens = [str(token) for token in given.tokens[0].tolist()]
        return head_view(maps, tokens, html_action="return")

    return run


def transformer_lens(setting: Setting, plain: Any) -> Any:
    """The bridge over a module of transformers, with the pattern of every layer cached."""
    import transformers
    from transformer_lens.model_bridge import TransformerBridge

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*special, *(f"w{i}" for i in range(VOCABULARY - len(special)))]
    bridge = TransformerBridge.boot_transformers(
        "bert",
        hf_model=eager_twin(plain),
        tokenizer=transformers.BertTokenizer(vocab={word: i for i, word in enumerate(words)}),
        device=setting.device,
        dtype=getattr(torch, setting.dtype),
    )
    names = [f"blocks.{layer}.attn.hook_pattern" for layer in range(setting.layers)]

    def run(given: Inputs) -> Any:
        _, cache = bridge.run_with_cache(
            given.tokens, names_filter=names, attention_mask=given.mask, return_cache_object=False
        )
        return [cache[name] for name in names]

    return run


def nnsight(_: Setting, plain: Any) -> Any:
    """The weights that each eager attention module returns, saved in a trace."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # BERT has submodules called "output", which nnsight renames aloud
        import nnsight as tool

        wrapped = tool.NNsight(eager_twin(plain))

    def run(given: Inputs) -> Any:
        with wrapped.trace(**given.named):
            kept = tool.save([])
            for layer in wrapped.bert.encoder.layer:
                kept.append(layer.attention.self.output[1])
        return kept

    return run
