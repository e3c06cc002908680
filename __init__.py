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
    from .bias.bins import bins as bins
    from .bias.comparison import compare as compare
    from .bias.contrasts import conditional_gap as conditional_gap
    from .bias.contrasts import matched_gap as matched_gap
    from .bias.contrasts import mean_gap as mean_gap
    from .bias.counterfactuals import compare_pairs as compare_pairs
    from .bias.counterfactuals import flipped as flipped
    from .bias.counterfactuals import swapped as swapped
    from .bias.fairlearn_frames import from_metric_frame as from_metric_frame
    from .bias.fairlearn_frames import to_metric_frame as to_metric_frame
    from .bias.four_fifths import four_fifths as four_fifths
    from .bias.group_reliability import group_reliability as group_reliability
    from .bias.group_thresholds import group_thresholds as rates_over_thresholds
    from .bias.ledger import contrast as contrast
    from .bias.ledger import ledger as ledger
    from .bias.lexicon_files import read_lexicon as read_lexicon
    from .bias.local_law_144 import local_law_144 as local_law_144
    from .bias.metrics import METRICS as METRICS
    from .bias.monitor import monitor as monitor
    from .bias.parts_of_gaps import parts_of_gap as parts_of_gap
    from .bias.policy import Policy as Policy
    from .bias.policy import policy_schema as policy_schema
    from .bias.policy import read_policy as read_policy
    from .bias.presets import equalized_odds as equalized_odds
    from .bias.slice_contrasts import slice_gap as slice_gap
    from .bias.slices import slices as slices
    from .bias.suite_results import check as check_suite
    from .bias.suite_rows import expand as expand
    from .bias.suites import read_suite as read_suite
    from .bias.swapped_contrasts import change_gap as change_gap
    from .bias.swapped_contrasts import pair_rows as pair_rows
    from .bias.swapped_contrasts import swapped_gap as swapped_gap
    from .bias.terms import add_terms as add_terms
    from .bias.value_units import by_value as by_value
    from .bias.word_ledger import word_ledger as word_ledger
    from .bias.words import word_differences as word_differences
    from .bias.words import word_effects as word_effects
    from .evidence import Evidence as Evidence
    from .evidence import from_columns as from_columns
    from .evidence import from_frame as from_frame
    from .evidence_files import read as read_evidence
    from .explained_gap import why as why
    from .exploring import explain as explain
    from .exploring import explore as explore
    from .interpret.answers import answering as answering
    from .interpret.answers import attribute_generation as attribute_generation
    from .interpret.augmentation import tune_on_copies as tune_on_copies
    from .interpret.contrastive import along_swaps as along_swaps
    from .interpret.distillation import distil as distil
    from .interpret.edits import save as save_subject
    from .interpret.erasure import erase_concept as erase_concept
    from .interpret.every_label import attribute_every_label as attribute_every_label
    from .interpret.faithfulness import faithfulness as faithfulness
    from .interpret.gates import Edge as Edge
    from .interpret.gates import Intervention as Intervention
    from .interpret.gates import Mean as Mean
    from .interpret.gates import Patch as Patch
    from .interpret.gates import Resample as Resample
    from .interpret.gates import gates as gates
    from .interpret.generation import trace_generation as trace_generation
    from .interpret.head_effects import head_effects as head_effects
    from .interpret.head_effects import view as view
    from .interpret.head_roles import roles as head_roles
    from .interpret.interventions import every_head as every_head
    from .interpret.interventions import intervene as intervene
    from .interpret.keeping import Keep as Keep
    from .interpret.learned_gates import learn_head_gates as learn_head_gates
    from .interpret.methods import METHODS as METHODS
    from .interpret.methods import attribute as attribute
    from .interpret.models import Subject as Subject
    from .interpret.models import load as load
    from .interpret.models import score as score
    from .interpret.models import wrap as wrap
    from .interpret.plausibility import plausibility as plausibility
    from .interpret.probe import probe as probe
    from .interpret.pruning import prune_heads as prune_heads
    from .interpret.pseudo_likelihood import pseudo_log_likelihood as pseudo_log_likelihood
    from .interpret.sanity import randomisation as randomisation
    from .interpret.shortcuts import planted_shortcut as planted_shortcut
    from .interpret.soft_targets import softened as softened
    from .interpret.spans import in_groups as in_groups
    from .interpret.spans import in_sentences as in_sentences
    from .interpret.spans import in_spans as in_spans
    from .interpret.spans import in_windows as in_windows
    from .interpret.spans import in_words as in_words
    from .interpret.targets import aimed as aimed
    from .interpret.trace_files import read_trace as read_trace
    from .interpret.tracing import head_statistics as head_statistics
    from .interpret.tracing import plan_trace as plan_trace
    from .interpret.tracing import trace as trace
    from .interpret.variants import variant as variant
    from .junit import junit as junit_xml
    from .merging import merge as merge
    from .mitigating import mitigate as mitigate
    from .published_law import LawQuestion as LawQuestion
    from .records import Attribution as Attribution
    from .records import Audit as Audit
    from .records import Contrast as Contrast
    from .records import Ledger as Ledger
    from .records import Review as Review
    from .records import Rows as Rows
    from .review import gather as gather
    from .review import read_rows as read_rows
    from .review import review as review
    from .review_cockpit import cockpit as cockpit
    from .review_questions import FixQuestion as FixQuestion
    from .review_questions import GapQuestion as GapQuestion
    from .saved_reviews import read_review as read_review
    from .saved_reviews import review_schema as review_schema
    from .shard_runs import Work as Work
    from .sharded_evidence import EvidenceRun as EvidenceRun
    from .sharded_evidence import evidence as evidence
    from .small_cells import without_small_cells as without_small_cells
    from .sources import scan as scan
    from .variant_comparison import compare_models as compare_models
    from .verified_reviews import verify as verify
    from .visualizers.explorer import Explorer as Explorer
    from .visualizers.figures import FIGURES as FIGURES
    from .visualizers.figures import alt_text as alt_text
    from .visualizers.figures import figure as figure
    from .visualizers.highlights import highlights as highlights
    from .withheld_text import without_text as without_text


_WHERE = {
    "Attribution": ".records",
    "Audit": ".records",
    "Contrast": ".records",
    "Edge": ".interpret.gates",
    "Evidence": ".evidence",
    "EvidenceRun": ".sharded_evidence",
    "Explorer": ".visualizers.explorer",
    "FIGURES": ".visualizers.figures",
    "FixQuestion": ".review_questions",
    "GapQuestion": ".review_questions",
    "Intervention": ".interpret.gates",
    "Keep": ".interpret.keeping",
    "LawQuestion": ".published_law",
    "Ledger": ".records",
    "METHODS": ".interpret.methods",
    "METRICS": ".bias.metrics",
    "Mean": ".interpret.gates",
    "Patch": ".interpret.gates",
    "Policy": ".bias.policy",
    "Resample": ".interpret.gates",
    "Review": ".records",
    "Rows": ".records",
    "Subject": ".interpret.models",
    "Work": ".shard_runs",
    "add_terms": ".bias.terms",
    "aimed": ".interpret.targets",
    "along_swaps": ".interpret.contrastive",
    "alt_text": ".visualizers.figures",
    "answering": ".interpret.answers",
    "attribute": ".interpret.methods",
    "attribute_every_label": ".interpret.every_label",
    "attribute_generation": ".interpret.answers",
    "audit": ".bias.audit",
    "bins": ".bias.bins",
    "by_value": ".bias.value_units",
    "change_gap": ".bias.swapped_contrasts",
    "check_suite": ".bias.suite_results:check",
    "cockpit": ".review_cockpit",
    "compare": ".bias.comparison",
    "compare_models": ".variant_comparison",
    "compare_pairs": ".bias.counterfactuals",
    "conditional_gap": ".bias.contrasts",
    "contrast": ".bias.ledger",
    "distil": ".interpret.distillation",
    "equalized_odds": ".bias.presets",
    "erase_concept": ".interpret.erasure",
    "every_head": ".interpret.interventions",
    "evidence": ".sharded_evidence",
    "expand": ".bias.suite_rows",
    "explain": ".exploring",
    "explore": ".exploring",
    "faithfulness": ".interpret.faithfulness",
    "figure": ".visualizers.figures",
    "flipped": ".bias.counterfactuals",
    "four_fifths": ".bias.four_fifths",
    "from_columns": ".evidence",
    "from_frame": ".evidence",
    "from_metric_frame": ".bias.fairlearn_frames",
    "gates": ".interpret.gates",
    "gather": ".review",
    "group_reliability": ".bias.group_reliability",
    "head_effects": ".interpret.head_effects",
    "head_roles": ".interpret.head_roles:roles",
    "head_statistics": ".interpret.tracing",
    "highlights": ".visualizers.highlights",
    "in_groups": ".interpret.spans",
    "in_sentences": ".interpret.spans",
    "in_spans": ".interpret.spans",
    "in_windows": ".interpret.spans",
    "in_words": ".interpret.spans",
    "intervene": ".interpret.interventions",
    "junit_xml": ".junit:junit",
    "learn_head_gates": ".interpret.learned_gates",
    "ledger": ".bias.ledger",
    "load": ".interpret.models",
    "local_law_144": ".bias.local_law_144",
    "matched_gap": ".bias.contrasts",
    "mean_gap": ".bias.contrasts",
    "merge": ".merging",
    "mitigate": ".mitigating",
    "monitor": ".bias.monitor",
    "pair_rows": ".bias.swapped_contrasts",
    "parts_of_gap": ".bias.parts_of_gaps",
    "plan_trace": ".interpret.tracing",
    "planted_shortcut": ".interpret.shortcuts",
    "plausibility": ".interpret.plausibility",
    "policy_schema": ".bias.policy",
    "probe": ".interpret.probe",
    "prune_heads": ".interpret.pruning",
    "pseudo_log_likelihood": ".interpret.pseudo_likelihood",
    "randomisation": ".interpret.sanity",
    "rates_over_thresholds": ".bias.group_thresholds:group_thresholds",
    "read_evidence": ".evidence_files:read",
    "read_lexicon": ".bias.lexicon_files",
    "read_policy": ".bias.policy",
    "read_review": ".saved_reviews",
    "read_rows": ".review",
    "read_suite": ".bias.suites",
    "read_trace": ".interpret.trace_files",
    "review": ".review",
    "review_schema": ".saved_reviews",
    "save_subject": ".interpret.edits:save",
    "scan": ".sources",
    "score": ".interpret.models",
    "slice_gap": ".bias.slice_contrasts",
    "slices": ".bias.slices",
    "softened": ".interpret.soft_targets",
    "swapped": ".bias.counterfactuals",
    "swapped_gap": ".bias.swapped_contrasts",
    "to_metric_frame": ".bias.fairlearn_frames",
    "trace": ".interpret.tracing",
    "trace_generation": ".interpret.generation",
    "tune_on_copies": ".interpret.augmentation",
    "variant": ".interpret.variants",
    "verify": ".verified_reviews",
    "view": ".interpret.head_effects",
    "why": ".explained_gap",
    "without_small_cells": ".small_cells",
    "without_text": ".withheld_text",
    "word_differences": ".bias.words",
    "word_effects": ".bias.words",
    "word_ledger": ".bias.word_ledger",
    "wrap": ".interpret.models",
}

__all__ = [
    "FIGURES",
    "METHODS",
    "METRICS",
    "Attribution",
    "Audit",
    "Contrast",
    "Edge",
    "Evidence",
    "EvidenceRun",
    "Explorer",
    "FixQuestion",
    "GapQuestion",
    "Intervention",
    "Keep",
    "LawQuestion",
    "Ledger",
    "Mean",
    "Patch",
    "Policy",
    "Resample",
    "Review",
    "Rows",
    "Subject",
    "Work",
    "add_terms",
    "aimed",
    "along_swaps",
    "alt_text",
    "answering",
    "attribute",
    "attribute_every_label",
    "attribute_generation",
    "audit",
    "bins",
    "by_value",
    "change_gap",
    "check_suite",
    "cockpit",
    "compare",
    "compare_models",
    "compare_pairs",
    "conditional_gap",
    "contrast",
    "distil",
    "equalized_odds",
    "erase_concept",
    "every_head",
    "evidence",
    "expand",
    "explain",
    "explore",
    "faithfulness",
    "figure",
    "flipped",
    "four_fifths",
    "from_columns",
    "from_frame",
    "from_metric_frame",
    "gates",
    "gather",
    "group_reliability",
    "head_effects",
    "head_roles",
    "head_statistics",
    "highlights",
    "in_groups",
    "in_sentences",
    "in_spans",
    "in_windows",
    "in_words",
    "intervene",
    "junit_xml",
    "learn_head_gates",
    "ledger",
    "load",
    "local_law_144",
    "matched_gap",
    "mean_gap",
    "merge",
    "mitigate",
    "monitor",
    "pair_rows",
    "parts_of_gap",
    "plan_trace",
    "planted_shortcut",
    "plausibility",
    "policy_schema",
    "probe",
    "prune_heads",
    "pseudo_log_likelihood",
    "randomisation",
    "rates_over_thresholds",
    "read_evidence",
    "read_lexicon",
    "read_policy",
    "read_review",
    "read_rows",
    "read_suite",
    "read_trace",
    "review",
    "review_schema",
    "save_subject",
    "scan",
    "score",
    "slice_gap",
    "slices",
    "softened",
    "swapped",
    "swapped_gap",
    "to_metric_frame",
    "trace",
    "trace_generation",
    "tune_on_copies",
    "variant",
    "verify",
    "view",
    "why",
    "without_small_cells",
    "without_text",
    "word_differences",
    "word_effects",
    "word_ledger",
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
