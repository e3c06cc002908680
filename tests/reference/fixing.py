"""Fixes written slowly from their papers: weights cell by cell, thresholds row by row, splits dealt one by one."""

import hashlib


def reweighed(rows: list[tuple[str, bool]]) -> list[float]:
    """Kamiran & Calders 2012, section 4.2: P(group) P(label) / P(group and label), for each (group, label) row."""
    n = len(rows)
    made = []
    for group, label in rows:
        of_group = sum(1 for g, _ in rows if g == group) / n
        of_label = sum(1 for _, y in rows if y == label) / n
        of_both = sum(1 for row in rows if row == (group, label)) / n
        made.append(of_group * of_label / of_both)
    return made


def drawn(name: str, purpose: str, seed: int) -> float:
    """The number in [0, 1) of one name: 53 bits of keyed BLAKE2b."""
    bits = hashlib.blake2b(
        name.encode(), digest_size=8, key=str(seed).encode(), person=b"clinometer", salt=purpose.encode()
    ).digest()
    return (int.from_bytes(bits, "big") >> 11) / 2**53


def dealt(ids: list[str], stratum: str, shares: tuple[float, float, float], seed: int) -> dict[str, int]:
    """Rows of one stratum in the order of their hash, dealt systematically from the stratum's own start."""
    start = drawn(stratum, "stratum", seed)
    made = {}
    for i, name in enumerate(sorted(ids, key=lambda one: drawn(one, "split", seed))):
        place = ((i + 0.5) / len(ids) + start) % 1.0
        made[name] = 0 if place < shares[0] else 1 if place < shares[0] + shares[1] else 2
    return made


def mixed_chance(score: float, rule: dict[str, float | str]) -> float:
    """The chance of a yes at one score, of a rule that mixes two thresholds and a constant."""
    chance = 0.0
    for which in ("0", "1"):
        threshold = float(rule["threshold" + which])
        passes = score > threshold if rule["operator" + which] == ">" else score < threshold
        chance += float(rule["p" + which]) * (1.0 if passes else 0.0)
    ignored = float(rule["p_ignore"])
    return ignored * float(rule["constant"]) + (1 - ignored) * chance


def best_common_threshold(
    rows: list[tuple[float, bool, str]], floor: float
) -> tuple[float, list[bool]] | None:
    """The decisions of the smallest true-positive-rate gap whose accuracy keeps the floor, trying every cut."""
    scores = sorted({score for score, _, _ in rows})
    best: tuple[float, float, list[bool]] | None = None
    for cut in [*scores, float("inf")]:
        said = [score >= cut for score, _, _ in rows]
        accuracy = sum(a == y for a, (_, y, _) in zip(said, rows, strict=True)) / len(rows)
        if accuracy < floor:
            continue
        rates = []
        for group in sorted({g for _, _, g in rows}):
            positives = [a for a, (_, y, g) in zip(said, rows, strict=True) if g == group and y]
            rates.append(sum(positives) / len(positives))
        gap = max(rates) - min(rates)
        if best is None or (round(gap, 12), -accuracy) < (round(best[0], 12), -best[1]):
            best = (gap, accuracy, said)
    return None if best is None else (best[0], best[2])
