"""The model card: front matter that the Hub's reader takes, names that are only names, the record's numbers."""

import dataclasses
import re
import types

import huggingface_hub
import pytest
import yaml as reader

from clinometer.records import Review
from clinometer.visualizers import card as cards
from clinometer.visualizers.card import card, name, said
from clinometer.visualizers.front_matter import eval_results, metadata, shown_metrics, yaml
from clinometer.visualizers.wording import interval, signed
from reference.reviews import sample_review

HOSTILE = (
    "<script>alert(1)</script>",
    "a | b",
    "`code`",
    "**bold** _x_ ~~y~~",
    "[text](javascript:alert(1))",
    "![i](http://x.example/a.png)",
    "https://x.example www.x.example",
    "@someone #12",
    "$x_1$ and \\frac{a}{b}",
    "line\nbreak\r\n# heading",
    "\x1b[2J\x00\x7f",
    "{{ 7 * 7 }} {% raw %}",
    "&lt;b&gt;",
    "سجل الائتمان",
    "信用 🏠",
    "‮gnp.exe",
)


@pytest.fixture(scope="module")
def review() -> Review:
    return sample_review(rows=300, layers=1, heads=1)


@pytest.fixture(scope="module")
def hostile() -> Review:
    return sample_review(rows=300, layers=1, heads=1, hostile=True)


# Front matter


@pytest.mark.parametrize("which", ["review", "hostile"])
def test_the_hubs_reader_takes_the_card(which, request):
    made = request.getfixturevalue(which)
    read = huggingface_hub.ModelCard(card(made))
    assert read.data.tags == ["clinometer", "bias-audit"]
    assert read.data.model_name == "sample"
    cells = {(c.attribute, c.group, c.metric): c for c in made.audit.cells}
    results = read.data.eval_results
    assert len(results) > 20
    for one in results:
        attribute, _, group = one.dataset_config.partition(": ")
        if one.dataset_config == "everybody":
            attribute, group = "race", "(all)"
        cell = cells[attribute, group, one.metric_type]
        assert one.metric_value == cell.estimate
        assert one.metric_args["n"] == cell.n and one.metric_args["low"] == cell.low
        assert one.metric_args["status"] == "ok" and one.metric_args["confidence"] == 0.95
        assert one.dataset_args == {"rows_sha256": "ab" * 32}
    assert "## Bias, Risks and Limitations" in read.text


def test_a_card_saved_by_the_hubs_library_reads_the_same(review, tmp_path):
    read = huggingface_hub.ModelCard(card(review))
    read.save(tmp_path / "README.md")
    again = huggingface_hub.ModelCard.load(tmp_path / "README.md")
    assert again.data.to_dict() == read.data.to_dict()
    assert again.text == read.text


def test_groups_without_a_value_are_not_in_the_index_and_are_in_the_table():
    review = sample_review(rows=60, layers=1, heads=1)
    small = [c for c in review.audit.cells if c.status != "ok" and c.metric in shown_metrics(review.audit)]
    assert small, "the sample has such a group"
    configurations = {r["dataset"]["config"] for r in metadata(review)["model-index"][0]["results"]}
    only_small = {f"{c.attribute}: {c.group}" for c in small} - {
        f"{c.attribute}: {c.group}" for c in review.audit.cells if c.status == "ok"
    }
    assert not only_small & configurations
    assert any(
        f"| {name(c.group)} |" in line and c.status in line
        for c in small
        for line in card(review).splitlines()
    )


@pytest.mark.parametrize(
    "text", [*HOSTILE, "no", "n", "1.0", "null", "- a: b", '"', "\\", "\x85\u2028\ufeff", "~", ""]
)
def test_any_text_is_a_yaml_string_that_reads_back(text):
    value = {"key": [text, {"key": text}], text or "empty": 1}
    assert reader.safe_load(yaml(value)) == value


def test_numbers_and_nothing_read_back():
    value = {
        "list": [1, 1.5, 1e-7, 1e22, -0.0, True, None, [], {}],
        "next": [[1, 2], [{"abcd": 1, "n": 2}]],
        "n": 3,
        "1": "one",
    }
    assert reader.safe_load(yaml(value)) == value
    assert reader.safe_load(yaml({"value": float("nan")})) == {"value": None}
    assert reader.safe_load(yaml({"half": "\ud800"})) == {"half": "\\ud800"}


def test_eval_results_are_the_hubs_entries(review):
    made = eval_results(review, "owner/name", "test", "abc")
    entries = huggingface_hub.parse_eval_result_entries(reader.safe_load(yaml(made)))
    assert [entry.value for entry in entries] == [
        next(c.estimate for c in review.audit.cells if c.metric == metric and c.group == "(all)")
        for metric in dict.fromkeys(c.metric for c in review.audit.cells)
        if metric in shown_metrics(review.audit)
    ]
    assert {(e.dataset_id, e.task_id, e.dataset_revision) for e in entries} == {("owner/name", "test", "abc")}
    assert entries[0].date == review.created and "n = 300, interval [" in entries[0].notes
    assert huggingface_hub.eval_result_entries_to_yaml(entries) == made


def test_which_metrics_are_shown():
    assert sorted(shown_metrics(sample_review(rows=60).audit)) == [
        "accuracy",
        "selection_rate",
        "true_positive_rate",
    ]
    assert set(shown_metrics(sample_review(rows=60, tolerance=False).audit)) >= {"accuracy", "selection_rate"}


# Body


def body(made):
    return card(made).split("\n---\n", 1)[1]


def test_every_gap_shown_has_its_interval_n_and_verdict(review):
    lines = body(review).splitlines()
    pairs = [f for f in review.audit.findings if f.attribute in {"race", "sex"} and f.tolerance is not None]
    for f in pairs:
        line = next(
            line
            for line in lines
            if f"| {name(f.metric)} | {f.attribute} | {f.group} − {f.reference} |" in line
        )
        for part in (
            signed(f.estimate),
            interval(f.low, f.high, sign=True),
            f"{f.n_group}, {f.n_reference}",
            f.verdict,
        ):
            assert part in line
    left = sum(max(0, len(v) - cards.MOST_PAIRS) for v in by_set(review).values())
    assert f"{left} more gated pairs are in the report" in body(review)


def by_set(review):
    sets = {}
    for f in review.audit.findings:
        if f.tolerance is not None:
            sets.setdefault((f.attribute, f.metric), []).append(f)
    return sets


def test_pairs_that_decide_come_before_wide_ones(review):
    shown, _ = cards._findings(review.audit, shown_metrics(review.audit))
    for key in by_set(review):
        verdicts = [f.verdict for f in shown if (f.attribute, f.metric) == key]
        order = ["exceeds tolerance", "not assessed", "inconclusive", "within tolerance"]
        assert verdicts == sorted(verdicts, key=order.index) and 1 <= len(verdicts) <= cards.MOST_PAIRS


def test_a_table_row_has_as_many_cells_as_its_head(hostile):
    """A name with a bar in it must not be a border."""
    made = dataclasses.replace(hostile, title="a | b", model={**hostile.model, "name": "a | b\n| c"})
    text = body(made)
    assert text.startswith("\n# Model card of a \\| b \\| c\n")
    rows = re.findall(r"(?:^\|.*\|\n)+", text, flags=re.MULTILINE)
    assert len(rows) == 3
    for table in rows:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1


@pytest.mark.parametrize("text", HOSTILE, ids=[f"hostile{i}" for i in range(len(HOSTILE))])
def test_a_name_is_a_name(text):
    written = name(text, 200)
    assert "\n" not in written and "\x1b" not in written and "\u202e" not in written
    for sign in "<>$@":
        assert sign not in written
    for sign in "|`*[]#!~_{}":
        assert not re.search(rf"(?<!\\){re.escape(sign)}", re.sub(r"&#?\w+;", "", written))
    assert "://" not in written and "www." not in written.lower()


def test_a_name_keeps_what_shapes_its_script():
    assert name("می\u200cخواهم") == "می\u200cخواهم"
    assert name("👩\u200d🔬") == "👩\u200d🔬"


def test_hostile_names_are_in_no_markup(hostile):
    text = body(hostile)
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "n" * 200 not in text, "long names are shortened"


def test_a_review_without_gates_gives_no_verdict():
    made = sample_review(rows=60, tolerance=False, layers=1, heads=1)
    text = body(made)
    assert "No tolerance declared**: nothing is gated" in text
    assert "within tolerance" not in text and "exceeds" not in text.split("### Limits")[0]


def test_a_bare_review_has_a_card():
    made = sample_review(rows=60, layers=1, heads=1)
    bare = dataclasses.replace(
        made,
        audit=dataclasses.replace(made.audit, cells=(), findings=(), verdicts=(), verdict=None, plan={}),
        measures=None,
        ledgers=(),
        model={},
        data={},
        limits=(),
    )
    text = card(bare)
    assert "No two groups were compared" in text and "model-index" not in text
    assert huggingface_hub.ModelCard(text).data.tags == ["clinometer", "bias-audit"]


def test_answers_are_told_in_their_own_sentences(review):
    """As records of a review that was just made, and as objects of one that was read."""
    answer = types.SimpleNamespace(sentences=("The gap is +0.1.", "L0.H1 | <b> carries"))
    asked = dataclasses.replace(review, why=(answer,), mitigated={"sentences": ["No fix was better."]})
    text = body(asked)
    assert "- The gap is +0.1.\n- L0.H1 \\| &lt;b&gt; carries\n" in text
    assert "### The fix that was tried\n\n- No fix was better.\n" in text
    assert "### Why" not in body(review) and "### The fix" not in body(review)


def test_generated_words_claim_nothing(review):
    words = body(review).lower()
    for word in ("fair", "unbiased", "because", " biased"):
        assert word not in words


def test_facts_in_words():
    assert said([1234, 0.25, True, "a_b"]) == "1,234, 0.25, yes, a b"
