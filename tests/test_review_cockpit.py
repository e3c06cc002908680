"""The cockpit: what its sliders say is what an audit of those decisions says, and listeners hear of it."""

import numpy as np
import pytest

pytest.importorskip("ipywidgets", reason="the notebook extra is not installed")

import clinometer
from clinometer.bias.policy import Policy
from clinometer.errors import UsageError
from clinometer.evidence import from_columns
from clinometer.review_cockpit import READER, cockpit, decided, starting_threshold, with_tolerance

N = 160


def decisions(threshold=0.2, *, names=("no", "yes"), **more):
    generator = np.random.default_rng(0)
    score = generator.normal(size=N)
    side = np.where(np.arange(N) % 2 == 0, "north", "south")
    score = score + 1.4 * (side == "north")
    good = (score + generator.normal(size=N) > 0.4).astype(int)
    columns = {
        "id": [f"r{i}" for i in range(N)],
        "good": [names[i] for i in good],
        "said": [names[i] for i in (score > threshold).astype(int)],
        "score": score,
        "side": side.tolist(),
    }
    roles = {"id": "id", "label": "good", "prediction": "said", "score": "score", "groups": ("side",)}
    return from_columns(columns, **roles, **more)


def comparable(made):
    return [(one.metric, one.group, one.estimate, one.low, one.high, one.verdict) for one in made.findings]


@pytest.mark.parametrize("names", [("no", "yes"), ("turned down", "taken")])
def test_it_starts_at_the_audit_of_the_evidence(names):
    evidence = decisions(names=names, positive=names[1])
    policy = Policy(tolerance={"true_positive_rate": 0.15}, set_by="a test")
    made = cockpit(evidence, policy)
    assert made.metric == "true_positive_rate" and made.tolerance == pytest.approx(0.15)
    assert comparable(made.audit) == comparable(clinometer.audit(evidence, policy))
    assert made.policy.set_by == "a test"


def test_every_move_is_audited_again_and_heard():
    evidence = decisions()
    made = cockpit(evidence, Policy(tolerance={"selection_rate": 0.1}, set_by="a test"))
    heard = []
    made.observe(lambda one: heard.append((one.threshold, one.tolerance, one.audit.verdict)))
    assert made.audit.verdict == "exceeds tolerance"
    made.tolerance = 0.95
    assert made.audit.verdict == "within tolerance"
    made.threshold = float(made._threshold.max)
    scores = evidence.column("score")
    again = clinometer.audit(decided(evidence, scores, made.threshold), made.policy)
    assert comparable(made.audit) == comparable(again)
    assert len(heard) == 2 and heard[0][2] == "within tolerance" and heard[1][0] == made.threshold
    assert READER in made.policy.set_by and "a test" in made.policy.set_by


def test_decisions_at_a_threshold_are_scores_above_it():
    evidence = decisions()
    scores = evidence.column("score")
    for threshold in (-1.0, 0.2, 1.4):
        made = decided(evidence, scores, threshold)
        assert (made.binary(made.prediction) == (scores > threshold)).all()
        assert (made.binary(made.label) == evidence.binary("good")).all()
    assert starting_threshold(evidence, scores) == pytest.approx(0.2, abs=0.05)
    start = starting_threshold(evidence, scores)
    assert ((scores > start) == evidence.binary("said")).all()


def test_the_threshold_of_the_model_is_kept_where_it_parts_the_scores():
    evidence = decisions(provenance={"threshold": 0.2})
    assert starting_threshold(evidence, evidence.column("score")) == 0.2


def test_the_page_says_it_in_words_and_a_picture():
    made = cockpit(decisions(), Policy(tolerance={"selection_rate": 0.1}, set_by="a test"))
    data = made._repr_mimebundle_()
    data = data[0] if isinstance(data, tuple) else data
    page = data["text/html"]
    assert "▲ exceeds tolerance" in page and "n = 160" in page
    assert "alt='Largest difference in selection rate, " in page and "data:image/png;base64," in page
    assert "<script" not in page and "<style" not in page
    assert "application/vnd.jupyter.widget-view+json" in data and "exceeds tolerance" in data["text/plain"]


def test_names_of_groups_are_text():
    evidence = decisions()
    hostile = from_columns(
        {**{name: evidence.table.column(name).to_pylist() for name in ("id", "good", "said", "score")},
         "side": ["<script>alert(1)</script>" if i % 2 else "'x' onload='y'" for i in range(N)]},
        id="id", label="good", prediction="said", score="score", groups=("side",),
    )  # fmt: skip
    page = cockpit(hostile)._shown.value
    assert "<script" not in page and "&lt;script&gt;" in page
    assert "' onload='" not in page


def test_it_stands_above_an_explorer():
    import ipywidgets

    below = ipywidgets.HTML("the explorer")
    made = cockpit(decisions(), explorer=below)
    assert made.widget.children[-1] is below and made.explorer is below
    assert len(cockpit(decisions()).widget.children) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "selection_rates"}, "did you mean 'selection_rate'"),
        ({"policy": Policy(task="regression")}, "regression"),
    ],
    ids=["metric", "task"],
)
def test_refusals(options, message):
    with pytest.raises(UsageError, match=message):
        cockpit(decisions(), **options)


def test_refusals_of_evidence():
    columns = {"id": ["a", "b", "c", "d"], "score": [1.0, 2.0, 3.0, 4.0], "side": ["x", "x", "y", "y"]}
    with pytest.raises(UsageError, match="names no score"):
        cockpit(from_columns({**columns, "said": [0, 1, 0, 1]}, id="id", prediction="said", groups=("side",)))
    evidence = from_columns(
        {**columns, "said": [0, 1, 0, 1]}, id="id", prediction="said", score="score", groups=("side",)
    )
    with pytest.raises(UsageError, match="give threshold="):
        cockpit(evidence)
    assert cockpit(evidence, threshold=2.5).threshold == 2.5
    made = cockpit(evidence, threshold=2.5)
    with pytest.raises(UsageError, match="the threshold is 99"):
        made.threshold = 99.0
    assert with_tolerance(Policy(), "selection_rate", 0.2).set_by == READER
