"""Iterates over studies of a DICOMweb server; each study is fetched, and removed before the next study."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedmed_transforms.studies.studies import ERROR, Item, find_studies

FETCHED = ".fetched"
"""Name of the folder of the current study, below the folder of the results."""


class DicomWebStudies:
    """Iterates over the images of studies, with the items of :func:`fedmed_transforms.find_studies`.

    A study is fetched at its turn and removed afterwards, so the disk holds one study at a time. A study that cannot be
    fetched becomes an item with its error. The object can be iterated several times.

    Parameters
    ----------
    url
        Address of the server, see :class:`fedmed_transforms.studies.dicomweb.server.DicomWebServer`.
    study
        A StudyInstanceUID, several, or a query with values by DICOM keyword.
    output_dir
        Folder of the results.
    rules
        Keywords of :class:`fedmed_transforms.SeriesRules`.

    Raises
    ------
    ValueError
        No study is given, or no study matches the query.
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
        """Yields an item for each image, and for each study that cannot be used."""
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

        shutil.rmtree(self.folder, ignore_errors=True)  # a killed run may have left its folder
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
    """Returns the images of a server's studies if `dicomweb` is set, otherwise the images of folders and files.

    Parameters
    ----------
    dataset_dir
        Folders and files, as in :func:`fedmed_transforms.find_studies`.
    dicomweb, study
        Address and studies of :class:`DicomWebStudies`; None for `dicomweb` means folders.
    output_dir
        Folder of the results.
    rules
        Keywords of :class:`fedmed_transforms.SeriesRules`.

    Raises
    ------
    ValueError
        As in :func:`fedmed_transforms.find_studies` and :class:`DicomWebStudies`.

    Examples
    --------
    >>> from fedmed_transforms import open_studies
    >>> from pydicom.data import get_testdata_file
    >>> items = open_studies(get_testdata_file("MR_small.dcm"), dicomweb=None, study=None, output_dir="results")
    >>> [item["name"] for item in items]
    ['MR_small']
    """
    if dicomweb is None:
        return find_studies(dataset_dir, rules, output_dir)
    return DicomWebStudies(dicomweb, study, output_dir, rules)
