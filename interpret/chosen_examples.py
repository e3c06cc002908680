"""Which examples are looked at: a seeded draw that is spread evenly over kinds of rows."""

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.int64]


def spread(kinds: Sequence[Hashable], n: int, *, seed: int = 0) -> Places:
    """At most n places, ascending: kinds of rows (a group, an error) take turns, each in a seeded order of its own.

    A kind that has fewer rows than its turns gives all of them, so that a rare kind is there as long as there is room.
    """
    generator = np.random.default_rng(seed)
    of: dict[Hashable, list[int]] = {}
    for place, kind in enumerate(kinds):
        of.setdefault(kind, []).append(place)
    queues = [
        generator.permutation(places).tolist()
        for _, places in sorted(of.items(), key=lambda one: repr(one[0]))
    ]
    taken: list[int] = []
    turn = 0
    while len(taken) < min(n, len(kinds)):
        some = [queue[turn] for queue in queues if turn < len(queue)]
        taken.extend(some[: n - len(taken)])
        turn += 1
    return np.sort(np.array(taken, dtype=np.int64))
