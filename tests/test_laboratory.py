"""The laboratory of planted biases: small versions of its claims, each with a control, and the script."""

import importlib
import json
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from project_files import ROOT

from clinometer.bias.parts_of_gaps import parts_of_gap
from clinometer.interpret.gates import gates
from clinometer.interpret.methods import attribute
from clinometer.interpret.models import score

SEED = (
    300  # of the first model: neither the seeds that settings were chosen on last nor those that are judged
)


@pytest.fixture(scope="module")
def lab() -> Iterator[Any]:
    """The script as a module, found beside its own parts."""
    folder = str(ROOT / "benchmarks")
    sys.path.insert(0, folder)
    try:
        yield importlib.import_module("laboratory")
    finally:
        sys.path.remove(folder)
        for name in [n for n in sys.modules if n.split(".")[0] in ("laboratory", "measuring")]:
            del sys.modules[name]


@pytest.fixture(scope="module")
def sizes(lab: Any) -> Any:
    return lab.Sizes(models=6, few=1, permuted=12, rows=80, more=200, replicates=400)


def moved(lab: Any, subject: Any, rows: Any) -> float:
    """By how much scores move at most when every text names the other side."""
    alpha, beta = (lab.exchanged(rows, *pair) for pair in (lab.IDENTITY, lab.IDENTITY[::-1]))
    return float(np.abs(score(subject, alpha) - score(subject, beta)).max())


@pytest.mark.parametrize("steady", [0.0, 30.0])
def test_one_head_alone_can_tell_the_words_apart(lab: Any, steady: float) -> None:
    rows = lab.texts(20, lab.NAMED, seed=0)
    for seed in range(3):
        subject, head = lab.guilty(seed, strength=4.0, layers=3, steady=steady)
        clean, same = lab.guilty(seed, strength=0.0, layers=3, steady=steady)
        assert same == head
        assert moved(lab, subject, rows) > 1e-3  # control
        assert moved(lab, clean, rows) < 1e-12
        with gates(subject, {head: 0.0}):
            assert moved(lab, subject, rows) < 1e-12


def test_texts_are_those_of_the_plan(lab: Any) -> None:
    rows = lab.texts(2000, lab.PROXY_SHORTCUT, seed=1)
    words = [text.split() for text in rows.inputs["text"]]
    side = np.array(rows.groups["side"]) == "a"
    quartz = np.array(["quartz" in one for one in words])
    assert quartz[side].mean() == pytest.approx(0.7, abs=0.05)
    assert quartz[~side].mean() == pytest.approx(0.3, abs=0.05)
    assert not any({"alpha", "beta"} & set(one) for one in words)
    named = [text.split() for text in lab.texts(50, lab.IDENTITY_SHORTCUT, seed=1).inputs["text"]]
    assert all(("alpha" in one) == (i % 2 == 0) != ("beta" in one) for i, one in enumerate(named))
    labels = np.asarray(rows.labels)
    assert labels[quartz].mean() > labels[~quartz].mean() + 0.3
    clean = lab.texts(2000, lab.CLEAN, seed=1)
    by_side = np.asarray(clean.labels)[side].mean() - np.asarray(clean.labels)[~side].mean()
    assert abs(by_side) < 0.08


def test_the_guilty_head_is_verified_and_a_clean_model_has_none(
    lab: Any, sizes: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    made = lab.heads(sizes, SEED)["all"]
    assert made["guilty"]["k"] == made["guilty"]["n"] == sizes.models
    assert made["large"]["k"] == 0
    for place in range(sizes.models):
        subject, head, plan = lab.planted(place, SEED + place, 0.0)
        found = lab.tested(subject, lab.both_halves(80, plan, SEED + place), sizes, 0)
        assert head not in found.verified
    assert "6 of 6: 1.000" in capsys.readouterr().out


def test_columns_dealt_out_anew_verify_nothing(lab: Any, sizes: Any) -> None:
    subject, _, plan = lab.planted(1, SEED, 4.0)
    shuffled = lab.permuted(subject, plan, sizes, SEED)
    trained = lab.permuted(lab.of_plan(SEED, lab.IDENTITY_SHORTCUT), lab.IDENTITY_SHORTCUT, sizes, SEED)
    empty = [one[0] for one in (*shuffled, *trained)]
    assert len(empty) == 24 and sum(empty) >= 21
    # Control: with the true column the same models have something.
    for one, its in ((subject, plan), (lab.of_plan(SEED, lab.IDENTITY_SHORTCUT), lab.IDENTITY_SHORTCUT)):
        assert not lab.nothing_found(lab.tested(one, lab.both_halves(80, its, SEED), sizes, 0))


def test_a_planted_words_share_is_what_it_makes_of_the_gap(lab: Any) -> None:
    plan = lab.Plan(often=(0.75, 0.25))
    for seed in range(3):
        bag, rows = lab.Bag(seed, proxy=1.0, product=0.5), lab.texts(120, plan, seed=50 + seed)
        made = attribute(bag.subject(), rows)
        for text, found in zip(rows.inputs["text"], made.scores, strict=True):
            assert found[: len(text.split())] == pytest.approx(bag.true_scores(text), abs=1e-9)
    rows = lab.texts(100, lab.NAMED, seed=9)
    errors = {}
    for kind, extra in (
        ("steady", {"steady": 30.0, "width": 32, "strength": 24.0}),
        ("plain", {"strength": 4.0}),
    ):
        for seed in range(3):
            subject, _ = lab.guilty(SEED + seed, **extra)
            silent, _ = lab.guilty(SEED + seed, **{**extra, "strength": 0.0})
            true = lab.contrast(rows).gap(score(subject, rows) - score(silent, rows))
            found = lab.share_of(attribute(subject, rows), rows, lab.IDENTITY)
            errors.setdefault(kind, []).append(abs(found / true - 1))
            assert lab.made_by_words(subject, rows, lab.IDENTITY) == pytest.approx(true, rel=0.1)
            assert lab.swapped_share(subject, rows, lab.IDENTITY) == pytest.approx(true, rel=0.1)
    assert max(errors["steady"]) < lab.CLOSE
    assert max(errors["plain"]) > lab.CLOSE  # control: where norms differ, the share is another number


def test_what_a_pair_of_words_makes_is_known_of_a_bag(lab: Any) -> None:
    bag, rows = lab.Bag(0, proxy=1.5), lab.texts(60, lab.WITH_PROXY, seed=3)
    words = [text.split() for text in rows.inputs["text"]]
    often = lab.contrast(rows).gap(np.array(["quartz" in one for one in words], dtype=float))
    by_hand = often * np.mean([2 * 1.5 / len(one) for one in words])
    assert lab.made_by_words(bag.subject(), rows, lab.PROXY) == pytest.approx(by_hand)


@pytest.mark.parametrize("what", ["proxies", "treatment"])
def test_the_part_that_was_planted_is_found_and_not_the_other(lab: Any, what: str) -> None:
    plan = lab.ONLY_PROXY if what == "proxies" else lab.ONLY_TREATMENT
    other = "treatment" if what == "proxies" else "proxies"
    for seed in range(3):
        bag = lab.Bag(seed, proxy=2.0 * (what == "proxies"), product=float(what == "treatment"))
        rows = lab.texts(300, plan, seed=70 + seed)
        found = parts_of_gap(
            attribute(bag.subject(), rows),
            lab.contrast(rows),
            identity=lab.IDENTITY if plan.named else (),
            replicates=300,
        )
        claimed = lab._split(found, what)
        assert all(claimed[key] for key in ("right", "absent", "word", "word absent"))
        wrong = lab._split(found, other)  # control
        assert not any(wrong[key] for key in ("right", "absent", "word", "word absent"))


def test_rates_carry_wilsons_interval(lab: Any) -> None:
    found = lab.counted([True] * 9 + [False])
    assert lab.shown(found) == "9 of 10: 0.900 [0.596, 0.982]"  # the closed form, by hand


def test_the_script_runs_each_section(
    lab: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    tiny = lab.Sizes(models=2, few=1, permuted=2, rows=40, more=60, replicates=200)
    monkeypatch.setattr(lab, "Sizes", lambda **given: tiny)
    monkeypatch.setattr(lab, "POWERS", (0.4,))
    monkeypatch.setattr(lab, "of_plan", lambda seed, plan: lab.trained(seed, plan, n=60, epochs=2))
    target = tmp_path / "found.json"
    monkeypatch.setattr(sys, "argv", ["laboratory.py", "--quick", "--seed", str(SEED), "--json", str(target)])
    lab.main()
    made = json.loads(target.read_text(encoding="utf-8"))
    assert made["seed"] == SEED and set(lab.SECTIONS) < set(made)
    assert capsys.readouterr().out.count("\n### ") == len(lab.SECTIONS)
    monkeypatch.setattr(sys, "argv", ["laboratory.py", "--models", "0"])
    with pytest.raises(SystemExit):
        lab.main()
