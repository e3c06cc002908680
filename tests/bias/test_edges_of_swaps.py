"""Edges of swapped texts: who is named in a refusal, possessives, hyphens, the first and last character."""

import pytest

from clinometer.bias.lexicons import Entry, SwapLexicon, lexicon
from clinometer.bias.swaps import Swapper, swap
from clinometer.errors import UsageError

NAMES = {"Thomas": "James", "Chris": "Ann", "Kim": "Agnes"}


def lexicon_of(groups, entries, **settings):
    return SwapLexicon(
        name="own", version="1", source="a test", attribute="x", groups=tuple(groups), entries=entries, **settings
    )  # fmt: skip


OWN = lexicon_of("ab", tuple(Entry(forms={"a": (a,), "b": (b,)}, capitalised=True) for a, b in NAMES.items()))


def many(n, written_only=()):
    groups = [f"g{i:02}" for i in range(n)]
    entry = Entry(forms={group: (f"w{group}",) for group in groups})
    return lexicon_of(groups, (entry,), written_only=tuple(written_only))


@pytest.mark.parametrize(("n", "more"), [(29, ""), (30, ""), (31, " and 1 more"), (33, " and 3 more")])
def test_thirty_groups_are_named_and_of_more_their_number(n, more):
    listed = ", ".join(f"'g{i:02}'" for i in range(min(n, 30))) + more
    with pytest.raises(UsageError) as refused:
        Swapper(many(n))
    assert str(refused.value) == (
        f"the lexicon 'own' has the groups {listed}: say to='...' or between=('...', '...')."
    )
    with pytest.raises(UsageError) as refused:
        Swapper(many(n), between=("g00", "g00"))
    assert str(refused.value) == (
        "between=('g00', 'g00'): two different groups that 'own' finds in texts are expected, of " + listed + "."
    )  # fmt: skip


def test_two_groups_that_are_both_found_need_no_naming_and_others_do():
    assert dict(Swapper(many(2)).targets) == {"g00": "g01", "g01": "g00"}
    with pytest.raises(UsageError, match=r"has the groups 'g00', 'g01', 'g02': say to="):
        Swapper(many(3, written_only=["g02"]))  # two are found, three can be written
    with pytest.raises(UsageError, match=r"has the groups 'g00', 'g01': say to="):
        Swapper(many(2, written_only=["g01"]))  # one is found
    with pytest.raises(UsageError, match=r"are expected, of 'g00', 'g01'\.$"):
        Swapper(many(3, written_only=["g02"]), between=("g00", "g02"))
    assert dict(Swapper(many(3, written_only=["g02"]), to="g02").targets) == {"g00": "g02", "g01": "g02"}


def test_a_swapper_is_called_by_its_direction():
    assert Swapper(many(3), to="g01").name == "to g01"
    assert Swapper(many(3), between=("g02", "g00")).name == "g02 <-> g00"


@pytest.mark.parametrize(
    ("text", "swapped", "said"),
    [
        ("Thomas' car", "James' car", ""),  # both end in s: the new name takes the same ending
        ("THOMAS' car", "JAMES' car", ""),
        ("James’ car", "Thomas’ car", ""),
        ("Chris' car", "Ann' car", "\"Chris'\" may be a possessive, which \"Ann\" forms otherwise"),
        ("CHRIS’ car", "ANN’ car", '"CHRIS’" may be a possessive, which "ANN" forms otherwise'),
        ("of Chris'", "of Ann'", "\"Chris'\" may be a possessive, which \"Ann\" forms otherwise"),
        ("Chris's car", "Ann's car", ""),  # the ending is written out
        ("Ann' car", "Chris' car", ""),  # no s that could be one
        ("Kim' car", "Agnes' car", ""),
        ("Chris, said", "Ann, said", ""),  # no apostrophe at all
        ("of Chris", "of Ann", ""),
    ],
)  # fmt: skip
def test_what_may_be_a_possessive_is_told_and_nothing_else(text, swapped, said):
    made = swap(text, OWN)
    assert made.text == swapped
    assert made.uncertain == ((said,) if said else ())


@pytest.mark.parametrize(
    ("text", "swapped"),
    [
        ("-he-", "-she-"),  # a hyphen with nothing before it, or behind it, ties nothing
        ("he-", "she-"),
        ("a-he", "a-he"),
        ("'he", "'she"),
        ("o'he", "o'he"),
        (" -he", " -she"),
        ("he-a", "he-a"),
        ("he -a", "she -a"),
        ("he- a", "she- a"),
        ("he\u2010a \u2011he x\u2011he", "he\u2010a \u2011she x\u2011he"),
        ("he", "she"),
        ("", ""),
    ],
)
def test_what_ties_a_word_to_its_neighbour(text, swapped):
    assert swap(text, lexicon("pronouns")).text == swapped


def test_a_name_without_its_capital_and_a_word_that_has_no_counterpart():
    assert swap("thomas and Thomas", OWN).text == "thomas and James"
    some = lexicon_of(
        "abc", (Entry(forms={"a": ("one",), "b": ("two",)}), Entry(forms={"a": ("uno",), "c": ("tre",)}))
    )
    made = swap("one uno one UNO", some, between=("a", "b"))
    assert made.text == "two uno two UNO" and made.no_word == ("uno", "UNO")
    assert made.direction == "a -> b" and swap("nothing", some, to="a").direction == ""


def test_the_longest_of_several_matches_is_taken():
    some = lexicon_of(
        "ab",
        (
            Entry(forms={"a": ("big old man",), "b": ("crone",)}),
            Entry(forms={"a": ("man",), "b": ("woman",)}),
            Entry(forms={"a": ("big old",), "b": ("small",)}),
        ),
    )
    assert swap("a big old man, big old, a man", some).text == "a crone, small, a woman"
    assert Swapper(some).longest == 3
    assert swap("big old", some).text == "small" and swap("old man", some).text == "old woman"


def test_positions_of_replacements_that_grow_and_shrink():
    made = swap("Ann saw Thomas. Agnes!", OWN)
    assert made.text == "Chris saw James. Kim!"
    assert [(one.start, one.end, one.new_start, one.old, one.new) for one in made.replacements] == [
        (0, 3, 0, "Ann", "Chris"),
        (8, 14, 10, "Thomas", "James"),
        (16, 21, 17, "Agnes", "Kim"),
    ]
