"""`clinometer faithfulness`, and what a review says of it."""

import json

import numpy as np
import pandas as pd
import pytest

import clinometer.cli as cli
from clinometer.errors import UsageError
from clinometer.interpret.faithfulness import faithfulness
from clinometer.interpret.models import load
from clinometer.review import read_rows, review
from clinometer.visualizers.page import render
from reference.model_folders import CORPUS, labelled, text_folder
from reference.subjects import applicants, fitted

QUICK = ("--method", "integrated gradients", "--method", "gradient x input", "--method", "raw attention")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("model")
    return text_folder(made, "BertForSequenceClassification", **labelled("bad", "fair", "good"))


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "texts.csv"
    n = 12
    frame = {
        "id": [f"t{i}" for i in range(n)],
        "text": [*CORPUS] * (n // 3),
        "language": ["en", "de"] * (n // 2),
    }
    pd.DataFrame(frame).to_csv(path, index=False)
    return path


@pytest.fixture
def call(capsys):
    def run(*arguments):
        code = cli.main(["faithfulness", *(str(argument) for argument in arguments)])
        return code, *capsys.readouterr()

    return run


def test_the_numbers_are_those_of_python(call, folder, texts):
    code, out, err = call(folder, texts, "--json", *QUICK)
    assert (code, err) == (0, "")
    found = json.loads(out)
    subject = load(folder)
    rows = read_rows(texts, columns=subject.columns, groups=())
    made = faithfulness(subject, rows, methods=QUICK[1::2])
    assert found["ranking"] == list(made.ranking)
    kept = [
        (one["estimate"], other.estimate) for one, other in zip(found["measured"], made.measured, strict=True)
    ]
    assert [a is None for a, _ in kept] == [b is None for _, b in kept]
    numbers = np.array([pair for pair in kept if pair[0] is not None], dtype=float)
    assert len(numbers) > 10
    np.testing.assert_allclose(numbers[:, 0], numbers[:, 1], atol=1e-6)


def test_the_terminal_has_a_table_for_all_and_for_each_group(call, folder, texts):
    code, out, _ = call(folder, texts, *QUICK, "--group", "language", "--shapley-rows", 2)
    assert code == 0
    assert "language en" in out and "language de" in out and "shapley" in out
    assert "recommended:" in out and "attention is not an explanation" in out and "random scores" in out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--method", "integrated gradient"], 2, "did you mean 'integrated gradients'"),
        (["--method", "saliency", "--all"], 2, "give one of them"),
        (["--group", "langage"], 2, "langage"),
        (["--rows", "1"], 2, "--rows"),
    ],
)
def test_refusals(call, folder, texts, arguments, code, said):
    got, _, err = call(folder, texts, *arguments)
    assert got == code and said in " ".join(err.split())


def test_a_review_shows_it_where_it_was_measured_and_says_so_where_not():
    rows = applicants(60)
    subject = fitted(rows, epochs=3)
    made = review(subject, rows, replicates=50, faithful_rows=12)
    assert made.faithfulness is not None and len(made.faithfulness.ids) == 12
    page = render(made)
    assert made.faithfulness.reason in page and "raw attention" in page
    assert "No method is recommended" in page or f">{made.faithfulness.recommended}<" in page
    without = render(review(subject, rows, replicates=50))
    assert "not measured here how faithful" in without
    with pytest.raises(UsageError, match="2 or more"):
        review(subject, rows, replicates=50, faithful_rows=1)
