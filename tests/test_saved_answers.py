"""Answers about heads and fixes read back from a saved review, and the page drawn of them in any language."""

import copy
import dataclasses
import json
import re
import sys

import pytest

import clinometer.cli as cli
from clinometer.errors import DataError
from clinometer.records import Review
from clinometer.review import to_json
from clinometer.review_questions import FixQuestion, fix_answer
from clinometer.saved_answers import with_answers
from clinometer.saved_reviews import read_review
from clinometer.visualizers import plates
from clinometer.visualizers.page import render
from clinometer.visualizers.phrases import english
from reference.answered import drawn_fix, drawn_gap
from reference.reviews import sample_review

NO_PICTURES = plates.Drawn(plates=(), png={}, heads=())
SECTIONS = re.compile(r'<section id="(heads-out|fix)".*?</section>', re.DOTALL)


@pytest.fixture(scope="module")
def review() -> Review:
    made = sample_review(rows=60, layers=1, heads=1)
    return dataclasses.replace(
        made,
        why=(drawn_gap(), drawn_gap(verified=False, group="x & <y>")),
        mitigated=drawn_fix(),
        views=(),
        ledgers=(),
        measures=None,
    )


@pytest.fixture(scope="module")
def values(review):
    return json.loads(to_json(review))


def saved(values, folder):
    folder.mkdir(exist_ok=True)
    (folder / "review.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


@pytest.fixture
def folder(values, tmp_path):
    return saved(values, tmp_path / "review")


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


def words_of(made):
    return sections(render(made, NO_PICTURES))


def sections(page):
    return [found[0] for found in SECTIONS.finditer(page)]


def test_what_is_read_back_is_what_was_saved(review, folder):
    back = with_answers(read_review(folder))
    assert to_json(back) == to_json(review)
    assert [one.found.sentences for one in back.why] == [one.found.sentences for one in review.why]
    assert back.mitigated.found.sentences == review.mitigated.found.sentences
    assert back.mitigated.cost_by_group() == review.mitigated.cost_by_group()
    ours, theirs = (one.mitigated.found.again for one in (back, review))
    for name in ("agreement", "gaps", "improved", "worsened", "worse_off", "levelled_down", "side_effects"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert list(back.mitigated.found.fixes) == list(review.mitigated.found.fixes)
    assert set(back.mitigated.found.fixes.values()) == {None}, "a review's file holds no models"


def test_both_sections_are_drawn_as_they_were(review, folder):
    back = with_answers(read_review(folder))
    assert len(words_of(review)) == 2 and words_of(back) == words_of(review)
    for made in (review, back):
        kinds = [one.kind for one in plates.plates(made)]
        assert kinds[-7:] == [*("asked-ledger", "parts", "heads-out") * 2, "fixes"]
    changed = copy.deepcopy(json.loads((folder / "review.json").read_text(encoding="utf-8")))
    changed["why"][0]["found"]["mediation"]["verification"]["tests"][0]["after"] = -0.2
    other = words_of(with_answers(read_review(saved(changed, folder))))
    assert other[0] != words_of(review)[0] and other[1] == words_of(review)[1], "the control"


def test_a_fix_that_was_not_better_is_read_back(review, tmp_path):
    found = drawn_fix().found
    unchanged = dataclasses.replace(found.choice, name="unmitigated")
    nothing = fix_answer(
        FixQuestion(attribute="group", gap="selection_rate"),
        dataclasses.replace(found, choice=unchanged, again=None),
    )
    made = dataclasses.replace(review, why=(), mitigated=nothing)
    back = with_answers(read_review(saved(json.loads(to_json(made)), tmp_path / "none")))
    assert back.mitigated.found.again is None and words_of(back) == words_of(made)


def test_a_review_without_answers_loads_nothing_and_stays(review):
    made = dataclasses.replace(review, why=(), mitigated=None)
    assert with_answers(made) is made


def test_the_command_draws_the_answers_in_another_language(call, folder, review, tmp_path, monkeypatch):
    monkeypatch.setattr(plates, "draw", lambda *_, **__: NO_PICTURES)
    texts = {key: f"⟦{text}⟧" for key, text in english().texts.items()}
    (tmp_path / "xx.json").write_text(json.dumps(texts), encoding="utf-8")
    arguments = ["report", folder, "--format", "html", "--quiet"]
    code, _, err = call(*arguments, "--out", "other", "--language", "xx.json")
    assert (code, err) == (0, "")
    page = (tmp_path / "other" / "report.html").read_text(encoding="utf-8")
    for part in ("⟦⟦encoder.layers.0.attention head 0⟧ carries 0.2 rate", "not verified: ⟦the interval of"):
        assert part in page
    assert "⟦2 fixes were fitted on" in page and "⟦Worse beyond noise" in page
    assert not [one for one in review.mitigated.sentences if f">{one}<" in page], (
        "no sentence is left in English"
    )
    assert call(*arguments)[0] == 0, "nor does a page that is gone have to be found again"
    assert sections((folder / "report.html").read_text(encoding="utf-8")) == words_of(review)


def test_a_review_with_answers_is_saved_again(folder, review, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(
        sys.modules["clinometer.review"], "save_review", lambda made, target: written.append(made) or ()
    )
    made = dataclasses.replace(read_review(folder), evidence=object())
    made.save(tmp_path / "again")
    assert written[0].why[0].found.verified == review.why[0].found.verified


# Refusals


def at(values, *path):
    for part in path:
        values = values[part]
    return values


MEDIATION = ("why", 0, "found", "mediation")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda v: v["mitigated"].pop("agreement"), r"mitigated lacks the key 'agreement': an earlier version"),
        (lambda v: v["mitigated"].pop("declared"), r"take the page that was saved with it"),
        (lambda v: v["mitigated"].update(confidence="x"), r"mitigated.confidence is 'x'; float is expected"),
        (lambda v: v["mitigated"]["mitigation"].pop("rule"), r"mitigated.mitigation lacks the key 'rule'"),
        (lambda v: v["mitigated"]["mitigation"]["seen"][0].update(role="x"), r"seen\[0\].role is 'x'; one of"),
        (lambda v: v["mitigated"]["mitigation"].update(name="x"), "judged_on has no point of 'x'"),
        (lambda v: v["mitigated"].update(judged_on=[]), "mitigated.judged_on holds no points"),
        (lambda v: v["mitigated"]["judged_on"].pop(0), "judged_on has no point of 'unmitigated'"),
        (lambda v: v["mitigated"].update(improved=[["a", "b", "c", "d"]]), "improved names .* none of its changes"),
        (lambda v: v["mitigated"]["before"].update(verdicts=[{}]), r"mitigated.before.verdicts\[0\] lacks the key"),
        (lambda v: v["why"][0].update(found={}), r"why\[0\].found lacks the key"),
        (lambda v: at(v, *MEDIATION).update(paths=[]), "has no tokens of .* which is verified"),
        (lambda v: at(v, *MEDIATION, "screening").update(shares=[]), "which nobody screened"),
        (lambda v: at(v, *MEDIATION, "verification", "tests", 0).update(heads=[]), "which nobody screened"),
        (lambda v: at(v, *MEDIATION).update(more=1), r"why\[0\].found.mediation has the key 'more'"),
    ],
    ids=[
        *("no agreement", "no gaps", "confidence", "no rule", "role", "chosen", "no points", "no unmitigated"),
        *("no change", "verdict", "nothing found", "no path", "no share", "no head", "one more"),
    ],
)  # fmt: skip
def test_an_answer_that_is_not_whole_is_refused(values, tmp_path, change, says, call, monkeypatch):
    changed = copy.deepcopy(values)
    change(changed)
    made = read_review(saved(changed, tmp_path / "review"))
    with pytest.raises(DataError, match=says):
        with_answers(made)
    monkeypatch.setattr(plates, "draw", None)
    code, _, err = call("report", "review", "--format", "html", "--quiet")
    assert code == 3 and "\n" not in err.strip() and not (tmp_path / "review" / "report.html").exists()
