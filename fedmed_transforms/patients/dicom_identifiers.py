"""Finds identifiers in a whole DICOM file: in its data set, its file meta, its preamble, and after its last element."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Literal

import pydicom
from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from fedmed_transforms.dicom.damage import Damaged
from fedmed_transforms.dicom.header_index import ITEM, PIXELS, PREAMBLE, UNDEFINED_LENGTH
from fedmed_transforms.dicom.silenced_parsers import without_parser_texts
from fedmed_transforms.patients.identifying_elements import Found, data_set_identifiers, is_filled

DEFERRED = 4096
"""Values of more bytes are not read from the disk, except texts: no name and no number is so long, but pixels are."""

FILE_META = frozenset(
    "SourceApplicationEntityTitle SendingApplicationEntityTitle ReceivingApplicationEntityTitle "
    "SourcePresentationAddress SendingPresentationAddress ReceivingPresentationAddress PrivateInformation "
    "PrivateInformationCreatorUID".split()
)
"""Elements of the file meta that name a place, or hold what only its writer knows (PS3.10, 7.1)."""

PADDING = 0xFFFCFFFC

TRAILING = "bytes after the data set"


def dicom_identifiers(path: Path, content: bytes | None = None) -> Found:
    """Finds what identifies in a DICOM file.

    Parameters
    ----------
    path
        The file, or the archive that holds it.
    content
        The bytes of a file in an archive.

    Raises
    ------
    ValueError
        The file does not decode; the message names the file and quotes no value.
    """
    with without_parser_texts(path, "a DICOM file"), _opened(path, content) as file:
        dataset, unreadable = _read(file, None if content is not None else DEFERRED)
        if not any(keyword_for_tag(tag) for tag in dataset.keys()):
            raise Damaged("no element that DICOM knows")
        around = set(_outside(dataset, file)) | ({TRAILING} if unreadable else set())
        drop_trailing(dataset)
        found = data_set_identifiers(dataset)
    found.elements |= around
    return found


def _opened(path: Path, content: bytes | None) -> BinaryIO:
    return path.open("rb") if content is None else BytesIO(content)


def _read(file: BinaryIO, deferred: int | None) -> tuple[FileDataset, bool]:
    """Reads a file; where what follows the pixels is no DICOM, reads up to the pixels and says so."""
    try:
        return pydicom.dcmread(file, defer_size=deferred, force=True), False  # some archives leave the preamble out
    except Exception:
        file.seek(0)
        dataset = pydicom.dcmread(file, stop_before_pixels=True, force=True)
        if "Rows" not in dataset:
            raise
        return dataset, True


def _outside(dataset: FileDataset, file: BinaryIO) -> Iterator[str]:
    """Lists what is filled besides the data set's own elements."""
    if (dataset.preamble or b"").strip(b"\0"):
        yield "preamble"
    for tag, element in dataset.file_meta.items() if hasattr(dataset, "file_meta") else ():
        keyword = keyword_for_tag(tag)
        if is_filled(element) and (keyword in FILE_META or tag.is_private):
            yield keyword or "private: file meta"
    padding = dataset.get_item(PADDING)
    if padding is not None and is_filled(padding):
        yield "DataSetTrailingPadding"
    if _has_more(dataset, file):
        yield TRAILING


def drop_trailing(dataset: Dataset) -> bool:
    """Removes what follows the data set and was taken for elements; checks whether there was any.

    The tags of a data set rise, and after the pixels only signatures and padding are known.
    """
    last, dropped = -1, False
    for tag in list(dataset.keys()):
        if tag <= last or (tag > PIXELS and not tag.is_private and not keyword_for_tag(tag)):
            del dataset[tag]
            dropped = True
        else:
            last = tag
    return dropped


def _has_more(dataset: FileDataset, file: BinaryIO) -> bool:
    """Checks whether bytes follow the last element that belongs to the data set."""
    if drop_trailing(dataset):
        return True
    if str(dataset.file_meta.get("TransferSyntaxUID", "")) == DeflatedExplicitVRLittleEndian:
        return _has_more_than_deflated(dataset, file)
    last = dataset.get_item(list(dataset.keys())[-1])
    if not isinstance(last, RawDataElement):
        return False
    size, end = file.seek(0, os.SEEK_END), _end_of(last, file)
    file.seek(min(end, size))
    return end > size + 1 or bool(file.read(1 << 16).strip(b"\0 "))


def _has_more_than_deflated(dataset: FileDataset, file: BinaryIO) -> bool:
    """Checks whether bytes follow a deflated data set (PS3.5, A.5)."""
    file.seek(PREAMBLE + 12 + int(dataset.file_meta.get("FileMetaInformationGroupLength", 0)))
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    while content := file.read(1 << 20):
        while content and not inflate.eof:
            inflate.decompress(content, 1 << 24)
            content = inflate.unconsumed_tail
        if inflate.eof:
            return bool((inflate.unused_data + file.read(1 << 16)).strip(b"\0"))
    return False


def _end_of(element: RawDataElement, file: BinaryIO) -> int:
    """Returns the end of an element, that of compressed pixels by the lengths of their fragments (PS3.5, A.4)."""
    if element.length != UNDEFINED_LENGTH:
        return element.value_tell + element.length
    position = element.value_tell
    while True:
        file.seek(position)
        head = file.read(8)
        order: Literal["little", "big"] = "little" if element.is_little_endian else "big"
        group, number = (int.from_bytes(head[it : it + 2], order) for it in (0, 2))
        if len(head) < 8 or group << 16 | number != ITEM:
            return position + 8
        position += 8 + int.from_bytes(head[4:], order)
