"""What is withheld of a copy cannot be worked out from what is left; verdicts stay; nothing else changes."""

import dataclasses
import json

import numpy as np
import pytest

import clinometer.cli as cli
from clinometer.bias.audit import audit
from clinometer.bias.policy import GroupRule, Policy
from clinometer.errors import UsageError
from clinometer.evidence import from_columns
from clinometer.junit import junit
from clinometer.records import Audit, Review
from clinometer.review import to_json
from clinometer.saved_reviews import read_review
from clinometer.small_cells import ALL, without_small_cells
from clinometer.visualizers.card import card
from reference.reviews import sample_review


def audited(
    sizes: dict[str, int], *, positives: dict[str, int] | None = None, tolerance: bool = True
) -> Audit:
    """An audit of groups of these sizes, with so many positive labels."""
    groups = [name for name, n in sizes.items() for _ in range(n)]
    label = np.array([(i // 2) % 2 for i in range(len(groups))])
    for name, n in (positives or {}).items():
        places = [i for i, group in enumerate(groups) if group == name]
        label[places] = 0
        label[places[:n]] = 1
    columns = {
        "label": label,
        "prediction": [(i // 5) % 2 for i in range(len(groups))],
        "g": groups,
        "h": [("x", "y")[i % 2] for i in range(len(groups))],
    }
    evidence = from_columns(columns, label="label", prediction="prediction", groups=("g", "h"))
    rules = Policy(
        set_by="a test",
        tolerance={"selection_rate": 0.1} if tolerance else {},
        intersections=(("g", "h"),),
        groups={"g": GroupRule(), "h": GroupRule()},
    )
    return audit(evidence, rules)


def suppressed(made: Audit, attribute: str) -> set[str]:
    return {c.group for c in made.cells if c.attribute == attribute and c.status == "suppressed"}


def test_a_small_group_takes_the_smallest_other_with_it() -> None:
    made = audited({"a": 60, "b": 40, "c": 5})
    copy = without_small_cells(made, 10)
    assert suppressed(copy, "g") == {"b", "c"}, "c alone is the total less the others"
    assert suppressed(copy, "h") == set()
    assert suppressed(copy, "g & h") == {f"{g} & {h}" for g in "abc" for h in "xy"}
    for cell in copy.cells:
        if cell.status == "suppressed":
            assert (cell.n, cell.n_rows, cell.k, cell.estimate, cell.low, cell.high) == (
                0,
                0,
                None,
                None,
                None,
                None,
            )


def test_what_is_left_tells_no_withheld_size() -> None:
    """The law of the copy: of every attribute, what the total and the groups shown leave is of two groups or more."""
    for sizes in ({"a": 60, "b": 40, "c": 5}, {"a": 60, "b": 4, "c": 5}, {"a": 60, "b": 5}, {"a": 9, "b": 9}):
        made = without_small_cells(audited(sizes), 10)
        for attribute in ("g", "g & h"):
            cells = [c for c in made.cells if c.attribute == attribute and c.group != ALL]
            hidden = {c.group for c in cells if c.n_rows == 0}
            assert hidden and len(hidden) >= min(2, len({c.group for c in cells}))


def test_two_small_groups_hide_one_another_where_both_together_are_enough() -> None:
    made = audited({"a": 90, "b": 60, "c": 5, "d": 6})
    assert suppressed(without_small_cells(made, 10), "g") == {"c", "d"}
    assert suppressed(without_small_cells(made, 12), "g") == {"b", "c", "d"}, (
        "5 and 6 are 11: all but the rest"
    )


def test_a_denominator_of_its_own_hides_all_such_metrics_of_its_group() -> None:
    made = audited({"a": 60, "b": 40}, positives={"b": 3})
    copy = without_small_cells(made, 10)
    cells = {c.metric: c for c in copy.cells if c.attribute == "g" and c.group == "b"}
    assert cells["true_positive_rate"].status == cells["false_positive_rate"].status == "suppressed"
    assert cells["selection_rate"].n == 40 and cells["selection_rate"].status == "ok"
    assert cells["false_positive_rate"].n_rows == 40
    shown = {c.metric: c for c in copy.cells if c.attribute == "g" and c.group == "a"}
    assert shown["true_positive_rate"].status == "ok"


def test_pairs_summaries_and_notes_go_and_verdicts_stay() -> None:
    made = audited({"a": 60, "b": 40, "c": 5})
    copy = without_small_cells(made, 10)
    assert copy.verdict == made.verdict
    assert [(v["attribute"], v["verdict"]) for v in copy.verdicts] == [
        (v["attribute"], v["verdict"]) for v in made.verdicts
    ]
    for one in copy.findings:
        if one.attribute == "g":
            assert one.status == "suppressed" and one.estimate is None and one.n_group == one.n_reference == 0
    assert {s.attribute for s in copy.summaries} == {"h"} < {s.attribute for s in made.summaries}
    assert any("fewer than 10 rows are withheld" in note for note in copy.notes)
    assert [f for f in copy.findings if f.attribute == "h"] == [
        f for f in made.findings if f.attribute == "h"
    ]


def test_where_all_groups_are_large_nothing_changes_but_a_note() -> None:
    made = audited({"a": 200, "b": 160})
    copy = without_small_cells(made, 10)
    assert copy.cells == made.cells and copy.findings == made.findings
    assert copy.notes[-1].endswith("nothing is withheld.")


def test_the_copy_is_the_same_when_made_again() -> None:
    copy = without_small_cells(audited({"a": 60, "b": 40, "c": 5}), 10)
    assert without_small_cells(copy, 10).cells == copy.cells


def test_a_review_keeps_no_number_of_a_small_group() -> None:
    made = sample_review(rows=120, layers=1, heads=1)
    small = next(c for c in made.audit.cells if c.attribute == "race" and c.group == "hispan")
    assert 0 < small.n_rows < 20
    copy = without_small_cells(made, 20)
    assert "hispan" in suppressed(copy.audit, "race")
    assert all(one.attribute != "race" for one in copy.ledgers)
    assert copy.evidence is None and copy.why == () and copy.law is None
    assert isinstance(copy.slices, str) or copy.slices is None
    counts = {c.n_rows for c in copy.audit.cells if c.attribute == "race" and c.group == "hispan"}
    assert counts == {0}
    assert any("withheld in this copy" in limit for limit in copy.limits)
    for text in (card(copy), junit(copy.audit), to_json(copy)):
        assert f"{small.n_rows} rows of hispan" not in text


@pytest.mark.parametrize("fewer_than", [1, 0, -3])
def test_a_threshold_that_hides_nothing_is_refused(fewer_than: int) -> None:
    with pytest.raises(UsageError, match="2 or more is expected"):
        without_small_cells(audited({"a": 60, "b": 40}), fewer_than)


def test_the_commands(tmp_path, capsys) -> None:
    made: Review = dataclasses.replace(sample_review(rows=120, layers=1, heads=1), evidence=None)
    (tmp_path / "review").mkdir()
    (tmp_path / "review" / "review.json").write_text(to_json(made), encoding="utf-8")
    review = str(tmp_path / "review")
    assert cli.main(["report", review, "--format", "json", "--suppress-below", "20"]) == 2
    assert "--suppress-below needs another folder" in capsys.readouterr().err
    out = str(tmp_path / "shared")
    arguments = [
        "report",
        review,
        "--format",
        "json,md,junit",
        "--suppress-below",
        "20",
        "--out",
        out,
        "--json",
    ]
    assert cli.main(arguments) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"json", "md", "junit"}
    assert "hispan" in suppressed(read_review(tmp_path / "shared").audit, "race")
    assert "suppressed" in (tmp_path / "shared" / "card.md").read_text(encoding="utf-8")
    target = str(tmp_path / "card.md")
    assert cli.main(["card", review, "--out", target, "--suppress-below", "20"]) == 0
    assert "suppressed" in (tmp_path / "card.md").read_text(encoding="utf-8")


def table(path, sizes: dict[str, int]) -> str:
    """A CSV of decisions of groups of these sizes."""
    lines = ["label,prediction,score,g"]
    for name, n in sizes.items():
        lines += [f"{i // 2 % 2},{i // 5 % 2},{(i % 10) / 10},{name}" for i in range(n)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def test_an_audit_of_a_file_gives_out_no_small_group_in_any_form(tmp_path, capsys) -> None:
    file = table(tmp_path / "rows.csv", {"a": 60, "b": 50, "few": 7})
    asked = [
        "audit",
        file,
        "--label",
        "label",
        "--prediction",
        "prediction",
        "--score",
        "score",
        "--group",
        "g",
    ]
    asked += ["--tolerance", "selection_rate=0.1", "--set-by", "a test"]
    plain = cli.main([*asked, "--json"])
    whole = json.loads(capsys.readouterr().out)
    written = [
        "--out",
        str(tmp_path / "a.json"),
        "--junit",
        str(tmp_path / "a.xml"),
        "--figures",
        str(tmp_path / "f"),
    ]
    assert cli.main([*asked, *written, "--suppress-below", "10"]) == plain, "the verdict is the same"
    printed = capsys.readouterr().out
    made = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert made["verdict"] == whole["verdict"]
    sizes = {c["group"]: (c["n_rows"], c["status"]) for c in made["cells"] if c["metric"] == "selection_rate"}
    assert sizes["few"] == sizes["b"] == (0, "suppressed") and sizes["a"] == (60, "ok"), (
        "b would tell few's size"
    )
    told = {c["group"]: c["n_rows"] for c in whole["cells"] if c["metric"] == "selection_rate"}
    assert (told["few"], told["b"]) == (7, 50), "the control: without the flag both sizes are there"
    assert "suppressed" in printed and "status is 'suppressed'" in json.dumps(made["notes"])
    said = (tmp_path / "f" / "figures.md").read_text(encoding="utf-8")
    assert "not drawn beside --suppress-below" in said + printed
    assert "few: n = 7" not in said + printed and "(n = 7)" not in said + printed


def test_an_audit_withholds_nothing_of_a_published_rule_s_tables(tmp_path, capsys) -> None:
    file = table(tmp_path / "rows.csv", {"a": 60, "few": 7})
    asked = ["audit", file, "--prediction", "prediction", "--group", "g", "--preset", "four-fifths"]
    assert cli.main([*asked, "--suppress-below", "10"]) == 2
    assert "the tables of --preset name every group" in capsys.readouterr().err
