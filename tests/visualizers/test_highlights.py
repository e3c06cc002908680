"""Marked texts: every score is there, names are escaped, the sum is stated, and the page asks for nothing."""

import dataclasses
import re

import numpy as np
import pytest

from clinometer.errors import DataError, OutputError
from clinometer.records import Attribution
from clinometer.visualizers.highlights import highlights

HOSTILE = "<script>alert(1)</script>"


def made(**changes):
    tokens = (
        ("the", "film", HOSTILE, "bad"),
        ("ok",),
        ("\u0939\u093f\u0928\u094d\u0926\u0940", "\u6620\u753b"),
    )
    scores = np.zeros((3, 4))
    scores[0] = [0.0, -0.3, 1.25, -2.0]
    scores[1, 0] = 0.5
    scores[2, :2] = [0.004, -0.2]
    record = Attribution(
        method="integrated gradients",
        target="logit(good) - logit(bad)",
        unit="logit",
        baseline="the mask token",
        ids=("one", "two", "three"),
        tokens=tokens,
        scores=scores,
        value=scores.sum(axis=1) + 0.1,
        base_value=np.array([0.1, 0.1, -0.4]),
        nodes=np.array([20, 20, 320]),
        converged=np.array([True, True, False]),
        tolerance=np.full(3, 0.01),
        notes=("read this",),
    )
    return dataclasses.replace(record, **changes)


def test_every_word_its_score_and_the_sum_are_there():
    page = highlights(made()).page
    for said in ("−2.000", "+1.250", "baseline +0.100", "residual", "the mask token", "read this"):
        assert said in page
    assert HOSTILE not in page and "&lt;script&gt;" in page
    assert page.count("not converged") == 1
    assert re.search(r'class="n5"[^>]*>bad<', page), (
        "the largest score has the full shade, against the target"
    )
    assert re.search(r"<span title=[^>]*>the<", page), "a score of zero has none"


def test_nothing_is_asked_of_anybody_and_a_notebook_gets_a_fragment():
    shown = highlights(made())
    assert "default-src 'none'" in shown.page and "http" not in shown.page.replace("http-equiv", "")
    assert "<html" not in shown._repr_html_() and "bad" in shown._repr_html_()
    assert highlights(made()).page == shown.page
    assert "three" in repr(made()) or "3 examples" in repr(made())


def test_a_method_without_a_promise_says_so():
    none = made(base_value=np.full(3, np.nan), tolerance=np.full(3, np.nan), unit="", baseline="")
    page = highlights(none).page
    assert page.count("add up to nothing") == 3 and "nan" not in page.lower()


def test_only_the_rows_asked_for():
    page = highlights(made(), ids=["three"]).page
    assert ">three<" in page and ">one<" not in page and "more examples" not in page
    many = made(ids=tuple(f"e{i}" for i in range(30)), tokens=(("a",),) * 30, scores=np.ones((30, 1)))
    many = dataclasses.replace(
        many, value=np.ones(30), base_value=np.zeros(30), nodes=np.zeros(30, dtype=int)
    )
    many = dataclasses.replace(many, converged=np.ones(30, dtype=bool), tolerance=np.ones(30))
    assert "10 more examples are not shown" in highlights(many).page
    with pytest.raises(DataError, match="did you mean 'three'"):
        highlights(made(), ids=["tree"])


def test_a_file_appears_whole_and_is_not_overwritten(tmp_path):
    shown = highlights(made())
    path = shown.save(tmp_path / "page.html")
    assert path.read_text(encoding="utf-8") == shown.page
    with pytest.raises(OutputError, match="--force"):
        shown.save(path)
    shown.save(path, force=True)
    with pytest.raises(OutputError, match="cannot be written"):
        shown.save(tmp_path / "nowhere" / "page.html")
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]
