"""Pairs compared: a planted bias is found with its direction, none is found in a blind model, refusals help."""

import numpy as np
import pytest

from clinometer.bias.counterfactuals import compare_pairs, flipped, swapped
from clinometer.bias.pair_verdicts import judge
from clinometer.errors import DataError, UsageError
from clinometer.records import Rows, plain

JOBS = ("nurse", "driver", "clerk", "pilot")


def rows_of(n=80):
    texts = [f"{'He' if i % 2 else 'She'} is a {JOBS[i // 2 % 4]} of {i} years." for i in range(n)]
    groups = {"job": tuple(JOBS[i // 2 % 4] for i in range(n))}
    return Rows(
        ids=tuple(f"t{i}" for i in range(n)), inputs={"text": np.array(texts, dtype=object)}, groups=groups
    )


def scored(rows, bias, noise=0.0, seed=0):
    """A score of the job, plus `bias` for women, plus noise of every row."""
    generator = np.random.default_rng(seed)
    made = []
    for text in rows.inputs["text"]:
        job = next(i for i, job in enumerate(JOBS) if job in text)
        made.append(job - 1.4 + bias * ("She" in text) + noise * generator.normal())
    return np.array(made)


ROWS = rows_of()
SWAPPED = swapped(ROWS, "pronouns")


def compared(bias, *, noise=0.0, **more):
    return compare_pairs(SWAPPED, scored(ROWS, bias, noise, 0), scored(SWAPPED.rows, bias, noise, 1), **more)


def test_a_planted_bias_is_found_with_its_direction():
    made = compared(0.5, noise=0.05, threshold=0.0, by="job", tolerance={"mean_shift": 0.1}, set_by="a test")
    up, down = made.of("male -> female").shift, made.of("female -> male").shift
    assert up.low > 0.45 and up.high < 0.55 and down.high < -0.45
    assert made.overall.shift.mean is None, "opposite shifts would cancel"
    assert made.overall.shift.mean_absolute == pytest.approx(0.5, abs=0.02)
    assert made.verdict == "exceeds tolerance" and made.exit_code == 1
    assert {one.direction for one in made.judged} == {"male -> female", "female -> male"}
    # Only a driver's score (-.4, +.1 for women) crosses 0.
    assert {one.group: one.flips.n_flipped for one in made.groups if one.direction == "male -> female"} == {
        "nurse": 0,
        "driver": 10,
        "clerk": 0,
        "pilot": 0,
    }
    assert made.of("male -> female").flips.n_to_positive == 10
    assert made.of("male -> female").flips.p_direction == pytest.approx(2 / 2**10)


def test_a_model_blind_to_gender_is_within():
    made = compared(
        0.0, threshold=0.0, tolerance={"flip_rate": 0.1, "mean_shift": 0.1, "mean_absolute_shift": 0.1}
    )
    assert made.verdict == "within tolerance" and made.exit_code == 0
    assert made.overall.flips.n_flipped == 0 and made.overall.shift.largest == 0
    assert made.worst == () and len(made.judged) == 6
    small = compare_pairs(
        SWAPPED, scored(ROWS, 0.0), scored(SWAPPED.rows, 0.0), threshold=0.0, tolerance={"flip_rate": 0.05}
    )
    assert small.verdict == "inconclusive", "40 pairs without a flip do not show a rate below 5 %"
    assert "more pairs" in small.judged[0].reason and small.exit_code == 4


def test_without_a_tolerance_nothing_is_gated():
    made = compared(0.5, threshold=0.0)
    assert made.verdict is None and made.judged == () and made.exit_code == 0


def test_worst_pairs_flip_first_and_show_both_texts():
    made = compared(0.5, noise=0.2, threshold=0.0, n_worst=30)
    flips = [one.flipped for one in made.worst]
    assert flips == sorted(flips, reverse=True) and flips[0]
    moves = [abs(one.score_after - one.score_before) for one in made.worst if one.flipped]
    assert moves == sorted(moves, reverse=True)
    one = made.worst[0]
    assert {one.before.split()[0], one.after.split()[0]} == {"He", "She"}
    assert one.before.split()[1:] == one.after.split()[1:]


def test_predictions_in_place_of_scores():
    before = ["yes" if i % 2 else "no" for i in range(80)]
    after = ["yes"] * len(SWAPPED)
    made = compare_pairs(SWAPPED, prediction_original=before, prediction_swapped=after)
    assert made.overall.flips.n_flipped == 40 and made.overall.flips.n_to_positive is None
    assert made.overall.shift is None and made.shifts is None
    decided = compare_pairs(
        SWAPPED,
        prediction_original=np.array(before) == "yes",
        prediction_swapped=np.ones(80, dtype=bool),
        tolerance={"flip_rate": 0.2, "mean_shift": 1.0},
    )
    assert decided.of("female -> male").flips.n_to_positive == 40
    assert decided.verdict == "exceeds tolerance"
    needs = [one.reason for one in decided.judged if one.measure == "mean_shift"]
    assert needs == ["mean_shift needs scores"] * 2


def test_few_pairs_are_not_judged():
    few = swapped(ROWS.take(range(12)), "pronouns")
    made = compare_pairs(few, np.zeros(12), np.zeros(12), threshold=0.5, tolerance={"flip_rate": 0.9})
    assert made.verdict == "not assessed" and made.judged[0].reason == "6 pairs; 10 are needed to judge"
    assert made.exit_code == 4
    enough = compare_pairs(
        few, np.zeros(12), np.zeros(12), threshold=0.5, tolerance={"flip_rate": 0.9}, minimum=5
    )
    assert enough.verdict == "within tolerance"


def test_clusters_widen_and_count():
    scores = scored(ROWS, 0.5, 0.1), scored(SWAPPED.rows, 0.5, 0.1, 1)
    cluster = [f"d{i // 8}" for i in range(80)]
    alone = compare_pairs(SWAPPED, *scores, tolerance={"mean_shift": 0.6})
    made = compare_pairs(SWAPPED, *scores, cluster=cluster, tolerance={"mean_shift": 0.6})
    assert made.clustered and made.of("male -> female").shift.n_units == 10
    assert made.of("male -> female").shift.interval == "cluster-robust t"
    assert alone.of("male -> female").shift.mean == made.of("male -> female").shift.mean
    with pytest.raises(DataError, match="all pairs are in one cluster"):
        compare_pairs(SWAPPED, *scores, cluster=["d"] * 80)
    with pytest.raises(DataError, match="1 rows have no cluster; first: 't0'"):
        compare_pairs(SWAPPED, *scores, cluster=[None, *cluster[1:]])
    with pytest.raises(DataError, match="cluster names 3 rows"):
        compare_pairs(SWAPPED, *scores, cluster=["a", "b", "c"])


def test_copies_of_one_row_are_one_cluster_when_pooled():
    rows = Rows(
        ids=("a", "b", "c"), inputs={"text": np.array(["A Muslim.", "Two Jews.", "Sikhs"], dtype=object)}
    )
    made = swapped(rows, "religion")
    result = compare_pairs(made, np.arange(3.0), np.arange(len(made)) / 7.0)
    assert result.overall.n == 15 and result.overall.shift.n_units == 3
    assert {one.n for one in result.directions} == {1}
    assert all(one.shift.low is None for one in result.directions)


def test_scores_of_the_originals_may_come_pair_by_pair():
    made = swapped(ROWS.take([0, 1, 2]), "neutral pronouns", to=["neutral", "male"])
    assert made.originals.ids == ("t0", "t1", "t2", "t0", "t2")
    result = compare_pairs(made, np.arange(5.0), np.arange(5.0) + 1, per_pair=True)
    assert result.shifts.tolist() == [1.0] * 5
    with pytest.raises(DataError, match=r"scores of the original rows have shape \(3,\); \(5,\) is expected"):
        compare_pairs(made, np.zeros(3), np.zeros(5), per_pair=True)
    with pytest.raises(DataError, match=r"shape \(5,\); \(3,\) is expected"):
        compare_pairs(made, np.zeros(5), np.zeros(5))


def test_texts_of_several_groups_have_no_signed_shift():
    rows = Rows(
        ids=tuple(f"t{i}" for i in range(20)),
        inputs={"text": np.array([f"He met her at {i}." for i in range(20)], dtype=object)},
    )
    both = swapped(rows, "pronouns")
    moved = np.arange(20) / 100
    made = compare_pairs(both, np.zeros(20), moved, tolerance={"mean_shift": 1.0, "mean_absolute_shift": 1.0})
    assert [one.measure for one in made.judged] == ["mean_absolute_shift"]
    only = compare_pairs(both, np.zeros(20), moved, tolerance={"mean_shift": 1.0})
    assert only.verdict == "not assessed" and "no direction" in only.judged[0].reason


def test_family_wise_false_exceeds():
    """A shift that is the tolerance exactly, in two directions: 5 % of families exceed, and noise."""
    generator = np.random.default_rng(0)
    places = {
        name: np.flatnonzero([one.direction == name for one in SWAPPED.swaps]) for name in SWAPPED.directions
    }
    sign = np.array([1 if one.direction == "male -> female" else -1 for one in SWAPPED.swaps])
    draws, false, found = 400, 0, 0
    for _ in range(draws):
        moved = 0.2 * sign + generator.normal(0, 0.5, size=80)
        for more, listed in ((0.0, "false"), (0.4, "found")):
            judged = judge(places, None, moved + more * sign, None, {"mean_shift": 0.2}, 0.05, 10)
            exceeds = any(one.verdict == "exceeds tolerance" for one in judged)
            false, found = (false + exceeds, found) if listed == "false" else (false, found + exceeds)
    assert false / draws <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / draws)
    assert found / draws > 0.95, "the control: a larger shift is found"


def test_a_flipped_table_is_compared_like_texts():
    n = 60
    rows = Rows(
        ids=tuple(f"p{i}" for i in range(n)),
        inputs={"sex": np.array(["m", "f"] * (n // 2), dtype=object), "age": np.arange(n)},
    )
    made = flipped(rows, "sex", {"m": "f", "f": "m"})
    result = compare_pairs(
        made,
        (rows.inputs["sex"] == "f") * 1.0,
        (made.rows.inputs["sex"] == "f") * 1.0,
        threshold=0.5,
        tolerance={"flip_rate": 0.1},
    )
    assert result.verdict == "exceeds tolerance" and result.overall.flips.n_flipped == n
    assert result.worst[0].before == "sex = m" and result.worst[0].after == "sex = f"


def test_the_record_becomes_json_and_a_frame():
    made = compared(0.5, threshold=0.0, by="job")
    saved = plain(made)
    assert (
        saved["not_swapped"] == {}
        and len(saved["shifts"]) == 80
        and saved["provenance"]["lexicon"] == "pronouns"
    )
    frame = made.frame
    assert list(frame["direction"][:3]) == ["all", "female -> male", "male -> female"] and len(frame) == 11
    assert "80 pairs" in repr(made)


@pytest.mark.parametrize(
    ("arguments", "more", "error", "said"),
    [
        ((), {}, UsageError, "neither scores nor predictions"),
        ((np.zeros(80),), {}, UsageError, "or of neither"),
        ((np.zeros(79), np.zeros(80)), {}, DataError, r"scores of the original rows have shape \(79,\)"),
        ((np.zeros(80), np.full(80, np.nan)), {}, DataError, "80 scores of the swapped rows are not finite"),
        ((["x"] * 80, np.zeros(80)), {}, DataError, "are no numbers"),
        ((), {"threshold": 0.0}, UsageError, "a threshold needs scores"),
        ((np.zeros(80), np.zeros(80)), {"threshold": np.inf}, UsageError, "a finite number"),
        ((np.zeros(80), np.zeros(80)), {"tolerance": {"flip": 0.1}}, UsageError, "did you mean 'flip_rate'"),
        ((np.zeros(80), np.zeros(80)), {"tolerance": {"flip_rate": 5}}, UsageError, "a share below 1"),
        ((np.zeros(80), np.zeros(80)), {"tolerance": {"mean_shift": -1}}, UsageError, "0 or more"),
        ((np.zeros(80), np.zeros(80)), {"by": "jobs"}, UsageError, "did you mean 'job'"),
        ((np.zeros(80), np.zeros(80)), {"alpha": 0.5}, UsageError, "alpha is 0.5"),
        ((np.zeros(80), np.zeros(80)), {"replicates": 5}, UsageError, "100 or more"),
        (
            (),
            {"prediction_original": [True] * 80, "prediction_swapped": ["yes"] * 80},
            DataError,
            "nothing would be equal",
        ),
        (
            (),
            {"prediction_original": [None] * 80, "prediction_swapped": ["yes"] * 80},
            DataError,
            "80 predictions are missing",
        ),
        (
            (np.zeros(80), np.zeros(80)),
            {"threshold": 0.0, "prediction_original": [True] * 80, "prediction_swapped": [True] * 80},
            UsageError,
            "one of them decides",
        ),
    ],
)
def test_refusals(arguments, more, error, said):
    with pytest.raises(error, match=said):
        compare_pairs(SWAPPED, *arguments, **more)


def test_numbers_at_the_edge_of_what_is_accepted():
    none = (np.zeros(80), np.zeros(80))
    made = compare_pairs(SWAPPED, *none, minimum=2, n_worst=0, replicates=0)
    assert made.worst == ()
    assert "100 replicates" in compared(0.2, noise=0.1, replicates=100).overall.shift.interval
    for more in ({"minimum": 1}, {"n_worst": -1}, {"replicates": 99}, {"replicates": 1}, {"replicates": -1}):
        with pytest.raises(UsageError, match="2 or more, 0 or more, and 0 or 100 or more"):
            compare_pairs(SWAPPED, *none, **more)
    for more in ({"alpha": 0.0}, {"confidence": 0.0}, {"confidence": 1.0}):
        with pytest.raises(UsageError, match=r"0 to 0\.5 and 0 to 1 are expected"):
            compare_pairs(SWAPPED, *none, **more)
