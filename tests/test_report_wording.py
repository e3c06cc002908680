"""What a report claims: "carries", "removes" and "because" only of a set of heads that the same report verified."""

import dataclasses
import json
import re
from html.parser import HTMLParser
from itertools import chain

import pytest
from project_files import ROOT

import clinometer as cm
from clinometer.fix_tables import answer_lines, mitigation_tables, why_tables
from clinometer.review import to_json
from clinometer.review_questions import GapQuestion
from clinometer.visualizers.page import render
from reference.answered import drawn_fix
from reference.mediating import guilty, lines

CLAIMS = re.compile(r"\b(carries|removes|because|causes)\b", re.IGNORECASE)
HEAD = re.compile(r"(\S+) head (\d+)")
SENTENCE = re.compile(r"(?<=[.!?])\s+")
QUESTION = GapQuestion(
    attribute="word",
    group="alpha",
    reference="beta",
    metric="mean_score",
    n_candidates=2,
    n_random=9,
    minimum=5,
)
READ = ("alt", "title", "aria-label", "content", "summary")


class Said(HTMLParser):
    """Every piece of text of a page, block by block: what is shown, and what is read out."""

    INLINE = frozenset({"a", "em", "strong", "bdi", "span", "data", "code", "br"})

    def __init__(self, page):
        super().__init__()
        self.pieces, self.here, self.silent = [], [], False
        self.feed(page)
        self.close()
        self.end()

    def end(self):
        self.pieces.append(" ".join("".join(self.here).split()))
        self.here = []

    def handle_starttag(self, tag, attrs):
        self.silent = tag in {"style", "script"}
        self.pieces += [value for name, value in attrs if name in READ and value]
        if tag not in self.INLINE:
            self.end()

    def handle_endtag(self, tag):
        self.silent = False
        if tag not in self.INLINE:
            self.end()

    def handle_data(self, data):
        if not self.silent:
            self.here.append(data)


def strings(value):
    """Every text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from chain.from_iterable(map(strings, value.values()))
    elif isinstance(value, list):
        yield from chain.from_iterable(map(strings, value))


def everything_said(review):
    """All sentences of the page, of its JSON twin and of what the commands print."""
    printed = [answer_lines(review), *(why_tables(answer.found) for answer in review.why)]
    if review.mitigated is not None:
        printed.append(mitigation_tables(review.mitigated.found))
    lines_printed = [line for text in printed for line in text.splitlines()]
    texts = [*Said(render(review)).pieces, *strings(json.loads(to_json(review))), *lines_printed]
    return [sentence for text in texts for sentence in SENTENCE.split(text) if sentence]


def verified_sets(review):
    """The sets of heads that the tests of this report verified, read from the tests themselves."""
    made = set()
    for answer in review.why:
        verification = answer.found.mediation.verification
        tests = [*verification.tests, *([verification.together] if verification.together else [])]
        made |= {frozenset((str(y), h) for y, h in test.heads) for test in tests if test.verified}
    return made


def claims_without_proof(sentences, known):
    """The claims among some sentences that name no set of heads that was verified."""
    claims = [sentence for sentence in sentences if CLAIMS.search(sentence)]
    return [s for s in claims if frozenset((y, int(h)) for y, h in HEAD.findall(s)) not in known]


def unbacked(review):
    """Sentences that claim more than this report verified."""
    return claims_without_proof(everything_said(review), verified_sets(review))


def made_of(strength, **more):
    rows = lines(160, seed=3)
    subject, head = guilty(0, strength=strength)
    made = cm.review(subject, rows, replicates=200, slice_permutations=0, why=[QUESTION])
    return dataclasses.replace(made, **more), head


@pytest.fixture(scope="module")
def guilty_review():
    return made_of(8.0, mitigated=drawn_fix())


@pytest.fixture(scope="module")
def clean_review():
    return made_of(0.0, mitigated=drawn_fix())


def test_where_a_head_is_verified_it_and_nothing_else_is_said_to_carry(guilty_review):
    review, (layer, head) = guilty_review
    assert frozenset({(layer, head)}) in verified_sets(review)
    said = everything_said(review)
    assert any(f"{layer} head {head} carries" in s for s in said)
    assert claims_without_proof(said, verified_sets(review)) == []


def test_where_nothing_is_verified_nothing_is_claimed(clean_review):
    review, _ = clean_review
    assert verified_sets(review) == set()
    said = everything_said(review)
    assert [s for s in said if CLAIMS.search(s)] == []
    assert any("is associated" in s for s in said)
    assert any("No head set verified" in s for s in said)


PLANTED = {
    "limits": "encoder.layers.0.attention head 0 carries 0.2 of the gap.",
    "title": "This fix removes the gap.",
    "feature_notes": "The gap is there because of income.",
    "fix": "Encoder.layers.0.attention head 1 carries the gap.",
}


@pytest.mark.parametrize("where", PLANTED)
def test_the_reader_catches_a_planted_sentence(clean_review, where):
    review, _ = clean_review
    sentence = PLANTED[where]
    planted = {
        "limits": {"limits": (sentence,)},
        "title": {"title": sentence},
        "feature_notes": {"feature_notes": ({"feature": "f", "meaning": sentence, "note": ""},)},
        "fix": {"mitigated": dataclasses.replace(review.mitigated, sentences=(sentence,))},
    }[where]
    bare = {"views": (), "measures": None, "ledgers": ()}
    assert sentence in unbacked(dataclasses.replace(review, **bare, **planted))


def test_a_verified_head_backs_no_claim_of_another(guilty_review):
    review, (layer, head) = guilty_review
    known = verified_sets(review)
    other = f"{layer} head {1 - head if head < 2 else 0} carries 0.2 of the gap."
    own = f"{layer} head {head} carries 0.2 of the gap."
    both = f"{layer} head {head} and encoder.layers.0.attention head 0 and {layer} head 9 carries it."
    assert claims_without_proof([other, own, both, "It is there because of it."], known) == [
        other,
        both,
        "It is there because of it.",
    ]


def test_the_reader_reads_what_is_only_read_out():
    pieces = Said('<p>shown <em>here</em> too</p><img alt="told because"><style>p{because:1}</style>').pieces
    assert "shown here too" in pieces and "told because" in pieces
    assert not any("p{" in piece for piece in pieces)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "visualizers" / "templates").glob("*.j2")), ids=lambda path: path.name
)
def test_no_template_claims_anything(path):
    assert CLAIMS.findall(path.read_text(encoding="utf-8")) == []
