"""What faults planted at the edges of `bias/` would change, each seen to fail when its fault is there."""

import json
import math

import numpy as np
import pyarrow as pa
import pytest

from clinometer.bias.areas import NEWCOMBE, Area, newcombe_area
from clinometer.bias.audit import audit
from clinometer.bias.bootstrap_t import _residuals, bootstrap_t
from clinometer.bias.calibration import logistic_recalibration
from clinometer.bias.clusters import FEW, clustered_rate
from clinometer.bias.decision_rules import CommonThreshold
from clinometer.bias.group_reliability import group_reliability
from clinometer.bias.groups import joint_codes
from clinometer.bias.identity_units import identity_units
from clinometer.bias.inequality import benefits, decompose_entropy
from clinometer.bias.influence import Influenced
from clinometer.bias.jigsaw import bias_areas, power_mean
from clinometer.bias.local_law_144 import local_law_144
from clinometer.bias.mitigation import Mitigation
from clinometer.bias.policy import Policy, parse_policy
from clinometer.bias.row_roles import row_counts, row_weights
from clinometer.bias.scored import Undefined
from clinometer.bias.strata import standardised_gap, stratify
from clinometer.bias.tests_of_rates import _all_tables, _n_tables
from clinometer.bias.unit_rows import unit_rows
from clinometer.errors import DataError, PolicyError, UsageError
from clinometer.evidence import Evidence, from_columns
from reference.dividing import attributed


def policy(**values):
    return parse_policy({"set_by": "the test", **values}, where="test")


def test_a_saved_fix_is_indented_by_one_space(tmp_path):
    Mitigation(name="é", rule=CommonThreshold(threshold=0.5)).save(tmp_path / "fix.json")
    text = (tmp_path / "fix.json").read_text("utf-8")
    assert text == json.dumps(json.loads(text), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    assert '\n "name": "é"' in text


@pytest.mark.parametrize("at", [0.0, 1.0])
def test_an_area_at_its_end_has_newcombes_interval_whatever_rounding_left_of_its_variance(at):
    # With weights of 19 orders of magnitude the influence of rows that cannot have any was seen at 1e-11.
    left = 1e-11 * np.array([1.0, -1.0, 2.0, -2.0])
    label = np.array([True, True, False, False])
    made = Area(
        value=Influenced(estimate=at, influence=left, rows=None), label=label, n_positive=2, n_negative=2
    )
    assert made.value.means().se > 1e-12 and made.means() is None and not made.has_spread()
    assert made.method() == NEWCOMBE and made.interval() == newcombe_area(at, 2, 2, 0.95)
    weight = np.array([1e8, 1e-6, 1e-6, 1e10, 0.1, 1e10, 1e-9, 1.0])
    (found,) = bias_areas(
        at * 2 * (np.arange(8) < 4) + np.arange(8) / 80,
        np.arange(8) < 4,
        {"g": np.ones(8, bool)},
        weight=weight,
    )
    assert isinstance(found.subgroup_auc, Area) and found.subgroup_auc.method() == NEWCOMBE


def test_the_joint_groups_of_one_column_are_its_own():
    codes, names = joint_codes([np.array([2, 0, -1, 2])], [["a", "b", "c"]])
    assert codes.tolist() == [1, 0, -1, 1] and names == ("a", "c")


@pytest.mark.parametrize(("rows", "total"), [([1, 1], 1), ([2, 3, 5], 4), ([4, 1, 1, 2], 3), ([6, 6], 12)])
def test_no_more_tables_are_listed_than_were_announced(rows, total):
    rows = np.array(rows)
    assert len(_all_tables(rows, total)[0]) <= _n_tables(rows, total)


@pytest.mark.parametrize(("n", "more"), [(20, ""), (21, " and 1 more")])
def test_a_category_that_is_not_there_is_told_of_twenty_that_are(n, more):
    rows = {
        "sex": ["a"] * n,
        "race": [f"r{i:02}" for i in range(n)],
        "selected": [1] * n,
    }
    made = local_law_144(
        from_columns(rows, prediction="selected", groups=["sex", "race"]), sex="sex", race_ethnicity="race"
    )
    known = [f"{one.table}: {one.category}" for one in made.categories]
    with pytest.raises(UsageError) as refused:
        made.of("sex", "b")
    shown = ", ".join(map(repr, known[:20]))
    assert str(refused.value) == f"there is no category 'b' of 'sex': {shown} and {len(known) - 20} more."
    assert len(known) == 2 * n + 1


def test_the_frame_of_bins_holds_their_intervals():
    n = 60
    rows = {"y": [i % 3 == 0 for i in range(n)], "p": [i / n for i in range(n)], "g": ["a", "b"] * (n // 2)}
    made = group_reliability(from_columns(rows, label="y", score="p", groups=["g"]), "g", n_bins=3)
    bins = [part for one in made.groups for part in one.bins]
    ends = [part.interval for part in bins]
    assert all(ends) and len(bins) == 9
    assert made.frame["low"].tolist() == [one.low for one in ends]
    assert made.frame["high"].tolist() == [one.high for one in ends]


def test_every_two_groups_are_compared_where_the_best_is_the_reference():
    names = "abcd"
    rows = {"g": list(names) * 20, "said": [i % 4 <= i // 20 % 4 for i in range(80)]}
    rules = policy(groups={"g": {"compare": "pairs", "reference": "(best)"}})
    made = audit(from_columns(rows, prediction="said", groups=["g"]), rules)
    of = [one for one in made.findings if one.metric == "selection_rate"]
    assert {frozenset((one.group, one.reference)) for one in of} == {
        frozenset((a, b)) for a in names for b in names if a < b
    }
    assert len(of) == 6


def test_weights_that_fit_no_strata_are_told_in_both_directions():
    strata = stratify(np.arange(12) % 2 == 0, np.arange(12) % 4 < 2, ["x"] * 4 + ["y"] * 8)
    for weights, told in (
        ({"x": 1.0}, "missing for 'y' and given for nothing that"),
        ({"x": 1.0, "y": 1.0, "z": 1.0}, "missing for no stratum and given for 'z' that"),
        ({"x": 1.0, "z": 1.0}, "missing for 'y' and given for 'z' that"),
    ):
        with pytest.raises(UsageError, match=f"^weights are {told} is no stratum: name every stratum once"):
            standardised_gap(strata, weights)


def test_the_part_of_inequality_between_groups_is_told():
    label, said = [True, False] * 20, [i % 5 == 0 or i < 8 for i in range(40)]
    group = ["a"] * 12 + ["b"] * 28
    rows = from_columns({"y": label, "said": said, "g": group}, label="y", prediction="said", groups=["g"])
    parts = decompose_entropy(benefits(np.array(label), np.array(said)), group, 2.0)
    assert 0.01 < parts.between / parts.total < 0.99
    (one,) = [one for one in audit(rows, policy()).summaries if one.metric == "generalized_entropy_index"]
    assert f"; {parts.between / parts.total:.1%} of it lies between the groups" in one.words


@pytest.mark.parametrize("alone", [True, False])
def test_a_single_cluster_with_a_success_or_with_a_failure_is_few(alone):
    # The others are in enough clusters, so that one alone decides.
    n = 2 * FEW
    success = np.array([(i < 2) == alone for i in range(2 * n)])
    made = clustered_rate(success, cluster=np.arange(2 * n) // 2)
    assert made.few
    assert not clustered_rate(np.arange(2 * n) % 2 == 0, cluster=np.arange(2 * n) // 2).few


def test_an_identity_term_is_spelt_as_its_unit_where_case_is_not_folded():
    tokens = [["film", "Muslim"], ["muslim", "film"]] * 3
    scores = np.ones((6, 2))
    as_written = unit_rows(attributed(tokens, scores), fold_case=False)
    assert as_written.units == ("film", "Muslim", "muslim")
    assert identity_units(as_written, ["Muslim"], None, None, False).tolist() == [False, True, False]
    with pytest.raises(DataError, match="there is no unit 'FILM' to be an identity term"):
        identity_units(as_written, ["FILM"], None, None, False)
    folded = unit_rows(attributed(tokens, scores))
    assert identity_units(folded, ["MUSLIM"], None, None, True).tolist() == [False, True]


def test_a_unit_named_in_capitals_is_met_by_its_own_name():
    capital = unit_rows(attributed([["film", "faith"]] * 3, np.ones((3, 2))), {"faith": "FAITH"})
    assert capital.units == ("film", "FAITH")
    assert identity_units(capital, ["FAITH"], None, None, True).tolist() == [False, True]


def test_pairs_that_differ_by_a_constant_have_no_error():
    # The variance of their difference is one of three numbers less another: rounding is left, and is no error.
    for seed in range(5):
        first = np.random.default_rng(seed).normal(10.0, 3.0, (40, 2))
        values, unit = np.concatenate([first, first - [0.1, 0.7]]), np.tile(np.arange(40), 2)
        made = bootstrap_t(values, np.repeat([1 / 40, -1 / 40], 40), cluster=unit, replicates=60)
        assert made.error.tolist() == [0.0, 0.0]


def test_rows_of_a_stratum_are_spread_to_its_degrees_of_freedom_from_two_on():
    values = np.array([[1.0], [5.0], [2.0], [3.0], [7.0], [9.0]])
    stratum, weights = np.array([0, 0, 1, 1, 1, 2]), np.full(6, 1 / 6)
    mean = values.mean()
    expected = [
        *(np.array([-2.0, 2.0]) * np.sqrt(2)),
        *(np.array([-2.0, -1.0, 3.0]) * np.sqrt(1.5)),
        9 - mean,
    ]
    assert _residuals(values, weights, stratum).ravel() == pytest.approx(expected, abs=1e-12)


def test_without_a_derivative_the_rows_are_those_of_the_first_area():
    score, label = np.array([3.0, 1.0, 2.0, 4.0, 0.0]), np.array([False, True, True, False, True])
    few, more = (bias_areas(score, label, {"g": np.arange(5) < n})[0].subgroup_auc for n in (2, 5))
    assert isinstance(few, Area) and isinstance(more, Area) and few.area == more.area == 0
    for areas, n in (([few, more], 2), ([more, few], 5)):
        made = power_mean(areas)
        assert isinstance(made, Undefined) and made.n == n


def unchecked(**columns):
    """Rows as a record that nobody read from a file, whose columns were not looked at."""
    given = {"id": ["p", "q", "r"], "said": [True, False, True], **columns}
    return Evidence(table=pa.table(given), id="id", prediction="said", **{name: name for name in columns})


@pytest.mark.parametrize("bad", [-1.0, -0.5, math.inf])
def test_a_weight_below_zero_is_refused_with_the_first_that_is(bad):
    with pytest.raises(DataError) as refused:
        row_weights(unchecked(weight=[0.0, bad, -7.0]))
    assert str(refused.value) == (
        f"column 'weight' weighs rows and holds {bad:g}; first rows: 'q', 'r'. Finite numbers of 0 or more are expected."
    )
    kept = row_weights(unchecked(weight=[0.0, 0.25, 7.0]))
    assert kept is not None and kept.tolist() == [0.0, 0.25, 7.0]


def test_a_count_that_is_none_is_told_with_the_first_that_is():
    with pytest.raises(DataError) as refused:
        row_counts(unchecked(count=[2.0, 1.5, -3.0]))
    assert str(refused.value) == (
        "column 'count' counts rows and holds 1.5; first rows: 'q', 'r'. Whole numbers of 0 or more are expected."
    )
    kept = row_counts(unchecked(count=[2.0, 0.0, 3.0]))
    assert kept is not None and kept.tolist() == [2, 0, 3]


def test_rows_that_count_nought_do_not_keep_labels_from_being_separated():
    score, label = np.array([0.2, 0.3, 0.7, 0.8, 0.9]), np.array([False, False, True, True, False])
    whole = logistic_recalibration(score, label)
    assert not isinstance(whole, Undefined), "the last row overlaps"
    for none in ({"count": np.array([1, 1, 1, 1, 0])}, {"weight": np.array([1.0, 1.0, 1.0, 1.0, 0.0])}):
        made = logistic_recalibration(score, label, **none)
        assert isinstance(made, Undefined) and "the probabilities separate the labels" in made.reason


@pytest.mark.parametrize(("n", "refused"), [(19, False), (20, True), (21, True)])
def test_from_twenty_rows_on_a_prediction_that_is_the_label_is_refused(n, refused):
    rows = {
        "y": [float(i) for i in range(n)],
        "f": [float(i) for i in range(n)],
        "g": ["a", "b"] * 10 + ["a"],
    }
    rows["g"] = rows["g"][:n]
    given = from_columns(rows, label="y", prediction="f", groups=["g"])
    if refused:
        with pytest.raises(DataError, match=f"the prediction 'f' is the label 'y' in all {n} rows"):
            audit(given, policy(task="regression"))
    else:
        assert audit(given, policy(task="regression")).cells


@pytest.mark.parametrize(
    "said",
    [{"alpha": "0.1"}, {"confidence": "0.9"}, {"min_group": "5"}, {"min_group": 5.0}, {"min_group": True}],
)
def test_a_policy_takes_no_text_for_a_number(said):
    with pytest.raises(PolicyError, match=next(iter(said))):
        policy(**said)
    with pytest.raises(ValueError, match=next(iter(said))):
        Policy.model_validate(said)
