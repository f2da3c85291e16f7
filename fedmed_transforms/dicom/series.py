"""Finds the DICOM series in a path and selects one. It reads no pixels."""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from fedmed_transforms.dicom.archive import dicom_members
from fedmed_transforms.dicom.damage import safe_code
from fedmed_transforms.dicom.dicom_file import DicomFile, read_dicom_file, text_of
from fedmed_transforms.dicom.folder.copies import without_copies
from fedmed_transforms.dicom.folder.passed_over import accompanying_series, say_once, without_captures
from fedmed_transforms.dicom.header_index import tags_of
from fedmed_transforms.dicom.headers.file_start import START, is_dicom_content
from fedmed_transforms.dicom.headers.same_patient import check_same_patient

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
ARCHIVE_SUFFIXES = (".zip",)
DIRECTORY_NAME = "DICOMDIR"


def read_series(
    path: Path,
    series: str | Mapping[str, str] | None = None,
    elements: Sequence[str] | None = None,
    known: Sequence[Path] | None = None,
    keep_differing: bool = False,
) -> list[DicomFile]:
    """Reads the files of one series from a file, a folder with all below it, a DICOMDIR or a zip.

    Files that are no DICOM, and DICOM files without an image, are passed over unless the path names one. So are
    secondary captures and series of localisers beside the images of a series, and files that hold an instance a second
    time. A log line says once what a path's reading passed over.

    Parameters
    ----------
    path
        The path to search.
    series
        The series to select, as in :class:`fedmed_transforms.SeriesRules`.
    elements
        Keywords that are needed besides what every image and the rule need, which is faster; None for whole headers.
    known
        The files to read, where they are known; else all files in the path.
    keep_differing
        Whether files of one SOPInstanceUID with different content stay, as in
        :func:`fedmed_transforms.dicom.folder.copies.without_copies`.

    Returns
    -------
    list
        At least one file, in the order of their names.

    Raises
    ------
    ValueError
        There is no image, several series and no rule that chooses one, or a file is damaged; the message names it and
        lists the series. The files of the series are of two patients or studies.
    """
    rule = list(series) if isinstance(series, Mapping) else []
    wanted = None if elements is None else tags_of([*elements, *rule])
    with _uncollected():
        read = find_files(path, wanted) if known is None else (read_dicom_file(it, str(it), wanted) for it in known)
        found = list(read)
        files = [file for file in found if file.keyword and file.header.get("Rows")]
    if not files:
        raise ValueError(f"{path}: found no DICOM image, expected a file, folder, DICOMDIR or zip with at least one")
    chosen = files
    if isinstance(series, Mapping):
        chosen = [file for file in files if not unmatched(file, series)]
    groups = group_by_series(chosen)
    groups, passed_over = _without_accompanying(groups, series)
    if isinstance(series, str) and groups:
        largest = max(groups, key=lambda uid: (sum(file.frames for file in groups[uid]), uid))
        groups = {uid: group for uid, group in groups.items() if uid == (largest if series == "largest" else series)}
    if len(groups) != 1:
        expected = "expected one; choose with the rule `series`" if len(groups) > 1 else f"none matches {series!r}"
        raise ValueError(f"{path}: {expected}; found {list_series(group_by_series(files))}")
    (group,) = groups.values()
    check_same_patient((file.name, file.header) for file in group)
    images = without_captures(group)
    kept = without_copies(images, keep_differing)
    _say(path, passed_over, (len(found) - len(files), len(group) - len(images), len(images) - len(kept)))
    return kept


def _without_accompanying(
    groups: dict[str, list[DicomFile]], series: str | Mapping[str, str] | None
) -> tuple[dict[str, list[DicomFile]], list[str]]:
    """Leaves out series that accompany another, unless the rule names one by its UID; lists those left out."""
    if len(groups) < 2 or isinstance(series, str) and series != "largest":
        return groups, []
    headers = {uid: [file.header for file in group] for uid, group in groups.items()}
    kinds = accompanying_series(headers, series)
    listed = [f"a series of {kind}, {_describe_series(uid, groups[uid])}" for uid, kind in kinds.items()]
    return {uid: group for uid, group in groups.items() if uid not in kinds}, listed


def _say(path: Path, series: list[str], counts: tuple[int, int, int]) -> None:
    """Says once what the reading of a path passed over; the counts are those of files."""
    kinds = ("without an image", "of secondary captures among the images", "that hold an instance a second time")
    parts = [f"{count} files {kind}" for count, kind in zip(counts, kinds, strict=True) if count]
    if series or parts:
        say_once(f"{path}: passed over {'; '.join([*series, *parts])}")


def find_files(path: Path, wanted: frozenset[int] | None = None) -> Iterator[DicomFile]:
    """Yields the DICOM files of a file, a folder with all below it, a DICOMDIR or a zip, read up to their pixels.

    Raises
    ------
    ValueError
        A path does not exist, or a DICOM file is damaged; the message names it.
    """
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder")
    if path.is_dir():
        yield from (read_dicom_file(file, str(file), wanted) for file in _walk(path) if is_dicom(file))
    elif is_archive(path):
        yield from (read_dicom_file(content, f"{path}/{name}", wanted) for name, content in dicom_members(path))
    else:
        file = read_dicom_file(path, str(path), wanted)
        yield from _listed(file, path.parent, wanted) if "DirectoryRecordSequence" in file.header else [file]


def group_by_series(files: list[DicomFile]) -> dict[str, list[DicomFile]]:
    """Groups files by SeriesInstanceUID; a file without one is a series of its own."""
    groups: dict[str, list[DicomFile]] = {}
    for file in files:
        groups.setdefault(str(file.header.get("SeriesInstanceUID") or file.name), []).append(file)
    return groups


def list_series(groups: dict[str, list[DicomFile]]) -> str:
    """Lists series in a line by UID, modality and size, without names, descriptions or identifiers of a patient."""
    return f"{len(groups)} series: " + "; ".join(_describe_series(uid, group) for uid, group in groups.items())


def _describe_series(uid: str, group: Sequence[DicomFile]) -> str:
    modality, described = describe(group[0])
    name = uid if uid == group[0].name else safe_code(uid)
    return f"{name} ({modality}, {len(group)} files, {described})"


def describe(file: DicomFile) -> tuple[str, str]:
    """Describes a file by its modality, and by its size and its series' number."""
    header = file.header
    size = f"{safe_code(header.get('Columns'))}x{safe_code(header.get('Rows'))}" if header.get("Rows") else "no image"
    number = f", series number {safe_code(text_of(header, 'SeriesNumber'))}" if "SeriesNumber" in header else ""
    return safe_code(header.get("Modality") or "UNKNOWN"), size + number


def is_dicom(path: Path) -> bool:
    """Checks whether a file is DICOM, by its suffix or by how it begins."""
    if path.name.lower().endswith(DICOM_SUFFIXES):
        return True
    with path.open("rb") as file:
        return is_dicom_content(file.read(START))


def is_archive(path: Path) -> bool:
    """Checks whether a file is a zip, by its suffix."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Pauses Python's garbage collector: headers are many small objects, among which it finds nothing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def unmatched(file: DicomFile, elements: Mapping[str, str]) -> list[str]:
    """Lists the keywords of a rule whose regular expressions do not wholly match a file's elements."""
    return [key for key, pattern in elements.items() if not re.fullmatch(pattern, text_of(file.header, key))]


def _walk(folder: Path) -> Iterator[Path]:
    """Yields the files below a folder by name, without hidden ones and pipes; links to folders are not followed."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = (Path(parent) / name for name in sorted(names) if not name.startswith("."))
        yield from (path for path in paths if path.is_file())


def _listed(directory: DicomFile, folder: Path, wanted: frozenset[int] | None) -> Iterator[DicomFile]:
    """Reads the files that a DICOMDIR lists (PS3.3, F.3)."""
    for record in directory.header.DirectoryRecordSequence:
        parts = record.get("ReferencedFileID")
        if parts:
            names = [parts] if isinstance(parts, str) else list(parts)
            file = _below(folder, names, directory.name)
            yield read_dicom_file(file, str(file), wanted)


def _below(folder: Path, names: list[str], directory: str) -> Path:
    if any(name in ("", ".", "..") or "/" in name or "\\" in name for name in names):
        raise ValueError(f"{directory}: expected files below its folder, found a reference that leaves it")
    for candidate in (names, [name.lower() for name in names]):
        file = folder.joinpath(*candidate)
        if file.is_file():
            return file
    raise ValueError(f"{directory}: lists {'/'.join(names)}, which does not exist")
