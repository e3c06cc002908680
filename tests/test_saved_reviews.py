"""A review read back is the review that was saved; its schema holds of it; a copy without text has none."""

import dataclasses
import hashlib
import json
import re
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from project_files import ROOT

from clinometer.bias.slice_records import SliceSearch
from clinometer.bias.slices import slices
from clinometer.errors import DataError
from clinometer.evidence import from_columns
from clinometer.records import Faithfulness, Measured, Review, plain
from clinometer.review import SCHEMA_VERSION as WRITTEN
from clinometer.review import save_review, to_json
from clinometer.saved_reviews import SCHEMA_VERSION, page_of, read_review, review_schema
from clinometer.typed_json import rebuild, saved_fields, schema_of
from clinometer.visualizers import plates
from clinometer.visualizers.page import LATER, render, report_id
from clinometer.withheld_text import FIELDS, NOTE, without_text
from reference.reviews import sample_review

CHECKER = jsonschema.Draft202012Validator


def evidence(n=400, seed=0):
    draw = np.random.default_rng(seed)
    columns = {
        "id": [f"p{i}" for i in range(n)],
        "race": draw.choice(["a", "b", "c"], n).tolist(),
        "sex": draw.choice(["f", "m"], n).tolist(),
        "label": draw.integers(0, 2, n),
        "prediction": draw.integers(0, 2, n),
    }
    return from_columns(columns, id="id", label="label", prediction="prediction", groups=("race", "sex"))


@pytest.fixture(scope="module")
def review() -> Review:
    made = sample_review(rows=60, layers=1, heads=1)
    found = slices(evidence(), of="error_rate", permutations=99, seed=0)
    measured = Faithfulness(
        subject="sample",
        target="logit",
        outcome="logit",
        baseline="median",
        ids=("loan-0001", "loan-0002"),
        methods=("a", "random"),
        failed=(("b", "it did not run"),),
        measures=("sufficiency",),
        values=np.array([[[0.5, np.nan]], [[0.1, 0.2]]]),
        measured=tuple(
            Measured(method=name, measure="sufficiency", group="", n=1, estimate=0.5, low=None, high=None)
            for name in ("a", "random")
        ),
        curves=(),
        randomised=(),
        ranking=("a", "random"),
        recommended=None,
        reason="two rows say little",
        grouped_by="",
        confidence=0.95,
        replicates=10,
        seed=0,
        n_runs=4,
        notes=(),
    )
    attribution = {**made.attribution, "not_converged": ["loan-0003"]}
    return dataclasses.replace(
        made, slices=found, faithfulness=measured, attribution=attribution, evidence=evidence(20)
    )


@pytest.fixture(scope="module")
def drawn(review):
    """Drawn once: that a figure is the same twice is tested with the figures."""
    return plates.draw(review)


@pytest.fixture(scope="module")
def folder(review, drawn, tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("saved") / "review"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plates, "draw", lambda *_, **__: drawn)
        patch.setattr(plates, "save_figures", lambda *_, **__: ())
        save_review(review, target)
    return target


# Reading


def test_what_is_read_is_what_was_saved(review, folder):
    back = read_review(folder)
    assert to_json(back) == to_json(review) == (folder / "review.json").read_text(encoding="utf-8")
    assert isinstance(back.slices, SliceSearch) and back.slices == review.slices
    assert np.array_equal(back.views[0].attention, review.views[0].attention)
    assert np.isnan(back.faithfulness.values[0, 0, 1])
    assert back.evidence.table.equals(review.evidence.table)
    assert report_id(back) == report_id(review)


def test_the_page_of_what_is_read_says_what_the_page_that_was_saved_says(folder, drawn):
    """Objects of a JSON file are sorted by key: definitions come in another order, and nothing else."""

    def parts(page):
        return sorted(re.findall(r"<[^>]*>[^<]*", page))

    saved = (folder / "report.html").read_text(encoding="utf-8")
    assert parts(render(read_review(folder), drawn)) == parts(saved)
    assert parts(saved) != parts(saved.replace("0.05", "0.06"))


def test_what_is_read_can_be_saved_again(folder, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(
        sys.modules["clinometer.review"], "save_review", lambda *given: written.append(given) or ()
    )
    made = read_review(folder / "review.json")
    made.save(tmp_path / "again")
    assert written == [(made, tmp_path / "again")], "by the writer of every review"


def test_an_older_review_is_read_and_its_page_is_its_own(folder, tmp_path):
    values = json.loads((folder / "review.json").read_text(encoding="utf-8"))
    for name in LATER:
        del values[name]
    (tmp_path / "review.json").write_text(json.dumps(values), encoding="utf-8")
    older = read_review(tmp_path)
    assert (older.curves, older.law) == (None, None)
    written = json.dumps({**values, "created": ""}, sort_keys=True, ensure_ascii=True)
    named = hashlib.sha256(written.encode()).hexdigest()[:12]
    assert report_id(older) == named, "the name that the older version gave it"
    (tmp_path / "report.html").write_text(f"<p>{named}</p>", encoding="utf-8")
    assert page_of(tmp_path, older) == f"<p>{named}</p>"


def test_without_evidence_it_is_read_and_not_saved_again(folder, tmp_path):
    alone = tmp_path / "review.json"
    alone.write_bytes((folder / "review.json").read_bytes())
    made = read_review(tmp_path)
    assert made.evidence is None
    with pytest.raises(DataError, match="no evidence beside it"):
        made.save(tmp_path / "again")


def test_answers_stay_as_they_are_in_the_file_and_have_to_be_whole_to_be_drawn(folder, tmp_path):
    values = json.loads((folder / "review.json").read_text(encoding="utf-8"))
    values["why"] = [{"question": {}, "sentences": ["a"], "found": {}}]
    (tmp_path / "review.json").write_text(json.dumps(values), encoding="utf-8")
    (tmp_path / "evidence.parquet").write_bytes((folder / "evidence.parquet").read_bytes())
    made = read_review(tmp_path)
    assert made.why == (values["why"][0],)
    CHECKER(review_schema()).validate(values)
    with pytest.raises(DataError, match=r"why\[0\].question lacks the key"):
        made.save(tmp_path / "again")


def test_the_page_beside_it_has_to_be_its_own(folder, tmp_path):
    made = read_review(folder)
    assert page_of(folder, made) == (folder / "report.html").read_text(encoding="utf-8")
    assert page_of(tmp_path, made) is None
    with pytest.raises(DataError, match="not the page of the review"):
        page_of(folder, dataclasses.replace(made, title="another"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda v: v.pop("model"), "lacks the key 'model'"),
        (lambda v: v.update(modell={}), "key 'modell': did you mean 'model'"),
        (lambda v: v.update(schema_version="0"), "schema version '0'; '1' is expected"),
        (lambda v: v["audit"].update(n="many"), "audit.n is 'many'; int is expected"),
        (lambda v: v["audit"].update(n=True), "audit.n is True; int is expected"),
        (
            lambda v: v["audit"]["cells"][3].update(status="fine"),
            "audit.cells\\[3\\].status is 'fine'; one of",
        ),
        (lambda v: v["audit"].update(verdict="passed"), "audit.verdict is 'passed'; one of"),
        (
            lambda v: v["views"][0].update(attention=[["a"]]),
            "views\\[0\\].attention is expected to be a block",
        ),
        (lambda v: v["ledgers"][0]["shares"][0].update(low={}), "shares\\[0\\].low is {}; float is expected"),
        (lambda v: v.update(ledgers={}), "ledgers is {}; a list is expected"),
        (lambda v: v.update(model=[]), "model is \\[\\]; an object is expected"),
    ],
    ids=[
        *("missing", "unknown", "version", "kind", "truth value", "status", "verdict", "block", "number"),
        *("list", "object"),
    ],
)
def test_a_file_that_was_changed_is_refused_with_its_place(folder, tmp_path, change, says):
    values = json.loads((folder / "review.json").read_text(encoding="utf-8"))
    change(values)
    (tmp_path / "review.json").write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(DataError, match=says):
        read_review(tmp_path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "Name the folder that `clinometer review` wrote"),
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"[]", "is no review: got list"),
        (b'{"cells": []}', "is no review: got 'cells'"),
        (b"[" * 100_000, "nested too deeply|is not JSON"),
    ],
    ids=["none", "half", "encoding", "list", "audit", "deep"],
)
def test_what_is_no_review_is_refused(tmp_path, content, says):
    if content is not None:
        (tmp_path / "review.json").write_bytes(content)
    with pytest.raises(DataError, match=says):
        read_review(tmp_path)


# Schema


def test_the_schema_is_a_schema_and_holds_of_a_review(review):
    schema = review_schema()
    CHECKER.check_schema(schema)
    CHECKER(schema).validate(json.loads(to_json(review)))
    assert set(schema["$defs"]["Review"]["required"]) == {one.name for one in saved_fields(Review)}


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v["audit"].update(n=1.5),
        lambda v: v["audit"].update(verdict="passed"),
        lambda v: v.pop("limits"),
        lambda v: v.update(more=1),
        lambda v: v["views"][0]["attention"].append("a"),
        lambda v: v["slices"]["slices"][0].update(n="1") if v["slices"]["slices"] else v.update(slices=1),
    ],
    ids=["integer", "verdict", "missing", "more", "numbers", "slices"],
)
def test_the_schema_refuses_what_is_no_review(review, change):
    values = json.loads(to_json(review))
    change(values)
    with pytest.raises(jsonschema.ValidationError):
        CHECKER(review_schema()).validate(values)


def test_the_published_schema_is_that_of_the_records():
    published = json.loads((ROOT / "docs" / "review.schema.json").read_text(encoding="utf-8"))
    assert published == review_schema(), (
        "write it again: python -m clinometer.saved_reviews > docs/review.schema.json"
    )


def test_the_version_is_that_which_is_written():
    assert SCHEMA_VERSION == WRITTEN


@dataclasses.dataclass(frozen=True, kw_only=True)
class Small:
    """A record for these tests."""

    pair: tuple[str, int]
    many: tuple[float, ...]
    later: str | None = None
    hidden: int = dataclasses.field(default=3, metadata={"saved": False})


def test_a_record_of_every_kind_of_field():
    one = Small(pair=("a", 1), many=(0.5, float("inf")), later=None, hidden=7)
    values = plain(one)
    assert values == {"pair": ["a", 1], "many": [0.5, None], "later": None}
    back = rebuild(Small, values, {})
    assert back.pair == ("a", 1) and np.isnan(back.many[1]) and back.hidden == 3
    CHECKER(schema_of(Small, {}, title="small")).validate(values)
    assert rebuild(Small, {"pair": ["a", 1], "many": []}, {}).later is None, "a default may be left out"
    with pytest.raises(DataError, match="a list of 2 is expected"):
        rebuild(Small, {**values, "pair": ["a"]}, {})


# Without text

SECRET = "Ada Lovelace"


def secretive(review):
    """The review as if its texts and ids were a person's."""
    view = dataclasses.replace(
        review.views[0],
        ids=(SECRET,),
        title=f"the row with the lowest score, {SECRET} (-1.25 logit)",
        labels=tuple(f"{SECRET} {i}" for i in range(len(review.views[0].labels))),
    )
    shares = tuple(
        dataclasses.replace(s, unit=f"{SECRET} {i}") for i, s in enumerate(review.ledgers[0].shares)
    )
    return dataclasses.replace(
        review,
        views=(view, *review.views[1:]),
        ledgers=(dataclasses.replace(review.ledgers[0], shares=shares), *review.ledgers[1:]),
        attribution={**review.attribution, "not_converged": [SECRET]},
        faithfulness=dataclasses.replace(review.faithfulness, ids=(SECRET, "loan-0002")),
        why=({"question": {}, "sentences": [SECRET], "found": {}},),
        mitigated={"question": {}, "sentences": [SECRET]},
    )


def test_no_text_is_left_and_every_number_is(review):
    made = secretive(review)
    assert SECRET in to_json(made)
    copy = without_text(made, salt="salt")
    assert SECRET not in to_json(copy)
    assert copy.audit == made.audit and copy.measures == made.measures and copy.slices == made.slices
    assert [s.estimate for s in copy.ledgers[0].shares] == [s.estimate for s in made.ledgers[0].shares]
    assert copy.ledgers[0].shares[1].unit == "word 2" and copy.views[0].labels[0] == "token 1"
    assert copy.ledgers[1] == made.ledgers[1], "features are no text"
    assert copy.views[1].labels == made.views[1].labels, "features are no text"
    assert NOTE in copy.limits and len(copy.limits) == len(made.limits) + 3
    assert copy.evidence is None


def test_a_row_has_one_name_throughout_a_copy_and_another_in_the_next(review):
    made = secretive(review)
    copy = without_text(made)
    (alias,) = copy.views[0].ids
    assert (
        alias == copy.faithfulness.ids[0] == copy.attribution["not_converged"][0] != copy.faithfulness.ids[1]
    )
    assert copy.views[0].title == f"the row with the lowest score, {alias} (-1.25 logit)"
    assert without_text(made).views[0].ids != copy.views[0].ids
    assert without_text(made, salt="a").views[0].ids == without_text(made, salt="a").views[0].ids
    assert without_text(made, salt="a").views[0].ids != without_text(made, salt="b").views[0].ids


@pytest.mark.parametrize(
    ("title", "id", "left"),
    [
        ("mean of 12 rows", "12", "one row, row "),
        ("Ada, seen from outside", "Ada", "one row, row "),
        ("the lowest row", "Ada", "the lowest row"),
        ("the row, 0 (+0.52 logit)", "0", "the row, row "),
    ],
    ids=["digit", "elsewhere", "not named", "score"],
)
def test_a_title_in_other_words_never_keeps_the_id(review, title, id, left):
    view = dataclasses.replace(review.views[0], ids=(id,), title=title)
    copy = without_text(dataclasses.replace(review, views=(view,)))
    assert copy.views[0].title.startswith(left)
    assert not copy.views[0].title.endswith("0.52 logit)") or copy.views[0].title.endswith(" (+0.52 logit)")


def test_a_token_in_brackets_of_a_text_is_no_exception(review):
    labels = ("[CLS]", "[Ada]", "hrat", "spoke")
    view = dataclasses.replace(review.views[0], labels=labels)
    copy = without_text(dataclasses.replace(review, views=(view,)))
    assert copy.views[0].labels == ("token 1", "token 2", "token 3", "token 4")


def test_halves_of_pairs_in_ids_are_hashed_too(review):
    view = dataclasses.replace(review.views[0], ids=("\ud800",))
    assert without_text(dataclasses.replace(review, views=(view,))).views[0].ids[0].startswith("row ")


def test_every_field_of_a_review_has_its_line():
    assert set(FIELDS) == {one.name for one in saved_fields(Review)}
