"""The maps a model attends with: returned by its eager twin, or computed from what its modules were given."""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from clinometer.interpret import transformer as own

from .attending import Tutorial, run, split
from .padded import HEADS, LENGTH, Batch

Maps = list[Tensor]


@dataclass(frozen=True)
class Reference:
    """Maps in the order of the calls, (example, head, query, key); `result` where they are attached to its graph."""

    maps: Maps
    result: Any = None


def eager(model: nn.Module, batch: Batch) -> Reference:
    """What the same weights return in eager mode: each call's weights, encoder first, then self and cross in turn."""
    output = run_eager(eager_twin(model), batch)
    if output.get("encoder_attentions"):
        pairs = zip(output.decoder_attentions, output.cross_attentions, strict=True)
        return Reference([*output.encoder_attentions, *(part for both in pairs for part in both)], output)
    if output.get("cross_attentions"):
        pairs = zip(output.attentions, output.cross_attentions, strict=True)
        return Reference([part for both in pairs for part in both], output)
    return Reference(list(output.attentions), output)


def eager_twin(model: nn.Module) -> nn.Module:
    """The same weights in eager mode. Built anew: some classes silently ignore `set_attn_implementation`."""
    twin = type(model)._from_config(copy.deepcopy(model.config), attn_implementation="eager")  # type: ignore
    twin.load_state_dict(model.state_dict())
    return twin.to(next(model.parameters()).dtype).eval()


class WholeSoftmax(TorchFunctionMode):
    """Keeps float64 in softmaxes that eager attention asks for in float32 (where a float64 mask turns into -inf)."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is nn.functional.softmax and args[0].dtype == torch.float64:
            kwargs.pop("dtype", None)
        return func(*args, **kwargs)


def run_eager(twin: nn.Module, batch: Batch) -> Any:
    with WholeSoftmax():
        return twin(**batch, output_attentions=True)


def eager_towers(model: nn.Module, batch: Batch) -> Reference:
    output = run_eager(eager_twin(model), batch)
    towers = output.vision_model_output.attentions, output.text_model_output.attentions
    return Reference([part for tower in towers for part in tower], output)


def eager_siglip(model: nn.Module, batch: Batch) -> Reference:
    """The vision tower ends in a multi-head attention by which one learned query pools the patches."""
    twin = eager_twin(model)
    with entering(twin, nn.MultiheadAttention) as entered:
        output = run_eager(twin, batch)
    pooled = [plain_multi_head(*each) for each in entered]
    towers = output.vision_model_output.attentions, output.text_model_output.attentions
    return Reference([*towers[0], *pooled, *towers[1]], output)


def squeezed(model: nn.Module, batch: Batch) -> Reference:
    """SqueezeBERT returns scores, in the place of weights."""
    scores = run_eager(eager_twin(model), batch).attentions
    return Reference([each.exp() / each.exp().sum(dim=3, keepdim=True) for each in scores])


def perceived(model: nn.Module, batch: Batch) -> Reference:
    """The latents read the input, and then one another."""
    output = run_eager(eager_twin(model), batch)
    return Reference([*output.cross_attentions, *output.attentions], output)


def eager_modules(name: str) -> Callable[[nn.Module, Batch], Reference]:
    """Of a model that returns the maps of some blocks only: what its attention modules of a class return."""

    def run(model: nn.Module, batch: Batch) -> Reference:
        twin, maps = eager_twin(model), []
        hooks = [
            part.register_forward_hook(lambda _part, _args, out: maps.append(out[1]))
            for part in twin.modules()
            if type(part).__name__ == name
        ]
        output = run_eager(twin, batch)
        for hook in hooks:
            hook.remove()
        return Reference(maps, output)

    return run


@contextmanager
def entering(
    model: nn.Module, kind: type[nn.Module]
) -> Iterator[list[tuple[nn.Module, tuple[Any, ...], Batch]]]:
    """Collects what each module of a class is called with: the module, its arguments, its named arguments."""
    seen: list[tuple[nn.Module, tuple[Any, ...], Batch]] = []
    hooks = [
        part.register_forward_pre_hook(lambda *call: seen.append(call), with_kwargs=True)
        for part in model.modules()
        if isinstance(part, kind)
    ]
    yield seen
    for hook in hooks:
        hook.remove()


def softmax_of(
    query: Tensor, key: Tensor, scale: float, *, closed: Tensor | None = None, bias: Tensor | None = None
) -> Tensor:
    """softmax over keys of scale * q k^T + bias, where the pair is not closed."""
    scores = torch.einsum("bhqd,bhkd->bhqk", query, key) * scale
    scores = scores if bias is None else scores + bias
    scores = scores if closed is None else scores.masked_fill(closed, -math.inf)
    return scores.exp() / scores.exp().sum(dim=3, keepdim=True)


def plain_multi_head(module: nn.Module, args: tuple[Any, ...], named: Batch) -> Tensor:
    """The map of one nn.MultiheadAttention from its inputs and its weights (Vaswani et al. 2017, section 3.2.2)."""
    assert isinstance(module, nn.MultiheadAttention)
    given = {
        **dict(
            zip(
                ("query", "key", "value", "key_padding_mask", "need_weights", "attn_mask"), args, strict=False
            )
        ),
        **named,
    }
    query, key = given["query"], given["key"]
    if not module.batch_first:
        query, key = query.transpose(0, 1), key.transpose(0, 1)
    width, heads = module.embed_dim, module.num_heads
    if module.in_proj_weight is None:
        w_q, w_k = module.q_proj_weight, module.k_proj_weight
    else:
        w_q, w_k = module.in_proj_weight[:width], module.in_proj_weight[width : 2 * width]
    b_q, b_k = module.in_proj_bias[:width], module.in_proj_bias[width : 2 * width]
    keys = key @ w_k.T + b_k
    extra = 0
    if module.bias_k is not None:
        keys, extra = torch.cat([keys, module.bias_k.expand(len(keys), 1, -1)], dim=1), 1
    closed = torch.zeros(1, 1, query.shape[1], keys.shape[1], dtype=torch.bool)
    bias = None
    if given.get("key_padding_mask") is not None:
        pad = given["key_padding_mask"]
        pad = pad if pad.dtype == torch.bool else pad < 0
        closed = closed | nn.functional.pad(pad, (0, extra))[:, None, None, :]
    if given.get("attn_mask") is not None:
        mask = given["attn_mask"]
        mask = mask.unflatten(0, (-1, heads)) if mask.dim() == 3 else mask[None, None]
        mask = nn.functional.pad(mask, (0, extra))
        closed, bias = (closed | mask, None) if mask.dtype == torch.bool else (closed, mask)
    query = split(query @ w_q.T + b_q, heads)
    return softmax_of(query, split(keys, heads), query.shape[3] ** -0.5, closed=closed, bias=bias)


def multi_head(model: nn.Module, batch: Batch) -> Reference:
    """Of every nn.MultiheadAttention in a model, without torch's fused layer, which would go past them."""
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with entering(model, nn.MultiheadAttention) as entered:
            run(model, batch)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    return Reference([plain_multi_head(*each) for each in entered])


def ours(model: nn.Module, batch: Batch) -> Reference:
    """Of every attention module of our Transformer, from its inputs and its weights."""
    with entering(model, own.MultiHeadAttention) as entered:
        run(model, batch)
    maps = []
    for module, args, named in entered:
        assert isinstance(module, own.MultiHeadAttention)
        x, memory = args[0], args[1] if len(args) > 1 else args[0]
        query, key = split(module.query(x), module.heads), split(module.key(memory), module.heads)
        distance = torch.arange(query.shape[2])[:, None] - torch.arange(key.shape[2])[None, :]
        closed = torch.zeros_like(distance, dtype=torch.bool)
        if named.get("causal"):
            closed |= distance < 0
        if module.window is not None:
            closed |= distance.abs() > module.window
        closed = closed[None, None]
        if named.get("mask") is not None:
            closed = closed | ~named["mask"][:, None, None, :]
        maps.append(softmax_of(query, key, query.shape[3] ** -0.5, closed=closed).nan_to_num(0.0))
    return Reference(maps)


def falcon_alibi(model: nn.Module, batch: Batch) -> Reference:
    """softmax((q k^T + alibi) / sqrt(d)). Eager Falcon is no reference: it adds alibi twice, so that outputs differ."""
    seen: Maps = []
    hooks = [
        block.self_attention.query_key_value.register_forward_hook(lambda _part, _args, out: seen.append(out))
        for block in model.h  # type: ignore
    ]
    run(model, batch)
    for hook in hooks:
        hook.remove()
    mask = batch["attention_mask"]
    slopes = torch.tensor([2.0 ** (-8.0 * (head + 1) / HEADS) for head in range(HEADS)])
    place = ((mask.cumsum(dim=1) - 1) * mask).bfloat16()
    alibi = (slopes[:, None].bfloat16() * place[:, None, :]).to(seen[0].dtype)[:, :, None, :]
    closed = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1) | (mask == 0)[:, None, None, :]
    maps = []
    for fused in seen:
        each = fused.unflatten(2, (HEADS, 3, -1))
        query, key = each[..., 0, :].transpose(1, 2), each[..., 1, :].transpose(1, 2)
        scale = query.shape[3] ** -0.5
        maps.append(softmax_of(query, key, scale, closed=closed, bias=alibi * scale))
    return Reference(maps)


def timm_maps(model: nn.Module, batch: Batch) -> Reference:
    seen: Maps = []
    hooks = [
        block.attn.qkv.register_forward_hook(lambda _part, _args, out: seen.append(out))
        for block in model.blocks  # type: ignore
    ]
    run(model, batch)
    for hook in hooks:
        hook.remove()
    parts = [fused.unflatten(2, (3, HEADS, -1)) for fused in seen]
    maps = [
        softmax_of(part[:, :, 0].transpose(1, 2), part[:, :, 1].transpose(1, 2), part.shape[4] ** -0.5)
        for part in parts
    ]
    return Reference(maps)


def kept(model: nn.Module, batch: Batch) -> Reference:
    """Of a model written out in this file, which keeps its maps."""
    result = run(model, batch)
    return Reference([part.seen for part in model.modules() if isinstance(part, Tutorial)], result)


def hand_made(model: nn.Module, batch: Batch) -> Reference:
    """Of a model that calls torch's fused attention, or writes it out."""
    explicit = copy.deepcopy(model)
    explicit.first.explicit = explicit.second.explicit = True  # type: ignore
    result = run(explicit, batch)
    return Reference([explicit.first.seen, explicit.second.seen], result)  # type: ignore
