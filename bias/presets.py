"""Ready rules, and what each of them decides, with its source."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .policy import GroupRule, Policy, parse_policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A published rule: where it is written, what it computes, and what it leaves open."""

    name: str
    title: str
    source: str
    needs: tuple[Literal["prediction", "score", "label", "groups", "tolerance"], ...]
    decides: str
    does_not_decide: str
    function: str  # where it is, inside the package


PRESETS: tuple[Preset, ...] = (
    Preset(
        name="local-law-144",
        title="New York City's bias audit of hiring tools",
        source="Local Law 144 of 2021; Rules of the City of New York, title 6, sections 5-300 to 5-304",
        needs=("prediction", "groups"),  # or a score in place of the prediction
        decides="nothing: it has selection or scoring rates and impact ratios computed and published",
        does_not_decide="whether a ratio is acceptable: the law names no ratio that passes; nor whether chance explains it",
        function="bias.local_law_144.local_law_144",
    ),
    Preset(
        name="four-fifths",
        title="The four-fifths rule of the Uniform Guidelines",
        source="29 CFR 1607.4(D); Questions and Answers 11 and 21 of the agencies",
        needs=("prediction", "groups"),
        decides="whether a group's selection rate is below four fifths of the highest one",
        does_not_decide=(
            "adverse impact: significance and small numbers can go the other way in either direction, and are reported "
            "apart; nor whether a procedure with adverse impact is justified"
        ),
        function="bias.four_fifths.four_fifths",
    ),
    Preset(
        name="equalized-odds",
        title="Equalized odds within a tolerance",
        source="Hardt, Price & Srebro 2016, definition 2.1; the tolerance is yours",
        needs=("label", "prediction", "groups", "tolerance"),
        decides="whether true-positive and false-positive rates of any two groups differ by more than the tolerance",
        does_not_decide=(
            "equal precision or calibration, which base rates that differ rule out beside it; whether labels are right"
        ),
        function="bias.presets.equalized_odds",
    ),
)
BY_NAME: Mapping[str, Preset] = {preset.name: preset for preset in PRESETS}


def equalized_odds(
    tolerance: float,
    set_by: str,
    groups: Sequence[str] | Mapping[str, GroupRule | Mapping[str, Any]] = (),
    **settings: Any,
) -> Policy:
    """A policy that gates the gaps in true-positive and in false-positive rate.

    Args:
        tolerance: the largest difference of any two groups that is accepted, in either rate, between 0 and 1.
        set_by: who set it.
        groups: names of group columns, or their rules; all of the evidence's where there are none.
        settings: other keys of a policy: alpha, confidence, min_group, positive, intersections, name.

    Raises:
        PolicyError: a tolerance out of range, nobody who set it, an unknown key.
    """
    rules = groups if isinstance(groups, Mapping) else {name: {} for name in groups}
    values = {
        "name": f"equalized odds within {tolerance:g}",
        "set_by": set_by,
        "tolerance": {"true_positive_rate": tolerance, "false_positive_rate": tolerance},
        "groups": {
            name: rule.model_dump() if isinstance(rule, GroupRule) else dict(rule)
            for name, rule in rules.items()
        },
    }
    return parse_policy({**values, **settings}, where="equalized odds")
