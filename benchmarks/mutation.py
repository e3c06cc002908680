"""How many faults planted in `bias/` do its tests find? Mutants of cosmic-ray, drawn at random.

    pip install cosmic-ray coverage pytest-cov          # none of them is needed for anything else
    python benchmarks/mutation.py --mutants 300 --seed 0

The repository is cloned, so that no fault is ever planted in the checkout. The tests run once and note which of them
reach which line of `bias/`: those in tests/bias by themselves, and the rest of the suite but for what no `bias/` is in
(heads, figures) and what runs in a browser. A mutant changes one place: an operator, a comparison, a number, a
condition, a loop, an exception. Places are drawn with equal chance, and of each one of its mutants; what stands in
annotations is left out, where every change is found by importing it. Each mutant is tested by the tests of tests/bias
that reach its line, until one fails, and if none does by those of the rest. A mutant that no test reaches counts as not
found.

Reported are the share found by tests/bias and by the suite, with Wilson's intervals, and every mutant that was not
found, to be read. Some are equal to the original: those that were read and found so are in equal_mutants.json, each
with the reason, and a third share leaves them out.
"""

import argparse
import ast
import collections
import hashlib
import io
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
# What holds for every module, by its name: lines of signatures, constants and records run when it is imported.
OF_RECORDS = (
    "tests/bias/test_records.py::test_records_are_frozen_slotted_and_keyword_only",
    "tests/bias/test_edges_of_defaults.py::test_defaults_and_constants_are_the_pinned_ones",
)
OF_THE_REST = 15  # so many tests of the rest are tried: they are slow
OF_ARRAYS = ("tests/bias/test_records.py::test_records_of_arrays_are_compared_by_nobody_and_have_a_hash",)
PRELOADED = "numpy scipy.stats scipy.optimize pandas pyarrow pyarrow.compute statsmodels.api narwhals"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One change of one place."""

    file: str
    line: int
    column: int
    operator: str
    occurrence: int


def annotated(source: str) -> set[tuple[int, int]]:
    """Where annotations are: the line and column of every node in one."""
    found: set[tuple[int, int]] = set()
    for node in ast.walk(ast.parse(source)):
        parts = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        for part in filter(None, parts):
            found |= {(n.lineno, n.col_offset) for n in ast.walk(part) if hasattr(n, "lineno")}
    return found


def lines_annotated(source: str) -> set[int]:
    """The lines that hold a part of an annotation of several places, as "int | None"."""
    return {line for line, _ in annotated(source)}


def mutants_of(root: Path, session: Path) -> list[Mutant]:
    """Every mutant of `bias/` that cosmic-ray makes, but for those of annotations."""
    if not session.is_file():
        settings = session.with_suffix(".toml")
        settings.write_text(
            '[cosmic-ray]\nmodule-path = "bias"\ntimeout = 1\nexcluded-modules = []\ntest-command = "true"\n'
            '[cosmic-ray.distributor]\nname = "local"\n'
        )
        subprocess.run(
            ["cosmic-ray", "init", str(settings), str(session)], cwd=root, check=True, stdout=sys.stderr
        )
    asked = (
        "select module_path, start_pos_row, start_pos_col, operator_name, occurrence from mutation_specs "
        "order by 1, 2, 3, 4, 5"
    )
    with sqlite3.connect(session) as opened:
        rows = opened.execute(asked).fetchall()
    typed = {file: lines_annotated((root / file).read_text("utf-8")) for file in {row[0] for row in rows}}
    return [
        Mutant(file=file, line=line, column=column, operator=operator, occurrence=occurrence)
        for file, line, column, operator, occurrence in rows
        if not ("BitOr" in operator and line in typed[file])
    ]


def drawn(mutants: list[Mutant], n: int, seed: int) -> list[Mutant]:
    """Places with equal chance, and of each place one of its mutants."""
    places: dict[tuple[str, int, int], list[Mutant]] = {}
    for one in mutants:
        places.setdefault((one.file, one.line, one.column), []).append(one)
    draw = random.Random(seed)
    return [draw.choice(places[place]) for place in draw.sample(sorted(places), min(n, len(places)))]


def collected(root: Path, part: list[str]) -> set[str]:
    """The tests that there are: one that is named and is not there would end pytest as if it had found the fault."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *part]
    environment = {**os.environ, "PYTHONPATH": str(root.parent)}
    listed = subprocess.run(command, cwd=root, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return {line for line in listed.stdout.splitlines() if "::" in line}


def reached(notes: Path, known: set[str]) -> dict[tuple[str, int], list[str]]:
    """(file, line) -> the tests that reach it, from coverage's notes."""
    import coverage  # type: ignore[import-not-found, unused-ignore]

    data = coverage.CoverageData(str(notes))
    data.read()
    found = {}
    for file in data.measured_files():
        name = f"bias/{Path(file).name}"
        for line, contexts in data.contexts_by_lineno(file).items():
            found[name, line] = sorted({context.partition("|")[0] for context in contexts} & known)
    return found


def imported_only(root: Path, file: str, line: int) -> bool:
    """Whether a line runs when the module is imported, so that no test is noted for it."""
    tree = ast.parse((root / file).read_text("utf-8"))
    inside = {
        n
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.Lambda))
        for n in range(
            node.body[0].lineno if isinstance(node.body, list) else node.lineno, (node.end_lineno or 0) + 1
        )
    }
    return line not in inside


def tests_for(root: Path, one: Mutant, lines: dict[tuple[str, int], list[str]]) -> list[str]:
    """The tests to run: those that reach the line; for a line of the module itself, all that reach any of its lines."""
    if imported_only(root, one.file, one.line):  # noted for whichever test imported the module first
        tests = sorted({test for (file, _), some in lines.items() if file == one.file for test in some})
        laws = (*OF_RECORDS, *(OF_ARRAYS if "eq=False" in (root / one.file).read_text("utf-8") else ()))
        return [*tests, *(f"{test}[{Path(one.file).stem}]" for test in laws)]
    tests = lines.get((one.file, one.line), [])
    if not tests:  # a statement of several lines is noted at its first
        for before in range(one.line - 1, max(0, one.line - 12), -1):
            tests = lines.get((one.file, before), [])
            if tests:
                break
    return tests


def outcome(root: Path, one: Mutant, tests: list[str], timeout: float, *, change: bool = True) -> str:
    """ "found", "not found", "timeout" (found, too), or "not reached"; without a change, tests that pass are "not found"."""
    from cosmic_ray.mutating import apply_mutation  # type: ignore[import-not-found]
    from cosmic_ray.plugins import get_operator  # type: ignore[import-not-found]

    if not tests:
        return "not reached"
    path = root / one.file
    original = path.read_bytes()
    try:
        if change and apply_mutation(path, get_operator(one.operator)(), one.occurrence)[1] is None:
            return "no change"
        child = os.fork()
        if child == 0:
            os.setsid()
            code = 3
            try:
                import pytest

                os.chdir(root)
                with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                    code = pytest.main(
                        ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:cov", "--no-header", *tests]
                    )
            finally:
                os._exit(int(code))
        ended = time.monotonic() + timeout
        while time.monotonic() < ended:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return "not found" if os.waitstatus_to_exitcode(status) == 0 else "found"
            time.sleep(0.02)
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return "timeout"
    finally:
        path.write_bytes(original)


def in_order(tests: list[str], seed: str, most: int) -> list[str]:
    """The tests in an order drawn for this mutant, so many of them at most, files side by side."""
    draw = random.Random(hashlib.sha256(seed.encode()).hexdigest())
    chosen = draw.sample(tests, min(most, len(tests)))
    return sorted(chosen, key=lambda test: test.partition("::")[0])


def wilson(k: int, n: int) -> tuple[float, float]:
    """Wilson's interval of k of n at 95 %."""
    from scipy.stats import binomtest

    interval = binomtest(k, n).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def clone() -> Iterator[Path]:
    """A clone of what is committed, with the data beside it."""
    folder = Path(tempfile.mkdtemp(prefix="mutation-"))
    try:
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder / "clinometer")], check=True)
        if (ROOT.parent / "shared").is_dir():
            (folder / "shared").symlink_to((ROOT.parent / "shared").resolve())
        yield folder / "clinometer"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# The two parts of the suite, each with the file that notes which test reaches which line. Coverage takes up any .coverage.*.
PARTS = {
    ".noted-own": ["tests/bias"],
    ".noted-rest": [
        "tests",
        "--ignore=tests/bias",
        "--ignore=tests/interpret",
        "--ignore=tests/visualizers",
        "-m",
        "not browser and not gpu",
    ],
}


def noted(root: Path, notes: str) -> None:
    """Run one part of the suite once, and note which of its tests reach which line."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(root.parent),
        "OMP_NUM_THREADS": "1",
        "COVERAGE_FILE": str(root / notes),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *PARTS[notes]]
    subprocess.run(
        [*command, f"--cov={root / 'bias'}", "--cov-context=test", "--cov-report="],
        cwd=root,
        env=environment,
        check=notes
        == ".noted-own",  # a test of the rest may miss a browser here; it is then used for nothing
        stdout=sys.stderr,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mutants", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds for the tests of one mutant")
    parser.add_argument("--most-tests", type=int, default=150, help="so many of the tests that reach a line")
    parser.add_argument("--root", type=Path, help="a clone with such notes in it, to go on with")
    parser.add_argument("--session", type=Path, help="where cosmic-ray keeps the list of mutants")
    parser.add_argument(
        "--json", type=Path, help="what became of each, kept after every mutant; and gone on from"
    )
    asked = parser.parse_args()
    clones = iter([asked.root]) if asked.root else clone()
    root = next(clones)
    for notes in PARTS:
        if not (root / notes).is_file():
            noted(root, notes)
    sys.path.insert(0, str(root.parent))
    for name in PRELOADED.split():
        __import__(name)
    session = asked.session or root.parent / "mutants.sqlite"
    lines, rest = (reached(root / notes, collected(root, part)) for notes, part in PARTS.items())
    chosen = drawn(mutants_of(root, session), asked.mutants, asked.seed)
    kept: list[dict[str, object]] = []
    if asked.json and asked.json.is_file():
        kept = json.loads(asked.json.read_text("utf-8"))
    for place, one in enumerate(chosen):
        if place < len(kept):
            continue
        tests = in_order(tests_for(root, one, lines), f"{one}", asked.most_tests)
        if (
            place % 25 == 0
            and tests
            and outcome(root, one, tests, asked.timeout, change=False) != "not found"
        ):
            raise RuntimeError(
                f"the tests of {one.file}:{one.line} fail without any fault: nothing can be said"
            )
        result = outcome(root, one, tests, asked.timeout)
        by_rest = ""
        if result in ("not found", "not reached"):
            by_rest = of_the_rest(
                root, one, in_order(rest.get((one.file, one.line), []), f"{one}", 40), asked
            )
        kept.append({**asdict(one), "tests": len(tests), "outcome": result, "rest": by_rest})
        print(
            f"{place + 1} of {len(chosen)}: {one.file}:{one.line} {one.operator}: {result} {by_rest}",
            file=sys.stderr,
            flush=True,
        )
        if asked.json:
            asked.json.write_text(json.dumps(kept, indent=1), encoding="utf-8")
    report(root, kept)
    next(clones, None)


def of_the_rest(root: Path, one: Mutant, tests: list[str], asked: argparse.Namespace) -> str:
    """What the rest of the suite finds; tests of it that fail without any fault say nothing."""
    if not tests:
        return "not reached"
    found = outcome(root, one, tests, asked.timeout)
    if (
        found in ("found", "timeout")
        and outcome(root, one, tests, asked.timeout, change=False) != "not found"
    ):
        return "fails without it"
    return found


def why_equal(root: Path, one: dict[str, object]) -> str | None:
    """The reason why a mutant was read and found to be equal to the original, or None."""
    line = (root / str(one["file"])).read_text("utf-8").splitlines()[int(str(one["line"])) - 1]
    at = line[int(str(one["column"])) :]
    for read in json.loads((Path(__file__).parent / "equal_mutants.json").read_text("utf-8")):
        of_file = read["file"] in ("*", one["file"]) and read["operator"] in str(one["operator"])
        if of_file and re.search(read["text"], line.strip()) and re.search(read.get("at", ""), at):
            return str(read["why"])
    return None


def share(found: int, n: int) -> str:
    """A share with its interval."""
    low, high = wilson(found, n)
    return f"{found} of {n}: {found / n:.3f} [{low:.3f}, {high:.3f}]"


def report(root: Path, kept: list[dict[str, object]]) -> None:
    """Print the shares found, and what was not found."""
    good = ("found", "timeout")
    counted = [one for one in kept if one["outcome"] != "no change"]
    own = [one for one in counted if one["outcome"] in good]
    missed = [one for one in counted if one not in own and one.get("rest") not in good]
    equal = [one for one in missed if why_equal(root, one) is not None]
    n = len(counted)
    print(f"found by tests/bias: {share(len(own), n)}")
    print(f"found by the suite: {share(n - len(missed), n)}")
    print(f"found by the suite of those not read and found equal: {share(n - len(missed), n - len(equal))}\n")
    for said, times in collections.Counter(
        f"{one['outcome']} {one.get('rest', '')}" for one in counted
    ).most_common():
        print(f"- {said}: {times}")
    print("\nnot found:\n")
    for one in missed:
        text = (root / str(one["file"])).read_text("utf-8").splitlines()[int(str(one["line"])) - 1].strip()
        said = why_equal(root, one)
        print(
            f"- {one['file']}:{one['line']} {one['operator']} ({one['tests']} tests): `{text}`"
            + (f" equal: {said}" if said else "")
        )


if __name__ == "__main__":
    main()
