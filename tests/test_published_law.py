"""The tables of Local Law 144 in a review: asked for by columns or a policy's name, printed, saved, read back."""

import dataclasses
import json
import re

import pytest

import clinometer as cm
from clinometer.bias.policy import GroupRule, Policy
from clinometer.errors import DataError, UsageError
from clinometer.evidence import from_columns
from clinometer.published_law import LawQuestion, law_question, published
from clinometer.records import Review
from clinometer.review import to_json
from clinometer.saved_reviews import TYPES
from clinometer.typed_json import rebuild
from clinometer.visualizers import page
from clinometer.withheld_text import without_text
from reference.reviews import sample_review
from reference.subjects import applicants, fitted

# The rule's own example: 667 of 1,390 men and 555 of 1,181 women.
COUNTS = {("male", "a"): (1000, 500), ("male", "b"): (390, 167), ("female", "a"): (1181, 555)}
ASKED = LawQuestion(sex="sex", race_ethnicity="race", distributed="2023-07-05")


def hired():
    rows = [
        (sex, race, hit, often)
        for (sex, race), (n, k) in COUNTS.items()
        for hit, often in ((1, k), (0, n - k))
    ]
    sex, race, selected, count = zip(*rows, strict=True)
    columns = {"sex": list(sex), "race": list(race), "selected": list(selected), "n": list(count)}
    return from_columns(columns, prediction="selected", groups=("sex", "race"), count="n")


@pytest.fixture(scope="module")
def review() -> Review:
    made = sample_review(rows=60, layers=1, heads=1)
    bare = dataclasses.replace(made, views=(), measures=None, ledgers=(), curves="not asked", slices=None)
    return dataclasses.replace(bare, law=published(hired(), ASKED, source="applications of one year"))


def test_the_page_has_the_rules_own_example_without_a_verdict(review):
    text = page.render(review)
    section = text.partition('<section id="local-law-144"')[2].partition("</section>")[0]
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", section))
    assert "female 1,181 555 0.470 0.979" in words and "male 1,390 667 0.480 1.000" in words
    assert "2023-07-05" in words and "applications of one year" in words
    assert "Date of the audit 2026-01-02" in words, "the day of the review, where nobody said another"
    assert "carry no verdict" in words and not re.search("exceeds|within tolerance", words)
    assert text.count('href="#local-law-144"') == 1


def test_a_page_without_the_tables_has_no_link_to_them(review):
    text = page.render(dataclasses.replace(review, law=None))
    assert "local-law-144" not in text and "Local Law 144" not in text


def test_it_is_read_back_as_it_was_saved_and_kept_in_a_copy_without_text(review):
    back = rebuild(Review, json.loads(to_json(review)), TYPES)
    assert back.law == review.law
    assert without_text(review).law == review.law


@pytest.mark.parametrize("way", ["flag", "policy"])
def test_a_review_has_the_counts_of_its_own_predictions(way):
    rows = applicants(120)
    groups = {"sex": GroupRule(values=("female", "male", "x")), "race": GroupRule()}
    policy = Policy(name="local-law-144", groups=groups) if way == "policy" else None
    made = cm.review(
        fitted(rows, epochs=0),
        rows,
        policy=policy,
        law="sex:race" if way == "flag" else None,
        replicates=50,
        slice_permutations=0,
        data={"name": "d.csv"},
    )
    cells = {(c.attribute, c.group): c for c in made.audit.cells if c.metric == "selection_rate"}
    for table in ("sex", "race"):
        for one in made.law.tables.categories:
            if one.table == table and one.n_applicants:
                assert (one.n_selected, one.n_applicants) == (
                    cells[table, one.category].k,
                    cells[table, one.category].n,
                )
    empty = [one for one in made.law.tables.categories if one.category == "x"]
    assert [one.status for one in empty] == (["insufficient"] if way == "policy" else [])
    assert made.law.source == "d.csv"


def test_without_being_asked_there_are_none():
    assert law_question(None, Policy()) is None


@pytest.mark.parametrize("asked", ["sex", "sex:", "a:b:c", ""])
def test_a_question_of_other_than_two_columns_is_refused(asked):
    with pytest.raises(UsageError, match="two columns are expected, SEX:RACE"):
        law_question(asked, Policy())


def test_a_policy_of_that_name_needs_two_groups():
    with pytest.raises(UsageError, match="has 1 groups; two are expected"):
        law_question(None, Policy(name="local-law-144", groups={"sex": GroupRule()}))


def test_a_column_that_is_not_there_is_refused_before_anything_is_computed():
    with pytest.raises(DataError, match="no group column 'gender'"):
        cm.review(None, applicants(20), law="gender:race")
