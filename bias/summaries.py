"""What an attribute shows beside its pairs: spread, inequality, areas, calibration, strata held fixed."""

import numpy as np

from ..evidence import Evidence
from ..records import Summary
from .areas import Area
from .attributes import Attribute
from .conditioned import conditioned
from .counts import Counts
from .curves import Curve, abroca, roc_curve
from .differential_fairness import decisions, differential_fairness
from .estimates import Bools, Counted, Design
from .groups import ALL, OTHERS
from .inequality import benefits, decompose_entropy, entropy_interval, generalized_entropy
from .influence import Floats, Ints
from .intervals import Interval
from .jigsaw import BiasAreas, bias_areas, power_mean
from .metrics import RATES
from .policy import Policy
from .reliability import calibration_error
from .scored import Undefined
from .spread import between_group_sd, largest_gap
from .tasks import View

SPREAD = ("selection_rate", "accuracy", "true_positive_rate", "false_positive_rate")
MOST_SUBGROUPS = 25
BORKAN = "Borkan et al. 2019, section 4"


def summaries_of(attribute: Attribute, view: View, evidence: Evidence, rules: Policy) -> list[Summary]:
    """Summaries of one attribute on one view, where the columns and the design allow them."""
    made: list[Summary] = []
    design = view.columns.design
    compared = [name for name in attribute.compared if len(attribute.members[name])]
    if len(compared) < 2:
        return made
    if design.simple and view.columns.prediction is not None:
        made += _spreads(attribute, view, compared, rules)
    if view.columns.prediction is not None and view.columns.label is not None and not view.only_whole:
        made += _inequality(attribute, view, compared, rules)
    if view.columns.score is not None and view.columns.label is not None:
        made += _areas(attribute, view, compared, rules)
        if view.columns.probability:
            made += _calibration_errors(attribute, view, compared)
    if evidence.strata and view.columns.prediction is not None and design.simple and not view.only_whole:
        made += conditioned(attribute, view, evidence, rules)
    return made


def _summary(
    attribute: Attribute,
    view: View,
    metric: str,
    estimate: float | None,
    ends: Interval | None,
    n: int,
    words: str,
    source: str,
    *,
    group: str = ALL,
    note: str = "",
) -> Summary:
    return Summary(
        attribute=attribute.name,
        group=group,
        metric=view.named(metric),
        estimate=estimate,
        low=None if ends is None else ends.low,
        high=None if ends is None else ends.high,
        n=n,
        words=words,
        source=source,
        note=note,
    )


def _rates(attribute: Attribute, view: View, name: str, compared: list[str]) -> list[Counted]:
    """The rate of each group that has a denominator."""
    metric = next(metric for metric in RATES if metric.name == name)
    made = [metric.estimate(view.columns, attribute.rows(group)) for group in compared]
    return [one for one in made if isinstance(one, Counted)]


def _spreads(attribute: Attribute, view: View, compared: list[str], rules: Policy) -> list[Summary]:
    """Largest gap with simultaneous bounds, and the spread between groups without its upward bias."""
    made = []
    names = [*SPREAD, *(metric for metric in rules.tolerance if metric not in SPREAD)]
    for metric in RATES:
        if metric.name not in names or not set(metric.needs) <= view.columns.known:
            continue
        if (metric.whole and view.partial) or (view.only_whole and not metric.whole):
            continue
        rates = _rates(attribute, view, metric.name, compared)
        if len(rates) < 2:
            continue
        k, n = [rate.k for rate in rates], [rate.n for rate in rates]
        gap, spread = largest_gap(k, n, rules.confidence), between_group_sd(k, n)
        made.append(
            _summary(
                attribute,
                view,
                f"largest gap in {metric.name}",
                gap.estimate,
                Interval(gap.low, gap.high),
                sum(n),
                "largest minus smallest group; bounds hold for all pairs at once and are conservative",
                "Newcombe 1998 at alpha / pairs",
            )
        )
        made.append(
            _summary(
                attribute,
                view,
                f"between-group SD of {metric.name}",
                spread.corrected,
                None,
                sum(n),
                f"without what sampling alone adds; as observed {spread.observed:.4f}",
                "Lum, Zhang & Bower 2022",
            )
        )
    odds = [
        largest_gap([r.k for r in rates], [r.n for r in rates], 1 - (1 - rules.confidence) / 2)
        for name in ("true_positive_rate", "false_positive_rate")
        if view.columns.label is not None
        and not view.only_whole
        and len(rates := _rates(attribute, view, name, compared)) == len(compared)
    ]
    if len(odds) == 2:
        made.append(
            _summary(
                attribute,
                view,
                "equalized_odds_difference",
                max(gap.estimate for gap in odds),
                Interval(max(gap.low for gap in odds), max(gap.high for gap in odds)),
                sum(view.columns.design.rows(attribute.members[name]) for name in compared),
                "the larger of the largest gaps in true-positive and in false-positive rate; simultaneous bounds",
                "Hardt, Price & Srebro 2016",
            )
        )
    return made


def _inequality(attribute: Attribute, view: View, compared: list[str], rules: Policy) -> list[Summary]:
    label, prediction = view.columns.label, view.columns.prediction
    assert label is not None and prediction is not None
    design = view.columns.design
    if design.weight is not None:
        return []
    rows = np.sort(np.concatenate([attribute.members[name] for name in compared]))
    benefit = benefits(label, prediction)
    made = []
    if benefit[rows].any():
        entropy = generalized_entropy(benefit, 2.0, rows=rows, count=design.count)
        theil = generalized_entropy(benefit, 1.0, rows=rows, count=design.count)
        groups = np.full(design.size, None, dtype=object)
        for name in compared:
            groups[attribute.members[name]] = name
        parts = decompose_entropy(
            benefit[rows],
            groups[rows].tolist(),
            2.0,
            count=None if design.count is None else design.count[rows],
        )
        told = f"; {parts.between / parts.total:.1%} of it lies between the groups" if parts.total > 0 else ""
        for name, index, note in (
            ("generalized_entropy_index", entropy, told),
            ("theil_index", theil, ""),
        ):
            if not isinstance(index, Undefined):
                made.append(
                    _summary(
                        attribute,
                        view,
                        name,
                        index.estimate,
                        entropy_interval(index, rules.confidence, cluster=design.cluster),
                        index.n,
                        f"inequality of the benefit prediction - label + 1 among all rows{note}",
                        "Speicher et al. 2018",
                    )
                )
    if design.simple:
        counts = {name: _counts(design, attribute.members[name], prediction, label) for name in compared}
        found = differential_fairness(decisions(counts), confidence=rules.confidence)
        if found.epsilon is not None and found.low is not None and found.high is not None:
            made.append(
                _summary(
                    attribute,
                    view,
                    "differential_fairness",
                    found.epsilon,
                    Interval(found.low, found.high),
                    sum(c.n for c in counts.values()),
                    f"largest |ln ratio| of the chance of a decision in two groups: {found.outcome!r}, {found.likelier} "
                    f"against {found.less_likely}; simultaneous bounds",
                    "Foulds et al. 2018",
                )
            )
    return made


def _counts(design: Design, rows: Ints, prediction: Bools, label: Bools) -> Counts:
    said, true, count = prediction[rows], label[rows], design.counts(rows)
    cell = np.bincount(said * 2 + true, weights=count, minlength=4).astype(np.int64).tolist()
    return Counts(tn=cell[0], fn=cell[1], fp=cell[2], tp=cell[3])


def _areas(attribute: Attribute, view: View, compared: list[str], rules: Policy) -> list[Summary]:
    """The areas of Borkan et al., and the area between the ROC curves, of each group against everyone else."""
    score, label, design = view.columns.score, view.columns.label, view.columns.design
    assert score is not None and label is not None
    if len(compared) > MOST_SUBGROUPS:
        return []
    known = attribute.rows(OTHERS)
    members: dict[str, Bools] = {}
    for name in compared:
        mask = np.zeros(design.size, dtype=np.bool_)
        mask[attribute.members[name]] = True
        members[name] = mask[known]
    count = None if design.count is None else design.count[known]
    weight = None if design.weight is None else design.weight[known]
    cluster = None if design.cluster is None else design.cluster[known]
    found = bias_areas(score[known], label[known], members, count=count, weight=weight)
    made: list[Summary] = []
    for one in found:
        made += _of_subgroup(attribute, view, one, rules, cluster)
        inside = members[one.subgroup]
        curves = [_curve(score[known], label[known], which, count, weight) for which in (inside, ~inside)]
        if isinstance(curves[0], Curve) and isinstance(curves[1], Curve):
            made.append(
                _summary(
                    attribute,
                    view,
                    "abroca",
                    abroca(curves[0], curves[1]),
                    None,
                    one.n,
                    "area between the group's ROC curve and everyone else's; chance alone makes it more than 0",
                    "Gardner, Brooks & Baker 2019",
                    group=one.subgroup,
                )
            )
    for name in (
        "subgroup_auc",
        "background_positive_subgroup_negative_auc",
        "background_negative_subgroup_positive_auc",
    ):
        mean = power_mean([getattr(one, name) for one in found], names=[one.subgroup for one in found])
        undefined = isinstance(mean, Undefined)
        made.append(
            _summary(
                attribute,
                view,
                f"power mean of {name}",
                None if isinstance(mean, Undefined) else mean.estimate,
                None if isinstance(mean, Undefined) else mean.interval(rules.confidence, cluster=cluster),
                design.rows(known),
                "mean over groups with p = -5: near the worst one",
                BORKAN,
                note=mean.reason if isinstance(mean, Undefined) and undefined else "",
            )
        )
    return made


def _of_subgroup(
    attribute: Attribute, view: View, one: BiasAreas, rules: Policy, cluster: Ints | None
) -> list[Summary]:
    words = {
        "background_positive_subgroup_negative_auc": "low where the group's negatives score like others' positives",
        "background_negative_subgroup_positive_auc": "low where the group's positives score like others' negatives",
        "negative_equality_gap": "above 0 the group's negatives score higher than others'",
        "positive_equality_gap": "above 0 the group's positives score higher than others'",
    }
    made = []
    for name, said in words.items():
        area: Area | Undefined = getattr(one, name)
        undefined = area.reason if isinstance(area, Undefined) else ""
        made.append(
            _summary(
                attribute,
                view,
                name,
                None if isinstance(area, Undefined) else area.estimate,
                None if isinstance(area, Undefined) else area.interval(rules.confidence, cluster=cluster),
                one.n,
                said,
                BORKAN,
                group=one.subgroup,
                note=undefined,
            )
        )
    return made


def _curve(
    score: Floats, label: Bools, which: Bools, count: Ints | None, weight: Floats | None
) -> Curve | Undefined:
    return roc_curve(
        score[which],
        label[which],
        count=None if count is None else count[which],
        weight=None if weight is None else weight[which],
    )


def _calibration_errors(attribute: Attribute, view: View, compared: list[str]) -> list[Summary]:
    made = []
    design = view.columns.design
    for name in compared:
        found = calibration_error(
            *_scored(view), rows=attribute.members[name], count=design.count, weight=design.weight
        )
        undefined = isinstance(found, Undefined)
        made.append(
            _summary(
                attribute,
                view,
                "expected_calibration_error",
                None if isinstance(found, Undefined) else found.debiased,
                None,
                found.n,
                "over bins of equal mass, less what a calibrated group of this size would show"
                + ("" if isinstance(found, Undefined) else f"; plain {found.plain:.4f}, {found.n_bins} bins"),
                "Guo et al. 2017; Bröcker 2012; Kumar et al. 2019",
                group=name,
                note=found.reason if isinstance(found, Undefined) and undefined else "",
            )
        )
    return made


def _scored(view: View) -> tuple[Floats, Bools]:
    assert view.columns.score is not None and view.columns.label is not None
    return view.columns.score, view.columns.label
