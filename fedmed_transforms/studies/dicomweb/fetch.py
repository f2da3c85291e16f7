"""Fetches a study of a DICOMweb server as a folder of files."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from fedmed_transforms.studies.dicomweb.errors import UnexpectedAnswer, may_pass
from fedmed_transforms.studies.dicomweb.query import query_instances, query_series
from fedmed_transforms.studies.dicomweb.server import INSTANCE_UIDS, DicomWebServer
from fedmed_transforms.whole_file import is_new_or_empty, whole_folder

if TYPE_CHECKING:
    from dicomweb_client import DICOMwebClient

AS_STORED = (("application/dicom", "*"),)
"""Media type of the transfer syntax in which the server stores a file: the server neither decodes nor compresses it."""

UNDEFINED = 0xFFFFFFFF
"""Length of an element that ends with a delimiter."""

PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def fetch_study(
    server: DicomWebServer, study: str, folder: str | Path, series: Collection[str] | None = None
) -> Path:
    """Fetches a study completely or not at all: ``<folder>/<SeriesInstanceUID>/<SOPInstanceUID>.dcm``.

    The server sends a series in one answer, and memory holds one instance at a time. After a broken connection the
    missing instances are requested one by one.

    Parameters
    ----------
    server
        The server of the study.
    study
        The StudyInstanceUID.
    folder
        The folder to write: missing or empty.
    series
        The SeriesInstanceUIDs to fetch; None for all.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ValueError
        The server does not have the study or one of the series, lists or sends other or fewer instances than it states,
        or was not reached; or the folder is not empty. The message names the address and the study.
    """
    folder = Path(folder)
    if not is_new_or_empty(folder):
        raise ValueError(f"{folder}: expected a new or an empty folder for the study {study}, found something else")
    listed = query_series(server, study)
    if missing := sorted(set(series or ()) - set(listed)):
        raise ValueError(f"{server.url}: study {study}: expected the series {', '.join(missing)}, "
                         f"found {', '.join(listed)}")  # fmt: skip
    with whole_folder(folder) as unfinished:
        for uid in listed if series is None else sorted(set(series)):
            _fetch_series(server, (study, uid), listed[uid], unfinished / uid)
    return folder


def _fetch_series(server: DicomWebServer, uids: tuple[str, str], listing: Dataset, folder: Path) -> None:
    instances = query_instances(server, *uids)
    count = listing.get("NumberOfSeriesRelatedInstances")
    if count is not None and len(instances) < int(count):
        raise ValueError(f"{server.url}: study {uids[0]}: found {len(instances)} instances of the series {uids[1]}, "
                         f"expected {count}: it may still be arriving")  # fmt: skip
    folder.mkdir()
    download = _SeriesDownload(uids, list(instances), folder)
    server.ask(download.save_series, f"study {uids[0]}, series {uids[1]}")
    for instance in list(download.missing):
        server.ask(partial(download.save_instance, instance), f"study {uids[0]}, instance {instance}")


class _SeriesDownload:
    """Downloads a series; the instances received so far stay when the connection breaks."""

    def __init__(self, uids: tuple[str, str], instances: Sequence[str], folder: Path) -> None:
        self.uids, self.folder = uids, folder
        self.missing = dict.fromkeys(instances)

    def save_series(self, client: DICOMwebClient) -> None:
        """Saves all instances of one answer, or the instances before the connection breaks."""
        before = len(self.missing)
        try:
            for dicom in client.iter_series(*self.uids, media_types=AS_STORED):
                self._save(dicom)
        except Exception as error:
            refused = isinstance(error, requests.RequestException) and len(self.missing) == before
            if refused or not may_pass(error):
                raise

    def save_instance(self, instance: str, client: DICOMwebClient) -> None:
        """Requests and saves a single instance."""
        self._save(client.retrieve_instance(*self.uids, instance, media_types=AS_STORED))
        if instance in self.missing:
            raise UnexpectedAnswer("another instance", f"the instance {instance}")

    def _save(self, dicom: Dataset) -> None:
        study, series, instance = (str(dicom.get(keyword)) for keyword in INSTANCE_UIDS)
        if (study, series) != self.uids:
            raise UnexpectedAnswer(f"the series {series} of the study {study}", f"the series {self.uids[1]}")
        if _is_truncated(dicom):
            raise UnexpectedAnswer(f"part of the instance {instance}", "all of it")
        if instance in self.missing:  # the series may have got another instance since it was listed
            dicom.save_as(self.folder / f"{instance}.dcm", enforce_file_format=True)
            del self.missing[instance]


def _is_truncated(dicom: Dataset) -> bool:
    """Checks for a missing end, which the parser accepts: a short last element, or an image without pixels."""
    last: Any = dicom.get_item(max(dicom.keys()))
    value = getattr(last, "value", None)
    short = isinstance(last, RawDataElement) and isinstance(value, bytes) and len(value) < last.length != UNDEFINED
    return short or ("Rows" in dicom and not any(keyword in dicom for keyword in PIXELS))
