"""Vision Transformers of transformers as Subjects: an image is a grid of patches of pixels."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import DataError, ModelError, did_you_mean
from ..records import Rows
from .calls import Call
from .models import Batch, Subject, label_index
from .placing import placed
from .tap import tap
from .text_subjects import widened
from .weights import read_settings, unreadable


def image_classifier(
    path: Path, model: Any, *, labels: tuple[str, ...], positive: str | None, **common: Any
) -> Subject:
    """A classifier of images in the column `pixels`: (example, height, width, channel), uint8.

    What is embedded are the processed pixels themselves, one token per patch (example, patch, channel x height
    x width). A patch embedding is linear, so integrated gradients are the same as from the embedded patches. That
    the n-th patch is the n-th position of the attention maps, after the class and register tokens, is
    proved once on loading.
    """
    processor = _processor(path)
    patch = _patch(model)
    dtype = next(model.parameters()).dtype

    def encode(rows: Rows) -> Batch:
        made = _processed(processor, _pixels(rows, common["name"]), path)
        _grid(made, patch)
        return {"pixel_values": placed(made, common["device"], dtype)}

    def forward(batch: Batch, embedded: Tensor | None) -> Tensor:
        images = batch["pixel_values"]
        given = images if embedded is None else unpatched(embedded, images.shape[2:], patch)
        logits: Tensor = model(pixel_values=given).logits
        return widened(logits)

    blank = np.zeros((1, *_size(processor, patch), _channels(model)), dtype=np.uint8)
    probe = torch.zeros_like(_processed(processor, blank, path)).to(common["device"], dtype)
    rows_of, columns_of = _grid(probe, patch)
    prefix = _prefix(model, probe, patch)
    names = tuple(f"row {i}, column {j}" for i in range(rows_of) for j in range(columns_of))

    def named(rows: Rows) -> tuple[tuple[str, ...], ...]:
        return (names,) * len(rows)

    return Subject(
        module=model,
        labels=labels,
        positive=label_index(labels, positive),
        threshold=0.0,
        baseline=f"the processor's mean image: every pixel 0 after normalisation, {_mean(processor)} of full brightness",
        prefix=prefix,
        special=prefix,
        columns=("pixels",),
        encode=encode,
        names=named,
        embed=lambda batch: patched(batch["pixel_values"], patch),
        reference=lambda batch: torch.zeros_like(patched(batch["pixel_values"], patch)),
        forward=forward,
        **common,
    )


def patched(
    images: Float[Tensor, "example channel height width"], patch: tuple[int, int]
) -> Float[Tensor, "example patch pixel"]:
    """Images as patches, row by row; `pixel` runs over channels, then rows and columns of a patch."""
    n, channels, height, width = images.shape
    grid = images.reshape(n, channels, height // patch[0], patch[0], width // patch[1], patch[1])
    return grid.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def unpatched(
    patches: Float[Tensor, "example patch pixel"], size: torch.Size, patch: tuple[int, int]
) -> Float[Tensor, "example channel height width"]:
    """The images of these patches: the inverse of `patched`."""
    rows, columns = size[0] // patch[0], size[1] // patch[1]
    grid = patches.reshape(len(patches), rows, columns, -1, *patch)
    return grid.permute(0, 3, 1, 4, 2, 5).reshape(len(patches), -1, *size)


def _processor(path: Path) -> Any:
    import transformers

    read_settings(path / "preprocessor_config.json")
    try:
        auto: Any = transformers.AutoImageProcessor
        return auto.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise unreadable(path, error) from error


def _processed(
    processor: Any, images: np.ndarray, path: Path
) -> Float[Tensor, "example channel height width"]:
    try:
        made: Tensor = processor(list(images), return_tensors="pt", input_data_format="channels_last")[
            "pixel_values"
        ]
    except Exception as error:
        raise ModelError(
            f"the image processor of {path} cannot read images of shape {images.shape[1:]}: {error}."
        ) from error
    return made


def _pixels(rows: Rows, name: str) -> np.ndarray:
    if "pixels" not in rows.inputs:
        raise DataError(
            f"the model {name} reads the column 'pixels', which is missing: {did_you_mean('pixels', rows.inputs)}"
        )
    pixels = np.asarray(rows.inputs["pixels"])
    if pixels.ndim != 4 or pixels.dtype != np.uint8 or pixels.shape[3] not in (1, 3):
        raise DataError(
            f"'pixels' is {pixels.dtype} of shape {pixels.shape}; uint8 (example, height, width, channel) with 1 or 3 "
            "channels is expected. Images as fractions of 1 are multiplied by 255 first: (255 * x).astype('uint8')."
        )
    return pixels


def _patch(model: Any) -> tuple[int, int]:
    config = getattr(model.config, "vision_config", model.config)
    patch = getattr(config, "patch_size", None)
    if isinstance(patch, int):
        return patch, patch
    if isinstance(patch, (list, tuple)) and len(patch) == 2:
        return int(patch[0]), int(patch[1])
    raise _no_grid(model, "its settings name no single patch_size")


def _no_grid(model: Any, why: str) -> ModelError:
    return ModelError(
        f"{type(model).__name__} does not attend over one grid of patches ({why}). Supported are ViT-like models: ViT, "
        "DeiT, BEiT, DINOv2, CLIP, SigLIP. For another one use clinometer.wrap()."
    )


def _channels(model: Any) -> int:
    return int(getattr(getattr(model.config, "vision_config", model.config), "num_channels", 3))


def _size(processor: Any, patch: tuple[int, int]) -> tuple[int, int]:
    size = dict(processor.size) if getattr(processor, "size", None) is not None else {}
    height = size.get("height") or size.get("shortest_edge") or 8 * patch[0]
    return int(height), int(size.get("width") or size.get("shortest_edge") or 8 * patch[1])


def _grid(images: Tensor, patch: tuple[int, int]) -> tuple[int, int]:
    height, width = images.shape[2:]
    if height % patch[0] or width % patch[1]:
        raise ModelError(
            f"the processor gives images of {height} x {width}, which patches of {patch[0]} x {patch[1]} do not fill: the "
            "model would drop the rest. Set the processor's size to a multiple of the patch."
        )
    return height // patch[0], width // patch[1]


@torch.no_grad()
def _prefix(model: Any, blank: Tensor, patch: tuple[int, int]) -> tuple[str, ...]:
    """The tokens before the patches, once the first and the last patch are found where they should be."""
    changed = patched(blank, patch).repeat(3, 1, 1)
    changed[1, 0] += 1.0
    changed[2, -1] += 1.0
    calls: list[Call] = []
    try:
        with tap(model, calls.append):
            model(pixel_values=unpatched(changed, blank.shape[2:], patch))
    except (RuntimeError, ValueError, TypeError) as error:
        raise _no_grid(model, f"it does not run on a mean image: {str(error).splitlines()[0]}") from error
    query = calls[0].query
    if query is None or len(query) != 3:
        raise _no_grid(model, "its first attention runs over windows or is not seen")
    n_patches = changed.shape[1]
    extra = query.shape[2] - n_patches
    moved = [(query[i] - query[0]).abs().amax(dim=(0, 2)).nonzero()[:, 0].tolist() for i in (1, 2)]
    if extra < 0 or moved != [[extra], [extra + n_patches - 1]]:
        raise _no_grid(model, f"{n_patches} patches are read at {query.shape[2]} positions in another order")
    n_registers = getattr(model.config, "num_register_tokens", 0)
    registers = n_registers if isinstance(n_registers, int) and n_registers < extra else 0
    others = [f"[EXTRA {i}]" for i in range(1, extra - registers)]
    return tuple(["[CLS]", *others, *[f"[REGISTER {i}]" for i in range(1, registers + 1)]][:extra])


def _mean(processor: Any) -> str:
    if not getattr(processor, "do_normalize", False) or getattr(processor, "image_mean", None) is None:
        return "0"
    mean = processor.image_mean
    return ", ".join(f"{float(value):.3g}" for value in (mean if isinstance(mean, (list, tuple)) else [mean]))
