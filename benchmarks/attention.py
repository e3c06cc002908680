"""What seeing attention costs: time and peak memory of every way, as ratios to a plain forward pass.

OMP_NUM_THREADS=2 python benchmarks/attention.py --peers --json attention.json
python benchmarks/attention.py --lengths 128 512 --rounds 20 --ways capture certified
python benchmarks/attention.py --long

benchmarks/README.md says what each row means.
"""

import argparse
import datetime
import json
from dataclasses import asdict
from typing import Any

import torch
from measuring import memory, rounds, tables
from measuring.settings import Setting, inputs, model
from measuring.ways import PLAIN, WAYS, disagreement

LENGTHS = [128, 512, 1024, 2048, 4096, 8192]
DEEP, DEEP_UP_TO, SHALLOW = 12, 2048, 2  # layers up to this length, and beyond it
LONG = 32_768
LONG_LIMIT = 4e9  # bytes that the statistics of two layers may take at this length
PART_OF_MEMORY = 0.8  # of what is available, that a way may be expected to take
TOLERANCES = {"float32": 1e-5, "float64": 1e-9}  # of attention received; half precision below
HALF_TOLERANCE = 1e-2
CHECKED_AT = 64  # tokens of the run in which every way must tell the same


def chosen_ways(names: list[str] | None, peers: bool, device: str) -> tuple[list[str], dict[str, str]]:
    """The ways that can run, and those that cannot with the reason."""
    wanted = [
        key for key, way in WAYS.items() if (key in names if names else peers or not way.peer) or key == PLAIN
    ]
    missing = {key: why for key in wanted if (why := WAYS[key].missing(device)) is not None}
    return [key for key in wanted if key not in missing], missing


@torch.no_grad()
def times(setting: Setting, ways: list[str], n_rounds: int) -> dict[str, Any]:
    """Ratios of each way that fits into memory; the others with the reason."""
    free = PART_OF_MEMORY * memory.available(setting.device)
    found: dict[str, Any] = {key: too_large(key, setting, free) for key in ways}
    fitting = [key for key in ways if found[key] is None]
    plain = model(setting)
    prepared = {key: WAYS[key].prepare(setting, plain) for key in fitting}
    check(setting, prepared)
    given = inputs(setting)
    measured = rounds.interleaved(
        {key: (lambda run=run: run(given)) for key, run in prepared.items()},
        n_rounds,
        cuda=setting.device != "cpu",
        said=setting.describe(),
    )
    floor = measured[PLAIN]
    for key, seconds in measured.items():
        found[key] = {
            "wall": asdict(rounds.ratios(seconds.wall, floor.wall)),
            "processor": asdict(rounds.ratios(seconds.processor, floor.processor)),
            "seconds": {"wall": seconds.wall, "processor": seconds.processor},
        }
    if "capture" in measured and "certified" in measured:
        apart, alone = measured["certified"], measured["capture"]
        found["certified"]["certificate apart"] = {
            "wall": asdict(rounds.added(apart.wall, alone.wall, floor.wall)),
            "processor": asdict(rounds.added(apart.processor, alone.processor, floor.processor)),
        }
    return found


def too_large(key: str, setting: Setting, free: float) -> dict[str, str] | None:
    """Why a way is left out at this length; None where it fits."""
    needed = WAYS[key].estimate(setting)
    if needed <= free:
        return None
    return {"skipped": f"needs about {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB may be used"}


def check(setting: Setting, prepared: dict[str, Any]) -> None:
    """Refuse to compare ways that do not tell the same: attention received by each key of a short example.

    Queries that are padding are left to each tool's taste, so the check has none.
    """
    short = inputs(setting, min(CHECKED_AT, setting.length))
    short.mask.fill_(1)
    told = {
        key: received(run(short))
        for key, run in prepared.items()
        if (received := WAYS[key].received) is not None
    }
    allowed = TOLERANCES.get(setting.dtype, HALF_TOLERANCE)
    for key, account in told.items():
        first = next(iter(told))
        off = disagreement(account, told[first], short.mask)
        if not off <= allowed:
            raise SystemExit(
                f"{WAYS[key].name} and {WAYS[first].name} differ by {off:.2g} in the attention a key receives; at most "
                f"{allowed:.0e} is expected. They do not measure the same thing, so nothing is compared."
            )


def peaks(setting: Setting, ways: list[str]) -> dict[str, Any]:
    """Peak memory of each way that fits, each in a fresh process."""
    free = PART_OF_MEMORY * memory.available(setting.device)
    found: dict[str, Any] = {}
    for key in ways:
        found[key] = too_large(key, setting, free)
        if found[key] is None:
            peak = memory.measure(__file__, key, setting)
            found[key] = {"failed": peak} if isinstance(peak, str) else asdict(peak)
    return found


def show(setting: Setting, n_rounds: int, timed: dict[str, Any], held: dict[str, Any]) -> None:
    """Print the table of one length."""
    print(f"\n### {setting.describe()}, {n_rounds} rounds\n")
    if timed:
        walls, work = (sorted(timed[PLAIN]["seconds"][kind]) for kind in ("wall", "processor"))
        middle = len(walls) // 2
        print(
            f"Plain forward: {walls[middle]:.3f} s elapsed, {work[middle]:.3f} s of processors (medians).\n"
        )
    rows = []
    for key in timed or held:
        cells, taken = timed.get(key, {}), held.get(key, {})
        rows.append([WAYS[key].name, *_times(cells, n_rounds), *_memory(taken, held.get(PLAIN, {}))])
        if apart := cells.get("certificate apart"):
            both = (tables.number(rounds.Middle(**apart[kind]), "+") for kind in ("wall", "processor"))
            rows.append(["  of it the certificate", *both, "", ""])
    header = [
        "way",
        "time: ratio to plain [95 %]",
        "processor time: ratio [95 %]",
        "peak MB",
        "of plain's peak",
    ]
    print(tables.table(header, rows), flush=True)


def _times(cells: dict[str, Any], n_rounds: int) -> list[str]:
    if "skipped" in cells:
        return [cells["skipped"], ""]
    if not cells:
        return ["", ""]
    few = len(cells["seconds"]["wall"])
    noted = f" in {few} rounds" if few < n_rounds else ""
    return [tables.number(rounds.Middle(**cells[kind])) + noted for kind in ("wall", "processor")]


def _memory(taken: dict[str, Any], plain: dict[str, Any]) -> list[str]:
    if "grown" not in taken:
        return [taken.get("skipped") or taken.get("failed") or "", ""]
    part = f"{taken['grown'] / plain['grown']:.2f}" if plain.get("grown") else ""
    return [f"{taken['grown'] / 1e6:.0f}", part]


def long(setting: Setting, ways: list[str]) -> dict[str, Any]:
    """Print what the statistics of a long example take, beside the limit."""
    print(f"\n### {setting.describe()}\n")
    held = peaks(setting, ways)
    rows = []
    for key, taken in held.items():
        if "grown" in taken:
            verdict = "yes" if taken["whole"] < LONG_LIMIT else "no"
            grown, whole = f"{taken['grown'] / 1e9:.2f}", f"{taken['whole'] / 1e9:.2f}"
            rows.append([WAYS[key].name, grown, whole, verdict, f"{taken['seconds']:.0f}"])
        else:
            rows.append([WAYS[key].name, taken.get("skipped") or taken["failed"], "", "", ""])
    header = ["way", "peak GB beyond the model", "peak GB of the process", "under 4 GB", "seconds"]
    print(tables.table(header, rows), flush=True)
    return held


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--layers", type=int, help="default: 12 up to 2048 tokens, 2 beyond")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--ways", nargs="+", choices=sorted(WAYS), help="default: all but the peers")
    parser.add_argument("--peers", action="store_true", help="BertViz, TransformerLens and nnsight too")
    parser.add_argument("--only", choices=["times", "memory"])
    parser.add_argument("--long", type=int, nargs="?", const=LONG, help="memory at this length alone (32768)")
    parser.add_argument("--padded", action="store_true", help="the last eighth of the tokens is padding")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--dtype", default="float32", choices=["float32", "float64", "bfloat16", "float16"])
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--peak-of", choices=sorted(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--setting", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.rounds < 1 or min(given.lengths) < 1 or (given.layers or 1) < 1:
        parser.error("--rounds, --lengths and --layers must be 1 or more")
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch finds no CUDA device here")
    return given


def main() -> None:
    """Measure what the command line asks for."""
    given = arguments()
    if given.peak_of is not None:
        print(json.dumps(asdict(memory.measure_here(given.peak_of, Setting(**given.setting)))))
        return
    ways, missing = chosen_ways(given.ways, given.peers, given.device)
    about = tables.machine(given.device)
    result: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": about,
        "missing": missing,
        "lengths": [],
    }
    versions = ", ".join(f"{package} {version}" for package, version in about["versions"].items())
    print(
        f"{result['date']}: {about['processors']} processors ({about['architecture']}), {about['threads']} threads, "
        f"{about['device']}, load {about['load']}; {versions}"
    )
    for key, reason in missing.items():
        print(f"Left out: {WAYS[key].name}, as {reason}.")

    def setting(length: int, layers: int) -> Setting:
        return Setting(
            length=length, layers=layers, device=given.device, dtype=given.dtype, padded=given.padded
        )

    if given.long is not None:
        at = setting(given.long, given.layers or SHALLOW)
        longs = [
            key for key in ways if key in (given.ways or ("plain", "statistics", "torch")) or key == PLAIN
        ]
        result["long"] = {"setting": asdict(at), "memory": long(at, longs)}
    else:
        for length in given.lengths:
            at = setting(length, given.layers or (DEEP if length <= DEEP_UP_TO else SHALLOW))
            timed = {} if given.only == "memory" else times(at, ways, given.rounds)
            held = {} if given.only == "times" else peaks(at, ways)
            show(at, given.rounds, timed, held)
            result["lengths"].append(
                {"setting": asdict(at), "rounds": given.rounds, "times": timed, "memory": held}
            )
            if given.json:
                write(given.json, result)
    if given.json:
        write(given.json, result)


def write(path: str, result: dict[str, Any]) -> None:
    """Keep what was measured so far."""
    with open(path, "w", encoding="utf-8") as file:
        json.dump(result, file, indent=1)


if __name__ == "__main__":
    main()
