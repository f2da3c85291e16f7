"""Results to a DICOMweb server, each once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pydicom
import requests
from pydicom.dataset import Dataset

from fedmed_transforms.dicom.silenced_parsers import without_parser_texts
from fedmed_transforms.studies.dicomweb.server import PLACE, DicomWebServer, checked_uid
from fedmed_transforms.studies.dicomweb.unreachable import ServerUnreachable

if TYPE_CHECKING:
    from dicomweb_client import DICOMwebClient

DUPLICATE = 0x0111
"""The failure reason of an instance that the server has already (DICOM part 4, annex GG)."""

INDEXES = 10.0
"""Seconds within which a server has to find what it has stored."""


def store_results(server: DicomWebServer, files: Sequence[str | Path]) -> list[Path]:
    """Stores DICOM files that the server does not have; those that it has are left as they are.

    A file is looked up by its SOPInstanceUID before it is sent, again where a server broke off before it answered, and
    after it was stored: archives filter what they take, and some do not say so. The results that this package writes
    have UIDs of their content (:mod:`fedmed_transforms.results.identity`): a study that is processed again is not
    stored
    again.

    Parameters
    ----------
    server
        Where to store them.
    files
        The files; one that is refused does not keep back those after it.

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


def _store(server: DicomWebServer, file: Path) -> bool:
    """Whether it was not there before."""
    with without_parser_texts(file, "a DICOM file"):
        dicom = pydicom.dcmread(file)
        place = [checked_uid(dicom.get(keyword, ""), keyword) for keyword in PLACE]
    subject = f"study {place[0]}, instance {place[2]}"
    sent: list[int] = []

    def store(client: DICOMwebClient) -> Dataset | None:
        if _is_there(client, place):
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
    if not server.ask_until(lambda client: _is_there(client, place), subject, INDEXES):
        raise ValueError(f"{server.url}: {subject}: found it accepted but not kept, expected it to be stored")
    return not failures


def _is_there(client: DICOMwebClient, place: Sequence[str]) -> bool:
    """Whether the server has the instance; a server may say of a study that it does not know that it is not found."""
    study, series, instance = place
    try:
        matches = client.search_for_instances(study, series, search_filters={"SOPInstanceUID": instance})
    except requests.HTTPError as error:
        if error.response.status_code != 404:
            raise
        return False
    return any(Dataset.from_json(match).get("SOPInstanceUID") == instance for match in matches)


def _answer(client: DICOMwebClient, dicom: Dataset) -> Dataset:
    """What the server says of the instance; that it refuses it comes as an error, with the reason in its body."""
    try:
        return client.store_instances([dicom])
    except requests.HTTPError as error:
        with suppress(ValueError, TypeError, KeyError):  # a body of another kind: the status says all there is
            refusal = Dataset.from_json(error.response.json())
            if refusal.get("FailedSOPSequence"):
                return refusal
        raise
