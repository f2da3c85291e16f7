"""A study of a DICOMweb server as a folder of files."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from fedmed_transforms.dicomweb import PLACE, DicomWebServer
from fedmed_transforms.dicomweb_query import find_instances, find_series
from fedmed_transforms.unquoted import unquoted
from fedmed_transforms.whole_folder import whole_folder

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

    Instances come one by one, so that no more than one is in memory, and one that broke off is all that is asked for
    again.

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
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ValueError(f"{folder}: expected a new or an empty folder for the study {study}, found something else")
    listed = find_series(server, study)
    if missing := sorted(set(series or ()) - set(listed)):
        raise ValueError(f"{server.url}: study {study}: expected the series {', '.join(missing)}, "
                         f"found {', '.join(listed)}")  # fmt: skip
    with whole_folder(folder) as unfinished:
        for uid in listed if series is None else sorted(set(series)):
            _fetch_series(server, (study, uid), listed[uid], unfinished / uid)
    return folder


def _fetch_series(server: DicomWebServer, place: tuple[str, str], stated: Dataset, folder: Path) -> None:
    instances = find_instances(server, *place)
    count = stated.get("NumberOfSeriesRelatedInstances")
    if count is not None and len(instances) < int(count):
        raise ValueError(f"{server.url}: study {place[0]}: found {len(instances)} instances of the series {place[1]}, "
                         f"expected {count}: it may still be arriving")  # fmt: skip
    folder.mkdir()
    for instance in instances:
        dicom = _fetch_instance(server, (*place, instance))
        with unquoted():
            dicom.save_as(folder / f"{instance}.dcm", enforce_file_format=True)


def _fetch_instance(server: DicomWebServer, place: tuple[str, str, str]) -> Dataset:
    def retrieve(client: DICOMwebClient) -> tuple[Dataset, list[str], bool]:
        dicom = client.retrieve_instance(*place, media_types=AS_STORED)
        return dicom, [str(dicom.get(keyword)) for keyword in PLACE], _is_cut(dicom)

    dicom, found, cut = server.ask(retrieve, f"study {place[0]}, instance {place[2]}")
    if found != list(place) or cut:
        what = "part of an instance" if cut else f"the instance {found[2]} of the study {found[0]}"
        raise ValueError(f"{server.url}: study {place[0]}: found {what}, expected the instance {place[2]}, whole")
    return dicom


def _is_cut(dicom: Dataset) -> bool:
    """Whether the end is missing, over which the parser passes: of its last element, or all of an image's pixels."""
    last: Any = dicom.get_item(max(dicom.keys()))
    value = getattr(last, "value", None)
    short = isinstance(last, RawDataElement) and isinstance(value, bytes) and len(value) < last.length != UNDEFINED
    return short or ("Rows" in dicom and not any(keyword in dicom for keyword in PIXELS))
