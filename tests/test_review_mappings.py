"""A review whose free mappings hold something else than was saved is refused where it is read, with the place."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clinometer.errors import DataError
from clinometer.review import to_json
from clinometer.review_mappings import check_mappings
from clinometer.saved_reviews import read_review
from reference.reviews import sample_review


@pytest.fixture(scope="module")
def text() -> str:
    return to_json(sample_review(rows=60, layers=1, heads=1))


def test_a_review_that_was_saved_passes(text: str, tmp_path: Path) -> None:
    check_mappings(sample_review(rows=60, layers=1, heads=1))
    (tmp_path / "review.json").write_text(text, encoding="utf-8")
    check_mappings(read_review(tmp_path))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda r: r["audit"]["verdicts"][0].pop("reason"), r"audit\.verdicts\[0\] lacks the key 'reason'"),
        (
            lambda r: r["audit"]["verdicts"][0].update(verdict="fine"),
            r"audit\.verdicts\[0\]\.verdict is 'fine'",
        ),
        (lambda r: r["audit"]["verdicts"][0].update(tolerance="much"), r"verdicts\[0\]\.tolerance is 'much'"),
        (lambda r: r["audit"]["plan"]["policy"].update(alpha=7), r"audit\.plan\.policy: alpha"),
        (lambda r: r["audit"]["plan"].update(metrics=[]), r"audit\.plan\.metrics is \[\]; an object"),
        (lambda r: r["attribution"].update(n="many"), r"attribution\.n is 'many'; int is expected"),
        (lambda r: r["attribution"].pop("n"), "attribution lacks the key 'n'"),
        (lambda r: r["attribution"].update(not_converged=3), r"attribution\.not_converged is 3; a list"),
        (lambda r: r["certificate"].update(layers=[1]), r"certificate\.layers is \[1\]; an object"),
        (lambda r: r["data"].update(groups={"race": {"a": "b"}}), r"data\.groups\.race\.a is 'b'; int"),
        (lambda r: r["model"].update(name=None), r"model\.name is None; str"),
        (lambda r: r.update(why=["a text"]), r"why\[0\] is 'a text'; an object"),
        (lambda r: r.update(mitigated={"question": {}}), "mitigated lacks the key 'sentences'"),
        (lambda r: r.update(feature_notes=[{"feature": "x"}]), r"feature_notes\[0\] lacks the key 'meaning'"),
    ],
)
def test_a_value_of_another_kind_is_refused(
    change: Callable[[dict[str, Any]], Any], says: str, text: str, tmp_path: Path
) -> None:
    held = json.loads(text)
    change(held)
    (tmp_path / "review.json").write_text(json.dumps(held), encoding="utf-8")
    with pytest.raises(DataError, match=rf"review\.json: .*{says}"):
        read_review(tmp_path)
