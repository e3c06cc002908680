"""How much work a question is, counted and not timed, so that what is computed is the same on every machine."""

from torch import nn

from ..records import Rows
from .models import Subject

CLOSINGS = 2e11  # operations that closing heads one by one may take: some seconds of a CPU core
LIVE = 1e11  # ... that answering one move of a gate may take for a watched gap
GPU = 100.0  # times as many on an accelerator
FEWEST, MOST = 64, 2000  # rows of a watched gap


def operations(subject: Subject, rows: Rows) -> float:
    """Multiplications and additions of one forward pass, about: two per token and parameter outside of embeddings."""
    looked_up = {
        id(p)
        for part in subject.module.modules()
        if isinstance(part, nn.Embedding)
        for p in part.parameters()
    }
    used = sum(p.numel() for p in subject.module.parameters() if id(p) not in looked_up)
    tokens = sum(len(subject.prefix) + len(names) for names in subject.names(rows))
    return 2.0 * used * tokens


def budget(subject: Subject, least: float) -> float:
    """The operations allowed where the subject runs."""
    return least * (1.0 if subject.device.type == "cpu" else GPU)


def rows_of_a_gap(subject: Subject, rows: Rows) -> int:
    """How many of the rows a watched gap may be computed on again and again."""
    some = rows.take(range(min(len(rows), 32)))
    each = operations(subject, some) / max(1, len(some))
    fit = int(budget(subject, LIVE) / max(each, 1.0))
    return min(len(rows), max(FEWEST, min(MOST, fit)))
