"""What the target loses when one token is taken away."""

import numpy as np
from tqdm.auto import tqdm

from ..records import Attribution, Rows
from .attributions import attributed
from .batches import MAX_MEMORY
from .models import Subject, score
from .players import players


def occlusion(
    subject: Subject,
    rows: Rows,
    *,
    batch_size: int = 64,
    max_memory: int = MAX_MEMORY,
    seed: int = 0,
    progress: bool = False,
) -> Attribution:
    """f(x) - f(x without the token), per token, signed, in the subject's unit: leave-one-out.

    A token taken away has the reference's embedding in place of its own; nothing moves up to close the gap (Zeiler
    & Fergus 2014, with the reference in place of their grey square; Li et al. 2016, erasure, with the reference in
    place of zeros and not divided by f(x)). Padding and markers, which the reference shares, get 0.

    The scores add up to nothing: where either of two tokens is enough both get about 0, and where both are needed
    each gets the whole of their effect. `shapley_values` shares such effects out.

    Args:
        batch_size: rows encoded together, of about one length; their removals run together.
        max_memory: bytes that decide how many removals one pass runs, counted as if for a backward pass.
        seed: not used; every method takes one.
        progress: show a bar.

    Returns:
        Scores (example, token), float64, 0 beyond an example's last token. One forward pass per token and one more.

    Raises:
        DataError: no rows, or a score that is not finite.
        ModelError: a batch size below one, or memory that one row alone exceeds.
    """
    value = score(subject, rows, batch_size=batch_size)
    names = subject.names(rows)
    scores = np.zeros((len(rows), max(len(tokens) for tokens in names)))
    with tqdm(total=len(rows), desc="occlusion", unit="row", disable=not progress) as bar:
        for group in players(subject, rows, names, batch_size=batch_size, max_memory=max_memory):
            everything = group.all_kept()
            whole = group.scores(np.arange(len(everything)), everything, "occlusion")
            which = np.repeat(np.arange(len(everything)), [len(places) for places in group.places])
            where = np.concatenate(group.places)
            kept = everything[which]
            kept[np.arange(len(where)), where] = False
            without = group.scores(which, kept, "occlusion")
            scores[group.index[which], where] = whole[which] - without
            bar.update(len(group.index))
    return attributed("occlusion", subject, rows, names, scores, value=value)
