"""After erasure no linear probe finds the concept, and nothing was changed more than that needs."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import null_space
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from clinometer.errors import DataError, ModelError, UsageError
from clinometer.interpret.edits import AT_RUN_TIME
from clinometer.interpret.erasure import erase_concept, fit_eraser, least_squares_r2, representations
from clinometer.interpret.models import Subject, score
from clinometer.records import Floats, Rows
from reference.edit_subjects import BLOCKS, NAMES, subject_and_rows
from reference.subjects import applicants, fitted


def drawn(seed: int, n: int = 60, width: int = 5, dimension: int = 2) -> tuple[Floats, Floats]:
    """Correlated features, and a concept that some of them are told by."""
    generator = np.random.default_rng(seed)
    z = generator.normal(size=(n, dimension))
    x = generator.normal(size=(n, width)) @ generator.normal(size=(width, width))
    return x + z @ generator.normal(size=(dimension, width)) + generator.normal(size=width), z


def covariance(x: Floats, z: Floats) -> Floats:
    return (x - x.mean(axis=0)).T @ (z - z.mean(axis=0)) / len(x)


def test_by_hand():
    # x_1 is the class and x_2 is not: with no correlation between them all that goes is x_1.
    x = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    z = np.array([[1.0], [1.0], [0.0], [0.0]])
    for method in ("leace", "mean projection"):
        erased = fit_eraser(x, z, method=method)(x)
        assert np.allclose(erased, np.column_stack([np.zeros(4), x[:, 1]]), atol=1e-12)
    # x = (a + b, b) with a and b of variance one, independent, and z = a: S_xz = (1, 0), S_xx = ((2, 1), (1, 1)), and
    # S_xx^-1 S_xz = (1, -1). The least change takes from x its regression on z: (a, 0), which leaves (b, b).
    a, b = np.array([1.0, 1, -1, -1]), np.array([1.0, -1, 1, -1])
    erased = fit_eraser(np.column_stack([a + b, b]), a[:, None])(np.column_stack([a + b, b]))
    assert np.allclose(erased, np.column_stack([b, b]), atol=1e-12)
    assert fit_eraser(np.column_stack([a + b, b]), a[:, None]).change == pytest.approx(1 / 3)


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), width=st.integers(2, 7), dimension=st.integers(1, 3))
def test_nothing_linear_is_left_and_erasing_twice_is_erasing_once(seed, width, dimension):
    x, z = drawn(seed, width=width, dimension=dimension)
    for method in ("leace", "mean projection"):
        eraser = fit_eraser(x, z, method=method)
        erased = eraser(x)
        scale = np.abs(covariance(x, z)).max()
        assert np.abs(covariance(erased, z)).max() < 1e-8 * scale
        assert eraser.cross_covariance < 1e-8
        # One at most: a concept of more dimensions than there are features takes them all.
        assert np.allclose(eraser(erased), erased, atol=1e-7 * np.abs(x).max())
        assert np.allclose(erased.mean(axis=0), x.mean(axis=0), atol=1e-9 * np.abs(x).max())
        assert least_squares_r2(x, z) > 0.01
    least, plain = fit_eraser(x, z), fit_eraser(x, z, method="mean projection")
    assert least.change <= plain.change + 1e-9


def slow_optimum(x: Floats, z: Floats) -> float:
    """The least mean ||A x - x||^2 over matrices A with A S_xz = 0, by a numeric search over each of their rows."""
    centred = x - x.mean(axis=0)
    free = null_space(covariance(x, z).T)  # every row of A is a combination of these
    total = 0.0
    for i in range(x.shape[1]):

        def lost(b: Floats, i: int = i) -> float:
            return float(((centred @ (free @ b) - centred[:, i]) ** 2).mean())

        def slope(b: Floats, i: int = i) -> Floats:
            return 2 * (centred @ free).T @ (centred @ (free @ b) - centred[:, i]) / len(x)

        total += minimize(
            lost, np.zeros(free.shape[1]), jac=slope, method="BFGS", options={"gtol": 1e-10}
        ).fun
    return total


@pytest.mark.parametrize("seed", range(4))
def test_the_closed_form_is_the_least_change_there_is(seed):
    x, z = drawn(seed, width=4, dimension=1 + seed % 2)
    made = float(((fit_eraser(x, z)(x) - x) ** 2).sum(axis=1).mean())
    assert made == pytest.approx(slow_optimum(x, z), rel=1e-6)
    other = float(((fit_eraser(x, z, method="mean projection")(x) - x) ** 2).sum(axis=1).mean())
    assert other > 1.01 * made  # negative control: the simpler way is no optimum


def test_features_that_depend_on_others_are_no_trouble():
    x, z = drawn(1, width=3, dimension=1)
    wide = np.column_stack([x, x @ np.array([1.0, 2.0, -1.0]), np.ones(len(x))])
    erased = fit_eraser(wide, z)(wide)
    assert np.abs(covariance(erased, z)).max() < 1e-8
    assert np.allclose(erased[:, 4], 1.0)
    few = drawn(2, n=6, width=12, dimension=1)  # fewer rows than features
    assert np.abs(covariance(fit_eraser(*few)(few[0]), few[1])).max() < 1e-8


def test_no_logistic_probe_does_better_than_chance():
    generator = np.random.default_rng(0)
    z = (np.arange(300) % 3 == 0).astype(np.float64)
    x = generator.normal(size=(300, 6)) + np.outer(z, generator.normal(size=6))
    erased = fit_eraser(x, z[:, None])(x)
    # The best linear probe of what is left is the constant: its weights are zero.
    probe = LogisticRegression(C=1e6, tol=1e-12, solver="newton-cholesky").fit(erased, z)
    assert np.abs(probe.coef_).max() < 1e-5
    assert (probe.predict(erased) == z).mean() == (z == 0).mean()
    before = LogisticRegression(C=1e6, tol=1e-12, solver="newton-cholesky").fit(x, z)
    assert (before.predict(x) == z).mean() > (z == 0).mean() + 0.1


# In a model


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Subject, Rows]]:
    folder = tmp_path_factory.mktemp("erased")
    return {name: subject_and_rows(name, folder) for name in NAMES}


CONCEPT = ("x", "y") * 4


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pool", ["first", "mean", "last", "tokens"])
def test_the_layer_that_was_told_to_forget_has_forgotten(made, name, pool):
    subject, rows = made[name]
    if pool == "first" and name == "gpt2":
        # The first token of a causal model sees itself alone.
        rows = dataclasses.replace(
            rows, inputs={"text": np.array(["good", "bad", "film", "dull"] * 2, dtype=object)}
        )
    z = np.array([[float(one == "x")] for one in CONCEPT])
    before, place = representations(subject, rows, module=BLOCKS[name], pool=pool, batch_size=3)
    assert np.abs(covariance(before, z[place])).max() > 1e-3  # negative control
    erased = erase_concept(subject, rows, CONCEPT, module=BLOCKS[name], pool=pool)
    after, _ = representations(erased, rows, module=BLOCKS[name], pool=pool)
    assert np.abs(covariance(after, z[place])).max() < 1e-5 * max(1.0, float(np.abs(before).max()))
    told = erased.edits[0]
    assert (told.way, told.kind, told.n_rows) == (AT_RUN_TIME, "concept erasure", 8)
    assert told.parameters["probe_r2_after"] < 1e-12 < 1e-3 < told.parameters["probe_r2_before"]
    assert told.parameters["n_representations"] == len(before)
    unchanged, _ = representations(subject, rows, module=BLOCKS[name], pool=pool, batch_size=3)
    assert np.array_equal(unchanged, before)


def test_what_is_fitted_on_the_first_token_is_applied_there_alone(made):
    subject, rows = made["bert"]
    erased = erase_concept(subject, rows, CONCEPT, module=BLOCKS["bert"], pool="first")
    before, place = representations(subject, rows, module=BLOCKS["bert"], pool="tokens")
    after, _ = representations(erased, rows, module=BLOCKS["bert"], pool="tokens")
    first = np.flatnonzero(np.diff(place, prepend=-1) > 0)
    others = np.setdiff1d(np.arange(len(place)), first)
    assert np.array_equal(after[others], before[others])
    assert np.abs(after[first] - before[first]).max() > 1e-3


def test_padding_is_no_representation(made):
    subject, rows = made["bert"]
    together, place = representations(subject, rows, module=BLOCKS["bert"], pool="tokens")
    alone, _ = representations(subject, rows, module=BLOCKS["bert"], pool="tokens", batch_size=1)
    assert len(place) == sum(len(names) for names in subject.names(rows))
    assert np.abs(together - alone).max() < 1e-4


def test_an_output_without_tokens_is_erased_as_it_is(made):
    subject, rows = made["bert"]
    erased = erase_concept(subject, rows, CONCEPT, module="bert.pooler")
    after, _ = representations(erased, rows, module="bert.pooler")
    z = np.array([[float(one == "x")] for one in CONCEPT])
    assert np.abs(covariance(after, z)).max() < 1e-6
    assert np.abs(np.corrcoef(score(erased, rows), z[:, 0])[0, 1]) < 1e-5  # the head is linear in it
    assert np.abs(np.corrcoef(score(subject, rows), z[:, 0])[0, 1]) > 1e-3


def test_the_last_layer_without_the_group_leaves_no_mean_gap():
    """Our Transformer's head is linear in [CLS], so that the gap of mean scores is gone on the rows fitted on."""
    rows = applicants(200)
    subject = fitted(rows, epochs=6)
    black = np.array(rows.groups["race"]) == "black"
    erased = erase_concept(subject, rows, black.astype(np.int64), module="encoder.norm", name="race")
    before, after = score(subject, rows), score(erased, rows)
    assert before[black].mean() - before[~black].mean() < -0.5
    assert abs(after[black].mean() - after[~black].mean()) < 1e-5
    fresh = applicants(400, seed=5)
    black = np.array(fresh.groups["race"]) == "black"
    gaps = [float(s[black].mean() - s[~black].mean()) for s in (score(subject, fresh), score(erased, fresh))]
    assert abs(gaps[1]) < 0.5 * abs(gaps[0])


def test_rows_of_unknown_group_are_left_out_and_counted(made):
    subject, rows = made["own"]
    some = erase_concept(subject, rows, [*CONCEPT[:6], None, None], module=BLOCKS["own"])
    same = erase_concept(subject, rows.take(range(6)), CONCEPT[:6], module=BLOCKS["own"])
    assert some.edits[0].parameters["n_unknown"] == 2
    assert some.edits[0].parameters["levels"] == ["x", "y"]
    assert np.array_equal(score(some, rows), score(same, rows))
    numbers = erase_concept(
        subject, rows, np.array([1.0, 0, 1, 0, 1, 0, np.nan, np.nan]), module=BLOCKS["own"]
    )
    assert np.allclose(score(numbers, rows), score(same, rows), atol=1e-5)


# Refusals


def test_what_cannot_be_erased_is_refused(made, shapes_unchecked):
    subject, rows = made["own"]
    block = BLOCKS["own"]
    with pytest.raises(DataError, match="no validation rows"):
        erase_concept(subject, rows.take(np.array([], dtype=int)), [], module=block)
    with pytest.raises(DataError, match="two or more are expected"):
        erase_concept(subject, rows, ["x"] * 8, module=block)
    with pytest.raises(DataError, match="nothing to erase"):
        erase_concept(subject, rows, np.ones(8), module=block)
    with pytest.raises(UsageError, match=r"one value per row \(8\)"):
        erase_concept(subject, rows, ["x", "y"], module=block)
    with pytest.raises(ModelError, match=r"did you mean 'encoder\.layers\.0'"):
        erase_concept(subject, rows, CONCEPT, module="encoder.layer.0")
    with pytest.raises(UsageError, match="ran 0 time"):
        erase_concept(subject, rows, CONCEPT, module="encoder.layers")
    with pytest.raises(UsageError, match="pool 'CLS' is not known"):
        erase_concept(subject, rows, CONCEPT, module=block, pool="CLS")
    with pytest.raises(UsageError, match="did you mean 'leace'"):
        erase_concept(subject, rows, CONCEPT, module=block, method="leac")
    bert, texts = made["bert"]
    with pytest.raises(ModelError, match="a tensor"):
        erase_concept(bert, texts, CONCEPT, module="bert")


def test_numbers_that_make_no_covariance_are_refused():
    x, z = drawn(0)
    with pytest.raises(DataError, match="not finite"):
        fit_eraser(np.where(np.arange(len(x))[:, None] == 3, np.nan, x), z)
    with pytest.raises(UsageError, match="of the same examples"):
        fit_eraser(x, z[:-1])
    with pytest.raises(DataError, match="1 rows"):
        fit_eraser(x[:1], z[:1])
