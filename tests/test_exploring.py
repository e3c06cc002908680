"""From models to scenes: sums hold, closings are gates, windows are maps, and what cannot be shown is refused."""

import dataclasses

import numpy as np
import pytest

import clinometer
from clinometer.bias.contrasts import mean_gap
from clinometer.bias.counterfactuals import swapped
from clinometer.bias.policy import Policy
from clinometer.errors import DataError, ModelError, UsageError
from clinometer.explored_gaps import asked_gap
from clinometer.explored_rows import chosen_rows, one_row, pool_of
from clinometer.exploring import explain, explore
from clinometer.interpret import affordable
from clinometer.interpret.chosen_examples import spread
from clinometer.interpret.example_scenes import examples_of, make_scenes
from clinometer.interpret.interventions import every_head, intervene
from clinometer.interpret.live_gates import LiveGates
from clinometer.interpret.models import score
from clinometer.interpret.scene_maps import block_means, block_size
from clinometer.interpret.tracing import trace
from clinometer.interpret.written_scenes import written_examples
from clinometer.records import Rows
from clinometer.scored_rows import evidence_of
from reference.model_folders import image_folder, labelled, speech_folder, text_folder, whisper_folder
from reference.sentences import bert_classifier, own_classifier, sentences, texts
from reference.subjects import applicants, fitted


@pytest.fixture(scope="module")
def people():
    rows = applicants(120)
    return fitted(rows, epochs=2), rows


@pytest.fixture(scope="module")
def reader():
    return bert_classifier(), sentences(40)


@pytest.fixture(scope="module")
def seen(people):
    subject, rows = people
    return make_scenes(
        examples_of(subject, rows.take(range(5)), ("approved", "denied")), baselines=(None, rows.take([7]))
    )


@pytest.fixture(scope="module")
def watched(people):
    subject, rows = people
    return explore(subject, rows, gap=("race", "black", "white", "selection_rate"), n=6)


def add_up(scene):
    total = scene.base_value + scene.scores.sum(axis=2) + scene.residual
    assert np.allclose(total, scene.value[:, None], atol=1e-9)


def test_scores_and_residual_are_the_way_from_the_baseline_to_the_value(seen, people):
    subject, rows = people
    for scene in seen.scenes:
        assert scene.scores.shape == (2, 2, 1 + len(rows.inputs))
        add_up(scene)
        assert np.abs(scene.residual).max() < 0.02
        assert (scene.scores[:, :, 0] == 0).all()  # [CLS] is no input
    assert np.allclose([s.value[0] for s in seen.scenes], score(subject, rows.take(range(5))), atol=1e-5)
    other = score(subject, rows.take([7]))[0]
    assert seen.scenes[0].base_value[0, 1] == pytest.approx(other, abs=1e-5)


def test_maps_are_the_models_and_a_x_da_adds_up_to_importance(seen, people):
    subject, rows = people
    for i, scene in enumerate(seen.scenes):
        made = trace(subject, rows.take([i]))
        for place, layer in enumerate(scene.layers):
            assert np.allclose(scene.attention[place], made.maps(layer)[0].numpy(), atol=1e-6)
        assert np.allclose(scene.contribution.sum(axis=(2, 3)), scene.importance[0], atol=1e-4)
        assert np.allclose(
            scene.importance[0], -scene.importance[1], atol=1e-4
        )  # two labels: opposite targets


def test_statistics_are_those_of_the_trace(seen, people):
    subject, rows = people
    one, scene = trace(subject, rows.take([2])), seen.scenes[2]
    frame = one.heads().set_index(["layer", "head"])
    for place, layer in enumerate(scene.layers):
        for head in range(scene.n_heads):
            assert scene.statistics["entropy"][place, head] == pytest.approx(
                frame.entropy[layer, head], abs=1e-5
            )
            assert scene.statistics["share on first"][place, head] == pytest.approx(
                frame["first"][layer, head], abs=1e-5
            )
    pooled = [name for name in scene.statistics if name.startswith("role: ")]
    for name in pooled:
        assert set(np.unique(scene.statistics[name])) <= {0.0, 1.0}
        assert all((other.statistics[name] == scene.statistics[name]).all() for other in seen.scenes)


def test_facts_are_of_the_subject_whatever_the_targets_are(people):
    subject, rows = people
    plain, turned = (
        make_scenes(examples_of(subject, rows.take(range(12)), targets)).scenes
        for targets in (None, ("denied",))
    )
    approved = score(subject, rows.take(range(12))) > 0
    for i, (one, other) in enumerate(zip(plain, turned, strict=True)):
        assert one.facts == other.facts and one.wrong == other.wrong
        assert one.facts["prediction"] == ("approved" if approved[i] else "denied")
        assert one.wrong == (bool(rows.labels[i]) != approved[i])
        assert one.facts["race"] == rows.groups["race"][i] and one.facts["sex"] == rows.groups["sex"][i]
        assert other.value[0] == pytest.approx(-one.value[0], abs=1e-5)
    unlabelled = dataclasses.replace(rows.take([0]), labels=None)
    assert make_scenes(examples_of(subject, unlabelled)).scenes[0].wrong is None


@pytest.mark.parametrize("n_words", [7, 150])
def test_windows_on_demand_are_the_maps(n_words):
    rows = texts(*[" ".join((["the", "film", "was", "lovely"] * n_words)[:n_words])] * 2)
    subject = own_classifier(sentences(20), epochs=0)
    whole, parts = (make_scenes(examples_of(subject, rows), max_memory=m).scenes for m in (2**29, 0))
    for one, other in zip(whole, parts, strict=True):
        assert other.attention is None and other.contribution is None and one.detail is None
        n = len(one.tokens)
        for window in ((0, n, 0, n), (1, 3, 2, 5), (n - 1, n, 0, 1)):
            found = other.detail(1, 1, *window)
            rows_, keys = slice(*window[:2]), slice(*window[2:])
            assert np.allclose(found[0], one.attention[1, 1, rows_, keys], atol=1e-6)
            assert np.allclose(found[1], one.contribution[1, 1, rows_, keys], atol=1e-6)
        assert np.allclose(other.overview, block_means(one.attention), atol=1e-6)
        assert other.overview.shape[2] == -(-n // block_size(n)) <= 64
        assert np.allclose(other.importance, one.importance)
        with pytest.raises(UsageError, match="key"):
            other.detail(0, 0, 0, 1, 0, n + 1)


def test_block_means_are_means_of_blocks():
    maps = np.random.default_rng(0).random((3, 130, 70))
    found = block_means(maps)
    assert found.shape == (3, 44, 35)
    for block in (0, 20, 43):
        for key in (0, 34):
            part = maps[:, block * 3 : block * 3 + 3, key * 2 : key * 2 + 2]
            assert np.allclose(found[:, block, key], part.mean(axis=(1, 2)))


def test_closing_a_head_is_its_gate_at_zero(watched, people):
    subject, rows = people
    scene = watched.scenes[0]
    assert scene.closings.shape == scene.importance[0].shape
    at = [rows.ids.index(scene.id)]
    twin = intervene(subject, rows.take(at), list(every_head(subject, rows).values()))[:, 0]
    assert np.allclose(scene.closings.ravel(), twin, atol=1e-5)
    for layer in range(len(scene.layers)):
        for head in range(scene.n_heads):
            run = watched.runs(scene.id, {(layer, head): 0.0})
            assert run.value[0] == pytest.approx(scene.closings[layer, head], abs=1e-5)
            assert run.gap == pytest.approx(watched.gap.closings[layer, head], abs=1e-9)


def test_open_gates_change_nothing(watched):
    for scene in watched.scenes:
        for factors in ({}, {(0, 0): 1.0}):
            run = watched.runs(scene.id, factors)
            assert run.id == scene.id
            assert np.allclose(run.value, scene.value, atol=1e-5)
            assert run.gap == pytest.approx(watched.gap.estimate)


def test_half_a_gate_is_between_in_a_linear_part(people):
    """The first-order effect is the derivative: the middle of two near gates has its slope."""
    subject, rows = people
    made = make_scenes(examples_of(subject, rows.take([3])))
    live, scene = LiveGates(made.scenes, made.examples), made.scenes[0]
    near = [live(scene.id, {(1, 0): factor}).value[0] for factor in (0.97, 1.03)]
    assert (near[1] - near[0]) / 0.06 == pytest.approx(scene.importance[0, 1, 0], rel=0.05, abs=2e-3)


def test_the_gap_is_the_audited_one_and_its_shares_are_its_derivatives(watched, people):
    subject, rows = people
    approved = score(subject, rows) > subject.threshold
    race = np.array(rows.groups["race"])
    expected = approved[race == "black"].mean() - approved[race == "white"].mean()
    gap = watched.gap
    assert gap.estimate == pytest.approx(expected)
    assert gap.low <= gap.estimate <= gap.high
    assert gap.n == int(np.isin(race, ["black", "white"]).sum())
    assert gap.words == "selection rate, black minus white"
    contrast = mean_gap(evidence_of(subject, rows, score(subject, rows)), "race", "black", "white").contrast
    per_row = clinometer.head_effects(subject, rows).contribution
    assert np.allclose(gap.shares, np.tensordot(contrast.weights, per_row, axes=1), atol=1e-4)


@pytest.mark.parametrize("metric", ["mean_score", "true_positive_rate", "false_positive_rate"])
def test_other_gaps_are_of_their_rows(people, metric):
    subject, rows = people
    made = explore(subject, rows, gap=("sex", "female", None, metric), n=2, closings=False)
    values = score(subject, rows)
    known = np.array([sex is not None for sex in rows.groups["sex"]])
    women = np.array([sex == "female" for sex in rows.groups["sex"]])
    if metric != "mean_score":
        known &= np.asarray(rows.labels) == (metric == "true_positive_rate")
        values = (values > subject.threshold).astype(float)
    expected = values[known & women].mean() - values[known & ~women].mean()
    assert made.gap.estimate == pytest.approx(expected)
    assert made.gap.n == known.sum()
    assert made.gap.closings is None and made.scenes[0].closings is None


def test_a_contrast_is_watched_on_fewer_rows_and_says_so(people):
    subject, rows = people
    whole = mean_gap(evidence_of(subject, rows, score(subject, rows)), "race", "black", "white")
    pool = pool_of(subject, rows, 50, whole, 0)
    asked = asked_gap(subject, pool, len(rows), whole, 0)
    assert len(pool) == 50 and "50 of 120 rows drawn with seed 0" in asked.words
    values, race = score(subject, pool), np.array(pool.groups["race"])
    expected = values[race == "black"].mean() - values[race == "white"].mean()
    assert asked.contrast.gap(values) == pytest.approx(expected)
    assert asked.metric.values(values, np.ones((1, 50)))[0] == pytest.approx(expected)


def test_the_largest_gap_of_a_policy_is_watched(people):
    subject, rows = people
    policy = Policy(tolerance={"selection_rate": 0.1}, set_by="a test")
    made = explore(subject, rows, policy=policy, n=2, closings=False)
    audit = clinometer.audit(evidence_of(subject, rows, score(subject, rows)), policy)
    most = max(
        (f for f in audit.findings if f.metric == "selection_rate"), key=lambda one: abs(one.estimate or 0.0)
    )
    assert made.gap.estimate == pytest.approx(most.estimate)
    assert made.gap.words == f"selection rate, {most.group} minus {most.reference}"


def test_examples_are_spread_over_groups_and_errors():
    kinds = ["common"] * 90 + ["rare"] * 3 + ["some"] * 7
    taken = spread(kinds, 12, seed=1)
    assert [sum(kinds[i] == kind for i in taken) for kind in ("common", "rare", "some")] == [5, 3, 4]
    assert taken.tolist() == sorted(taken.tolist()) == spread(kinds, 12, seed=1).tolist()
    assert taken.tolist() != spread(kinds, 12, seed=2).tolist()
    assert spread(kinds, 500).tolist() == list(range(100))


def test_the_title_says_what_was_drawn(people):
    subject, rows = people
    made = explore(subject, rows, n=4, closings=False)
    assert made.title.startswith(
        "planted: 4 of 120 examples, drawn with seed 0, spread over groups and errors"
    )
    assert [s.id for s in made.scenes] == [s.id for s in explore(subject, rows, n=4, closings=False).scenes]
    named = explore(subject, rows, ids=("a0011", "a0003"), closings=False)
    assert [scene.id for scene in named.scenes] == ["a0011", "a0003"]
    assert explore(subject, rows.take(range(3)), closings=False).title == "planted: all 3 examples"


def test_what_is_affordable_is_counted(people, monkeypatch):
    subject, rows = people
    monkeypatch.setattr(affordable, "CLOSINGS", 0.0)
    made = explore(subject, rows, n=2, gap=("race", "black", "white", "mean_score"))
    assert made.scenes[0].closings is None and made.gap.closings is None
    assert "heads not closed one by one" in made.title and "the gap not with each head closed" in made.title
    forced = explore(subject, rows, n=2, closings=True)
    assert forced.scenes[0].closings is not None
    few = affordable.operations(subject, rows.take([0]))
    assert affordable.operations(subject, rows.take(range(10))) == pytest.approx(10 * few)
    monkeypatch.setattr(affordable, "LIVE", 0.0)
    assert affordable.rows_of_a_gap(subject, rows) == affordable.FEWEST


def test_one_example_is_explained_by_itself(people, reader):
    subject, rows = people
    features = {name: column[4] for name, column in rows.inputs.items()}
    made = explain(subject, features)
    (scene,) = made.scenes
    assert scene.value[0] == pytest.approx(score(subject, rows.take([4]))[0], abs=1e-5)
    assert scene.values[1:] == tuple(
        "missing" if value != value else value if isinstance(value, str) else f"{value:.6g}"
        for value in features.values()
    )
    assert scene.closings is not None
    (scene,) = explain(reader[0], "the lovely film was dull").scenes
    assert scene.tokens == ("[CLS]", "the", "lovely", "film", "was", "dull", "[SEP]")
    assert scene.words == (-1, 1, 2, 3, 4, 5, -1)


def test_pieces_of_words_are_readable(tmp_path):
    subject = clinometer.load(text_folder(tmp_path, "BertForSequenceClassification", **labelled("no", "yes")))
    (scene,) = make_scenes(examples_of(subject, texts("a Greatest film, a mañana"))).scenes
    assert scene.tokens[1:7] == (
        "a",
        "[UNK]",
        "film",
        ",",
        "a",
        "[UNK]",
    )  # cased words are unknown to this one
    (scene,) = make_scenes(examples_of(subject, texts("the greatest film"))).scenes
    assert scene.tokens == ("[CLS]", "the", "great", "e", "s", "t", "film", "[SEP]")
    assert scene.words == (-1, 1, 2, 2, 2, 2, 3, -1)


def test_two_models_are_shown_on_the_same_examples(reader):
    one, rows = reader
    other = dataclasses.replace(bert_classifier(seed=1), name="the other")
    made = explore(one, rows, n=3, against=other, closings=False)
    assert [scene.id for scene in made.others] == [scene.id for scene in made.scenes]
    assert made.names == ("tiny-bert", "the other")
    assert np.allclose(
        [scene.value[0] for scene in made.others],
        score(other, rows.take([rows.ids.index(scene.id) for scene in made.scenes])),
        atol=1e-5,
    )


def test_pairs_that_flip_come_first(reader):
    lines = [
        "the actor was good",
        "a film with one actor",
        "one dull actor and a scene",
        "the scene was dull",
        "a bad actor",
    ]
    pairs = swapped(texts(*lines), "gender")
    before, after = score(reader[0], pairs.originals), score(reader[0], pairs.rows)
    shift = np.abs(after - before)
    assert len(pairs) == 4 and len(np.unique(shift.round(6))) == 4 and shift.min() > 0
    least = int(
        shift.argmin()
    )  # the threshold lies within the pair that moves least, and so in that pair at least
    subject = dataclasses.replace(reader[0], threshold=float(before[least] + after[least]) / 2)
    flips = (before > subject.threshold) != (after > subject.threshold)
    assert flips[least] and not flips.all()
    made = explore(subject, pairs=pairs, n=6, closings=False)
    order = sorted(range(4), key=lambda i: (not flips[i], -shift[i]))[:3]
    wanted = [name for i in order for name in (pairs.originals.ids[i], pairs.rows.ids[i])]
    assert [scene.id for scene in made.scenes] == wanted
    assert [scene.partner for scene in made.scenes] == [
        name for i in order for name in (pairs.rows.ids[i], pairs.originals.ids[i])
    ]
    assert f"3 of 4 swapped pairs, those whose decision flips first ({flips.sum()} of all do)" in made.title
    one = explore(subject, pairs=pairs, ids=(pairs.rows.ids[1],), closings=False)
    assert {scene.id for scene in one.scenes} == {pairs.originals.ids[1], pairs.rows.ids[1]}
    with pytest.raises(UsageError, match="no pair has the id"):
        explore(subject, pairs=pairs, ids=("t3",))


def test_each_generated_token_is_an_example_of_its_own(tmp_path):
    subject = clinometer.load(text_folder(tmp_path, "GPT2LMHeadModel"))
    rows = texts("is it good?")
    made = explore(subject, rows, generate=3)
    steps = clinometer.trace_generation(subject, rows, max_new_tokens=3)
    assert [scene.facts["writes"] for scene in made.scenes] == list(steps.tokens[0])
    for i, scene in enumerate(made.scenes):
        assert scene.value[0] == pytest.approx(steps.log_probabilities[0][i], abs=1e-4)
        add_up(scene)
        assert len(scene.tokens) == len(steps.prompts[0]) + i
        for place, layer in enumerate(scene.layers):
            row = scene.attention[place, 0, -1]
            assert np.allclose(row, steps.attention(layer, 0)[i, : len(row)], atol=1e-5)
        assert made.runs(scene.id, {}).value[0] == pytest.approx(scene.value[0], abs=1e-5)
    attributed = clinometer.attribute_generation(subject, rows, max_new_tokens=3)
    for scene, one in zip(made.scenes, attributed, strict=True):
        assert np.allclose(scene.scores[0, 0], one.scores[0, : len(scene.tokens)], atol=1e-5)


def test_a_decoders_tokens_look_at_an_encoders(tmp_path):
    subject = clinometer.load(text_folder(tmp_path, "T5ForConditionalGeneration"))
    made = explore(subject, texts("is it good?"), generate=2)
    last = made.scenes[-1]
    assert last.attends == "cross" and len(last.queries) == 2 and last.tokens[-1] == "</s>"
    assert last.attention.shape[2:] == (2, len(last.tokens))
    assert "4 attention calls of other tokens not shown" in made.title
    inside = explore(subject, texts("is it good?"), attends="self")
    assert inside.scenes[0].attends == "self" and inside.scenes[0].queries == inside.scenes[0].tokens
    assert all("encoder" in layer for layer in inside.scenes[0].layers)


def test_an_image_is_patches_over_a_picture(tmp_path):
    import io

    image = pytest.importorskip("PIL.Image")
    subject = clinometer.load(image_folder(tmp_path))
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    (scene,) = explain(subject, pixels).scenes
    assert scene.kind == "image" and len(scene.picture.boxes) == len(scene.tokens) == 7
    assert (scene.picture.boxes[0] == 0).all()
    assert np.allclose(scene.picture.boxes[5], (1 / 3, 1 / 2, 2 / 3, 1))  # row 1, column 1
    read = np.asarray(image.open(io.BytesIO(scene.picture.png)))
    given = subject.encode(one_row(subject, pixels))["pixel_values"][0].numpy().transpose(1, 2, 0)
    stretched = 255 * (given - given.min()) / (given.max() - given.min())
    assert read.shape == (12, 18, 3) and np.abs(read - stretched).max() <= 0.5 + 1e-3
    add_up(scene)


def line(n=3, *, seed=0):
    """A sensor line: our Transformer over windows of two channels, untrained."""
    import torch

    from clinometer.interpret.models import ours
    from clinometer.interpret.preprocessing import SeriesPreprocessor
    from clinometer.interpret.transformer import Architecture, Classifier

    series = np.random.default_rng(seed).normal(size=(n, 20, 2))
    rows = Rows(ids=tuple(f"m{i}" for i in range(n)), inputs={"series": series})
    prepared = SeriesPreprocessor.fit(rows.inputs, channels=("force", "heat"), patch=6, stride=4)
    torch.manual_seed(seed)
    model = Classifier(
        Architecture(kind="series", width=16, layers=2, heads=2, feed_forward=32, **prepared.shape())
    )
    return ours(model, prepared, labels=("fine", "alarm"), name="line"), rows


def test_a_series_is_windows_over_a_curve():
    subject, rows = line()
    made = explore(subject, rows, channels=("force", "heat"))
    scene = made.scenes[1]
    assert scene.kind == "series" and scene.picture.channels == ("force", "heat")
    assert np.array_equal(scene.picture.series, rows.inputs["series"][1])
    assert scene.tokens == ("[CLS]", "t0-5", "t4-9", "t8-13", "t12-17")
    assert np.allclose(scene.picture.boxes[2], (4 / 20, 0, 10 / 20, 1))
    (alone,) = explain(subject, rows.inputs["series"][1]).scenes
    assert alone.value[0] == pytest.approx(scene.value[0], abs=1e-5)
    assert alone.picture.channels == ("channel 0", "channel 1")
    with pytest.raises(UsageError, match="1 channels are named"):
        explore(subject, rows, channels=("force",))


def test_recordings_are_curves_or_spectrograms(tmp_path):
    wave = np.random.default_rng(0).normal(size=800).astype(np.float32)
    heard = clinometer.load(speech_folder(tmp_path / "a"))
    (scene,) = explain(heard, wave).scenes
    assert scene.kind == "series" and scene.picture.series.shape == (800, 1)
    assert len(scene.picture.boxes) == len(scene.tokens)
    add_up(scene)
    written = clinometer.load(whisper_folder(tmp_path / "b"))
    (scene,) = explain(written, wave, attends="self").scenes
    assert scene.kind == "image" and scene.picture.png.startswith(b"\x89PNG")
    add_up(scene)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"ids": ("a000",)}, UsageError, "did you mean"),
        ({"ids": ()}, UsageError, "several are expected"),
        ({"ids": "a0001"}, UsageError, "several are expected"),
        ({"n": 0}, UsageError, "1 example or more"),
        ({"targets": ("approve",)}, UsageError, "did you mean 'approved'"),
        ({"targets": ("approved", "probability")}, UsageError, "one for all"),
        ({"baselines": ()}, UsageError, "several are expected"),
        ({"baselines": ("mask",)}, UsageError, "no mask token"),
        ({"method": "attention rollout"}, UsageError, "add up to nothing"),
        ({"gap": ("races", "black", "white", "selection_rate")}, UsageError, "did you mean 'race'"),
        ({"gap": ("race", "black", "white", "accuracy")}, UsageError, "the metric is"),
        ({"gap": ("race", "purple", "white", "selection_rate")}, DataError, "purple"),
        ({"gap_rows": 1}, UsageError, "2 rows or more"),
        ({"closings": "always"}, UsageError, "True, False or 'auto'"),
        ({"attends": "cross"}, ModelError, "no call of cross-attention"),
        ({"max_memory": "much"}, UsageError, "much"),
        ({"generate": 2}, ModelError, "cannot name the tokens"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_refusals(people, options, error, message):
    subject, rows = people
    with pytest.raises(error, match=message):
        explore(subject, rows, **options)


def test_refusals_of_what_is_given(people, reader):
    subject, rows = people
    with pytest.raises(UsageError, match="no rows"):
        explore(subject)
    with pytest.raises(DataError, match="no rows"):
        explore(subject, rows.take([]))
    with pytest.raises(UsageError, match=r"reads .*'income'.*a text is given"):
        explain(subject, "rich")
    with pytest.raises(UsageError, match="an array is given"):
        explain(subject, np.zeros(3))
    with pytest.raises(UsageError, match="also reads"):
        explain(subject, {"income": 1.0})
    with pytest.raises(UsageError, match="did you mean 'debt'"):
        explain(subject, {"income": 1.0, "debts": 1.0, "noise": 0.0, "home": "own"})
    with pytest.raises(DataError, match="'text'"):
        explore(reader[0], rows)
    made = make_scenes(examples_of(subject, rows.take([0])))
    live = LiveGates(made.scenes, made.examples)
    with pytest.raises(UsageError, match="no example"):
        live("a9999", {})
    with pytest.raises(UsageError, match="no head"):
        live("a0000", {(2, 0): 0.0})


def test_refusals_of_generation(tmp_path, reader):
    subject = clinometer.load(text_folder(tmp_path, "GPT2LMHeadModel"))
    rows = texts("is it good?")
    with pytest.raises(UsageError, match="leave out targets"):
        explore(subject, rows, generate=1, targets=("probability",))
    with pytest.raises(UsageError, match="write different texts"):
        explore(subject, rows, generate=1, against=subject)
    with pytest.raises(ModelError):
        written_examples(reader[0], rows)


def test_rows_are_chosen_without_being_shown_twice(people):
    subject, rows = people
    chosen, partners, words = chosen_rows(subject, rows, rows, None, 10, None, None, 3)
    assert len(set(chosen.ids)) == 10 and partners == {} and "seed 3" in words


def test_rows_of_one_cluster_are_drawn_together(people):
    """Every row twice, a cluster each: the interval is that of the rows by themselves, not of twice as many."""
    subject, rows = people
    twice = Rows(
        ids=(*rows.ids, *(f"{name} again" for name in rows.ids)),
        inputs={name: np.concatenate([column, column]) for name, column in rows.inputs.items()},
        labels=np.concatenate([rows.labels, rows.labels]),
        groups={name: (*values, *values) for name, values in rows.groups.items()},
    )
    asked = {"gap": ("race", "black", "white", "mean_score"), "n": 1, "closings": False}
    known = explore(subject, twice, cluster=(*rows.ids, *rows.ids), **asked).gap
    naive = explore(subject, twice, **asked).gap
    once = explore(subject, rows, **asked).gap
    assert known.estimate == pytest.approx(naive.estimate) == pytest.approx(once.estimate)
    widths = [one.high - one.low for one in (known, naive, once)]
    assert widths[0] == pytest.approx(widths[2], rel=0.1)
    assert widths[0] > 1.25 * widths[1]
    with pytest.raises(UsageError, match="one name per row"):
        explore(subject, rows, cluster=("a",), **asked)
