"""All benchmarks, one after another, into one Markdown file: the machine, the versions, each line that ran.

    python -m benchmarks --list                    # what there is, and about how long it takes
    python -m benchmarks                           # everything, hours
    python -m benchmarks --quick                   # short versions: whether they run, not what they find
    python -m benchmarks scale heads --out results.md

Run it in the root of a checkout. Each benchmark is a process of its own, with the threads that its figures are stated
for. One that fails is reported with the end of what it said, the others go on, and the exit code is 1.
`benchmarks/RESULTS.md` is written by hand from such files: a figure that misses its target stays there with the reason.
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

HERE = Path(__file__).parent
PACKAGES = (
    "clinometer",
    "torch",
    "transformers",
    "captum",
    "fairlearn",
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "duckdb",
    "numba",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One benchmark as it is run: its arguments, its short version, its threads, and about how many minutes."""

    arguments: str
    quick: str
    threads: int = 1
    minutes: int
    needs: str = ""  # a folder of ../shared without which it is left out


LINES: dict[str, Line] = {
    "attention": Line(
        arguments="--lengths 128 512 1024 2048",
        quick="--lengths 128 --layers 2 --rounds 2 --only times",
        threads=2,
        minutes=60,
    ),
    "attribution": Line(
        arguments="--examples 64 --rounds 10", quick="--examples 4 --rounds 2", threads=2, minutes=40
    ),
    "hatexplain": Line(
        arguments="",
        quick="--posts 8 --faithful-posts 6 --methods occlusion",
        threads=2,
        minutes=60,
        needs="data/hatexplain",
    ),
    "planted": Line(arguments="", quick="--seeds 1", minutes=40, needs="models/minilm-hatexplain"),
    "audit": Line(arguments="", quick="--rows 10000", minutes=30),
    "out_of_core": Line(arguments="", quick="--rows 200000", minutes=15),
    "calibration": Line(arguments="", quick="--quick", minutes=10),
    "slices": Line(arguments="", quick="--only permutations", minutes=20),
    "slice_calibration": Line(arguments="--runs 1000", quick="--runs 5", minutes=15),
    "heads": Line(
        arguments="--rounds 5 --every 12",
        quick="--rows 16 --rounds 1 --every 36",
        minutes=12,
        needs="models/minilm-hatexplain",
    ),
    "variants": Line(
        arguments="--rounds 7",
        quick="--posts 24 --head-rows 4 --rounds 1 --timed-posts 4",
        minutes=15,
        needs="models/minilm-hatexplain",
    ),
    "laboratory": Line(arguments="", quick="--quick --only heads nothing", minutes=15),
    "bias_review": Line(arguments="", quick="--only mortgage", minutes=40, needs="data/hatexplain"),
    "explorer": Line(arguments="", quick="--rounds 1", minutes=5),
    "start_up": Line(arguments="--rounds 15", quick="--rounds 1", minutes=3),
    "scale": Line(arguments="", quick="--rows 2000 --n-texts 16 --rounds 1", minutes=10),
    "curves": Line(
        arguments="",
        quick="--rows 2000 20000 --tokens 64 128 --heads 1x2 2x4 --groups 2 8 --seconds 1",
        minutes=30,
    ),
    "killed_runs": Line(arguments="", quick="--kills 1 --engines local", minutes=12),
}


def header() -> str:
    """Date, machine in general words, versions."""
    versions = []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    machine = f"{processors} processors ({platform.machine()}), Python {platform.python_version()}"
    return f"# Benchmarks, {time.strftime('%F')}\n\n{machine}, {', '.join(versions)}.\n"


def run(name: str, line: Line, quick: bool) -> tuple[str, bool]:
    """The section of one benchmark, and whether it ended well."""
    arguments = (line.quick if quick else line.arguments).split()
    said = f"OMP_NUM_THREADS={line.threads} python benchmarks/{name}.py {' '.join(arguments)}".strip()
    load, began = os.getloadavg()[0], time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(HERE / f"{name}.py"), *arguments],
        env={**os.environ, "OMP_NUM_THREADS": str(line.threads)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    seconds = time.perf_counter() - began
    text = f"## `{name}`\n\n`{said}`, {seconds:.0f} s, load {load:.1f} at its start\n\n"
    if done.returncode:
        return f"{text}Failed with {done.returncode}:\n\n```\n{done.stderr[-2000:]}\n```\n", False
    return f"{text}{done.stdout.strip()}\n", True


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[*LINES, []], metavar="NAME", help=", ".join(LINES))
    parser.add_argument(
        "--quick", action="store_true", help="short versions: whether they run, not what they find"
    )
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("benchmark-results.md"))
    asked = parser.parse_args()
    chosen = asked.names or list(LINES)
    if asked.list:
        for name in chosen:
            needs = f"; needs ../shared/{LINES[name].needs}" if LINES[name].needs else ""
            print(f"{name:18} about {LINES[name].minutes} minutes{needs}")
        return 0
    parts, failed = [header()], []
    for name in chosen:
        line = LINES[name]
        if line.needs and not (HERE.parents[1] / "shared" / line.needs).exists():
            parts.append(f"## `{name}`\n\nLeft out: ../shared/{line.needs} is not there.\n")
            continue
        print(f"{name} ...", file=sys.stderr, flush=True)
        section, well = run(name, line, asked.quick)
        parts.append(section)
        if not well:
            failed.append(name)
        asked.out.write_text("\n".join(parts), encoding="utf-8")
    asked.out.write_text("\n".join(parts), encoding="utf-8")
    print(f"wrote {asked.out}" + (f"; failed: {', '.join(failed)}" if failed else ""), file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
