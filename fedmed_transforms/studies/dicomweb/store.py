"""Stores results on a DICOMweb server, each result once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pydicom
import requests
from pydicom.dataset import Dataset

from fedmed_transforms.dicom.damage import Damaged
from fedmed_transforms.dicom.silenced_parsers import without_parser_texts
from fedmed_transforms.studies.dicomweb.server import INSTANCE_UIDS, LONGEST_UID, DicomWebServer, checked_uid
from fedmed_transforms.studies.dicomweb.unreachable import ServerUnreachable

if TYPE_CHECKING:
    from dicomweb_client import DICOMwebClient

DUPLICATE = 0x0111
"""Failure reason of an instance that the server already has (DICOM part 4, annex GG)."""

INDEX_SECONDS = 10.0
"""Seconds within which a server must find an instance that it stored."""


def store_results(server: DicomWebServer, files: Sequence[str | Path]) -> list[Path]:
    """Stores DICOM files that the server does not have; files that the server has stay unchanged.

    A file is searched by its SOPInstanceUID before it is sent, after a broken connection, and after it was stored:
    archives filter files, and some archives report no error. The results of this package have UIDs of their content
    (:mod:`fedmed_transforms.results.identity`): a study that is processed again is not stored again.

    Parameters
    ----------
    server
        The server to store on.
    files
        The files; the files after a refused file are stored.

    Returns
    -------
    list
        The files that the server did not have before.

    Raises
    ------
    ServerUnreachable
        The server was not reached.
    ValueError
        The server refused a file, or a file is no DICOM file; the message names the address, each such file and its
        study. The other files are stored.
    """
    stored, refused, kind = [], [], ValueError
    for file in map(Path, files):
        try:
            if _store(server, file):
                stored.append(file)
        except ValueError as error:
            refused.append(f"{file}: {error}")
            kind = ServerUnreachable if isinstance(error, ServerUnreachable) else kind
    if refused:
        raise kind(f"{server.url}: {len(refused)} of {len(files)} results were not stored: {'; '.join(refused)}")
    return stored


def _uid(dicom: Dataset, keyword: str) -> str:
    """Reads a UID of a file; the error does not quote it, as a damaged element may hold anything."""
    try:
        return checked_uid(dicom.get(keyword, ""), keyword)
    except ValueError:
        raise Damaged(f"{keyword} that is no UID of at most {LONGEST_UID} digits and dots") from None


def _store(server: DicomWebServer, file: Path) -> bool:
    """Stores a file; returns whether the server did not have the file before."""
    with without_parser_texts(file, "a DICOM file"):
        dicom = pydicom.dcmread(file)
        uids = [_uid(dicom, keyword) for keyword in INSTANCE_UIDS]
    subject = f"study {uids[0]}, instance {uids[2]}"
    sent: list[int] = []

    def store(client: DICOMwebClient) -> Dataset | None:
        if _has_instance(client, uids):
            return None
        sent.append(1)
        return _answer(client, dicom)

    answer = server.ask(store, subject)
    if answer is None:
        return bool(sent)
    failures = [item.get("FailureReason") for item in answer.get("FailedSOPSequence") or []]
    if any(code != DUPLICATE for code in failures):
        codes = ", ".join("no reason" if code is None else f"0x{code:04X}" for code in failures)
        raise ValueError(f"{server.url}: {subject}: found it refused with {codes}, expected it to be stored")
    if not server.ask_until(lambda client: _has_instance(client, uids), subject, INDEX_SECONDS):
        raise ValueError(f"{server.url}: {subject}: found it accepted but not kept, expected it to be stored")
    return not failures


def _has_instance(client: DICOMwebClient, uids: Sequence[str]) -> bool:
    """Checks whether the server has the instance; some servers answer 404 for an unknown study."""
    study, series, instance = uids
    try:
        matches = client.search_for_instances(study, series, search_filters={"SOPInstanceUID": instance})
    except requests.HTTPError as error:
        if error.response.status_code != 404:
            raise
        return False
    return any(Dataset.from_json(match).get("SOPInstanceUID") == instance for match in matches)


def _answer(client: DICOMwebClient, dicom: Dataset) -> Dataset:
    """Sends the instance and returns the server's answer; the answer of a refusal is the body of the HTTP error."""
    try:
        return client.store_instances([dicom])
    except requests.HTTPError as error:
        with suppress(ValueError, TypeError, KeyError):  # without a DICOM body, only the status describes the error
            refusal = Dataset.from_json(error.response.json())
            if refusal.get("FailedSOPSequence"):
                return refusal
        raise
