"""See where a Transformer leans, what makes it lean, and prove the fix.

    import clinometer as cm

    subject = cm.load("runs/loanapp")
    attribution = cm.attribute(subject, rows)
    audit = cm.audit(evidence, policy="policy.toml")
    review = cm.review(subject, rows, policy="policy.toml")
    review.save("out/")

Nothing heavy is imported until a name is used: `import clinometer` loads neither torch nor matplotlib.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .bias.audit import audit as audit
    from .bias.ledger import contrast as contrast
    from .bias.ledger import ledger as ledger
    from .bias.policy import read_policy as read_policy
    from .evidence import Evidence as Evidence
    from .evidence import from_columns as from_columns
    from .evidence import from_frame as from_frame
    from .evidence import read as read_evidence
    from .interpret.gradients import attribute as attribute
    from .interpret.gradients import head_effects as head_effects
    from .interpret.gradients import trace as trace
    from .interpret.gradients import view as view
    from .interpret.models import Subject as Subject
    from .interpret.models import load as load
    from .interpret.models import wrap as wrap
    from .records import Attribution as Attribution
    from .records import Audit as Audit
    from .records import Contrast as Contrast
    from .records import Ledger as Ledger
    from .records import Review as Review
    from .records import Rows as Rows
    from .review import gather as gather
    from .review import read_rows as read_rows
    from .review import review as review

_WHERE = {
    "Attribution": ".records",
    "Audit": ".records",
    "Contrast": ".records",
    "Evidence": ".evidence",
    "Ledger": ".records",
    "Review": ".records",
    "Rows": ".records",
    "Subject": ".interpret.models",
    "attribute": ".interpret.gradients",
    "audit": ".bias.audit",
    "contrast": ".bias.ledger",
    "from_columns": ".evidence",
    "from_frame": ".evidence",
    "gather": ".review",
    "head_effects": ".interpret.gradients",
    "ledger": ".bias.ledger",
    "load": ".interpret.models",
    "read_evidence": ".evidence:read",
    "read_policy": ".bias.policy",
    "read_rows": ".review",
    "review": ".review",
    "trace": ".interpret.gradients",
    "view": ".interpret.gradients",
    "wrap": ".interpret.models",
}

__all__ = [
    "Attribution",
    "Audit",
    "Contrast",
    "Evidence",
    "Ledger",
    "Review",
    "Rows",
    "Subject",
    "attribute",
    "audit",
    "contrast",
    "from_columns",
    "from_frame",
    "gather",
    "head_effects",
    "ledger",
    "load",
    "read_evidence",
    "read_policy",
    "read_rows",
    "review",
    "trace",
    "view",
    "wrap",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("clinometer")
    if name not in _WHERE:
        raise AttributeError(f"module 'clinometer' has no attribute {name!r}")
    module, _, attribute = _WHERE[name].partition(":")
    value = getattr(import_module(module, __name__), attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
