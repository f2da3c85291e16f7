"""Replaces names, numbers and UIDs in the names of files and folders."""

from __future__ import annotations

import re

from fedmed_transforms.patients.cleaning.pseudonyms import Pseudonyms
from fedmed_transforms.patients.names import KnownPatients, words_of

UID = re.compile(r"(?<![\d.])\d+(?:\.\d+){5,}(?!\d)")
_word = re.compile(r"[^\W\d_]+")


class FileNames:
    """Renames paths below a folder, so that images and labels of one name keep one name.

    Parameters
    ----------
    known
        The names and numbers of the folder's patients.
    pseudonyms
        The values of the copy.
    """

    def __init__(self, known: KnownPatients, pseudonyms: Pseudonyms) -> None:
        self.known, self.pseudonyms = known, pseudonyms

    def renamed(self, name: str) -> str:
        """Replaces the identifying parts of a path; other paths stay as they are."""
        name = UID.sub(lambda found: self.pseudonyms.uid(found[0]), name)
        for number in sorted(self.known.numbers_in(name), key=len, reverse=True):
            name = re.sub(re.escape(number), lambda found: self.pseudonyms.patient(found[0]), name, flags=re.IGNORECASE)
        words = self.known.name_words(name)
        if words:
            name = _word.sub(lambda it: self.pseudonyms.word(it[0]) if words_of(it[0]) & words else it[0], name)
        return name
