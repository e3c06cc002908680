"""Signs within words, whichever way they are typed: apostrophes, hyphens, and those that nobody sees."""

import unicodedata

# Typed for an apostrophe, whatever Unicode calls them: quotation marks, accents, a prime, the Armenian apostrophe, the
# Hebrew geresh, and four that count as letters.
LETTERS = "ʼʻʽʹ"
APOSTROPHES = f"'’‘‛＇`´′՚׳{LETTERS}"
# Of two words they make one: ASCII, hyphen, non-breaking, Armenian, Hebrew maqaf, small and full width.
HYPHENS = "-‐‑֊־﹣－"
# Not seen, and no part of how a word is spelt: soft hyphen, word joiner, byte order mark, and the two joiners that
# change the shapes of letters in some scripts.
UNSEEN = "\u00ad\u2060\ufeff\u200c\u200d"
# What is written after an apostrophe and leaves the word before it as it is: Mary's, he'd, she'll, they've.
ENDINGS = frozenset({"s", "d", "ll", "re", "ve", "m"})

_AS_COMPARED = {
    **dict.fromkeys(map(ord, APOSTROPHES), "'"),
    **dict.fromkeys(map(ord, HYPHENS), "-"),
    **dict.fromkeys(map(ord, UNSEEN)),
}


def spelt(text: str) -> str:
    """The text with one apostrophe and one hyphen for all of their kinds, and without what nobody sees."""
    return text.translate(_AS_COMPARED)


def in_word(character: str) -> bool:
    """Whether a character is of a word: a letter, a digit, or a mark on one. Apostrophes are not, nor are marks of emoji."""
    if character in APOSTROPHES or "\ufe00" <= character <= "\ufe0f" or character == "\u20e3":
        return False
    return character.isalnum() or unicodedata.category(character)[0] == "M"
