"""What a search of slices found, as frozen records."""

from dataclasses import dataclass

from .items import Item


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """One conjunction beside everybody who is not in it."""

    items: tuple[Item, ...]
    n: int  # rows of the denominator that are in it
    n_complement: int  # and that are not
    support: float  # n of all rows of the denominator
    n_clusters: int | None  # where clusters are exchanged
    k: int | None  # of a rate without weights: rows counted
    estimate: float  # its rate or mean
    complement: float  # everybody else's
    effect: float  # the difference; within strata where there are any
    low: float  # simultaneous over all slices that were tested
    high: float
    z: float  # the effect over its standard deviation under permutation
    p_adjusted: float  # for all slices that were searched (or, after a split, that were confirmed)
    found: bool  # p_adjusted is at most alpha
    parent: tuple[Item, ...] | None  # the slice of one item less whose estimate is nearest
    parent_effect: float | None  # of the parent against its complement; None where it has none
    incremental_effect: float | None  # estimate minus the parent's: what the last item adds
    redundant: bool  # the parent says the same
    group: int  # slices nested with one another, or of nearly the same rows
    contributions: tuple[float, ...]  # Shapley value of each item; they add up to estimate - overall

    @property
    def name(self) -> str:
        """The items in words."""
        return " & ".join(map(str, self.items))


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemImportance:
    """How much an item counts over all slices that were found: its global divergence."""

    item: Item
    n: int  # rows of the denominator
    divergence: float  # of the item alone: its mean minus everybody's
    importance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceSearch:
    """A search for slices that fare otherwise than everybody else, with all that went into it."""

    of: str
    words: str  # what is counted or averaged, of whom
    kind: str  # "rate" or "mean"
    method: str  # "max-T", or "discover and confirm"
    slices: tuple[Slice, ...]  # strongest first, as many as were asked for
    importance: tuple[ItemImportance, ...]  # largest first; of a split search from the half that discovers
    columns: tuple[str, ...]
    terms: tuple[str, ...]
    overall: (
        float  # rate or mean of all rows of the denominator (of a split search, of the half that confirms)
    )
    n: int  # rows of the denominator, both halves
    n_discover: int | None  # of a split search: rows that chose the slices
    n_confirm: int | None  # and rows that every number of the slices is from
    n_clusters: int | None
    n_strata: int
    strata: tuple[str, ...]
    cluster: str | None
    weighted: bool
    n_searched: int  # conjunctions above the support
    n_tested: int  # of these, compared with a complement; of a split search, confirmed
    n_found: int  # with p_adjusted of at most alpha
    min_support: float  # of the rows of the denominator
    min_count: int  # rows of a slice and of its complement
    depth: int
    alpha: float
    critical: float  # |z| beyond which a slice is found, and with which the intervals are made
    permutations: int
    epsilon: float  # an item that adds no more makes a slice redundant
    jaccard: float  # slices whose rows overlap so much are grouped
    seed: int
    engine: str  # what found the conjunctions: "numpy" or "numba"

    @property
    def found(self) -> tuple[Slice, ...]:
        """Those shown whose adjusted p-value is at most alpha."""
        return tuple(one for one in self.slices if one.found)

    @property
    def leaders(self) -> tuple[Slice, ...]:
        """The first that is found of every group, strongest first."""
        seen: dict[int, Slice] = {}
        for one in sorted(self.found, key=lambda one: one.redundant):
            seen.setdefault(one.group, one)
        return tuple(sorted(seen.values(), key=lambda one: -abs(one.z)))

    def __repr__(self) -> str:
        return (
            f"SliceSearch({self.of}: {self.n_found} found of {self.n_tested:,} tested in {self.n:,} rows, "
            f"{self.method}, {self.permutations:,} permutations)"
        )
