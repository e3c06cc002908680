"""What compressing a classifier of hateful posts costs, and whom: accuracy, gaps by community, time and size.

OMP_NUM_THREADS=1 python benchmarks/variants.py --markdown variants.md

The model is MiniLM fine-tuned on HateXplain (`hatexplain.py --train`), the posts are those of the validation split, both
beside the checkout or named. A post is toxic where its label is offensive or hate speech, and of a community where two
annotators or more named it. Ten communities are compared, each with all other posts, as in Mathew et al. 2021. The
weights are those of one training, so that the table speaks of this model and no other. The posts hold slurs.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from hatexplain import DATA, MODEL, read, rows_of, toxic
from measuring import tables

import clinometer as cm
from clinometer.bias.policy import GroupRule, Policy
from clinometer.compression_cost import VariantComparison
from clinometer.interpret.latency import Latency, latencies
from clinometer.interpret.variants import VARIANTS, variant
from clinometer.variant_comparison import compare_models

COMMUNITIES = (
    "African",
    "Islam",
    "Jewish",
    "Homosexual",
    "Women",
    "Refugee",
    "Arab",
    "Caucasian",
    "Hispanic",
    "Asian",
)
NAMED, OTHERS = "named", "not named"
CHOSEN = ("float32", "int8", "bfloat16", "low-rank")
METRICS = ("accuracy", "roc_auc", "false_positive_rate", "false_negative_rate")


def labelled(posts: list[dict[str, Any]]) -> cm.Rows:
    """Posts as rows: whether each is toxic, and which communities it names."""
    rows = rows_of(posts)
    return cm.Rows(
        ids=rows.ids,
        inputs=rows.inputs,
        labels=np.array([int(post["label"] != "normal") for post in posts]),
        groups={
            one: tuple(NAMED if one in post["majority_targets"] else OTHERS for post in posts)
            for one in COMMUNITIES
        },
    )


def cost(made: Mapping[str, VariantComparison], times: Mapping[str, Latency]) -> str:
    """One line per variant: what was lost by everybody, and what was gained for it."""
    lines = []
    for name, one in made.items():
        accuracy, area = (one.comparison.of(metric) for metric in ("accuracy", "roc_auc"))
        time, heads = times[name], one.heads
        apart = "" if heads is None else f"{np.mean([head.divergence for head in heads.heads]):.4f}"
        known = [] if heads is None else [h.correlation for h in heads.heads if h.correlation is not None]
        moved = one.affected[0]
        lines.append(
            [
                name,
                f"{accuracy.after:.4f}",
                change(accuracy),
                f"{area.after:.4f}",
                f"{moved.changed} of {moved.n} ({moved.share:.1%})",
                f"{time.median:.2f} [{time.low:.2f}, {time.high:.2f}]",
                f"{one.after.weight_bytes / 1e6:.1f}",
                apart,
                f"{np.median(known):.3f}" if known else "–",
            ]
        )
    header = [
        "variant",
        "accuracy",
        "change [95 %]",
        "AUROC",
        "decisions changed",
        "ms per post [quartiles]",
        "MB of weights",
        "mean total variation of maps",
        "median correlation of A * dA",
    ]
    return tables.table(header, lines)


def gaps(made: Mapping[str, VariantComparison], metric: str) -> str:
    """One line per community: the gap to all other posts, and how every variant moves it."""
    lines = []
    names = [name for name in made if name != CHOSEN[0]]
    for community in COMMUNITIES:
        found = {name: one.comparison.of(metric, NAMED, OTHERS, community) for name, one in made.items()}
        base = found[next(iter(found))]
        before = "undefined" if base.before is None else f"{base.before:+.3f}"
        lines.append([community, str(base.n_before), before, *(change(found[name]) for name in names)])
    return tables.table(["community", "n", "gap of float32", *(f"{name}: change" for name in names)], lines)


def change(one: Any) -> str:
    """A change with its interval."""
    if one.change is None:
        return f"undefined: {one.reason}"
    return f"{one.change:+.4f}" + ("" if one.low is None else f" [{one.low:+.4f}, {one.high:+.4f}]")


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument(
        "--variants", nargs="+", choices=[name for name in VARIANTS if name != "float32"], default=CHOSEN[1:]
    )
    parser.add_argument("--energy", type=float, default=0.9, help="kept by low-rank")
    parser.add_argument("--posts", type=int, help="default: the whole validation split")
    parser.add_argument("--head-rows", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--timed-posts", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    for folder in (given.data, given.model):
        if not folder.is_dir():
            parser.error(f"{folder} is not there; --data and --model name the folders")
    posts = read(given.data / "hatexplain_val.jsonl.gz")
    order = np.random.default_rng(given.seed).permutation(len(posts))[: given.posts]
    rows = labelled([posts[i] for i in order])
    teacher = cm.load(given.model)
    subjects = {"float32": toxic(teacher)}
    for how in given.variants:
        energy = given.energy if how == "low-rank" else None
        subjects[how] = toxic(variant(teacher, rows, how, energy=energy))
    rules = Policy(groups={one: GroupRule(values=(NAMED, OTHERS), reference=OTHERS) for one in COMMUNITIES})
    made = {}
    for how, subject in subjects.items():
        print(f"{how}: {len(rows)} posts", flush=True)
        made[how] = compare_models(
            subjects["float32"],
            subject,
            rows,
            rules,
            metrics=METRICS,
            head_rows=given.head_rows,
            rounds=0,
            seed=given.seed,
        )
    times = latencies(
        subjects, rows.take(range(min(given.timed_posts, len(rows)))), rounds=given.rounds, seed=given.seed
    )
    text = "\n\n".join(
        [
            f"{given.model.name}, {len(rows)} posts of the validation split; low-rank keeps {given.energy:g} of each "
            f"layer's energy; {next(iter(times.values())).threads} thread(s), batches of 32 posts, {given.rounds} "
            "interleaved passes. Intervals are of one comparison each, not of all together.",
            cost(made, times),
            "False positive rate, posts that name the community minus all others (n: normal posts of the smaller side):",
            gaps(made, "false_positive_rate"),
            "Accuracy, posts that name the community minus all others:",
            gaps(made, "accuracy"),
        ]
    )
    print(text)
    if given.markdown is not None:
        given.markdown.write_text(text + "\n", encoding="utf-8")
    if given.json is not None:
        kept = {name: json.loads(one.frame.to_json(orient="records")) for name, one in made.items()}
        given.json.write_text(json.dumps(kept, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
