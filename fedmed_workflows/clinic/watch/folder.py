"""Folders as a source of studies, which arrive file by file."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from fedmed_transforms.dicom.series_rules import SeriesRules
from fedmed_transforms.loading.find import IMAGES
from fedmed_transforms.studies.result_names import name_alone
from fedmed_transforms.studies.studies import ERROR, Item, find_studies
from fedmed_transforms.studies.study_files import StudyFiles, files_below, name_pattern
from fedmed_workflows.clinic.watch.study_parts import Part, StudyParts

logger = logging.getLogger(__name__)


class WatchedFolder:
    """Finds the studies of folders and their subfolders.

    Every look lists the folders. The header of a file is read once, and again when its size or its time changes. Hidden
    files, for example the temporary files of rsync, are passed over until they get their final names.

    Parameters
    ----------
    source
        The folders.
    output_dir
        Folder of the results and of the ledger; it is not searched for studies.
    rules
        Keywords of :class:`fedmed_transforms.SeriesRules`.

    Raises
    ------
    ValueError
        A folder does not exist, or is the folder of the results; the message names it.
    """

    def __init__(
        self, source: str | Sequence[str], output_dir: str, rules: Mapping[str, Any] | None = None
    ) -> None:
        self.folders = [Path(source)] if isinstance(source, (str, Path)) else [Path(path) for path in source]
        self.output_dir, self.rules = Path(output_dir), rules
        self.rule = SeriesRules.of(rules or {}).series
        self.parts = StudyParts(output_dir)
        self._listed: dict[Path, int] = {}
        self._warned: set[str] = set()
        for folder in self.folders:
            if not folder.is_dir():
                found = "a file" if folder.exists() else "none"
                raise ValueError(f"{folder}: expected a folder to watch, found {found}")
            if os.path.realpath(folder) == os.path.realpath(output_dir):
                raise ValueError(f"{folder}: expected results in a folder of their own, found them where images are")

    def look(self) -> list[str]:
        """Records in the ledger the files that have arrived or changed since the last look.

        Returns
        -------
        list
            Keys of studies that were done and wait again.

        Raises
        ------
        OSError
            A folder is missing.
        """
        listed: dict[Path, int] = {}
        again: list[str] = []
        for folder in self.folders:
            os.scandir(folder).close()
            seen = {os.path.realpath(path) for path in (self.output_dir, folder, *listed)}
            for parent, files in groupby(files_below(folder, self._warn, seen), lambda path: path.parent):
                versions = {path.name: version for path in files if (version := self._version(path))}
                listed[parent] = hash(frozenset(versions.items()))
                if self._listed.get(parent) != listed[parent]:
                    again += self._note(parent, versions)
        self._listed = listed
        return again

    def _note(self, folder: Path, versions: Mapping[str, str]) -> list[str]:
        known = self.parts.versions(str(folder))
        new = (name for name, version in versions.items() if known.get(name) != version)
        return self.parts.see([part for name in new for part in self._parts(folder / name, versions[name])])

    def _parts(self, path: Path, version: str) -> Iterator[Part]:
        """Yields the file as a part of a study; nothing if the file was removed in the meantime."""
        found = StudyFiles()
        found.add(path, self.rule)
        part = partial(Part, str(path.parent), path.name, version)
        if found.instances:
            yield part(key=found.instances[0].study, series=found.instances[0].series)
        elif found.images or found.refused:
            yield part(key=str(path), damaged=path.parent in found.damaged)
        elif found.other_files:
            logger.warning("%s: passed over, expected %s image", path, IMAGES)
            yield part(key="")

    def _version(self, path: Path) -> str:
        try:
            str(path).encode()
            stat = _stat(path)
        except UnicodeEncodeError:
            self._warn(path, OSError(0, "a name that is no UTF-8"))
            return ""
        except OSError:  # removed since it was listed
            return ""
        return f"{stat.st_size} {stat.st_mtime_ns}"

    def _warn(self, path: Path, error: OSError) -> None:
        """Warns once of a file or folder that cannot be read."""
        if str(path) not in self._warned:
            self._warned.add(str(path))
            logger.warning("%r: expected a file or folder that can be read, found %s", str(path), error.strerror)

    def item(self, key: str) -> Item | None:
        """Returns the item of a study for the network, as :func:`fedmed_transforms.find_studies` makes it.

        Returns
        -------
        dict or None
            The item, with a ``name`` that no other study has. None if a file was changed or removed since the last
            look: the study has not settled.
        """
        if not self.unchanged(key):
            return None
        parts = self.parts.parts(key)
        paths = sorted({str(Path(part.place) / part.name) for part in (*parts, *self._beside(parts))})
        items = find_studies(paths, self.rules)
        for item in items:
            if key in (item["study"], item["path"]):
                return item if ERROR in item else {**item, "name": name_alone(item, self.folders)}
        return None

    def _beside(self, parts: Iterable[Part]) -> list[Part]:
        """Returns files that may be lost slices of a study: damaged files, and files with similar names."""
        patterns = {(part.place, name_pattern(part.name)) for part in parts}
        unassigned = [part for place in {place for place, _ in patterns} for part in self.parts.unassigned(place)]
        return [part for part in unassigned if part.damaged or (part.place, name_pattern(part.name)) in patterns]

    def unchanged(self, key: str) -> bool:
        """Tells whether the files of a study are as they were at the last look; removed files leave the ledger."""
        versions = {part: self._version(Path(part.place) / part.name) for part in self.parts.parts(key)}
        gone = [part for part, version in versions.items() if not version]
        if gone:
            logger.warning("%s: %d of its %d files are gone before it was taken", key, len(gone), len(versions))
            self.parts.mark_missing(gone)
            for part in gone:
                self._listed.pop(Path(part.place), None)  # the same file may come back
        return all(part.version == version for part, version in versions.items())

    def answers(self) -> bool:
        """Tells whether the folders exist."""
        return all(folder.is_dir() for folder in self.folders)

    def release(self) -> None:
        """Does nothing: no file was made for the study."""


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except FileNotFoundError:  # a broken link, which gets a warning
        return path.lstat()
