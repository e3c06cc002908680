"""Edges of suites of templates: words of a lexicon, the first three mistakes, numbers at their bounds."""

import copy

import pytest

from clinometer.bias.lexicons import Entry, SwapLexicon
from clinometer.bias.suites import parse_suite, pieces, slots_of
from clinometer.errors import UsageError

OWN = SwapLexicon(
    name="own",
    version="7",
    source="a test",
    attribute="x",
    groups=("a", "b", "c"),
    entries=(
        Entry(forms={"a": ("ay", "aye"), "b": ("bee",), "c": ("sea",)}),
        Entry(forms={"a": ("ace",), "b": ("bit",)}),
    ),
)
INV = {"name": "i", "kind": "INV", "templates": ["{w} is {v}."], "vary": "w"}
SUITE = {"name": "own", "version": "1", "source": "a test", "slots": {"v": ["good", "bad"]}, "test": [INV]}


def parsed(slot, **test):
    values = copy.deepcopy(SUITE)
    values["slots"]["w"] = slot
    values["test"][0] |= test
    return parse_suite(values, where="own.toml", lexicons={"own": OWN})


def refused(slot, **test):
    with pytest.raises(UsageError) as found:
        parsed(slot, **test)
    return str(found.value)


@pytest.mark.parametrize(
    ("slot", "words"),
    [
        ({"lexicon": "own", "like": "bee"}, {"a": "ay", "b": "bee", "c": "sea"}),  # without groups: all there are
        ({"lexicon": "own", "like": "aye"}, {"a": "ay", "b": "bee", "c": "sea"}),
        ({"lexicon": "own", "like": "ace"}, {"a": "ace", "b": "bit"}),
        ({"lexicon": "own", "like": "sea", "groups": ["c", "a"]}, {"c": "sea", "a": "ay"}),  # in the order asked for
        ({"lexicon": "own", "like": "ay", "groups": ["b"]}, {"b": "bee"}),
        ({"lexicon": "own", "group": "a"}, {"ay": "ay", "ace": "ace"}),
        ({"lexicon": "own", "group": "a", "most": 1}, {"ay": "ay"}),
        ({"lexicon": "own", "group": "a", "most": 2}, {"ay": "ay", "ace": "ace"}),
        ({"lexicon": "own", "group": "a", "most": 99}, {"ay": "ay", "ace": "ace"}),
        ({"lexicon": "own", "group": "c"}, {"sea": "sea"}),
        (["x"], {"x": "x"}),
    ],
)  # fmt: skip
def test_the_words_of_a_slot(slot, words):
    values = copy.deepcopy(SUITE)
    values["slots"]["w"] = slot
    values["test"][0]["vary"] = "v"
    made = parse_suite(values, lexicons={"own": OWN}).slots["w"]
    assert list(made.words.items()) == list(words.items())
    assert (made.provenance == {}) is isinstance(slot, list)


@pytest.mark.parametrize(
    ("slot", "said"),
    [
        (
            {"lexicon": "own", "like": "ace", "groups": ["a", "c"]},
            "own.toml: slots.w: 'ace' has no word of 'c': known: 'a', 'b'.",
        ),
        (
            {"lexicon": "own", "like": "ay", "groups": []},
            "own.toml: slots.w: 'ay' has no word of no group at all: known: 'a', 'b', 'c'.",
        ),
        (
            {"lexicon": "own", "group": "a", "groups": ["a"]},
            "own.toml: slots.w: group = 'a' alone is expected, of the lexicon 'own': did you mean 'a'?",
        ),
        (
            {"lexicon": "own", "group": "d"},
            "own.toml: slots.w: group = 'd' alone is expected, of the lexicon 'own': known: 'a', 'b', 'c'.",
        ),
        (
            {"lexicon": "own", "like": "ay", "group": "a"},
            'own.toml: slots.w needs like = "a word" (one word for each group of its entry) or group = "..." (all words '
            "of one group), and not both.",
        ),
        (
            {"lexicon": "own"},
            'own.toml: slots.w needs like = "a word" (one word for each group of its entry) or group = "..." (all words '
            "of one group), and not both.",
        ),
        (["x", " "], "own.toml: slots.w is ['x', ' ']; different words, one or more, are expected."),
        (["x"], "own.toml: the test 'i': the slot 'w' that varies has one value; two or more are needed."),
    ],
)
def test_slots_that_are_refused_in_full(slot, said):
    assert refused(slot) == said


def test_numbers_of_a_test_at_their_bounds():
    values = copy.deepcopy(SUITE)
    values["set_by"] = "a test"
    for tolerance in (0.0, 0.5, 0.999999):
        values["test"][0] = {**INV, "vary": "v", "templates": ["{v}."], "tolerance": tolerance, "delta": 0.0}
        (made,) = parse_suite(values).tests
        assert (made.tolerance, made.delta, made.margin, made.cluster) == (tolerance, 0.0, 0.0, "template")
        assert (made.reference, made.expect, made.changed, made.direction) == ("good", None, (), None)
    for key, value, said in (
        ("tolerance", 1.0, "test.0.tolerance: Input should be less than 1, got 1.0"),
        ("tolerance", -0.01, "test.0.tolerance: Input should be greater than or equal to 0, got -0.01"),
        ("delta", -1e-9, "test.0.delta: Input should be greater than or equal to 0, got -1e-09"),
        ("name", "", "test.0.name: String should have at least 1 character, got ''"),
        ("what", 3, "test.0.what: Input should be a valid string, got 3"),
    ):
        values["test"][0] = {**INV, "vary": "v", "templates": ["{v}."], key: value}
        with pytest.raises(UsageError) as found:
            parse_suite(values, where="own.toml")
        assert str(found.value) == f"own.toml: {said}."
    with pytest.raises(
        UsageError, match=r"slots\.w.*most: Input should be greater than or equal to 1, got 0"
    ):
        parsed({"lexicon": "own", "group": "a", "most": 0})


def test_three_mistakes_are_told_at_once():
    values = {**copy.deepcopy(SUITE), "name": "", "version": "", "source": "", "set_by": 3}
    with pytest.raises(UsageError) as found:
        parse_suite(values)
    assert str(found.value).count("String should have at least 1 character") == 3
    assert "set_by" not in str(found.value)


def test_a_tolerance_wants_a_name_and_blanks_are_none():
    values = {**copy.deepcopy(SUITE), "set_by": "  "}
    values["test"][0] |= {"vary": "v", "templates": ["{v}."], "tolerance": 0.1}
    with pytest.raises(UsageError) as found:
        parse_suite(values)
    assert str(found.value) == (
        "the suite: 'i' has a tolerance and nobody is named: add set_by = \"who set it\" at the top."
    )
    values["set_by"] = "me"
    assert parse_suite(values).set_by == "me"
    del values["test"][0]["tolerance"], values["set_by"]
    assert parse_suite(values).set_by is None


def test_six_tests_are_named_in_a_suites_name():
    values = copy.deepcopy(SUITE)
    values["test"] = [{**INV, "name": f"t{i}", "vary": "v", "templates": ["{v}."]} for i in range(7)]
    shown = ", ".join(f"t{i} (INV)" for i in range(6))
    assert repr(parse_suite(values)) == f"Suite(own 1: 7 tests: {shown})"
    with pytest.raises(
        UsageError, match=r"^the suite: two tests are called 't3'; each needs a name of its own\.$"
    ):
        parse_suite({**values, "test": [*values["test"], values["test"][3]]})


@pytest.mark.parametrize("text", ["{}", "{1}", "{a b}", "{b:a}", "{a:1}", "{v!r}", "{a:v!r}", "{a:}x{b:c}"])
def test_what_is_no_slot(text):
    with pytest.raises(ValueError, match=r" is no slot; \{slot\} or \{a:slot\} is expected$"):
        pieces(text)


def test_slots_in_order_and_once():
    assert slots_of("{b} {a:c} {b} {{d}} {a}") == ("b", "c", "a")
    assert slots_of("no slot") == () and pieces("") == []
    assert pieces("{a:x}") == [("", "x", True)]


def test_an_own_lexicon_goes_before_a_built_in_one_of_its_name():
    values = copy.deepcopy(SUITE)
    values["slots"]["w"] = {"lexicon": "gender", "like": "bee"}
    values["test"][0]["reference"] = "b"
    made = parse_suite(values, lexicons={"gender": OWN})
    assert made.slots["w"].provenance["version"] == "7" and made.tests[0].reference == "b"
    with pytest.raises(UsageError, match=r"^the suite: slots\.w: "):
        parse_suite(values)  # the built-in one has no bee
