"""Swapping words of a one-to-one list, plainly: character by character, longest word first, capitals by case."""


def plainly_swapped(text: str, pairs: dict[str, str]) -> str:
    """The text with every whole word of `pairs` (lower case, both ways) replaced; simple letters and spaces only."""
    both = {**pairs, **{new: old for old, new in pairs.items()}}
    made, at = "", 0
    while at < len(text):
        found = None
        for word in sorted(both, key=len, reverse=True):
            piece = text[at : at + len(word)]
            before = text[at - 1] if at else " "
            after = text[at + len(word)] if at + len(word) < len(text) else " "
            if piece.lower() == word and not before.isalnum() and not after.isalnum():
                found = piece
                break
        if found is None:
            made += text[at]
            at += 1
            continue
        new = both[found.lower()]
        if found.isupper():
            new = new.upper()
        elif found[0].isupper():
            new = new[0].upper() + new[1:]
        made += new
        at += len(found)
    return made
