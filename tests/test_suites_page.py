"""The page on suites and swaps: its files are read, its examples run in order, its table is the code's."""

import re

import numpy as np
import pytest
from project_files import ROOT

import clinometer as cm
from clinometer.bias.counterfactuals import Counterfactuals
from clinometer.bias.lexicons import names
from clinometer.bias.suite_results import SuiteResult
from clinometer.bias.suites import KINDS
from clinometer.records import Rows
from reference.model_folders import labelled, text_folder

PAGE = (ROOT / "docs" / "suites.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the model and the files that the page names, to stand in."""
    suite, jobs = blocks("toml")
    (tmp_path / "suite.toml").write_text(suite, encoding="utf-8")
    (tmp_path / "jobs.toml").write_text(jobs, encoding="utf-8")
    text_folder(
        tmp_path / "model",
        "BertForSequenceClassification",
        max_position_embeddings=80,
        **labelled("negative", "neutral", "positive"),
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_examples_run(place, capsys):
    texts = [f"He is a waiter, film {i} is great." for i in range(12)] + ["Sven gave her a dog."]
    people = {"sex": np.array(["male", "female"]), "relationship": np.array(["husband", "wife"])}
    known = {
        "rows": Rows(
            ids=tuple(f"r{i}" for i in range(len(texts))), inputs={"text": np.array(texts, dtype=object)}
        ),
        "people": Rows(ids=("a", "b"), inputs=people),
    }
    for block in blocks("python"):
        exec(compile(block, "suites.md", "exec"), known)
    result, pairs = known["result"], known["made"]
    assert isinstance(result, Counterfactuals) and result.n == 13 == len(pairs)
    assert isinstance(known["subject"], cm.Subject) and known["suite"].rows.ids[0] == "plain praise/0"
    assert [list(known["both"].rows.inputs["text"])[i] for i in (0, -1)] == [
        "She is a waitress, film 0 is great.",
        "Ingrid gave him a dog.",
    ]
    assert known["implausible"] == [
        "0 real rows have sex = female, relationship = husband",
        "0 real rows have sex = male, relationship = wife",
    ]
    printed = capsys.readouterr().out
    assert "plain praise" in printed and "people muslim" in printed


def test_the_suite_of_the_page_fails_and_passes_as_its_scores_say(place):
    known = {}
    exec(blocks("python")[0].split("subject =")[0], known)
    suite = known["suite"]
    n = len(suite.rows)
    good = known["check"](suite, score=np.zeros(n), prediction=["positive"] * n)
    assert isinstance(good, SuiteResult)
    assert [(one.n, one.n_failed) for one in good.tests] == [(12, 0), (60, 0), (24, 0)]
    bad = known["check"](
        suite,
        score=[1.0 if "Muslims" in text else 0.0 for text in suite.rows.inputs["text"]],
        prediction=["negative"] * n,
    )
    assert [one.n_failed for one in bad.tests] == [12, 12, 0]


def test_the_table_names_the_keys_of_every_kind():
    rows = re.findall(r"^\| `(\w+)` \|.*\| (.*?) \| (.*?)\|$", PAGE, flags=re.MULTILINE)
    said = {
        kind: (tuple(re.findall(r"`(\w+)`", needs)), tuple(re.findall(r"`(\w+)`", may)))
        for kind, needs, may in rows
    }
    assert said == dict(KINDS)


def test_every_built_in_lexicon_is_named():
    assert [name for name in names() if f"`{name}`" not in PAGE] == []
