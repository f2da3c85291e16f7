"""A DICOMweb server as a source of studies, which arrive instance by instance; and the choice of a source."""

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
"""Seconds for which a request is repeated; after them the watch waits for its next look."""


class WatchedArchive:
    """Finds the studies of a DICOMweb server that match a query.

    Every look queries the studies, and the series of a study if its number of instances has changed. A study has
    settled when this number stays the same. The study in work is fetched into the folder of the results.

    Parameters
    ----------
    url
        Address of the server, see :class:`fedmed_transforms.studies.dicomweb.server.DicomWebServer`.
    query
        Values by DICOM keyword; None for all studies.
    output_dir
        Folder of the results and of the ledger.
    rules
        Keywords of :class:`fedmed_transforms.SeriesRules`.

    Raises
    ------
    ValueError
        The query is no mapping.
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
        """Records in the ledger the series that have arrived or changed since the last look.

        Returns
        -------
        list
            Keys of studies that were done and wait again.

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
        """Fetches a study and returns its item for the network.

        Raises
        ------
        ValueError
            The study cannot be fetched, or has no image.
        """
        from fedmed_transforms.studies.dicomweb.fetch import fetch_study

        self.release()  # a killed process may have left its study
        folder = fetch_study(self.server, key, self.folder / key)
        for item in find_studies(str(folder), self.rules):
            if item["study"] == key:
                return item if ERROR in item else {**item, "name": name_alone(item, [folder])}
        raise ValueError(f"{self.server.url}: study {key}: expected images of it, found none that can be read")

    def unchanged(self, key: str) -> bool:
        """Returns True: a fetched study does not change, and the next look finds new instances on the server."""
        return True

    def answers(self) -> bool:
        """Tells whether the server answers."""
        try:
            self.server.ask(lambda client: client.search_for_studies(limit=1), "query of studies")
        except ValueError:
            return False
        return True

    def release(self) -> None:
        """Removes the fetched study."""
        shutil.rmtree(self.folder, ignore_errors=True)


def watch_source(
    dataset_dir: str | Sequence[str],
    dicomweb: str | None,
    study: Mapping[str, str] | None,
    output_dir: str,
    rules: Mapping[str, Any] | None = None,
) -> Source:
    """Makes the source of a watch: a server if `dicomweb` names one, otherwise folders.

    Parameters
    ----------
    dataset_dir
        Folders, see :class:`fedmed_workflows.clinic.watch.folder.WatchedFolder`.
    dicomweb, study
        Address and query of a server, see :class:`WatchedArchive`.
    output_dir
        Folder of the results and of the ledger.
    rules
        Keywords of :class:`fedmed_transforms.SeriesRules`.

    Raises
    ------
    ValueError
        The source refuses its arguments.

    Examples
    --------
    >>> import tempfile
    >>> from fedmed_workflows import watch_source
    >>> with tempfile.TemporaryDirectory() as inbox:
    ...     watch_source(inbox, dicomweb=None, study=None, output_dir="results").answers()
    True
    """
    if dicomweb is None:
        return WatchedFolder(dataset_dir, output_dir, rules)
    return WatchedArchive(dicomweb, study, output_dir, rules)
