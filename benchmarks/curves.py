"""How time and memory grow: with rows, tokens, heads and groups, beside a floor in the same rounds.

    OMP_NUM_THREADS=1 python benchmarks/curves.py --json curves.json
    OMP_NUM_THREADS=1 python benchmarks/curves.py --only rows --rows 10000 100000 1000000 10000000 100000000
    OMP_NUM_THREADS=1 python benchmarks/curves.py --only groups --groups 2 8 32 --seconds 10

The peak memory of each way is that of a process of its own. Each size is then timed in a further one, all ways and the
floor in every round in an order drawn anew, for as many rounds as --seconds allow; where one run of each way takes longer,
the runs whose memory was measured are the only round. Slopes are of medians, in log-log.
benchmarks/README.md says what each row means.
"""

import argparse
import datetime
import gc
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from measuring.growing import CURVES, Case
from out_of_core import peak

SIZES = {
    "rows": ("10000", "100000", "1000000", "10000000"),
    "tokens": ("128", "512", "2048", "8192", "32768"),
    "heads": ("1x2", "2x4", "4x8", "6x12", "12x12", "24x16"),
    "groups": ("2", "8", "32", "128", "200", "512", "2048"),
}
MOST_ROUNDS = 20
LEAST_ROUNDS = 6  # the fewest that have an interval of 95 %
COARSE = 5e6  # bytes under which a peak says nothing


def number(size: str) -> int:
    """A size as a number: of LAYERSxHEADS the product."""
    found = 1
    for part in size.split("x"):
        found *= int(part)
    return found


def times(case: Case, seconds: float) -> dict[str, Any]:
    """Seconds of each way in each round, for as many rounds as fit; the first warms up where enough others do."""
    shuffled = random.Random(0)
    took: dict[str, dict[str, list[float]]] = {name: {"wall": [], "processor": []} for name in case.runs}

    def one_round() -> float:
        order, began = list(case.runs), time.perf_counter()
        shuffled.shuffle(order)
        for name in order:
            gc.collect()
            used, started = time.process_time(), time.perf_counter()
            held = case.runs[name]()
            took[name]["wall"].append(time.perf_counter() - started)
            took[name]["processor"].append(time.process_time() - used)
            del held
        return time.perf_counter() - began

    for run in case.small.values():
        run()
    fitting = seconds / one_round()
    warm = fitting > LEAST_ROUNDS
    for _ in range(max(0, min(MOST_ROUNDS, int(fitting)) - (not warm))):
        one_round()
    return {name: {kind: of[warm:] for kind, of in kinds.items()} for name, kinds in took.items()}


def memory(case: Case, name: str) -> dict[str, float]:
    """The peak of one run of one way, in a process that has run little else: whole, and beyond what it had before."""
    case.small[name]()
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak counts anew from here
    before, used, started = peak(), time.process_time(), time.perf_counter()
    held = case.runs[name]()
    wall, processor = time.perf_counter() - started, time.process_time() - used
    whole = peak()
    del held
    return {"whole": whole, "grown": whole - before, "wall": wall, "processor": processor}


def of_child(given: dict[str, Any]) -> dict[str, Any]:
    """What a process of its own says of one size: times of all ways, or the memory of one.

    Raises:
        SystemExit: it did not end well.
    """
    command = [sys.executable, str(Path(__file__).resolve()), "--child", json.dumps(given)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    if done.returncode:
        raise SystemExit(f"{given}: the process ended with {done.returncode}\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def child(given: dict[str, Any]) -> dict[str, Any]:
    """In the process of its own."""
    case = CURVES[given["curve"]](given["size"], Path(given["folder"]))
    if given["way"] is None:
        return times(case, given["seconds"])
    names = list(case.runs)
    return {"names": names, **memory(case, names[given["way"]])}


@contextmanager
def prepared(curve: str, size: str, folder: Path | None) -> Iterator[str]:
    """A folder for what one size needs, with its rows where the curve is of rows."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="curves-") as name:
        if curve == "rows":
            from out_of_core import generate

            generate(Path(name), int(size))
        yield name


def measured(curve: str, size: str, given: argparse.Namespace) -> dict[str, Any]:
    """Times and memory of every way at one size."""
    with prepared(curve, size, given.folder) as folder:
        asked = {"curve": curve, "size": size, "folder": folder, "seconds": given.seconds}
        each = [of_child({**asked, "way": 0})]
        names = each[0]["names"]
        each += [of_child({**asked, "way": place}) for place in range(1, len(names))]
        held = dict(zip(names, each, strict=True))
        for of in each:
            del of["names"]
        once = {name: {kind: [of.pop(kind)] for kind in ("wall", "processor")} for name, of in held.items()}
        long = sum(of["wall"][0] for of in once.values()) > given.seconds
        took = once if long else of_child({**asked, "way": None})
    middle = {name: sorted(of["processor"])[len(of["processor"]) // 2] for name, of in took.items()}
    print(f"{curve} {size}: " + ", ".join(f"{k} {v:.3g} s" for k, v in middle.items()), file=sys.stderr)
    return {name: {**took[name], **held[name]} for name in took}


def show(curve: str, found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Print the curve and its slopes; the slopes."""
    import statistics

    from measuring import rounds, tables
    from measuring.powers import growth

    lines, costs = [], {}
    for size, ways in found.items():
        floor = next(iter(ways.values()))
        for name, of in ways.items():
            middle = statistics.median(of["processor"])
            ratio = rounds.ratios(of["processor"], floor["processor"])
            shown = tables.number(ratio)
            if ratio.low is None:
                shown = f"{ratio.median:.3f} ({_range(of['processor'], floor['processor'])})"
            lines.append(
                [
                    size,
                    name,
                    f"{middle:.4g}",
                    "1" if of is floor else shown,
                    str(len(of["processor"])),
                    f"{of['grown'] / 1e6:,.0f}",
                    f"{of['whole'] / 1e6:,.0f}",
                ]
            )
            costs.setdefault(name, []).append((number(size), middle, of["grown"]))
    header = [curve, "way", "processor, s", "ratio to the first way [95 %]", "rounds"]
    print(f"\n### {curve}\n\n" + tables.table([*header, "peak MB beyond the start", "of the process"], lines))
    slopes = {}
    for name, each in costs.items():
        for kind, place, least in (("processor time", 1, 0.0), ("memory", 2, COARSE)):
            points = [(one[0], one[place]) for one in each if one[place] > least]
            if len(points) > 1:
                slopes[f"{name}, {kind}"] = (points[0][0], points[-1][0], growth(*zip(*points, strict=True)))
    rows = []
    for name, (least, most, of) in slopes.items():
        ends = "" if of.low is None else f" [{of.low:.2f}, {of.high:.2f}]"
        change = " / ".join(
            f"{x:,.3g}" if x < 100 else f"{x:,.0f}" for x in (of.found, of.linear, of.quadratic)
        )
        rows.append([name, f"{least:,} to {most:,}", f"{of.slope:.2f}{ends}", f"{of.last:.2f}", change])
    head = ["way", "from ... to", "slope [95 %]", "last step", "times as much: found / linear / quadratic"]
    print("\n" + tables.table(head, rows), flush=True)
    return {name: asdict(of) for name, (_, _, of) in slopes.items()}


def _range(of: list[float], to: list[float]) -> str:
    ratios = [a / b for a, b in zip(of, to, strict=True)]
    return f"{min(ratios):.3f} to {max(ratios):.3f}" if len(ratios) > 1 else "one round"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=list(CURVES), default=list(CURVES))
    parser.add_argument("--rows", nargs="+", default=SIZES["rows"], help="up to 100000000, 3 GB on disk")
    parser.add_argument("--tokens", nargs="+", default=SIZES["tokens"])
    parser.add_argument("--heads", nargs="+", default=SIZES["heads"], metavar="LAYERSxHEADS")
    parser.add_argument("--groups", nargs="+", default=SIZES["groups"])
    parser.add_argument("--seconds", type=float, default=60, help="of rounds at each size; one at least")
    parser.add_argument("--folder", type=Path, help="where rows are written, and deleted again")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    for curve in given.only:
        sizes = getattr(given, curve)
        if sorted(sizes, key=number) != list(sizes) or number(sizes[0]) < 1:
            parser.error(f"--{curve} {' '.join(sizes)}: sizes above 0, ascending, are expected")
    return given


def main() -> None:
    """Measure what the command line asks for."""
    given = arguments()
    if given.child is not None:
        print(json.dumps(child(given.child)))
        return
    from measuring import tables

    about = tables.machine("cpu")
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    versions = ", ".join(f"{package} {version}" for package, version in about["versions"].items())
    print(
        f"{date}: {about['processors']} processors ({about['architecture']}), {about['threads']} threads, "
        f"load {about['load']}; {versions}"
    )
    result: dict[str, Any] = {"date": date, "machine": about, "curves": {}}
    for curve in given.only:
        found: dict[str, dict[str, Any]] = {}
        for size in getattr(given, curve):
            found[size] = measured(curve, size, given)
        result["curves"][curve] = {"found": found, "growth": show(curve, found)}
        if given.json:
            given.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
