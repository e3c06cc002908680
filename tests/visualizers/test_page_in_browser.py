"""The page in Chromium, wide and narrow: no request leaves it, no error, all figures inside, keys choose heads."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from clinometer.visualizers import page
from reference.answered import drawn_fix, drawn_gap
from reference.reviews import HOSTILE, SCRIPT, sample_review

pytestmark = pytest.mark.browser
SIZES = [(1280, 900), (390, 844)]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    made = dataclasses.replace(
        sample_review(hostile=True, rows=300, layers=2, heads=2),
        why=(drawn_gap(token=SCRIPT), drawn_gap(verified=False, group=HOSTILE[3], reference=HOSTILE[8])),
        mitigated=drawn_fix(name=HOSTILE[5]),
    )
    path.write_text(page.render(made, explorer="explorer.html"), encoding="utf-8")
    path.with_name("explorer.html").write_text("<h1>heads</h1>", encoding="utf-8")
    return path


def visit(
    browser: Any, report: Path, heard: dict[str, list[str]], size: tuple[int, int], **options: Any
) -> Any:
    tab = browser.new_page(viewport={"width": size[0], "height": size[1]}, **options)

    def dismiss(dialog: Any) -> None:
        heard["dialogs"].append(dialog.message)
        dialog.dismiss()

    tab.on("console", lambda message: heard["console"].append(message.text))
    tab.on("pageerror", lambda error: heard["errors"].append(str(error)))
    tab.on("request", lambda request: heard["requests"].append(request.url))
    tab.on("dialog", dismiss)
    tab.goto(report.as_uri())
    return tab


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_quiet_and_fits(
    browser: Any, report: Path, heard: dict[str, list[str]], size: tuple[int, int], scheme: str
) -> None:
    tab = visit(browser, report, heard, size, color_scheme=scheme)
    tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    boxes = tab.evaluate(
        """() => [...document.images].map(i => {
            const b = i.getBoundingClientRect();
            const drawn = i.closest(".drawn");  // its own container scrolls, and the page does not
            const held = drawn ? drawn.getBoundingClientRect() : b;
            return [held.left, held.right, b.width, b.height, i.naturalWidth, i.checkVisibility()];
        })"""
    )
    assert len(boxes) > 10
    for left, right, width, height, natural, visible in boxes:
        assert visible and natural > 0 and width > 100 and height > 50
        assert left >= 0 and right <= size[0]
    assert tab.evaluate("document.documentElement.scrollWidth") <= size[0]
    tab.close()
    assert heard["console"] == [] and heard["errors"] == [] and heard["dialogs"] == []
    assert [url for url in heard["requests"] if not url.startswith(("file:", "data:", "blob:"))] == []


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(
    browser: Any, report: Path, heard: dict[str, list[str]], size: tuple[int, int], scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    tab = visit(browser, report, heard, size, color_scheme=scheme)
    tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    found = axe.Axe().run(tab).response["violations"]
    assert [(v["id"], v["nodes"][0]["target"]) for v in found] == []
    tab.evaluate("document.images[0].removeAttribute('alt')")  # the negative control
    assert "image-alt" in [v["id"] for v in axe.Axe().run(tab).response["violations"]]
    tab.close()


@pytest.mark.parametrize("size", SIZES)
def test_letters_of_figures_are_nine_pixels_high_and_reached_by_keyboard(
    browser: Any, report: Path, heard: dict[str, list[str]], size: tuple[int, int]
) -> None:
    tab = visit(browser, report, heard, size)
    tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    drawn = tab.evaluate(
        """() => [...document.querySelectorAll(".drawn")].map(d => {
            const i = d.querySelector("img"), s = getComputedStyle(i);
            const inside = i.clientWidth - parseFloat(s.paddingLeft) - parseFloat(s.paddingRight);
            return [inside / (i.naturalWidth / 150), d.scrollWidth > d.clientWidth, d.tabIndex];
        })"""
    )
    assert len(drawn) > 10 and {focus for _, _, focus in drawn} == {0}
    assert min(pixels * page.SMALLEST / 72 for pixels, _, _ in drawn) >= 8.9  # of an inch; a frame takes some
    assert {scrolls for _, scrolls, _ in drawn} == {size[0] < 700}
    thresholds = tab.locator("#thresholds .drawn").first
    thresholds.focus()
    tab.keyboard.press("ArrowRight")
    tab.wait_for_timeout(300)
    assert (thresholds.evaluate("d => d.scrollLeft") > 0) == (size[0] < 700)
    tab.evaluate("document.querySelectorAll('.drawn img').forEach(i => i.style.minWidth = 0)")
    small = tab.evaluate("document.querySelector('.drawn img').clientWidth / 7.2") * page.SMALLEST / 72
    assert (small < 6) == (size[0] < 700), "the negative control"
    tab.close()


def test_print_leaves_out_the_menu_and_opens_the_tables(
    browser: Any, report: Path, heard: dict[str, list[str]]
) -> None:
    tab = visit(browser, report, heard, SIZES[0])
    table = tab.locator("details.numbers table").first
    assert tab.locator("nav").is_visible() and not table.is_visible()
    tab.emulate_media(media="print")
    assert table.evaluate("t => t.getBoundingClientRect().height") > 50
    assert not tab.locator("nav").is_visible()
    tab.set_viewport_size({"width": 694, "height": 1000})  # an A4 page between its margins
    ends = tab.evaluate(
        "[...document.querySelectorAll('section :is(img, table)')].filter(e => e.checkVisibility())"
        ".map(e => e.getBoundingClientRect().right)"
    )
    assert len(ends) > 15 and max(ends) <= 694
    assert tab.pdf(prefer_css_page_size=True)[:5] == b"%PDF-"
    tab.close()


def test_hostile_feature_is_text(browser: Any, report: Path, heard: dict[str, list[str]]) -> None:
    tab = visit(browser, report, heard, SIZES[0])
    assert SCRIPT in tab.inner_text("main")
    assert tab.locator("main script").count() == 0
    tab.close()
    assert heard["dialogs"] == []


def test_heads_are_chosen_by_keyboard(browser: Any, report: Path, heard: dict[str, list[str]]) -> None:
    tab = visit(browser, report, heard, SIZES[0])
    box = tab.locator("[data-picker]").first
    image = box.locator(".stage img").first
    chosen = box.locator(".picker a[aria-current=true]")
    box.locator("tbody tr").nth(0).locator("a").nth(0).focus()
    tab.keyboard.press("Enter")
    before = image.get_attribute("src")
    tab.keyboard.press("ArrowRight")
    assert chosen.count() == 1 and "layer 0, head 1" in str(chosen.get_attribute("aria-label"))
    after = image.get_attribute("src")
    assert after != before and after == tab.locator("#map-0-0-1 img").first.get_attribute("src")
    tab.keyboard.press("ArrowDown")
    assert "layer 1, head 1" in str(chosen.get_attribute("aria-label"))
    assert box.locator(".stage figcaption").inner_text().startswith("Layer 1, head 1")
    for _ in range(5):
        tab.keyboard.press("ArrowUp")
    assert "layer 0, head 1" in str(chosen.get_attribute("aria-label"))
    tab.close()
    assert heard["errors"] == [] and heard["console"] == []


def test_the_link_to_the_explorer_opens_the_file_beside(
    browser: Any, report: Path, heard: dict[str, list[str]]
) -> None:
    tab = visit(browser, report, heard, SIZES[1])
    link = tab.locator(".beside a")
    link.click()
    assert tab.url == report.with_name("explorer.html").as_uri() and tab.inner_text("h1") == "heads"
    tab.go_back()
    tab.emulate_media(media="print")
    assert not link.is_visible(), "paper opens nothing"
    tab.close()
    assert heard["errors"] == [] and heard["console"] == []


def test_without_a_script_every_head_is_a_link_away(browser: Any, report: Path) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    tab.goto(report.as_uri())
    assert tab.locator(".stage img").first.is_visible()
    tab.locator(".picker a").nth(1).click()
    assert tab.url.endswith("#map-0-0-1")
    context.close()
