"""What the explorer sends, and how soon it draws: payloads, first paint, and a key press until the next frame.

python benchmarks/explorer.py --json explorer.json
python benchmarks/explorer.py --rounds 10 --views 12x12x128

Three views of random maps: 12 layers of 12 heads over 128 tokens, 24 of 16 over 512, and one text of 32,768 tokens
(means over 64 by 64 blocks). For each, bytes as the page holds them and as a notebook is sent them; and, in headless
Chromium on the offline page:

* first paint: from the start of navigation until the first frame after all panels were drawn (`data-drawn`), the maps
  as their thumbnails have them;
* whole maps: until the first frame after they were unpacked and drawn (`data-ready`);
* key to redraw: from an arrow key in the grid of heads until the frame after all panels were drawn, `--rounds` keys;
* the script's share of it: the handlers alone, without the browser's own layout and paint.

A notebook adds a round trip to Python for maps that were not sent; `map` times Python's half of it.
Times are medians with the smallest and the largest; the load of the machine stands beside them.
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from clinometer.scenes import Scene
from clinometer.visualizers.explorer import explorer
from clinometer.visualizers.explorer_payload import pack_scene, window_bytes

VIEWS = ("12x12x128", "24x16x512", "24x16x32768")
WHOLE = 2048  # tokens up to which maps are made whole
BLOCKS = 64
LOADS = ("drawn", "ready") * 5  # what is waited for, each time the page is opened anew
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
KEY = """async (key) => {
    const cell = document.querySelector(".heads [role=gridcell][tabindex='0']");
    cell.focus();
    const frame = () => new Promise((drawn) => requestAnimationFrame(() => setTimeout(drawn, 0)));
    await frame();
    const start = performance.now();
    cell.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
    const handled = performance.now();
    await frame();
    return [performance.now() - start, handled - start];
}"""
PAINTED = """(sign) => new Promise((done) => {
    const look = () => document.querySelector(`[data-${sign}=true]`)
        ? requestAnimationFrame(() => setTimeout(() => done(performance.now()), 0)) : setTimeout(look, 2);
    look();
})"""


def maps(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Rows that sum to one: sharp and flat heads, near their own place or spread."""
    logits = rng.standard_normal(shape, dtype=np.float32)
    logits *= np.linspace(0.5, 3.5, shape[0], dtype=np.float32)[:, None, None, None]
    apart = np.abs(np.arange(shape[2])[:, None] - np.arange(shape[3])[None]).astype(np.float32)
    logits -= apart * rng.uniform(0, 0.3, (*shape[:2], 1, 1)).astype(np.float32)
    np.exp(logits, out=logits)
    logits /= logits.sum(-1, keepdims=True)
    return logits


def scene(layers: int, heads: int, tokens: int, seed: int = 0) -> Scene:
    """An example of this size."""
    rng = np.random.default_rng(seed)
    names = tuple(f"word{i % 997}" for i in range(tokens))
    whole = tokens <= WHOLE
    attention = maps(rng, (layers, heads, tokens, tokens)) if whole else None
    contribution = None
    if attention is not None:
        contribution = attention * rng.standard_normal(attention.shape, dtype=np.float32)
    rows = maps(rng, (1, 1, 128, 128))[0, 0]

    def detail(layer: int, head: int, q0: int, q1: int, k0: int, k1: int) -> tuple[np.ndarray, np.ndarray]:
        return rows[: q1 - q0, : k1 - k0], rows[: q1 - q0, : k1 - k0] - 1 / 128

    scores = rng.normal(size=(1, 1, tokens)) ** 3
    return Scene(
        id=f"{layers}x{heads}x{tokens}",
        kind="text",
        tokens=names,
        queries=names,
        words=tuple(range(tokens)),
        targets=("target",),
        unit="logit",
        baselines=("nothing",),
        scores=scores,
        value=scores.sum(-1)[0],
        base_value=np.zeros((1, 1)),
        residual=np.zeros((1, 1)),
        layers=tuple(str(i) for i in range(layers)),
        importance=rng.normal(size=(1, layers, heads)) ** 3,
        statistics={"entropy": rng.random((layers, heads))},
        attention=attention,
        contribution=contribution,
        overview=None if whole else maps(rng, (layers, heads, BLOCKS, BLOCKS)) * np.float32(BLOCKS / tokens),
        detail=None if whole else detail,
    )


def timed(act: Callable[[], Any], rounds: int = 5) -> list[float]:
    """Milliseconds of each of some calls."""
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        act()
        taken.append(1e3 * (time.perf_counter() - start))
    return taken


def summary(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "least": min(values), "most": max(values), "n": len(values)}


def measured(one: Scene, browser: Any, folder: Path, rounds: int) -> dict[str, Any]:
    """Everything about one view."""
    start = time.perf_counter()
    page = explorer([one]).page()
    made = time.perf_counter() - start
    sent = pack_scene(one, live=True)
    held = pack_scene(one)
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    window = (
        (0, min(512, len(one.queries)), 0, min(512, len(one.tokens)))
        if one.attention is not None
        else (0, 128) * 2
    )
    paints: dict[str, list[float]] = {"drawn": [], "ready": []}
    for place, sign in enumerate(LOADS):
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.goto(path.as_uri(), wait_until="commit")
        paints[sign].append(tab.evaluate(PAINTED, sign))
        if place < len(LOADS) - 1:
            tab.close()
    tab.wait_for_timeout(500)
    keys = [tab.evaluate(KEY, "ArrowRight" if i % 2 else "ArrowDown") for i in range(rounds)]
    tab.close()
    return {
        "view": one.id,
        "page_bytes": len(page.encode()),
        "page_seconds": made,
        "page_raw": held.raw,
        "page_compressed": held.compressed,
        "page_heads": len(held.words["maps"]["heads"]),
        "live_raw": sent.raw,
        "live_compressed": sent.compressed,
        "words_bytes": len(json.dumps(sent.words)),
        "first_paint_ms": summary(paints["drawn"]),
        "whole_maps_ms": summary(paints["ready"]),
        "key_ms": summary([k[0] for k in keys]),
        "script_ms": summary([k[1] for k in keys]),
        "map_ms": summary(timed(lambda: window_bytes(one, 0, 0, window))),
        "load": os.getloadavg()[0],
    }


def row(one: dict[str, Any]) -> str:
    """One line of the table."""
    ms = {
        name: f"{one[name]['median']:.0f} ({one[name]['least']:.0f}–{one[name]['most']:.0f})"
        for name in one
        if name.endswith("_ms")
    }
    return (
        f"| {one['view']} | {one['live_raw'] / 1e6:.2f} / {one['live_compressed'] / 1e6:.2f} | "
        f"{one['page_raw'] / 1e6:.2f} / {one['page_compressed'] / 1e6:.2f} | {one['page_heads']} | "
        f"{one['page_bytes'] / 1e6:.2f} | {ms['first_paint_ms']} | {ms['whole_maps_ms']} | {ms['key_ms']} | "
        f"{ms['script_ms']} | {ms['map_ms']} | {one['load']:.1f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--views", nargs="+", default=list(VIEWS), help="layers x heads x tokens")
    parser.add_argument("--rounds", type=int, default=30, help="key presses of each view")
    parser.add_argument("--json", type=Path, help="where everything measured is written")
    asked = parser.parse_args()
    from playwright.sync_api import sync_playwright

    chromium = next(
        (p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None
    )
    if chromium is None:
        parser.error("no Chromium on PATH")
    found = []
    print(
        "| view | notebook: raw / compressed, MB | page: raw / compressed, MB | whole maps in the page | page, MB | "
        "first paint, ms | whole maps, ms | key to redraw, ms | script alone, ms | map in Python, ms | load |"
    )
    print("|" + "---|" * 11)
    with sync_playwright() as running, tempfile.TemporaryDirectory() as folder:
        browser = running.chromium.launch(executable_path=chromium, headless=True, args=ARGUMENTS)
        for view in asked.views:
            layers, heads, tokens = (int(part) for part in view.split("x"))
            one = measured(scene(layers, heads, tokens), browser, Path(folder), asked.rounds)
            found.append(one)
            print(row(one), flush=True)
        browser.close()
    if asked.json:
        asked.json.write_text(
            json.dumps({"cores": os.cpu_count(), "views": found}, indent=2), encoding="utf-8"
        )


if __name__ == "__main__":
    main()
