"""Several labels a row: scikit-learn's losses, one label at a time, false discoveries kept down."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from clinometer.bias.counts import count
from clinometer.bias.multilabel import hamming_loss, label_gaps, subset_accuracy
from clinometer.bias.multiplicity import benjamini_hochberg
from clinometer.errors import DataError, UsageError

columns = st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=20)


def pairs_of(rows):
    table = np.array(rows, dtype=bool)
    return {"rain": (table[:, 0], table[:, 1]), "wind": (table[:, 2], table[:, 3])}


@given(columns)
def test_losses_are_scikit_learns(rows):
    from sklearn import metrics

    pairs = pairs_of(rows)
    y, f = (np.column_stack([pair[i] for pair in pairs.values()]) for i in (0, 1))
    assert hamming_loss(pairs).estimate == pytest.approx(metrics.hamming_loss(y, f), abs=1e-12)
    assert subset_accuracy(pairs).estimate == pytest.approx(metrics.accuracy_score(y, f), abs=1e-12)


def test_each_label_is_counted_on_its_own():
    generator = np.random.default_rng(0)
    pairs = pairs_of(generator.random((60, 4)) < 0.5)
    group = ["g"] * 25 + ["h"] * 30 + [None] * 5
    rain, wind = label_gaps(pairs, group, "false_positive_rate")
    label, prediction = pairs["wind"]
    assert wind.label == "wind" and wind.counts["g"] == count(prediction[:25], label[:25])
    rates = [wind.rates[name] for name in ("g", "h")]
    assert wind.gap == pytest.approx(abs(rates[0] - rates[1]))
    assert list(wind.rates) == ["g", "h", "unknown"], "shown, and compared with nobody"
    assert [rain.p_adjusted, wind.p_adjusted] == pytest.approx(benjamini_hochberg([rain.p, wind.p]).tolist())


def test_p_is_near_fishers():
    generator = np.random.default_rng(1)
    label, prediction = generator.random((2, 40)) < 0.5
    made = label_gaps(
        {"x": (label, prediction)}, ["g"] * 15 + ["h"] * 25, "selection_rate", replicates=20_000
    )[0]
    table = [[c.tp + c.fp, c.fn + c.tn] for c in made.counts.values()]
    assert made.p == pytest.approx(stats.fisher_exact(table).pvalue, abs=0.02)


def test_counts_are_rows():
    pairs = pairs_of(np.random.default_rng(2).random((6, 4)) < 0.5)
    group, times = np.array(["g", "g", "g", "h", "h", "h"]), np.array([2, 1, 3, 1, 0, 4])
    spread = {name: tuple(np.repeat(part, times) for part in pair) for name, pair in pairs.items()}
    one = label_gaps(pairs, group.tolist(), "selection_rate", count=times)
    assert one == label_gaps(spread, np.repeat(group, times).tolist(), "selection_rate")
    assert hamming_loss(pairs, count=times).se() == pytest.approx(hamming_loss(spread).se())


def test_false_discoveries_among_many_labels_stay_few_and_a_true_one_is_found():
    generator = np.random.default_rng(3)
    group = ["g"] * 100 + ["h"] * 100
    anything = found = raw = 0
    for seed in range(30):
        label = np.zeros(200, dtype=bool)
        pairs = {f"l{i}": (label, generator.random(200) < 0.3) for i in range(20)}
        null = label_gaps(pairs, group, "selection_rate", replicates=999, seed=seed)
        anything += any(gap.p_adjusted <= 0.05 for gap in null)
        raw += any(gap.p <= 0.05 for gap in null)
        pairs["l0"] = (label, generator.random(200) < np.repeat([0.2, 0.7], 100))
        found += label_gaps(pairs, group, "selection_rate", replicates=999, seed=seed)[0].p_adjusted <= 0.05
    assert anything <= 5 and found == 30
    assert raw >= 12, "without adjustment most families have a false find"


def test_a_label_that_nobody_has_is_undefined_and_not_fair():
    nothing = np.zeros(4, dtype=bool)
    made = label_gaps({"x": (nothing, ~nothing), "y": (~nothing, ~nothing)}, ["g", "g", "h", "h"])
    assert made[0].rates == {"g": None, "h": None} and made[0].gap is None and made[0].p_adjusted is None
    assert made[1].gap == 0 and made[1].p is None, "all alike in both: nothing that could differ"


def test_refusals():
    yes = np.array([True, False])
    with pytest.raises(DataError, match="no labels"):
        label_gaps({}, ["g"])
    with pytest.raises(DataError, match="'prediction of y' have fewer rows"):
        hamming_loss({"x": (yes, yes), "y": (yes, yes[:1])})
    with pytest.raises(DataError, match="label 'x' has shape"):
        hamming_loss({"x": (np.array([1, 0]), yes)})
    with pytest.raises(UsageError, match="no rate 'mean_absolute_error'"):
        label_gaps({"x": (yes, yes)}, ["g", "h"], "mean_absolute_error")
    with pytest.raises(UsageError, match="no rate 'hits'"):
        label_gaps({"x": (yes, yes)}, ["g", "h"], "hits")
    with pytest.raises(DataError, match="one group a row"):
        label_gaps({"x": (yes, yes)}, ["g"])
    with pytest.raises(DataError, match="count has 1 rows"):
        label_gaps({"x": (yes, yes)}, ["g", "h"], count=np.array([1]))
