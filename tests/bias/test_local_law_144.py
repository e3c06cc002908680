"""New York City's bias audit: the published ratio, unknown and small categories, the median, no pass mark."""

from fractions import Fraction

import numpy as np
import pytest

from clinometer.bias.local_law_144 import local_law_144
from clinometer.bias.ratios import koopman
from clinometer.errors import DataError, UsageError
from clinometer.evidence import from_columns


def applicants(counts, **extra):
    """Counted rows from (sex, race) -> (applicants, selected)."""
    sex, race, selected, count = [], [], [], []
    for (s, r), (n, k) in counts.items():
        for hit, often in ((1, k), (0, n - k)):
            if often:
                sex.append(s)
                race.append(r)
                selected.append(hit)
                count.append(often)
    return from_columns(
        {"sex": sex, "race": race, "selected": selected, "n": count},
        prediction="selected",
        groups=["sex", "race"],
        count="n",
        **extra,
    )


PUBLISHED = {("male", "a"): (1000, 500), ("male", "b"): (390, 167), ("female", "a"): (1181, 555)}


def audited(counts=PUBLISHED, **settings):
    return local_law_144(applicants(counts), sex="sex", race_ethnicity="race", **settings)


def test_the_impact_ratio_of_the_rules_own_example():
    made = audited()
    male, female = made.of("sex", "male"), made.of("sex", "female")
    assert (male.n_applicants, male.n_selected, male.impact_ratio) == (1390, 667, 1.0)
    assert (female.n_applicants, female.n_selected) == (1181, 555)
    assert round(female.impact_ratio, 3) == 0.979
    assert (female.low, female.high) == pytest.approx(koopman(555, 1181, 667, 1390))
    assert male.low is None


def test_tables_have_the_rules_columns_and_nothing_else():
    tables = audited().tables
    assert list(tables) == ["sex", "race", "sex & race"]
    assert list(tables["sex"].columns) == ["# of Applicants", "# Selected", "Selection Rate", "Impact Ratio"]
    assert tables["sex"].loc["female", "# Selected"] == 555
    assert list(tables["sex & race"].index) == ["female & a", "male & a", "male & b"]


def test_there_is_no_verdict_and_it_is_said():
    made = audited({("male", "a"): (1000, 900), ("female", "a"): (1000, 1)})
    assert not hasattr(made, "verdict")
    assert not hasattr(made, "exit_code")
    assert "no ratio that passes or fails" in made.notes[0]


def test_unknown_categories_are_counted_and_in_no_ratio():
    made = audited({**PUBLISHED, (None, "a"): (50, 50), ("male", None): (10, 0)})
    unknown = {one.table: (one.n_applicants, one.n_selected) for one in made.unknown}
    assert unknown == {"sex": (50, 50), "race": (10, 0), "sex & race": (60, 50)}
    assert made.n == 2631
    assert made.of("sex", "male").n_applicants == 1400
    assert not any("unknown" in one.category for one in made.categories)
    assert "50 applicants fall within an unknown category" in " ".join(made.notes)


def test_a_small_category_left_out_is_shown_with_its_reason_and_is_not_the_highest():
    counts = {**PUBLISHED, ("male", "tiny"): (20, 20)}
    kept = audited(counts)
    assert kept.of("race", "tiny").impact_ratio == 1.0
    made = audited(counts, leave_out={"tiny": "20 applicants say nothing of a rate"})
    tiny = made.of("race", "tiny")
    assert (tiny.n_applicants, tiny.n_selected, tiny.rate, tiny.impact_ratio) == (20, 20, 1.0, None)
    assert "20 applicants say nothing" in tiny.note
    best = max((555 + 500) / 2181, 167 / 390)
    assert made.of("race", "b").impact_ratio == pytest.approx((167 / 390) / best)


def test_two_per_cent_is_not_under_two_per_cent():
    counts = {("male", "a"): (4900, 2000), ("male", "small"): (100, 50)}
    with pytest.raises(UsageError, match="small is 100 of 5000 rows; only a category under 2 %"):
        audited(counts, leave_out={"small": "few"})
    counts["male", "small"] = (99, 50)
    assert audited(counts, leave_out={"small": "few"}).of("race", "small").impact_ratio is None


@pytest.mark.parametrize(
    ("leave_out", "said"),
    [({"tny": "x"}, "did you mean 'tiny'"), ({"tiny": " "}, "without a written justification")],
)
def test_exclusions_that_are_unknown_or_unjustified_are_refused(leave_out, said):
    with pytest.raises(UsageError, match=said):
        audited({**PUBLISHED, ("male", "tiny"): (20, 20)}, leave_out=leave_out)


def test_declared_categories_appear_with_nobody_in_them():
    made = audited(sexes=["female", "male"], races=["a", "b", "c"])
    empty = made.of("race", "c")
    assert (empty.n_applicants, empty.rate, empty.impact_ratio, empty.status) == (
        0,
        None,
        None,
        "insufficient",
    )
    assert made.of("sex & race", "female & c").n_applicants == 0


def test_nobody_selected_has_no_ratio():
    made = audited({("male", "a"): (10, 0), ("female", "a"): (10, 0)})
    one = made.of("sex", "male")
    assert (one.rate, one.impact_ratio, one.status) == (0.0, None, "undefined")


def scores(values, sexes):
    return from_columns(
        {"score": values, "sex": sexes, "race": ["a"] * len(values)}, score="score", groups=["sex", "race"]
    )


def test_a_scoring_rate_is_strictly_above_the_median_of_everybody():
    # Median 2 of all five, the unknown one included; a score equal to it does not count.
    made = local_law_144(
        scores([1, 2, 2, 3, 9], ["f", "f", "m", "m", None]), sex="sex", race_ethnicity="race"
    )
    assert made.rate == "scoring rate"
    assert made.median == 2
    assert made.of("sex", "f").rate == 0
    assert made.of("sex", "m").rate == 0.5
    assert list(made.tables["sex"].columns) == ["# of Applicants", "Scoring Rate", "Impact Ratio"]
    at_or_above = np.array([2, 3]) >= made.median
    assert at_or_above.mean() != made.of("sex", "m").rate  # what "at least the median" would have given


def test_counted_rows_give_what_the_rows_give():
    rows = {"s": [], "x": [], "r": []}
    generator = np.random.default_rng(0)
    for _ in range(300):
        rows["s"].append(int(generator.integers(0, 4)))
        rows["x"].append("fm"[int(generator.integers(0, 2))])
        rows["r"].append("ab"[int(generator.integers(0, 2))])
    plain = from_columns(rows, score="s", groups=["x", "r"])
    keys = sorted(set(zip(*rows.values(), strict=True)))
    together = list(zip(*rows.values(), strict=True))
    counted = from_columns(
        {
            "s": [k[0] for k in keys],
            "x": [k[1] for k in keys],
            "r": [k[2] for k in keys],
            "n": [together.count(k) for k in keys],
        },
        score="s",
        groups=["x", "r"],
        count="n",
    )
    a, b = (local_law_144(e, sex="x", race_ethnicity="r") for e in (plain, counted))
    assert a.categories == b.categories
    assert a.median == b.median


def test_groups_called_0_and_2_keep_their_names_and_neither_is_privileged():
    made = local_law_144(
        from_columns(
            {"sex": [0, 0, 2, 2], "race": [1, 1, 1, 1], "hit": [1, 1, 1, 0]},
            prediction="hit",
            groups=["sex", "race"],
        ),
        sex="sex",
        race_ethnicity="race",
    )
    assert {one.category for one in made.categories if one.table == "sex"} == {"0", "2"}
    assert made.of("sex", "0").impact_ratio == 1.0  # the highest rate, not the highest value
    assert made.of("sex", "2").impact_ratio == 0.5


def test_which_rate_is_meant_has_to_be_clear():
    both = from_columns(
        {"p": [1, 0], "s": [0.1, 0.2], "sex": ["f", "m"], "race": ["a", "a"]},
        prediction="p",
        score="s",
        groups=["sex", "race"],
    )
    with pytest.raises(UsageError, match="say rate="):
        local_law_144(both, sex="sex", race_ethnicity="race")
    assert local_law_144(both, sex="sex", race_ethnicity="race", rate="scoring rate").median == pytest.approx(
        0.15
    )
    with pytest.raises(UsageError, match="takes a score column"):
        local_law_144(applicants(PUBLISHED), sex="sex", race_ethnicity="race", rate="scoring rate")
    with pytest.raises(DataError, match="nobody has a known category"):
        local_law_144(
            from_columns(
                {"p": [1, 0], "sex": [None, None], "race": ["a", "b"]}, prediction="p", groups=["sex", "race"]
            ),
            sex="sex",
            race_ethnicity="race",
        )


def test_ratios_are_exact_fractions():
    made = audited({("male", "a"): (3, 1), ("female", "a"): (9, 3)})
    assert made.of("sex", "female").impact_ratio == 1.0 == float(Fraction(3, 9) / Fraction(1, 3))
    frame = made.frame
    assert {"table", "category", "impact_ratio", "low", "high", "status", "share"} <= set(frame.columns)
