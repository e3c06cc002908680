"""English grammar that a swap has to keep: her or hers, a or an, they were.

There is no parser here. The rules look at the neighbouring words only, and each says where it cannot know:
the caller reports these places, so that a wrong form is never mistaken for a model's reaction to a group.
"""

import re
from collections.abc import Container, Sequence
from typing import NamedTuple

from .word_signs import APOSTROPHES

ROLES = ("subject", "object", "determiner", "possessive", "reflexive", "adjective", "noun")
TOLD_APART = (
    frozenset({"object", "determiner"}),  # her: him, his
    frozenset({"determiner", "possessive"}),  # his: her, hers
    frozenset({"adjective", "noun"}),  # Muslim: Jewish, Jew
)


def listed(text: str) -> frozenset[str]:
    """The words of a text, divided by spaces."""
    return frozenset(text.split())


# Words that begin something new: after "her" they show an object, after "his" a possessive.
NEW_PART = listed("""
    about above across after against along among amongst around as at before behind below beneath beside besides
    between beyond by despite during except for from in inside into near of off on onto out outside over per since
    than through throughout till to toward towards under until unto up upon via with within without
    and or but nor so yet because although though while when whenever where wherever whether if unless whereas
    a an the this that these those some any each every another no
    he she it we they i you him them us me who whom whose which what why how
    is are was were be been am being do does did has have had having will would shall should can could may might must
    isn aren wasn weren doesn don didn hasn haven hadn won wouldn couldn shouldn cannot
    again too also alone not never now then here there today tomorrow yesterday tonight anyway instead away together
    directly personally immediately
    my your our their its
    """)
POSSESSIVES = frozenset({"her", "his", "their", "my", "your", "our", "its"})
OTHER_PRONOUNS = frozenset(
    {"him", "hers", "them", "theirs", "me", "us", "mine", "yours", "ours", "himself", "herself"}
)
AND = frozenset({"and", "or", "and/or"})
# After these, "her leave", "her money" and "her badly" may be an object followed by something else.
TWO_OBJECTS = listed("""
    give gives gave given giving tell tells told telling ask asks asked asking show shows showed shown showing send sends
    sent sending teach teaches taught teaching bring brings brought bringing buy buys bought buying pay pays paid paying
    call calls called calling owe owes owed lend lends lent lending promise promises promised wish wishes wished cost
    costs hand hands handed write writes wrote offer offers offered grant grants granted deny denies denied make makes
    made making let lets letting help helps helped helping see sees saw seen seeing watch watches watched watching hear
    hears heard hearing feel feels felt notice notices noticed get gets got getting find finds found finding keep keeps
    kept keeping leave leaves left leaving consider considers considered name names named elect elects elected appoint
    appoints appointed have has had having
    """)
EITHER = listed(
    "back past home present first last best better well right left all both only less more most like"
)
LY_NO_ADVERB = listed(
    "family daily early friendly lovely elderly weekly monthly yearly ugly holy reply supply belly"
)
ARTICLES = listed("a an the this that each every another one any no")
# Of "isn't" the part before the apostrophe.
HE_IS = {
    "is": "are", "was": "were", "has": "have", "does": "do", "isn": "aren", "wasn": "weren", "hasn": "haven", "doesn": "don",
}  # fmt: skip
BETWEEN_SUBJECT_AND_VERB = listed(
    "also always never often just still now then really sometimes usually only ever"
)
NO_VERB_IN_S = listed(
    "always perhaps sometimes besides nevertheless nonetheless as thus towards his hers this us its"
)
ENDS = re.compile(r"[.,;:!?)\]}…—–/]")
VOWEL = re.compile(r"[aeiouàáâäæèéêëìíîïòóôöùúûü]", re.IGNORECASE)
SOUNDS_LIKE_YOU = re.compile(r"(?:eu|uni(?![mn])|uk|uru|uga|usa|use|usu|uto|one\b|once\b)", re.IGNORECASE)
SILENT_H = re.compile(r"(?:heir|hono|hour|honest)", re.IGNORECASE)


class Role(NamedTuple):
    """What a word is in its sentence, and whether the neighbours settle it."""

    name: str
    certain: bool
    why: str = ""  # what leaves it open


class Word(NamedTuple):
    """A word of a text and the signs between it and the next one."""

    text: str  # without case
    gap: str  # up to the next word, or to the end


def resolvable(roles: Sequence[str]) -> bool:
    """Whether neighbours can tell these roles of one word apart."""
    return frozenset(roles) in TOLD_APART and len(set(roles)) == len(roles)


def role_of(
    roles: Sequence[str],
    before: Sequence[Word],
    word: Word,
    after: Sequence[Word],
    nouns: Container[str] = frozenset(),
) -> Role:
    """The role of a word that can have several.

    her: an object before punctuation, the end, or a word that begins something new (a preposition, conjunction,
    article, pronoun, auxiliary); else a determiner. his: a possessive there; else a determiner. After "and" or
    "or" with another possessive, the word after that decides ("her and his car"). An adjective or noun: an adjective
    before any other word, a noun after an article, else an adjective.

    Left open: "her" before another word after verbs that take two objects ("gave her money", "saw her leave") or
    before an adverb or a word such as "back"; an adjective or noun after an article and before a word in -s or
    -ed, which may be a verb, and at the end of a phrase with an article further left.

    Args:
        roles: those that the word can have, as `resolvable` accepts.
        before: the words before it in the text, in order.
        word: the word itself, with what follows it.
        after: the words after it, in order.
        nouns: words known to be nouns: "her mother" is never "him" and a mother.
    """
    if frozenset(roles) == TOLD_APART[2]:
        return _adjective_or_noun(before, word, after)
    alone = "object" if "object" in roles else "possessive"
    gap, rest = word.gap, list(after)
    while (ahead := _shared(gap, rest)) is not None:
        if rest[ahead].text in OTHER_PRONOUNS:
            return Role(alone, True)
        gap, rest = rest[ahead].gap, rest[ahead + 1 :]
    if _ended(gap) or not rest or rest[0].text in NEW_PART:
        return Role(alone, True)
    if alone == "possessive" or rest[0].text in nouns:
        return Role("determiner", True)
    follows, verb = rest[0].text, before[-1].text if before and not _ended(before[-1].gap) else ""
    if verb in TWO_OBJECTS:
        return Role("determiner", False, f'"{verb} her {follows}" can be read with him and with his')
    if follows in EITHER or (follows.endswith("ly") and follows not in LY_NO_ADVERB):
        return Role("determiner", False, f'"her {follows}" can be read with him and with his')
    return Role("determiner", True)


def _adjective_or_noun(before: Sequence[Word], word: Word, after: Sequence[Word]) -> Role:
    article = bool(before) and before[-1].text in ARTICLES and not before[-1].gap.strip()
    if word.gap[:1] in set(APOSTROPHES):
        return Role("noun", True)
    if _ended(word.gap) or not after or after[0].text in NEW_PART:
        if article:
            return Role("noun", True)
        if any(one.text in ARTICLES for one in before[-3:]):
            return Role("noun", False, f'"{before[-1].text} {word.text}" may end in an adjective or a noun')
        return Role("adjective", True)
    if article and after[0].text.endswith(("s", "ed")):
        return Role(
            "adjective", False, f'"{word.text} {after[0].text}" may be an adjective or a noun with its verb'
        )
    return Role("adjective", True)


def article_before(article: str, old: str, new: str) -> str | None:
    """The article for the new word, where "a" has to become "an" or the reverse; None where it stays.

    By the first sound, guessed from letters: vowels, but for the sound of "you" (European, Ukrainian) and "one";
    and a silent h (heir, honest, hour).
    """
    was, becomes = begins_with_vowel(old), begins_with_vowel(new)
    if was == becomes or article.casefold() != ("an" if was else "a"):
        return None
    if becomes:
        return article + ("N" if article.isupper() and new.isupper() else "n")
    return article[:1]


def begins_with_vowel(word: str) -> bool:
    """Whether a word's first sound is a vowel, guessed from its letters."""
    if SILENT_H.match(word):
        return True
    return bool(VOWEL.match(word)) and not SOUNDS_LIKE_YOU.match(word)


class Agreement(NamedTuple):
    """A verb that has to go with a subject that has become a plural."""

    place: int  # of the verb, counted from the subject: 1 is the next word, -1 the one before; 0 where it is left open
    new: str
    why: str = ""


def agreement(before: Sequence[Word], word: Word, after: Sequence[Word]) -> Agreement | None:
    """What the verb of "he" or "she" becomes beside "they": forms of be, have and do; other verbs in -s are left open.

    The verb right after the subject, or after one adverb, or right before it ("is he?"). None where nothing changes.
    """
    rest = list(after)
    if word.gap in set(APOSTROPHES) and rest:
        if rest[0].text != "s":
            return None
        following = rest[1].text if len(rest) > 1 else ""
        perhaps_has = following.endswith(("ed", "en")) or following in {"got", "had", "made", "done", "gone"}
        return Agreement(1, "re", f'"\'s {following}" is "is" or "has"' if perhaps_has else "")
    for ahead in range(min(2, len(rest))):
        if _ended(word.gap if ahead == 0 else rest[ahead - 1].gap):
            break
        verb = rest[ahead].text
        if verb in HE_IS:
            return Agreement(ahead + 1, HE_IS[verb])
        if verb in BETWEEN_SUBJECT_AND_VERB or verb.endswith("ly"):
            continue
        if verb.endswith("s") and verb not in NO_VERB_IN_S:
            return Agreement(0, "", f'the verb "{verb}" does not go with "they"')
        break
    back = 2 if before and before[-1].text == "t" else 1
    if len(before) >= back and before[-back].text in HE_IS and not before[-1].gap.strip():
        return Agreement(-back, HE_IS[before[-back].text])
    return None


def _ended(gap: str) -> bool:
    return bool(ENDS.search(gap)) or (gap[:1] != "" and not gap[0].isspace() and gap[0] not in "-")


def _shared(gap: str, rest: Sequence[Word]) -> int | None:
    """Which of the next words is a pronoun joined on by "and", "or" or a slash, so that both share what follows."""
    if gap.strip() == "/" and rest and rest[0].text in POSSESSIVES | OTHER_PRONOUNS:
        return 0
    if len(rest) < 2 or gap.strip() or rest[0].text not in AND or rest[0].gap.strip():
        return None
    return 1 if rest[1].text in POSSESSIVES | OTHER_PRONOUNS else None
