"""Queries the studies of a DICOMweb server, their series, and the instances of the series."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from fedmed_transforms.studies.dicomweb.server import DicomWebServer, checked_uid

if TYPE_CHECKING:
    from dicomweb_client import DICOMwebClient

PAGE = 200
"""Number of matches in one request."""


def query_studies(server: DicomWebServer, query: Mapping[str, str]) -> dict[str, Dataset]:
    """Queries the studies that match.

    Parameters
    ----------
    server
        The server to query.
    query
        Values by DICOM keyword, such as ``{"StudyDate": "20240101-20241231", "ModalitiesInStudy": "CT"}``; values match
        by DICOM's rules (ranges, ``*`` and ``?``). Archives that do not decode escaped characters (Orthanc 1.10) find
        no value with a blank or a ``^``; write ``?`` instead.

    Returns
    -------
    dict
        The server's elements of each study by StudyInstanceUID, in the server's order.

    Raises
    ------
    ValueError
        A keyword is no DICOM keyword, or the server did not answer.
    """
    for keyword in query:
        if tag_for_keyword(str(keyword)) is None:
            raise ValueError(f"query: expected keywords of DICOM elements, found {keyword!r}")
    filters = {keyword: str(value) for keyword, value in query.items()}
    return _all_pages(
        server,
        lambda client, page: client.search_for_studies(search_filters=filters, **page),
        "StudyInstanceUID",
        "query of studies",
    )


def query_series(server: DicomWebServer, study: str) -> dict[str, Dataset]:
    """Queries the series of a study.

    Returns
    -------
    dict
        The server's elements of each series (at least Modality) by SeriesInstanceUID.

    Raises
    ------
    ValueError
        The server has no such study, or did not answer; the message names the server and the study.
    """
    study = checked_uid(study, "study")
    found = _all_pages(
        server, lambda client, page: client.search_for_series(study, **page), "SeriesInstanceUID", f"study {study}"
    )
    if not found:
        raise ValueError(f"{server.url}: study {study}: found no series, expected a study of the server")
    return found


def query_instances(server: DicomWebServer, study: str, series: str) -> dict[str, Dataset]:
    """Queries the instances of a series, by SOPInstanceUID.

    Raises
    ------
    ValueError
        The server has no such instance, or did not answer; the message names the server and the study.
    """
    study, series = checked_uid(study, "study"), checked_uid(series, "series")
    found = _all_pages(
        server,
        lambda client, page: client.search_for_instances(study, series, **page),
        "SOPInstanceUID",
        f"study {study}, series {series}",
    )
    if not found:
        raise ValueError(f"{server.url}: study {study}: found no instance of the series {series}, expected some")
    return found


def _all_pages(
    server: DicomWebServer, search: Callable[[DICOMwebClient, dict[str, int]], list[Any]], key: str, subject: str
) -> dict[str, Dataset]:
    """Requests pages until no new match arrives: a server may send short pages, or the same matches again."""
    found: dict[str, Dataset] = {}
    while True:
        page = {"limit": PAGE, "offset": len(found)}
        matches = server.ask(lambda client: [Dataset.from_json(item) for item in search(client, page)], subject)
        named = {checked_uid(match.get(key, ""), f"{server.url}: {subject}: {key}"): match for match in matches}
        if not named.keys() - found.keys():
            return found
        found.update(named)
