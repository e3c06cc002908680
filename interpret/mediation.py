"""From a gap to the heads that carry it: screening, verification on held-out rows, the tokens they move."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..records import Contrast, Rows
from .ablation import Head
from .audited import Audited
from .head_paths import HeadPath, head_paths
from .models import Subject
from .screening import Screening, screen
from .verification import Verification, verify

SHOWN = 5  # tokens of a path that a sentence names


@dataclass(frozen=True, slots=True, kw_only=True)
class Mediation:
    """What was screened, what of it was verified, and which tokens the verified heads move."""

    screening: Screening
    verification: Verification
    paths: tuple[HeadPath, ...]  # of the verified heads, over the held-out rows

    def sentences(self) -> tuple[str, ...]:
        """The findings in words: only of a verified head is it said that it carries something."""
        made = [self.verification.sentence()]
        for test in self.verification.tests:
            layer, head = test.heads[0]
            share = self.screening.of(layer, head)
            if not test.verified:
                made.append(
                    f"{layer} head {head} is associated with {-share.closing:+.3g} {self.screening.unit} of the contrast on "
                    f"the screened rows; not verified: {test.reason}."
                )
                continue
            path = next(one for one in self.paths if (one.layer, one.head) == (layer, head))
            tokens = ", ".join(f"{one.token} ({one.share:+.3g})" for one in path.tokens[:SHOWN])
            verb = "carries" if test.carries else "counteracts" if test.removed * test.before < 0 else "moves"
            made.append(
                f"{layer} head {head} {verb} {abs(test.removed):.3g} {self.verification.unit} of the gap; of the tokens it "
                f"moves to the target, first order: {tokens}."
            )
        return tuple(made)


def mediate(
    subject: Subject,
    rows: Rows,
    contrast: Contrast,
    held_out: Rows,
    held_out_contrast: Contrast,
    *,
    how: str = "mean",
    metric: Audited | None = None,
    heads: Sequence[Head] | None = None,
    n_candidates: int = 4,
    cluster: npt.NDArray[np.integer] | None = None,
    last: str = "first order",
    integrated: bool = True,
    feed_forward: bool = False,
    n_random: int = 39,
    least: float = 0.0,
    confidence: float = 0.95,
    replicates: int = 2000,
    seed: int = 0,
    batch_size: int = 32,
    progress: bool = False,
) -> Mediation:
    """Screen all heads on some rows, verify the first of them on others, and follow the verified ones to their tokens.

    Heads are screened toward what verification puts in their place: toward their mean output for "mean" and
    "resample", toward zero for "zero". What stands in on held-out rows is from the screened rows.

    Args:
        rows, contrast: to screen.
        held_out, held_out_contrast: to verify; other rows.
        metric: the audited metric of the held-out rows; by default the contrast of scores.
        cluster: codes of the held-out rows.
        least: the smallest effect on the metric that matters.
        last, integrated, feed_forward: of the screening. Toward the mean, heads alone have gates.

    Raises: as `screen`, `verify` and `head_paths`.
    """
    toward = "zero" if how == "zero" or feed_forward else "mean"
    screening = screen(
        subject,
        rows,
        contrast,
        toward=toward,
        last=last,
        integrated=integrated,
        feed_forward=feed_forward,
        batch_size=batch_size,
        progress=progress,
    )
    verification = verify(
        subject,
        held_out,
        held_out_contrast,
        screening,
        heads=heads,
        n_candidates=n_candidates,
        how=how,
        metric=metric,
        reference=rows,
        cluster=cluster,
        n_random=n_random,
        least=least,
        confidence=confidence,
        replicates=replicates,
        seed=seed,
        batch_size=batch_size,
        progress=progress,
    )
    found = verification.verified
    paths = head_paths(subject, held_out, held_out_contrast, found, batch_size=batch_size) if found else ()
    return Mediation(screening=screening, verification=verification, paths=paths)
