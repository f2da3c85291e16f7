"""Writes a copy of a folder without identifiers, whose check finds nothing."""

from __future__ import annotations

import secrets
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from fedmed_transforms.dicom.damage import error_text
from fedmed_transforms.dicom.series import is_archive
from fedmed_transforms.dicom.silenced_parsers import silenced_parsers
from fedmed_transforms.patients.cleaning.data_files import cleaned_data_file, data_files
from fedmed_transforms.patients.cleaning.dicom import NotCleaned, cleaned_dicom
from fedmed_transforms.patients.cleaning.file_names import FileNames
from fedmed_transforms.patients.cleaning.pseudonyms import Pseudonyms
from fedmed_transforms.patients.files import FoundFile, list_files, with_members
from fedmed_transforms.patients.formats.header_lines import with_data_file
from fedmed_transforms.patients.names import KnownPatients
from fedmed_transforms.patients.search import describe, find_identifiers, found_in
from fedmed_transforms.whole_file import is_new_or_empty, whole_folder

KEY_BYTES = 32

SHORTEST_KEY = 16
"""Bytes; a shorter key could be guessed."""

FORMATS = "DICOM, NIfTI, NRRD, MetaImage, PNG, JPEG, TIFF or BMP"


@dataclass(frozen=True)
class LeftOut:
    """A file that is not in a cleaned copy.

    Attributes
    ----------
    name
        The file's path below the folder; for a member of a zip also its name.
    reason
        What was found; no value is quoted.
    """

    name: str
    reason: str


@dataclass
class _Folder:
    """What is known of a folder's patients before the first file is written."""

    known: KnownPatients = field(default_factory=KnownPatients)
    patients: dict[str, str] = field(default_factory=dict)
    studies: dict[tuple[Path, str], list[str]] = field(default_factory=dict)
    data_files: dict[Path, int | None] = field(default_factory=dict)

    def add(self, file: FoundFile) -> None:
        """Adds the names, the numbers and the study of a file; a file that does not decode adds nothing."""
        try:
            found = found_in(file)
        except ValueError:
            return
        pseudonyms = {text for element, text in found.texts if element in ("PatientName", "PatientID")}
        self.known.add(found.names | found.people | pseudonyms, found.numbers | pseudonyms)
        studies = self.studies[file.path, file.name] = sorted(found.studies)
        named = next((it for it in studies if it.startswith("patient ")), None)
        for study in studies:
            self.patients.setdefault(study, named or study)
        self.data_files |= dict(data_files(file))

    def patient_of(self, file: FoundFile) -> str:
        """Returns the patient of a file: its own, or the one of other files of its study."""
        studies = self.studies.get((file.path, file.name), [])
        return next((self.patients[it] for it in studies), file.name).removeprefix("patient ")


def clean_folder(source: str | Path, target: str | Path, key: bytes | None = None) -> list[LeftOut]:
    """Writes a copy of a folder without identifiers.

    DICOM files keep their pixels and everything that places them; names, numbers, texts and private elements go, UIDs
    are replaced and dates are shifted, consistently in the whole folder. Other images keep their pixels, and lose all
    text. Files of other formats, and files that cleaning cannot judge, are left out.

    Parameters
    ----------
    source
        The folder; it is not changed. Zips in it become cleaned zips.
    target
        The folder to write; it must be missing or empty, and lie outside the source. It appears when all is written.
    key
        A secret of at least 16 bytes, by which UIDs, patients and dates are replaced; None makes one and forgets it.
        Copies that are made with the same key belong together.

    Returns
    -------
    list
        The files that were left out.

    Raises
    ------
    ValueError
        The folders or the key are not as described, or the copy would still hold identifiers.

    Source: DICOM PS3.15, Annex E.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from fedmed_transforms import clean_folder
    >>> from pydicom.data import get_testdata_file
    >>> with TemporaryDirectory() as folder:
    ...     data = Path(folder, "data")
    ...     data.mkdir()
    ...     _ = Path(data, "ct.dcm").write_bytes(Path(get_testdata_file("CT_small.dcm")).read_bytes())
    ...     clean_folder(data, Path(folder, "cleaned"))
    []
    """
    source, target = Path(source), Path(target)
    _check(source, target)
    if key is not None and len(key) < SHORTEST_KEY:
        raise ValueError(f"key: expected at least {SHORTEST_KEY} bytes, found {len(key)}")
    folder = _Folder()
    for file in (member for entry in list_files(source) for member in with_members(entry)):
        folder.add(file)
    copy = _Copy(folder, Pseudonyms(key or secrets.token_bytes(KEY_BYTES)))
    with whole_folder(target) as temporary:
        for file in list_files(source):
            copy.write(file, temporary)
        if findings := find_identifiers(temporary):
            raise ValueError(f"{target}: expected a copy without identifiers, found {describe(findings)}")
    return copy.left_out


def _check(source: Path, target: Path) -> None:
    if not source.is_dir():
        raise ValueError(f"{source}: expected a folder")
    ours, theirs = source.resolve(), target.resolve()
    if ours == theirs or ours in theirs.parents or theirs in ours.parents:
        raise ValueError(f"{target}: expected a folder outside {source}")
    if not is_new_or_empty(target):
        raise ValueError(f"{target}: expected no folder, or an empty one")


class _Copy:
    """Writes cleaned files, and lists the ones that it leaves out."""

    def __init__(self, folder: _Folder, pseudonyms: Pseudonyms) -> None:
        self.folder, self.pseudonyms = folder, pseudonyms
        self.names = FileNames(folder.known, pseudonyms)
        self.left_out: list[LeftOut] = []

    def write(self, file: FoundFile, target: Path) -> None:
        """Writes a file or a zip below a folder."""
        place = target / self.names.renamed(file.name)
        place.parent.mkdir(parents=True, exist_ok=True)
        if is_archive(file.path):
            self._write_archive(file, place)
        elif (content := self._cleaned(file, file.name)) is not None:
            if place.exists():
                raise ValueError(f"{file.path}: expected a name of its own in the copy, found two files of one name")
            place.write_bytes(content)

    def _write_archive(self, file: FoundFile, place: Path) -> None:
        written = 0
        with zipfile.ZipFile(place, "w") as archive:
            for member in with_members(file):
                content = self._cleaned(member, f"{file.name}/{member.name}")
                if content is not None:
                    archive.writestr(zipfile.ZipInfo(self.names.renamed(member.name)), content, zipfile.ZIP_DEFLATED)
                    written += 1
        if not written:
            place.unlink()

    def _cleaned(self, file: FoundFile, name: str) -> bytes | None:
        try:
            with silenced_parsers():
                content = self._content(file)
            cleaned = FoundFile(file.path, self.names.renamed(file.name), content)
            if left := sorted(found_in(cleaned).elements):
                raise NotCleaned(f"{', '.join(left)}, which cleaning does not remove")
            return content
        except NotCleaned as error:
            self.left_out.append(LeftOut(name, str(error)))
        except Exception as error:  # a damaged file leads to errors of every parser
            self.left_out.append(LeftOut(name, f"{error_text(error)}, expected a readable file"))
        return None

    def _content(self, file: FoundFile) -> bytes:
        content = file.content if file.content is not None else file.path.read_bytes()
        if file.content is None and (place := file.path.resolve()) in self.folder.data_files:
            return cleaned_data_file(content, self.folder.data_files[place])
        start = file.start()
        if file.is_dicom(start):
            return cleaned_dicom(content, self.pseudonyms, self.folder.patient_of(file), self.folder.known)
        kind = file.format(start)
        if kind is not None:
            cleaned = kind.without_texts(content)
            return with_data_file(cleaned, self.names.renamed) if kind.name in ("NRRD", "MetaImage") else cleaned
        raise NotCleaned(f"a format that cleaning does not know, expected {FORMATS}")
