"""The explorer in Chromium: as a page, in a sandboxed frame, and live with Python answering what it asks."""

import base64
import html
import json
from pathlib import Path
from typing import Any

import pytest

from clinometer.visualizers import offline_page
from clinometer.visualizers.explorer import Explorer, explorer
from clinometer.visualizers.explorer_widget import answered
from reference.explored import (
    HOSTILE,
    hostile_scene,
    image_scene,
    long_scene,
    sample_gap,
    sample_runs,
    series_scene,
    table_scene,
    text_scene,
)

pytestmark = pytest.mark.browser
Heard = dict[str, list[str]]

# What anywidget gives its module: a model whose messages go to Python and whose answers come as events.
HOST = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>host</title><style>STYLE</style></head>
<body DATA><main id="here"></main><script type="module">
const heard = {};
const values = CHOSEN;
window.fire = (name, ...rest) => { for (const act of heard[name] ?? []) act(...rest); };
window.model = {
  get: (name) => values[name],
  set: (name, value) => { values[name] = value; },
  save_changes() { window.saved = { ...values }; },
  on(name, act) { (heard[name] ??= new Set()).add(act); },
  off(name, act) { heard[name]?.delete(act); },
  async send(message) {
    const { answer, buffers } = await window.answer(message);
    fire("msg:custom", answer, buffers.map((b) => new DataView(Uint8Array.from(atob(b), (c) => c.charCodeAt(0)).buffer)));
  },
};
const { default: { render } } = await import(URL.createObjectURL(new Blob([MODULE], { type: "text/javascript" })));
window.end = render({ model, el: document.getElementById("here") });
</script></body></html>"""


def posts() -> Explorer:
    """Two posts that are each other's pair, one of them in a second model too."""
    right = {"label": "toxic", "prediction": "toxic", "gender": "men"}
    scenes = [
        text_scene("one", partner="two"),
        text_scene("two", seed=3, partner="one", wrong=False, facts=right),
        text_scene("three", seed=4, wrong=False, facts=right),
    ]
    others = [text_scene("one", seed=9)]
    return explorer(scenes, others=others, names=("before", "after"), gap=sample_gap(), runs=sample_runs)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("explorer")
    made = {
        "posts": posts(),
        "hostile": explorer([hostile_scene()], title=HOSTILE[1]),
        "image": explorer([image_scene()]),
        "series": explorer([series_scene()]),
        "table": explorer([table_scene()]),
        "cross": explorer([text_scene(queries=("Die", "Schwester", "sagte"))]),
        "long": explorer([long_scene(4096, layers=3, heads=4)]),
    }
    return {name: one.save(folder / f"{name}.html") for name, one in made.items()}


def listening(tab: Any, heard: Heard) -> Any:
    def dismiss(dialog: Any) -> None:
        heard["dialogs"].append(dialog.message)
        dialog.dismiss()

    def hear(message: Any) -> None:
        if "getImageData" not in message.text:  # an advice to the tests, which read canvases back
            heard["console"].append(message.text)

    tab.on("console", hear)
    tab.on("pageerror", lambda error: heard["errors"].append(str(error)))
    tab.on("request", lambda request: heard["requests"].append(request.url))
    tab.on("dialog", dismiss)
    return tab


def visit(
    browser: Any,
    path: Path,
    heard: Heard,
    *,
    link: str = "",
    size: tuple[int, int] = (1280, 900),
    **options: Any,
) -> Any:
    tab = listening(browser.new_page(viewport={"width": size[0], "height": size[1]}, **options), heard)
    tab.goto(path.as_uri() + link)
    tab.wait_for_selector("[data-ready=true]", timeout=60_000)
    return tab


def live(browser: Any, made: Explorer, heard: Heard, folder: Path, *, body: str = "", **options: Any) -> Any:
    """The module as anywidget hosts it, with Python answering."""
    tab = listening(browser.new_page(viewport={"width": 1280, "height": 900}, **options), heard)

    def answer(message: dict[str, Any]) -> dict[str, Any]:
        said, buffers = answered(made._answer, message)
        return {"answer": said, "buffers": [base64.b64encode(b).decode() for b in buffers]}

    tab.expose_function("answer", answer)
    page = HOST.replace("STYLE", offline_page.style()).replace("DATA", body)
    page = page.replace("CHOSEN", json.dumps(made._chosen)).replace(
        "MODULE", json.dumps(offline_page.script()).replace("<", "\\u003c")
    )
    path = folder / "host.html"
    path.write_text(page, encoding="utf-8")
    tab.goto(path.as_uri())
    tab.wait_for_selector("[data-ready=true]", timeout=60_000)
    return tab


def until(tab: Any, condition: str) -> None:
    """Wait in steps from outside: the page's own policy forbids it to evaluate text."""
    for _ in range(600):
        if tab.evaluate(condition):
            return
        tab.wait_for_timeout(50)
    pytest.fail(f"never true: {condition}")


def quiet(heard: Heard) -> None:
    assert heard["console"] == [] and heard["errors"] == [] and heard["dialogs"] == []
    assert [url for url in heard["requests"] if not url.startswith(("file:", "data:", "blob:"))] == []


def chosen(tab: Any) -> str:
    return str(tab.locator(".map h2").inner_text())


# The page


@pytest.mark.parametrize("name", ["posts", "hostile", "image", "series", "table", "cross", "long"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_kind_draws_and_is_quiet(
    browser: Any, pages: dict[str, Path], heard: Heard, name: str, width: int
) -> None:
    tab = visit(browser, pages[name], heard, size=(width, 900))
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    drawn = tab.evaluate(
        """() => [...document.querySelectorAll('canvas:not([hidden])')].map(c => {
            const data = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
            return new Set(new Uint32Array(data.buffer)).size;
        })"""
    )
    assert len(drawn) >= 2 and min(drawn) > 3  # nothing is blank
    tab.keyboard.press("v")
    assert tab.locator(".map [aria-pressed=true]").inner_text() == "Lines"
    tab.close()
    quiet(heard)


NOTHING_UNPACKS = """const made = new TransformStream({ transform: () => new Promise(() => {}) });
globalThis.DecompressionStream = class { readable = made.readable; writable = made.writable; };"""


def test_all_panels_are_drawn_before_any_map_is_unpacked(
    browser: Any, pages: dict[str, Path], heard: Heard
) -> None:
    """In a browser that never unpacks anything: the words, the grid and the chosen head's map are there."""
    tab = listening(browser.new_page(viewport={"width": 1280, "height": 900}), heard)
    tab.add_init_script(NOTHING_UNPACKS)
    tab.goto(pages["posts"].as_uri())
    tab.wait_for_selector("[data-drawn=true]", timeout=60_000)
    assert tab.locator(".tokens [role=option]").count() > 5
    assert tab.locator(".heads [role=gridcell][aria-label]").count() > 5
    colours = tab.locator(".map canvas:not([hidden])").first.evaluate(
        """c => new Set(new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer)).size"""
    )
    assert colours > 3
    tab.wait_for_timeout(300)
    assert tab.locator("[data-ready=true]").count() == 0  # its maps never come
    tab.close()
    quiet(heard)


COUNTED = """globalThis.drawn = 0;
const clear = CanvasRenderingContext2D.prototype.clearRect;
CanvasRenderingContext2D.prototype.clearRect = function (...given) {
    if (this.canvas.closest(".heads")) globalThis.drawn += 1;
    return clear.apply(this, given);
};"""


def test_the_grid_is_drawn_once_and_again_when_the_window_changes(
    browser: Any, pages: dict[str, Path], heard: Heard
) -> None:
    tab = listening(browser.new_page(viewport={"width": 1280, "height": 900}), heard)
    tab.add_init_script(COUNTED)
    tab.goto(pages["posts"].as_uri())
    tab.wait_for_selector("[data-ready=true]", timeout=60_000)
    tab.wait_for_timeout(200)
    assert tab.evaluate("globalThis.drawn") == 1
    tab.set_viewport_size({"width": 390, "height": 900})
    until(tab, "globalThis.drawn > 1")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    tab.close()
    quiet(heard)


def test_the_page_works_in_a_sandboxed_frame(
    browser: Any, pages: dict[str, Path], heard: Heard, tmp_path: Path
) -> None:
    inner = html.escape(pages["posts"].read_text(encoding="utf-8"), quote=True)
    frame = f'<iframe sandbox="allow-scripts" width="1200" height="800" srcdoc="{inner}"></iframe>'
    outer = f"<!doctype html><title>o</title>{frame}"
    (tmp_path / "outer.html").write_text(outer, encoding="utf-8")
    tab = listening(browser.new_page(viewport={"width": 1280, "height": 900}), heard)
    tab.goto((tmp_path / "outer.html").as_uri())
    inside = tab.frame_locator("iframe")
    inside.locator("[data-ready=true]").wait_for(timeout=60_000)
    inside.locator(".heads [role=gridcell]").nth(6).click()
    assert inside.locator(".map h2").inner_text() == "Layer 1, head 2"
    tab.close()
    quiet(heard)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["posts", "image", "series", "table", "cross", "long"])
def test_axe_finds_nothing(
    browser: Any, pages: dict[str, Path], heard: Heard, name: str, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    tab = visit(browser, pages[name], heard, color_scheme=scheme)
    tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    tab.locator(".tokens [role=option]").nth(5).click()
    if name == "posts":
        tab.keyboard.press("c")
        tab.locator(".side h3").first.wait_for()
        tab.keyboard.press("g")
        tab.locator(".gates table").wait_for()
    found = axe.Axe().run(tab).response["violations"]
    assert [(v["id"], v["nodes"][0]["target"], v["nodes"][0]["failureSummary"]) for v in found] == []
    tab.evaluate("document.querySelector('.tokens').removeAttribute('aria-label')")  # the negative control
    assert "aria-input-field-name" in [v["id"] for v in axe.Axe().run(tab).response["violations"]]
    tab.close()


def test_hostile_text_is_text_everywhere(browser: Any, pages: dict[str, Path], heard: Heard) -> None:
    tab = visit(browser, pages["hostile"], heard)
    said = tab.inner_text("main")
    for text in (
        *HOSTILE[:4],
        "漢字",
        HOSTILE[9],
        "⟨U+202E⟩evil",
        "zero⟨U+200B⟩width",
        "👩‍👩‍👧‍👦",
        "␣",
        "∅",
        "⏎",
    ):
        assert text in said, text
    assert "x" * 100 not in said and "\u202e" not in said
    assert tab.locator("main script").count() == 0 and tab.locator("main img").count() == 0
    assert tab.title() == HOSTILE[1]
    for place in range(len(HOSTILE)):
        tab.locator(".tokens [role=option]").nth(place).click()
        assert tab.locator(".chosen").inner_text().startswith("‘")
    for key in "vswg?":
        tab.keyboard.press(key)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 1280
    tab.close()
    quiet(heard)


# Keys, links, selection


def test_everything_by_keyboard(browser: Any, pages: dict[str, Path], heard: Heard) -> None:
    tab = visit(browser, pages["posts"], heard, link="#L1.H2")
    press = tab.keyboard.press
    assert chosen(tab) == "Layer 1, head 2"
    press("h")
    press("ArrowRight")
    press("ArrowDown")
    assert chosen(tab) == "Layer 2, head 3" and tab.url.endswith("#L2.H3@one")
    for _ in range(5):
        press("ArrowDown")
    assert chosen(tab) == "Layer 3, head 3"
    focused = tab.evaluate("document.activeElement.getAttribute('aria-label')")
    assert focused.startswith("Layer 3, head 3: importance for this target")
    press("t")
    press("ArrowRight")
    press("ArrowRight")
    assert "‘\u2068The\u2069’, token 2 of 22" in tab.locator(".chosen").inner_text()
    press("End")
    assert "token 22 of 22" in tab.locator(".chosen").inner_text()
    press("Escape")
    assert tab.locator("[role=option][aria-selected=true]").count() == 0
    assert tab.locator(".token").filter(has_text="unbelievable").count() == 1
    press("w")
    assert tab.locator(".token").filter(has_text="unbelievable").count() == 0
    press("]")
    assert "not toxic" in tab.locator(".example h2").inner_text()
    press("[")
    press("s")
    assert "Choose a token first" in tab.locator(".example .tools").inner_text()
    press("n")
    until(tab, "document.querySelector('.example .facts').innerText.includes('men')")
    assert tab.url.endswith("@two")
    press("m")
    press("ArrowDown")
    assert tab.locator("[role=option][aria-selected=true]").count() == 1
    press("?")
    assert tab.locator(".keys dl").is_visible()
    tab.close()
    quiet(heard)


def test_the_map_and_its_lists_follow_the_token(browser: Any, pages: dict[str, Path], heard: Heard) -> None:
    """What the lists say is what the record holds."""
    scene = text_scene("one", partner="two")
    tab = visit(browser, pages["posts"], heard, link="#L0.H1@one")
    tab.locator(".tokens [role=option]").nth(2).click()
    looks, matters = (tab.locator(".pairs").nth(i).locator("li").first.inner_text().split() for i in (0, 1))
    attention, contribution = scene.attention[0, 1, 2], scene.contribution[0, 1, 2]
    assert float(looks[-1]) == pytest.approx(attention.max(), abs=5e-3)
    assert scene.tokens[attention.argmax()] in looks[0]
    assert scene.tokens[abs(contribution).argmax()] in matters[0]
    label = tab.locator(".map canvas").first.get_attribute("aria-label")
    assert label.startswith("Layer 0, head 1, A: 22 queries by 22 keys. Largest: ‘")
    tab.locator(".map canvas").first.hover(position={"x": 150, "y": 60})
    assert "→" in tab.locator(".readout").first.inner_text()
    tab.close()
    quiet(heard)


def test_shading_by_a_head_is_its_row(browser: Any, pages: dict[str, Path], heard: Heard) -> None:
    tab = visit(browser, pages["posts"], heard, link="#L0.H1@one")
    tab.locator(".tokens [role=option]").nth(2).click()
    tab.keyboard.press("s")
    tab.keyboard.press("w")
    steps = tab.locator(".tokens [role=option]").evaluate_all("all => all.map(e => Number(e.dataset.step))")
    row = text_scene("one").attention[0, 1, 2]
    assert steps[row.argmax()] == 5 and steps[row.argmin()] == 0
    signs = tab.locator(".tokens [role=option]").evaluate_all(
        "all => [...new Set(all.map(e => e.dataset.sign))]"
    )
    assert set(signs) == {"0", "w"}
    tab.close()


def test_links_lead_to_heads(browser: Any, pages: dict[str, Path], heard: Heard) -> None:
    tab = visit(browser, pages["posts"], heard, link="#L3.H0@two")
    assert chosen(tab) == "Layer 3, head 0" and "men" in tab.locator(".facts").inner_text()
    tab.evaluate("location.hash = '#L1.H1@one'")
    until(tab, "document.querySelector('.map h2').innerText === 'Layer 1, head 1'")
    until(tab, "document.querySelector('.example .facts').innerText.includes('women')")
    tab.close()
    tab = visit(browser, pages["posts"], heard, link="#L99.H99@nobody")
    assert chosen(tab) == "Layer 3, head 3" and "women" in tab.locator(".facts").inner_text()
    tab.close()
    quiet(heard)


def test_examples_are_filtered_and_put_side_by_side(
    browser: Any, pages: dict[str, Path], heard: Heard
) -> None:
    tab = visit(browser, pages["posts"], heard)
    tab.locator(".examples summary").click()
    rows = tab.locator(".examples tbody tr")
    assert rows.count() == 3
    tab.get_by_label("wrong ones alone").check()
    assert rows.count() == 1 and "one" in rows.first.inner_text()
    tab.get_by_label("wrong ones alone").uncheck()
    tab.get_by_label("pairs alone").check()
    assert rows.count() == 2
    tab.locator(".examples select").nth(1).select_option("men")
    assert rows.count() == 1 and "two" in rows.first.inner_text()
    tab.get_by_role("button", name="with its pair").click()
    until(tab, "document.querySelectorAll('.example .side').length === 2")
    assert tab.locator(".map canvas").count() == 4 and tab.locator(".heads [role=grid]").count() == 2
    tab.get_by_label("Beside it").select_option("")
    until(tab, "document.querySelectorAll('.example .side').length === 1")
    tab.locator(".stepper select").select_option("0")
    until(tab, "document.querySelector('.example .facts').innerText.includes('women')")
    tab.get_by_label("Beside it").select_option(label="the same in after")
    until(tab, "document.querySelectorAll('.example .side').length === 2")
    names = tab.locator(".example h3").all_inner_texts()
    assert names == ["one · before", "one · after"]
    tab.close()
    quiet(heard)


def test_the_grid_shows_every_number_and_says_which(
    browser: Any, pages: dict[str, Path], heard: Heard
) -> None:
    tab = visit(browser, pages["posts"], heard)
    modes = tab.locator(".heads select option").all_inner_texts()
    assert modes[:4] == [
        "maps: A",
        "maps: A × dA",
        "importance for this target",
        "target, with the head closed",
    ]
    assert modes[4].startswith("share of the gap: selection rate") and "entropy" in modes
    scene = text_scene("one")
    tab.get_by_label("Show").select_option("statistic_0")
    label = tab.locator(".heads [role=gridcell]").nth(5).get_attribute("aria-label")
    assert label == f"Layer 1, head 1: entropy {scene.statistics['entropy'][1, 1]:.3f}"
    tab.get_by_label("Show").select_option("shares")
    share = sample_gap().shares[1, 1]
    assert (
        tab.locator(".heads [role=gridcell]")
        .nth(5)
        .get_attribute("aria-label")
        .endswith(f"{share:+.3f}".replace("-", "−"))
    )
    tab.close()


# Gates


def test_the_page_answers_single_heads_closed_and_refuses_the_rest(
    browser: Any, pages: dict[str, Path], heard: Heard
) -> None:
    tab = visit(browser, pages["posts"], heard, link="#L1.H1@one")
    half = tab.locator(".gates [data-value='0.5']")
    assert half.get_attribute("aria-disabled") == "true" and "need the notebook" in half.get_attribute(
        "title"
    )
    half.click(force=True)
    assert tab.locator(".gates table").count() == 0
    tab.locator(".gates [data-value='0']").click()
    scene = text_scene("one")
    cells = tab.locator(".gates tbody tr").first.locator("td").all_inner_texts()
    plain = [float(cell.replace("−", "-").lstrip("▼▲ ").split()[0]) for cell in cells[:3]]
    before, after = float(scene.value[0]), float(scene.closings[1, 1])
    assert plain == pytest.approx([before, after, after - before], abs=6e-4)
    assert "n = 640" in tab.locator(".gates tbody tr").nth(1).inner_text()
    tab.keyboard.press("g")
    assert "All heads are open" in tab.locator(".gates").inner_text()
    tab.close()
    quiet(heard)


def test_gates_run_the_model_live(browser: Any, heard: Heard, tmp_path: Path) -> None:
    tab = live(browser, posts(), heard, tmp_path)
    tab.locator(".heads [role=gridcell]").nth(0).click()
    tab.locator(".gates [data-value='0.5']").click()
    tab.locator(".heads [role=gridcell]").nth(1).click()
    tab.locator(".gates [data-value='0']").click()
    until(tab, "document.querySelector('.gates tbody')?.innerText.includes('0.850')")
    assert "−0.105" in tab.locator(".gates tbody tr").nth(2).inner_text()
    assert tab.locator(".gates .chips button").all_inner_texts() == ["L0.H0 × 0.5 ✕", "L0.H1 × 0 ✕"]
    assert tab.locator(".heads .gated").count() == 2
    tab.get_by_role("button", name="Open all").click()
    assert tab.locator(".heads .gated").count() == 0
    tab.evaluate("end()")
    tab.close()
    quiet(heard)


def test_an_error_of_the_model_is_shown(browser: Any, heard: Heard, tmp_path: Path) -> None:
    def fails(id: str, gates: Any) -> Any:
        raise ValueError("out of <b>memory</b>")

    made = posts()
    made._runs = fails
    tab = live(browser, made, heard, tmp_path)
    tab.keyboard.press("Tab")
    tab.locator(".gates [data-value='0']").click()
    tab.wait_for_selector(".gates .error")
    assert tab.locator(".gates .error").inner_text() == "ValueError: out of <b>memory</b>"
    tab.close()
    quiet(heard)


# Live


def test_python_and_the_view_share_the_selection(browser: Any, heard: Heard, tmp_path: Path) -> None:
    tab = live(browser, posts(), heard, tmp_path)
    tab.locator(".heads [role=gridcell]").nth(6).click()
    tab.locator(".tokens [role=option]").nth(3).click()
    assert tab.evaluate("saved") == {"layer": 1, "head": 2, "example": "one", "target": 0, "query": 3}
    tab.evaluate("model.set('head', 0); fire('change:head')")
    assert chosen(tab) == "Layer 1, head 0"
    tab.evaluate("model.set('example', 'two'); fire('change:example')")
    until(tab, "document.querySelector('.example .facts').innerText.includes('men')")
    assert not tab.url.endswith("@two")  # a notebook's address is not ours
    tab.close()
    quiet(heard)


def test_long_inputs_open_windows(browser: Any, heard: Heard, tmp_path: Path) -> None:
    scene = long_scene(4096, layers=3, heads=4)
    tab = live(browser, explorer([scene]), heard, tmp_path)
    assert tab.locator(".tokens [role=option]").count() == 240
    tab.locator("input[type=range]").fill("2000")
    assert "Tokens 2,001–2,240 of 4,096" in tab.locator(".tokenbox").inner_text()
    tab.locator(".tokens [role=option]").nth(10).click()
    assert "token 2,011 of 4,096" in tab.locator(".chosen").inner_text()
    assert "mean over 64 × 64 tokens" in tab.locator(".note").inner_text()
    tab.get_by_role("button", name="Open a window").click()
    until(tab, "document.querySelectorAll('.map canvas:not([hidden])').length === 2")
    assert "Queries 1,947–2,074, keys 1,947–2,074" in tab.locator(".note").inner_text()
    weights, _ = scene.detail(
        *(int(v) for v in chosen(tab).replace("Layer ", "").split(", head ")), 1946, 2074, 1946, 2074
    )
    shown = float(tab.locator(".pairs").first.locator("b").first.inner_text())
    assert shown == pytest.approx(weights[2010 - 1946].max(), abs=2e-3)
    tab.locator(".tokens").focus()
    tab.keyboard.press("End")
    assert "token 4,096 of 4,096" in tab.locator(".chosen").inner_text()
    tab.locator(".map canvas").first.focus()
    tab.keyboard.press("Escape")
    until(tab, "document.querySelector('.note').innerText.includes('mean over')")
    tab.close()
    quiet(heard)


def test_maps_come_when_they_are_asked_for(
    browser: Any, heard: Heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clinometer.visualizers.explorer_payload.BUDGET", 70_000)
    scene = text_scene(tokens=tuple(f"t{i}" for i in range(64)))
    tab = live(browser, explorer([scene]), heard, tmp_path)
    until(tab, "!document.querySelector('.note').innerText")  # the whole map has come
    best = tab.locator(".pairs").first.locator("b").first.inner_text()
    layer, head = (int(v) for v in chosen(tab).replace("Layer ", "").split(", head "))
    assert float(best) == pytest.approx(scene.attention[layer, head].max(), abs=4e-3)
    tab.close()
    quiet(heard)


@pytest.mark.parametrize(("theme", "paper"), [("true", "rgb(255, 255, 255)"), ("false", "rgb(25, 28, 32)")])
def test_jupyterlab_themes_win_over_the_system(
    browser: Any, heard: Heard, tmp_path: Path, theme: str, paper: str
) -> None:
    scheme = "dark" if theme == "true" else "light"  # JupyterLab's own theme is the other one
    tab = live(browser, posts(), heard, tmp_path, body=f'data-jp-theme-light="{theme}"', color_scheme=scheme)
    read = "getComputedStyle(document.querySelector('.panel')).backgroundColor"
    assert tab.evaluate(read) == paper
    corner = "[...document.querySelector('.map canvas').getContext('2d').getImageData(200, 4, 1, 1).data]"
    before = tab.evaluate(corner)
    other = "false" if theme == "true" else "true"
    tab.evaluate(f"document.body.setAttribute('data-jp-theme-light', '{other}')")
    until(tab, f"{read} !== '{paper}'")
    until(tab, f"JSON.stringify({corner}) !== '{json.dumps(before, separators=(',', ':'))}'")
    tab.close()
    quiet(heard)


def test_keys_stay_inside_the_view_in_a_notebook(browser: Any, heard: Heard, tmp_path: Path) -> None:
    tab = live(browser, posts(), heard, tmp_path)
    cell = tab.locator(".heads [role=gridcell][tabindex='0']")
    assert cell.get_attribute("data-lm-suppress-shortcuts") is None
    cell.focus()
    assert cell.get_attribute("data-lm-suppress-shortcuts") == "true"  # what JupyterLab looks for
    before = chosen(tab)
    tab.evaluate("document.activeElement.blur()")
    tab.keyboard.press("n")  # the focus is outside: nothing happens
    assert chosen(tab) == before and "women" in tab.locator(".facts").inner_text()
    tab.locator(".heads [role=gridcell][tabindex='0']").focus()
    tab.keyboard.press("n")
    until(tab, "document.querySelector('.example .facts').innerText.includes('gender men')")
    tab.close()
    quiet(heard)


def test_without_a_script_the_page_shows_the_picture(browser: Any, pages: dict[str, Path]) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    tab.goto(pages["posts"].as_uri())
    assert tab.locator("noscript img").is_visible()
    context.close()
