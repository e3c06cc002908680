"""Borkan et al.'s areas of subgroups: published toy, joint covariance, power means, the competition's score."""

import csv
import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from project_files import ROOT
from scipy.stats import mannwhitneyu
from sklearn.metrics import roc_auc_score

from clinometer.bias.areas import Area
from clinometer.bias.influence import covariance
from clinometer.bias.jigsaw import (
    AREAS,
    CompetitionScore,
    Composite,
    area_named,
    bias_areas,
    competition_score,
    power_mean,
)
from clinometer.bias.scored import Undefined
from clinometer.errors import DataError, UsageError
from reference import ranking

MADLIBS = ROOT.parent / "shared" / "data" / "jigsaw_madlibs" / "bias_madlibs_77k.csv.gz"
TOY = [
    *((score, False, False) for score in (0.1, 0.2, 0.3)),
    *((score, False, True) for score in (0.21, 0.31, 0.55)),
    *((score, True, False) for score in (0.5, 0.8, 0.9)),
    *((score, True, True) for score in (0.4, 0.6, 0.71)),
]


def columns(rows):
    score, label, member = zip(*rows, strict=True)
    return np.array(score), np.array(label), np.array(member)


def simulated(n=400, seed=0):
    generator = np.random.default_rng(seed)
    label = generator.random(n) < 0.4
    subgroups = {name: generator.random(n) < share for name, share in (("a", 0.3), ("b", 0.2), ("c", 0.5))}
    score = np.round(generator.normal(size=n) + 1.2 * label + 0.5 * subgroups["a"], 1)
    return score, label, subgroups


def areas_of(made, name):
    return [area_named(each, name) for each in made]


def test_toy_of_the_authors():
    score, label, member = columns(TOY)
    (made,) = bias_areas(score, label, {"g": member})
    three = [area_named(made, name) for name in AREAS]
    assert [one.area for one in three] == pytest.approx([8 / 9, 8 / 9, 1], abs=1e-15)
    assert [one.value.se() ** 2 for one in three] == pytest.approx([0.0246914, 0.0246914, 0], abs=5e-8)
    assert three[2].interval().low < 0.6 and three[2].interval().high == 1
    assert (made.n, made.n_background) == (6, 6)
    # negatives: 8 of 9 pairs have the subgroup higher; positives: 2 of 9
    assert made.negative_equality_gap.estimate == pytest.approx(8 / 9 - 1 / 2, abs=1e-15)
    assert made.positive_equality_gap.estimate == pytest.approx(2 / 9 - 1 / 2, abs=1e-15)


def test_joint_covariance_is_delongs():
    score, label, subgroups = simulated(80)
    (made,) = bias_areas(score, label, {"a": subgroups["a"]})
    joint = covariance([area_named(made, name).value for name in AREAS])
    slow = ranking.bias_covariance(
        list(zip(score.tolist(), label.tolist(), subgroups["a"].tolist(), strict=True))
    )
    assert joint == pytest.approx(np.array(slow), abs=1e-15)
    assert joint[0, 1] > 0 and joint[0, 2] > 0 and joint[1, 2] == 0


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.booleans(), st.booleans(), st.integers(1, 3)), min_size=1, max_size=14
    )
)
def test_counted_rows_give_what_their_rows_give_and_agree_with_scipy(rows):
    score, label, member, count = (np.array(column) for column in zip(*rows, strict=True))
    (counted,) = bias_areas(score, label, {"g": member}, count=count)
    listed_columns = [np.repeat(column, count) for column in (score, label, member)]
    (listed,) = bias_areas(listed_columns[0], listed_columns[1], {"g": listed_columns[2]})
    for name in (*AREAS, "negative_equality_gap", "positive_equality_gap"):
        one, other = getattr(counted, name), getattr(listed, name)
        if isinstance(one, Undefined):
            assert other == one
            continue
        assert one.estimate == pytest.approx(other.estimate, abs=1e-12)
        assert one.interval() == pytest.approx(other.interval(), abs=1e-8)
    for name, kind in (("negative", False), ("positive", True)):
        square = getattr(counted, f"{name}_squared_equality_gap")
        inside = listed_columns[0][listed_columns[2] & (listed_columns[1] == kind)]
        outside = listed_columns[0][~listed_columns[2] & (listed_columns[1] == kind)]
        if isinstance(square, Undefined):
            assert not (len(inside) and len(outside))
            continue
        u = mannwhitneyu(outside, inside, alternative="less", method="asymptotic").statistic
        gap = getattr(counted, f"{name}_equality_gap").estimate
        assert gap == pytest.approx(0.5 - u / (len(inside) * len(outside)), abs=1e-12)
        assert square == pytest.approx(slow_square(inside, outside), abs=2e-3)
        assert square == pytest.approx(getattr(listed, f"{name}_squared_equality_gap"), abs=1e-12)


def slow_square(inside, outside):
    """The paper's integral on a fine grid of background rates, between the points of the straight-lined curve."""
    at = sorted({*inside.tolist(), *outside.tolist()}, reverse=True)
    x = np.array([0.0, *(np.mean(outside >= threshold) for threshold in at)])
    y = np.array([0.0, *(np.mean(inside >= threshold) for threshold in at)])
    total, grid = 0.0, (np.arange(1000) + 0.5) / 1000
    for value in grid:
        k = int(np.flatnonzero(x > value)[0])
        height = y[k - 1] + (y[k] - y[k - 1]) * (value - x[k - 1]) / (x[k] - x[k - 1])
        total += (height - value) ** 2 / 1000
    return total


def test_equality_gaps_known_answers():
    label = np.zeros(8, dtype=bool)
    member = np.arange(8) >= 4
    (higher,) = bias_areas(np.arange(8.0), label, {"g": member})
    assert higher.negative_equality_gap.estimate == 0.5
    assert higher.negative_squared_equality_gap == pytest.approx(1 / 3, abs=1e-15)
    (same,) = bias_areas(np.tile(np.arange(4.0), 2), label, {"g": member})
    assert same.negative_equality_gap.estimate == 0 and same.negative_squared_equality_gap == 0
    low, high = higher.negative_equality_gap.interval()
    assert -0.5 < low < 0.4 and high == 0.5
    assert isinstance(higher.positive_equality_gap, Undefined)
    assert "no positives anywhere" in higher.positive_equality_gap.reason


def test_power_mean_and_its_delta_method():
    score, label, subgroups = simulated()
    found = areas_of(bias_areas(score, label, subgroups), AREAS[1])
    made = power_mean(found)
    assert isinstance(made, Composite)
    values = [one.area for one in found]
    assert made.estimate == pytest.approx((sum(v**-5 for v in values) / 3) ** (-1 / 5), abs=1e-14)
    gradient = []
    for i in range(3):
        moved = [
            (sum((v + (h if i == j else 0)) ** -5 for j, v in enumerate(values)) / 3) ** -0.2
            for h in (1e-6, -1e-6)
        ]
        gradient.append((moved[0] - moved[1]) / 2e-6)
    assert made.gradient == pytest.approx(gradient, abs=1e-8)
    joint = covariance([one.value for one in found])
    assert made.se() ** 2 == pytest.approx(float(np.array(gradient) @ joint @ gradient), rel=1e-7)
    assert min(values) < made.estimate < np.mean(values)
    low, high = made.interval()
    assert 0 < low < made.estimate < high < 1
    plain = power_mean(found, p=1.0)
    assert isinstance(plain, Composite) and plain.estimate == pytest.approx(np.mean(values), abs=1e-14)


def test_overlapping_subgroups_are_not_taken_as_independent():
    score, label, subgroups = simulated()
    twice = {"a": subgroups["a"], "the same": subgroups["a"]}
    (one, same) = areas_of(bias_areas(score, label, twice), AREAS[0])
    made = power_mean([one, same])
    assert isinstance(made, Composite)
    assert made.se() == pytest.approx(
        one.se(), rel=1e-12
    )  # independent ones would have it over the root of 2


def test_power_mean_of_perfect_areas_is_not_known_exactly():
    label = np.arange(40) % 2 == 0
    score = label + np.linspace(0, 0.5, 40)
    member = np.arange(40) < 20
    made = bias_areas(score, label, {"g": member, "rest": ~member})
    mean = power_mean(areas_of(made, AREAS[0]))
    assert isinstance(mean, Composite) and mean.estimate == 1
    low, high = mean.interval()
    assert 0.5 < low < 0.95 and high == 1
    whole = competition_score(score, label, {"g": member, "rest": ~member})
    assert isinstance(whole, CompetitionScore)
    assert whole.score.estimate == 1 and whole.score.interval().low < 0.95


def test_competition_score_is_the_published_formula():
    score, label, subgroups = simulated()
    made = competition_score(score, label, subgroups)
    assert isinstance(made, CompetitionScore)
    total = 0.25 * roc_auc_score(label, score)
    for chosen in (
        lambda member: member,
        lambda member: member != label,
        lambda member: member == label,
    ):
        values = [roc_auc_score(label[chosen(m)], score[chosen(m)]) for m in subgroups.values()]
        total += 0.25 * np.mean(np.power(values, -5.0)) ** (-1 / 5)
    assert made.score.estimate == pytest.approx(total, abs=1e-12)
    low, high = made.score.interval()
    assert low < total < high


def test_standard_error_of_the_competition_score_is_that_of_new_samples():
    estimates, errors = [], []
    for seed in range(150):
        made = competition_score(*simulated(300, seed=seed))
        assert isinstance(made, CompetitionScore)
        estimates.append(made.score.estimate)
        errors.append(made.score.se())
    assert np.mean(errors) == pytest.approx(np.std(estimates, ddof=1), rel=0.15)


def test_clusters_widen_intervals():
    score, label, subgroups = simulated(200)
    many = {name: np.repeat(mask, 4) for name, mask in subgroups.items()}
    made = competition_score(np.repeat(score, 4), np.repeat(label, 4), many)
    once = competition_score(score, label, subgroups)
    assert isinstance(made, CompetitionScore) and isinstance(once, CompetitionScore)
    cluster = np.repeat(np.arange(200), 4)
    assert made.score.se(cluster) == pytest.approx(once.score.se(), rel=0.03)
    assert made.score.se() < 0.6 * once.score.se()


def test_a_subgroup_without_an_area_is_named_and_never_left_out():
    score, label, subgroups = simulated()
    subgroups["d"] = label & subgroups["a"]  # positives only
    made = bias_areas(score, label, subgroups)
    assert isinstance(made[3].subgroup_auc, Undefined) and "no negatives" in made[3].subgroup_auc.reason
    mean = power_mean(areas_of(made, AREAS[0]))
    assert isinstance(mean, Undefined) and "subgroup 4 of 4: no negatives" in mean.reason
    named = power_mean(areas_of(made, AREAS[0]), names=list("abcd"))
    assert isinstance(named, Undefined) and "subgroup 'd': no negatives" in named.reason
    whole = competition_score(score, label, subgroups)
    assert isinstance(whole, Undefined) and f"{AREAS[0]}: the area of subgroup 'd'" in whole.reason
    nobody = bias_areas(score, label, {"none": np.zeros(len(score), bool)})[0]
    assert isinstance(nobody.subgroup_auc, Undefined) and nobody.n == 0
    assert "in the subgroup" in nobody.positive_equality_gap.reason


def test_refusals():
    score, label, member = columns(TOY)
    (made,) = bias_areas(score, label, {"g": member})
    with pytest.raises(DataError, match="subgroup 'g' has shape"):
        bias_areas(score, label, {"g": member.astype(float)})
    with pytest.raises(DataError, match="subgroup 'g' has 3 rows, the score 12"):
        bias_areas(score, label, {"g": member[:3]})
    with pytest.raises(UsageError, match="p is 0"):
        power_mean([made.subgroup_auc], p=0)
    with pytest.raises(UsageError, match="one subgroup or more"):
        power_mean([])
    with pytest.raises(UsageError, match="2 names of 1 areas: one name for each is expected"):
        power_mean([made.subgroup_auc], names=["a", "b"])
    with pytest.raises(UsageError, match="no area: it can be negative"):
        power_mean([made.negative_equality_gap])
    with pytest.raises(UsageError, match="did you mean 'subgroup_auc'"):
        area_named(made, "subgroup_au")
    reverse = bias_areas(-score, label, {"g": member})[0].background_negative_subgroup_positive_auc
    assert isinstance(reverse, Area) and reverse.area == 0
    zero = power_mean([reverse])
    assert isinstance(zero, Undefined) and "an area is 0" in zero.reason


@pytest.mark.skipif(not MADLIBS.is_file(), reason="no ../shared/data/jigsaw_madlibs beside the checkout")
def test_madlibs():
    """Their sentences and subgroups, scored by an invented model that leans against one identity."""
    with gzip.open(MADLIBS, "rt", encoding="utf-8") as file:
        rows = [(row["Text"].split(), row["Label"] == "BAD") for row in csv.DictReader(file)][::4]
    label = np.array([bad for _, bad in rows])
    subgroups = {
        term: np.array([term in words for words, _ in rows])
        for term in ("gay", "lesbian", "american", "muslim", "black", "old")
    }
    score = np.random.default_rng(0).normal(size=len(rows)) + 2 * label + 1.5 * subgroups["gay"]
    made = bias_areas(score, label, subgroups)
    for one in made:
        member = subgroups[one.subgroup]
        assert one.n > 100
        for name, chosen in zip(AREAS, (member, member != label, member == label), strict=True):
            found = area_named(one, name)
            assert isinstance(found, Area)
            assert found.area == pytest.approx(roc_auc_score(label[chosen], score[chosen]), abs=1e-9)
    planted, *others = made
    # What the lean does: negatives that name it score like everybody's positives; within it nothing changes.
    name = "background_positive_subgroup_negative_auc"
    worst = area_named(planted, name).interval().high
    assert all(worst < area_named(one, name).interval().low for one in others)
    assert planted.negative_equality_gap.interval().low > 0.2
    assert all(one.negative_equality_gap.interval().low < 0.1 for one in others)
    assert planted.subgroup_auc.interval().high > 0.9
    whole = competition_score(score, label, subgroups)
    assert isinstance(whole, CompetitionScore)
    assert whole.power_means[name].estimate < np.mean([area_named(one, name).area for one in made])
