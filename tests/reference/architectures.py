"""Tiny random models of many architectures, each with a padded batch, and what a tap has to find in it."""

import copy
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from typing import Any

import torch
import transformers
from packaging.version import Version
from torch import Tensor, nn

from clinometer.interpret import transformer as own

from .attended import (
    Reference,
    eager,
    eager_modules,
    eager_siglip,
    eager_towers,
    falcon_alibi,
    hand_made,
    kept,
    multi_head,
    ours,
    perceived,
    squeezed,
    timm_maps,
)
from .attending import (
    OUR_SHAPE,
    Beside,
    Headless,
    MultiHead,
    OurStack,
    Tutorials,
    beside_odd,
    our_pair,
    timm_model,
    torch_decoder,
    torch_encoder,
)
from .attention import HandMade
from .padded import (
    EXAMPLES,
    HEADS,
    LENGTH,
    VOCABULARY,
    WIDTH,
    Batch,
    captioned,
    causal,
    everywhere,
    images,
    marked,
    not_padded,
    our_pair_batch,
    our_tokens,
    pair,
    real,
    remembering,
    sound,
    sound_frames,
    speech,
    text,
    text_tower,
    tokens,
    unmasked,
    vectors,
    vectors_and_memory,
)


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A model, a padded batch for it, and what a tap has to find in it."""

    name: str
    make: Callable[[], nn.Module]
    batch: Callable[[], Batch]
    layers: tuple[str, ...]
    way: str = "interface"
    other_ways: dict[str, str] = field(default_factory=dict)  # of single layers
    interface_since: str = ""  # of transformers: from it on calls go by the interface
    cross: str = ""  # what the name of a layer of cross-attention contains
    reference: Callable[[nn.Module, Batch], Reference] = eager
    real: Callable[[Batch, str], Tensor | None] = marked
    result: Callable[[Any], Tensor] = lambda output: output.last_hidden_state
    exact: bool = True  # the kernel is unchanged, so that outputs are the untapped model's bit for bit
    needs: tuple[str, ...] = ()  # packages that are no dependency
    since: str = "0"  # of transformers: with earlier ones its calls are refused, or seen in another way
    differentiable: bool = True  # in float64 the reference's maps are attached to the graph of its result

    def build(self, dtype: torch.dtype = torch.float32) -> nn.Module:
        """The model, the same each time, in eval mode."""
        torch.manual_seed(zlib.crc32(self.name.encode()))
        return spread(self.make()).to(dtype).eval()

    def inputs(self, dtype: torch.dtype = torch.float32) -> Batch:
        """The batch, the same each time."""
        torch.manual_seed(zlib.crc32(self.name.encode()) + 1)
        return {
            name: part.to(dtype) if isinstance(part, Tensor) and part.is_floating_point() else part
            for name, part in self.batch().items()
        }

    def ways(self) -> tuple[str, ...]:
        """How each call is seen, with the transformers that is installed."""
        if self.interface_since and Version(version("transformers")) >= Version(self.interface_since):
            return ("interface",) * len(self.layers)
        return tuple(self.other_ways.get(layer, self.way) for layer in self.layers)

    def kinds(self) -> tuple[str, ...]:
        """Self or cross, of each call."""
        return tuple("cross" if self.cross and self.cross in layer else "self" for layer in self.layers)


def spread(model: nn.Module) -> nn.Module:
    """Weights drawn anew, so large that heads differ and no map is close to uniform."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() >= 2:
                n_in = 4.0 if "embed" in name else parameter.numel() / parameter.shape[0]
                parameter.normal_(0.0, 1.5 / math.sqrt(n_in))
            elif name.endswith("bias") or "sinks" in name:
                parameter.normal_(0.0, 0.1)
    return model


def each(name: str, n: int = 2) -> tuple[str, ...]:
    return tuple(name.format(i) for i in range(n))


def stacks(encoder: str, *decoder: str) -> tuple[str, ...]:
    """Two layers of an encoder, then of a decoder, whose layers attend several times."""
    return (*each(encoder), *(name.format(i) for i in range(2) for name in decoder))


def hf(prefix: str, model: str = "", **config: Any) -> Callable[[], nn.Module]:
    """A transformers model made from its configuration."""
    kind = getattr(transformers, model or f"{prefix}Model")
    return lambda: kind(getattr(transformers, f"{prefix}Config")(**copy.deepcopy(config)))


def itself(output: Any) -> Tensor:
    return output  # type: ignore[no-any-return]


SMALL = {
    "vocab_size": VOCABULARY, "hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": HEADS,
    "intermediate_size": 16, "max_position_embeddings": 64,
}  # fmt: skip
GROUPED = {**SMALL, "num_key_value_heads": 2, "pad_token_id": 0}
GPT = {"vocab_size": VOCABULARY, "n_embd": WIDTH, "n_layer": 2, "n_head": HEADS, "n_positions": 64}
ENDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
IMAGE = {
    "hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": HEADS, "image_size": 6, "patch_size": 2,
}  # fmt: skip
VIT = {**IMAGE, "intermediate_size": 16}
BART = {
    "vocab_size": VOCABULARY, "d_model": WIDTH, "encoder_layers": 2, "decoder_layers": 2, "decoder_start_token_id": 1,
    "encoder_attention_heads": HEADS, "decoder_attention_heads": HEADS, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16,
    "max_position_embeddings": 64, "forced_eos_token_id": None, **ENDS,
}  # fmt: skip
T5 = {
    "vocab_size": VOCABULARY, "d_model": WIDTH, "d_kv": 4, "d_ff": 16, "num_layers": 2, "num_heads": HEADS,
    "pad_token_id": 0, "decoder_start_token_id": 0,
}  # fmt: skip
SQUEEZE = {
    "embedding_size": WIDTH,
    **{f"{part}_groups": 1 for part in ("q", "k", "v", "post_attention", "intermediate", "output")},
}
SOUND = {
    "hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": HEADS, "intermediate_size": 16,
    "conv_dim": [8, 8], "conv_stride": [2, 2], "conv_kernel": [4, 2], "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2, "feat_extract_norm": "layer",
}  # fmt: skip
DEBERTA = {**SMALL, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]}
SWIN = {
    "image_size": 8,
    "patch_size": 1,
    "embed_dim": 8,
    "depths": [2, 2],
    "num_heads": [2, 4],
    "window_size": 4,
}
BART_LAYERS = stacks(
    "encoder.layers.{}.self_attn", "decoder.layers.{}.self_attn", "decoder.layers.{}.encoder_attn"
)
T5_LAYERS = stacks(
    "encoder.block.{}.layer.0.SelfAttention",
    "decoder.block.{}.layer.0.SelfAttention",
    "decoder.block.{}.layer.1.EncDecAttention",
)
ALBERT = "encoder.albert_layer_groups.0.albert_layers.0.attention"
CLIP_LAYERS = (
    *each("vision_model.encoder.layers.{}.self_attn"),
    *each("text_model.encoder.layers.{}.self_attn"),
)

Encoder = partial(Architecture, batch=text, layers=each("encoder.layer.{}.attention.self"))
Decoder = partial(Architecture, batch=causal, layers=each("layers.{}.self_attn"))
Pair = partial(Architecture, batch=pair, layers=BART_LAYERS, cross="encoder_attn")
Vision = partial(Architecture, batch=images, layers=each("layers.{}.attention"), real=everywhere)
Torch = partial(
    Architecture,
    batch=vectors,
    layers=("attention",),
    way="multi-head",
    reference=multi_head,
    real=not_padded,
    result=itself,
    differentiable=False,
)
Ours = partial(
    Architecture,
    batch=vectors,
    way="sdpa",
    reference=ours,
    real=not_padded,
    result=itself,
    differentiable=False,
)
BY_HAND: Batch = {"way": "by hand"}


# One row, one model; a table is read by line.
# fmt: off
ARCHITECTURES: tuple[Architecture, ...] = (
    # Encoders.
    Encoder(name="BERT", make=hf("Bert", **SMALL)),
    Encoder(name="RoBERTa", make=hf("Roberta", **SMALL)),
    Encoder(name="ELECTRA", make=hf("Electra", **SMALL, embedding_size=16)),
    Encoder(name="ESM", make=hf("Esm", **SMALL, pad_token_id=0, position_embedding_type="rotary")),
    Encoder(name="MobileBERT", make=hf("MobileBert", **SMALL, embedding_size=16, intra_bottleneck_size=16)),
    Encoder(name="ALBERT", make=hf("Albert", **SMALL, embedding_size=8), layers=(ALBERT, f"{ALBERT}#2")),
    Encoder(name="DistilBERT", make=hf("DistilBert", vocab_size=VOCABULARY, dim=WIDTH, n_layers=2, n_heads=HEADS,
        hidden_dim=16), layers=each("transformer.layer.{}.attention")),
    Encoder(name="ModernBERT", make=hf("ModernBert", **SMALL, **ENDS, global_attn_every_n_layers=2, local_attention=4,
        cls_token_id=1, sep_token_id=2), layers=each("layers.{}.attn")),
    Encoder(name="MPNet", make=hf("MPNet", **SMALL), layers=each("encoder.layer.{}.attention.attn"), **BY_HAND),
    Encoder(name="DeBERTa", make=hf("Deberta", **DEBERTA), **BY_HAND),
    Encoder(name="DeBERTa v2", make=hf("DebertaV2", **DEBERTA), **BY_HAND),
    Encoder(name="DeBERTa v3", make=hf("DebertaV2", **DEBERTA, position_buckets=4, share_att_key=True,
        norm_rel_ebd="layer_norm"), **BY_HAND),
    Encoder(name="XLNet", make=hf("XLNet", vocab_size=VOCABULARY, d_model=WIDTH, n_layer=2, n_head=HEADS, d_inner=16,
        **ENDS), layers=each("layer.{}.rel_attn"), differentiable=False, **BY_HAND),  # returns a rearranged copy
    Encoder(name="BigBird, full", make=hf("BigBird", **SMALL, attention_type="original_full"), **BY_HAND),
    Encoder(name="RoFormer", make=hf("RoFormer", **SMALL, embedding_size=16), **BY_HAND),
    Encoder(name="RemBERT", make=hf("RemBert", **SMALL, input_embedding_size=16), **BY_HAND),
    Encoder(name="Megatron-BERT", make=hf("MegatronBert", **SMALL), **BY_HAND),
    Encoder(name="ConvBERT", make=hf("ConvBert", **SMALL, embedding_size=16, conv_kernel_size=3, head_ratio=2),
        **BY_HAND),
    Encoder(name="LUKE", make=hf("Luke", **SMALL, entity_vocab_size=10, entity_emb_size=8, pad_token_id=0), **BY_HAND),
    Encoder(name="SqueezeBERT", make=hf("SqueezeBert", **SMALL, **SQUEEZE),
        layers=each("encoder.layers.{}.attention"), reference=squeezed, differentiable=False, **BY_HAND),
    Encoder(name="Perceiver", make=hf("Perceiver", d_model=WIDTH, d_latents=WIDTH, num_latents=4,
        num_self_attends_per_block=1, num_blocks=1, num_self_attention_heads=HEADS, num_cross_attention_heads=HEADS),
        batch=lambda: {"inputs": torch.randn(EXAMPLES, LENGTH, WIDTH), "attention_mask": real()},
        layers=("encoder.cross_attention.attention.self", "encoder.self_attends.0.attention.self"), cross="cross",
        reference=perceived, real=everywhere, **BY_HAND),
    Encoder(name="Funnel", make=hf("Funnel", "FunnelBaseModel", vocab_size=VOCABULARY, block_sizes=[2], d_model=WIDTH,
        n_head=HEADS, d_head=4, d_inner=16), layers=each("encoder.blocks.0.{}.attention"), **BY_HAND),
    Encoder(name="XLM", make=hf("XLM", vocab_size=VOCABULARY, emb_dim=WIDTH, n_layers=2, n_heads=HEADS,
        max_position_embeddings=64, pad_index=0), layers=each("attentions.{}"), **BY_HAND),
    # Decoders.
    Decoder(name="BERT decoder with cross-attention", make=hf("Bert", **SMALL, is_decoder=True,
        add_cross_attention=True), batch=remembering, layers=tuple(f"encoder.layer.{i}.{part}.self" for i in (0, 1)
        for part in ("attention", "crossattention")), cross="cross"),
    Decoder(name="GPT-2", make=hf("GPT2", **GPT), layers=each("h.{}.attn")),
    Decoder(name="GPT-NeoX", make=hf("GPTNeoX", **SMALL), layers=each("layers.{}.attention")),
    Decoder(name="Llama", make=hf("Llama", **GROUPED)),
    Decoder(name="Llama, padded on the left", make=hf("Llama", **GROUPED), batch=partial(causal, left=True)),
    Decoder(name="Mistral", make=hf("Mistral", **GROUPED, sliding_window=3)),
    Decoder(name="Mixtral", make=hf("Mixtral", **GROUPED, num_local_experts=2, experts_implementation="eager")),
    Decoder(name="Qwen2", make=hf("Qwen2", **GROUPED)),
    Decoder(name="Qwen3", make=hf("Qwen3", **GROUPED, head_dim=4)),
    Decoder(name="Gemma", make=hf("Gemma", **GROUPED, head_dim=4)),
    Decoder(name="Gemma 2", make=hf("Gemma2", **GROUPED, head_dim=4, sliding_window=3, attn_logit_softcapping=2.0),
        since="5.21", differentiable=False),  # in float64, NaN where a window sees padding alone
    Decoder(name="Gemma 3", make=hf("Gemma3Text", **GROUPED, head_dim=4, sliding_window=3,
        layer_types=["sliding_attention", "full_attention"])),
    Decoder(name="Phi", make=hf("Phi", **GROUPED)),
    Decoder(name="OLMo", make=hf("Olmo", **GROUPED)),
    Decoder(name="DeepSeek-V3", make=hf("DeepseekV3", **{**GROUPED, "num_key_value_heads": HEADS},
        moe_intermediate_size=8, n_routed_experts=4, n_group=2, topk_group=1, num_experts_per_tok=2,
        first_k_dense_replace=1, experts_implementation="eager", kv_lora_rank=8, q_lora_rank=8, qk_rope_head_dim=4,
        v_head_dim=6, qk_nope_head_dim=4)),
    Decoder(name="GPT-OSS", make=hf("GptOss", **GROUPED, head_dim=4, num_local_experts=2, num_experts_per_tok=1,
        sliding_window=3, experts_implementation="eager")),
    Decoder(name="Cohere", make=hf("Cohere", **GROUPED)),
    Decoder(name="Cohere 2", make=hf("Cohere2", **GROUPED, sliding_window=3, sliding_window_pattern=2)),
    Decoder(name="StableLM", make=hf("StableLm", **GROUPED)),
    Decoder(name="Granite", make=hf("Granite", **GROUPED)),
    Decoder(name="BioGPT", make=hf("BioGpt", **SMALL, pad_token_id=0)),
    Decoder(name="OPT", make=hf("OPT", vocab_size=VOCABULARY, hidden_size=WIDTH, num_hidden_layers=2,
        num_attention_heads=HEADS, ffn_dim=16, max_position_embeddings=64, pad_token_id=0, word_embed_proj_dim=WIDTH),
        layers=each("decoder.layers.{}.self_attn")),
    Decoder(name="Falcon, one key head", make=hf("Falcon", **SMALL, multi_query=True, pad_token_id=0),
        layers=each("h.{}.self_attention"), way="sdpa"),
    Decoder(name="Falcon, grouped keys", make=hf("Falcon", **SMALL, new_decoder_architecture=True, num_kv_heads=2,
        pad_token_id=0), layers=each("h.{}.self_attention"), way="sdpa"),
    Decoder(name="Falcon with alibi", make=hf("Falcon", **SMALL, multi_query=False, alibi=True, pad_token_id=0),
        layers=each("h.{}.self_attention"), way="sdpa", reference=falcon_alibi, differentiable=False),
    Decoder(name="Falcon with alibi, eager", make=hf("Falcon", **SMALL, multi_query=False, alibi=True, pad_token_id=0,
        attn_implementation="eager"), layers=each("h.{}.self_attention"), **BY_HAND),
    Decoder(name="BLOOM", make=hf("Bloom", vocab_size=VOCABULARY, hidden_size=WIDTH, n_layer=2, n_head=HEADS,
        pad_token_id=0), layers=each("h.{}.self_attention"), **BY_HAND),
    Decoder(name="MPT", make=hf("Mpt", vocab_size=VOCABULARY, d_model=WIDTH, n_layers=2, n_heads=HEADS,
        expansion_ratio=1, max_seq_len=64), layers=each("blocks.{}.attn"), **BY_HAND),
    Decoder(name="GPT-Neo", make=hf("GPTNeo", vocab_size=VOCABULARY, hidden_size=WIDTH, num_layers=2, num_heads=HEADS,
        window_size=3, attention_types=[[["global", "local"], 1]], max_position_embeddings=64),
        layers=each("h.{}.attn.attention"), **BY_HAND),
    Decoder(name="GPT-J", make=hf("GPTJ", **GPT, rotary_dim=4), layers=each("h.{}.attn"),
        interface_since="5.24", **BY_HAND),
    Decoder(name="CodeGen", make=hf("CodeGen", **GPT, rotary_dim=4), layers=each("h.{}.attn"),
        interface_since="5.24", **BY_HAND),
    Decoder(name="XGLM", make=hf("XGLM", vocab_size=VOCABULARY, d_model=WIDTH, num_layers=2, attention_heads=HEADS,
        ffn_dim=16, pad_token_id=0), differentiable=False, **BY_HAND),  # has no float64
    # Encoder and decoder.
    Pair(name="T5", make=hf("T5", **T5), layers=T5_LAYERS, cross="EncDec"),
    Pair(name="mT5", make=hf("MT5", **T5), layers=T5_LAYERS, cross="EncDec"),
    Pair(name="UMT5", make=hf("UMT5", **T5), layers=T5_LAYERS, cross="EncDec"),
    Pair(name="BART", make=hf("Bart", **BART)),
    Pair(name="mBART", make=hf("MBart", **BART)),
    Pair(name="Pegasus", make=hf("Pegasus", **BART)),
    Pair(name="Marian", make=hf("Marian", **BART)),
    Pair(name="M2M-100", make=hf("M2M100", **BART)),
    Pair(name="Blenderbot", make=hf("Blenderbot", **BART)),
    Pair(name="BigBird-Pegasus, full", make=hf("BigBirdPegasus", **BART, attention_type="original_full"),
        layers=(*each("encoder.layers.{}.self_attn.self"), *BART_LAYERS[2:]),
        other_ways={f"encoder.layers.{i}.self_attn.self": "by hand" for i in (0, 1)}),
    Pair(name="Whisper", make=hf("Whisper", **BART, max_source_positions=8, max_target_positions=16, num_mel_bins=4),
        batch=speech),
    # Images and sound.
    Vision(name="ViT", make=hf("ViT", **VIT)),
    Vision(name="DeiT", make=hf("DeiT", **VIT)),
    Vision(name="DINOv2", make=hf("Dinov2", **IMAGE, mlp_ratio=1), layers=each("encoder.layer.{}.attention")),
    Vision(name="BEiT", make=hf("Beit", **VIT, use_relative_position_bias=True)),
    Vision(name="Swin", make=hf("Swin", **SWIN), batch=partial(images, 8),
        layers=tuple(f"encoder.layers.{i}.blocks.{j}.attention" for i in (0, 1) for j in (0, 1)),
        reference=eager_modules("SwinAttention")),
    Vision(name="Swin v2", make=hf("Swinv2", **SWIN), batch=partial(images, 8),
        layers=tuple(f"encoder.layers.{i}.blocks.{j}.attention.self" for i in (0, 1) for j in (0, 1)),
        reference=eager_modules("Swinv2SelfAttention"), **BY_HAND),
    Vision(name="CLIP, both towers", make=hf("CLIP", text_config={**SMALL, **ENDS}, vision_config=VIT,
        projection_dim=8), batch=captioned, layers=CLIP_LAYERS, reference=eager_towers, real=text_tower, result=lambda
        output: output.logits_per_text),
    Vision(name="SigLIP, both towers", make=hf("Siglip", text_config={**SMALL, **ENDS}, vision_config=VIT),
        batch=captioned, layers=(*CLIP_LAYERS[:2], "vision_model.head.attention", *CLIP_LAYERS[2:]),
        cross="head.attention", other_ways={"vision_model.head.attention": "multi-head"}, reference=eager_siglip,
        differentiable=False, real=text_tower, result=lambda output: output.logits_per_text),
    Vision(name="timm ViT", make=timm_model, batch=lambda: {"x": images()["pixel_values"]},
        layers=each("blocks.{}.attn"), way="sdpa", reference=timm_maps, result=itself, needs=("timm", "torchvision"),
        differentiable=False),
    Architecture(name="Wav2Vec2", make=hf("Wav2Vec2", **SOUND, do_stable_layer_norm=True), batch=sound,
        layers=each("encoder.layers.{}.attention"), real=sound_frames),
    Architecture(name="HuBERT", make=hf("Hubert", **SOUND), batch=sound, layers=each("encoder.layers.{}.attention"),
        real=sound_frames),
    Architecture(name="Wav2Vec2-BERT, relative keys", make=hf("Wav2Vec2Bert", hidden_size=WIDTH, num_hidden_layers=2,
        num_attention_heads=HEADS, intermediate_size=16, feature_projection_input_dim=8,
        position_embeddings_type="relative_key"), batch=lambda: {"input_features": torch.randn(EXAMPLES, LENGTH, 8),
        "attention_mask": real()}, layers=each("encoder.layers.{}.self_attn")),
    # torch's own modules.
    Torch(name="multi-head, no weights", make=partial(MultiHead, need_weights=False), exact=False),
    Torch(name="multi-head, mean weights", make=MultiHead, exact=False),
    Torch(name="multi-head, weights per head", make=partial(MultiHead, average_attn_weights=False), exact=False),
    Torch(name="multi-head, position first, causal", make=partial(MultiHead, mask="causal", settings={"batch_first":
        False}, need_weights=False)),
    Torch(name="multi-head, a mask per head", make=partial(MultiHead, mask="per head", need_weights=False)),
    Torch(name="multi-head, cross, other widths", make=partial(MultiHead, settings={"kdim": 6, "vdim": 6},
        need_weights=False), batch=partial(vectors_and_memory, 6), cross="attention"),
    Torch(name="multi-head, learned key", make=partial(MultiHead, settings={"add_bias_kv": True}, need_weights=False)),
    Torch(name="torch encoder, fast path", make=partial(torch_encoder, nested=True),
        layers=each("stack.layers.{}.self_attn"), exact=False),
    Torch(name="torch encoder, slow path", make=partial(torch_encoder, batch_first=False),
        layers=each("model.stack.layers.{}.self_attn")),
    Torch(name="torch decoder", make=torch_decoder, batch=vectors_and_memory, cross="multihead", exact=False,
        layers=tuple(f"stack.layers.{i}.{part}" for i in (0, 1) for part in ("self_attn", "multihead_attn"))),
    # Our Transformer.
    Ours(name="our encoder", make=OurStack, layers=each("stack.layers.{}.attention")),
    Ours(name="our encoder, causal", make=partial(OurStack, causal=True), layers=each("stack.layers.{}.attention")),
    Ours(name="our encoder, window", make=partial(OurStack, window=1), layers=each("stack.layers.{}.attention")),
    Ours(name="our decoder", make=partial(OurStack, decoder=True), batch=vectors_and_memory,
        layers=tuple(f"stack.layers.{i}.{part}" for i in (0, 1) for part in ("attention", "cross")), cross="cross"),
    Ours(name="our encoder-decoder", make=our_pair, batch=our_pair_batch, layers=stacks("encoder.layers.{}.attention",
        "decoder.layers.{}.attention", "decoder.layers.{}.cross"), cross="cross", real=our_tokens),
    Ours(name="our classifier", make=lambda: own.Classifier(own.Architecture(kind="text", **OUR_SHAPE)), batch=tokens,
        layers=each("encoder.layers.{}.attention"), real=our_tokens),
    # Written by hand.
    Architecture(name="torch's fused call, grouped keys", make=partial(HandMade, width=WIDTH), batch=vectors,
        layers=("first", "second"), way="sdpa", reference=hand_made, real=lambda batch, layer: not_padded(batch, layer) if
        layer else None, result=itself),
    *(Architecture(name=f"by hand, {style}", make=partial(Tutorials, style), batch=vectors, layers=each("layers.{}"),
        way="by hand", reference=kept, differentiable=style != "bmm", real=not_padded, result=itself) for style in
        ("matmul", "einsum", "bmm")),
)
# fmt: on


# What cannot be captured, and what the refusal says.


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A model that is refused, never traced in part."""

    name: str
    make: Callable[[], nn.Module]
    batch: Callable[[], Batch]
    message: str  # a regular expression

    build, inputs = Architecture.build, Architecture.inputs


LONGFORMER = {**SMALL, "attention_window": 4, "pad_token_id": 0}
BY_HAND_MESSAGE = r"{} .*by hand in a way that cannot be followed"
NOTHING_SEEN = "no attention call was seen"


def globally() -> Batch:
    return {
        **text(8, 5),
        "global_attention_mask": torch.eye(1, 8, dtype=torch.long).expand(EXAMPLES, 8).clone(),
    }


# fmt: off
REFUSED: tuple[Refused, ...] = (
    # Weights in a band, in blocks or sampled: there is no matrix to read.
    Refused(name="Longformer", make=hf("Longformer", **LONGFORMER), batch=partial(text, 8, 5),
        message=BY_HAND_MESSAGE.format("LongformerModel: 'encoder.layer.0.attention.self")),
    Refused(name="Longformer with global tokens", make=hf("Longformer", **LONGFORMER), batch=globally,
        message=BY_HAND_MESSAGE.format("LongformerModel: 'encoder.layer.0.attention.self")),
    Refused(name="LED", make=hf("LED", **BART, attention_window=4, max_encoder_position_embeddings=64,
        max_decoder_position_embeddings=64), batch=partial(pair, 8),
        message=BY_HAND_MESSAGE.format("LEDModel: 'encoder.layers.0.self_attn.longformer_self_attn")),
    Refused(name="BigBird, sparse", make=hf("BigBird", **SMALL, attention_type="block_sparse", block_size=2,
        num_random_blocks=1), batch=partial(text, 20, 15),
        message=BY_HAND_MESSAGE.format("BigBirdModel: 'encoder.layer.0.attention.self") +
        ".*attention_type='original_full'"),
    Refused(name="LongT5, local", make=hf("LongT5", **T5, local_radius=2), batch=pair,
        message=BY_HAND_MESSAGE.format("LongT5Model: 'encoder.block.0.layer.0.LocalSelfAttention")),
    Refused(name="LongT5, transient global", make=hf("LongT5", **T5, local_radius=2,
        encoder_attention_type="transient-global", global_block_size=2), batch=pair,
        message=BY_HAND_MESSAGE.format("LongT5Model: 'encoder.block.0.layer.0.TransientGlobalSelfAttention")),
    Refused(name="ProphetNet", make=hf("ProphetNet", vocab_size=VOCABULARY, hidden_size=WIDTH, num_encoder_layers=2,
        num_decoder_layers=2, num_encoder_attention_heads=HEADS, num_decoder_attention_heads=HEADS, encoder_ffn_dim=16,
        decoder_ffn_dim=16, pad_token_id=0, decoder_start_token_id=0, max_position_embeddings=64), batch=pair,
        message=BY_HAND_MESSAGE.format("ProphetNetModel: 'decoder.layers.0.self_attn")),
    Refused(name="Reformer", make=hf("Reformer", vocab_size=VOCABULARY, hidden_size=WIDTH, num_attention_heads=HEADS,
        attention_head_size=4, attn_layers=["local", "lsh"], local_attn_chunk_length=4, lsh_attn_chunk_length=4,
        axial_pos_shape=[4, 4], axial_pos_embds_dim=[8, 8], feed_forward_size=16, max_position_embeddings=16,
        num_buckets=2), batch=partial(text, 16, 9), message="LSHSelfAttention.* ran and no attention call was seen in it"),
    Refused(name="YOSO", make=hf("Yoso", **SMALL, use_expectation=True), batch=text,
        message="YosoSelfAttention.* ran and no attention call was seen in it"),
    Refused(name="Nystromformer", make=hf("Nystromformer", **SMALL, num_landmarks=4, segment_means_seq_len=8,
        conv_kernel_size=3), batch=lambda: {"input_ids": text(8, 5)["input_ids"]},
        message=r"encoder\.layer\.0\.attention\.self"),
    # Weights mixed between heads after the softmax.
    Refused(name="DeBERTa, talking heads", make=hf("Deberta", **DEBERTA, talking_head=True), batch=text,
        message=BY_HAND_MESSAGE.format("DebertaModel: 'encoder.layer.0.attention.self")),
    # No attention.
    Refused(name="RWKV", make=hf("Rwkv", vocab_size=VOCABULARY, hidden_size=WIDTH, num_hidden_layers=2,
        attention_hidden_size=WIDTH), batch=unmasked, message="RwkvSelfAttention.* linear attention, which has no map"),
    Refused(name="FNet", make=hf("FNet", **SMALL, pad_token_id=0), batch=unmasked,
        message=f"FNetModel ran, but {NOTHING_SEEN}"),
    Refused(name="Mamba", make=hf("Mamba", vocab_size=VOCABULARY, hidden_size=WIDTH, num_hidden_layers=2,
        state_size=4), batch=unmasked, message=f"MambaModel ran, but {NOTHING_SEEN}"),
    # Written by hand, beside an attention that is seen.
    *(Refused(name=f"by hand, {style}", make=partial(beside_odd, style), batch=vectors, message="part") for style in
        ("relative values", "the difference of two", "the largest only", "renormalised", "no product")),
    Refused(name="by hand, heads not stated", make=lambda: Beside(Headless()), batch=vectors, message="part.*heads"),
)
# fmt: on
