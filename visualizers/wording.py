"""Numbers and names as the report prints them: one way for each kind, a dash where there is none."""

import math

from ..records import Finding
from .fonts import shorten

NONE = "–"
IN_SENTENCE = 48  # columns that a name may take in a sentence; tables give it whole


def number(value: float | int | None, digits: int = 3) -> str:
    """A plain number with a true minus sign; powers of ten where the digits would show only zeros."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return NONE
    if isinstance(value, int):
        return f"{value:,}".replace("-", "−")
    size = abs(value)
    if size >= 1e7 or 0 < size < 0.5 * 10**-digits:
        return f"{value:.1e}".replace("-", "−")
    written = f"{value:,.{digits}f}"
    return (written[1:] if float(written.replace(",", "")) == 0 and written[0] == "-" else written).replace(
        "-", "−"
    )


def signed(value: float | None, digits: int = 3) -> str:
    """A number that always shows its sign."""
    written = number(value, digits)
    return written if written == NONE or value is None or value <= 0 else f"+{written}"


def interval(low: float | None, high: float | None, *, sign: bool = False) -> str:
    """[low, high], or a dash."""
    if low is None or high is None:
        return NONE
    write = signed if sign else number
    return f"[{write(low)}, {write(high)}]"


def p_value(value: float | None) -> str:
    """A p-value with four decimals, or that it is smaller."""
    if value is None or not math.isfinite(value):
        return NONE
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def spoken(name: str) -> str:
    """`true_positive_rate` as a person says it: underscores are spaces. Names with brackets stay as they are."""
    return name if "[" in name else name.replace("_", " ")


def gap_sentence(finding: Finding) -> str:
    """One comparison in one sentence, with its interval and its denominators."""
    names = [shorten(name, IN_SENTENCE) for name in (finding.group, finding.reference, finding.attribute)]
    pair = f"{shorten(spoken(finding.metric), IN_SENTENCE)}, {names[0]} minus {names[1]} ({names[2]})"
    if finding.estimate is None:
        return f"{pair}: no estimate, {finding.reason or finding.status}"
    return (
        f"{pair}: {signed(finding.estimate)} {interval(finding.low, finding.high, sign=True)}, "
        f"n = {number(finding.n_group)} and {number(finding.n_reference)}"
    )


def opening(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]
