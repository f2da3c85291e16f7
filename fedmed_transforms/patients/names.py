"""Recognizes names and numbers of patients in text: as words, without regard to case and accents.

A name that is also a word of radiology ("Long", "White") counts only beside another part of the same name. Words by
which pseudonyms are built ("anonymous", "phantom") are no names.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import permutations

LEAST_LETTERS = 3
"""Letters of the shortest part of a name that is searched for: shorter ones are in every text."""

MOST_PARTS = 5
"""Parts of a name that are also searched for as one word, two by two."""

LEAST_DIGITS = 5
"""Characters of the shortest number that is searched for."""

REMOVED = "REMOVED"
"""The value by which a cleaned copy replaces a text that its object must hold."""

NEUTRAL = frozenset(
    "removed anon anonym anonymous anonymized anonymised anonymization anonymity deidentified identified de deid "
    "pseudonym pseudonymized pseudonymised unknown none name noname null nobody patient patients subject subj case "
    "volunteer phantom test testing training validation sample demo study series site image scan hidden masked "
    "redacted research trial control healthy the and for with mr mrs ms dr prof".split()
)
"""Words that occur in pseudonyms and that say nothing about a person."""

AMBIGUOUS = frozenset(
    "head hand foot knee neck chest brain heart bone body back arm leg hip spine breast liver lung skull long short "
    "small large high low young old white gray grey black brown green blue red gold silver field axial coronal "
    "sagittal fast slow thin thick soft hard sharp smooth wide narrow early late left right upper lower north south "
    "east west first last start end day may april june august best good rest base bass ball bell berg bull case cross "
    "day fox free hall hill hunt king lane lake lamb marsh moon park page pool price rice rose root sand stone summer "
    "winter spring wood woods wolf blood cook baker smart swift power ray rad max min mean art rand stack cone coil "
    "flair spin echo trace bolus contrast dose vessel mark grid point line ring room bridge field flow".split()
)
"""Words of reports, of protocols and of folders that are names, too."""

_words = re.compile(r"[^\W\d_]+")
_component = re.compile(r"[^\W\d_]+(?:[ .'’-]+[^\W\d_]+)*\.?")


def words_of(text: str) -> set[str]:
    """Splits a text into its words of letters, in lower case and without accents."""
    plain = "".join(it for it in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(it))
    return set(_words.findall(plain))


@dataclass
class KnownPatients:
    """The names and numbers of the patients of a study or of a folder.

    Attributes
    ----------
    names
        The parts of each name, by the words of :func:`words_of`.
    numbers
        PatientID and other numbers, in lower case.
    """

    names: set[frozenset[str]] = field(default_factory=set)
    numbers: set[str] = field(default_factory=set)

    def add(self, names: Iterable[str], numbers: Iterable[str]) -> None:
        """Adds names in any form, and numbers; short and neutral ones, and names with digits, are left out."""
        for name in names:
            if any(it.isdigit() for it in name):
                continue  # a pseudonym such as harbour-003
            parts = {it for it in words_of(name) if len(it) >= LEAST_LETTERS and it not in NEUTRAL}
            joined = {first + second for first, second in permutations(sorted(parts)[:MOST_PARTS], 2)}
            self.names |= {frozenset(parts | joined)} if parts else set()
        self.numbers |= {it for number in numbers if is_searched(it := number.strip().casefold())}
        self.__dict__.pop("_parts", None)

    def update(self, other: KnownPatients) -> None:
        """Adds the names and numbers of another object."""
        self.names |= other.names
        self.numbers |= other.numbers
        self.__dict__.pop("_parts", None)

    def name_words(self, text: str) -> set[str]:
        """Finds the words of a text that are parts of a patient's name."""
        words = words_of(text)
        candidates = words & self._all_parts()
        plain = {word for word in candidates if word not in AMBIGUOUS}
        pairs = (parts & candidates for parts in self.names) if candidates - plain else ()
        return plain.union(*(pair for pair in pairs if len(pair) > 1))

    def numbers_in(self, text: str) -> set[str]:
        """Finds the numbers of patients that stand in a text by themselves."""
        lower = text.casefold()
        near = (number for number in self.numbers if number in lower)
        return {it for it in near if re.search(rf"(?<![^\W_]){re.escape(it)}(?![^\W_])", lower)}

    def kinds_in(self, text: str) -> list[str]:
        """Names the elements whose value stands in a text: PatientName, PatientID."""
        found = ["PatientName"] if self.names and self.name_words(text) else []
        return found + (["PatientID"] if self.numbers and self.numbers_in(text) else [])

    def _all_parts(self) -> set[str]:
        if "_parts" not in self.__dict__:
            self.__dict__["_parts"] = set().union(*self.names)
        parts: set[str] = self.__dict__["_parts"]
        return parts


def is_searched(number: str) -> bool:
    """Checks whether a number is long enough to be no other number of a header."""
    return len(number) >= LEAST_DIGITS and any(it.isdigit() for it in number)


def is_name(value: str) -> bool:
    """Checks whether the value of PatientName is the name of a person and no pseudonym.

    A name has two parts of letters, a family name and a given name, and no neutral word. One word by itself is taken
    for a pseudonym, and so is a value with digits, except in a part of its own.
    """
    return any(_is_name(group) for group in value.split("="))


def _is_name(group: str) -> bool:
    words = words_of(group)
    if words & NEUTRAL:
        return False
    if "^" in group or "," in group:
        parts = [it.strip() for it in re.split(r"[\^,]", group)]
        return sum(bool(_component.fullmatch(it)) and _is_long(it) for it in parts) >= 2
    parts = group.split()
    return len(parts) >= 2 and all(_component.fullmatch(it) and _is_long(it) for it in parts)


def _is_long(part: str) -> bool:
    return len(part) >= 2 or not part.isascii()
