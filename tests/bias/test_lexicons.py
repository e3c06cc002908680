"""Identity lexicons: what they state of themselves, which words are refused, how they are put together."""

import dataclasses
import hashlib

import pytest

from clinometer.bias.identity_terms import LISTS, SOURCE, VERSION
from clinometer.bias.lexicons import Entry, SwapLexicon, index, key, lexicon, lexicon_of, names, together
from clinometer.errors import DataError, UsageError


def made(entries, groups=("female", "male"), **more):
    return SwapLexicon(
        name="own",
        version="1",
        source="a test",
        attribute="gender",
        groups=groups,
        entries=tuple(entries),
        **more,
    )


def entry(female, male, **more):
    return Entry(forms={"female": (female,), "male": (male,)}, **more)


@pytest.mark.parametrize("name", names())
def test_every_built_in_lexicon_is_valid_and_states_its_source(name):
    built = lexicon(name)
    assert built.version == VERSION and built.source == SOURCE and built.attribute
    assert built.provenance["sha256"] == built.fingerprint and len(built.fingerprint) == 64
    assert lexicon(name) == built
    for entry_ in built.entries:
        assert set(entry_.forms) <= set(built.groups)


def test_gender_is_its_three_parts():
    parts = [lexicon(name) for name in ("pronouns", "gendered nouns", "names")]
    assert len(lexicon("gender").entries) == sum(len(part.entries) for part in parts)
    assert lexicon_of(["pronouns", lexicon("names")]).groups == ("female", "male")
    assert set(names()) == {"gender", *LISTS}


def test_the_fingerprint_follows_the_words_and_nothing_else():
    one = made([entry("mother", "father")])
    assert one.fingerprint == made([entry("mother", "father")]).fingerprint
    assert one.fingerprint != made([entry("mother", "dad")]).fingerprint
    assert one.fingerprint != made([entry("mother", "father", capitalised=True)]).fingerprint


def test_one_to_one():
    assert entry("mother", "father").one_to_one
    assert not Entry(forms={"female": ("mom", "mum"), "male": ("dad",)}).one_to_one
    assert not entry("Jewess", "man").one_to_one, "capitals that do not come back"


def test_keys_ignore_case_composition_and_spaces():
    assert key("Zoë  ANN") == key("Zoe\u0308 ann")
    assert "she" in index(lexicon("pronouns"))
    neutral = lexicon("neutral pronouns")
    assert "they" not in index(neutral) and "they" in index(neutral, with_written=True)
    assert neutral.recognised == ("female", "male")


def test_like_finds_the_entry():
    assert lexicon("religion").like("muslims").forms["jewish"] == ("Jews",)
    with pytest.raises(UsageError, match="in 0 entries of the lexicon 'religion'"):
        lexicon("religion").like("muslimz")
    with pytest.raises(UsageError, match="in 2 entries"):
        lexicon("religion").like("Muslim")


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: made([]), "has no entries"),
        (lambda: made([entry("a", "b")]), "cannot be found in a text: 'a', 'b'"),
        (lambda: made([entry("she ", "he")]), "cannot be found in a text: 'she '"),
        (lambda: made([Entry(forms={"female": ("she",)})]), "words of two groups or more"),
        (lambda: made([Entry(forms={"female": ("she",), "male": ()})]), "words of two groups or more"),
        (lambda: made([Entry(forms={"femal": ("she",), "male": ("he",)})]), "did you mean 'female'"),
        (lambda: made([entry("she", "he", role="subjekt")]), "did you mean 'subject'"),
        (lambda: made([entry("Kim", "Lee"), entry("Ana", "Kim")]), "'kim' in the groups 'female', 'male'"),
        (lambda: made([entry("boss", "chief"), entry("boss", "head")]), "'boss' in 2 entries of one group"),
        (lambda: made([entry("she", "he")], groups=("female",)), "two different ones or more"),
        (lambda: made([entry("she", "he")], written_only=("none",)), "written_only of the lexicon"),
        (
            lambda: SwapLexicon(
                name="x",
                version="",
                source="y",
                attribute="z",
                groups=("a", "b"),
                entries=(entry("she", "he"),),
            ),
            "a lexicon's version is ''",
        ),
    ],
)
def test_what_cannot_be_swapped_is_refused(build, said):
    with pytest.raises(DataError, match=said):
        build()


def test_unknown_names_and_other_groups_are_refused():
    with pytest.raises(UsageError, match="did you mean 'religion'"):
        lexicon("religon")
    with pytest.raises(UsageError, match="lexicons of the same groups"):
        together(lexicon("pronouns"), lexicon("religion"))
    with pytest.raises(UsageError, match="no lexicon is given"):
        lexicon_of([])
    with pytest.raises(DataError, match="'she' in 2 entries"):
        together(lexicon("pronouns"), made([entry("she", "he")]))


def test_the_fingerprint_of_letters_beyond_ascii_is_that_of_their_utf8_text():
    one = made([entry("Mädchen", "Junge")])
    text = '[["female", "male"], [], [], [["", false, {"female": ["Mädchen"], "male": ["Junge"]}]]]'
    assert one.fingerprint == hashlib.sha256(text.encode()).hexdigest()


def test_lexicons_are_put_together_of_the_same_groups_in_any_order_and_of_no_fewer_or_more():
    one, turned = made([entry("mother", "father")]), made([entry("aunt", "uncle")], groups=("male", "female"))
    assert set(together(one, turned).groups) == {"female", "male"}
    three = made([entry("aunt", "uncle")], groups=("female", "male", "neutral"))
    for pair in ((one, three), (three, one)):
        with pytest.raises(UsageError, match="lexicons of the same groups"):
            together(*pair)
    other = dataclasses.replace(one, name="other", attribute="age", entries=(entry("aunt", "uncle"),))
    with pytest.raises(UsageError, match=r"'own' is of gender .* and 'other' of age"):
        together(one, other)
    assert together(one) is one and together(one, name="mine").name == "mine"
    assert together(one, turned).name == "own + own"
