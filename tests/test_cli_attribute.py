"""`clinometer attribute` and `clinometer methods`: what Python says, in a terminal, as JSON and as a page."""

import json

import numpy as np
import pandas as pd
import pytest

import clinometer.cli as cli
from clinometer.interpret.methods import METHODS, attribute
from clinometer.interpret.models import load
from clinometer.interpret.spans import in_words
from clinometer.review import read_rows
from reference.model_folders import CORPUS, labelled, text_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("model")
    return text_folder(made, "BertForSequenceClassification", **labelled("bad", "fair", "good"))


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "texts.csv"
    pd.DataFrame({"id": [f"t{i}" for i in range(9)], "text": [*CORPUS] * 3}).to_csv(path, index=False)
    return path


@pytest.fixture
def call(capsys):
    def run(*arguments):
        code = cli.main(["attribute", *(str(argument) for argument in arguments)])
        return code, *capsys.readouterr()

    return run


def test_the_words_are_those_of_python(call, folder, texts):
    code, out, err = call(folder, texts, "--json", "--label", "fair", "--rows", 4)
    assert (code, err) == (0, "")
    found = json.loads(out)
    subject = load(folder)
    rows = read_rows(texts, columns=subject.columns, groups=()).take(range(4))
    made = in_words(subject, rows, attribute(subject, rows, label="fair"))
    assert found["tokens"] == [list(tokens) for tokens in made.tokens]
    np.testing.assert_allclose(found["scores"], made.scores, atol=1e-6)
    assert found["target"] == made.target == "logit(fair) - mean logit of bad, good"


def test_the_terminal_has_texts_words_and_the_proof(call, folder, texts, tmp_path):
    page = tmp_path / "page.html"
    code, out, _ = call(folder, texts, "--show", 2, "--out", page)
    assert code == 0
    assert "9 of 9 rows add up within their tolerance" in out and "compared with the mask token" in out
    assert out.count("largest:") == 2 and "words over all rows" in out and "film" in out
    assert "the first 9 of 9" in out and "film" in page.read_text(encoding="utf-8")
    code, out, _ = call(folder, texts, "--quiet", "--method", "saliency", "--by", "tokens")
    assert code == 0 and "add up to nothing" in out and "[CLS]" in out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--method", "integrated gradient"], 2, "did you mean 'integrated gradients'"),
        (["--by", "letters"], 2, "words, sentences or tokens"),
        (["--label", "god"], 3, "did you mean 'good'"),
        (["--target", "odds"], 2, "no target 'odds'"),
        (["--baseline", "nothing"], 2, "no baseline 'nothing'"),
        (["--method", "saliency", "--baseline", "mask"], 2, "compares the input with nothing"),
    ],
)
def test_refusals_leave_nothing(call, folder, texts, tmp_path, arguments, code, said):
    got, _, err = call(folder, texts, "--out", tmp_path / "page.html", *arguments)
    assert got == code and said in " ".join(err.split())
    assert list(tmp_path.iterdir()) == []


def test_a_page_is_not_overwritten(call, folder, texts, tmp_path):
    page = tmp_path / "page.html"
    page.write_text("mine", encoding="utf-8")
    code, _, err = call(folder, texts, "--out", page)
    assert code == 3 and "--force" in err and page.read_text(encoding="utf-8") == "mine"
    assert call(folder, texts, "--out", page, "--force", "--quiet")[0] == 0


def test_the_mean_over_the_file_is_a_baseline(call, folder, texts):
    code, out, _ = call(folder, texts, "--baseline", "mean", "--rows", 2)
    assert code == 0 and "the mean embedding of a token over 9 rows" in out


def test_every_method_is_listed(capsys):
    assert cli.main(["methods"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert all(method.name.split()[0] in out for method in METHODS)
