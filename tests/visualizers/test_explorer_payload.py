"""What travels to the explorer: bytes that give the values back, within budgets, the same each time."""

import dataclasses
import gzip
import json

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from clinometer.errors import DataError
from clinometer.visualizers import explorer_payload as payload
from clinometer.visualizers.explorer_bytes import (
    attention_bytes,
    contribution_bytes,
    image_uri,
    packed,
    thumbnails,
)
from reference.explored import (
    SENTENCE,
    attention_maps,
    hostile_scene,
    image_scene,
    long_scene,
    sample_gap,
    series_scene,
    table_scene,
    text_scene,
)


def unpacked(one: payload.Packed) -> dict[str, np.ndarray]:
    """What the script reads, written the plain way."""
    data = gzip.decompress(one.data)
    assert len(data) == one.raw
    return {
        part["name"]: np.frombuffer(
            data, dtype=part["type"], count=int(np.prod(part["shape"], dtype=int)), offset=part["at"]
        ).reshape(part["shape"])
        for part in one.layout
    }


def test_packed_arrays_come_back_and_are_aligned() -> None:
    arrays = {
        "a": np.arange(3, dtype=np.uint8),
        "b": np.linspace(-1, 1, 5, dtype=np.float32),
        "c": np.zeros((0, 4), np.int8),
    }
    one = packed(arrays)
    for name, back in unpacked(one).items():
        assert_array_equal(back, arrays[name])
    assert all(part["at"] % 8 == 0 for part in one.layout)
    assert packed(arrays) == one  # byte for byte, no time of day inside


def test_attention_comes_back_to_half_a_step_of_its_root() -> None:
    weights = attention_maps(np.random.default_rng(0), (2, 2, 40, 40))
    back = (attention_bytes(weights) / 255.0) ** 2
    assert np.abs(np.sqrt(back) - np.sqrt(weights)).max() <= 0.5 / 255 + 1e-6
    assert np.abs(back - weights).max() < 4e-3
    # the negative control: linear steps lose most of the small weights, roots keep them
    small = (weights > 1e-5) & (weights < 1e-3)
    assert (np.rint(255 * weights[small]) == 0).mean() > 0.99
    assert (attention_bytes(weights)[small] == 0).mean() < 0.2


@pytest.mark.parametrize("levels", [127, 31])
def test_contributions_come_back_with_their_signs(levels: int) -> None:
    values = np.random.default_rng(1).normal(size=(30, 30)) ** 3
    full = np.abs(values).max()
    sent = contribution_bytes(values, full, levels)
    back = np.sign(sent) * (sent / levels) ** 2 * full
    assert np.abs(sent).max() == levels
    assert np.all((np.sign(back) == np.sign(values)) | (sent == 0))
    roots = np.sqrt(np.abs(back) / full) - np.sqrt(np.abs(values) / full)
    assert np.abs(roots).max() <= 0.5 / levels + 1e-9


def test_what_is_not_a_number_is_nothing() -> None:
    assert attention_bytes(np.array([np.nan, 1.0])).tolist() == [0, 255]
    assert contribution_bytes(np.array([np.nan, -2.0]), 2.0, 127).tolist() == [0, -127]


@pytest.mark.parametrize(("rows", "columns", "side"), [(128, 128, 32), (50, 33, 16), (5, 40, 8), (7, 7, 8)])
def test_thumbnails_keep_the_largest_of_each_block(rows: int, columns: int, side: int) -> None:
    values = np.random.default_rng(2).normal(size=(3, rows, columns))
    small = thumbnails(values, side)
    height, width = min(rows, side), min(columns, side)
    expected = np.zeros((3, height, width))
    for r in range(height):
        for c in range(width):
            block = values[
                :,
                r * rows // height : (r + 1) * rows // height,
                c * columns // width : (c + 1) * columns // width,
            ].reshape(3, -1)
            expected[:, r, c] = np.take_along_axis(block, np.abs(block).argmax(1)[:, None], 1)[:, 0]
    assert_allclose(small, expected)


def test_a_small_example_holds_every_map() -> None:
    scene = text_scene()
    one = payload.pack_scene(scene)
    maps = unpacked(one.maps)
    assert one.words["maps"]["heads"] == list(range(16))
    assert maps["attention"].shape == (16, 22, 22)
    head = maps["contribution"][5] / one.words["maps"]["levels"]
    back = np.sign(head) * head**2 * maps["contribution_full"][5]
    assert_allclose(back, scene.contribution[1, 1], atol=1e-2 * maps["contribution_full"][5])
    first = unpacked(one.first)
    assert_allclose(first["scores"], scene.scores, rtol=1e-6)
    assert_allclose(first["importance"], scene.importance, rtol=1e-6)
    assert_allclose(first["closings"], scene.closings, rtol=1e-6)
    assert json.loads(json.dumps(one.words, allow_nan=False)) == one.words


def test_a_view_of_12_layers_of_12_heads_and_128_tokens_is_light() -> None:
    """At most 2.5 MB of what travels, with all maps of A and of A x dA."""
    scene = text_scene(layers=12, heads=12, tokens=("[CLS]", *(SENTENCE * 8)[:126], "[SEP]"))
    one = payload.pack_scene(scene)
    assert len(one.words["maps"]["heads"]) == 144
    assert one.raw <= payload.BUDGET
    assert one.compressed + len(json.dumps(one.words)) <= 2_500_000


def test_maps_that_hardly_compress_are_kept_in_fewer_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    scene = text_scene(layers=6, heads=6, tokens=tuple(f"t{i}" for i in range(96)))
    spread = dataclasses.replace(
        scene, contribution=rng.normal(size=scene.attention.shape).astype(np.float32)
    )
    every = payload.LEVELS
    sizes = {}
    for last, levels in enumerate(every):
        monkeypatch.setattr(payload, "LIGHT", 0)  # nothing is light enough: the last of the steps
        monkeypatch.setattr(payload, "LEVELS", every[: last + 1])
        sizes[levels] = payload.pack_scene(spread).compressed
    assert sizes[127] > 1.05 * sizes[31] and sizes[31] > 1.05 * sizes[15]
    for levels, size in sizes.items():
        monkeypatch.setattr(payload, "LIGHT", size)
        assert payload.pack_scene(spread).words["maps"]["levels"] == levels


@pytest.fixture(scope="module")
def large() -> payload.Scene:
    """24 layers of 16 heads over 512 tokens, whose maps are made when they are asked for: whole, they are 200 MB."""
    small = text_scene(layers=24, heads=16, tokens=tuple(f"t{i}" for i in range(32)))

    def detail(layer: int, head: int, q0: int, q1: int, k0: int, k1: int) -> tuple[np.ndarray, np.ndarray]:
        weights = np.roll(one, layer * 16 + head, axis=1)[q0:q1, k0:k1]
        return weights, weights - 1 / 512

    one = np.random.default_rng(4).random((512, 512)) / 256

    names = tuple(f"t{i}" for i in range(512))
    return dataclasses.replace(
        small,
        tokens=names,
        queries=names,
        words=tuple(range(512)),
        scores=np.zeros((2, 2, 512)),
        attention=None,
        contribution=None,
        overview=small.attention,
        detail=detail,
    )


def test_24_layers_of_16_heads_and_512_tokens_stay_within_the_budget(large: payload.Scene) -> None:
    live = payload.pack_scene(large, live=True)
    assert live.words["maps"]["heads"] == [] and live.raw <= payload.BUDGET
    page = payload.pack_scene(large)
    held = page.words["maps"]["heads"]
    assert page.raw <= payload.BUDGET and len(held) >= 10
    order = np.argsort(-np.abs(large.importance[0]).ravel(), kind="stable")
    assert set(held) == set(order[: len(held)].tolist())  # the most important ones, not the first ones
    whole = payload.pack_scene(large, budget=12_000_000)
    assert len(whole.words["maps"]["heads"]) > len(
        held
    )  # the negative control: it is the budget that leaves out


def test_32_768_tokens_stay_within_the_budget() -> None:
    scene = long_scene()
    for one in (payload.pack_scene(scene, live=True), *payload.pack_page([scene])):
        assert one.raw <= payload.BUDGET
        assert one.words["maps"]["heads"] == []
        assert unpacked(one.first)["overview"].shape == (24, 16, 64, 64)
        assert len(json.dumps(one.words)) < 2_000_000
    window = unpacked(payload.window_bytes(scene, 3, 2, (1000, 1128, 32_640, 32_768)))
    assert window["attention"].shape == window["contribution"].shape == (128, 128)


def test_small_weights_of_an_overview_survive() -> None:
    scene = long_scene(4096, layers=2, heads=2)
    first = unpacked(payload.pack_scene(scene, live=True).first)
    assert scene.overview is not None and scene.overview.max() < 0.02
    back = (first["overview"] / 255.0) ** 2 * first["attention_full"][..., None, None]
    assert_allclose(back, scene.overview, atol=4e-3 * scene.overview.max())


def test_a_page_of_many_examples_shares_one_budget() -> None:
    scenes = [
        text_scene(f"e{i}", seed=i, layers=6, heads=6, tokens=tuple(f"t{j}" for j in range(96)))
        for i in range(30)
    ]
    made = payload.pack_page(scenes, budget=3_000_000)
    assert sum(one.raw for one in made) <= 3_000_000
    counts = [len(one.words["maps"]["heads"]) for one in made]
    assert counts[0] == 36 and min(counts) >= 1
    with pytest.raises(DataError, match=r"30 examples need .* bytes before any map, more than 100,000"):
        payload.pack_page(scenes, budget=100_000)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(DataError, match=r"needs .* bytes before any map, more than 1,000"):
        payload.pack_scene(text_scene(), budget=1_000)


@pytest.mark.parametrize(
    ("layer", "head", "window", "message"),
    [
        (9, 0, (0, 1, 0, 1), "no head L9.H0"),
        (0, 0, (0, 23, 0, 1), "outside of 22 queries"),
        (0, 0, (3, 3, 0, 1), "outside of 22 queries"),
    ],
    ids=["head", "beyond", "empty"],
)
def test_windows_that_are_not_there_are_refused(
    layer: int, head: int, window: tuple[int, int, int, int], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        payload.window_bytes(text_scene(), layer, head, window)


def test_windows_that_are_too_large_are_refused() -> None:
    with pytest.raises(DataError, match="more than 2,000,000 cells"):
        payload.window_bytes(long_scene(4096, layers=1, heads=1), 0, 0, (0, 4096, 0, 4096))


def test_an_example_without_maps_says_so() -> None:
    bare = dataclasses.replace(text_scene(), attention=None, contribution=None)
    one = payload.pack_scene(bare)
    assert one.words["maps"]["heads"] == [] and one.words["detail"] is False
    with pytest.raises(DataError, match="holds no maps and no way to them"):
        payload.window_bytes(bare, 0, 0, (0, 1, 0, 1))


def test_a_window_is_the_part_of_the_map() -> None:
    scene = text_scene()
    window = unpacked(payload.window_bytes(scene, 2, 3, (4, 9, 1, 20)))
    back = (window["attention"] / 255.0) ** 2 * window["attention_full"]
    assert_allclose(back, scene.attention[2, 3, 4:9, 1:20], atol=4e-3)


def test_the_table_of_examples_has_text_for_every_kind() -> None:
    assert payload.listed(text_scene())["text"].startswith("The nurse told the engineer")
    assert "unbelievable" in payload.listed(text_scene())["text"]
    assert payload.listed(table_scene())["text"].startswith("age 41, income 52,300")
    assert payload.listed(image_scene())["text"] == payload.listed(series_scene())["text"] == ""
    assert len(payload.listed(hostile_scene())["text"]) <= payload.SNIPPET


def test_the_index_is_json_whatever_is_unknown() -> None:
    scene = text_scene(facts={"label": None}, wrong=None, value=np.array([np.nan, 1.0]))
    gap = dataclasses.replace(sample_gap(), shares=np.full((4, 4), np.nan))
    made = payload.index([scene], [], gap=gap, names=("", ""), title="", live=True, phrases={})
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    assert made["index"][0]["value"] is None and made["gap"]["shares"][0][0] is None


def test_pictures_keep_their_kind() -> None:
    assert image_uri(b"\x89PNG").startswith("data:image/png;base64,")
    assert image_uri(b"\xff\xd8\xff").startswith("data:image/jpeg;base64,")
