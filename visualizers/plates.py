"""The figures of a review: which are drawn, in which order, and the sentence that says what each shows."""

import base64
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from tqdm.auto import tqdm

from ..records import Audit, Cell, Ledger, Review, View
from . import (
    calibration_curves,
    dumbbells,
    faithful,
    gap_parts,
    gaps,
    heads,
    intersections,
    ledger,
    maps,
    mediation,
    pareto,
    slice_table,
    threshold_sweep,
    tokens,
)
from .fonts import shorten
from .palette import compact, encoded
from .phrases import LANGUAGE, phrases, said, speaking
from .wording import IN_SENTENCE, number

MOST_METRICS = 4  # drawn; the tables hold all
MOST_LEDGERS = 6
MOST_JOINT = 2  # intersections, and metrics of each
MOST_MAPS = 24  # heads drawn for the picker, over all views
FIGURE_DPI = 150
MAP_DPI = 110
MAP_BYTES = (
    2_700_000  # of all maps together, as text; a page that opens at once is worth more than the last head
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plate:
    """One figure with the sentence that says what it shows."""

    name: str
    # rates, gaps, intersections, errors, calibration, thresholds, slices, attribution, ledger, parts, asked-ledger,
    # heads-out, fixes, faithfulness, heads or map
    kind: str
    about: str  # metric, or position of the ledger, question or view
    figure: Figure
    alt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Both maps of one head, as data URIs for the picker."""

    layer: int
    head: int
    effect: float
    attends: str
    matters: str
    alt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Everything a review's page shows as a picture: each plate with its PNG, and the maps of each view's heads."""

    plates: tuple[Plate, ...]
    png: dict[str, bytes]
    heads: tuple[tuple[Head, ...], ...]


def draw(review: Review, *, progress: bool = False, language: str = LANGUAGE) -> Drawn:
    """Every picture of the report, each drawn once.

    Args:
        language: of their words and of the sentences beside them, as `page.render` takes it.

    Raises:
        UsageError: there are no phrases in the language, or not all.
    """
    with speaking(phrases(language)):
        return _drawn(review, progress)


def _drawn(review: Review, progress: bool) -> Drawn:
    made = plates(review)
    maps_each = [min(MOST_MAPS // len(review.views), view.importance.size) for view in review.views]
    with tqdm(total=len(made) + sum(maps_each), desc="drawing", unit="picture", disable=not progress) as bar:
        png = {}
        for plate in made:
            png[plate.name] = encoded(plate.figure, "png", dpi=FIGURE_DPI)
            bar.update()
        shown = []
        for view, count in zip(review.views, maps_each, strict=True):
            shown.append(_heads(view, count, MAP_BYTES // len(review.views)))
            bar.update(count)
    return Drawn(plates=tuple(made), png=png, heads=tuple(shown))


def save_figures(drawn: Drawn, folder: str | Path, *, progress: bool = False) -> tuple[Path, ...]:
    """Write every plate as PNG (150 dpi) and SVG into a folder, which is made where it is missing."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for plate in tqdm(drawn.plates, desc="writing figures", unit="figure", disable=not progress):
        for kind, content in (("png", drawn.png[plate.name]), ("svg", encoded(plate.figure, "svg"))):
            path = target / f"{plate.name}.{kind}"
            path.write_bytes(content)
            written.append(path)
    return tuple(written)


def data_uri(png: bytes | npt.NDArray[np.uint8]) -> str:
    """A PNG, or pixels, as a page can hold them, with few colours: no file is needed beside the page."""
    return "data:image/png;base64," + base64.b64encode(compact(png)).decode("ascii")


def plates(review: Review) -> list[Plate]:
    """The figures of the report in the order of the page, each with its sentence."""
    made: list[Plate] = []

    def add(kind: str, about: str, figure: Figure, alt: str, *parts: object) -> None:
        name = "-".join([kind, *[_slug(str(part)) for part in parts]])
        taken = {plate.name for plate in made}
        while name in taken:
            name += "-next"
        made.append(Plate(name=name, kind=kind, about=about, figure=figure, alt=alt))

    audit = review.audit
    for metric in drawn_metrics(audit):
        add("rates", metric, gaps.forest(audit, metric), gaps.describe_rates(audit, metric), metric)
        add("gaps", metric, gaps.gap_forest(audit, metric), gaps.describe_gaps(audit, metric), metric)
    for metric, joint in joint_metrics(audit):
        alt = intersections.describe(audit, metric, joint)
        add("intersections", joint, intersections.intersections(audit, metric, joint), alt, joint, metric)
    if dumbbells.both_rates(audit):
        add("errors", "", dumbbells.dumbbells(audit), dumbbells.describe(audit), "both")
    for i, one in enumerate(getattr(review.curves, "reliability", ())):
        chart, alt = calibration_curves.calibration_curves(one), calibration_curves.describe(one)
        add("calibration", str(i), chart, alt, one.attribute)
    for i, one in enumerate(getattr(review.curves, "thresholds", ())):
        chart, alt = threshold_sweep.threshold_sweep(one), threshold_sweep.describe(one)
        add("thresholds", str(i), chart, alt, one.attribute, one.metric)
    if getattr(review.slices, "slices", ()):
        add(
            "slices", "", slice_table.slice_table(review.slices), slice_table.describe(review.slices), "found"
        )
    means = _mean_attribution(review)
    if means:
        names = [cell.metric.removeprefix("attribution[").removesuffix("]") for cell in means]
        scores = [cell.estimate or 0.0 for cell in means]
        unit = str(review.attribution.get("unit", "logit"))
        figure = tokens.attribution_bars(
            names,
            scores,
            intervals=[(cell.low, cell.high) for cell in means],
            unit=unit,
            title=said("figure.mean_attribution", n=number(means[0].n)),
        )
        add(
            "attribution",
            "",
            figure,
            said(
                "figure.mean_attribution_said",
                n=number(means[0].n),
                largest=tokens.describe(names, scores, unit),
            ),
            "mean",
        )
    for i, account in enumerate(review.ledgers[:MOST_LEDGERS]):
        parts = (account.attribute, account.group, account.reference)
        add("ledger", str(i), ledger.waterfall(account), ledger.describe(account), *parts)
    for i, answer in enumerate(review.why):
        asked, of = answer.found, _asked(answer.found)
        if asked.ledger is not None and divided_anew(review, asked.ledger):
            add("asked-ledger", str(i), ledger.waterfall(asked.ledger), ledger.describe(asked.ledger), *of)
        if asked.parts is not None:
            add("parts", str(i), gap_parts.parts_chart(asked.parts), gap_parts.describe(asked.parts), *of)
        chart, alt = mediation.head_chart(asked.mediation), mediation.describe(asked.mediation)
        add("heads-out", str(i), chart, alt, *of)
    if review.mitigated is not None:
        fixed = review.mitigated.found
        chart = pareto.pareto_chart(fixed.judged_on, chosen=fixed.choice.name)
        name = shorten(fixed.choice.name, IN_SENTENCE)
        ring = said("figure.ring", fix=name, n=number(fixed.n_choose))
        add("fixes", "", chart, f"{pareto.describe(fixed.judged_on)} {ring}", fixed.attribute, fixed.gap)
    if review.faithfulness is not None:
        found = review.faithfulness
        add("faithfulness", "", faithful.methods_forest(found), faithful.describe(found), "methods")
    for i, view in enumerate(review.views):
        add("heads", str(i), heads.head_grid(view), heads.describe(view), i)
        for layer, head in heads.most_important(view):
            pair, alt = maps.map_pair(view, layer, head), maps.describe(view, layer, head)
            add("map", str(i), pair, alt, i, f"layer-{layer}", f"head-{head}")
    return made


def drawn_metrics(audit: Audit) -> list[str]:
    """The metrics drawn: those with a tolerance, else the first one audited."""
    gated = dict.fromkeys(f.metric for f in audit.findings if f.tolerance is not None)
    gated.update(dict.fromkeys(str(entry["metric"]) for entry in audit.verdicts))
    return (list(gated) or list(dict.fromkeys(cell.metric for cell in audit.cells))[:1])[:MOST_METRICS]


def joint_metrics(audit: Audit) -> list[tuple[str, str]]:
    """(metric, intersection) of each heat map drawn: the first metrics of the first intersections."""
    joint = intersections.joint_attributes(audit)[:MOST_JOINT]
    there = {(cell.metric, cell.attribute) for cell in audit.cells}
    wanted = [(metric, name) for name in joint for metric in drawn_metrics(audit)[:MOST_JOINT]]
    return [pair for pair in wanted if pair in there]


def divided_anew(review: Review, account: Ledger) -> bool:
    """Whether a ledger is of other rows than all that the review has anyway."""
    return _rows_of(account) not in {_rows_of(one) for one in review.ledgers}


def _rows_of(account: Ledger) -> tuple[str, str, str, int, int]:
    return account.attribute, account.group, account.reference, account.n_group, account.n_reference


def _asked(found: Any) -> tuple[str, str, str, str]:
    return found.attribute, found.group, found.reference, found.metric


def _heads(view: View, count: int, budget: int) -> tuple[Head, ...]:
    """Both maps of the heads with the largest effects, until they have `budget` bytes."""
    wanted = heads.most_important(view, count)
    made: list[Head] = []
    spent = 0
    both = (maps.series(view, wanted, part, dpi=MAP_DPI) for part in ("attends", "matters"))
    for (layer, head), *pixels in zip(wanted, *both, strict=True):
        attends, matters = map(data_uri, pixels)
        made.append(
            Head(
                layer=layer,
                head=head,
                effect=float(view.importance[layer, head]),
                attends=attends,
                matters=matters,
                alt=maps.describe(view, layer, head),
            )
        )
        spent += len(attends) + len(matters)
        if spent > budget:
            break
    return tuple(made)


def _mean_attribution(review: Review) -> list[Cell]:
    found: dict[str, Cell] = {}
    for cell in review.measures.cells if review.measures else ():
        whole = cell.group == gaps.EVERYBODY and cell.estimate is not None
        if whole and cell.metric.startswith("attribution["):
            found.setdefault(cell.metric, cell)
    return list(found.values())


def _slug(name: str) -> str:
    kept = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return kept[:40].strip("-") or "x" + hashlib.sha256(name.encode()).hexdigest()[:8]
