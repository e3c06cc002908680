"""Terms in texts: whole words of any script, several groups at once, lexicons with version and source."""

import csv
import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinometer.bias.terms import (
    Lexicon,
    add_terms,
    canonical,
    lexicon_toml,
    read_lexicon,
    term_groups,
    text_lengths,
)
from clinometer.errors import DataError, UsageError
from clinometer.evidence import from_columns

PEOPLE = Lexicon(
    name="people",
    version="1",
    source="written for these tests",
    language="en",
    terms={"women": ("woman", "women", "she"), "african american": ("african american",), "gay": ("gay",)},
)
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def found(text, lexicon=PEOPLE):
    return {group for group, members in term_groups([text], lexicon).items() if members[0] == "yes"}


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("Women's rights", {"women"}),
        ("WOMAN!", {"women"}),
        ("womenfolk, gayety, ashe", set()),
        ("an African-American woman", {"african american", "women"}),
        ("African  American", {"african american"}),
        ("african. American", set()),
        ("African and American", set()),
        ("gay", {"gay"}),
        ("(gay)", {"gay"}),
        ("gay123", set()),
        ("", set()),
    ],
)
def test_terms_are_whole_words_and_a_text_may_hold_several_groups(text, groups):
    assert found(text) == groups


def test_missing_text_is_in_no_group_and_out_of_none():
    assert term_groups([None, "she"], PEOPLE)["women"] == (None, "yes")
    pandas = pytest.importorskip("pandas")
    assert term_groups([pandas.NA, float("nan")], PEOPLE)["women"] == (None, None)


@pytest.mark.parametrize(
    ("term", "inside", "outside"),
    [
        ("женщина", "Эта ЖЕНЩИНА.", "женщинам"),
        ("straße", "STRASSE", "strassen"),  # case folding makes ss of both
        ("josé", "Jose\u0301 came", "Jose came"),  # composed and decomposed are one, accents count
        ("λόγος", "ΛΌΓΟΣ", "λόγοσα"),  # both sigmas are one
        ("औरत", "वह औरत है", "औरतों"),  # a combining vowel continues the word
        ("女人", "那个女人来了", "女的人"),
        ("おんな", "そのおんなは", "おとこ"),
    ],
)
def test_scripts(term, inside, outside):
    lexicon = Lexicon(name="l", version="1", source="s", terms={"g": (term,)})
    assert found(inside, lexicon) == {"g"}
    assert found(outside, lexicon) == set()


WORDS = st.text(alphabet="abcdefgh", min_size=1, max_size=4)


@given(st.lists(WORDS, max_size=8), st.lists(WORDS, min_size=1, max_size=2))
def test_a_term_is_found_where_its_words_follow_each_other(text, term):
    lexicon = Lexicon(name="l", version="1", source="s", terms={"g": (" ".join(term),)})
    expected = any(text[i : i + len(term)] == term for i in range(len(text)))
    assert (found(" ".join(text).upper(), lexicon) == {"g"}) is expected


def test_lexicon_file_reads_back(tmp_path):
    file = tmp_path / "people.toml"
    file.write_text(lexicon_toml(PEOPLE), encoding="utf-8")
    read = read_lexicon(file)
    assert read == PEOPLE
    assert read.fingerprint == PEOPLE.fingerprint
    reordered = Lexicon(
        name="other", version="2", source="s", terms={**PEOPLE.terms, "women": ("She", "WOMEN", "woman")}
    )
    assert reordered.fingerprint == PEOPLE.fingerprint
    shorter = Lexicon(name="people", version="1", source="s", terms={"women": ("woman",)})
    assert shorter.fingerprint != PEOPLE.fingerprint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('name = "a"\nversion = "1"\n[terms]\ng = ["x"]', "lacks 'source'"),
        ('name = "a"\nversion = "1"\nsource = "s"\nterm = 1', "did you mean 'terms'"),
        ('name = "a"\nversion = "1"\nsource = "s"\n[terms]\ng = "x"', "table of lists of texts"),
        ('name = "a"\nversion = "1"\nsource = "s"\n[terms]\ng = []', "'g' of the lexicon 'a' has no terms"),
        ('name = "a"\nversion = "1"\nsource = "s"\n[terms]\ng = ["!!"]', "without a letter or digit: '!!'"),
        ('name = "a"\nversion = "1"\nsource = "s"\n[terms]\ng = ["a, b"]', "a sign that ends a term: 'a, b'"),
        ('name = "a"\nversion = "1"\nsource = "s"\n[terms]', "has no terms"),
        ('name = "a"\nversion = " "\nsource = "s"\n[terms]\ng = ["x"]', "version is ' '"),
        ("name = a", "is not TOML"),
    ],
)
def test_lexicon_files_that_say_something_else_are_refused(tmp_path, text, said):
    file = tmp_path / "l.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        read_lexicon(file)


def test_a_missing_lexicon_and_one_in_another_encoding_are_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_lexicon(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    with pytest.raises(DataError, match="is not UTF-8: byte 8"):
        read_lexicon(tmp_path / "latin.toml")


def rows(**extra):
    return from_columns(
        {"text": ["she", "a cat", None, "ella"], "language": ["en", "en", "en", "es"], **extra},
        groups=["language"],
    )


def test_terms_become_group_columns_and_the_provenance_says_of_which_lexicon():
    made = add_terms(rows(), "text", PEOPLE)
    assert made.groups == ("language", "people: women", "people: african american", "people: gay")
    assert made.group("people: women") == ("yes", "no", None, "no")
    assert made.provenance["lexicons"]["people"]["version"] == "1"
    assert made.provenance["lexicons"]["people"]["terms_sha256"] == PEOPLE.fingerprint


def test_a_lexicon_says_nothing_of_another_language():
    made = add_terms(rows(), "text", PEOPLE, language="language")
    assert made.group("people: women") == ("yes", "no", None, None)
    silent = Lexicon(name="l", version="1", source="s", terms={"g": ("x",)})
    with pytest.raises(UsageError, match="does not say its language"):
        add_terms(rows(), "text", silent, language="language")


def test_columns_that_are_not_there_or_there_already_are_refused():
    with pytest.raises(DataError, match="did you mean 'text'"):
        add_terms(rows(), "texts", PEOPLE)
    with pytest.raises(DataError, match="'people: women' is there already"):
        add_terms(add_terms(rows(), "text", PEOPLE), "text", PEOPLE)
    with pytest.raises(DataError, match=r"1 texts are no text, e\.g\. 3; first rows, counted from 0: '1'"):
        term_groups(["a", 3], PEOPLE)


def test_lengths():
    assert text_lengths(["African-American women, yes!", None, ""]) == (4, None, 0)
    assert text_lengths(["e\u0301t\u00e9", None], "characters") == (3, None)
    with pytest.raises(UsageError, match="did you mean 'words'"):
        text_lengths([], "word")


def test_a_canonical_text_is_its_own():
    for text in ("African-American women, yes!", "那个女人", "ΛΌΓΟΣ."):
        assert canonical(canonical(text)) == canonical(text)


def test_templates_name_the_term_they_were_made_with():
    file = SHARED / "jigsaw_madlibs" / "bias_madlibs_77k.csv.gz"
    if not file.is_file():
        pytest.skip("the madlibs texts are not beside the checkout")
    with gzip.open(file, "rt", encoding="utf-8", newline="") as lines:
        texts = [row[0] for row in csv.reader(lines)][1:4001]
    lexicon = Lexicon(name="l", version="1", source="s", terms={"gay": ("gay",), "woman": ("woman",)})
    for group, members in term_groups(texts, lexicon).items():
        split = [group in text.lower().replace(".", " ").replace(",", " ").split() for text in texts]
        assert [member == "yes" for member in members] == split


def test_a_file_holds_letters_beyond_ascii_as_they_are_and_no_control_character(tmp_path):
    lexicon = Lexicon(name="l\x7f", version="1", source="Größe", terms={"g": ("Müller", "李")})
    text = lexicon_toml(lexicon)
    assert "Müller" in text and "李" in text and "Größe" in text and "\x7f" not in text
    file = tmp_path / "l.toml"
    file.write_text(text, encoding="utf-8")
    assert read_lexicon(file) == lexicon
