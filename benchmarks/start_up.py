"""What `clinometer --help` costs beside the import of typer and rich: fresh processes, in mixed rounds.

    python benchmarks/start_up.py --rounds 15

Each round starts every way once, in an order drawn anew; reported are medians of processor time, and of the ratio within
a round. The promise: the help costs no more than twice the import of what it is made of.
"""

import argparse
import os
import random
import resource
import statistics
import subprocess
import sys

# What typer itself imports to show a help with rich: both packages as a command uses them.
IMPORTS = "import typer, typer.rich_utils, rich.console, rich.table, rich.text, rich.markdown"
WAYS = {
    "python alone": "pass",
    "typer and rich": IMPORTS,
    "clinometer --help": "from clinometer.cli import main; main(['--help'])",
    "clinometer audit --help": "from clinometer.cli import main; main(['audit', '--help'])",
    "clinometer --version": "from clinometer.cli import main; main(['--version'])",
    "import clinometer": "import clinometer",
}
PROMISED = 2.0


def seconds(code: str) -> float:
    """Processor time of one fresh interpreter, its own and the system's."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(rounds: int, seed: int = 0) -> dict[str, list[float]]:
    """Processor seconds of every way, (round,) each, after one round that fills the caches and is not counted."""
    draw = random.Random(seed)
    found: dict[str, list[float]] = {name: [] for name in WAYS}
    for place in range(rounds + 1):
        for name in draw.sample(list(WAYS), len(WAYS)):
            taken = seconds(WAYS[name])
            if place > 0:
                found[name].append(taken)
    return found


def table(found: dict[str, list[float]]) -> str:
    """One row a way: its median, and the median of its ratio to typer and rich in the same round."""
    beside = found["typer and rich"]
    lines = [
        "| way | processor time, median of rounds | beside typer and rich, median [least, most] |",
        "|---|--:|--:|",
    ]
    for name, taken in found.items():
        ratios = sorted(one / other for one, other in zip(taken, beside, strict=True))
        lines.append(
            f"| {name} | {statistics.median(taken) * 1000:.0f} ms | "
            f"{statistics.median(ratios):.2f} [{ratios[0]:.2f}, {ratios[-1]:.2f}] |"
        )
    return "\n".join(lines) + "\n"


def kept(found: dict[str, list[float]]) -> bool:
    """Whether the promise holds: the median ratio of the help is at most two."""
    pairs = zip(found["clinometer --help"], found["typer and rich"], strict=True)
    return statistics.median(one / other for one, other in pairs) <= PROMISED


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    found = measure(asked.rounds, asked.seed)
    print(table(found))
    print(
        f"{asked.rounds} rounds; the promise of at most {PROMISED:g} is {'kept' if kept(found) else 'NOT KEPT'}"
    )


if __name__ == "__main__":
    main()
