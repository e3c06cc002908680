"""Tiny random models with tokenizers trained in memory, saved as transformers saves them."""

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

CORPUS = (
    "a very good film about a dull man and his great dog",
    "the film is bad, the answer is no and yes",
    "is it good? yes it is a great film! no, it is dull",
)
WIDTH, HEADS, LAYERS = 16, 2, 2


def bert_tokenizer() -> Any:
    """WordPiece with [CLS] text [SEP] and a mask token. Its vocabulary is listed: training one is not repeatable."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = sorted({word.strip(",!?") for line in CORPUS for word in line.split()} - set(letters))
    pieces = [*special, *letters, *",.!?", *(f"##{letter}" for letter in letters), *words]
    backend = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = dict(
        zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), special, strict=True)
    )
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **names)


def gpt_tokenizer(**names: Any) -> Any:
    """Byte-level BPE that can neither pad nor mask, as GPT-2's."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(CORPUS, trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|endoftext|>", bos_token="<|endoftext|>", **names
    )


def sequence_tokenizer(end: str = "</s>") -> Any:
    """Words with text </s>, padding and unknown, as T5's; no mask."""
    backend = Tokenizer(models.WordLevel(unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["<pad>", end, "<unk>", "<s>"]
    backend.train_from_iterator(
        CORPUS, trainers.WordLevelTrainer(special_tokens=special, show_progress=False)
    )
    backend.post_processor = processors.TemplateProcessing(single=f"$A {end}", special_tokens=[(end, 1)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token=end, unk_token="<unk>", bos_token="<s>"
    )


def labelled(*labels: str) -> dict[str, Any]:
    """Settings that name the labels."""
    return {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}


def bert_settings(tokenizer: Any, **more: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": 32,
        "max_position_embeddings": 40,
        "pad_token_id": 0,
        **more,
    }


def gpt2_settings(tokenizer: Any, **more: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "n_embd": WIDTH,
        "n_layer": LAYERS,
        "n_head": HEADS,
        "n_positions": 48,
        "bos_token_id": 0,
        "eos_token_id": 0,
        **more,
    }


def llama_settings(tokenizer: Any, **more: Any) -> dict[str, Any]:
    return {
        **bert_settings(tokenizer),
        "num_key_value_heads": 1,
        "max_position_embeddings": 64,
        "pad_token_id": None,
        "bos_token_id": 0,
        "eos_token_id": 0,
        **more,
    }


def t5_settings(tokenizer: Any, **more: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "d_model": WIDTH,
        "d_kv": 8,
        "d_ff": 32,
        "num_layers": LAYERS,
        "num_heads": HEADS,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "decoder_start_token_id": 0,
        **more,
    }


def bart_settings(tokenizer: Any, **more: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "d_model": WIDTH,
        "encoder_layers": LAYERS,
        "decoder_layers": LAYERS,
        "encoder_attention_heads": HEADS,
        "decoder_attention_heads": HEADS,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "max_position_embeddings": 40,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": 3,
        "decoder_start_token_id": 1,
        "forced_eos_token_id": None,
        **more,
    }


SETTINGS = {
    "Bert": bert_settings,
    "DistilBert": lambda tokenizer, **more: {
        "vocab_size": len(tokenizer),
        "dim": WIDTH,
        "n_layers": LAYERS,
        "n_heads": HEADS,
        "hidden_dim": 32,
        "max_position_embeddings": 40,
        **more,
    },
    "Roberta": lambda tokenizer, **more: bert_settings(tokenizer, pad_token_id=0, type_vocab_size=1, **more),
    "GPT2": gpt2_settings,
    "Llama": llama_settings,
    "T5": t5_settings,
    "Bart": bart_settings,
    "XLNet": lambda tokenizer, **more: {
        "vocab_size": len(tokenizer),
        "d_model": WIDTH,
        "n_layer": LAYERS,
        "n_head": HEADS,
        "d_inner": 32,
        "pad_token_id": 0,
        **more,
    },
}
TOKENIZERS = {
    "Bert": bert_tokenizer,
    "DistilBert": bert_tokenizer,
    "Roberta": bert_tokenizer,
    "GPT2": gpt_tokenizer,
    "Llama": gpt_tokenizer,
    "T5": sequence_tokenizer,
    "Bart": sequence_tokenizer,
    "XLNet": bert_tokenizer,
}


def text_folder(folder: Path, architecture: str, *, seed: int = 0, **settings: Any) -> Path:
    """A folder with a random model of this architecture ("BertForMaskedLM") and its tokenizer."""
    scale = 0.5 if architecture.startswith("T5") else 1.0  # T5 does not divide its scores by sqrt(width)
    family = next(name for name in SETTINGS if architecture.startswith(name))
    tokenizer = TOKENIZERS[family]()
    config = getattr(transformers, f"{family}Config")(**SETTINGS[family](tokenizer, **settings))
    tokenizer.save_pretrained(folder)
    save_random(folder, architecture, config, seed=seed, scale=scale)
    return folder


def save_random(folder: Path, architecture: str, config: Any, *, seed: int = 0, scale: float = 1.0) -> Any:
    """Random weights large enough that inputs matter, saved."""
    torch.manual_seed(seed)
    model = getattr(transformers, architecture)(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim >= 2:
                parameter.normal_(0.0, scale * (0.5 if parameter.shape[-1] > 8 else 0.3))
            elif name.endswith("bias"):
                parameter.normal_(0.0, 0.2)
    model.tie_weights()
    model.save_pretrained(folder)
    return model


def image_folder(folder: Path, family: str = "ViT", *, seed: int = 0, **settings: Any) -> Path:
    """A folder with a random image classifier over patches of 6 x 6 pixels, and its processor."""
    size = {"height": 12, "width": 18}
    vision: dict[str, Any] = {
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": 32,
        "image_size": (12, 18),
        "patch_size": 6,
        **settings,
    }
    if family not in ("ViT", "DeiT"):
        size = {"height": 12, "width": 12}
        vision["image_size"] = 12
    vision = {"vision_config": vision} if family in ("CLIP", "Siglip") else vision
    config = getattr(transformers, f"{family}Config")(**vision, **labelled("cat", "dog", "owl"))
    save_random(folder, f"{family}ForImageClassification", config, seed=seed)
    transformers.ViTImageProcessor(
        size=size, image_mean=[0.5, 0.4, 0.3], image_std=[0.2, 0.25, 0.3]
    ).save_pretrained(folder)
    return folder


SPEECH = {
    "vocab_size": 30,
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": 32,
    "conv_dim": (8, 8),
    "conv_kernel": (10, 4),
    "conv_stride": (5, 4),
    "conv_bias": True,
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "classifier_proj_size": 8,
    "pad_token_id": 0,
}


def speech_folder(folder: Path, family: str = "Wav2Vec2", *, norm: str = "layer", seed: int = 0) -> Path:
    """A folder with a random classifier over samples at 1,000 per second, and its feature extractor."""
    settings = {
        **SPEECH,
        "feat_extract_norm": norm,
        "do_stable_layer_norm": norm == "layer",
        **labelled("speech", "music", "noise"),
    }
    config = getattr(transformers, f"{family}Config")(**settings)
    save_random(folder, f"{family}ForSequenceClassification", config, seed=seed)
    transformers.Wav2Vec2FeatureExtractor(
        sampling_rate=1000, return_attention_mask=norm == "layer"
    ).save_pretrained(folder)
    return folder


def whisper_folder(
    folder: Path, architecture: str = "WhisperForConditionalGeneration", *, seed: int = 0
) -> Path:
    """A folder with a random Whisper that hears one second at 16,000 samples per second."""
    tokenizer = sequence_tokenizer()
    config = transformers.WhisperConfig(
        vocab_size=len(tokenizer),
        d_model=WIDTH,
        num_mel_bins=12,
        encoder_layers=LAYERS,
        decoder_layers=LAYERS,
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_source_positions=50,
        max_target_positions=20,
        classifier_proj_size=8,
        pad_token_id=0,
        bos_token_id=3,
        eos_token_id=1,
        decoder_start_token_id=3,
        begin_suppress_tokens=None,
        **labelled("speech", "music", "noise"),
    )
    tokenizer.save_pretrained(folder)
    save_random(folder, architecture, config, seed=seed)
    transformers.WhisperFeatureExtractor(feature_size=12, chunk_length=1).save_pretrained(folder)
    return folder
