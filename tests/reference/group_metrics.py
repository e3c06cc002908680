"""Metrics of groups, row by row from their papers: slower and less complicated than the code they check."""

import math
from collections.abc import Sequence


def entropy_index(benefits: Sequence[float], alpha: float) -> float:
    """Generalised entropy; alpha 1 and 0 are its limits."""
    n = len(benefits)
    mu = sum(benefits) / n
    total = 0.0
    for b in benefits:
        share = b / mu
        if alpha == 1:
            total += share * math.log(share) if share > 0 else 0.0
        elif alpha == 0:
            total -= math.log(share)
        else:
            total += (share**alpha - 1) / (alpha * (alpha - 1))
    return total / n


def differential_fairness(outcomes: dict[str, dict[str, int]], concentration: float) -> float:
    """The largest |ln p_i - ln p_j|."""
    names = {name for of in outcomes.values() for name in of}
    largest = 0.0
    for one in outcomes.values():
        for other in outcomes.values():
            for name in names:
                logs = [
                    math.log(
                        (of.get(name, 0) + concentration) / (sum(of.values()) + len(names) * concentration)
                    )
                    for of in (one, other)
                ]
                largest = max(largest, abs(logs[0] - logs[1]))
    return largest


def conditional_disparity(
    selected: Sequence[bool], member: Sequence[bool], stratum: Sequence[str]
) -> float | None:
    """Mean over strata that have both outcomes, by rows."""
    total, n = 0.0, 0
    for name in set(stratum):
        rows = [i for i, s in enumerate(stratum) if s == name]
        chosen = [i for i in rows if selected[i]]
        denied = [i for i in rows if not selected[i]]
        if not chosen or not denied:
            continue
        share_denied = sum(member[i] for i in denied) / len(denied)
        share_chosen = sum(member[i] for i in chosen) / len(chosen)
        total += len(rows) * (share_denied - share_chosen)
        n += len(rows)
    return total / n if n else None


def score_parity(score: Sequence[float], inside: Sequence[bool]) -> float:
    """The largest |P(f >= z | A) - P(f >= z)| over all thresholds."""
    members = [s for s, m in zip(score, inside, strict=True) if m]
    return max(
        abs(sum(s >= z for s in members) / len(members) - sum(s >= z for s in score) / len(score))
        for z in score
    )


def ranking_divergence(groups: Sequence[str], mix: dict[str, float]) -> float:
    """NDKL of one ranking, its items' groups from the top."""
    total, norm = 0.0, 0.0
    for r in range(1, len(groups) + 1):
        divergence = 0.0
        for name, wanted in mix.items():
            share = sum(g == name for g in groups[:r]) / r
            if share > 0:
                divergence += share * math.log(share / wanted)
        total += divergence / math.log2(r + 1)
        norm += 1 / math.log2(r + 1)
    return total / norm


def infeasible_places(groups: Sequence[str]) -> int:
    """Places at which the first r lack somebody of a group, against the ranking's own mix."""
    n, found = len(groups), 0
    for r in range(1, n + 1):
        found += any(
            sum(g == name for g in groups[:r]) < (sum(g == name for g in groups) * r) // n
            for name in set(groups)
        )
    return found


def exposure_share(groups: Sequence[str], name: str) -> float:
    """A group's share of 1 / log2(1 + rank)."""
    every = [1 / math.log2(r + 2) for r in range(len(groups))]
    return sum(e for e, g in zip(every, groups, strict=True) if g == name) / sum(every)


def bio_spans(tags: Sequence[str]) -> set[tuple[int, int, str]]:
    """Spans of tags that are legal: from each B- as far as I- of the same type go."""
    found = set()
    for i, tag in enumerate(tags):
        if tag.startswith("B-"):
            end = i + 1
            while end < len(tags) and tags[end] == "I-" + tag[2:]:
                end += 1
            found.add((i, end, tag[2:]))
    return found
