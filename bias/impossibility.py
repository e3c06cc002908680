"""Where groups differ in error rates and not in predictive values, or the other way round: said in words."""

from collections.abc import Sequence

from ..records import Finding

ERRORS = ("false_positive_rate", "false_negative_rate")
VALUES = ("positive_predictive_value", "negative_predictive_value")
SOURCE = "Kleinberg, Mullainathan & Raghavan 2016; Chouldechova 2017"
MOST = 5


def not_both(findings: Sequence[Finding]) -> list[str]:
    """A sentence for each comparison whose error rates lie apart while a predictive value does not, or the reverse.

    Apart: the two-sided interval of the gap leaves out 0. Where base rates differ too, equal error rates and equal
    predictive values cannot both hold but for a perfect model, so that one of the two is a choice.
    """
    known = {(f.attribute, f.group, f.reference, f.metric): f for f in findings}
    made = []
    for attribute, group, reference, metric in list(known):
        if metric != "base_rate" or not _apart(known[attribute, group, reference, metric]):
            continue
        key = (attribute, group, reference)
        errors = [known[*key, name] for name in ERRORS if (*key, name) in known]
        values = [known[*key, name] for name in VALUES if (*key, name) in known]
        for some, others, words in (
            (errors, values, "error rates differ"),
            (values, errors, "predictive values differ"),
        ):
            shown = [f for f in some if _apart(f)]
            still = [f for f in others if f.estimate is not None and not _apart(f)]
            if len(shown) == len(some) == 2 and still:
                made.append(
                    f"{attribute}, {group} minus {reference}: {words} ({'; '.join(map(_said, shown))}) while no "
                    f"difference is shown in {'; '.join(map(_said, still))}. Base rates differ "
                    f"({_said(known[*key, 'base_rate'])}), so that equal error rates and equal predictive values "
                    f"could not both hold ({SOURCE})."
                )
    left = len(made) - MOST
    return made[:MOST] + ([f"{left} more comparisons are of this kind."] if left > 0 else [])


def _apart(finding: Finding) -> bool:
    return finding.low is not None and finding.high is not None and (finding.low > 0 or finding.high < 0)


def _said(finding: Finding) -> str:
    return f"{finding.metric} {finding.estimate:+.3f} [{finding.low:+.3f}, {finding.high:+.3f}]"
