"""Why and a fix, drawn and on the page: every number is there, names are text, nothing untested is claimed."""

import dataclasses
import re
from types import SimpleNamespace

import pytest
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle

from clinometer.bias.parts_of_gaps import NAMES
from clinometer.visualizers import gap_parts, page, palette, plates
from clinometer.visualizers import mediation as chart
from clinometer.visualizers.answers import asked, fixed
from clinometer.visualizers.wording import signed
from reference.answered import drawn_fix, drawn_gap, mediation
from reference.reviews import HOSTILE, SCRIPT, sample_review

FOUND, NOTHING = mediation(), mediation(verified=False)


def words(figure):
    figure.draw_without_rendering()
    return "\n".join(t.get_text() for t in figure.findobj() if hasattr(t, "get_text"))


def plain_review():
    """A review without the pictures that are not looked at here."""
    return dataclasses.replace(
        sample_review(rows=200, layers=1, heads=1), views=(), ledgers=(), measures=None, faithfulness=None
    )


@pytest.fixture(scope="module")
def review():
    return dataclasses.replace(
        plain_review(),
        why=(drawn_gap(), drawn_gap(verified=False, metric="true_positive_rate")),
        mitigated=drawn_fix(),
    )


@pytest.fixture(scope="module")
def rendered(review):
    return page.render(review)


def section(text, name):
    return text.partition(f'<section id="{name}"')[2].partition("</section>")[0]


# Figures


@pytest.mark.parametrize("kind", ["png", "svg"])
@pytest.mark.parametrize("made", [FOUND, NOTHING], ids=["verified", "nothing verified"])
def test_the_chart_of_heads_is_the_same_bytes_twice(made, kind):
    one, two = (palette.encoded(chart.head_chart(made), kind, dpi=50) for _ in range(2))
    assert one == two and len(one) > 500


def test_each_set_of_heads_has_its_mark_its_interval_and_its_words():
    figure = chart.head_chart(FOUND)
    tested = figure.axes[1]
    marks = [line for line in tested.get_lines() if len(line.get_xdata()) == 1]
    tests = chart.head_sets(FOUND)
    assert [float(mark.get_xdata()[0]) for mark in marks] == pytest.approx([t.after for t in tests])
    full = [to_rgba(mark.get_markerfacecolor()) == to_rgba(palette.BLUE) for mark in marks]
    assert full == [t.verified for t in tests] == [True, False, True]
    spans = [list(line.get_xdata()) for line in tested.get_lines() if line.get_linewidth() == 1.7]
    for ends, test in zip(spans, tests, strict=True):
        assert ends == pytest.approx([test.before - test.high, test.before - test.low])
    said = words(figure)
    assert said.count("✓ verified") == 2 and said.count("not verified") == 1
    assert "0 of 39 random sets move it as far" in said and "7 of 39 random sets move it as far" in said
    assert "all heads in\n−0.300" in said
    for name in ("L0.H0", "L0.H1", "all of them"):
        assert name in said


def test_screened_shares_stand_beside_and_those_of_a_set_add_up():
    squares = [
        float(line.get_xdata()[0])
        for line in chart.head_chart(FOUND).axes[0].get_lines()
        if len(line.get_xdata()) == 1
    ]
    assert squares == pytest.approx([-0.4, -0.3, -0.7])


def test_where_the_effects_of_random_sets_are_known_they_are_a_band():
    def known(test):
        names = [field.name for field in dataclasses.fields(test)]
        kept = {n: getattr(test, n) for n in names}
        return SimpleNamespace(**{**kept, "random_effects": (-0.02, 0.01, -0.05)})

    verification = FOUND.verification
    shown = SimpleNamespace(
        screening=FOUND.screening,
        verification=SimpleNamespace(
            **{
                n: getattr(verification, n)
                for n in (
                    "metric",
                    "unit",
                    "ids",
                    "before",
                    "before_low",
                    "before_high",
                    "confidence",
                    "detectable",
                )
            },
            tests=[known(t) for t in verification.tests],
            together=None,
        ),
    )
    boxes = [p for p in chart.head_chart(shown).axes[1].patches if isinstance(p, Rectangle)]
    assert len(boxes) == 2
    assert boxes[0].get_x() == pytest.approx(-0.31) and boxes[0].get_width() == pytest.approx(0.06)


def test_a_sentence_says_what_is_verified_or_what_would_have_been_found():
    said = chart.describe(FOUND)
    assert "−0.300 with all heads in; verified: −0.100 with L0.H0 out (change +0.200 [+0.120, +0.280]" in said
    assert "L0.H0 + L0.H1 out" in said
    nothing = chart.describe(NOTHING)
    assert (
        "no head set is verified" in nothing
        and "an effect of 0.110 would have been verified four times" in nothing
    )
    assert "carries" not in said + nothing


def test_the_parts_add_up_to_the_gap_and_each_has_its_interval(review):
    divided = review.why[0].found.parts
    figure = gap_parts.parts_chart(divided)
    bars = [p for p in figure.axes[0].patches if isinstance(p, Rectangle)]
    assert sum(bar.get_width() for bar in bars[:-1]) == pytest.approx(divided.gap)
    assert bars[-1].get_width() == pytest.approx(divided.gap)
    said = words(figure)
    for name in ("proxies", "treatment"):
        part = divided.part(name)
        assert f"{signed(part.estimate)} [{signed(part.low)}, {signed(part.high)}]" in said
    assert "identity terms: none named" in said
    assert set(gap_parts.MEANING) == set(NAMES)


def test_a_part_that_is_not_zero_is_drawn():
    divided = drawn_gap().found.parts
    rare = dataclasses.replace(divided.part("baseline"), estimate=0.25, low=0.1, high=0.4)
    more = dataclasses.replace(divided, parts=(*divided.parts[:-1], rare))
    assert "the rows' own baselines" in words(gap_parts.parts_chart(more))
    assert "the rows' own baselines" not in words(gap_parts.parts_chart(divided))
    assert "baseline +0.250 [+0.100, +0.400]" in gap_parts.describe(more)


# The page


def test_every_test_is_in_the_table_with_its_numbers(review, rendered):
    html = section(rendered, "heads-out")
    for answer in review.why:
        for test in chart.head_sets(answer.found.mediation):
            for value in (test.after, test.removed, test.low, test.high, test.p):
                assert f'value="{value}"' in html
        for line in answer.sentences:
            assert line[1:].replace("'", "&#39;") in html
    assert html.count("</span>verified</span>") == 2
    assert "That no head set is verified does not show that none matters" in html
    assert "missed one by one" in html and "not a cause" in html


def test_the_fix_shows_before_after_and_who_pays(review, rendered):
    html = section(rendered, "fix")
    found = review.mitigated.found
    for point in found.judged_on.points:
        for value in (point.utility, point.gap, point.gap_low, point.gap_high):
            assert f'value="{value}"' in html
    own = [c for c in found.again.comparison.changes if c.is_gap and c.metric == "selection_rate"]
    assert own
    for change in own:
        for value in (change.before, change.after, change.change, change.low, change.high):
            assert f'value="{value}"' in html
    for change in review.mitigated.cost_by_group():
        assert f'value="{change.change}"' in html
    assert found.choice.rule in html and "erasure: the model has no such block" in html
    assert "The audit before and after" in html and "Who got worse" in html
    assert "The ring marks" in html


def test_who_got_worse_is_named(review, rendered):
    rows = fixed(review)
    worse = [*review.mitigated.found.again.worse_off, *review.mitigated.found.again.grown]
    assert rows["worse"] == worse
    html = section(rendered, "fix")
    if worse:
        assert f'value="{worse[0].change}"' in html
    else:
        assert "not evidence that nobody is worse off" in html


def test_where_nothing_was_better_nothing_was_audited_again(review):
    found = dataclasses.replace(
        review.mitigated.found,
        again=None,
        choice=dataclasses.replace(review.mitigated.found.choice, name="unmitigated"),
    )
    answer = dataclasses.replace(review.mitigated, before=None, after=None, changes=None, found=found)
    html = section(page.render(dataclasses.replace(review, mitigated=answer)), "fix")
    assert "nothing was changed" in html and "The audit before and after" not in html


def test_where_nobody_asked_the_page_says_so():
    text = page.render(plain_review())
    assert "nobody asked why there is a gap" in section(text, "heads-out")
    assert "--mitigate" in section(text, "fix")
    assert "No fix was tried." in text


def test_hostile_names_are_text_and_nothing_is_undefined():
    made = dataclasses.replace(
        plain_review(),
        why=(drawn_gap(group=SCRIPT, reference=HOSTILE[5], token=HOSTILE[2]),),
        mitigated=drawn_fix(name=SCRIPT),
    )
    text = page.render(made)
    assert SCRIPT not in text and text.count("<script") == 1 and "<b>" not in text
    for name in ("heads-out", "fix"):
        html = section(text, name)
        assert "&lt;script&gt;" in html
        assert re.search(r"\b(None|nan|Undefined)\b", re.sub(r"<[^>]+>", " ", html)) is None


def test_pictures_are_named_after_the_question(review):
    names = [plate.name for plate in plates.plates(review)]
    assert "heads-out-group-a-b-selection-rate" in names and "parts-group-a-b-true-positive-rate" in names
    assert "fixes-group-selection-rate" in names and "asked-ledger-group-a-b-selection-rate" in names
    same = dataclasses.replace(review, ledgers=(review.why[0].found.ledger,))
    assert "asked-ledger-group-a-b-selection-rate" not in [plate.name for plate in plates.plates(same)]
    assert [row["place"] for row in asked(review)] == ["0", "1"]
