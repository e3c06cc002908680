"""What the free mappings of a review hold: names and kinds, so that a damaged file is refused where it is read."""

from collections.abc import Mapping
from typing import Any

from .bias.policy import parse_policy
from .errors import DataError, PolicyError
from .records import Audit, Review, Verdict
from .typed_json import rebuild

Numbers = Mapping[str, float]
# What is there has this kind. Other keys may be there too: provenance grows from version to version.
ATTRIBUTION: Mapping[str, Any] = {
    **dict.fromkeys(("method", "target", "unit", "baseline", "completeness_tolerance"), str),
    **dict.fromkeys(("n", "n_converged"), int),
    "not_converged": tuple[str, ...],
    "nodes": Mapping[str, int],
    **dict.fromkeys(("largest_completeness_error", "mean_completeness_error", "mean_absolute_shift"), float),
}
CERTIFICATE: Mapping[str, Any] = {"n": int, "how": str, "layers": Numbers}
MODEL: Mapping[str, Any] = {
    **dict.fromkeys(("name", "class", "target", "threshold_unit", "baseline", "kind"), str),
    **dict.fromkeys(("weights_sha256", "settings_sha256", "tokenizer_sha256", "low_rank_sha256"), str),
    **dict.fromkeys(("adapter", "adapter_sha256"), str | None),
    "parameters": int,
    "labels": tuple[str, ...],
    "threshold": float,
    "task": str | None,
}
DATA: Mapping[str, Any] = {
    **dict.fromkeys(("name", "rows_sha256", "file_sha256"), str),
    "rows": int,
    "groups": Mapping[str, Mapping[str, int]],
}
PLAN: Mapping[str, Any] = {
    "policy": Mapping[str, Any],
    "metrics": Mapping[str, str],
    "roles": Mapping[str, Any],
    "set_by": str | None,
}
VERDICT: Mapping[str, Any] = {
    "attribute": str,
    "metric": str,
    "verdict": Verdict,
    "reason": str,
    "tolerance": float | None,
}
ANSWER: Mapping[str, Any] = {"question": Any, "sentences": tuple[str, ...]}
NOTE: Mapping[str, Any] = {"feature": str, "meaning": str, "note": str}


def check_mappings(made: Review) -> None:
    """Refuse a review whose mappings hold something else than a review that was saved.

    Raises:
        DataError: a value is of another kind, or a verdict lacks a part; the message says where.
    """
    _check(
        made.attribution,
        ATTRIBUTION,
        "attribution",
        whole=bool(made.attribution),
        needed=("n", "n_converged"),
    )
    _check(made.certificate, CERTIFICATE, "certificate")
    _check(made.model, MODEL, "model")
    _check(made.data, DATA, "data")
    for i, note in enumerate(made.feature_notes):
        _check(note, NOTE, f"feature_notes[{i}]", whole=True)
    answers = {f"why[{i}]": answer for i, answer in enumerate(made.why)}
    if made.mitigated is not None:
        answers["mitigated"] = made.mitigated
    for where, answer in answers.items():
        rebuild(Mapping[str, Any], answer, {}, where)
        _check(answer, ANSWER, where, whole=True)
    for name, audit in (("audit", made.audit), ("measures", made.measures)):
        if audit is not None:
            check_audit(audit, name)


def check_audit(audit: Audit, name: str) -> None:
    """Refuse an audit whose plan or verdicts hold values of another kind.

    Raises:
        DataError: the message says where.
    """
    _check(audit.plan, PLAN, f"{name}.plan")
    try:
        parse_policy(audit.plan.get("policy", {}), where=f"{name}.plan.policy")
    except PolicyError as error:
        raise DataError(str(error)) from error
    for i, verdict in enumerate(audit.verdicts):
        _check(verdict, VERDICT, f"{name}.verdicts[{i}]", whole=True)


def _check(
    held: Mapping[str, Any],
    kinds: Mapping[str, Any],
    where: str,
    *,
    whole: bool = False,
    needed: tuple[str, ...] | None = None,
) -> None:
    """Refuse a value of another kind; where the mapping is `whole`, a missing one too."""
    missing = [key for key in (kinds if needed is None else needed) if whole and key not in held]
    if missing:
        raise DataError(f"{where} lacks the key {missing[0]!r}. Make the review again.")
    for key, kind in kinds.items():
        if key in held:
            rebuild(kind, held[key], {}, f"{where}.{key}")
