"""What runs at each size of a scaling curve: the ways, the floor first, and a short run that warms each up."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

Run = Callable[[], Any]
SHORT_ROWS = 1_000
IN_MEMORY_UP_TO = 100_000  # rows that are also audited as they lie, uncounted
MAPS_MAY_TAKE = 4e9  # bytes, of whole maps
TEXTS, TOKENS, WIDTH = 16, 64, 384  # of the model whose layers and heads grow
AUDITED = 100_000  # rows that are divided among groups
PAIRS_UP_TO = 200  # groups of which every pair is compared here: minutes, and no audit compares more
TOLERANCES = {"selection_rate": 0.1, "true_positive_rate": 0.1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One size of a curve: each way at this size, and at a small one, which loads and compiles what it needs."""

    runs: dict[str, Run]  # what all are divided by comes first
    small: dict[str, Run]


def rows(size: str, folder: Path) -> Case:
    """An audit of Parquet files that DuckDB counts, beside DuckDB's own count of the same columns."""
    from out_of_core import generate

    small = folder / "small"
    if not small.exists():
        small.mkdir()
        generate(small, SHORT_ROWS)
    runs, short = _of_files(folder), _of_files(small)
    if int(size) > IN_MEMORY_UP_TO:
        del runs["audit of a table in memory"], short["audit of a table in memory"]
    return Case(runs=runs, small=short)


def _of_files(folder: Path) -> dict[str, Run]:
    from out_of_core import PLANS

    files = str(folder / "*.parquet")
    roles, options = next(iter(PLANS.values()))

    def bare() -> Any:
        import duckdb

        sums = ", ".join(f"sum({name})" for name in (roles["score"], *roles["measures"]))
        keys = ", ".join((*roles["groups"], roles["label"], roles["prediction"]))
        opened = duckdb.connect(config={"threads": 1, "memory_limit": "1GB"})
        return opened.execute(
            f"SELECT {keys}, count(*), {sums} FROM read_parquet('{files}') GROUP BY ALL"
        ).fetchall()

    def counted() -> Any:
        from clinometer.sources import scan

        return scan(files, **roles, memory_limit="1GB", threads=1, temporary=folder).counted(**options)

    def audited() -> Any:
        from clinometer.bias.audit import audit

        return audit(counted())

    def in_memory() -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pa_parquet

        from clinometer.bias.audit import audit
        from clinometer.evidence import from_table

        tables = [pa_parquet.read_table(file) for file in sorted(folder.glob("*.parquet"))]
        return audit(from_table(pa.concat_tables(tables), id="person", **roles))

    return {
        "DuckDB's bare count": bare,
        "counted out of core": counted,
        "counted and audited": audited,
        "audit of a table in memory": in_memory,
    }


def tokens(size: str, folder: Path) -> Case:
    """One layer of BERT-base's width: its attention seen, beside a plain forward pass."""
    import torch

    from .settings import SHORT, Setting, inputs, model
    from .ways import PLAIN, WAYS

    setting = Setting(length=int(size), layers=1)
    plain = model(setting)

    def whole(given: Any) -> Any:
        seen = WAYS["capture"].prepare(setting, plain)(given)
        return [seen.maps(layer) for layer in seen.layers]

    ways = {WAYS[key].name: WAYS[key].prepare(setting, plain) for key in (PLAIN, "capture", "statistics")}
    if (setting.layers + 2) * setting.map_bytes <= MAPS_MAY_TAKE:
        ways["whole maps kept"] = whole

    def once(way: Callable[[Any], Any], given: Any) -> Any:
        with torch.no_grad():
            return way(given)

    return Case(
        runs={name: partial(once, way, inputs(setting)) for name, way in ways.items()},
        small={name: partial(once, way, inputs(setting, SHORT)) for name, way in ways.items()},
    )


def heads(size: str, folder: Path) -> Case:
    """A text classifier of LAYERSxHEADS: capture, and heads found to first order, beside a forward and a backward pass."""
    import numpy as np
    import torch
    from heads import both_passes, encoded

    from clinometer.interpret.capture import trace
    from clinometer.interpret.gate_effects import unit_effects
    from clinometer.interpret.head_effects import head_effects
    from clinometer.interpret.models import load
    from clinometer.records import Rows

    from .invented import invented

    layers, n_heads = map(int, size.split("x"))
    place = folder / f"model-{size}"
    if not place.exists():
        place.mkdir()
        invented(place, width=WIDTH, layers=layers, heads=n_heads)
    subject = load(place)
    draw = np.random.default_rng(0)
    texts = [" ".join(f"w{i}" for i in draw.integers(0, 2000, TOKENS - 2)) for _ in range(TEXTS)]

    def of(n: int) -> dict[str, Run]:
        taken = Rows(
            ids=tuple(f"t{i}" for i in range(n)),
            inputs={subject.columns[0]: np.array(texts[:n], dtype=object)},
        )
        batches = encoded(subject, taken, [np.arange(n)])
        forward = torch.no_grad()(lambda: subject.forward(batches[0][1], None))
        return {
            "forward and backward": partial(both_passes, subject, batches),
            "forward": forward,
            "capture, certified": partial(trace, forward, subject.module),
            "head effects (A x dA)": partial(head_effects, subject, taken),
            "screening": partial(unit_effects, subject, taken),
        }

    return Case(runs=of(TEXTS), small=of(2))


def groups(size: str, folder: Path) -> Case:
    """An audit of so many groups, two tolerances declared, beside a count of the rows of each group, label, prediction."""
    import numpy as np
    import pyarrow as pa

    from clinometer.bias import attributes
    from clinometer.bias.audit import audit
    from clinometer.bias.policy import Policy
    from clinometer.evidence import Evidence

    attributes.MOST_GROUPS = max(attributes.MOST_GROUPS, int(size))  # beyond what an audit accepts

    def of(n: int, n_groups: int) -> dict[str, Run]:
        draw = np.random.default_rng(0)
        group, label = draw.integers(0, n_groups, n), draw.random(n) < 0.4
        columns = {"id": np.arange(n), "group": [f"g{i:04d}" for i in group], "label": label}
        table = pa.table({**columns, "prediction": draw.random(n) < 0.2 + 0.3 * label})
        given = Evidence(table=table, id="id", label="label", prediction="prediction", groups=("group",))

        def audited(compare: str) -> Any:
            rule = {"groups": {"group": {"compare": compare}}, "tolerance": TOLERANCES, "set_by": "benchmark"}
            return audit(given, Policy.model_validate(rule))

        runs = {
            "counted by Arrow": lambda: table.group_by(["group", "label", "prediction"]).aggregate(
                [([], "count_all")]
            ),
            "each with everybody else": partial(audited, "complement"),
            "every pair": partial(audited, "pairs"),
        }
        return runs if n_groups <= PAIRS_UP_TO else {k: v for k, v in runs.items() if k != "every pair"}

    runs = of(AUDITED, int(size))
    short = of(SHORT_ROWS, 2)
    return Case(runs=runs, small={name: short[name] for name in runs})


CURVES: dict[str, Callable[[str, Path], Case]] = {
    "rows": rows,
    "tokens": tokens,
    "heads": heads,
    "groups": groups,
}
