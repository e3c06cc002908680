"""Does a method find what is known to decide? A planted token in copies of a classifier, over seeds.

OMP_NUM_THREADS=1 python benchmarks/planted.py --json planted.json                # MiniLM, five seeds, half an hour
python benchmarks/planted.py --seeds 1 --posts 200

For each seed the posts, the places of the token and both fine-tunings are drawn anew
(`interpret.shortcuts.planted_shortcut`): a copy in which the token decides, and a clean one in which it means
nothing. Printed are, per method, the share of affected rows in which the token has the highest score, and of the rows
of the clean copy in which it does nevertheless, beside what random scores would give. The model and the posts are
those of `benchmarks/hatexplain.py` (../shared beside the checkout, or --data and --model).
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from hatexplain import DATA, MODEL, read
from measuring import tables
from scipy.stats import binomtest

import clinometer as cm
from clinometer.interpret.shortcuts import PlantedShortcut, planted_shortcut

METHODS = (
    "integrated gradients",
    "frozen decomposition",
    "attention x gradient",
    "attention rollout",
    "raw attention",
)
FEWEST_WORDS = 6


def rows_of(data: Path, n: int, seed: int, split: str) -> cm.Rows:
    """So many labelled posts of the split, drawn by the seed."""
    posts = read(data / f"hatexplain_{split}.jsonl.gz")
    # The training split holds a post as one text, the validation split as its tokens.
    texts = np.array([post.get("text") or " ".join(post["post_tokens"]) for post in posts], dtype=object)
    long = np.flatnonzero([len(text.split()) >= FEWEST_WORDS for text in texts])
    chosen = np.random.default_rng(seed).permutation(long)[:n]
    return cm.Rows(
        ids=tuple(posts[i]["post_id"] for i in chosen),
        inputs={"text": texts[chosen]},
        labels=np.array([posts[i]["label"] for i in chosen], dtype=object),
    )


def lines_of(made: list[PlantedShortcut]) -> list[list[str]]:
    """One line for each method: shares of all seeds together, and of each seed."""
    lines = []
    for name in made[0].methods:
        ones = [one for run in made for one in run.found if one.method == name]
        sums = [
            (sum(o.found for o in ones), sum(o.n for o in ones)),
            (sum(o.false for o in ones), sum(o.n_clean for o in ones)),
        ]
        cells = []
        for count, of in sums:
            interval = binomtest(count, of).proportion_ci(0.95, method="exact")
            cells.append(f"{count} of {of}: {count / of:.3f} [{interval.low:.3f}, {interval.high:.3f}]")
        lines.append([name, cells[0], " ".join(f"{o.share:.3f}" for o in ones), cells[1]])
    return lines


def main() -> None:
    """Plant, train, look, for each seed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--split", default="train", choices=("train", "val"))
    parser.add_argument("--posts", type=int, default=400, help="of which 30 %% are held out")
    parser.add_argument("--seeds", type=int, default=5, help="0 to this less one")
    parser.add_argument("--token", default="quartz", help="a word that the model knows and no post holds")
    parser.add_argument("--label", default="hatespeech")
    parser.add_argument("--epochs", type=int, default=8, help="of each fine-tuning; the best one is kept")
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--json", metavar="FILE")
    given = parser.parse_args()
    if not given.data.is_dir():
        parser.error(f"{given.data} is not there; --data names the folder with the posts")
    subject = cm.load(given.model)
    made = []
    for seed in range(given.seeds):
        one = planted_shortcut(
            subject,
            rows_of(given.data, given.posts, seed, given.split),
            token=given.token,
            label=given.label,
            methods=given.methods,
            epochs=given.epochs,
            seed=seed,
        )
        made.append(one)
        default = one.found[0]
        print(
            f"seed {seed}: followed by {one.followed:.3f} (clean {one.clean_followed:.3f}), rate {one.learning_rate:g}; "
            f"{default.method}: {default.found} of {default.n} affected rows, {default.false} of {default.n_clean} false",
            flush=True,
        )
        if given.json:
            Path(given.json).write_text(json.dumps([asdict(run) for run in made], indent=1), encoding="utf-8")
    chance = float(np.mean([one.by_chance for one in made]))
    print(f"\n{given.model.name}, token {given.token!r} for {given.label!r}; first by chance: {chance:.3f}\n")
    print(
        tables.table(
            ["method", "first where it decides [95 %]", "by seed", "first in the clean copy [95 %]"],
            lines_of(made),
        )
    )


if __name__ == "__main__":
    main()
