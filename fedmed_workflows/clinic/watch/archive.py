"""A DICOMweb server in which studies arrive, instance by instance."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmed_transforms.studies.dicomweb.studies import FETCHED
from fedmed_transforms.studies.result_names import name_alone
from fedmed_transforms.studies.studies import ERROR, Item, find_studies
from fedmed_workflows.clinic.watch.folder import WatchedFolder
from fedmed_workflows.clinic.watch.study_parts import Part, StudyParts

if TYPE_CHECKING:
    from fedmed_workflows.clinic.watch.watch import Source

PATIENCE = 5.0
"""Seconds for which a server is asked again; a watch itself asks later."""


class WatchedArchive:
    """The studies of a DICOMweb server that match a query.

    The server is asked for its studies at every look, and for the series of one where its number of instances is
    another one: a study has settled when that stays the same. The study in hand lies in the folder of the results.

    Parameters
    ----------
    url
        Of the server, see :class:`fedmed_transforms.studies.dicomweb.server.DicomWebServer`.
    query
        From DICOM keywords to values; None for all studies.
    output_dir
        Folder of the results and of the ledger.
    rules
        Keywords of :class:`fedmed_transforms.SeriesRules`.

    Raises
    ------
    ValueError
        The query is none.
    """

    def __init__(
        self, url: str, query: Mapping[str, str] | None, output_dir: str, rules: Mapping[str, Any] | None = None
    ) -> None:
        from fedmed_transforms.studies.dicomweb.server import DicomWebServer

        if not isinstance(query, (Mapping, type(None))):
            raise ValueError(f"study: expected a query as {{'ModalitiesInStudy': 'CT'}}, found {query!r}")
        self.server, self.query, self.rules = DicomWebServer(url, PATIENCE), query or {}, rules
        self.folder, self.parts = Path(output_dir) / FETCHED, StudyParts(output_dir)
        self._counts: dict[str, object] = {}

    def look(self) -> list[str]:
        """Notes in the ledger what has come since the last look.

        Returns
        -------
        list
            Keys of studies that were done, and wait again.

        Raises
        ------
        ValueError
            The server did not answer, or refused the query.
        """
        from fedmed_transforms.studies.dicomweb.query import query_studies

        again: list[str] = []
        for uid, study in query_studies(self.server, self.query).items():
            count = study.get("NumberOfStudyRelatedInstances")
            if count is None or self._counts.get(uid) != count:
                again += self.parts.see(list(self._series(uid)))
                self._counts[uid] = count
        return again

    def _series(self, uid: str) -> Iterator[Part]:
        from fedmed_transforms.studies.dicomweb.query import query_series

        for series, stated in query_series(self.server, uid).items():
            version = str(stated.get("NumberOfSeriesRelatedInstances", ""))
            yield Part(f"{self.server.url}/studies/{uid}", series, version, uid, series)

    def item(self, key: str) -> Item | None:
        """Fetches a study; what the network is to see of it.

        Raises
        ------
        ValueError
            The study can't be fetched, or holds no image.
        """
        from fedmed_transforms.studies.dicomweb.fetch import fetch_study

        self.release()  # of a process that was killed
        folder = fetch_study(self.server, key, self.folder / key)
        for item in find_studies(str(folder), self.rules):
            if item["study"] == key:
                return item if ERROR in item else {**item, "name": name_alone(item, [folder])}
        raise ValueError(f"{self.server.url}: study {key}: expected images of it, found none that can be read")

    def unchanged(self, key: str) -> bool:
        """Whether it is as it was when it was fetched: what comes later is seen at the next look."""
        return True

    def answers(self) -> bool:
        """Whether the server is there."""
        try:
            self.server.ask(lambda client: client.search_for_studies(limit=1), "query of studies")
        except ValueError:
            return False
        return True

    def release(self) -> None:
        """Removes the study in hand."""
        shutil.rmtree(self.folder, ignore_errors=True)


def watch_source(
    dataset_dir: str | Sequence[str],
    dicomweb: str | None,
    study: Mapping[str, str] | None,
    output_dir: str,
    rules: Mapping[str, Any] | None = None,
) -> Source:
    """What is to be watched: a server where one is named, otherwise folders.

    Parameters
    ----------
    dataset_dir
        Folders, as of :class:`fedmed_workflows.clinic.watch.folder.WatchedFolder`.
    dicomweb, study
        Address and query, as of :class:`WatchedArchive`.
    output_dir
        Folder of the results and of the ledger.
    rules
        Keywords of :class:`fedmed_transforms.SeriesRules`.

    Raises
    ------
    ValueError
        As of either.
    """
    if dicomweb is None:
        return WatchedFolder(dataset_dir, output_dir, rules)
    return WatchedArchive(dicomweb, study, output_dir, rules)
