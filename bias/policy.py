"""What is judged: tolerances, who set them, groups and error rate, read from policy.toml."""

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..bounded_files import read_toml
from ..errors import PolicyError, did_you_mean
from .metrics import BY_NAME

DECISIONS = ("true_positive", "false_positive", "false_negative", "true_negative")


class GroupRule(BaseModel):
    """How one group attribute is compared."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    values: tuple[str, ...] = Field(default=(), description="declared groups; they appear also with no rows")
    reference: str | None = Field(default=None, description="gaps with it are signed group minus reference")
    exclude: dict[str, str] = Field(
        default_factory=dict, description="group -> why it is compared in no gate"
    )
    compare: Literal["pairs", "reference", "complement", "overall"] = Field(
        default="pairs",
        description="with whom: every pair; each with the reference; with everybody else; with everybody",
    )
    bins: tuple[float, ...] = Field(
        default=(), description="ascending edges that cut a column of numbers into groups, [20, 40) and so on"
    )

    @field_validator("values", "bins", mode="before")
    @classmethod
    def _tuple(cls, value: Any) -> Any:
        if isinstance(value, list):
            return tuple(float(v) if type(v) is int else v for v in value)
        return value

    @model_validator(mode="after")
    def _compared(self) -> "GroupRule":
        if self.reference in self.exclude:
            raise ValueError(f"{self.reference!r} is both reference and excluded")
        if self.compare == "reference" and self.reference is None:
            raise ValueError('compare = "reference" needs a reference: a group, "(largest)" or "(best)"')
        if len(self.bins) == 1 or any(not a < b for a, b in pairwise(self.bins)):
            raise ValueError(f"bins are {list(self.bins)}; two ascending edges or more are expected")
        return self

    @field_validator("exclude")
    @classmethod
    def _reasons(cls, value: dict[str, str]) -> dict[str, str]:
        empty = [name for name, reason in value.items() if not reason.strip()]
        if empty:
            raise ValueError(f"the exclusion of {empty[0]!r} needs a written reason")
        return value


class OutputRule(BaseModel):
    """One output of several: the columns of its truth and of its decision."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    label: str = Field(description="column of the truth")
    prediction: str = Field(description="column of the decision")


class CostRule(BaseModel):
    """What a decision costs, by what would have been right."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    unit: str = Field(description="of the costs: EUR, hours, ...")
    true_positive: float = Field(default=0.0, allow_inf_nan=False, ge=-1e100, le=1e100)
    false_positive: float = Field(default=0.0, allow_inf_nan=False, ge=-1e100, le=1e100)
    false_negative: float = Field(default=0.0, allow_inf_nan=False, ge=-1e100, le=1e100)
    true_negative: float = Field(default=0.0, allow_inf_nan=False, ge=-1e100, le=1e100)

    @field_validator("true_positive", "false_positive", "false_negative", "true_negative", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        return float(value) if type(value) is int else value


class Policy(BaseModel):
    """Tolerances and how they are tested. Without a tolerance nothing is gated."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str = "no policy"
    set_by: str | None = Field(
        default=None, description="who set the tolerances; required where there are any"
    )
    alpha: float = Field(default=0.05, gt=0, lt=0.5, description="error rate of the verdicts")
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="of the intervals shown")
    min_group: int = Field(default=1, ge=1, description="smallest denominator that is judged")
    positive: str | None = Field(default=None, description="the positive value of label and prediction")
    intersections: tuple[tuple[str, ...], ...] = Field(default=(), description="attributes taken together")
    tolerance: dict[str, float] = Field(
        default_factory=dict, description="metric or measure -> largest allowed difference of any two groups"
    )
    groups: dict[str, GroupRule] = Field(
        default_factory=dict, description="attributes audited; all, if none is named"
    )
    task: Literal["binary", "multiclass", "multilabel", "regression"] = Field(
        default="binary", description="what label and prediction are"
    )
    outputs: dict[str, OutputRule] = Field(
        default_factory=dict, description="multilabel: each output's columns"
    )
    fail_on: Literal["exceeds", "any", "never"] = Field(
        default="exceeds",
        description="exit code 1: a tolerance is exceeded; or anything but within; or never (then 0)",
    )
    costs: CostRule | None = Field(default=None, description="what decisions cost: audited as expected_cost")
    family: Literal["holm", "gatekeeping"] = Field(
        default="holm",
        description="p adjusted over all pairs; or attributes first, then the pairs of those that differ",
    )

    @field_validator("intersections", mode="before")
    @classmethod
    def _tuples(cls, value: Any) -> Any:
        if isinstance(value, list):
            return tuple(tuple(item) if isinstance(item, list) else item for item in value)
        return value

    @field_validator("intersections")
    @classmethod
    def _joint(cls, value: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
        if any(len(set(names)) < 2 for names in value):
            raise ValueError("an intersection names two different attributes or more")
        return value

    @field_validator("tolerance", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {k: float(v) if type(v) is int else v for k, v in value.items()}
        return value

    @model_validator(mode="after")
    def _tolerances(self) -> "Policy":
        if bool(self.outputs) != (self.task == "multilabel"):
            raise ValueError('outputs and task = "multilabel" go together: give both, or neither')
        for metric, value in self.tolerance.items():
            if not value >= 0 or value == float("inf"):
                raise ValueError(f"the tolerance of {metric} is {value}; a number of 0 or more is expected")
            if metric.split("[")[0] in BY_NAME and BY_NAME[metric.split("[")[0]].kind == "rate" and value > 1:
                raise ValueError(f"the tolerance of {metric} is {value}; a difference of rates is at most 1")
        if self.tolerance and not (self.set_by or "").strip():
            raise ValueError(
                'tolerances are declared and nobody is named: add set_by = "who set them" (--set-by)'
            )
        return self

    def to_toml(self) -> str:
        """This policy as the text of a policy.toml that reads back to the same policy."""
        lines = [f"name = {_quote(self.name)}"]
        for key in ("set_by", "positive"):
            if getattr(self, key) is not None:
                lines.append(f"{key} = {_quote(getattr(self, key))}")
        lines += [
            f"alpha = {self.alpha!r}",
            f"confidence = {self.confidence!r}",
            f"min_group = {self.min_group}",
        ]
        lines += [
            f"{key} = {_quote(getattr(self, key))}"
            for key in ("task", "family", "fail_on")
            if getattr(self, key) != Policy.model_fields[key].default
        ]
        if self.intersections:
            listed = ", ".join(f"[{', '.join(map(_quote, names))}]" for names in self.intersections)
            lines.append(f"intersections = [{listed}]")
        if self.tolerance:
            lines += ["", "[tolerance]"]
            lines += [f"{_quote(metric)} = {value!r}" for metric, value in self.tolerance.items()]
        if self.costs is not None:
            lines += ["", "[costs]", f"unit = {_quote(self.costs.unit)}"]
            lines += [f"{cell} = {getattr(self.costs, cell)!r}" for cell in DECISIONS]
        for name, output in self.outputs.items():
            lines += ["", f"[outputs.{_quote(name)}]", f"label = {_quote(output.label)}"]
            lines.append(f"prediction = {_quote(output.prediction)}")
        for attribute, rule in self.groups.items():
            lines += ["", f"[groups.{_quote(attribute)}]"]
            if rule.values:
                lines.append(f"values = [{', '.join(map(_quote, rule.values))}]")
            if rule.reference is not None:
                lines.append(f"reference = {_quote(rule.reference)}")
            if rule.compare != "pairs":
                lines.append(f"compare = {_quote(rule.compare)}")
            if rule.bins:
                lines.append(f"bins = [{', '.join(repr(edge) for edge in rule.bins)}]")
            if rule.exclude:
                pairs = ", ".join(f"{_quote(k)} = {_quote(v)}" for k, v in rule.exclude.items())
                lines.append(f"exclude = {{ {pairs} }}")
        return "\n".join(lines) + "\n"


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def parse_policy(values: Mapping[str, Any], *, where: str) -> Policy:
    """A policy from a mapping; `where` says in errors what it was read from.

    Raises:
        PolicyError: an unknown key, a value of another kind or out of range.
    """
    try:
        return Policy.model_validate(dict(values))
    except ValidationError as error:
        said = "; ".join(_words(item) for item in error.errors()[:3])
        said += "" if said.endswith((".", "?")) else "."
        raise PolicyError(f"{where}: {said}") from error


def _words(item: Any) -> str:
    place = [str(part) for part in item["loc"]]
    if item["type"] == "extra_forbidden":
        inside: dict[str, type[BaseModel]] = {"groups": GroupRule, "outputs": OutputRule, "costs": CostRule}
        fields = (inside.get(place[0], Policy) if len(place) > 1 else Policy).model_fields
        return f"there is no key {'.'.join(place)!r}: {did_you_mean(place[-1], fields)}"
    message = str(item["msg"]).removeprefix("Value error, ")
    got = "" if item["type"] == "value_error" else f", got {item['input']!r}"
    return f"{'.'.join(place)}: {message}{got}" if place else message


def read_policy(path: str | Path) -> Policy:
    """The policy of a TOML file.

    Raises:
        PolicyError: the file is missing, no UTF-8, no TOML, or says something impossible.
    """
    return parse_policy(read_toml(path, PolicyError, way_out="Name a policy.toml."), where=str(path))


def policy_from_flags(
    groups: Sequence[str],
    tolerances: Mapping[str, float],
    *,
    set_by: str | None = None,
    confidence: float = 0.95,
    min_group: int = 1,
    positive: str | None = None,
    task: str = "binary",
) -> Policy:
    """The policy that the command's flags amount to."""
    return parse_policy(
        {
            "name": "flags of the command",
            "set_by": set_by or ("whoever typed the command" if tolerances else None),
            "confidence": confidence,
            "min_group": min_group,
            "positive": positive,
            "task": task,
            "tolerance": dict(tolerances),
            "groups": {name: {} for name in groups},
        },
        where="the command's flags",
    )


def policy_schema() -> dict[str, Any]:
    """The JSON schema of a policy.toml, for editors that check TOML against one."""
    made = Policy.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}
