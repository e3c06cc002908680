"""Answers of a review made from drawn numbers: heads tested, a gap in parts, fixes chosen and judged."""

import numpy as np

from clinometer.bias.audited_again import audit_again
from clinometer.bias.choosing import choose
from clinometer.bias.ledger import contrast_of
from clinometer.bias.pareto import candidate, pareto
from clinometer.bias.parts_of_gaps import parts_of_gap
from clinometer.bias.policy import GroupRule, Policy
from clinometer.bias.splitting import split
from clinometer.bias.threshold_rules import group_thresholds, move_threshold
from clinometer.bias.word_ledger import word_ledger
from clinometer.explained_gap import Why
from clinometer.interpret.gate_effects import Unit
from clinometer.interpret.head_paths import HeadPath, Moved
from clinometer.interpret.head_tests import HeadTest
from clinometer.interpret.mediation import Mediation
from clinometer.interpret.screening import Screening, UnitShare
from clinometer.interpret.verification import Verification
from clinometer.mitigating import Mitigated
from clinometer.records import Attribution
from clinometer.review_questions import FixQuestion, GapQuestion, fix_answer, gap_answer
from reference.leaning import leaning

LAYERS = ("encoder.layers.0.attention", "encoder.layers.1.attention")


def head_test(heads, removed, *, verified, before=-0.3, width=0.08, reason=""):
    return HeadTest(
        heads=heads,
        claimed=-1,
        before=before,
        after=before - removed,
        removed=removed,
        error=width / 2.5,
        low=removed - width,
        high=removed + width,
        p=0.004 if verified else 0.4,
        n_random=39,
        random_from="the same layers",
        random_rank=1 / 40 if verified else 0.2,
        random_level=0.05,
        detectable=0.11,
        verified=verified,
        reason=""
        if verified
        else reason or "the interval of its effect does not exclude 0 on the claimed side",
    )


def mediation(*, verified=True, group="a", reference="b", token="home", n=120):
    """Two candidates and both together; the first, and both, verified or not."""
    ids = tuple(f"m{i}" for i in range(n))
    shares = tuple(
        UnitShare(
            unit=Unit(layer, head), closing=0.4 - 0.1 * (2 * y + head), error=0.05, share=-0.35 + 0.1 * head
        )
        for y, layer in enumerate(LAYERS)
        for head in range(2)
    )
    one, two = (LAYERS[0], 0), (LAYERS[0], 1)
    tests = (head_test((one,), -0.2, verified=verified), head_test((two,), -0.03, verified=False))
    together = head_test((one, two), -0.24, verified=verified)
    return Mediation(
        screening=Screening(
            attribute="group",
            group=group,
            reference=reference,
            target="logit",
            unit="logit",
            toward="mean",
            ids=ids,
            value=-1.1,
            closed=0.0,
            shares=shares,
            residual=0.001,
            n_not_converged=0,
        ),
        verification=Verification(
            attribute="group",
            group=group,
            reference=reference,
            target="logit",
            metric=f"difference in the rate of scores above 0, {group} - {reference}",
            unit="rate",
            how="mean",
            ids=tuple(f"h{i}" for i in range(n)),
            n_clusters=None,
            before=-0.3,
            before_low=-0.45,
            before_high=-0.15,
            tests=tests,
            together=together,
            confidence=0.95,
            critical=2.5,
            replicates=2000,
            seed=0,
            scores=np.zeros(n),
            changed=np.zeros((3, n)),
        ),
        paths=(
            HeadPath(
                layer=LAYERS[0],
                head=0,
                target="logit",
                unit="logit",
                total=-0.4,
                tokens=(
                    Moved(token=token, share=-0.3, n_rows=60, per_row=-0.2),
                    Moved(token="income", share=-0.1, n_rows=120, per_row=-0.05),
                ),
            ),
        )
        if verified
        else (),
    )


def drawn_gap(*, verified=True, group="a", reference="b", token="home", metric="selection_rate", seed=0):
    """Why a gap: a ledger and parts of drawn attributions, and heads with made-up tests."""
    draw = np.random.default_rng(seed)
    n = 120
    ids = tuple(f"m{i}" for i in range(n))
    groups = [group if i % 3 == 0 else reference for i in range(n)]
    here = np.array([name == group for name in groups])
    tokens = tuple((token if draw.random() < (0.8 if side else 0.3) else "own", "income") for side in here)
    scores = draw.normal(0.1, 0.2, (n, 2)) - 0.4 * here[:, None]
    attribution = Attribution(
        method="integrated gradients",
        target="logit",
        unit="logit",
        baseline="the reference row",
        ids=ids,
        tokens=tokens,
        scores=scores,
        value=scores.sum(axis=1),
        base_value=np.zeros(n),
        nodes=np.full(n, 16),
        converged=np.ones(n, dtype=bool),
        tolerance=np.full(n, 0.01),
    )
    pair = contrast_of(ids, groups, "group", group, reference)
    found = Why(
        attribute="group",
        group=group,
        reference=reference,
        metric=metric,
        words=f"mean score: {group} minus {reference}",
        ledger=word_ledger(attribution, pair, minimum=5, replicates=200, fold_case=False),
        no_ledger="",
        parts=parts_of_gap(attribution, pair, minimum=5, replicates=200, fold_case=False),
        mediation=mediation(verified=verified, group=group, reference=reference, token=token),
        n_screened=n,
        n_held_out=n,
        seed=seed,
    )
    question = GapQuestion(attribute="group", group=group, reference=reference, metric=metric)
    return gap_answer(question, found)


def drawn_fix(*, n=900, name="group thresholds", floor_loss=0.2, groups="ab"):
    """Two fixes of leaning scores, fitted, chosen and judged on three parts."""
    evidence, _ = leaning(n, groups=groups)
    rules = Policy(
        name="test",
        set_by="the authors of the tests",
        tolerance={"selection_rate": 0.1},
        groups={"group": GroupRule()},
    )
    dealt = split(evidence, None, shares=(0.5, 0.25, 0.25), seed=0)
    fit, choosing, judging = (dealt.take(evidence, part) for part in ("fit", "choose", "judge"))
    made = {
        "one threshold": move_threshold(
            fit, "group", metric="selection_rate", floor=0.5, name="one threshold"
        ),
        name: group_thresholds(fit, "group", constraint="demographic_parity", name=name),
    }
    shown = {"attribute": "group", "gap": "selection_rate", "utility": "accuracy"}
    chosen_on, judged_on = (
        pareto(rows, [candidate(one, rows) for one in made.values()], rules, purpose=purpose, **shown)
        for rows, purpose in ((choosing, "choose"), (judging, "judge"))
    )
    floor = chosen_on.of("unmitigated").utility - floor_loss
    choice = choose(chosen_on, floor)
    again = None
    if choice.name in made:
        after = made[choice.name].apply(judging)
        again = audit_again(judging, after, rules, fix=choice, metrics=["selection_rate"])
    found = Mitigated(
        attribute="group",
        gap="selection_rate",
        utility="accuracy",
        floor=floor,
        chosen_on=chosen_on,
        choice=choice,
        judged_on=judged_on,
        again=again,
        fixes=dict(made),
        skipped={"erasure": "the model has no such block"},
        n_fit=len(fit),
        n_choose=len(choosing),
        n_judge=len(judging),
        seed=0,
    )
    return fix_answer(FixQuestion(attribute="group", gap="selection_rate"), found)
