"""Apostrophes, hyphens and unseen signs in texts whose words are swapped, in several scripts."""

import pytest

from clinometer.bias.lexicons import Entry, SwapLexicon, lexicon
from clinometer.bias.swapped_rows import swapped
from clinometer.bias.swaps import swap
from clinometer.bias.word_signs import APOSTROPHES, HYPHENS, LETTERS, UNSEEN, in_word, spelt
from clinometer.bias.word_spans import spans
from clinometer.errors import DataError
from clinometer.records import Rows

GENDER = lexicon("gender")
CODES = [f"U+{ord(sign):04X}" for sign in APOSTROPHES]
of_every_kind = pytest.mark.parametrize("sign", APOSTROPHES, ids=CODES)


def pairs(*words, capitalised=False):
    """A lexicon of two groups with these words, and for each of them "other" and its number."""
    entries = [
        Entry(forms={"a": (word,), "b": (f"{'O' if capitalised else 'o'}ther{i}",)}, capitalised=capitalised)
        for i, word in enumerate(words)
    ]
    return SwapLexicon(
        name="own", version="1", source="a test", attribute="x", groups=("a", "b"), entries=tuple(entries)
    )


@of_every_kind
@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("Mary's car", "James's car"),
        ("MARY'S car", "JAMES'S car"),
        ("the aunts' car", "the uncles' car"),
        ("He's late, she'll go, he'd", "She's late, he'll go, she'd"),
        ("'her'", "'him'"),
        ("o'her, o'mother", "o'her, o'mother"),
        ("I don't know her", "I don't know him"),
    ],
)
def test_every_apostrophe_does_what_the_first_does(sign, text, other):
    assert swap(text, GENDER).text == other, "the control: ASCII"
    made = swap(text.replace("'", sign), GENDER)
    assert made.text == other.replace("'", sign) and not made.uncertain


@of_every_kind
def test_grammar_reads_every_apostrophe(sign):
    made = swap(f"He{sign}s late.", lexicon("neutral pronouns"), to="neutral")
    assert made.text == f"They{sign}re late." and not made.uncertain
    assert swap(f"a Muslim{sign}s", lexicon("religion"), to="jewish").text == f"a Jew{sign}s", "a noun"
    assert "possessive" in swap(f"Thomas{sign} car", GENDER).uncertain[0]


def test_a_letter_that_is_no_apostrophe_is_still_a_letter():
    assert swap("Maryʾs, Maryꞌs, Maryˑs", GENDER).replacements == ()
    assert spans("Maryʾs") == [(0, 6)] and spans("Maryʼs") == [(0, 4), (5, 6)]


@of_every_kind
def test_what_may_be_one_word_is_told(sign):
    """Ukrainian семʼя is a family, сем is no part of it; Turkish suffixes change with the name that they stand at."""
    made = swap(f"наша сем{sign}я", pairs("сем"))
    assert made.uncertain == (f'"сем{sign}я" may be one word',)
    assert swap(f"Ayşe{sign}nin evi", pairs("Ayşe")).uncertain == (f'"Ayşe{sign}nin" may be one word',)
    assert not swap(f"сем{sign}", pairs("сем")).uncertain and not swap("сем я", pairs("сем")).uncertain


def test_what_may_be_one_word_is_left_out_and_listed():
    rows = Rows(ids=("one", "two"), inputs={"text": ["наша семʼя", "сем"]})
    made = swapped(rows, pairs("сем"))
    assert [one.original for one in made.swaps] == ["two"]
    assert made.reasons == {"ambiguous": 1} and made.not_swapped[0].detail == '"семʼя" may be one word'
    assert len(swapped(rows, pairs("сем"), ambiguous="keep")) == 2


@of_every_kind
@pytest.mark.parametrize("written", APOSTROPHES, ids=CODES)
def test_a_term_with_an_apostrophe_is_found_however_it_is_typed(sign, written):
    if written not in LETTERS:
        with pytest.raises(DataError, match="cannot be found in a text"):
            pairs(f"mother{written}")
    term = f"o{written}g{written}il"  # Uzbek: a son
    made = swap(f"bir o{sign}g{sign}il", pairs(term))
    assert made.text == "bir other0" and not made.uncertain
    assert swap(f"o{sign}g{sign}illar", pairs(term)).replacements == (), "the control: a longer word"


def test_a_sound_at_the_end_of_a_word_is_of_it_where_the_lexicon_says_so():
    own = pairs("ʼashkii", "łiʼ", "ashkii")  # Navajo
    assert swap("ʼashkii", own).text == "other0" and swap("'Ashkii łi’.", own).text == "Other0 other1."
    assert swap("ashkii, łi", own).text == "other2, łi"
    assert [(one.start, one.end) for one in swap("a ʼashkii", own).replacements] == [(2, 9)]
    assert swap("ʼaliʼ", pairs("ʼali", "aliʼ", "ʼaliʼ")).text == "other2", "the longest"
    assert swap("aliʼs, aliʼaliʼ", pairs("aliʼ")).replacements == (), "nothing of the word follows"
    assert swap("ʼAli, ʼali", pairs("ʼAli", capitalised=True)).text == "Other0, ʼali"


@pytest.mark.parametrize("sign", HYPHENS, ids=[f"U+{ord(sign):04X}" for sign in HYPHENS])
def test_every_hyphen_ties_a_compound_in_every_script(sign):
    own = pairs("राम", "Maria", "אדם", "mother in law", "father-in-law")
    for text in ("रामा-राम", "राम-सीता", "Jose\u0301-Maria", "José-Maria", "Maria-\u0e01\u0e34", "בן-אדם"):
        assert swap(text.replace("-", sign), own).replacements == ()
    assert swap(f"{sign}Maria, राम{sign} ", own).text == f"{sign}other1, other0{sign} ", (
        "the control: nothing tied"
    )
    assert swap("father-in-law".replace("-", sign), own).text == "other4"


@pytest.mark.parametrize("sign", UNSEEN, ids=[f"U+{ord(sign):04X}" for sign in UNSEEN])
def test_what_nobody_sees_neither_parts_a_word_nor_hides_it(sign):
    assert swap(f"a wo{sign}man, Wo{sign}man, MO{sign}THER", GENDER).text == "a man, Man, FATHER"
    assert swap(f"Mary{sign}'s, her{sign}", GENDER).text == f"James{sign}'s, him{sign}"
    assert swap(f"{sign}'her'", GENDER).text == f"{sign}'him'", (
        "a byte order mark at the beginning ties nothing"
    )
    assert swap(f"علی{sign}رضا", pairs("علیرضا")).text == "other0"
    assert swap("علیرضا", pairs(f"علی{sign}رضا")).text == "other0"
    assert swap(f"മല{sign}യാളം", pairs("മല", "യാളം")).replacements == (), "not the parts of it"


def test_marks_of_emoji_tie_nothing_and_those_of_letters_do():
    assert (
        swap("\u2764\ufe0f'her', 1\ufe0f\u20e3-man", GENDER).text == "\u2764\ufe0f'him', 1\ufe0f\u20e3-woman"
    )
    assert swap("o\u0301'her, i\u0323-man", GENDER).replacements == ()
    assert in_word("\u0301") and in_word("\u093e") and not in_word("\ufe0f") and not in_word("ʼ")


def test_one_spelling_for_all():
    assert {spelt(sign) for sign in APOSTROPHES} == {"'"} and {spelt(sign) for sign in HYPHENS} == {"-"}
    assert spelt(UNSEEN) == "" and spelt("Zoë 山田") == "Zoë 山田"
    assert len(set(APOSTROPHES + HYPHENS + UNSEEN)) == len(APOSTROPHES + HYPHENS + UNSEEN)


def test_two_spellings_of_one_word_are_one_word():
    both = SwapLexicon(
        name="own", version="1", source="a test", attribute="x", groups=("a", "b"),
        entries=(Entry(forms={"a": ("O'Brien", "OʼBrien"), "b": ("Smith",)}),),
    )  # fmt: skip
    assert swap("O’Brien’s", both).text == "Smith’s"
    with pytest.raises(DataError, match="has \"o'brien\" in the groups 'a', 'b'"):
        SwapLexicon(
            name="own", version="1", source="a test", attribute="x", groups=("a", "b"),
            entries=(Entry(forms={"a": ("O'Brien",), "b": ("O’Brien",)}),),
        )  # fmt: skip
