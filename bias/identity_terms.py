"""Short lists of identity words, written for this project: what is swapped for what.

Left out are words whose other meanings are common (straight, old, young, black and white by themselves, hearing,
Miss, guys), slurs, and words that would need more than a word of their own changed. Names stand beside a name of the
same origin, so that a swap of gender is not one of origin as well. A list says nothing of the people it names.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from .lexicons import Entry

VERSION = "2026.11"
SOURCE = "written for Clinometer by its authors; English"

SINGULAR = ("person", "man", "woman", "boy", "girl", "worker", "employee", "student", "patient", "customer")
PLURAL = (
    "people",
    "men",
    "women",
    "boys",
    "girls",
    "workers",
    "employees",
    "students",
    "patients",
    "customers",
)


def _pairs(groups: Sequence[str], text: str, **more: Any) -> list[Entry]:
    """An entry a line, groups divided by a slash, further words that are recognised by a bar."""
    made = []
    for line in text.strip().splitlines():
        parts = [part.strip() for part in line.split("/")]
        forms = {group: tuple(part.split("|")) for group, part in zip(groups, parts, strict=True)}
        made.append(Entry(forms=forms, **more))
    return made


def _roles(groups: Sequence[str], text: str) -> list[Entry]:
    """As `_pairs`, with the role of the entry before a colon."""
    lines = [line.split(":") for line in text.strip().splitlines()]
    return [entry for role, words in lines for entry in _pairs(groups, words, role=role.strip())]


def _people(
    adjectives: Mapping[str, Sequence[str]], nouns: Sequence[str] = (*SINGULAR, *PLURAL)
) -> list[Entry]:
    """Each adjective before each noun, one entry per noun."""
    return [
        Entry(forms={group: tuple(f"{word} {noun}" for word in words) for group, words in adjectives.items()})
        for noun in nouns
    ]


GENDERS = ("female", "male")
PRONOUNS = _roles(
    GENDERS,
    """
    subject: she / he
    object: her / him
    determiner: her / his
    possessive: hers / his
    reflexive: herself / himself
    """,
)
TO_NEUTRAL = _roles(
    (*GENDERS, "neutral"),
    """
    subject: she / he / they
    object: her / him / them
    determiner: her / his / their
    possessive: hers / his / theirs
    reflexive: herself / himself / themselves
    """,
)
GENDERED_NOUNS = [
    *_pairs(
        GENDERS,
        """
        woman / man
        women / men
        girl / boy
        girls / boys
        mother / father
        mothers / fathers
        mom|mum / dad
        moms|mums / dads
        mommy / daddy
        daughter / son
        daughters / sons
        sister / brother
        sisters / brothers
        wife / husband
        wives / husbands
        aunt / uncle
        aunts / uncles
        niece / nephew
        nieces / nephews
        grandmother / grandfather
        grandmothers / grandfathers
        grandma / grandpa
        granddaughter / grandson
        granddaughters / grandsons
        stepmother / stepfather
        stepdaughter / stepson
        stepsister / stepbrother
        mother-in-law / father-in-law
        daughter-in-law / son-in-law
        sister-in-law / brother-in-law
        ex-wife / ex-husband
        ex-girlfriend / ex-boyfriend
        girlfriend / boyfriend
        girlfriends / boyfriends
        bride / groom|bridegroom
        widow / widower
        widows / widowers
        lady / gentleman
        ladies / gentlemen
        female / male
        females / males
        queen / king
        queens / kings
        princess / prince
        heiress / heir
        actress / actor
        actresses / actors
        waitress / waiter
        waitresses / waiters
        hostess / host
        landlady / landlord
        heroine / hero
        businesswoman / businessman
        businesswomen / businessmen
        policewoman / policeman
        policewomen / policemen
        saleswoman / salesman
        spokeswoman / spokesman
        chairwoman / chairman
        congresswoman / congressman
        schoolgirl / schoolboy
        madam / sir
        """,
    ),
    *_pairs(GENDERS, "Ms|Mrs / Mr", capitalised=True),
]
NAMES = _pairs(
    GENDERS,
    """
    Mary / James
    Jennifer / Michael
    Elizabeth / William
    Barbara / Robert
    Susan / David
    Jessica / Matthew
    Sarah / Daniel
    Karen / Kevin
    Nancy / Donald
    Lisa / Brian
    Margaret / George
    Sandra / Steven
    Emily / Andrew
    Michelle / Anthony
    Amanda / Joshua
    Melissa / Jason
    Deborah / Kenneth
    Stephanie / Timothy
    Rebecca / Benjamin
    Laura / Edward
    Amy / Eric
    Helen / Walter
    Katherine / Richard
    Anna / Adam
    Emma / Thomas
    Samantha / Nicholas
    Rachel / Nathan
    Keisha / Jamal
    Latoya / Darnell
    Fatima / Ahmed
    Aisha / Mohammed
    Khadija / Mustafa
    Leila / Karim
    Maria / Carlos
    Guadalupe / Alejandro
    Lucia / Miguel
    Priya / Rahul
    Ananya / Arjun
    Lakshmi / Sanjay
    Yuki / Hiroshi
    Mei-Ling / Jian-Guo
    Olga / Ivan
    Natalia / Dmitri
    Greta / Hans
    Chantal / Pierre
    Giulia / Giovanni
    Ngozi / Emeka
    Amina / Ibrahim
    """,
    capitalised=True,
)
RELIGIONS = ("christian", "muslim", "jewish", "hindu", "buddhist", "sikh")
RELIGION = [
    *_pairs(RELIGIONS, "Christian / Muslim / Jewish / Hindu / Buddhist / Sikh", role="adjective"),
    *_pairs(RELIGIONS, "Christian / Muslim / Jew / Hindu / Buddhist / Sikh", role="noun"),
    *_pairs(RELIGIONS, "Christians / Muslims / Jews / Hindus / Buddhists / Sikhs"),
    *_pairs(RELIGIONS, "Christianity / Islam / Judaism / Hinduism / Buddhism / Sikhism"),
]
NATIONALITIES = (
    "american", "mexican", "canadian", "brazilian", "colombian", "german", "italian", "russian", "ukrainian", "iranian",
    "syrian", "egyptian", "nigerian", "kenyan", "ethiopian", "korean", "indonesian", "australian",
)  # fmt: skip
# One word is adjective and noun, and its plural ends in -s: French, Chinese and Turkish need other words for people.
NATIONALITY = [
    Entry(forms={name: (name.capitalize(),) for name in NATIONALITIES}),
    Entry(forms={name: (f"{name.capitalize()}s",) for name in NATIONALITIES}),
]
AGES = ("younger", "older")
AGE = [
    *_people({"younger": ("young",), "older": ("old", "elderly")}, (*SINGULAR[:3], *PLURAL[:3])),
    *_people({"younger": ("younger",), "older": ("older",)}),
    *_pairs(
        AGES,
        """
        teenager / pensioner
        teenagers / pensioners
        young adult / older adult
        young adults / older adults
        young lady / old lady
        in his twenties / in his seventies
        in her twenties / in her seventies
        in their twenties / in their seventies
        """,
    ),
]
DISABILITIES = ("disabled", "not disabled")
DISABILITY = [
    *_people({"disabled": ("disabled",), "not disabled": ("non-disabled", "able-bodied")}),
    *_people({"disabled": ("blind",), "not disabled": ("sighted",)}),
    *_people({"disabled": ("deaf",), "not disabled": ("hearing",)}),
    *_pairs(
        DISABILITIES,
        """
        with a disability / without a disability
        with disabilities / without disabilities
        autistic / neurotypical
        who is deaf / who can hear
        who is blind / who can see
        """,
    ),
]
LESBIAN = {"woman": ("lesbian",), "women": ("lesbians",)}
ORIENTATIONS = ("homosexual", "heterosexual", "bisexual")
ORIENTATION = [
    *_pairs(ORIENTATIONS, "homosexual|gay / heterosexual / bisexual"),
    *_pairs(ORIENTATIONS, "homosexuals / heterosexuals / bisexuals"),
    *[
        Entry(
            forms={
                "homosexual": (f"gay {noun}", *LESBIAN.get(noun, ())),
                "heterosexual": (f"straight {noun}",),
                "bisexual": (f"bisexual {noun}",),
            }
        )
        for noun in (*SINGULAR, *PLURAL)
    ],
    *_pairs(ORIENTATIONS[:2], "same-sex couple / opposite-sex couple"),
    *_pairs(ORIENTATIONS[:2], "same-sex couples / opposite-sex couples"),
]
ORIGINS = ("black", "white", "asian", "hispanic")
RACE = [
    *_people({"black": ("black",), "white": ("white",), "asian": ("Asian",), "hispanic": ("Hispanic",)}),
    *_pairs(ORIGINS, "African American / European American / Asian American / Hispanic American"),
    *_pairs(ORIGINS, "African Americans / European Americans / Asian Americans / Hispanic Americans"),
]

# name -> attribute, groups, entries, what else the lexicon needs
LISTS: Mapping[str, tuple[str, tuple[str, ...], Sequence[Entry], Mapping[str, Any]]] = {
    "pronouns": ("gender", GENDERS, PRONOUNS, {}),
    "neutral pronouns": (
        "gender",
        (*GENDERS, "neutral"),
        TO_NEUTRAL,
        {"written_only": ("neutral",), "plural": ("neutral",)},
    ),
    "gendered nouns": ("gender", GENDERS, GENDERED_NOUNS, {}),
    "names": ("gender", GENDERS, NAMES, {}),
    "religion": ("religion", RELIGIONS, RELIGION, {}),
    "nationality": ("nationality", NATIONALITIES, NATIONALITY, {}),
    "race": ("race", ORIGINS, RACE, {}),
    "age": ("age", AGES, AGE, {}),
    "disability": ("disability", DISABILITIES, DISABILITY, {}),
    "orientation": ("orientation", ORIENTATIONS, ORIENTATION, {}),
}
