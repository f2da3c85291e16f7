"""A study of a DICOMweb server as a folder of files."""

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
from fedmed_transforms.studies.dicomweb.server import PLACE, DicomWebServer
from fedmed_transforms.whole_file import is_new_or_empty, whole_folder

if TYPE_CHECKING:
    from dicomweb_client import DICOMwebClient

AS_STORED = (("application/dicom", "*"),)
"""In the transfer syntax in which the server keeps it: nothing is decoded or compressed on the way."""

UNDEFINED = 0xFFFFFFFF
"""The length of an element that ends with a delimiter."""

PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def fetch_study(
    server: DicomWebServer, study: str, folder: str | Path, series: Collection[str] | None = None
) -> Path:
    """Fetches a study, whole or not at all: ``<folder>/<SeriesInstanceUID>/<SOPInstanceUID>.dcm``.

    A series comes in one answer, of which no more than an instance is in memory; what a link that breaks left out is
    asked for instance by instance.

    Parameters
    ----------
    server
        Where it lies.
    study
        Its StudyInstanceUID.
    folder
        Where to write: missing or empty.
    series
        The SeriesInstanceUIDs of those to fetch; None for all.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ValueError
        The server does not have the study or one of the series, lists or sends less than there is or something else,
        or was not reached; or the folder holds something. The message names the address and the study.
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


def _fetch_series(server: DicomWebServer, place: tuple[str, str], stated: Dataset, folder: Path) -> None:
    instances = query_instances(server, *place)
    count = stated.get("NumberOfSeriesRelatedInstances")
    if count is not None and len(instances) < int(count):
        raise ValueError(f"{server.url}: study {place[0]}: found {len(instances)} instances of the series {place[1]}, "
                         f"expected {count}: it may still be arriving")  # fmt: skip
    folder.mkdir()
    arriving = _Arriving(place, list(instances), folder)
    server.ask(arriving.take_series, f"study {place[0]}, series {place[1]}")
    for instance in list(arriving.missing):
        server.ask(partial(arriving.take_instance, instance), f"study {place[0]}, instance {instance}")


class _Arriving:
    """A series on its way, of which what has arrived stays when the link breaks."""

    def __init__(self, place: tuple[str, str], instances: Sequence[str], folder: Path) -> None:
        self.place, self.folder = place, folder
        self.missing = dict.fromkeys(instances)

    def take_series(self, client: DICOMwebClient) -> None:
        """Takes all in one answer, or as many as come before it breaks off."""
        before = len(self.missing)
        try:
            for dicom in client.iter_series(*self.place, media_types=AS_STORED):
                self._keep(dicom)
        except Exception as error:
            refused = isinstance(error, requests.RequestException) and len(self.missing) == before
            if refused or not may_pass(error):
                raise

    def take_instance(self, instance: str, client: DICOMwebClient) -> None:
        """Takes one by itself."""
        self._keep(client.retrieve_instance(*self.place, instance, media_types=AS_STORED))
        if instance in self.missing:
            raise UnexpectedAnswer("another instance", f"the instance {instance}")

    def _keep(self, dicom: Dataset) -> None:
        study, series, instance = (str(dicom.get(keyword)) for keyword in PLACE)
        if (study, series) != self.place:
            raise UnexpectedAnswer(f"the series {series} of the study {study}", f"the series {self.place[1]}")
        if _is_cut(dicom):
            raise UnexpectedAnswer(f"part of the instance {instance}", "all of it")
        if instance in self.missing:  # another one has come to the series since it was listed
            dicom.save_as(self.folder / f"{instance}.dcm", enforce_file_format=True)
            del self.missing[instance]


def _is_cut(dicom: Dataset) -> bool:
    """Whether the end is missing, over which the parser passes: of its last element, or all of an image's pixels."""
    last: Any = dicom.get_item(max(dicom.keys()))
    value = getattr(last, "value", None)
    short = isinstance(last, RawDataElement) and isinstance(value, bytes) and len(value) < last.length != UNDEFINED
    return short or ("Rows" in dicom and not any(keyword in dicom for keyword in PIXELS))
