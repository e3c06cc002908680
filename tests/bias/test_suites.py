"""Suites of templates: every text is written, every failure counted, every mistake in the file named."""

import copy

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from clinometer.bias.lexicons import lexicon
from clinometer.bias.suite_results import check
from clinometer.bias.suite_rows import expand
from clinometer.bias.suites import parse_suite, pieces, read_suite
from clinometer.errors import DataError, UsageError
from clinometer.records import plain

SUITE = {
    "name": "own",
    "version": "1",
    "source": "a test",
    "set_by": "a test",
    "slots": {
        "job": ["nurse", "engineer"],
        "mild": ["good", "awful"],
        "faith": {"lexicon": "religion", "like": "Muslims", "groups": ["christian", "muslim", "jewish"]},
    },
    "test": [
        {
            "name": "label",
            "kind": "MFT",
            "templates": ["it is {a:job}, {mild}.", "{job} or not: {mild}"],
            "expect": "positive",
        },
        {
            "name": "faith",
            "kind": "INV",
            "templates": ["{faith} are {mild}.", "They are {mild}, the {faith}."],
            "vary": "faith",
            "reference": "muslim",
            "delta": 0.5,
        },
        {
            "name": "very",
            "kind": "DIR",
            "templates": ["The {job} is {mild}."],
            "changed": ["The {job} is very {mild}."],
            "direction": "up",
            "margin": 0.1,
        },
    ],
}


def changed(path, value):
    """The suite with one key set, or deleted where the value is None."""
    made = copy.deepcopy(SUITE)
    at = made
    for part in path[:-1]:
        at = at[part]
    if value is None:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return made


EXPANDED = expand(parse_suite(SUITE))
TEXTS = list(EXPANDED.rows.inputs["text"])


def test_every_combination_is_written_once():
    assert TEXTS[:4] == [
        "It is a nurse, good.",
        "It is a nurse, awful.",
        "It is an engineer, good.",
        "It is an engineer, awful.",
    ]
    assert TEXTS[4] == "Nurse or not: good"
    assert TEXTS[8:11] == ["Muslims are good.", "Muslims are awful.", "Christians are good."]
    assert TEXTS[-2:] == ["The engineer is awful.", "The engineer is very awful."]
    assert len(TEXTS) == 8 + 12 + 8 and len(set(EXPANDED.rows.ids)) == len(TEXTS)
    groups = EXPANDED.rows.groups
    assert groups["test"][8] == "faith" and groups["template"][-1] == "very/0"
    assert groups["slot faith"][10] == "christian" and groups["slot faith"][0] is None


def test_cases_are_compared_with_the_reference_of_the_same_words():
    kinds = [SUITE["test"][case.test]["kind"] for case in EXPANDED.cases]
    assert kinds.count("MFT") == 8 and kinds.count("INV") == 8 and kinds.count("DIR") == 4
    for case in EXPANDED.cases:
        text = TEXTS[case.row]
        if case.test == 1:
            word = {"christian": "Christians", "jewish": "Jews"}[case.values["faith"]]
            assert TEXTS[case.reference] == text.replace(word, "Muslims")
        if case.test == 2:
            assert TEXTS[case.reference] == text.replace("very ", "")


def scores(values):
    return np.array([values(text) for text in TEXTS], dtype=float)


def test_failures_known_answer():
    result = check(
        EXPANDED,
        score=scores(lambda t: ("Jews" in t) * 0.6 + ("Christians" in t) * 0.4 + ("very good" in t) * 0.2),
        prediction=["positive" if "nurse" in t.lower() else "negative" for t in TEXTS],
    )
    label, faith, very = result.tests
    assert (label.n, label.n_failed, label.rate) == (8, 4, 0.5)
    assert {one.value: one.rate for one in label.slots if one.slot == "job"} == {
        "nurse": 0.0,
        "engineer": 1.0,
    }
    assert {(one.expected, one.got, one.missed_by) for one in label.worst} == {("positive", "negative", None)}
    assert (faith.n, faith.n_failed) == (8, 4)
    assert {one.value: one.rate for one in faith.slots if one.slot == "faith"} == {
        "christian": 0.0,
        "jewish": 1.0,
    }
    assert faith.worst[0].missed_by == pytest.approx(0.1) and "Jews" in faith.worst[0].text
    assert "Muslims" in faith.worst[0].compared_with
    assert (very.n, very.n_failed) == (4, 2) and all("awful" in one.text for one in very.worst)
    assert very.worst[0].expected == "up by more than 0.1" and very.worst[0].got == "+0"
    assert result.verdict is None and result.exit_code == 0
    assert plain(result)["tests"][0]["n_failed"] == 4 and list(result.frame["name"]) == [
        "label",
        "faith",
        "very",
    ]


def test_a_model_that_does_as_expected_fails_nothing():
    result = check(
        EXPANDED,
        score=scores(lambda t: 0.2 * ("very" in t)),
        prediction=["positive"] * len(TEXTS),
        threshold=None,
    )
    assert [one.n_failed for one in result.tests] == [0, 0, 0]
    assert all(one.worst == () for one in result.tests)


def test_direction_down_and_a_margin_below_zero():
    down = expand(parse_suite(changed(("test", 2, "direction"), "down")))
    assert (
        check(down, score=scores(lambda t: -0.2 * ("very" in t)), prediction=["positive"] * 28)
        .tests[2]
        .n_failed
        == 0
    )
    lax = expand(parse_suite(changed(("test", 2, "margin"), -0.1)))
    for move, failed in ((-0.05, 0), (-0.15, 4), (0.0, 0)):
        made = check(
            lax, score=scores(lambda t, move=move: move * ("very" in t)), prediction=["positive"] * 28
        )
        assert made.tests[2].n_failed == failed
    none = check(EXPANDED, score=scores(lambda t: 0.0), prediction=["positive"] * 28)
    assert none.tests[2].n_failed == 4, "no movement is no movement upwards"


def test_an_inv_without_delta_compares_decisions():
    flips = expand(parse_suite(changed(("test", 1, "delta"), None)))
    values = scores(lambda t: 0.1 * ("Jews" in t) + ("very" in t))
    labels = ["positive" if "Jews" not in t else "negative" for t in TEXTS]
    result = check(flips, score=values, prediction=labels)
    assert result.tests[1].n_failed == 4 and result.tests[1].worst[0].expected == "the same decision"


def test_intervals_go_by_templates():
    labels = ["positive" if i % 3 else "negative" for i in range(28)]
    values = scores(lambda t: 0.0)
    by_template = check(EXPANDED, score=values, prediction=labels).tests
    assert (by_template[0].n_clusters, by_template[2].n_clusters) == (2, 1)
    assert by_template[2].low is None and by_template[2].interval == "none: one cluster"
    by_case = check(
        expand(parse_suite(changed(("test", 0, "cluster"), "case"))), score=values, prediction=labels
    ).tests[0]
    low, high = proportion_confint(by_case.n_failed, by_case.n, method="beta")
    assert (by_case.low, by_case.high) == (pytest.approx(low), pytest.approx(high))
    assert by_template[0].high - by_template[0].low > by_case.high - by_case.low
    by_slot = check(
        expand(parse_suite(changed(("test", 0, "cluster"), "mild"))), score=values, prediction=labels
    )
    assert by_slot.tests[0].n_clusters == 2


def test_verdicts():
    many = {
        "name": "own",
        "version": "1",
        "source": "a test",
        "set_by": "a test",
        "slots": {"n": [f"w{i}" for i in range(60)]},
        "test": [
            {
                "name": "a",
                "kind": "MFT",
                "templates": ["{n} is"],
                "expect": True,
                "cluster": "n",
                "tolerance": 0.1,
            },
            {"name": "b", "kind": "MFT", "templates": ["{n} is not"], "expect": True, "tolerance": 0.1},
        ],
    }
    made = expand(parse_suite(many))
    fine = check(made, prediction=np.ones(120, dtype=bool))
    assert [one.verdict for one in fine.tests] == ["within tolerance", "not assessed"]
    assert fine.tests[1].reason == "all cases are of one template: nothing is known beyond it"
    assert fine.verdict == "not assessed" and fine.exit_code == 4
    bad = check(made, score=np.where(np.arange(120) % 2, 1.0, -1.0), threshold=0.0)
    assert bad.tests[0].verdict == "exceeds tolerance" and bad.exit_code == 1
    some = check(made, prediction=np.arange(120) % 10 > 0)
    assert some.tests[0].verdict == "inconclusive" and "may be up to" in some.tests[0].reason


def test_own_lexicons_and_groups_of_words():
    values = changed(("slots", "faith"), {"lexicon": "mine", "group": "female", "most": 2})
    values["test"][1] |= {"vary": "faith", "reference": "Mary"}
    made = parse_suite(values, lexicons={"mine": lexicon("names")})
    assert list(made.slots["faith"].words) == ["Mary", "Jennifer"]
    assert made.slots["faith"].provenance["lexicon"] == "names"


def test_pieces():
    assert pieces("a {b} c {a:d}{{e}}") == [
        ("a ", "b", False),
        (" c ", "d", True),
        ("{", None, False),
        ("e}", None, False),
    ]


BAD = [
    (("test", 0, "expect"), None, "which needs 'expect'"),
    (("test", 0, "delta"), 0.1, "which has no 'delta': it has expect"),
    (("test", 0, "kind"), "MTF", "Input should be 'MFT', 'INV' or 'DIR'"),
    (("test", 0, "expected"), "x", "there is no key 'test.0.expected': did you mean 'expect'"),
    (("slotz",), {}, "there is no key 'slotz': did you mean 'slots'"),
    (("slots", "job"), [], "different words, one or more"),
    (("slots", "job"), ["a", "a"], "different words, one or more"),
    (("slots", "idle"), ["a"], "no template uses the slots 'idle'"),
    (("slots", "faith"), {"lexicon": "religion"}, "needs like"),
    (("slots", "faith"), {"lexicon": "religon", "like": "Sikhs"}, "did you mean 'religion'"),
    (
        ("slots", "faith"),
        {"lexicon": "religion", "like": "Sikhs", "groups": ["muslin"]},
        "did you mean 'muslim'",
    ),
    (("slots", "faith"), {"lexicon": "religion", "like": "Sikhs", "groups": []}, "has no word of no group"),
    (("slots", "faith"), {"lexicon": "religion", "group": "muslin"}, "did you mean 'muslim'"),
    (("test", 0, "templates"), ["{jobb} {mild}"], "no such slot as 'jobb': did you mean 'job'"),
    (("test", 0, "templates"), ["{job"], "A brace that is meant is written twice"),
    (("test", 0, "templates"), ["{b:job}"], "{b:job} is no slot"),
    (("test", 0, "templates"), [], "at least 1 item"),
    (("test", 0, "cluster"), "job", None),
    (("test", 0, "cluster"), "faith", "'template', 'case' or a slot that every template has"),
    (("test", 0, "tolerance"), 1.5, "less than 1"),
    (("test", 1, "vary"), "job", "the slot 'job' that varies is not in"),
    (("test", 1, "reference"), "muslin", "did you mean 'muslim'"),
    (("test", 1, "name"), "label", "two tests are called 'label'"),
    (("test", 2, "changed"), ["x", "y"], "1 templates and 2 changed ones"),
    (("test", 2, "changed"), ["The {job} is {mild}."], "nothing changes"),
    (("test", 2, "changed"), ["The {job} is {faith}."], "has slots that"),
    (("version",), None, "version: Field required"),
]


@pytest.mark.parametrize(
    ("path", "value", "said"), BAD, ids=[f"{'.'.join(map(str, path))}={value}" for path, value, _ in BAD]
)
def test_refusals_of_files(path, value, said):
    if said is None:
        assert parse_suite(changed(path, value)).tests[0].cluster == "job"
        return
    with pytest.raises(UsageError, match=said):
        parse_suite(changed(path, value), where="suite.toml")


def test_a_tolerance_needs_somebody():
    values = changed(("set_by",), None)
    values["test"][0]["tolerance"] = 0.1
    with pytest.raises(UsageError, match="'label' has a tolerance and nobody is named"):
        parse_suite(values)


def test_refusals_of_files_that_are_none(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        read_suite(tmp_path / "none.toml")
    (tmp_path / "a.toml").write_text("name = a", encoding="utf-8")
    with pytest.raises(UsageError, match="is not TOML"):
        read_suite(tmp_path / "a.toml")
    (tmp_path / "b.toml").write_bytes(b"name = '\xff'")
    with pytest.raises(UsageError, match="not UTF-8: byte 8"):
        read_suite(tmp_path / "b.toml")
    huge = changed(("slots", "job"), [f"w{i}" for i in range(60_000)])
    with pytest.raises(UsageError, match="more than 100,000"):
        expand(parse_suite(huge))


@pytest.mark.parametrize(
    ("more", "error", "said"),
    [
        ({"score": np.zeros(28)}, UsageError, r"'label' \(MFT\) compares decisions"),
        ({"prediction": ["positive"] * 28}, UsageError, r"'faith' \(INV\) compares scores"),
        ({"score": np.zeros(27), "prediction": ["positive"] * 28}, DataError, r"scores have shape \(27,\)"),
        (
            {"score": np.zeros(28), "prediction": ["positive"] * 3},
            DataError,
            r"predictions have shape \(3,\)",
        ),
        (
            {"score": np.full(28, np.inf), "prediction": ["positive"] * 28},
            DataError,
            "28 scores are not finite",
        ),
        ({"score": np.zeros(28), "threshold": 0.0}, DataError, "nothing could be equal"),
        ({"threshold": 0.0}, UsageError, "a threshold needs scores"),
        (
            {"score": np.zeros(28), "threshold": 0.0, "prediction": ["x"] * 28},
            UsageError,
            "one of them decides",
        ),
        ({"score": np.zeros(28), "alpha": 0.6}, UsageError, "out of range"),
    ],
)
def test_refusals_of_scores(more, error, said):
    with pytest.raises(error, match=said):
        check(EXPANDED, **more)
