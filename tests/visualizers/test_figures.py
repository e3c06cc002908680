"""Figures: each record becomes a picture that saves without a word, the same bytes twice, whatever the names."""

import dataclasses
import io
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from clinometer.records import Audit, Review, View
from clinometer.visualizers import fonts, gaps, heads, ledger, maps, palette, tokens, wording
from reference.reviews import HOSTILE, SCRIPT, sample_review

FIGURES: dict[str, Callable[[Review], Figure]] = {
    "forest": lambda r: gaps.forest(r.audit, "selection_rate"),
    "forest of a mean": lambda r: gaps.forest(r.audit, "score"),
    "forest of nothing": lambda r: gaps.forest(r.audit, "no such metric"),
    "gaps": lambda r: gaps.gap_forest(r.audit, "true_positive_rate"),
    "gaps of nothing": lambda r: gaps.gap_forest(r.audit, "no such metric"),
    "waterfall": lambda r: ledger.waterfall(r.ledgers[0]),
    "waterfall of all": lambda r: ledger.waterfall(r.ledgers[0], top=99),
    "heads": lambda r: heads.head_grid(r.views[0]),
    "pair": lambda r: maps.map_pair(r.views[0], 1, 2),
    "attention": lambda r: maps.attention_map(r.views[0], 1, 2),
    "contribution": lambda r: maps.contribution_map(r.views[0], 1, 2),
    "bars": lambda r: tokens.attribution_bars(HOSTILE, np.linspace(-1, 1, len(HOSTILE)).tolist()),
}


@pytest.fixture(scope="module")
def hostile() -> Review:
    return sample_review(hostile=True)


@pytest.fixture(scope="module")
def plain_names() -> Review:
    return sample_review()


def words(figure: Figure) -> str:
    """Every text that a figure draws."""
    figure.draw_without_rendering()
    texts = [artist.get_text() for artist in figure.findobj() if hasattr(artist, "get_text")]
    return "\n".join(texts)


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("kind", ["png", "svg"])
def test_every_figure_saves_the_same_bytes_twice(name: str, kind: str, hostile: Review) -> None:
    first, second = (palette.encoded(FIGURES[name](hostile), kind, dpi=60) for _ in range(2))  # type: ignore[arg-type]
    assert first == second and len(first) > 500
    assert b"<dc:date>" not in first


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_may_be_saved_by_anybody_without_a_warning(name: str, hostile: Review, tmp_path) -> None:  # type: ignore[no-untyped-def]
    figure = FIGURES[name](hostile)
    assert isinstance(figure, Figure)
    figure.savefig(tmp_path / "a.png", dpi=50)
    assert (tmp_path / "a.png").stat().st_size > 500


def test_dollar_signs_are_drawn_as_they_are(hostile: Review) -> None:
    assert "$x_1$ and" in words(FIGURES["bars"](hostile))


def test_rates_are_printed_with_interval_and_counts(plain_names: Review) -> None:
    drawn = words(gaps.forest(plain_names.audit, "selection_rate"))
    for cell in gaps.rate_cells(plain_names.audit, "selection_rate"):
        assert cell.estimate is not None
        assert f"{cell.estimate:.3f} [{cell.low:.3f}, {cell.high:.3f}]  {cell.k}/{cell.n}" in drawn


def test_gaps_carry_verdict_word_and_tolerance(plain_names: Review) -> None:
    drawn = words(gaps.gap_forest(plain_names.audit, "selection_rate"))
    for finding in gaps.gap_findings(plain_names.audit, "selection_rate"):
        assert f"{palette.MARKS[finding.verdict]} {finding.verdict}" in drawn
    assert "tolerance ±0.100" in drawn


def test_a_group_without_an_estimate_keeps_its_row(plain_names: Review) -> None:
    audit = plain_names.audit
    cells = tuple(
        dataclasses.replace(c, n=0, k=0, estimate=None, low=None, high=None, status="undefined")
        if c.group == "hispan"
        else c
        for c in audit.cells
    )
    drawn = words(gaps.forest(dataclasses.replace(audit, cells=cells), "selection_rate"))
    assert "hispan" in drawn and "no estimate, n = 0" in drawn


def test_more_pairs_than_a_figure_holds_are_counted(plain_names: Review) -> None:
    audit = plain_names.audit
    many = tuple(f for f in audit.findings if f.metric == "selection_rate") * 5
    crowded: Audit = dataclasses.replace(audit, findings=many)
    assert f"{len(many) - gaps.MOST_ROWS} more in the table" in words(
        gaps.gap_forest(crowded, "selection_rate")
    )


@pytest.mark.parametrize("top", [0, 1, 5, 12, 50])
def test_waterfall_rows_add_up_to_the_gap(plain_names: Review, top: int) -> None:
    account = plain_names.ledgers[0]
    left, rest = ledger.other(account, top)
    shown = math.fsum(s.estimate for s in account.ranked[:top])
    assert left == max(0, len(account.shares) - top)
    assert shown + rest + account.residual == pytest.approx(account.gap, abs=1e-9)
    bars = [p for p in ledger.waterfall(account, top).axes[0].patches if hasattr(p, "get_width")]
    assert sum(bar.get_width() for bar in bars[:-1]) == pytest.approx(account.gap, abs=1e-9)
    assert bars[-1].get_width() == account.gap


def test_importance_is_printed_for_every_head(plain_names: Review) -> None:
    view = plain_names.views[0]
    drawn = words(heads.head_grid(view))
    for value in view.importance.ravel():
        assert wording.signed(float(value)) in drawn
    layer, head = heads.most_important(view)[0]
    assert abs(view.importance[layer, head]) == np.abs(view.importance).max()


@pytest.mark.parametrize(
    ("layers", "n_heads", "size"), [(1, 1, 1), (12, 12, 5), (2, 40, 3), (30, 8, 2), (1, 2, 90)]
)
def test_heads_and_maps_of_any_shape_are_drawn(layers: int, n_heads: int, size: int) -> None:
    draw = np.random.default_rng(1)
    attention = draw.dirichlet(np.ones(size), size=(layers, n_heads, size))
    view = View(
        title="shapes",
        target="logit",
        ids=("a",),
        layers=tuple(map(str, range(layers))),
        labels=tuple(f"token {i}" for i in range(size)),
        attention=attention,
        contribution=np.zeros_like(attention),
    )
    for figure in (heads.head_grid(view), maps.map_pair(view, layers - 1, n_heads - 1)):
        assert len(palette.encoded(figure, "png", dpi=40)) > 500
    assert "+0" not in heads.describe(view)


def test_pair_says_attends_to_and_matters(plain_names: Review) -> None:
    drawn = words(FIGURES["pair"](plain_names))
    assert "attends to" in drawn and "matters" in drawn and "obrat" in drawn


@pytest.mark.parametrize("part", ["attends", "matters"])
def test_maps_drawn_in_series_are_those_drawn_one_by_one(part: str, hostile: Review) -> None:
    alone = maps.attention_map if part == "attends" else maps.contribution_map
    pairs = [(1, 2), (0, 0), (2, 1)]
    fast = list(maps.series(hostile.views[0], pairs, part, dpi=70))  # type: ignore[arg-type]
    assert len(fast) == len(pairs)
    for pixels, pair in zip(fast, pairs, strict=True):
        slow = Image.open(io.BytesIO(palette.encoded(alone(hostile.views[0], *pair), "png", dpi=70)))
        assert np.array_equal(pixels, np.asarray(slow))
    assert not np.array_equal(fast[0], fast[1])
    assert list(maps.series(hostile.views[0], [], part, dpi=70)) == []  # type: ignore[arg-type]


def test_a_compact_picture_is_the_same_picture(plain_names: Review) -> None:
    png = palette.encoded(FIGURES["heads"](plain_names), "png", dpi=60)
    small = palette.compact(png)
    before, after = (np.asarray(Image.open(io.BytesIO(p)).convert("RGB")).astype(int) for p in (png, small))
    assert len(small) < len(png) and np.abs(before - after).mean() < 2


@pytest.mark.parametrize(
    ("script", "name"),
    [("Chinese", "信用记录"), ("Arabic", "سجل الائتمان"), ("Devanagari", "क्रेडिट"), ("emoji", "🏠")],
)
def test_a_script_is_drawn_where_this_machine_has_a_font(script: str, name: str) -> None:
    if fonts.undrawable([name]):
        assert set(fonts.label(name)) & {fonts.MISSING}
        pytest.skip(f"no font here has {script}")
    assert fonts.label(name) == name
    drawn = [tokens.attribution_bars([n], [1.0]) for n in (name, fonts.MISSING * len(name))]
    first, second = (palette.encoded(figure, "png", dpi=60) for figure in drawn)
    assert first != second


def test_a_character_that_no_font_has_is_a_box() -> None:
    private = "\U000f1234"  # a private-use character: category C, so a space in figures
    assert fonts.label(f"a{private}b") == "a b"
    assert fonts.label("a\U00013000\ufe0fb") in {
        "a□b",
        "a\U00013000b",
    }  # a hieroglyph, and a variation selector
    assert fonts.fonts()[0] == "DejaVu Sans" and len(set(fonts.fonts())) == len(fonts.fonts())


def test_numbers_along_an_axis_are_told_apart() -> None:
    along = palette.PlainTicks()
    assert along.format_ticks([-0.05, -0.025, 0.0, 0.025]) == ["−0.050", "−0.025", "0.000", "0.025"]
    assert along.format_ticks([0.0, 0.5, 1.0]) == ["0.00", "0.50", "1.00"]
    assert along.format_ticks([]) == []


@given(st.floats(0, 1))
def test_numbers_on_a_colour_can_be_read(place: float) -> None:
    def luminance(colour: tuple[float, ...]) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    ground = palette.DIVERGING(place)
    shades = [luminance(ground), luminance(to_rgb(palette.ink_on(ground)))]
    assert (max(shades) + 0.05) / (min(shades) + 0.05) > 3.8


def test_a_notebook_shows_a_figure_sharp(plain_names: Review) -> None:
    figure = FIGURES["bars"](plain_names)
    assert isinstance(figure, palette.Picture)
    png, size = figure._repr_png_()
    assert Image.open(io.BytesIO(png)).size == (2 * size["width"], 2 * size["height"])


def test_thumbnail_keeps_the_largest_weight() -> None:
    values = np.zeros((50, 50))
    values[17, 31] = 0.9
    small = maps.thumbnail(values, 10)
    assert small.shape == (10, 10) and small.max() == 0.9


def test_descriptions_carry_the_record_numbers(plain_names: Review) -> None:
    account = plain_names.ledgers[0]
    assert wording.signed(account.gap) in ledger.describe(account)
    known = [f for f in gaps.gap_findings(plain_names.audit, "selection_rate") if f.estimate is not None]
    largest = max(known, key=lambda f: abs(f.estimate or 0.0))
    assert wording.signed(largest.estimate) in gaps.describe_gaps(plain_names.audit, "selection_rate")
    assert "no group has enough rows" in gaps.describe_rates(plain_names.audit, "nothing")
    assert tokens.describe((), ()) == "There are no scores."


@given(st.text(max_size=300), st.integers(6, 40))
def test_short_names_fit_and_hold_no_control_characters(text: str, limit: int) -> None:
    short = fonts.shorten(text, limit)
    assert fonts.width_of(short) <= limit
    assert not any(ord(c) < 32 for c in short)


def test_shortening_keeps_both_ends() -> None:
    assert fonts.shorten("abcdefghij" * 1000 + "xyz", 11) == "abcde…ijxyz"
    assert fonts.shorten(SCRIPT) == SCRIPT


@pytest.mark.parametrize(
    ("value", "plain", "with_sign"),
    [
        (None, "–", "–"),
        (math.nan, "–", "–"),
        (0.0, "0.000", "0.000"),
        (-0.25, "−0.250", "−0.250"),
        (1234.5, "1,234.500", "+1,234.500"),
        (2e-7, "2.0e−07", "+2.0e−07"),
        (1989, "1,989", "+1,989"),
    ],
)
def test_numbers_are_written_one_way(value: float | None, plain: str, with_sign: str) -> None:
    assert wording.number(value) == plain
    assert wording.signed(value) == with_sign


def test_a_map_between_different_tokens_names_both() -> None:
    values = np.array([[0.2, 0.8, 0.0], [0.1, 0.3, 0.6]])
    figure = maps.named_map(values, queries=["x", "y"], keys=["a", "b", "<script>"], title="layer 0, head 1")
    axes = figure.axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["x", "y"]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["a", "b", "<script>"]
    assert np.array_equal(np.asarray(axes.images[0].get_array()), values)
    with pytest.raises(ValueError, match="2 queries and 2 keys"):
        maps.named_map(values, queries=["x", "y"], keys=["a", "b"], title="")
