"""Many cases of every reader, each reader in a process of its own: `cd tests && python -m fuzz --cases 10000`.

Prints for each reader how many cases were rejected and accepted, the slowest, and what broke the contract, with the
seed that makes the case again (`--reader policy --seed 17 --keep FOLDER`). Leaves with 1 where anything did: an error
that is not one of ours, a warning, a message that names no file, more than a second, or a process that died.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from fuzz.cases import Case, made_of, run
from fuzz.readers import BY_NAME, put

SLOW = 1.0  # seconds
MEMORY = 12 * 2**30  # bytes of addresses


def fuzzed(name: str, cases: int, first_seed: int) -> int:
    """Run the cases of one reader in this process; the exit code."""
    # transformers, torch and jinja say some things of their own on stderr; the contract is about ours.
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    reader = BY_NAME[name]
    files = reader.valid()
    found, broken, slow, slowest = Counter[str](), [], [], None
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "case"
        put(files, target)
        reader.use(reader.read(target))  # what is valid is accepted; imports are no case's time
        state = Path(tempfile.gettempdir()) / f"clinometer-fuzz-{name}"
        for seed in range(first_seed, first_seed + cases):
            state.write_text(str(seed), encoding="utf-8")
            case = run(reader, files, seed, target)
            if case.seconds > SLOW:  # once more: the machine may have been at something else
                case = min(case, run(reader, files, seed, target), key=lambda one: one.seconds)
            found[case.outcome] += 1
            if case.outcome == "broken":
                broken.append(case)
            if case.seconds > SLOW:
                slow.append(case)
            if slowest is None or case.seconds > slowest.seconds:
                slowest = case
        state.unlink()
    took = "" if slowest is None else f", slowest {slowest.seconds * 1000:.0f} ms (seed {slowest.seed})"
    print(
        f"{name}: {cases} cases, {found['rejected']} rejected, {found['accepted']} accepted, "
        f"{len(broken)} broken, {len(slow)} over {SLOW:g} s{took}",
        flush=True,
    )
    for kind, one in _kinds(broken).items():
        print(f"  seed {one.seed} and {kind[1] - 1} more: {one.said[:300]}", flush=True)
    for one in slow[:5]:
        print(f"  seed {one.seed} took {one.seconds:.1f} s: {one.said[:200]}", flush=True)
    return 1 if broken or slow else 0


def _kinds(broken: list[Case]) -> dict[tuple[str, int], Case]:
    """One case of each kind of break, with how many there are of it."""
    kinds: dict[str, list[Case]] = {}
    for case in broken:
        kinds.setdefault(case.said[:40], []).append(case)
    return {(kind, len(cases)): cases[0] for kind, cases in kinds.items()}


def main() -> int:
    """Read the arguments, and run each reader in a process of its own, one after another."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--cases", type=int, default=10_000)
    asked.add_argument("--seed", type=int, default=0, help="of the first case")
    asked.add_argument(
        "--reader", action="append", choices=[*BY_NAME], help="may be repeated; all unless said"
    )
    asked.add_argument("--keep", type=Path, help="only write the files of the first case to this folder")
    asked.add_argument("--here", action="store_true", help="run one reader in this process")
    given = asked.parse_args()
    names = given.reader or [*BY_NAME]
    if given.keep is not None:
        reader = BY_NAME[names[0]]
        put(made_of(reader, reader.valid(), given.seed), given.keep)
        return 0
    if given.here:
        return fuzzed(names[0], given.cases, given.seed)
    failed = []
    for name in names:
        command = [sys.executable, "-X", "faulthandler", "-m", "fuzz", "--here", "--reader", name]
        ran = subprocess.run(
            [*command, "--cases", str(given.cases), "--seed", str(given.seed)],
            check=False,
            stderr=subprocess.PIPE,
            text=True,
        )
        if ran.returncode:
            failed.append(name)
        if ran.returncode not in (0, 1) or "Traceback" in ran.stderr:
            state = Path(tempfile.gettempdir()) / f"clinometer-fuzz-{name}"
            seed = state.read_text(encoding="utf-8") if state.is_file() else "?"
            print(f"{name}: the process ended with {ran.returncode} at seed {seed}: {ran.stderr[-2000:]}")
    print(f"failed: {', '.join(failed)}" if failed else "no reader broke the contract")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
