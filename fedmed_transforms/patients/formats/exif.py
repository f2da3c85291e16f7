"""Finds text in EXIF, XMP, ICC profiles and IPTC, which PNG, JPEG and TIFF share."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any
from xml.etree import ElementTree

from PIL import Image, ImageCms
from PIL.ExifTags import GPSTAGS, IFD, TAGS

from fedmed_transforms.patients.formats.file_text import Content, FileText, decoded

TECHNICAL_TAGS = frozenset(
    "Software ProcessingSoftware Make Model LensMake LensModel DateTime DateTimeOriginal DateTimeDigitized SubsecTime "
    "SubsecTimeOriginal SubsecTimeDigitized OffsetTime OffsetTimeOriginal OffsetTimeDigitized ExifVersion "
    "FlashPixVersion ComponentsConfiguration InteropIndex InteropVersion SceneType FileSource CFAPattern "
    "PrintImageMatching InkNames JPEGTables Padding OffsetSchema".split()
)
"""EXIF fields of characters or bytes that cameras and programs fill."""

PERSONAL_NAMESPACES = ("http://purl.org/dc/elements/1.1/",)
TECHNICAL_NAMESPACES = (
    "http://ns.adobe.com/xap/1.0/", "http://ns.adobe.com/tiff/1.0/", "http://ns.adobe.com/exif/1.0/",
    "http://ns.adobe.com/photoshop/1.0/", "http://ns.adobe.com/camera-raw-settings/1.0/", "adobe:ns:meta/",
    "http://cipa.jp/exif/1.0/", "http://ns.microsoft.com/photo/1.0/",
)  # fmt: skip
"""Namespaces of XMP whose properties describe the picture and the program, except :data:`PERSONAL_PROPERTIES`."""

PERSONAL_PROPERTIES = frozenset(
    "Artist ImageDescription Copyright UserComment OwnerName CameraOwnerName BodySerialNumber LensSerialNumber "
    "ImageUniqueID Nickname Label Author Identifier Advisory AuthorsPosition CaptionWriter City Country State Credit "
    "Headline Instructions Source Title TransmissionReference Urgency Category SupplementalCategories History "
    "TextLayers DocumentAncestors SerialNumber".split()
)
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"

KNOWN_PROFILES = re.compile(
    r"(?i)(c2|srgb|adobe rgb|display p3|gr[ae]y|dot gain|generic|color lcd|prophoto|rec\.? ?\d|gimp|iec|u\.s\. web|"
    r"coated|uncoated|iso ?coated|calibrated|artifex|linear|lab|cie|xyz|e-?srgb|wide gamut|apple rgb|colormatch)"
)
"""Beginnings of the descriptions of profiles that programs ship."""


PADDING = {0xEA1C: "Padding", 0xEA1D: "OffsetSchema"}
"""Fields of Windows that hold no text."""

SAME_PICTURE = 12.0
"""Mean difference of grey values up to which a thumbnail shows the picture itself."""


def exif_texts(content: bytes, picture: Content | None = None) -> Iterator[FileText]:
    """Lists the texts of an EXIF block or of the first directory of a TIFF, its position and its thumbnail.

    Parameters
    ----------
    content
        The block; a TIFF begins it, or ``Exif``.
    picture
        The file of the block. A thumbnail that shows the same picture is technical: it tells nothing more.
    """
    exif, label = Image.Exif(), "EXIF"
    try:
        exif.load(content)
        main = dict(exif)
        details, position, thumbnail = (dict(exif.get_ifd(it)) for it in (IFD.Exif, IFD.GPSInfo, IFD.IFD1))
    except Exception:  # PIL raises the errors of its parsers
        yield FileText(f"{label} that is not readable")
        return
    yield from _tags({**main, **details}, label)
    for tag, value in position.items():
        if GPSTAGS.get(tag) != "GPSVersionID" and (text := decoded(value)):
            yield FileText(f"{label} {GPSTAGS.get(tag, f'GPS {tag}')}", text)
    if any(tag in thumbnail for tag in (0x0201, 0x0111)):
        yield FileText(f"{label} thumbnail", "", picture is not None and _is_same(content, thumbnail, picture))


def _is_same(content: bytes, thumbnail: dict[int, Any], picture: Content) -> bool:
    """Compares a thumbnail with its picture, both as 32 x 32 grey values."""
    try:
        begin = int(thumbnail[0x0201]) + (6 if content.startswith(b"Exif") else 0)
        small = content[begin : begin + int(thumbnail[0x0202])]
        ours, theirs = (_grey(it) for it in (small, bytes(picture)))
    except Exception:  # PIL raises the errors of its decoders
        return False
    return sum(abs(it - other) for it, other in zip(ours, theirs, strict=True)) / len(ours) < SAME_PICTURE


def _grey(content: bytes) -> bytes:
    with Image.open(BytesIO(content)) as image:
        return image.convert("L").resize((32, 32)).tobytes()


def _tags(tags: dict[int, Any], label: str) -> Iterator[FileText]:
    for tag, value in tags.items():
        name = TAGS.get(tag) or PADDING.get(tag, f"tag {tag:#06x}")
        if name == "MakerNote":
            yield FileText(f"{label} MakerNote")
        elif isinstance(value, (str, bytes)) and (text := _text(name, value)):
            yield FileText(f"{label} {name}", text, technical=name in TECHNICAL_TAGS)


def _text(name: str, value: str | bytes) -> str:
    """Decodes a field; Windows' fields are UTF-16, and UserComment begins with its character code."""
    if isinstance(value, bytes):
        if name.startswith("XP"):
            return value.decode("utf-16-le", "replace").strip(" \0")
        if name == "UserComment":
            head, value = value[:8], value[8:]
            value = value.decode("utf-16", "replace").encode() if head.startswith(b"UNICODE") else value
    return decoded(value)


def orientation_exif(orientation: int) -> bytes:
    """Writes an EXIF block, ``Exif`` included, that holds the orientation alone."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def orientation_of(content: bytes) -> int:
    """Reads the orientation of a picture as its viewers do, from EXIF or XMP; 1 if it states none."""
    with Image.open(BytesIO(content)) as image:
        value = image.getexif().get(0x0112, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def xmp_texts(content: bytes) -> Iterator[FileText]:
    """Lists the properties of an XMP packet with their text."""
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        yield FileText("XMP that is not readable")
        return
    try:
        root = ElementTree.fromstring(content.strip(b"\0 \r\n\t"))
    except ElementTree.ParseError:
        yield FileText("XMP that is not readable")
        return
    for description in root.iter(f"{RDF}Description"):
        for name, value in description.attrib.items():
            yield from _property(name, [value])
        for child in description:
            yield from _property(child.tag, [*child.itertext(), *(it for node in child.iter() for it in _own(node))])
    if text := _outside_descriptions(root):
        yield FileText("XMP outside of a description", text)


def _outside_descriptions(root: ElementTree.Element) -> str:
    """Returns the text of a packet that no rdf:Description holds; the descriptions are emptied."""
    for description in list(root.iter(f"{RDF}Description")):
        description[:], description.text, description.attrib = [], None, {}
    values = [value for name, value in root.attrib.items() if not name.startswith("{adobe:ns:meta/}")]
    values += [value for node in root.iter() if node is not root for value in _own(node)]
    return " ".join(text.strip() for text in [*root.itertext(), *values] if text.strip())


def _own(node: ElementTree.Element) -> list[str]:
    return [value for name, value in node.attrib.items() if not name.startswith((RDF, "{http://www.w3.org/XML"))]


def _property(name: str, values: list[str]) -> Iterator[FileText]:
    text = " ".join(it.strip() for it in values if it.strip())
    namespace, _, local = name.lstrip("{").rpartition("}")
    if not text or namespace == RDF.strip("{}"):
        return
    known = namespace.startswith(TECHNICAL_NAMESPACES) and local not in PERSONAL_PROPERTIES
    technical = (known and not local.startswith("GPS")) or (local == "format" and namespace in PERSONAL_NAMESPACES)
    yield FileText(f"XMP {local}", text, technical)


def profile_texts(content: bytes) -> Iterator[FileText]:
    """Lists the descriptions of an ICC profile; those of profiles that programs ship are technical."""
    try:
        profile: Any = ImageCms.ImageCmsProfile(BytesIO(content)).profile
    except Exception:  # littlecms raises the errors of its parser
        yield FileText("ICC profile that is not readable")
        return
    description = decoded(profile.profile_description or "")
    technical = KNOWN_PROFILES.match(description) is not None
    for name in ("profile_description", "manufacturer", "model", "copyright"):
        if text := decoded(getattr(profile, name, None) or ""):
            yield FileText(f"ICC {name.removeprefix('profile_')}", text, technical)


def photoshop_texts(content: bytes) -> Iterator[FileText]:
    """Lists the IPTC record, the caption and the thumbnails among Photoshop's resources."""
    for found in re.finditer(rb"8BIM(..)", content, re.DOTALL):
        kind, position = int.from_bytes(found[1], "big"), found.end()
        position += (content[position] + 2) // 2 * 2 if position < len(content) else 0
        size = int.from_bytes(content[position : position + 4], "big")
        value = content[position + 4 : position + 4 + size]
        if kind in (0x0404, 0x03F0, 0x0422, 0x0423, 0x0424) and value.strip(b"\0"):
            yield FileText("IPTC" if kind == 0x0404 else f"Photoshop resource {kind:#06x}", decoded(value))
        elif kind in (0x0409, 0x040C) and value:
            yield FileText("Photoshop thumbnail")
