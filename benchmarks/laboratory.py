"""Is what is said of a gap right? Small models with a planted bias, of which the truth is known, by the hundred.

OMP_NUM_THREADS=1 python benchmarks/laboratory.py --json laboratory.json      # a few minutes
python benchmarks/laboratory.py --quick --only heads nothing

`measuring/planted_models.py` makes the models: constructed ones, in which one head alone can tell two words apart or the
score is a known function of the words, and ones that were trained on texts with a shortcut. Counted are

* heads: how often the guilty head is verified on rows that were not screened, and how often another one;
* nothing: how often anything is verified of models that cannot know the side, and of columns of sides dealt out anew;
* power: how often the guilty head is verified, by the size of its effect;
* trained: what is verified of trained models, and whether further rows agree;
* shares: by how much the planted words' share of the gap misses what they make of it;
* split: whether proxies and treatment are told apart where one of them was planted.

Intervals of rates are Wilson's, 95 %. The settings were chosen on other seeds than the ones that are judged (--seed).
"""

import argparse
import datetime
import functools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from measuring import tables
from measuring.planted_models import (
    CLEAN,
    IDENTITY,
    IDENTITY_SHORTCUT,
    NAMED,
    ONLY_PROXY,
    ONLY_TREATMENT,
    PROXY,
    PROXY_SHORTCUT,
    WITH_PROXY,
    Bag,
    Head,
    Plan,
    contrast,
    guilty,
    texts,
    trained,
)

from clinometer.bias.intervals import wilson
from clinometer.bias.parts_of_gaps import GapParts, parts_of_gap
from clinometer.bias.word_ledger import word_ledger
from clinometer.interpret.ablation import ablated
from clinometer.interpret.contrastive import along_swaps
from clinometer.interpret.gate_effects import unit_effects
from clinometer.interpret.mediation import mediate
from clinometer.interpret.methods import attribute
from clinometer.interpret.models import Subject, score
from clinometer.interpret.screening import screening_of
from clinometer.interpret.verification import Verification, verify
from clinometer.records import Attribution, Rows

LARGE = 0.1  # of the gap: what counts as more than a trace
CLOSE = 0.1  # relative error of a share that counts as right
SHAPES = (
    {"layers": 1, "heads": 8},
    {"layers": 2, "heads": 4},
    {"layers": 3, "heads": 4},
    {"layers": 2, "heads": 8},
)
STRENGTHS = (2.0, 4.0, 8.0)
POWERS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
WAYS: dict[str, dict[str, Any]] = {
    "integrated gradients, mask": {},
    "integrated gradients, mean": {"baseline": "mean"},
    "frozen decomposition": {"method": "frozen decomposition"},
}
SECTIONS = ("heads", "nothing", "trained", "split", "shares", "power")
Found = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is run."""

    models: int = 200  # guilty ones, clean ones, bags
    few: int = 20  # models of each kind that were trained, of each strength of the power curve
    permuted: int = 50  # columns of each model
    rows: int = 100  # screened, and as many held out
    more: int = 400  # rows of a ledger, and further rows
    replicates: int = 2000


def rate(k: int, n: int) -> Found:
    """A rate with Wilson's interval."""
    ends = wilson(k, n)
    return {"k": k, "n": n, "rate": k / n, "low": ends.low, "high": ends.high}


def counted(hits: Sequence[bool]) -> Found:
    """The rate of what is true."""
    return rate(int(np.sum(hits)), len(hits))


def shown(found: Found) -> str:
    """A rate in words."""
    return f"{found['k']} of {found['n']}: {found['rate']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


def middle(values: Sequence[float]) -> str:
    """Median and largest of sizes."""
    return f"{np.median(values):.3f} (largest {np.max(values):.3f})" if len(values) else "none"


def both_halves(n: int, plan: Plan, seed: int) -> tuple[Rows, Rows]:
    """Rows to screen and rows held out."""
    return texts(n, plan, seed=seed * 10 + 1), texts(n, plan, seed=seed * 10 + 2, prefix="h")


def tested(subject: Subject, halves: tuple[Rows, Rows], sizes: Sizes, seed: int) -> Verification:
    """The verification of the gap between the sides."""
    first, second = halves
    return mediate(
        subject,
        first,
        contrast(first),
        second,
        contrast(second),
        integrated=False,
        replicates=sizes.replicates,
        seed=seed,
        batch_size=64,
    ).verification


def nothing_found(found: Verification) -> bool:
    """Whether no head and no set of heads was verified."""
    return not found.verified and not (found.together is not None and found.together.verified)


def planted(place: int, seed: int, strength: float) -> tuple[Subject, Head, Plan]:
    """A guilty model: shapes, and words that are names or proxies, take turns."""
    shape = SHAPES[place % len(SHAPES)]
    names = (place // len(SHAPES)) % 2 == 0
    subject, head = guilty(seed, words=IDENTITY if names else PROXY, strength=strength, **shape)
    return subject, head, NAMED if names else WITH_PROXY


def heads(sizes: Sizes, seed: int) -> Found:
    """How often the guilty head is verified, and another."""
    kept: dict[float, list[Found]] = {strength: [] for strength in STRENGTHS}
    for place in range(sizes.models):
        strength = STRENGTHS[place % len(STRENGTHS)]
        subject, head, plan = planted(place, seed + place, strength)
        found = tested(subject, both_halves(sizes.rows, plan, seed + place), sizes, seed + place)
        others = [t for t in found.tests if t.verified and t.heads[0] != head]
        kept[strength].append(
            {
                "guilty": head in found.verified,
                "other": bool(others),
                "large": any(abs(t.removed) >= LARGE * abs(found.before) for t in others),
                "gap": abs(found.before),
                "sizes": [abs(t.removed / found.before) for t in others],
            }
        )
    every = [one for some in kept.values() for one in some]
    made = {str(k): _heads(v) for k, v in kept.items() if v} | {"all": _heads(every)}
    print(f"\n### Guilty heads, {sizes.rows} texts screened and {sizes.rows} held out\n")
    header = [
        "strength",
        "gap, median",
        "guilty head verified",
        "another verified",
        f"... of {LARGE:.0%} of the gap",
        "its size",
    ]
    lines = [
        [
            name,
            f"{m['gap']:.2f}",
            *(shown(m[key]) for key in ("guilty", "other", "large")),
            middle(m["sizes"]),
        ]
        for name, m in made.items()
    ]
    print(tables.table(header, lines))
    return made


def _heads(some: list[Found]) -> Found:
    made = {key: counted([one[key] for one in some]) for key in ("guilty", "other", "large")}
    return {
        **made,
        "gap": float(np.median([one["gap"] for one in some])),
        "sizes": [size for one in some for size in one["sizes"]],
    }


def nothing(sizes: Sizes, seed: int) -> Found:
    """How often anything is verified where nothing is there."""
    clean = []
    for place in range(sizes.models):
        subject, _, plan = planted(place, seed + place, 0.0)
        found = tested(subject, both_halves(sizes.rows, plan, seed + place), sizes, seed + place)
        clean.append((nothing_found(found), len(found.verified), len(found.tests)))
    made = {"clean by construction, the true column": _nothing([clean])}
    kinds: dict[str, Callable[[int], tuple[Subject, Plan]]] = {
        "guilty by construction": lambda i: planted(i, seed + i, 4.0)[::2],
        "trained, clean labels": lambda i: (of_plan(seed + i, CLEAN), CLEAN),
        "trained, identity shortcut": lambda i: (of_plan(seed + i, IDENTITY_SHORTCUT), IDENTITY_SHORTCUT),
        "trained, proxy shortcut": lambda i: (of_plan(seed + i, PROXY_SHORTCUT), PROXY_SHORTCUT),
    }
    everything = []
    for name, make in kinds.items():
        models = [permuted(*make(i), sizes, seed + i) for i in range(sizes.few)]
        everything += models
        made[f"{name}, permuted columns"] = _nothing(models)
    made["all permuted columns"] = _nothing(everything)
    print(f"\n### Nothing there, {sizes.permuted} permuted columns of each model\n")
    header = [
        "models",
        "number",
        "verified set empty",
        "lowest of a model",
        "heads verified, of those tested",
    ]
    lines = [
        [
            name,
            str(m["models"]),
            shown(m["empty"]),
            f"{m['lowest']:.2f}" if m["lowest"] is not None else "",
            shown(m["heads"]),
        ]
        for name, m in made.items()
    ]
    print(tables.table(header, lines))
    return made


def permuted(subject: Subject, plan: Plan, sizes: Sizes, seed: int) -> list[tuple[bool, int, int]]:
    """What is verified of columns of sides that are dealt out anew, on the rows screened and on those held out."""
    first, second = both_halves(sizes.rows, plan, seed)
    effects = unit_effects(subject, first, toward="mean", batch_size=64)
    draw = np.random.default_rng([seed, 1])
    made = []
    for i in range(sizes.permuted):
        given, other = (
            contrast(rows, draw.permutation(rows.groups["side"]).tolist()) for rows in (first, second)
        )
        found = verify(
            subject,
            second,
            other,
            screening_of(effects, given),
            reference=first,
            replicates=sizes.replicates,
            seed=i,
            batch_size=64,
        )
        made.append((nothing_found(found), len(found.verified), len(found.tests)))
    return made


def _nothing(models: list[list[tuple[bool, int, int]]]) -> Found:
    every = [one for some in models for one in some]
    own = [float(np.mean([one[0] for one in some])) for some in models]
    return {
        "models": len(models) if len(models) > 1 else len(every),
        "empty": counted([one[0] for one in every]),
        "lowest": min(own) if len(models) > 1 else None,
        "heads": rate(sum(one[1] for one in every), sum(one[2] for one in every)),
    }


def power(sizes: Sizes, seed: int) -> Found:
    """How often the guilty head is verified, by its effect in standard deviations of the scores."""
    made: Found = {}
    for rows in (sizes.rows, 4 * sizes.rows):
        for strength in POWERS:
            hits, asked, effect, detectable = [], [], [], []
            for place in range(sizes.few):
                subject, head, plan = planted(place, seed + place, strength)
                found = tested(subject, both_halves(rows, plan, seed + place), sizes, seed + place)
                hits.append(head in found.verified)
                asked.append(head in [t.heads[0] for t in found.tests])
                silent, _, _ = planted(place, seed + place, 0.0)
                _, second = both_halves(rows, plan, seed + place)
                plant = contrast(second).gap(score(subject, second) - score(silent, second))
                effect.append(abs(plant) / float(found.scores.std()))
                if found.detectable is not None:
                    detectable.append(found.detectable / float(found.scores.std()))
            made[f"{rows} / {strength:g}"] = {
                "rows": rows,
                "strength": strength,
                "effect": float(np.median(effect)),
                "detectable": float(np.median(detectable)),
                "asked": counted(asked),
                "guilty": counted(hits),
            }
    print("\n### Power: the guilty head verified, by what it makes of the gap\n")
    header = [
        "held-out texts",
        "strength",
        "effect, standard deviations of scores",
        "among the candidates",
        "verified",
        "detectable, as printed",
    ]
    lines = [
        [
            str(m["rows"]),
            f"{m['strength']:g}",
            f"{m['effect']:.3f}",
            shown(m["asked"]),
            shown(m["guilty"]),
            f"{m['detectable']:.3f}",
        ]
        for m in made.values()
    ]
    print(tables.table(header, lines))
    return made


@functools.cache
def of_plan(seed: int, plan: Plan) -> Subject:
    """A trained model; one is used by several sections."""
    return trained(seed, plan)


def of_trained(sizes: Sizes, seed: int) -> Found:
    """What is verified of trained models, and whether further rows agree."""
    made: Found = {}
    plans = {"identity shortcut": IDENTITY_SHORTCUT, "proxy shortcut": PROXY_SHORTCUT, "clean labels": CLEAN}
    for name, plan in plans.items():
        some, carried, again, signs, gaps, largest = [], [], [], [], [], []
        for i in range(sizes.few):
            subject = of_plan(seed + i, plan)
            halves = both_halves(sizes.rows, plan, seed + i)
            found = tested(subject, halves, sizes, seed + i)
            tests = [t for t in (*found.tests, found.together) if t is not None and t.verified]
            some.append(bool(tests))
            carried.append(any(t.carries for t in tests))
            gaps.append(abs(found.before))
            if not tests:
                continue
            largest.append(max(abs(t.removed) for t in tests))
            further = texts(sizes.more, plan, seed=(seed + i) * 10 + 3, prefix="f")
            scores = ablated(
                subject, further, [(), *(t.heads for t in tests)], reference=halves[0], batch_size=64
            )
            for test, changed in zip(tests, scores[1:], strict=True):
                low, high = difference(scores[0] - changed, contrast(further).weights)
                again.append(low > 0 if test.removed > 0 else high < 0)
                signs.append((low + high) * test.removed > 0)
        made[name] = {
            "some": counted(some),
            "carried": counted(carried),
            "signs": counted(signs) if signs else None,
            "again": counted(again) if again else None,
            "gap": float(np.median(gaps)),
            "largest": [float(one) for one in largest],
        }
    print(f"\n### Trained models; what was verified, once more on {sizes.more} further texts\n")
    header = [
        "labels",
        "gap, median",
        "something verified",
        "... that carries",
        "largest effect, median",
        "same sign on further texts",
        "interval off 0 there",
    ]
    lines = [
        [
            name,
            f"{m['gap']:.2f}",
            shown(m["some"]),
            shown(m["carried"]),
            middle(m["largest"]),
            *("none" if m[key] is None else shown(m[key]) for key in ("signs", "again")),
        ]
        for name, m in made.items()
    ]
    print(tables.table(header, lines))
    return made


def difference(values: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Welch's interval of a difference in means, in the normal form."""
    sides = values[weights > 0], values[weights < 0]
    half = 1.96 * math.sqrt(sum(one.var(ddof=1) / len(one) for one in sides))
    middle = float(sides[0].mean() - sides[1].mean())
    return middle - half, middle + half


def share_of(attribution: Attribution, rows: Rows, words: Sequence[str]) -> float:
    """What a ledger says of some words together."""
    made = word_ledger(attribution, contrast(rows), minimum=2, replicates=50)
    return sum(one.estimate for one in made.shares if one.unit in words)


def exchanged(rows: Rows, word: str, other: str) -> Rows:
    """The texts with one word of a pair in all of them."""
    lines = [" ".join(word if one == other else one for one in text.split()) for text in rows.inputs["text"]]
    return Rows(ids=rows.ids, inputs={"text": np.array(lines, dtype=object)})


def made_by_words(subject: Subject, rows: Rows, pair: tuple[str, str]) -> float:
    """What a pair of words makes of the gap: how much more often a side has one, times what the score moves by it."""
    has = np.array([pair[0] in text.split() for text in rows.inputs["text"]], dtype=float)
    change = score(subject, exchanged(rows, *pair)) - score(subject, exchanged(rows, *pair[::-1]))
    return contrast(rows).gap(has) * float(change.mean())


def swapped_share(subject: Subject, rows: Rows, pair: tuple[str, str]) -> float:
    """The same from attributions along the swap from one word to the other: the replaced word's alone."""
    has = np.array([pair[0] in text.split() for text in rows.inputs["text"]], dtype=float)
    made = along_swaps(subject, exchanged(rows, *pair[::-1]), exchanged(rows, *pair), unit="word")
    place = [[" -> " in token for token in tokens].index(True) for tokens in made.tokens]
    return contrast(rows).gap(has) * float(made.scores[np.arange(len(rows)), place].mean())


def shares(sizes: Sizes, seed: int) -> Found:
    """Relative errors of the planted words' share of the gap."""
    errors: dict[tuple[str, str], list[float]] = {}
    for place in range(sizes.models):
        bag = Bag(seed + place, proxy=1.0 + place % 3, product=float(place % 2))
        plan = Plan(often=(0.75, 0.25))
        rows = texts(sizes.more, plan, seed=(seed + place) * 10 + 4)
        true = [
            w * value
            for w, text in zip(contrast(rows).weights, rows.inputs["text"], strict=True)
            for word, value in zip(text.split(), bag.true_scores(text), strict=True)
            if word in PROXY
        ]
        found = share_of(attribute(bag.subject(), rows), rows, PROXY)
        errors.setdefault(("bag of words", "integrated gradients, mask"), []).append(
            found / math.fsum(true) - 1
        )
    for place in range(max(1, sizes.models // 4)):
        for name, extra in {
            "Transformer, one size of norm": {"steady": 30.0, "width": 32},
            "Transformer of width 16": {"width": 16},
            "Transformer of width 64": {"width": 64},
        }.items():
            words, plan = ((IDENTITY, NAMED), (PROXY, WITH_PROXY))[place % 2]
            strength = 4.0 * (6.0 if "steady" in extra else 1.0)
            subject, silent = (
                guilty(seed + place, words=words, strength=s, **extra)[0] for s in (strength, 0.0)
            )
            rows = texts(sizes.rows, plan, seed=(seed + place) * 10 + 4)
            true = contrast(rows).gap(score(subject, rows) - score(silent, rows))
            _each_way(errors, name, subject, rows, words, true)
    for i in range(sizes.few):
        for name, plan, words in (
            ("trained, identity shortcut", IDENTITY_SHORTCUT, IDENTITY),
            ("trained, proxy shortcut", PROXY_SHORTCUT, PROXY),
        ):
            rows = texts(sizes.more, plan, seed=(seed + i) * 10 + 4)
            subject = of_plan(seed + i, plan)
            true = made_by_words(subject, rows, words)
            _each_way(errors, name, subject, rows, words, true)
            errors.setdefault((name, "along the swap"), []).append(
                swapped_share(subject, rows, words) / true - 1
            )
    made = {
        f"{model} / {way}": {
            "model": model,
            "way": way,
            "close": counted([abs(one) <= CLOSE for one in some]),
            "same sign": counted([one > -1 for one in some]),
            "median": float(np.median(some)),
            "sizes": [abs(one) for one in some],
        }
        for (model, way), some in errors.items()
    }
    print("\n### The planted words' share of the gap, beside what they make of it\n")
    header = [
        "model",
        "attribution",
        f"within {CLOSE:.0%}",
        "relative error, median",
        "size of the error, median",
    ]
    lines = [
        [m["model"], m["way"], shown(m["close"]), f"{m['median']:+.3f}", middle(m["sizes"])]
        for m in made.values()
    ]
    print(tables.table(header, lines))
    return made


def _each_way(
    errors: dict[tuple[str, str], list[float]],
    name: str,
    subject: Subject,
    rows: Rows,
    words: Sequence[str],
    true: float,
) -> None:
    for way, options in WAYS.items():
        more = {"background": rows} if options.get("baseline") == "mean" else {}
        found = share_of(attribute(subject, rows, **options, **more), rows, words)
        errors.setdefault((name, way), []).append(found / true - 1)


def split(sizes: Sizes, seed: int) -> Found:
    """Whether the part that was planted is found, and the other is not."""
    made: Found = {}
    kinds = {"proxies": ONLY_PROXY, "treatment": ONLY_TREATMENT}
    for what, plan in kinds.items():
        for model, n in (("bag of words", sizes.models // 2 or 1), ("trained", sizes.few)):
            ways = {"": {}} if model == "bag of words" else WAYS
            for way, options in ways.items():
                some = []
                for i in range(n):
                    rows = texts(sizes.more, plan, seed=(seed + i) * 10 + 5)
                    subject = (
                        Bag(
                            seed + i, proxy=2.0 * (what == "proxies"), product=float(what == "treatment")
                        ).subject()
                        if model == "bag of words"
                        else of_plan(seed + i, plan)
                    )
                    more = {"background": rows} if options.get("baseline") == "mean" else {}
                    found = parts_of_gap(
                        attribute(subject, rows, **options, **more),
                        contrast(rows),
                        identity=IDENTITY if plan.named else (),
                        replicates=min(sizes.replicates, 1000),
                    )
                    some.append(_split(found, what))
                made[f"{what} / {model} / {way}"] = {
                    "planted": what,
                    "model": f"{model}, {way}" if way else model,
                    **{key: counted([one[key] for one in some]) for key in some[0] if key != "other"},
                    "other": [one["other"] for one in some],
                }
    print(f"\n### Proxies and treatment told apart, {sizes.more} texts\n")
    header = [
        "planted",
        "model",
        "the larger of the two, off 0",
        "other holds 0 or below 10 % of the gap",
        "planted word's own part off 0",
        "its other part holds 0 or below 10 %",
        "other part / gap, median",
    ]
    lines = [
        [
            m["planted"],
            m["model"],
            *(shown(m[k]) for k in ("right", "absent", "word", "word absent")),
            middle(m["other"]),
        ]
        for m in made.values()
    ]
    print(tables.table(header, lines))
    return made


def _split(found: GapParts, what: str) -> Found:
    """What is claimed of the whole gap, and of the planted word alone."""
    other = "treatment" if what == "proxies" else "proxies"
    its, rest = found.part(what), found.part(other)  # type: ignore[arg-type]
    unit = next(one for one in found.units if one.unit == PROXY[0])
    spans = {
        "proxies": (unit.frequency, unit.frequency_low, unit.frequency_high),
        "treatment": (unit.treatment, unit.treatment_low, unit.treatment_high),
    }
    size = abs(found.gap)
    return {
        "right": abs(its.estimate) > abs(rest.estimate) and its.low * its.high > 0,
        "absent": rest.low <= 0 <= rest.high or abs(rest.estimate) < LARGE * size,
        "word": spans[what][1] * spans[what][2] > 0,
        "word absent": spans[other][1] <= 0 <= spans[other][2] or abs(spans[other][0]) < LARGE * size,
        "other": abs(rest.estimate) / size,
    }


def measure(sizes: Sizes, only: Sequence[str], seed: int) -> Found:
    """The sections asked for, as plain numbers."""
    parts: dict[str, Callable[[Sizes, int], Found]] = {
        "heads": heads,
        "nothing": nothing,
        "power": power,
        "trained": of_trained,
        "shares": shares,
        "split": split,
    }
    return {name: parts[name](sizes, seed) for name in SECTIONS if name in only}


def main() -> None:
    """Make the models, look, count."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--models", type=int, default=Sizes().models, help="guilty ones, clean ones, bags of words"
    )
    parser.add_argument(
        "--few", type=int, default=Sizes().few, help="trained ones of each kind, and of each strength"
    )
    parser.add_argument("--quick", action="store_true", help="8 models, 2 of each kind, 5 columns")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument(
        "--seed", type=int, default=5000, help="of the first model; settings were chosen on 0 to 999"
    )
    parser.add_argument("--json", metavar="FILE")
    given = parser.parse_args()
    if min(given.models, given.few) < 1:
        parser.error("--models and --few must be 1 or more")
    sizes = Sizes(models=given.models, few=given.few)
    if given.quick:
        sizes = Sizes(models=8, few=2, permuted=5, rows=60, more=120, replicates=300)
    torch.set_num_threads(1)
    print(f"{datetime.datetime.now(datetime.UTC).date().isoformat()}: {sizes}, seed {given.seed}")
    found = measure(sizes, given.only, given.seed)
    if given.json:
        with open(given.json, "w", encoding="utf-8") as file:
            json.dump({"sizes": asdict(sizes), "seed": given.seed, **found}, file, indent=1)


if __name__ == "__main__":
    main()
