"""Images: patches are where the maps say they are, the baseline is the mean image, and what is refused."""

import numpy as np
import pytest
import torch

from clinometer.errors import DataError, ModelError
from clinometer.interpret.head_effects import head_effects
from clinometer.interpret.image_subjects import patched, unpatched
from clinometer.interpret.methods import attribute
from clinometer.interpret.models import load, score
from clinometer.interpret.tracing import certify, trace
from clinometer.records import Rows
from reference.model_folders import image_folder

FAMILIES = [
    ("ViT", ("[CLS]",), {}),
    ("DeiT", ("[CLS]", "[EXTRA 1]"), {}),
    ("Beit", ("[CLS]",), {"use_absolute_position_embeddings": True}),
    ("Dinov2", ("[CLS]",), {}),
    ("Dinov2WithRegisters", ("[CLS]", "[REGISTER 1]", "[REGISTER 2]"), {"num_register_tokens": 2}),
    ("CLIP", ("[CLS]",), {}),
    ("Siglip", (), {}),
]


def pictures(n=3, height=20, width=30, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (n, height, width, 3), dtype=np.uint8)
    return Rows(ids=tuple(f"p{i}" for i in range(n)), inputs={"pixels": pixels})


@pytest.fixture(scope="module", params=FAMILIES, ids=[family for family, _, _ in FAMILIES])
def loaded(request, tmp_path_factory):
    family, prefix, settings = request.param
    return load(image_folder(tmp_path_factory.mktemp("image"), family, **settings)), prefix


def test_an_image_scores_in_a_batch_as_it_does_alone_and_as_the_model_says(loaded):
    subject, _ = loaded
    rows = pictures()
    alone = [score(subject, rows.take([i]))[0] for i in range(3)]
    np.testing.assert_allclose(score(subject, rows), alone, atol=1e-5)
    with torch.no_grad():
        logits = subject.module(pixel_values=subject.encode(rows)["pixel_values"]).logits
    expected = logits[:, 2] - (logits[:, 0] + logits[:, 1]) / 2
    np.testing.assert_allclose(score(subject, rows), expected.numpy(), atol=1e-5)
    assert subject.target == "logit(owl) - mean logit of cat, dog"
    assert np.ptp(alone) > 1e-4


def test_names_are_the_positions_of_the_maps(loaded):
    subject, prefix = loaded
    rows = pictures(2)
    names = subject.names(rows)[0]
    assert subject.prefix == prefix
    assert names[:2] == ("row 0, column 0", "row 0, column 1")
    seen = trace(subject, rows)
    assert all(call.n_keys == len(prefix) + len(names) for call in seen.calls if call.kind == "self")
    assert max(certify(subject, rows)["layers"].values()) < 1e-5


def test_attributions_add_up_from_the_mean_image(loaded):
    subject, _ = loaded
    rows = pictures(2)
    result = attribute(subject, rows, most_nodes=1280)
    assert result.converged.all()
    batch = subject.encode(rows)
    assert torch.count_nonzero(subject.reference(batch)) == 0
    with torch.no_grad():
        mean = subject.module(pixel_values=torch.zeros_like(batch["pixel_values"])).logits
    np.testing.assert_allclose(result.base_value, subject.select(mean).numpy(), atol=1e-5)
    assert "mean image" in subject.baseline and "0.5, 0.4, 0.3" in subject.baseline


def test_an_image_at_the_mean_is_the_baseline(tmp_path):
    subject = load(image_folder(tmp_path))
    mean = np.round(255 * np.array([0.5, 0.4, 0.3])).astype(np.uint8)
    rows = Rows(ids=("grey",), inputs={"pixels": np.broadcast_to(mean, (1, 20, 30, 3)).copy()})
    batch = subject.encode(rows)
    assert float(batch["pixel_values"].abs().max()) < 0.01, "but for rounding to 8 bits"


def test_heads_are_measured_over_class_token_and_patches(tmp_path):
    subject = load(image_folder(tmp_path))
    effects = head_effects(subject, pictures(2))
    assert effects.tokens[0][:2] == ("[CLS]", "row 0, column 0")
    np.testing.assert_allclose(effects.moved.sum(axis=3), effects.contribution, atol=1e-5)


def test_patches_are_cut_row_by_row_and_put_together_again():
    images = torch.arange(2 * 3 * 4 * 6, dtype=torch.float32).reshape(2, 3, 4, 6)
    patches = patched(images, (2, 3))
    assert patches.shape == (2, 4, 18)
    assert torch.equal(patches[1, 1], images[1, :, 0:2, 3:6].flatten())
    assert torch.equal(patches[0, 2], images[0, :, 2:4, 0:3].flatten())
    assert torch.equal(unpatched(patches, images.shape[2:], (2, 3)), images)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"pixel": np.zeros((1, 8, 8, 3), np.uint8)}, "did you mean 'pixel'"),
        ({"pixels": np.zeros((1, 8, 8, 3), np.float32)}, "float32.*uint8"),
        ({"pixels": np.zeros((1, 3, 8, 8), np.uint8)}, r"\(1, 3, 8, 8\)"),
        ({"pixels": np.zeros((1, 8, 8), np.uint8)}, "height, width, channel"),
    ],
)
def test_pixels_of_another_shape_are_refused(tmp_path, inputs, message):
    subject = load(image_folder(tmp_path))
    with pytest.raises(DataError, match=message):
        score(subject, Rows(ids=("p0",), inputs=inputs))


def test_a_model_over_windows_is_refused(tmp_path):
    from transformers import SwinConfig, ViTImageProcessor

    from reference.model_folders import labelled, save_random

    config = SwinConfig(
        image_size=16,
        patch_size=2,
        embed_dim=8,
        depths=[1, 1],
        num_heads=[2, 2],
        window_size=4,
        **labelled("a", "b"),
    )
    save_random(tmp_path, "SwinForImageClassification", config)
    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"one grid of patches.*windows.*wrap\(\)"):
        load(tmp_path)


def test_a_processor_that_the_patches_do_not_fill_is_refused(tmp_path):
    from transformers import ViTImageProcessor

    path = image_folder(tmp_path)
    ViTImageProcessor(size={"height": 13, "width": 18}).save_pretrained(path)
    with pytest.raises(ModelError, match=r"13 x 18.*6 x 6 do not fill"):
        load(path)


def test_a_folder_without_a_processor_is_refused(tmp_path):
    path = image_folder(tmp_path)
    (path / "preprocessor_config.json").unlink()
    with pytest.raises(ModelError, match=r"no preprocessor_config\.json"):
        load(path)
