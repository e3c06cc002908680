"""Sentences of why and of a fix: in English those of the records to the letter, in another language none."""

import dataclasses
import re
from types import SimpleNamespace

import numpy as np
import pytest
from project_files import ROOT

from clinometer.visualizers import answer_sentences
from clinometer.visualizers.phrases import Phrases, english
from reference.answered import LAYERS, drawn_fix, drawn_gap, head_test, mediation

SAY = english()
OTHER = Phrases({key: f"⟦{text}⟧" for key, text in SAY.texts.items()})
GAP = drawn_gap().found
FIX = drawn_fix().found
ONE, TWO = (LAYERS[0], 0), (LAYERS[0], 1)


def with_tests(*tests, together=None, **more):
    """The gap with these tests in place of its own; all of them are followed."""
    made = mediation()
    verification = dataclasses.replace(made.verification, tests=tests, together=together, **more)
    paths = tuple(dataclasses.replace(made.paths[0], layer=layer, head=head) for layer, head in (ONE, TWO))
    return dataclasses.replace(
        GAP, mediation=dataclasses.replace(made, verification=verification, paths=paths)
    )


def unverified(**more):
    return dataclasses.replace(head_test((ONE,), -0.03, verified=False), **more)


NO_OTHERS = "there is no other set of as many heads to compare with"
GAPS = {
    "as drawn": GAP,
    "nothing verified": drawn_gap(verified=False).found,
    "no power": with_tests(unverified(detectable=None)),
    "no other sets": with_tests(unverified(random_rank=None, reason=NO_OTHERS)),
    "two reasons": with_tests(
        unverified(reason="an effect of 0.05 was asked for; other heads move the metric as far (0.2 of sets, at most 0.05)")
    ),
    "a reason of its own": with_tests(unverified(reason="nobody knows")),
    "counteracts": with_tests(head_test((ONE,), 0.1, verified=True)),
    "moves": with_tests(head_test((ONE,), -0.9, verified=True)),
    "both": with_tests(
        head_test((ONE,), -0.2, verified=True),
        head_test((TWO,), 0.1, verified=True),
        together=head_test((ONE, TWO), -0.1, verified=True),
        how="zero",
        confidence=0.9,
    ),
    "not finite": with_tests(unverified(removed=np.nan, detectable=np.inf), before=np.nan),
    "no ledger": dataclasses.replace(GAP, ledger=None, no_ledger="no word is frequent"),
    "no parts": dataclasses.replace(GAP, parts=None),
    "labels": dataclasses.replace(GAP, words="mean score of rows labelled negative: a minus everyone else"),
    "words of its own": dataclasses.replace(GAP, words="another gap"),
}  # fmt: skip


@pytest.mark.parametrize("found", GAPS.values(), ids=GAPS)
def test_in_english_they_are_those_of_the_record(found):
    lines, unsure = answer_sentences.of_a_gap(found, SAY)
    said = list(found.sentences)
    assert [line for line in said if "; not verified: " not in line] == lines
    assert [line for line in said if "; not verified: " in line] == unsure
    assert len(said) == len(set(said))


@pytest.mark.parametrize("found", GAPS.values(), ids=GAPS)
def test_in_another_language_each_is_a_phrase_of_it(found):
    theirs = [*found.sentences]
    for line in (one for part in answer_sentences.of_a_gap(found, OTHER) for one in part):
        assert line.startswith("⟦") and line.endswith("⟧") and line not in theirs


FIXES = {
    "as drawn": FIX,
    "nothing chosen": dataclasses.replace(
        FIX, choice=dataclasses.replace(FIX.choice, name="unmitigated"), again=None
    ),
    "nothing not made": dataclasses.replace(FIX, skipped={}),
    "beyond noise": dataclasses.replace(
        FIX,
        choice=dataclasses.replace(FIX.choice, rule=FIX.choice.rule.replace("in the estimate", "beyond noise")),
    ),
    "undefined": dataclasses.replace(
        FIX,
        judged_on=dataclasses.replace(
            FIX.judged_on,
            points=tuple(
                dataclasses.replace(one, gap=None, utility_change_low=None) for one in FIX.judged_on.points
            ),
        ),
    ),
    "somebody is worse": SimpleNamespace(
        **{name: getattr(FIX, name) for name in ("attribute", "gap", "utility", "judged_on", "choice", "fixes")},
        **{name: getattr(FIX, name) for name in ("skipped", "n_fit", "n_choose", "n_judge")},
        again=SimpleNamespace(worse_off=FIX.again.comparison.changes[3:5]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("found", FIXES.values(), ids=FIXES)
def test_of_a_fix_they_are_those_of_the_record_too(found):
    theirs = type(FIX).sentences.fget(found)
    assert answer_sentences.of_a_fix(found, SAY) == list(theirs)
    for line in answer_sentences.of_a_fix(found, OTHER):
        assert line.startswith("⟦") and line not in theirs


def test_a_rule_and_a_reason_are_said_in_the_page_s_language_where_the_page_knows_them():
    assert "⟦smallest gap in selection_rate by group" in answer_sentences.rule(FIX.choice.rule, OTHER)
    assert answer_sentences.rule("a rule of its own", OTHER) == "a rule of its own"
    two = "screening claims no direction; an effect of 0.1 was asked for"
    assert (
        answer_sentences.reason(two, OTHER)
        == "⟦screening claims no direction⟧; ⟦an effect of 0.1 was asked for⟧"
    )
    assert answer_sentences.reason("", OTHER) == "" and answer_sentences.part_name("mine", OTHER) == "mine"


def test_fields_keep_what_a_pattern_would_read():
    swapped = Phrases({**SAY.texts, "record.gap_in_mean_score": "{reference} | {group}"})
    keys = answer_sentences.GAPS
    assert swapped.resaid("mean score: a.* (b) minus {c}\n", keys) == "{c}\n | a.* (b)"
    assert swapped.resaid("mean score: a", keys) == "mean score: a"
    assert SAY.resaid("mean score: a minus b minus c", keys) == "mean score: a minus b minus c"


WRITTEN = {
    "bias/contrasts.py": ("record.gap_in_mean_score_of_positives", "record.gap_in_mean_score_of_negatives"),
    "bias/gap_contrast.py": ("record.gap_in_mean_score",),
    "interpret/audited.py": answer_sentences.METRICS,
    "bias/choosing.py": answer_sentences.RULES,
    "interpret/head_tests.py": answer_sentences.REASONS,
    "interpret/random_sets.py": answer_sentences.SETS,
    "interpret/ablation.py": answer_sentences.HOW,
}


@pytest.mark.parametrize("file", WRITTEN)
def test_what_the_records_say_is_what_the_phrases_know(file):
    """Where a record's words change, the phrase that knows them has to follow."""
    source = re.sub(r'"\s*\n?\s*(?:\+ \()?f?"', "", (ROOT / file).read_text(encoding="utf-8"))
    source = source.replace("{side}", "positive") + source.replace("{side}", "negative")
    for key in WRITTEN[file]:
        for part in re.split(r"\{\w+\}", SAY.texts[key]):
            assert part.strip(" ,:") in source, (key, part)
    known = {key for keys in WRITTEN.values() for key in keys}
    assert known == {key for key in SAY.texts if key.startswith("record.")}


def test_every_part_of_a_gap_has_a_phrase():
    assert list(answer_sentences.PARTS) == [part.name for part in GAP.parts.parts]
