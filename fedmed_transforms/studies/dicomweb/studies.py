"""Studies of a DICOMweb server, fetched one after the other, each removed when the next one is asked for."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedmed_transforms.studies.studies import ERROR, Item, find_studies

FETCHED = ".fetched"
"""The folder below that of the results in which the study at hand lies."""


class DicomWebStudies:
    """The images of studies, as :func:`fedmed_transforms.find_studies` names them in folders.

    A study is fetched when its turn comes and removed afterwards: no more than one takes room. One that can't be
    fetched is an item with its error. Can be gone through several times.

    Parameters
    ----------
    url
        Of the server, see :class:`fedmed_transforms.studies.dicomweb.server.DicomWebServer`.
    study
        A StudyInstanceUID, several, or a query from DICOM keywords to values.
    output_dir
        Folder of the results.
    rules
        Keywords of :class:`fedmed_transforms.SeriesRules`.

    Raises
    ------
    ValueError
        No study is named, or none matches the query.
    """

    def __init__(
        self,
        url: str,
        study: str | Sequence[str] | Mapping[str, str] | None,
        output_dir: str,
        rules: Mapping[str, Any] | None = None,
    ) -> None:
        from fedmed_transforms.studies.dicomweb.server import DicomWebServer

        self.server, self.rules = DicomWebServer(url), rules
        self.folder = Path(output_dir) / FETCHED
        if not study:
            raise ValueError("study: expected a StudyInstanceUID, several, or a query as {'StudyDate': '20240101-'}, "
                             f"found {study!r}")  # fmt: skip
        self.study: str | Sequence[str] | Mapping[str, str] = study

    def __iter__(self) -> Iterator[Item]:
        """An item an image, or a study that can't be taken."""
        for uid in self._uids():
            try:
                yield from self._items(uid)
            finally:
                shutil.rmtree(self.folder, ignore_errors=True)

    def _uids(self) -> list[str]:
        from fedmed_transforms.studies.dicomweb.query import query_studies

        if not isinstance(self.study, Mapping):
            return [self.study] if isinstance(self.study, str) else list(self.study)
        found = list(query_studies(self.server, self.study))
        if not found:
            raise ValueError(f"{self.server.url}: found no study, expected some that match {', '.join(self.study)}")
        return found

    def _items(self, uid: str) -> list[Item]:
        from fedmed_transforms.studies.dicomweb.fetch import fetch_study

        shutil.rmtree(self.folder, ignore_errors=True)  # of a run that was killed
        try:
            return find_studies(str(fetch_study(self.server, uid, self.folder / uid)), self.rules)
        except ValueError as error:
            return [{"path": f"{self.server.url}/studies/{uid}", "study": uid, ERROR: str(error)}]


def open_studies(
    dataset_dir: str | Sequence[str],
    dicomweb: str | None,
    study: str | Sequence[str] | Mapping[str, str] | None,
    output_dir: str,
    rules: Mapping[str, Any] | None = None,
) -> list[Item] | DicomWebStudies:
    """The images of a server's studies where a server is named, otherwise those of folders and files.

    Parameters
    ----------
    dataset_dir
        Folders and files, as of :func:`fedmed_transforms.find_studies`.
    dicomweb, study
        As of :class:`DicomWebStudies`; a server of None means folders.
    output_dir
        Folder of the results.
    rules
        Keywords of :class:`fedmed_transforms.SeriesRules`.

    Raises
    ------
    ValueError
        As of either.
    """
    if dicomweb is None:
        return find_studies(dataset_dir, rules, output_dir)
    return DicomWebStudies(dicomweb, study, output_dir, rules)
