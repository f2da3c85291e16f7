"""Finds direct identifiers in image files: lists their elements, counts the files, and never quotes a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fedmed_transforms.dicom.damage import error_text
from fedmed_transforms.patients.dicom_identifiers import dicom_identifiers
from fedmed_transforms.patients.files import FoundFile, has_comment, list_files, with_members
from fedmed_transforms.patients.identifying_elements import Found
from fedmed_transforms.patients.identifying_keywords import PSEUDONYMS
from fedmed_transforms.patients.names import KnownPatients

FILE_NAME = "name of the file"


@dataclass(frozen=True)
class Finding:
    """Describes a kind of identifier that was found.

    Attributes
    ----------
    element
        The keyword of the element, ``private: CREATOR`` for private elements, the place in the file (``preamble``,
        ``EXIF Artist``, ``NIfTI descrip``), or an element and the kind of what its text holds
        (``StudyDescription: words of PatientName``).
    files
        The number of files with the element.
    first
        The first of these files, in the order of their paths.
    """

    element: str
    files: int
    first: Path


@dataclass
class _Search:
    """Collects what files hold, and searches their texts for the names of the same study.

    A text is searched only after all files are read: another file of its study may hold the name.
    """

    files: dict[str, list[Path]] = field(default_factory=dict)
    known: dict[str, KnownPatients] = field(default_factory=dict)
    texts: dict[tuple[frozenset[str], str, str], list[Path]] = field(default_factory=dict)

    def add(self, file: FoundFile) -> None:
        """Adds a file."""
        found = found_in(file)
        for element in found.elements:
            self.count(element, file.path)
        for study in found.studies | {""}:
            self.known.setdefault(study, KnownPatients()).add(found.names, found.numbers)
        for element, text in {*found.texts, (FILE_NAME, file.name), (FILE_NAME, file.path.name)}:
            studies = frozenset(found.studies if element != FILE_NAME else ()) or frozenset([""])
            self.texts.setdefault((studies, element, text), []).append(file.path)

    def findings(self) -> list[Finding]:
        """Searches the texts, and returns a finding for each element in the order of their names.

        A number that another file states as a pseudonym is one, also where a file does not say so.
        """
        pseudonyms = {text.casefold() for _, element, text in self.texts if element in PSEUDONYMS}
        for known in self.known.values():
            known.numbers -= pseudonyms
        for (studies, element, text), paths in self.texts.items():
            for kind in {kind for study in studies for kind in self.known[study].kinds_in(text)}:
                for path in paths:
                    self.count(f"{element}: {'words' if kind == 'PatientName' else 'value'} of {kind}", path)
        return [Finding(element, len(found), min(found)) for element, found in sorted(self.files.items())]

    def count(self, element: str, path: Path) -> None:
        """Counts a file that holds an element."""
        self.files.setdefault(element, []).append(path)


def find_identifiers(paths: str | Path | Sequence[str | Path]) -> list[Finding]:
    """Finds direct identifiers in DICOM, NIfTI, NRRD, MetaImage, PNG, JPEG and TIFF files.

    In DICOM files it applies the rule of :mod:`fedmed_transforms.patients.identifying_elements`, in others it finds
    texts that no program writes. Names and numbers of a patient are searched for in all texts of the same study, and
    in the names of files below the paths.

    Parameters
    ----------
    paths
        Files, zips, and folders with all folders below them, including hidden files and the targets of links. Formats
        are recognized by their content; other files are skipped.

    Returns
    -------
    list
        One finding for each element, in the order of their names.

    Raises
    ------
    ValueError
        A path does not exist, or a file does not decode; the message names the path.
    """
    given = [paths] if isinstance(paths, (str, Path)) else paths
    search = _Search()
    for file in (file for entry in given for file in list_files(Path(entry))):
        for member in with_members(file):
            search.add(member)
        if has_comment(file):
            search.count("comment of the zip", file.path)
    return search.findings()


def found_in(file: FoundFile) -> Found:
    """Finds what identifies in one file, and lists its texts.

    Raises
    ------
    ValueError
        The file does not decode; the message names it and quotes no value.
    """
    start = file.start()
    if file.is_dicom(start):
        return dicom_identifiers(file.path, file.content)
    kind = file.format(start)
    if kind is None:
        return Found()
    try:
        texts = list(kind.texts(file.opened()))
    except Exception as error:  # parsers of the formats raise the kinds of struct, zlib, re and PIL
        raise ValueError(f"{file.path}: expected a readable {kind.name}, found {error_text(error)}") from None
    return Found({it.element for it in texts if not it.technical}, {(it.element, it.value) for it in texts if it.value})


def describe(findings: Sequence[Finding]) -> str:
    """Describes findings for an error message: elements with the number of files, without paths."""
    return ", ".join(f"{found.element} in {found.files} file{'s' * (found.files > 1)}" for found in findings)
