"""Why a gap, and a fix that holds, on mortgage applications and on posts: a whole review with its numbers.

OMP_NUM_THREADS=1 python benchmarks/bias_review.py --json bias-review.json
OMP_NUM_THREADS=1 python benchmarks/bias_review.py --only mortgage

Mortgage: the model and the test rows of `clinometer demo`, trained here (or --demo, a folder that it wrote). HateXplain:
MiniLM and the validation split beside the checkout, asked whether a post is toxic (offensive or hate speech). The
community is the one with the largest gap in false positive rate on training posts, which also fit the fixes: the model
knows these posts, so that what is fitted there is chosen and judged on validation posts alone. The posts hold slurs.

The bias AUCs are those of Borkan et al. 2019 over the ten communities of Mathew et al. 2021. Their notebook compares a
community with posts that name another of the ten and leaves out posts that name none; Borkan et al. compare with all
others. Both are shown. Intervals are percentiles over resamples of posts; a resample in which an area is undefined is
drawn again, so that they are conditional on that.
"""

import argparse
import datetime
import json
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hatexplain import DATA, MODEL, read, toxic
from measuring import tables
from variants import COMMUNITIES, NAMED, OTHERS, change, labelled

import clinometer as cm
from clinometer.bias.jigsaw import AREAS, area_named, bias_areas, power_mean
from clinometer.bias.mitigation import Mitigation
from clinometer.bias.policy import CostRule, GroupRule, Policy, parse_policy
from clinometer.bias.scored import Undefined
from clinometer.bias.splitting import split
from clinometer.demo import POLICY, applications, train_subject
from clinometer.interpret.blocks import last_block
from clinometer.interpret.erasure import representations
from clinometer.interpret.models import score
from clinometer.records import plain
from clinometer.scored_rows import evidence_of

PAPER = (0.7802, 0.6994, 0.7803)  # BERT-HateXplain, test split, the authors' notebook; in the order of AREAS
SHORT = ("subgroup", "BPSN", "BNSP")  # in the order of AREAS
LEAST = 20  # non-toxic posts that name a community, for its gap to be looked at
SHOWN = 5  # words of a ledger
COSTS = CostRule(
    unit="wrong denials", false_positive=7.0, false_negative=1.0
)  # 7 approved for each one denied
COST_LOSS = 0.1  # of these costs per application, accepted on the rows that choose
LEVEL = 0.05  # of the intervals of areas, two-sided


def labelled_training(posts: Sequence[Mapping[str, Any]]) -> cm.Rows:
    """Training posts as rows. A community is named where any annotator named it: the file holds their union alone."""
    told = [
        {**post, "post_tokens": post["text"].split(), "majority_targets": post["targets_union"]}
        for post in posts
    ]
    return labelled(told)


def false_positive_gaps(rows: cm.Rows, scores: np.ndarray) -> dict[str, tuple[int, float]]:
    """Community -> non-toxic posts that name it, and their rate of scores above 0 less that of other non-toxic posts."""
    negative = np.asarray(rows.labels) == 0
    made = {}
    for name, column in rows.groups.items():
        inside = np.array([value == NAMED for value in column]) & negative
        outside = negative & ~inside
        if inside.any() and outside.any():
            gap = float(np.mean(scores[inside] > 0) - np.mean(scores[outside] > 0))
            made[name] = (int(inside.sum()), gap)
    return made


def worst(gaps: Mapping[str, tuple[int, float]], least: int = LEAST) -> str:
    """The community with the largest gap, of those with enough non-toxic posts."""
    known = {name: abs(gap) for name, (n, gap) in gaps.items() if n >= least}
    if not known:
        raise SystemExit(f"no community has {least} non-toxic posts: give more with --training-posts.")
    return max(known, key=lambda name: known[name])


def why_table(found: Sequence[Any]) -> str:
    """One line per gap: how large it is, what of it was verified, and what would have been."""
    lines = []
    for one in found:
        verified = one.mediation.verification
        tests = [*verified.tests, *([verified.together] if verified.together is not None else [])]
        said = [
            f"{' + '.join(f'{layer}:{head}' for layer, head in test.heads)} moves it by {-test.removed:+.3f} "
            f"[{-test.high:+.3f}, {-test.low:+.3f}]"
            for test in tests
            if test.verified
        ]
        least = "–" if verified.detectable is None else f"{verified.detectable:.3f}"
        all_at_once = verified.together and verified.together.detectable
        lines.append(
            [
                f"{one.metric}: {one.group} minus {one.reference}",
                f"{one.n_screened}, {one.n_held_out}",
                f"{verified.before:+.3f} [{verified.before_low:+.3f}, {verified.before_high:+.3f}]",
                "; ".join(said) or "no head set verified",
                f"{least}, {'–' if not all_at_once else f'{all_at_once:.3f}'}",
            ]
        )
    header = [
        "gap",
        "rows screened, held out",
        "on the rows held out [95 %]",
        "verified (change without these heads, simultaneous 95 %)",
        "found 4 times in 5: one head, all candidates",
    ]
    return tables.table(header, lines)


def fixes_table(made: Any) -> str:
    """One line per fix: on the rows that chose, and on those that judge."""
    lines = []
    for point in made.judged_on.points:
        chosen = made.chosen_on.of(point.name)
        lines.append(
            [
                point.name + (" (chosen)" if point.name == made.choice.name else ""),
                f"{_plain(chosen.gap)}, {_plain(chosen.utility)}",
                _level(point.gap, point.gap_low, point.gap_high),
                _moved(point.gap_change, point.gap_change_low, point.gap_change_high),
                _level(point.utility, point.utility_low, point.utility_high),
                _moved(point.utility_change, point.utility_change_low, point.utility_change_high),
            ]
        )
    lines += [[name, f"not made: {reason}", "", "", "", ""] for name, reason in made.skipped.items()]
    header = [
        "fix",
        f"{made.n_choose} rows that choose: gap, {made.utility}",
        f"{made.n_judge} rows that judge: gap [95 %]",
        "change [95 %]",
        f"{made.utility} [95 %]",
        "change [95 %]",
    ]
    return tables.table(header, lines)


def again_table(made: Any, metrics: Sequence[str], attributes: Sequence[str]) -> str:
    """The chosen fix audited again: gaps and each group's own rate of some attributes, before and after, paired."""
    if made.again is None:
        return "No fix was better than none on the rows that choose: nothing was audited again."
    lines = []
    worse, better = made.again.worsened, made.again.improved
    for one in made.again.comparison.changes:
        if one.attribute not in attributes or one.metric not in metrics:
            continue
        verdict = "worse" if one in worse else "better" if one in better else ""
        lines.append(
            [
                f"{one.metric}, {one.attribute}: {one.group}"
                + (f" minus {one.reference}" if one.is_gap else ""),
                str(one.n_before),
                *(
                    "undefined" if v is None else f"{v:{'+' if one.is_gap else ''}.3f}"
                    for v in (one.before, one.after)
                ),
                change(one),
                verdict,
            ]
        )
    return tables.table(["", "n", "before", "after", "change [95 %]", "beyond noise"], lines)


def rates_table(made: Any, metrics: Sequence[str]) -> str:
    """Rates of each group of the attribute by both audits, each with its own interval."""
    if made.again is None:
        return ""
    lines = []
    for was, now in zip(made.again.before.cells, made.again.after.cells, strict=True):
        if was.attribute == made.attribute and was.metric in metrics and was.estimate is not None:
            cells = [_level(one.estimate, one.low, one.high) for one in (was, now)]
            lines.append([f"{was.metric}, {was.group}", str(was.n), *cells])
    return tables.table(["", "n", "before [95 %]", "after [95 %]"], lines)


def members(rows: cm.Rows) -> dict[str, np.ndarray]:
    """Which rows name each of the ten communities."""
    return {name: np.array([value == NAMED for value in rows.groups[name]]) for name in COMMUNITIES}


def power_means(
    scores: np.ndarray, labels: np.ndarray, inside: Mapping[str, np.ndarray]
) -> dict[str, float | Undefined]:
    """The power mean (p = -5) over communities of each of the three areas; undefined where one of them is."""
    found = bias_areas(scores, labels == 1, inside)
    made: dict[str, float | Undefined] = {}
    for name in AREAS:
        mean = power_mean([area_named(each, name) for each in found], names=tuple(inside))
        made[name] = mean if isinstance(mean, Undefined) else mean.estimate
    return made


def resampled(
    scores: np.ndarray, labels: np.ndarray, inside: Mapping[str, np.ndarray], counts: np.ndarray
) -> np.ndarray:
    """The three power means in each resample, (resample, area); NaN where a community has no pair of posts in it.

    Args:
        counts: (resample, row) how often each post is drawn.
    """
    made = np.zeros((len(counts), len(AREAS)))
    positive = labels == 1
    for member in inside.values():
        sides = ((member, member), (~member, member), (member, ~member))  # of positives, of negatives
        for place, (of_positives, of_negatives) in enumerate(sides):
            up, down = np.flatnonzero(positive & of_positives), np.flatnonzero(~positive & of_negatives)
            apart = scores[up][:, None] - scores[down][None, :]
            wins = (np.sign(apart) + 1) / 2
            drawn = (counts[:, up] @ wins * counts[:, down]).sum(axis=1)
            pairs = counts[:, up].sum(axis=1) * counts[:, down].sum(axis=1)
            with np.errstate(divide="ignore", invalid="ignore"):
                made[:, place] += (drawn / pairs) ** -5.0
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((made / len(inside)) ** -0.2)


def area_lines(
    scores: Mapping[str, np.ndarray],
    labels: np.ndarray,
    inside: Mapping[str, np.ndarray],
    *,
    replicates: int,
    seed: int,
) -> tuple[list[list[str]], int]:
    """The power means of every model with intervals, and their changes from the first; how many resamples were undefined."""
    generator = np.random.default_rng(seed)
    n, first = len(labels), next(iter(scores))
    undefined = [
        name
        for name, mean in power_means(scores[first], labels, inside).items()
        if isinstance(mean, Undefined)
    ]
    kept: list[np.ndarray] = []
    tried = 0
    while not undefined and sum(map(len, kept)) < replicates and tried < 50 * replicates:
        counts = generator.multinomial(n, np.full(n, 1 / n), size=200).astype(np.float64)
        tried += len(counts)
        kept.append(counts[np.isfinite(resampled(scores[first], labels, inside, counts)).all(axis=1)])
    drawn = np.concatenate(kept)[:replicates] if kept else np.zeros((0, n))
    out = tried - sum(map(len, kept))
    start = resampled(scores[first], labels, inside, drawn)
    lines = []
    for name, values in scores.items():
        found = power_means(values, labels, inside)
        base = power_means(scores[first], labels, inside)
        again = resampled(values, labels, inside, drawn)
        cells = [name]
        for place, area in enumerate(AREAS):
            at, was = found[area], base[area]
            if isinstance(at, Undefined) or isinstance(was, Undefined) or len(drawn) < replicates:
                cells += [f"undefined: {at.reason}" if isinstance(at, Undefined) else f"{at:.4f}", ""]
                continue
            low, high = np.quantile(again[:, place], [LEVEL / 2, 1 - LEVEL / 2])
            cells.append(f"{at:.4f} [{low:.4f}, {high:.4f}]")
            if name == first or np.array_equal(values, scores[first]):
                cells.append("" if name == first else "scores are the same")
                continue
            low, high = np.quantile(again[:, place] - start[:, place], [LEVEL / 2, 1 - LEVEL / 2])
            cells.append(f"{at - was:+.4f} [{low:+.4f}, {high:+.4f}]")
        lines.append(cells)
    return lines, out


def joint_intervals(scores: np.ndarray, labels: np.ndarray, inside: Mapping[str, np.ndarray]) -> str:
    """The power means' intervals from the joint covariance of their areas, with the few degrees of freedom of few posts."""
    found = bias_areas(scores, labels == 1, inside)
    said = []
    for short, name in zip(SHORT, AREAS, strict=True):
        mean = power_mean([area_named(each, name) for each in found])
        ends = None if isinstance(mean, Undefined) else mean.interval()
        said.append(f"{short} undefined" if ends is None else f"{short} [{ends.low:.3f}, {ends.high:.3f}]")
    return ", ".join(said)


def area_table(
    scores: Mapping[str, np.ndarray], rows: cm.Rows, *, named_only: bool, replicates: int, seed: int
) -> tuple[str, str]:
    """The bias AUCs of every model, and in words on what."""
    inside, labels = members(rows), np.asarray(rows.labels)
    kept = np.any(list(inside.values()), axis=0) if named_only else np.ones(len(rows), dtype=bool)
    lines, out = area_lines(
        {name: values[kept] for name, values in scores.items()},
        labels[kept],
        {name: member[kept] for name, member in inside.items()},
        replicates=replicates,
        seed=seed,
    )
    if named_only:
        paper = [cell for value in PAPER for cell in (f"{value:.4f}", "")]
        lines.append(["BERT-HateXplain, test split (the authors' notebook)", *paper])
    header = ["", *(cell for short in SHORT for cell in (short, "change"))]
    first = next(iter(scores.values()))
    few = min(inside, key=lambda name: int((inside[name] & (labels == 0)).sum()))
    other = (
        "posts that name another of the ten (the notebook's)"
        if named_only
        else "all other posts (Borkan et al.)"
    )
    words = (
        f"{int(kept.sum())} posts, background: {other}; {replicates} resamples of posts [95 %], {out} more drawn in which a "
        f"community had no pair of posts; the fewest non-toxic posts has {few}: "
        f"{int((inside[few] & (labels == 0)).sum())}. Without a fix, by the areas' joint covariance: "
        f"{joint_intervals(first[kept], labels[kept], {name: member[kept] for name, member in inside.items()})}."
    )
    return tables.table(header, lines), words


def scored_by(
    made: Any, subject: Any, rows: cm.Rows, scores: np.ndarray, module: str
) -> dict[str, np.ndarray]:
    """What every fix makes of the score of these rows; a rule on thresholds leaves it as it is."""
    found = {"unmitigated": scores}
    for name, fix in made.fixes.items():
        if not isinstance(fix, Mitigation):
            found[name] = score(fix, rows)
        elif fix.kind == "heads":
            before = evidence_of(subject, rows, scores)
            after = fix.apply(before, representations(subject, rows, module=module)[0])
            found[name] = np.asarray(after.column(str(after.score)))
        else:
            found[name] = scores
    return found


def mortgage(given: argparse.Namespace) -> dict[str, Any]:
    """The demonstration's model: why it approves one group less often, and what closes that."""
    parts = applications(given.seed)
    if given.demo is None:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "model"
            train_subject(folder, parts, seed=given.seed, device="cpu", quiet=True)
            subject = cm.load(folder)
    else:
        subject = cm.load(given.demo / "model")
    rows = (
        parts["test"]
        if given.rows is None
        else parts["test"].take(range(min(given.rows, len(parts["test"]))))
    )
    rules = parse_policy(tomllib.loads(POLICY), where="the demonstration's policy").model_copy(
        update={"costs": COSTS}
    )
    return reviewed_table(subject, rows, rules, given)


def reviewed_table(subject: Any, rows: cm.Rows, rules: Policy, given: argparse.Namespace) -> dict[str, Any]:
    """Both gaps between black and white applicants, all fixes, and the same over several ways to deal the rows."""
    found = [
        cm.why(
            subject,
            rows,
            "race",
            "black",
            "white",
            metric=metric,
            n_random=given.random_sets,
            seed=given.seed,
        )
        for metric in ("selection_rate", "true_positive_rate")
    ]
    _say_why(f"Mortgage applications: {len(rows)} test rows", found)
    kept: dict[str, Any] = {"why": [_kept(one) for one in found]}
    settings: dict[str, Any] = {"gap": "selection_rate", "shares": (0.4, 0.2, 0.4)}
    for utility, loss in (("accuracy", given.accepted_loss), ("expected_cost", COST_LOSS)):
        asked = {**settings, "utility": utility, "accepted_loss": loss}
        dealt = [
            cm.mitigate(subject, rows, rules, "race", seed=given.seed + more, **asked)
            for more in range(given.deals)
        ]
        _say_fixes(
            dealt[0],
            ("selection_rate", "true_positive_rate", "accuracy"),
            ("race", "sex"),
            ("false_positive_rate",),
        )
        print(f"\nThe same over {len(dealt)} ways to deal the rows (the same rows each time: no interval)\n")
        print(deals_table(dealt))
        ways = [{"chosen": one.choice.name, "judged_on": plain(one.judged_on.points)} for one in dealt]
        kept[utility] = {"fixes": _without(dealt[0]), "deals": ways}
    return kept


def deals_table(dealt: Sequence[Any]) -> str:
    """How often each fix was chosen, and the median gap and utility on the rows that judged, with the range."""
    names = list(dict.fromkeys(point.name for one in dealt for point in one.judged_on.points))
    lines = []
    for name in names:
        points = [p for one in dealt for p in one.judged_on.points if p.name == name and p.gap is not None]
        cells = [name, str(sum(one.choice.name == name for one in dealt)), str(len(points))]
        for key in ("gap", "utility"):
            values = [getattr(point, key) for point in points]
            cells.append(
                f"{np.median(values):.3f} ({min(values):.3f} to {max(values):.3f})" if values else "undefined"
            )
        lines.append(cells)
    for key, word in (("chosen_on", "on the rows that chose"), ("judged_on", "on the rows that judge")):
        points = [getattr(one, key).of(one.choice.name) for one in dealt]
        gaps = [point.gap for point in points if point.gap is not None]
        values = [point.utility for point in points if point.utility is not None]
        lines.append(
            [
                f"whichever was chosen, {word}",
                "",
                str(len(gaps)),
                f"{np.median(gaps):.3f} ({min(gaps):.3f} to {max(gaps):.3f})",
                f"{np.median(values):.3f} ({min(values):.3f} to {max(values):.3f})",
            ]
        )
    return tables.table(["fix", "chosen", "ways", "gap: median (range)", "utility: median (range)"], lines)


def posts(given: argparse.Namespace) -> dict[str, Any]:
    """MiniLM on posts: the community with the largest gap, why, and what closes it, and the bias AUCs."""
    for folder in (given.data, given.model):
        if not folder.is_dir():
            raise SystemExit(f"{folder} is not there; --data and --model name the folders.")
    generator = np.random.default_rng(given.seed)
    training = read(given.data / "hatexplain_train.jsonl.gz")
    drawn = generator.choice(len(training), min(given.training_posts, len(training)), replace=False)
    known = labelled_training([training[i] for i in drawn])
    validation = read(given.data / "hatexplain_val.jsonl.gz")[: given.rows]
    subject = toxic(cm.load(given.model))
    return reviewed_posts(subject, known, labelled(validation), given)


def reviewed_posts(subject: Any, known: cm.Rows, rows: cm.Rows, given: argparse.Namespace) -> dict[str, Any]:
    """The review of posts: `known` choose the community and fit, `rows` verify, choose and judge."""
    gaps = false_positive_gaps(known, score(subject, known))
    community = worst(gaps, given.least)
    shown = [[name, str(n), f"{gap:+.3f}"] for name, (n, gap) in gaps.items()]
    print(
        f"\n## Posts: gaps in false positive rate on {len(known)} training posts; {community} is reviewed\n"
    )
    print(tables.table(["community", "non-toxic posts", "gap to other non-toxic posts"], shown))
    some = _few(rows, community, given.reference_posts, given.seed)

    def explained(metric: Any) -> Any:
        settings = {"metric": metric, "n_random": given.random_sets, "seed": given.seed}
        found = cm.why(subject, some, community, NAMED, OTHERS, **settings)
        _say_why(f"{community}: {len(some)} non-toxic validation posts", [found])
        return _kept(found)

    explanations = [explained("false_positive_rate")]
    scores = score(subject, rows)
    dealt = split(evidence_of(subject, rows, scores), None, shares=(1 / 3, 1 / 3, 1 / 3), seed=given.seed)
    judge = np.sort(np.concatenate([dealt.judge, dealt.fit]))
    fit = known.take(range(min(given.fit_posts, len(known))))
    fit = fit.take(np.argsort([len(text) for text in fit.inputs["text"]], kind="stable"))
    rules = Policy(
        set_by="the authors of this benchmark, to have something to judge",
        tolerance={"false_positive_rate": 0.1},
        groups={one: GroupRule(values=(NAMED, OTHERS), reference=OTHERS) for one in COMMUNITIES},
    )
    made = cm.mitigate(
        subject,
        (fit, rows.take(dealt.choose), rows.take(judge)),
        rules,
        community,
        gap="false_positive_rate",
        accepted_loss=given.accepted_loss,
        seed=given.seed,
        progress=True,
    )
    print(f"\nThe {len(fit)} posts that fit are of the training split, which the model was trained on.")
    _say_fixes(made, ("false_positive_rate",), COMMUNITIES, ("false_positive_rate", "false_negative_rate"))
    judging = rows.take(judge)
    by_fix = scored_by(made, subject, judging, scores[judge], last_block(subject, judging.take(range(1))))
    kept: dict[str, Any] = {}
    common: dict[str, Any] = {"replicates": given.replicates, "seed": given.seed}
    for title, values, on in (
        ("rows that judge", by_fix, judging),
        ("the whole validation split, without a fix", {"unmitigated": scores}, rows),
    ):
        for named_only in (True, False):
            text, words = area_table(values, on, named_only=named_only, **common)
            print(f"\nBias AUCs, power means over ten communities, {title}: {words}\n\n{text}")
            kept[f"{title}, {'named' if named_only else 'all'}"] = text.splitlines()
    explanations.append(explained("mean_score"))
    return {
        "community": community,
        "gaps": gaps,
        "why": explanations,
        "fixes": _without(made),
        "areas": kept,
    }


def _few(rows: cm.Rows, community: str, reference: int, seed: int) -> cm.Rows:
    """The non-toxic posts that name the community, and so many drawn of those that do not."""
    negative = np.asarray(rows.labels) == 0
    inside = np.array([value == NAMED for value in rows.groups[community]])
    others = np.random.default_rng(seed).permutation(np.flatnonzero(negative & ~inside))[:reference]
    return rows.take(np.sort(np.concatenate([np.flatnonzero(negative & inside), others])))


def _say_why(title: str, found: Sequence[Any]) -> None:
    print(f"\n### {title}: why\n\n{why_table(found)}\n")
    for one in found:
        for line in one.sentences[:3]:
            print(f"* {line}")
        if one.no_ledger:
            print(f"* No ledger: {one.no_ledger}")


def _say_fixes(made: Any, metrics: Sequence[str], attributes: Sequence[str], rates: Sequence[str]) -> None:
    title = f"Fixes of the largest gap in {made.gap} by {made.attribute}, utility {made.utility}"
    print(f"\n### {title}\n\nFitted on {made.n_fit} rows.\n\n{fixes_table(made)}\n")
    print(f"Chosen: {made.choice.name}: {made.choice.rule} (limit {made.floor:.3f}).\n")
    print(f"{again_table(made, metrics, attributes)}\n\n{rates_table(made, rates)}")
    if made.again is not None:
        worse = [f"{c.metric} of {c.attribute} {c.group}" for c in (*made.again.worse_off, *made.again.grown)]
        print(f"\nWorse beyond noise: {', '.join(worse) or 'nothing that was compared'}.")


def _kept(one: Any) -> dict[str, Any]:
    return {"sentences": one.sentences, "verified": one.verified, "n_held_out": one.n_held_out}


def _without(made: Any) -> dict[str, Any]:
    return {
        "chosen": made.choice.name,
        "floor": made.floor,
        "chosen_on": plain(made.chosen_on.points),
        "judged_on": plain(made.judged_on.points),
        "again": None if made.again is None else plain(made.again.comparison.changes),
        "skipped": made.skipped,
        "n": [made.n_fit, made.n_choose, made.n_judge],
    }


def _plain(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _level(value: float | None, low: float | None, high: float | None) -> str:
    return _plain(value) + ("" if low is None or high is None else f" [{low:.3f}, {high:.3f}]")


def _moved(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return ""
    return f"{value:+.3f}" + ("" if low is None or high is None else f" [{low:+.3f}, {high:+.3f}]")


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=["mortgage", "hatexplain"])
    parser.add_argument(
        "--rows", type=int, help="test rows or validation posts, the first so many; all of them"
    )
    parser.add_argument(
        "--demo", type=Path, metavar="FOLDER", help="what `clinometer demo` wrote; else trained here"
    )
    parser.add_argument("--deals", type=int, default=5, help="ways to deal the mortgage rows")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--training-posts", type=int, default=1000, help="drawn, to choose the community")
    parser.add_argument("--fit-posts", type=int, default=250, help="of these, to fit the fixes")
    parser.add_argument(
        "--least", type=int, default=LEAST, help="non-toxic posts of a community that is reviewed"
    )
    parser.add_argument(
        "--reference-posts", type=int, default=100, help="non-toxic posts that do not name it, of the why"
    )
    parser.add_argument(
        "--random-sets", type=int, default=19, help="of other heads, for each set that is tested"
    )
    parser.add_argument(
        "--accepted-loss", type=float, default=0.02, help="of accuracy, on the rows that choose"
    )
    parser.add_argument("--replicates", type=int, default=2000, help="resamples of posts, of the bias AUCs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser


def main() -> None:
    """Review what the command line asks for."""
    given = options().parse_args()
    about = tables.machine("cpu")
    print(
        f"{datetime.datetime.now(datetime.UTC).date().isoformat()}: {about['processors']} processors "
        f"({about['architecture']}), {about['threads']} threads, load {about['load']}"
    )
    made: dict[str, Any] = {"machine": about}
    if given.only in (None, "mortgage"):
        made["mortgage"] = mortgage(given)
    if given.only in (None, "hatexplain"):
        made["hatexplain"] = posts(given)
    if given.json is not None:
        given.json.write_text(json.dumps(made, indent=1, default=str), encoding="utf-8")


if __name__ == "__main__":
    main()
