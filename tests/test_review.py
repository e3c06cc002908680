"""The whole review on a planted table: numbers that can be recomputed, a folder that is whole or absent."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

import clinometer as cm
from clinometer.bias.policy import Policy
from clinometer.errors import CaptureError, DataError, OutputError
from clinometer.interpret.models import score
from clinometer.records import plain
from clinometer.review import _curves, read_rows, to_json
from clinometer.reviewed_files import review_files
from clinometer.scored_rows import evidence_of
from clinometer.visualizers import page
from reference.subjects import HOSTILE, applicants, fitted

POLICY = """
name = "test policy"
set_by = "the test suite"
alpha = 0.05
intersections = [["race", "sex"]]

[tolerance]
selection_rate = 0.1

[groups.race]
reference = "white"

[groups.sex]
"""


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    path = tmp_path_factory.mktemp("policy") / "policy.toml"
    path.write_text(POLICY)
    return path


@pytest.fixture(scope="module")
def made(policy):
    rows = applicants(300, seed=1)
    subject = fitted(applicants(300, seed=0), epochs=20)
    return cm.review(subject, rows, policy=policy, terms={"money": ("income", "debt")}, replicates=200)


@pytest.fixture(scope="module")
def folder(made, tmp_path_factory):
    path = tmp_path_factory.mktemp("out") / "review"
    made.save(path)
    return path


def test_the_folder_is_whole(folder):
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {"report.html", "review.json", "evidence.parquet", "policy.toml"} <= names
    figures = {name for name in names if name.startswith("figures/")}
    assert {name[:-4] for name in figures if name.endswith(".png")} == {
        name[:-4] for name in figures if name.endswith(".svg")
    }
    assert figures
    assert [path.name for path in folder.parent.iterdir()] == ["review"], "no temporary folder is left"


def test_counts_recomputed_with_pandas_equal_the_audit(made, folder):
    frame = pd.read_parquet(folder / "evidence.parquet")
    cells = {(c.attribute, c.group): c for c in made.audit.cells if c.metric == "selection_rate"}
    for race, part in frame.groupby("race"):
        assert cells["race", race].k == part["prediction"].sum()
        assert cells["race", race].n == len(part)
    assert cells["sex", "unknown"].n == frame["sex"].isna().sum()
    both = frame.dropna(subset=["sex"]).groupby(["race", "sex"])["prediction"]
    for (race, sex), part in both:
        cell = cells["race & sex", f"{race} & {sex}"]
        assert (cell.k, cell.n) == (part.sum(), len(part))


def test_rates_at_the_threshold_in_use_are_those_of_the_audit(made):
    cells = {(c.attribute, c.group): c for c in made.audit.cells if c.metric == "selection_rate"}
    assert [one.attribute for one in made.curves.thresholds] == ["race", "sex"]
    for one in made.curves.thresholds:
        (at,) = np.flatnonzero(one.threshold == one.current)
        for i, group in enumerate(one.groups):
            cell = cells[one.attribute, group]
            assert (one.k[i, at], one.denominator[i, at]) == (cell.k, cell.n)
            assert (one.low[i, at], one.high[i, at]) == (cell.low, cell.high)
    assert len(made.curves.thresholds[0].threshold) <= 25


def test_calibration_recomputed_with_pandas_is_the_reviews(made, folder):
    frame = pd.read_parquet(folder / "evidence.parquet")
    frame["excess"] = 1 / (1 + np.exp(-frame["score"])) - frame["label"]
    race, sex = made.curves.reliability
    assert (race.attribute, race.score, sex.attribute) == ("race", "P(approved)", "sex")
    means = frame.groupby("race")["excess"].mean()
    assert {one.group: one.excess for one in race.groups[1:]} == pytest.approx(means.to_dict())
    assert race.groups[0].excess == pytest.approx(frame["excess"].mean())
    assert sum(part.n for part in race.groups[0].bins) == len(frame)


def test_without_labels_there_are_no_curves_and_it_is_said():
    rows = dataclasses.replace(applicants(80), labels=None)
    made = cm.review(fitted(applicants(80), epochs=0), rows, replicates=50, slice_permutations=0)
    assert made.curves.startswith("there is no label")


@pytest.mark.parametrize(
    "change", [{"labels": ("a", "b", "c")}, {"says": "what it says"}], ids=["three", "text"]
)
def test_a_score_that_gives_no_probability_has_thresholds_and_a_reason(change):
    rows = applicants(80)
    subject = fitted(rows, epochs=0)
    evidence = evidence_of(subject, rows, score(subject, rows))
    found = _curves(dataclasses.replace(subject, **change), evidence, Policy(), cm.audit(evidence))
    assert found.reliability == () and len(found.thresholds) == 2
    assert found.notes[0].startswith("calibration: the score is") and "no probability" in found.notes[0]


def test_an_explorer_lies_beside_the_page_where_asked_and_shows_the_worst_gap(tmp_path, policy):
    rows = applicants(60, seed=1)
    subject = fitted(applicants(60), epochs=0)
    made = cm.review(subject, rows, policy=policy, replicates=50, slice_permutations=0, explorer=True)
    single = tuple(f for f in made.audit.findings if " & " not in f.attribute)
    worst = page.worst_gap(dataclasses.replace(made.audit, findings=single))
    assert made.explorer.title.startswith("planted: 8 of 60 examples")
    assert f"selection rate, {worst.group} minus {worst.reference}" in made.explorer.gap.words
    assert made.explorer.gap.estimate == pytest.approx(worst.estimate)
    assert "explorer" not in json.loads(to_json(made))
    made.save(tmp_path / "out")
    assert 'href="explorer.html"' in (tmp_path / "out" / "report.html").read_text()
    assert 50_000 < (tmp_path / "out" / "explorer.html").stat().st_size < 2_000_000


def test_why_there_is_no_explorer_is_said(monkeypatch):
    def refuse(*_, **__):
        raise CaptureError("attention was not seen")

    monkeypatch.setattr("clinometer.report_explorer.explore", refuse)
    rows = applicants(60)
    made = cm.review(fitted(rows, epochs=0), rows, replicates=50, slice_permutations=0, explorer=True)
    assert made.explorer is None
    assert made.limits[-1] == "No explorer lies beside this page: attention was not seen"


def test_the_planted_gap_is_found_and_stops_the_release(made):
    assert made.verdict == "exceeds tolerance"
    assert made.exit_code == 1
    assert "exceeds" in repr(made)


def test_ledgers_add_up(made):
    assert {(entry.attribute, entry.group) for entry in made.ledgers} >= {
        ("race", "black"),
        ("race", "hispan"),
    }
    for entry in made.ledgers:
        total = sum(share.estimate for share in entry.shares)
        assert total + entry.residual == pytest.approx(entry.gap, abs=1e-6)
        assert abs(entry.residual) < 0.01 * entry.mean_absolute_shift


def test_measures_are_audited_like_a_score(made):
    metrics = {finding.metric for finding in made.measures.findings}
    assert {
        "attribution[income]",
        "attention[home]",
        "share[money]",
        "head[L0.H0]",
        "completeness_error",
    } <= metrics
    assert made.measures.verdict is None


def test_a_measure_can_be_gated(policy, tmp_path):
    text = POLICY.replace("selection_rate = 0.1", '"share[money]" = 0.9')
    (tmp_path / "p.toml").write_text(text)
    subject = fitted(applicants(60), epochs=0)
    made = cm.review(
        subject,
        applicants(60, seed=3),
        policy=tmp_path / "p.toml",
        terms={"money": ("income",)},
        replicates=50,
    )
    assert {entry["metric"] for entry in made.audit.verdicts} == {"share[money]"}
    assert made.verdict is not None


def test_two_runs_with_one_seed_are_the_same_bytes_but_for_the_time(made, policy):
    rows = applicants(300, seed=1)
    subject = fitted(applicants(300, seed=0), epochs=20)
    again = cm.review(subject, rows, policy=policy, terms={"money": ("income", "debt")}, replicates=200)
    assert to_json(dataclasses.replace(again, created=made.created)) == to_json(made)


def test_the_json_twin_carries_every_cell(made, folder):
    twin = json.loads((folder / "review.json").read_text())
    assert twin["schema_version"] == "1"
    assert twin["audit"]["cells"] == plain(made.audit.cells)
    assert twin["provenance"]["versions"]["torch"]
    assert "evidence" not in twin and "writer" not in twin


def test_saved_evidence_gives_the_same_audit(made, folder):
    evidence = cm.read_evidence(folder / "evidence.parquet")
    audit = cm.audit(dataclasses.replace(evidence, measures=()), policy=folder / "policy.toml")
    assert plain(audit.cells) == plain(made.audit.cells)
    assert audit.verdict == made.verdict


def test_race_given_to_the_model_is_among_the_top_shares():
    train, test = (applicants(400, seed=seed, see_race=True) for seed in (0, 1))
    made = cm.review(fitted(train, epochs=20), test, replicates=100)
    entry = next(e for e in made.ledgers if {e.group, e.reference} == {"black", "white"})
    assert "race" in [share.unit for share in entry.ranked[:2]]


def test_a_full_folder_is_not_overwritten(made, folder):
    with pytest.raises(OutputError, match="not empty"):
        made.save(folder)
    made.save(folder, force=True)


def test_nothing_is_half_written_when_a_picture_fails(made, tmp_path, monkeypatch):
    from clinometer.visualizers import plates

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(plates, "save_figures", fail)
    with pytest.raises(OutputError, match="No space left"):
        made.save(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_hostile_feature_is_text_in_the_report(tmp_path):
    rows = applicants(80, hostile=True)
    made = cm.review(fitted(rows, epochs=0), rows, replicates=50)
    made.save(tmp_path / "out")
    html = (tmp_path / "out" / "report.html").read_text()
    assert HOSTILE not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_without_a_policy_nothing_is_gated():
    rows = applicants(80)
    made = cm.review(fitted(rows, epochs=0), rows, replicates=50)
    assert made.verdict is None
    assert made.exit_code == 0


def test_rows_without_groups_are_refused():
    rows = dataclasses.replace(applicants(20), groups={})
    with pytest.raises(DataError, match="no group columns"):
        cm.review(fitted(applicants(20), epochs=0), rows)


def test_a_term_that_names_nothing_is_refused():
    rows = applicants(20)
    with pytest.raises(DataError, match="did you mean 'income'"):
        cm.review(fitted(rows, epochs=0), rows, terms={"money": ("incom",)})


def test_a_review_from_files_is_the_review_from_rows(tmp_path, policy):
    import torch

    from clinometer.interpret.folders import save
    from clinometer.interpret.preprocessing import TablePreprocessor
    from clinometer.interpret.transformer import Architecture, Classifier

    rows = applicants(120)
    preprocessor = TablePreprocessor.fit(
        rows.inputs, numeric=["income", "debt", "noise"], categorical=["home"]
    )
    torch.manual_seed(0)
    model = Classifier(
        Architecture(
            kind="table", width=16, layers=1, heads=2, feed_forward=32, dropout=0.0, **preprocessor.shape()
        )
    ).eval()
    save(tmp_path / "model", model, preprocessor, labels=("denied", "approved"), extra={})
    data = tmp_path / "rows.csv"
    pd.DataFrame(
        {
            "id": rows.ids,
            **rows.inputs,
            "approved": rows.labels,
            **{k: list(v) for k, v in rows.groups.items()},
        }
    ).to_csv(data, index=False)
    made = review_files(
        tmp_path / "model", data, policy=policy, label="approved", groups=(), out=tmp_path / "out", quiet=True
    )
    direct = cm.review(cm.load(tmp_path / "model"), rows, policy=policy, replicates=100)
    assert [plain(c) for c in made.audit.cells] == [plain(c) for c in direct.audit.cells]
    with pytest.raises(DataError, match="'debt'"):
        read_rows(data, columns=["debtt"], groups=["race"])
    with pytest.raises(OutputError, match="not empty"):
        review_files(tmp_path / "model", data, policy=policy, label=None, groups=(), out=tmp_path / "out")


def test_the_module_and_the_function_are_one_name():
    import clinometer.review as module

    assert callable(cm.review)
    with pytest.raises(DataError, match="no group columns"):
        module(fitted(applicants(20), epochs=0), dataclasses.replace(applicants(20), groups={}))
