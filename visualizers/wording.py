"""Numbers and names as the report prints them: one way for each kind, a dash where there is none."""

import math

from ..records import Finding
from .fonts import shorten
from .phrases import Phrases, current, said

NONE = "–"
# Each verdict and status of the records, and the phrase of the page.
WORDS = {
    "within tolerance": "word.within_tolerance",
    "exceeds tolerance": "word.exceeds_tolerance",
    "inconclusive": "word.inconclusive",
    "not assessed": "word.not_assessed",
    "ok": "word.ok",
    "insufficient": "word.insufficient",
    "suppressed": "word.suppressed",
    "undefined": "word.undefined",
}
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


def gap_sentence(finding: Finding, say: Phrases | None = None) -> str:
    """One comparison in one sentence, with its interval and its denominators."""
    tell = (say or current()).plain
    names = {
        name: shorten(getattr(finding, name), IN_SENTENCE) for name in ("group", "reference", "attribute")
    }
    names["metric"] = shorten(spoken(finding.metric), IN_SENTENCE)
    if finding.estimate is None:
        return tell("sentence.no_estimate", **names, reason=finding.reason or finding.status)
    return tell(
        "sentence.gap",
        **names,
        gap=signed(finding.estimate),
        interval=interval(finding.low, finding.high, sign=True),
        n_group=number(finding.n_group),
        n_reference=number(finding.n_reference),
    )


def worded(word: str, say: Phrases | None = None) -> str:
    """A verdict or a status in the words of the page."""
    return (say or current())(WORDS[word])


def drawn_word(word: str | None) -> str:
    """A verdict or a status as figures write it; a word that the page does not know stays as it is."""
    return said(WORDS[word]) if word in WORDS else str(word)


def opening(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]
