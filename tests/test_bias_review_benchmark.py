"""The benchmark of whole reviews: whose gap is asked about, bias AUCs resampled, what is printed."""

import dataclasses
import importlib
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from project_files import ROOT

from clinometer.bias.policy import CostRule, GroupRule, Policy
from reference.sentences import own_classifier, sentences
from reference.subjects import applicants, fitted

SHARED = ROOT.parent / "shared" / "data" / "hatexplain"


@pytest.fixture(scope="module")
def review() -> Iterator[Any]:
    """The script as a module, found beside those it borrows from."""
    folder = str(ROOT / "benchmarks")
    sys.path.insert(0, folder)
    names = ("bias_review", "variants", "hatexplain", "measuring")
    try:
        yield importlib.import_module("bias_review")
    finally:
        sys.path.remove(folder)
        for name in [n for n in sys.modules if n.split(".")[0] in names]:
            del sys.modules[name]


def naming(review: Any, rows: Any, *, seed: int, name: str = "p") -> Any:
    """Rows that name communities at random."""
    generator = np.random.default_rng(seed)
    groups = {
        one: tuple(review.NAMED if hit else review.OTHERS for hit in generator.random(len(rows)) < 0.3)
        for one in review.COMMUNITIES
    }
    return dataclasses.replace(rows, ids=tuple(f"{name}{i}" for i in range(len(rows))), groups=groups)


@pytest.fixture(scope="module")
def scored(review: Any) -> tuple[Any, np.ndarray]:
    """Sentences that name communities, and scores that follow their label with noise."""
    rows = naming(review, sentences(240), seed=1)
    noise = np.random.default_rng(2).normal(size=len(rows)).round(1)
    return rows, np.asarray(rows.labels) + noise


def test_the_worst_community_is_that_of_the_largest_gap_with_posts_enough(review: Any) -> None:
    rows = naming(review, sentences(40), seed=0)
    labels = np.zeros(40, dtype=int)
    labels[30:] = 1
    groups = {one: (review.OTHERS,) * 40 for one in review.COMMUNITIES}
    groups["Women"] = tuple(review.NAMED if i < 10 else review.OTHERS for i in range(40))
    groups["Asian"] = tuple(review.NAMED if i in (0, 35) else review.OTHERS for i in range(40))
    rows = dataclasses.replace(rows, labels=labels, groups=groups)
    scores = np.where(np.arange(40) < 5, 1.0, -1.0)
    gaps = review.false_positive_gaps(rows, scores)
    assert gaps == {"Women": (10, 0.5), "Asian": (1, pytest.approx(1 - 4 / 29))}
    assert review.worst(gaps, least=10) == "Women" and review.worst(gaps, least=1) == "Asian"
    with pytest.raises(SystemExit, match="no community has 11 non-toxic posts"):
        review.worst(gaps, least=11)


def test_training_posts_name_whom_any_annotator_named(review: Any) -> None:
    rows = review.labelled_training(
        [{"post_id": "a", "text": "one two", "label": "offensive", "targets_union": ["Women", "Other"]}]
    )
    assert rows.inputs["text"].tolist() == ["one two"] and rows.labels.tolist() == [1]
    assert rows.groups["Women"] == (review.NAMED,) and rows.groups["Arab"] == (review.OTHERS,)


@pytest.mark.parametrize("named_only", [False, True])
def test_a_resample_is_what_the_library_finds_in_repeated_rows(
    review: Any, scored: tuple[Any, np.ndarray], named_only: bool
) -> None:
    rows, scores = scored
    labels, inside = np.asarray(rows.labels), review.members(rows)
    kept = np.any(list(inside.values()), axis=0) if named_only else np.ones(len(rows), dtype=bool)
    scores, labels = scores[kept], labels[kept]
    inside = {name: member[kept] for name, member in inside.items()}
    generator = np.random.default_rng(3)
    counts = np.stack(
        [np.ones(len(scores)), *generator.multinomial(len(scores), np.full(len(scores), 1 / len(scores)), 2)]
    )
    made = review.resampled(scores, labels, inside, counts.astype(float))
    for drawn, found in zip(counts.astype(int), made, strict=True):
        where = np.repeat(np.arange(len(scores)), drawn)
        twin = review.power_means(
            scores[where], labels[where], {name: member[where] for name, member in inside.items()}
        )
        np.testing.assert_allclose(found, list(twin.values()), rtol=1e-12)


def test_a_better_model_has_a_change_above_zero_and_the_same_scores_have_none(
    review: Any, scored: tuple[Any, np.ndarray]
) -> None:
    rows, scores = scored
    better = scores + 2 * np.asarray(rows.labels)
    text, words = review.area_table(
        {"unmitigated": scores, "better": better, "threshold": scores},
        rows,
        named_only=True,
        replicates=200,
        seed=0,
    )
    lines = {
        line.split("|")[1].strip(): [c.strip() for c in line.split("|")[2:-1]] for line in text.splitlines()
    }
    for change in lines["better"][1::2]:
        low = float(change.split("[")[1].split(",")[0])
        assert low > 0, change
    assert lines["threshold"][1::2] == ["scores are the same"] * 3
    assert lines["BERT-HateXplain, test split (the authors' notebook)"][::2] == ["0.7802", "0.6994", "0.7803"]
    assert "another of the ten" in words
    text, words = review.area_table({"unmitigated": scores}, rows, named_only=False, replicates=200, seed=0)
    assert "BERT" not in text and "240 posts, background: all other posts" in words


def test_a_community_without_non_toxic_posts_leaves_the_mean_undefined(
    review: Any, scored: tuple[Any, np.ndarray]
) -> None:
    rows, scores = scored
    toxic = np.asarray(rows.labels) == 1
    none = tuple(
        review.NAMED if hit and is_toxic else review.OTHERS
        for hit, is_toxic in zip(review.members(rows)["Arab"], toxic, strict=True)
    )
    rows = dataclasses.replace(rows, groups={**rows.groups, "Arab": none})
    text, words = review.area_table({"unmitigated": scores}, rows, named_only=False, replicates=200, seed=0)
    cells = [cell.strip() for cell in text.splitlines()[-1].split("|")]
    assert cells[2].startswith("undefined: the area of subgroup 'Arab'") and cells[3] == ""
    assert "the fewest non-toxic posts has Arab: 0" in words


def test_posts_are_reviewed_from_the_gap_to_the_bias_areas(review: Any, capsys: Any) -> None:
    rows = sentences(300)
    subject = own_classifier(rows, epochs=1)
    wrong = np.random.default_rng(6).random(len(rows)) < 0.2
    rows = dataclasses.replace(rows, labels=np.where(wrong, 1 - rows.labels, rows.labels))
    known = naming(review, rows.take(range(140)), seed=4, name="t")
    others = naming(review, rows.take(range(140, 300)), seed=5)
    given = review.options().parse_args(
        ["--least", "5", "--reference-posts", "30", "--replicates", "50", "--accepted-loss", "0.3"]
    )
    made = review.reviewed_posts(subject, known, others, given)
    said = capsys.readouterr().out
    assert made["community"] in review.COMMUNITIES
    n_fit, n_choose, n_judge = made["fixes"]["n"]
    assert n_fit == 140 and n_choose + n_judge == 160 and n_judge > n_choose
    tried = [point["name"] for point in made["fixes"]["judged_on"]]
    assert len(tried) >= 4 and tried[0] == "unmitigated"
    for line in (
        "no head set verified",
        "BERT-HateXplain, test split",
        "rows that judge: gap [95 %]",
        "mean_score",
    ):
        assert line in said or (line.startswith("no head") and "moves it by" in said), line
    for name in tried:
        assert sum(name in line for line in said.splitlines()) >= 3, name


def test_a_table_is_reviewed_with_both_utilities(review: Any, capsys: Any) -> None:
    rows = applicants(420)
    subject = fitted(rows, epochs=2)
    wrong = np.random.default_rng(7).random(len(rows)) < 0.3
    rows = dataclasses.replace(rows, labels=np.where(wrong, 1 - rows.labels, rows.labels))
    rules = Policy(
        groups={"race": GroupRule(reference="white"), "sex": GroupRule()},
        costs=CostRule(unit="denials", false_positive=2.0, false_negative=1.0),
    )
    given = review.options().parse_args(["--deals", "1", "--accepted-loss", "0.3"])
    made = review.reviewed_table(subject, rows, rules, given)
    said = capsys.readouterr().out
    assert set(made) == {"why", "accuracy", "expected_cost"} and len(made["why"]) == 2
    assert (
        "selection_rate: black minus white" in said and "whichever was chosen, on the rows that judge" in said
    )
    for utility in ("accuracy", "expected_cost"):
        assert len(made[utility]["fixes"]["judged_on"]) >= 4
        assert f"rows that choose: gap, {utility}" in said


def test_the_ten_communities_of_the_validation_split(review: Any) -> None:
    if not SHARED.is_dir():
        pytest.skip("needs ../shared/data/hatexplain, which is not there")
    rows = review.labelled(review.read(SHARED / "hatexplain_val.jsonl.gz"))
    negative = np.asarray(rows.labels) == 0
    inside = review.members(rows)
    found = {name: (int(m.sum()), int((m & negative).sum())) for name, m in inside.items()}
    assert found["African"] == (310, 18) and found["Hispanic"] == (35, 2) and found["Caucasian"] == (48, 12)
    assert len(rows) == 1922 and int(negative.sum()) == 781
