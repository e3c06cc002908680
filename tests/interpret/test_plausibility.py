"""Agreement with marked tokens: known answers, a slow twin with sets, scikit-learn's areas, and refusals."""

import numpy as np
import pytest

from clinometer.errors import DataError, UsageError
from clinometer.interpret.plausibility import MEASURES, areas, combined, matched, plausibility, runs
from clinometer.records import Attribution
from reference import rationales as slow


def attribution(scores, lengths=None):
    """A record of these scores, as if of a method."""
    scores = np.asarray(scores, dtype=np.float64)
    n, width = scores.shape
    lengths = [width] * n if lengths is None else lengths
    return Attribution(
        method="by hand",
        target="logit(toxic) - logit(normal)",
        unit="logit",
        baseline="",
        ids=tuple(f"e{i}" for i in range(n)),
        tokens=tuple(tuple(f"w{j}" for j in range(k)) for k in lengths),
        scores=scores,
        value=np.zeros(n),
        base_value=np.full(n, np.nan),
        nodes=np.zeros(n, dtype=np.int64),
        converged=np.ones(n, dtype=np.bool_),
        tolerance=np.full(n, np.nan),
    )


def drawn(n=30, seed=0):
    """Random scores of examples of 4 to 12 tokens and random marks, one at least."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(4, 13, size=n).tolist()
    marks = [(generator.random(k) < 0.35).astype(int) for k in lengths]
    for one in marks:
        one[generator.integers(len(one))] = 1
    return attribution(np.round(generator.normal(size=(n, 12)), 1), lengths), [m.tolist() for m in marks]


def answers(made):
    return {one.measure: one.estimate for one in made.agreements}


# Known answers


def test_one_example_by_hand():
    #        chosen (top 3): places 1, 2, 5; marked: 1, 2, 3
    one = attribution([[0.0, 5.0, 4.0, 1.0, -2.0, 3.0]])
    made = plausibility(one, [[0, 1, 1, 1, 0, 0]], top=3)
    found = answers(made)
    assert found["token_f1"] == pytest.approx(2 / 3)
    # Chosen spans {1,2} and {5}; marked {1,2,3}: the first overlaps by 2/3. Precision 1/2, recall 1.
    assert found["iou_f1"] == pytest.approx(2 * 0.5 * 1 / 1.5)
    # In descending order: 1 hit, 2 hit, 5 miss, 3 hit: precision 1, 1, 2/3, 3/4 at recalls 1/3, 2/3, 2/3, 1.
    assert found["average_precision"] == pytest.approx((1 + 1 + 3 / 4) / 3)
    assert found["area_under_precision_recall_curve"] == pytest.approx((1 + 1 + (2 / 3 + 3 / 4) / 2) / 3)
    assert made.n == 1 and made.agreements[0].low is None
    as_tokens = answers(plausibility(one, [[0, 1, 1, 1, 0, 0]], top=3, spans="tokens"))
    assert as_tokens["iou_f1"] == 0.0  # single tokens cover a third of the marked span each


def test_recall_of_the_released_scorer_can_exceed_one():
    one = attribution([[4.0, 5.0, 0.0, 0.0]])
    marks, how = [[1, 1, 0, 0]], {"top": 2, "spans": "tokens"}
    assert answers(plausibility(one, marks, **how))["iou_f1"] == 1.0
    # Both chosen tokens match the one marked span: precision 1, recall 2, F1 4/3.
    assert answers(plausibility(one, marks, as_released=True, **how))["iou_f1"] == pytest.approx(4 / 3)


def test_scores_that_are_the_rationale_agree_fully_and_their_opposite_least():
    _, marks = drawn()
    scores = np.zeros((len(marks), 12))
    for i, one in enumerate(marks):
        scores[i, : len(one)] = one
    right = attribution(scores, [len(one) for one in marks])
    wrong = attribution(-scores, [len(one) for one in marks])
    found, other = (answers(plausibility(one, marks)) for one in (right, wrong))
    assert found["area_under_precision_recall_curve"] == found["average_precision"] == 1.0
    assert other["average_precision"] < plausibility(right, marks).of("average_precision").by_chance
    exactly = [[1, 0, 0, 1, 0], [0, 1, 1, 0, 0]]
    made = answers(plausibility(attribution(exactly), exactly))
    assert set(made.values()) == {1.0}


def test_chance_stands_beside_each_measure():
    one, marks = drawn(200)
    made = plausibility(one, marks, top=3)
    for agreement in made.agreements:  # these scores are random themselves
        assert agreement.low - 0.05 < agreement.by_chance < agreement.high + 0.05


# Slow twin, and scikit-learn


@pytest.mark.parametrize("top", [1, 3, 5, "share"])
@pytest.mark.parametrize("spans", ["runs", "tokens"])
def test_equal_to_a_slow_twin_with_sets(top, spans):
    one, marks = drawn()
    made = answers(plausibility(one, marks, top=top, spans=spans, replicates=50))
    share = np.mean([np.mean(m) for m in marks])
    f1, examples = [], []
    for scores, m in zip(one.scores, marks, strict=True):
        n = len(m)
        k = min(n, max(1, round(share * n))) if top == "share" else min(top, n)
        chosen, marked = slow.top(scores[:n], k), {i for i, x in enumerate(m) if x}
        f1.append(slow.token_f1(chosen, marked))
        pieces = slow.spans(chosen) if spans == "runs" else [{i} for i in chosen]
        examples.append((pieces, slow.spans(marked)))
    assert made["token_f1"] == pytest.approx(np.mean(f1))
    assert made["iou_f1"] == pytest.approx(slow.iou_f1(examples, 0.5))


def test_areas_are_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics")
    one, marks = drawn(60)
    for scores, m in zip(one.scores, marks, strict=True):
        truth, found = np.array(m, dtype=bool), scores[: len(m)]
        area, average = areas(found, truth)
        assert average == pytest.approx(metrics.average_precision_score(truth, found))
        precision, recall, _ = metrics.precision_recall_curve(truth, found)
        assert area == pytest.approx(metrics.auc(recall, precision))


def test_spans():
    assert runs(np.array([1, 1, 0, 1, 0, 0, 1], dtype=bool)) == [(0, 2), (3, 4), (6, 7)]
    assert runs(np.zeros(3, dtype=bool)) == []
    assert matched([(0, 2)], [(0, 4), (5, 6)], 0.5) == (1.0, 0.5)  # half is enough
    assert matched([(0, 2)], [(0, 4), (5, 6)], 0.51) == (0.0, 0.0)


# Laws


def test_a_positive_factor_and_a_shift_change_nothing_and_a_sign_does():
    one, marks = drawn()
    made = plausibility(one, marks, seed=1)
    for changed in (one.scores * 3.0, one.scores + 7.0):
        lengths = [len(tokens) for tokens in one.tokens]
        assert plausibility(attribution(changed, lengths), marks, seed=1) == made
    assert answers(plausibility(attribution(-one.scores, lengths), marks)) != answers(made)


def test_one_seed_one_answer_and_intervals_hold_the_estimate():
    one, marks = drawn()
    made, again, other = (plausibility(one, marks, seed=seed) for seed in (1, 1, 2))
    assert made == again and made != other
    assert answers(made) == answers(other)
    assert all(a.low < a.estimate < a.high and a.n > 0 for a in made.agreements)


def test_examples_without_a_mark_are_left_out_and_all_marked_have_no_average_precision():
    one, marks = drawn()
    kept = plausibility(one, marks)
    padded = attribution(
        np.concatenate([one.scores, one.scores[:2]]),
        [*(len(t) for t in one.tokens), *(len(t) for t in one.tokens[:2])],
    )
    none, every = [0] * len(marks[0]), [1] * len(marks[1])
    made = plausibility(padded, [*marks, none, every])
    assert (made.n, made.n_left_out) == (31, 1) and kept.n_left_out == 0
    assert made.of("average_precision").n == 30 and made.of("token_f1").n == 31
    assert made.of("average_precision").estimate == pytest.approx(kept.of("average_precision").estimate)


def test_tokens_are_added_up_to_words():
    tokens = attribution([[9.0, 1.0, 1.5, 2.0, 8.0]])
    words = [[None, 0, 0, 1, None]]  # markers at both ends, and a word of two pieces
    made = answers(plausibility(tokens, [[1, 0]], words=words, top=1))
    assert made == answers(plausibility(attribution([[2.5, 2.0]]), [[1, 0]], top=1))
    assert made["token_f1"] == 1.0
    assert answers(plausibility(tokens, [[0, 1]], words=words, top=1))["token_f1"] == 0.0


def test_annotators_are_combined():
    given = [[1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 1, 0]]
    assert combined(given) == [1, 0, 1, 0]
    assert combined(given, "union") == [1, 1, 1, 0]
    assert combined(given[:2]) == [1, 0, 0, 0]  # of two, both
    assert combined([]) == []


def test_it_reads_well():
    one, marks = drawn()
    made = plausibility(one, marks, top=5)
    assert list(made.frame.measure) == list(MEASURES)
    assert "by hand of logit(toxic)" in repr(made) and made.taken == "the 5 highest scores"
    assert "of an example's tokens, one at least" in plausibility(one, marks).taken


# Refusals


def test_what_does_not_fit_is_refused(shapes_unchecked):
    one, marks = drawn()

    def refused(error, match, marks=marks, **more):
        with pytest.raises(error, match=match):
            plausibility(one, marks, **more)

    refused(DataError, "30 examples, 29 rationales", marks=marks[:-1])
    refused(
        DataError,
        "1 examples have a rationale that is not 0 or 1 for each of their tokens, first 'e0'",
        marks=[[1], *marks[1:]],
    )
    refused(DataError, "not 0 or 1", marks=[[2] * len(marks[0]), *marks[1:]])
    refused(DataError, "no example has a marked token", marks=[[0] * len(m) for m in marks])
    refused(DataError, "of their words", words=[[0] * len(m) for m in marks[:-1]] + [[99] * len(marks[-1])])
    refused(DataError, "and 2 lists of words", words=[[], []])
    refused(UsageError, "top is 0", top=0)
    refused(UsageError, "top is True", top=True)
    refused(UsageError, "did you mean 'runs'", spans="run")
    refused(UsageError, "overlap is 0", overlap=0)
    refused(UsageError, "50 or more", replicates=5)
    with pytest.raises(UsageError, match="did you mean 'majority'"):
        combined([[1]], "majorit")
    with pytest.raises(DataError, match=r"have \[1, 2\] tokens"):
        combined([[1], [1, 0]])
    with pytest.raises(UsageError, match="no measure 'f1'"):
        plausibility(one, marks).of("f1")
