"""What it costs to find the heads behind a gap: screening, and every head closed for certain.

OMP_NUM_THREADS=2 python benchmarks/heads.py --json heads.json
python benchmarks/heads.py --rows 64 --rounds 1

All are timed in interleaved rounds over the same sentences of HateXplain's validation split and MiniLM (`../shared`
beside the checkout, or --data and --model), after a run of a few rows each, as ratios:

* padded naive: each head closed by itself, in batches of 32 in the order given, padded to the longest of the batch
  (--pad-to pads all to one length). A head costs what any other does, so that one of each layer is timed (--every) and
  the time multiplied;
* naive by length: the same with rows of about one length together;
* exact: all heads, prefixes shared and several heads in one batch (`ablation.ablated`);
* screening: all heads to first order from one backward pass (`gate_effects.unit_effects`), beside one forward and
  one backward pass of the model over the same batches;
* screening, last exact: the same, and the heads of the last call closed one by one (last="exact").

What is compared must be the same: exact scores equal naive ones to 1e-4. Spearman's correlation is that of
what screening finds with the exact effect, over heads, of one contrast of two groups of posts.
"""

import argparse
import datetime
import gzip
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import rounds, tables
from scipy import stats

from clinometer.interpret.ablation import ablated
from clinometer.interpret.batches import bucketed
from clinometer.interpret.gate_effects import unit_effects
from clinometer.interpret.gates import gates
from clinometer.interpret.interventions import every_head
from clinometer.interpret.models import Subject, load
from clinometer.records import Rows

SHARED = Path(__file__).resolve().parents[2] / "shared"
BATCH = 32
TOLERANCE = 1e-4
WARM = 8  # rows
LEAST_POSTS = 8  # of each side of a contrast
SCREENINGS = {"screening": "first order", "screening, last exact": "exact"}  # and their argument `last`


def posts(folder: Path, n: int, seed: int) -> tuple[Rows, dict[str, np.ndarray]]:
    """So many posts drawn from the validation split, and for each often named community which of them name it."""
    with gzip.open(folder / "hatexplain_val.jsonl.gz", "rt", encoding="utf-8") as file:
        read = [json.loads(line) for line in file]
    chosen = np.sort(np.random.default_rng(seed).choice(len(read), n, replace=False))
    some = [read[i] for i in chosen]
    rows = Rows(
        ids=tuple(f"p{i}" for i in chosen),
        inputs={"text": np.array([" ".join(post["post_tokens"]) for post in some], dtype=object)},
    )
    named = [set(post["majority_targets"]) for post in some]
    communities = sorted({name for names in named for name in names} - {"None"})
    sides = {name: np.array([name in names for names in named]) for name in communities}
    return rows, {k: v for k, v in sides.items() if LEAST_POSTS <= v.sum() <= n - LEAST_POSTS}


@torch.no_grad()
def naive(subject: Subject, rows: Rows, heads: list[tuple[str, int]], batches: list[Any]) -> np.ndarray:
    """Every head closed by itself, batch after batch: (head, row)."""
    scores = np.zeros((len(heads), len(rows)))
    for place, head in enumerate(heads):
        with gates(subject, {head: 0.0}):
            for index, batch in batches:
                scores[place, index] = subject.select(subject.forward(batch, None)).double().cpu().numpy()
    return scores


def encoded(subject: Subject, rows: Rows, batches: list[Any], pad_to: int | None = None) -> list[Any]:
    """The rows of each batch as tensors, made outside the clock; padded further where asked."""
    made = []
    for index in batches:
        batch = dict(subject.encode(rows.take(index)))
        if pad_to is not None:
            more = max(0, pad_to - batch["input_ids"].shape[1])
            pad = subject.module.config.pad_token_id
            batch = {
                key: torch.nn.functional.pad(value, (0, more), value=pad if key == "input_ids" else 0)
                for key, value in batch.items()
            }
        made.append((index, batch))
    return made


def both_passes(subject: Subject, batches: list[Any]) -> None:
    """One forward and one backward pass to the embeddings and all weights."""
    for _, batch in batches:
        subject.module.zero_grad(set_to_none=True)
        subject.select(subject.forward(batch, None)).sum().backward()


def spearman(closing: np.ndarray, exact: np.ndarray, sides: dict[str, np.ndarray]) -> dict[str, float]:
    """Spearman's correlation over heads of the screened (row, head) with the exact effect (head, row), by contrast."""
    weights = {name: inside / inside.sum() - ~inside / (~inside).sum() for name, inside in sides.items()}
    n = closing.shape[0]
    weights = {"mean score": np.full(n, 1 / n), **weights}
    return {name: float(stats.spearmanr(w @ closing, exact @ w).statistic) for name, w in weights.items()}


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Everything, as plain numbers."""
    subject = load(given.model)
    rows, sides = posts(given.data, given.rows, given.seed)
    heads = list(every_head(subject, rows))
    lengths = [len(names) for names in subject.names(rows)]
    in_order = [np.arange(len(rows))[start : start + BATCH] for start in range(0, len(rows), BATCH)]
    padded = encoded(subject, rows, in_order, given.pad_to)
    by_length = encoded(subject, rows, bucketed(lengths, BATCH))
    sets = [(head,) for head in heads]
    few = heads[:: given.every]
    held: dict[str, Any] = {}
    runs: dict[str, Callable[[], Any]] = {
        "forward and backward": lambda: both_passes(subject, by_length),
        **{name: partial(unit_effects, subject, rows, last=last) for name, last in SCREENINGS.items()},
        "padded naive": lambda: naive(subject, rows, few, padded),
        "naive by length": lambda: naive(subject, rows, few, by_length),
        "exact": lambda: ablated(subject, rows, sets, how="zero", together=given.together),
    }
    times = {name: rounds.Times() for name in runs}
    both_passes(subject, by_length[:1])
    unit_effects(subject, rows.take(range(WARM)), last="exact")
    ablated(subject, rows.take(range(WARM)), sets[:2], how="zero")
    for place in range(given.rounds):
        for name in np.random.default_rng(place).permutation(list(runs)).tolist():
            used, started = time.process_time(), time.perf_counter()
            held[name] = runs[name]()
            share = len(heads) / len(few) if "naive" in name else 1.0
            times[name].wall.append(share * (time.perf_counter() - started))
            times[name].processor.append(share * (time.process_time() - used))
            print(f"round {place + 1}: {name} {times[name].processor[-1]:.1f} s of processors", flush=True)
    exact = held["exact"]
    first = {"naive by length": held["naive by length"], "exact": exact[:: given.every]}
    off = {key: float(np.abs(one - held["padded naive"]).max()) for key, one in first.items()}
    if max(off.values()) > TOLERANCE:
        raise SystemExit(
            f"scores with a head closed differ by {off}, at most {TOLERANCE} is expected: nothing is compared."
        )
    change = exact - held["screening"].value
    return {
        "rows": given.rows,
        "heads": len(heads),
        "tokens": int(np.sum(lengths)),
        "padded tokens": sum(int(batch["input_ids"].numel()) for _, batch in padded),
        "largest difference": off,
        "ratios": {
            name: {
                kind: asdict(rounds.ratios(getattr(one, kind), getattr(times["padded naive"], kind)))
                for kind in ("wall", "processor")
            }
            for name, one in times.items()
        },
        "to forward and backward": {
            name: {
                kind: asdict(
                    rounds.ratios(getattr(times[name], kind), getattr(times["forward and backward"], kind))
                )
                for kind in ("wall", "processor")
            }
            for name in SCREENINGS
        },
        "spearman": {name: spearman(held[name].closing, change, sides) for name in SCREENINGS},
    }


def show(found: dict[str, Any], given: argparse.Namespace) -> None:
    """Print the tables."""
    waste = found["padded tokens"] / found["tokens"]
    print(
        f"\n{found['rows']} posts, {found['heads']} heads, {given.rounds} rounds; padding makes {waste:.2f} tokens of one. "
        f"Scores agree to {max(found['largest difference'].values()):.1g}.\n"
    )
    rows = [
        [name, *(tables.number(rounds.Middle(**kinds[kind])) for kind in ("wall", "processor"))]
        for name, kinds in found["ratios"].items()
    ]
    print(tables.table(["", "time: ratio to padded naive [95 %]", "processor time [95 %]"], rows))
    print()
    for name, kinds in found["to forward and backward"].items():
        shown = ", ".join(f"{kind} {tables.number(rounds.Middle(**one))}" for kind, one in kinds.items())
        print(f"{name} to one forward and backward pass: {shown}.")
    print("\nSpearman's correlation with the exact effect, over heads:\n")
    first, *_ = found["spearman"].values()
    rows = [[key, *(f"{one[key]:.3f}" for one in found["spearman"].values())] for key in first]
    print(tables.table(["contrast", *found["spearman"]], rows))


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument(
        "--every", type=int, default=12, help="of the naive sweeps, every so many-th head is timed"
    )
    parser.add_argument("--together", type=int, default=4)
    parser.add_argument("--pad-to", type=int, help="pad every post of the padded sweep to this length")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=SHARED / "data" / "hatexplain")
    parser.add_argument("--model", type=Path, default=SHARED / "models" / "minilm-hatexplain")
    parser.add_argument("--json", metavar="FILE")
    given = parser.parse_args()
    if given.rows < 2 * LEAST_POSTS or min(given.rounds, given.every) < 1:
        parser.error(f"--rows must be {2 * LEAST_POSTS} or more, --rounds and --every 1 or more")
    about = tables.machine("cpu")
    print(
        f"{datetime.datetime.now(datetime.UTC).date().isoformat()}: {about['processors']} processors "
        f"({about['architecture']}), {about['threads']} threads, load {about['load']}"
    )
    found = measure(given)
    show(found, given)
    if given.json:
        with open(given.json, "w", encoding="utf-8") as file:
            json.dump({"machine": about, **found}, file, indent=1)


if __name__ == "__main__":
    main()
