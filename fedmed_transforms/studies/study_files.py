"""Sorts the files of a clinic's folder by their kind; a file that cannot be read does not stop the search."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fedmed_transforms.dicom.series import DIRECTORY_NAME, find_files, is_archive, is_dicom
from fedmed_transforms.loading.find import IMAGE_SUFFIXES, is_ignored
from fedmed_transforms.studies.series_choice import Instance, Rule, read_instance


@dataclass
class StudyFiles:
    """Holds the files of a search in the order of the search.

    Attributes
    ----------
    images
        Files that are one image each: pictures, NIfTI, NRRD, MetaImage, and zips given as paths.
    instances
        DICOM files.
    other_files
        Files that are no images.
    refused
        The error message of each path that cannot be read.
    damaged
        The error message of the last damaged DICOM file in a folder, by the folder. A file without DICOM content counts
        as damaged if it has a name like the DICOM files beside it: ``IM0005`` beside ``IM0004``.
    """

    images: list[Path] = field(default_factory=list)
    instances: list[Instance] = field(default_factory=list)
    other_files: list[Path] = field(default_factory=list)
    refused: dict[Path, str] = field(default_factory=dict)
    damaged: dict[Path, str] = field(default_factory=dict)

    def refuse(self, path: Path, error: OSError) -> None:
        """Notes a file or folder that cannot be opened."""
        self.refused[path] = f"{path}: expected a file or folder that can be read, found {error.strerror}"

    def add(self, path: Path, rule: Rule) -> None:
        """Adds a file to the list of its kind."""
        try:
            if not path.exists():
                self.refused[path] = f"{path}: expected an image, found a broken link"
            elif not path.is_file():
                return
            elif path.name.lower().endswith(IMAGE_SUFFIXES):
                self.images.append(path)
            elif is_dicom(path):
                self.instances.append(read_instance(path, rule))
            else:
                self.other_files.append(path)
        except OSError as error:
            self.refuse(path, error)
        except ValueError as error:
            self.refused[path] = self.damaged[path.parent] = str(error)

    def note_damaged(self) -> None:
        """Moves files with names like the DICOM files beside them from the other files to the damaged files."""
        patterns = {(instance.path.parent, name_pattern(instance.path.name)) for instance in self.instances}
        other_files, self.other_files = self.other_files, []
        for path in other_files:
            if (path.parent, name_pattern(path.name)) not in patterns:
                self.other_files.append(path)
                continue
            message = f"{path}: expected a DICOM file like those beside it, found something else"
            self.refused[path] = self.damaged[path.parent] = message


def name_pattern(name: str) -> str:
    """Returns a file's name with its numbers replaced: the slices of a series have the same pattern."""
    return re.sub(r"\d+", "0", name)


def find_study_files(paths: Sequence[Path], rule: Rule, leave_out: Path | None) -> StudyFiles:
    """Finds the files of folders and all folders below them, of DICOMDIRs, and files given as paths.

    Hidden files and files that operating systems leave behind are skipped; every link is followed once.

    Parameters
    ----------
    paths
        Files and folders.
    rule
        The rule ``series`` of :class:`fedmed_transforms.SeriesRules`.
    leave_out
        A folder that is not searched.

    Raises
    ------
    ValueError
        A path does not exist, or is the folder to leave out; the message names the path.
    """
    found = StudyFiles()
    left_out = {os.path.realpath(leave_out)} if leave_out else set()
    seen = set(left_out)
    for path in paths:
        if not path.exists():
            raise ValueError(f"{path}: no such file or folder")
        if os.path.realpath(path) in left_out:
            raise ValueError(f"{path}: expected results in a folder of their own, found them where the images are")
        if path.is_dir():
            seen.add(os.path.realpath(path))
            for file in files_below(path, found.refuse, seen):
                found.add(file, rule)
        else:
            _add_named(path, found, rule)
    found.note_damaged()
    return found


def files_below(folder: Path, refuse: Callable[[Path, OSError], object], seen: set[str]) -> Iterator[Path]:
    """Lists the files of a folder and of all folders below it, folder by folder.

    Parameters
    ----------
    folder
        The folder to search.
    refuse
        Function that is called for each folder that cannot be opened.
    seen
        Real paths of folders that are not searched; searched folders are added.
    """
    for parent, folders, names in os.walk(
        folder, onerror=lambda error: refuse(Path(error.filename), error), followlinks=True
    ):
        visible = [name for name in sorted(folders) if not name.startswith(".")]
        folders[:] = [name for name in visible if os.path.realpath(os.path.join(parent, name)) not in seen]
        seen.update(os.path.realpath(os.path.join(parent, name)) for name in folders)
        yield from (path for name in sorted(names) if not is_ignored(path := Path(parent) / name))


def _add_named(path: Path, found: StudyFiles, rule: Rule) -> None:
    if is_archive(path):
        found.images.append(path)
        return
    if path.name.upper() != DIRECTORY_NAME:
        found.add(path, rule)
        return
    try:
        listed = [file.source for file in find_files(path, frozenset())]
    except ValueError as error:
        found.refused[path] = str(error)
        return
    for file in listed:
        if isinstance(file, Path):
            found.add(file, rule)
