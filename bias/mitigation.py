"""A mitigation: a rule for new rows, with the rows that it must not be judged on.

Recalibrating scores group by group is no mitigation here, and nothing does it unasked. It needs the group at the time
of the decision; it leaves the order within each group, hence each group's trade-off of errors, as it was; and where
base rates differ, scores calibrated in each group and equal error rates exclude one another (Kleinberg, Mullainathan &
Raghavan 2017; Chouldechova 2017), so that it widens other gaps. Audit calibration; move thresholds that are declared.
"""

import base64
import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..bounded_files import read_json
from ..errors import DataError, UsageError, did_you_mean
from ..evidence import Evidence, fresh
from ..whole_files import whole
from .decision_rules import KINDS, Given, Groups, Heads, Rule
from .id_draws import Words, id_draws
from .seen_rows import DONE, Role, Seen, seen_rows

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
FORMAT = "clinometer mitigation 1"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mitigation:
    """A rule for new rows, and the rows that it must not be judged on.

    Where the rule leaves a decision to chance, the draw is a hash of the row's id and the seed: the same row is
    decided the same way each time, alone or among others, and over many rows the share is right.
    """

    name: str
    rule: Rule
    attribute: str = ""  # the group column asked for at the time of the decision; "" none
    settings: Mapping[str, Any] = field(default_factory=dict)  # how it was fitted, JSON types
    seed: int = 0  # of the draws
    seen: tuple[Seen, ...] = ()

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise UsageError("a mitigation needs a name.")
        if self.rule.uses_group != bool(self.attribute):
            raise UsageError(
                f"the rule {self.rule.kind} {'needs a' if self.rule.uses_group else 'uses no'} group column, and attribute "
                f"is {self.attribute!r}."
            )

    @property
    def kind(self) -> str:
        """What the rule is: common_threshold, group_thresholds or heads."""
        return self.rule.kind

    def chance(
        self, *, score: Floats | None = None, groups: Groups | None = None, features: Floats | None = None
    ) -> Floats:
        """The chance of a positive decision before any draw, (row,); 0 or 1 where nothing is drawn."""
        return self.rule.chance(Given(score, groups, features))

    def decide(
        self,
        *,
        ids: Sequence[str] | None = None,
        score: Floats | None = None,
        groups: Groups | None = None,
        features: Floats | None = None,
    ) -> Bools:
        """The decision on each row, (row,); True is positive.

        Args:
            ids: (row,) names of the rows; needed where something is drawn.
            score: (row,) of the model that the rule was fitted to.
            groups: (row,) values of `attribute`; None is unknown.
            features: (row, feature) of the model, for heads.

        Raises:
            UsageError: something that the rule needs is missing. DataError: rows that it cannot decide on.
        """
        chance = self.chance(score=score, groups=groups, features=features)
        if not np.any((chance > 0) & (chance < 1)):
            return np.asarray(chance > 0.5)
        if ids is None:
            raise UsageError(
                f"{self.name} leaves some decisions to a draw that hangs on the row's id: give ids."
            )
        if len(ids) != len(chance):
            raise DataError(f"there are {len(ids)} ids for {len(chance)} rows; one for each is expected.")
        return np.asarray(id_draws(ids, "decision", self.seed) < chance)

    def apply(self, evidence: Evidence, features: Floats | None = None) -> Evidence:
        """The same rows with these decisions as their prediction; heads bring their own score too.

        Columns keep their names, so that a policy that names them still does; what was there stays beside them as
        "... (before)". Heads bring a score only where there was one.

        Raises:
            UsageError: the evidence has no score, or not the group column, and the rule needs it.
            DataError: rows that the rule cannot decide on.
        """
        given = self._given(evidence, features)
        table = evidence.table
        said = self.decide(ids=evidence.ids, score=given.score, groups=given.groups, features=given.features)
        table, prediction = _put(table, evidence.prediction, "prediction", pa.array(said))
        score = evidence.score
        if isinstance(self.rule, Heads) and score is not None:
            table, score = _put(table, score, "score", pa.array(self.rule.score(given)))
        return dataclasses.replace(evidence, table=table, prediction=prediction, score=score)

    def after(self, evidence: Evidence, role: Role) -> "Mitigation":
        """This mitigation, which remembers that these rows were used for it too."""
        return dataclasses.replace(self, seen=(*self.seen, seen_rows(evidence, role)))

    def _given(self, evidence: Evidence, features: Floats | None) -> Given:
        if isinstance(self.rule, Heads):
            if features is not None and len(features) != len(evidence):
                raise DataError(
                    f"there are features of {len(features)} rows and evidence of {len(evidence)}; the same rows in "
                    "the same order are expected."
                )
            return Given(features=features)
        if evidence.score is None:
            raise UsageError(f"{self.name} decides on scores, and the evidence names none (--score).")
        if self.attribute and self.attribute not in evidence.groups:
            raise UsageError(
                f"{self.name} decides by {self.attribute!r}, which is no group column here: "
                f"{did_you_mean(self.attribute, evidence.groups)}"
            )
        groups = evidence.group(self.attribute) if self.attribute else None
        return Given(score=evidence.column(evidence.score), groups=groups)

    def save(self, path: str | Path) -> None:
        """Write it as JSON; the file appears whole or not at all. `read_mitigation` decides the same, bit for bit.

        Raises:
            OutputError: the file cannot be written.
        """
        held = {
            "format": FORMAT,
            "name": self.name,
            "kind": self.kind,
            "attribute": self.attribute,
            "seed": self.seed,
            "settings": dict(self.settings),
            "parameters": self.rule.plain(),
            "seen": [
                {
                    "role": one.role,
                    "n": one.n,
                    "sha256": one.sha256,
                    "rows": _packed(one.rows),
                    "clusters": _packed(one.clusters),
                }
                for one in self.seen
            ],
        }
        text = json.dumps(held, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"
        target = Path(path)
        with whole(target) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")

    def __repr__(self) -> str:
        asked = f"by {self.attribute}" if self.attribute else "no group asked for"
        return f"Mitigation({self.name}: {self.kind}, {asked}, {'; '.join(map(repr, self.seen)) or 'no rows seen'})"


def read_mitigation(path: str | Path) -> Mitigation:
    """The mitigation of a JSON file that `Mitigation.save` wrote.

    Raises:
        DataError: there is no such file, or it is none of ours, or not whole.
    """
    file = Path(path)
    held = read_json(file, DataError, way_out="Name a saved mitigation.")
    if not isinstance(held, dict) or held.get("format") != FORMAT:
        raise DataError(f"{file} is no saved mitigation: {FORMAT!r} is expected as its format.")
    kind = str(held.get("kind"))
    if kind not in KINDS:
        raise DataError(f"{file} holds the kind {kind!r}: {did_you_mean(kind, KINDS)}")
    try:
        return Mitigation(
            name=held["name"],
            rule=KINDS[kind].read(held["parameters"]),
            attribute=held["attribute"],
            seed=held["seed"],
            settings=held["settings"],
            seen=tuple(_seen(one) for one in held["seen"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, UsageError) as error:
        raise DataError(f"{file} is not whole: {error}. Save the mitigation again.") from error


def _seen(held: Mapping[str, Any]) -> Seen:
    if held["role"] not in DONE:
        raise ValueError(f"rows were used to {held['role']!r}")
    return Seen(
        role=cast(Role, held["role"]),
        n=int(held["n"]),
        sha256=str(held["sha256"]),
        rows=_unpacked(held["rows"]),
        clusters=_unpacked(held["clusters"]),
    )


def _packed(words: Words) -> str:
    return base64.b64encode(words.astype("<u8").tobytes()).decode("ascii")


def _unpacked(text: str) -> Words:
    return np.frombuffer(base64.b64decode(text, validate=True), dtype="<u8").astype(np.uint64)


def _put(table: pa.Table, name: str | None, role: str, values: pa.Array) -> tuple[pa.Table, str]:
    """The table with these values under the name, and what had it before under another."""
    if name is None:
        name = fresh(role, table.column_names)
        return table.append_column(name, values), name
    at = table.column_names.index(name)
    kept = fresh(f"{name} (before)", table.column_names)
    return table.set_column(at, name, values).append_column(kept, table.column(name)), name
