"""A mitigation decides new rows, the same ones the same way each time, and remembers what it has seen."""

import dataclasses
import json
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinometer.bias.decision_rules import KINDS, CommonThreshold, Given, GroupThresholds, Heads, Mixed
from clinometer.bias.id_draws import id_draws
from clinometer.bias.mitigation import Mitigation, read_mitigation
from clinometer.bias.seen_rows import refuse_seen, seen_rows
from clinometer.errors import DataError, OutputError, UsageError
from reference.fixing import mixed_chance
from reference.leaning import leaning

HALF = Mixed(p0=0.3, operator0=">", threshold0=0.7, p1=0.7, operator1=">", threshold1=0.4)
IGNORING = dataclasses.replace(HALF, p_ignore=0.25, constant=0.6)
COMMON = Mitigation(name="half", rule=CommonThreshold(threshold=0.5))
BY_GROUP = Mitigation(
    name="by group",
    rule=GroupThresholds(rules={"a": HALF, "b": IGNORING}, otherwise=0.9),
    attribute="group",
    seed=7,
    settings={"constraint": "equalized_odds", "allowed_gap": None},
)
HEADS = Mitigation(
    name="heads",
    rule=Heads(
        coefficients=np.array([[1.0, -0.3, 0.1], [0.2, 1.0 / 3, -7.5e-9], [0.0, 0.0, 0.0]]),
        intercepts=np.array([0.1, -0.2, 1.0]),
        weights=np.array([0.5, 0.3, 0.2]),
    ),
)
ALL = {"common_threshold": COMMON, "group_thresholds": BY_GROUP, "heads": HEADS}


def test_the_table_of_kinds_is_whole():
    assert set(ALL) == set(KINDS)
    assert all(KINDS[kind].kind == kind == made.kind for kind, made in ALL.items())


# Deciding


def test_a_common_threshold_takes_the_threshold_itself():
    score = np.array([0.2, 0.5, np.nextafter(0.5, 0), 0.9])
    assert COMMON.decide(score=score).tolist() == [False, True, False, True]
    nobody = Mitigation(name="nobody", rule=CommonThreshold(threshold=math.inf))
    assert not nobody.decide(score=score).any()


@given(
    st.floats(0, 1),
    st.floats(0, 1),
    st.sampled_from("<>"),
    st.sampled_from("<>"),
    st.floats(-1, 1),
    st.floats(-1, 1),
    st.floats(0, 1),
    st.floats(-1, 1),
)
def test_mixed_thresholds_are_the_slow_twins(p0, p_ignore, one, two, t0, t1, constant, score):
    rule = Mixed(
        p0=p0,
        operator0=one,
        threshold0=t0,
        p1=1 - p0,
        operator1=two,
        threshold1=t1,
        p_ignore=p_ignore,
        constant=constant,
    )
    said = rule.chance(np.array([score]))[0]
    assert said == pytest.approx(
        mixed_chance(score, {f: getattr(rule, f) for f in Mixed.__slots__}), abs=1e-12
    )


def test_a_draw_hangs_on_the_id_alone_and_is_right_in_the_mean():
    n = 40_000
    ids = [f"x{i}" for i in range(n)]
    score = np.full(n, 0.55)  # above .4, under .7: chance .7 in a, .6 * .25 + .75 * .7 in b
    groups = ["a"] * (n // 2) + ["b"] * (n // 2)
    said = BY_GROUP.decide(ids=ids, score=score, groups=groups)
    for rows, chance in ((slice(0, n // 2), 0.7), (slice(n // 2, n), 0.675)):
        assert said[rows].mean() == pytest.approx(chance, abs=4 * math.sqrt(0.25 / (n // 2)))
    order = np.random.default_rng(0).permutation(n)[:500]
    alone = BY_GROUP.decide(
        ids=[ids[i] for i in order], score=score[order], groups=[groups[i] for i in order]
    )
    assert np.array_equal(alone, said[order])
    other = dataclasses.replace(BY_GROUP, seed=8).decide(ids=ids, score=score, groups=groups)
    assert 0.3 < (other != said).mean() < 0.6  # negative control: another seed draws anew


def test_draws_say_nothing_of_which_part_a_row_is_in():
    ids = [f"x{i}" for i in range(20_000)]
    judged = id_draws(ids, "split", 7) > 0.75
    said = BY_GROUP.decide(ids=ids, score=np.full(20_000, 0.55), groups=["a"] * 20_000)
    assert said[judged].mean() == pytest.approx(said[~judged].mean(), abs=0.03)
    same = id_draws(ids, "decision", 7) > 0.75  # negative control: divided by the draw itself
    assert said[same].mean() < 0.1 < said[~same].mean()


def test_heads_are_a_weighted_vote_and_rows_do_not_depend_on_their_neighbours():
    features = np.random.default_rng(1).normal(size=(200, 3))
    rule = HEADS.rule
    votes = []
    for x in features:
        parts = zip(rule.coefficients, rule.intercepts, rule.weights, strict=True)
        votes.append(sum(weight for c, b, weight in parts if x @ c + b > 0))
    assert HEADS.chance(features=features) == pytest.approx(np.array(votes), abs=1e-12)
    assert set(np.round(HEADS.chance(features=features), 9)) <= {0.2, 0.5, 0.7, 1.0}
    margins = HEADS.rule.margins(Given(features=features))
    for i in (0, 7, 199):
        assert np.array_equal(HEADS.rule.margins(Given(features=features[i : i + 1]))[0], margins[i])


def test_applying_keeps_names_and_what_was_there():
    evidence, features = leaning(50)
    made = COMMON.apply(evidence)
    assert (made.prediction, made.score) == ("said", "score")
    assert made.binary("said").tolist() == (evidence.column("score") >= 0.5).tolist()
    assert made.binary("said (before)").tolist() == evidence.binary("said").tolist()
    with_heads = HEADS.apply(evidence, features)
    assert with_heads.column("score (before)").tolist() == evidence.column("score").tolist()
    assert np.all((with_heads.column("score") > 0) & (with_heads.column("score") < 1))
    twice = COMMON.apply(made)
    assert len(set(twice.table.column_names)) == len(twice.table.column_names)


def test_labels_that_are_words_stay_what_they_are():
    from clinometer.evidence import from_columns

    made = from_columns(
        {
            "y": [">50K", "<=50K", ">50K"],
            "said": ["<=50K", "<=50K", ">50K"],
            "s": [0.6, 0.1, 0.9],
            "g": list("aab"),
        },
        label="y",
        prediction="said",
        score="s",
        groups=["g"],
        positive=">50K",
    )
    after = COMMON.apply(made)
    assert after.binary("said").tolist() == [True, False, True] == after.binary("y").tolist()
    assert after.binary("said (before)").tolist() == [False, False, True]


# Rows of nobody


def test_a_group_that_the_rule_was_not_made_for_is_refused_or_has_a_declared_threshold():
    score = np.array([0.95, 0.95, 0.5])
    said = BY_GROUP.decide(ids=["1", "2", "3"], score=score, groups=["z", None, None])
    assert said.tolist() == [True, True, False]
    strict = dataclasses.replace(BY_GROUP, rule=dataclasses.replace(BY_GROUP.rule, otherwise=None))
    with pytest.raises(DataError, match=r"2 rows are of no group.*'z', 'unknown'"):
        strict.decide(ids=["1", "2", "3"], score=score, groups=["z", "a", None])


def test_what_a_rule_needs_and_does_not_get():
    score = np.array([0.55])
    with pytest.raises(UsageError, match=r"hangs on the row's id: give ids"):
        BY_GROUP.decide(score=score, groups=["a"])
    assert BY_GROUP.decide(score=np.array([0.8]), groups=["a"]).tolist() == [True]  # nothing is drawn here
    with pytest.raises(UsageError, match="need the groups"):
        BY_GROUP.decide(ids=["1"], score=score)
    with pytest.raises(UsageError, match="decides on scores"):
        COMMON.decide(features=np.zeros((1, 3)))
    with pytest.raises(UsageError, match="decides on the model's features"):
        HEADS.decide(score=score)
    with pytest.raises(DataError, match=r"shape \(1, 2\)"):
        HEADS.decide(ids=["1"], features=np.zeros((1, 2)))
    with pytest.raises(DataError, match="no finite numbers in 1 rows"):
        HEADS.decide(ids=["1"], features=np.array([[1.0, np.nan, 0.0]]))
    with pytest.raises(DataError, match="missing or not finite"):
        COMMON.decide(score=np.array([np.nan]))
    with pytest.raises(DataError, match="2 ids for 1 rows"):
        BY_GROUP.decide(ids=["1", "2"], score=score, groups=["a"])
    evidence, features = leaning(10)
    with pytest.raises(DataError, match="features of 9 rows and evidence of 10"):
        HEADS.apply(evidence, features[:9])
    with pytest.raises(UsageError, match="names none"):
        COMMON.apply(dataclasses.replace(evidence, score=None))
    with pytest.raises(UsageError, match=r"by 'group', which is no group column"):
        BY_GROUP.apply(dataclasses.replace(evidence, groups=()))


def test_impossible_rules():
    with pytest.raises(UsageError, match="the first two adding up to 1"):
        dataclasses.replace(HALF, p0=0.4)
    with pytest.raises(UsageError, match="'>' or '<'"):
        dataclasses.replace(HALF, operator0=">=")
    with pytest.raises(UsageError, match="threshold is no number"):
        CommonThreshold(threshold=math.nan)
    with pytest.raises(UsageError, match="there is no group"):
        GroupThresholds(rules={})
    with pytest.raises(UsageError, match="adding up to 1"):
        dataclasses.replace(HEADS.rule, weights=np.array([0.5, 0.3, 0.1]))
    with pytest.raises(UsageError, match="have shapes"):
        dataclasses.replace(HEADS.rule, intercepts=np.zeros(2))
    with pytest.raises(UsageError, match="needs a name"):
        dataclasses.replace(COMMON, name=" ")
    with pytest.raises(UsageError, match="group_thresholds needs a group column"):
        Mitigation(name="x", rule=BY_GROUP.rule)
    with pytest.raises(UsageError, match="uses no group column"):
        Mitigation(name="x", rule=COMMON.rule, attribute="sex")


# Files


@pytest.mark.parametrize("kind", ALL)
def test_saved_and_read_back_it_decides_the_same_bit_for_bit(kind, tmp_path):
    evidence, features = leaning(500, groups="abc")  # c was not fitted: otherwise
    made = ALL[kind].after(evidence, "fit")
    made.save(tmp_path / "fix.json")
    back = read_mitigation(tmp_path / "fix.json")
    given = {"score": evidence.column("score"), "groups": evidence.group("group"), "features": features}
    assert np.array_equal(made.chance(**given), back.chance(**given))
    assert np.array_equal(made.decide(ids=evidence.ids, **given), back.decide(ids=evidence.ids, **given))
    assert (back.name, back.kind, back.attribute, back.seed) == (made.name, kind, made.attribute, made.seed)
    assert dict(back.settings) == dict(made.settings)
    assert np.array_equal(back.seen[0].rows, made.seen[0].rows) and back.seen[0].sha256 == made.seen[0].sha256
    back.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "fix.json").read_bytes()


def test_infinite_thresholds_are_saved_as_json(tmp_path):
    rule = GroupThresholds(rules={"a": dataclasses.replace(HALF, threshold0=math.inf, threshold1=-math.inf)})
    Mitigation(name="ends", rule=rule, attribute="g").save(tmp_path / "fix.json")
    json.loads((tmp_path / "fix.json").read_text(), parse_constant=pytest.fail)
    back = read_mitigation(tmp_path / "fix.json").rule.rules["a"]
    assert (back.threshold0, back.threshold1) == (math.inf, -math.inf)


def test_files_that_are_none_of_ours(tmp_path):
    file = tmp_path / "fix.json"
    with pytest.raises(DataError, match="cannot be read"):
        read_mitigation(file)
    file.write_text("{")
    with pytest.raises(DataError, match="is not JSON"):
        read_mitigation(file)
    file.write_text('{"format": "other"}')
    with pytest.raises(DataError, match="is no saved mitigation"):
        read_mitigation(file)
    COMMON.save(file)
    held = json.loads(file.read_text())
    file.write_text(json.dumps(held | {"kind": "group_threshold"}))
    with pytest.raises(DataError, match="did you mean 'group_thresholds'"):
        read_mitigation(file)
    file.write_text(json.dumps(held | {"parameters": {}}))
    with pytest.raises(DataError, match="is not whole"):
        read_mitigation(file)
    with pytest.raises(OutputError, match="cannot be written"):
        COMMON.save(tmp_path / "no such folder" / "fix.json")


# What was seen


def test_rows_that_were_seen_are_known_again_and_others_are_not():
    evidence, _ = leaning(100)
    fitted = COMMON.after(evidence, "fit")
    part = dataclasses.replace(evidence, table=evidence.table.slice(97, 3))
    with pytest.raises(
        DataError, match=r"3 of the 3 rows that should judge 'half' are rows that it was fitted on: 'r97'"
    ):
        refuse_seen(part, fitted.seen, name=fitted.name, doing="judge")
    refuse_seen(leaning(100, prefix="s")[0], fitted.seen, name=fitted.name, doing="judge")
    order = np.random.default_rng(0).permutation(100)
    turned = dataclasses.replace(evidence, table=evidence.table.take(pa.array(order)))
    assert seen_rows(turned, "fit").sha256 == fitted.seen[0].sha256
    assert seen_rows(part, "fit").sha256 != fitted.seen[0].sha256


def test_ids_that_run_together_are_told_apart():
    from clinometer.evidence import from_columns

    one, two = (
        seen_rows(from_columns({"id": ids, "g": ["a", "a"]}, groups=["g"]), "fit")
        for ids in (["ab", "c"], ["a", "bc"])
    )
    assert one.sha256 != two.sha256


def test_other_rows_of_a_person_who_was_seen_are_refused():
    evidence, _ = leaning(40)
    table = evidence.table.append_column("person", pa.array([f"p{i // 2}" for i in range(40)]))
    people = dataclasses.replace(evidence, table=table, cluster="person")
    odd, even = (
        dataclasses.replace(people, table=table.take(pa.array(list(range(k, 40, 2))))) for k in (1, 0)
    )
    with pytest.raises(DataError, match=r"20 clusters \('person'\).*20 rows are concerned"):
        refuse_seen(odd, (seen_rows(even, "choose"),), name="x", doing="judge")
    free = dataclasses.replace(odd, cluster=None)  # negative control: nobody said who is who
    refuse_seen(free, (seen_rows(even, "choose"),), name="x", doing="judge")
