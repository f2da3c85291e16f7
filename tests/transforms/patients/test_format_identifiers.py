"""Text in NIfTI, PNG, JPEG, TIFF, NRRD and MetaImage is found by its field; what only programs write is not."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from PIL.ExifTags import IFD
from PIL.PngImagePlugin import PngInfo

from fedmed_transforms.patients.identifiers import find_identifiers

PICTURE = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))


def found(path: Path) -> list[str]:
    return [finding.element for finding in find_identifiers(path)]


def nifti(path: Path, kind: Any = nib.Nifti1Image, extension: bytes = b"", **fields: str) -> Path:
    image = kind(np.zeros((2, 3, 4), np.int16), np.eye(4))
    for name, value in fields.items():
        image.header[name] = value
    if extension:
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", extension))
    nib.save(image, path)
    return path


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".hdr"])
def test_nifti(tmp_path: Path, kind: Any, suffix: str) -> None:
    if suffix == ".hdr":
        kind = {nib.Nifti1Image: nib.Nifti1Pair, nib.Nifti2Image: nib.Nifti2Pair}[kind]
    path = tmp_path / f"a{suffix}"
    assert found(nifti(path, kind)) == []
    assert found(nifti(path, kind, descrip="TE=2.3;Time=92921.000", aux_file="none")) == []
    for name in ("descrip", "aux_file", "intent_name"):
        assert found(nifti(path, kind, **{name: "Jane Doe"})) == [f"NIfTI {name}"]
    assert found(nifti(path, kind, extension=b"Jane Doe")) == ["NIfTI extension"]
    if kind is nib.Nifti1Image:
        assert found(nifti(path, kind, db_name="Jane")) == ["NIfTI db_name"]


def test_bytes_after_the_voxels_and_after_the_end_of_a_text(tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii")
    path.write_bytes(path.read_bytes() + b"Jane")
    assert found(path) == ["bytes after the voxels of NIfTI"]
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert found(tmp_path / "a.nii.gz") == ["bytes after the voxels of NIfTI"]
    content = bytearray(nifti(path).read_bytes())
    content[160:164] = b"Jane"
    path.write_bytes(content)
    assert found(path) == ["NIfTI descrip"]


def png(path: Path, **texts: str) -> Path:
    info = PngInfo()
    for keyword, text in texts.items():
        info.add_text(keyword, text, zip=keyword == "Author")
    PICTURE.save(path, pnginfo=info)
    return path


def test_png(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    assert found(png(path, Software="tool 1.0")) == []
    assert found(png(path, Author="Jane", Comment="x")) == ["PNG text Author", "PNG text Comment"]
    assert found(png(path, Jane="Doe")) == ["PNG text of a keyword of its own"]
    path.write_bytes(png(path).read_bytes() + b"Jane")
    assert found(path) == ["bytes after the PNG"]
    info = PngInfo()
    info.add_itxt("Description", "Jane", zip=True)
    PICTURE.save(path, pnginfo=info)
    assert found(path) == ["PNG text Description"]


def exif(**tags: Any) -> Image.Exif:
    block = Image.Exif()
    block[0x0112], block[0x0131] = 6, "program 1.0"
    for name, value in tags.items():
        ifd = {"gps": block.get_ifd(IFD.GPSInfo), "detail": block.get_ifd(IFD.Exif)}.get(name, block)
        for tag, content in value.items():
            ifd[tag] = content
    return block


EXIF = [
    ({}, []),
    ({"main": {0x010E: "Jane"}}, "ImageDescription"),
    ({"main": {0x013B: "Jane"}}, "Artist"),
    ({"main": {0x8298: "Jane"}}, "Copyright"),
    ({"main": {0x9C9D: "Jane".encode("utf-16-le")}}, "XPAuthor"),
    ({"detail": {0x9286: b"ASCII\0\0\0Jane"}}, "UserComment"),
    ({"detail": {0x9286: b"UNICODE\0" + "Jane".encode("utf-16")}}, "UserComment"),
    ({"detail": {0x9286: b"ASCII\0\0\0    "}}, []),
    ({"detail": {0xA430: "Jane"}}, "CameraOwnerName"),
    ({"gps": {1: "N", 2: (1.0, 2.0, 3.0)}}, ["GPSLatitude", "GPSLatitudeRef"]),
]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
@pytest.mark.parametrize(("tags", "names"), EXIF)
def test_exif(tmp_path: Path, suffix: str, tags: dict[str, Any], names: str | list[str]) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".tif":
        pointers = {"detail": 34665, "gps": 34853}
        fields = {pointers[name]: block for name, block in tags.items() if name in pointers}
        PICTURE.save(path, tiffinfo={**tags.get("main", {}), **fields})
    else:
        PICTURE.save(path, exif=exif(**tags))
    expected = [names] if isinstance(names, str) else names
    block = "TIFF" if suffix == ".tif" and "main" in tags else "EXIF"
    assert found(path) == [f"{block} {name}" for name in expected]


@pytest.mark.parametrize("packet", ["<x>Jane</x>", "<x name='Jane'/>"])
def test_xmp_without_a_description(tmp_path: Path, packet: str) -> None:
    PICTURE.save(tmp_path / "a.jpg", xmp=packet.encode())
    assert found(tmp_path / "a.jpg") == ["XMP outside of a description"]


@pytest.mark.parametrize("more", [b"Jane Doe", "Jane".encode("utf-16-le")])
def test_bytes_after_a_tiff(tmp_path: Path, more: bytes) -> None:
    path = tmp_path / "a.tif"
    PICTURE.save(path)
    assert found(path) == []
    path.write_bytes(path.read_bytes() + b"\0\0" + more)
    assert found(path) == ["bytes after the TIFF"]


def test_numbers_that_tifffile_leaves_after_several_pages_are_no_text(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.ones((3, 5, 7), dtype=np.uint16), photometric="minisblack")
    assert found(tmp_path / "a.tif") == []


XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
xmp:CreatorTool="program 1">{}</rdf:Description></rdf:RDF></x:xmpmeta>"""


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_xmp(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    who = "<dc:creator><rdf:Seq><rdf:li>Jane</rdf:li></rdf:Seq></dc:creator>"
    for inner, expected in (("", []), (who, ["XMP creator"])):
        packet, info = XMP.format(inner), PngInfo()
        info.add_itxt("XML:com.adobe.xmp", packet)
        block = packet.encode()
        more = {".png": {"pnginfo": info}, ".jpg": {"xmp": block}, ".tif": {"tiffinfo": {700: block}}}
        PICTURE.save(path, **more[suffix])
        assert found(path) == expected


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_colour_profiles(tmp_path: Path, suffix: str) -> None:
    path, profile = tmp_path / f"a{suffix}", ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    PICTURE.convert("RGB").save(path, icc_profile=profile)
    assert found(path) == []
    named = profile.replace("sRGB".encode("utf-16-be"), "Jane".encode("utf-16-be"))
    assert named != profile
    PICTURE.convert("RGB").save(path, icc_profile=named)
    assert found(path)[0].startswith("ICC ") and "ICC description" in found(path)


def test_jpeg(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    PICTURE.save(path, comment="CREATOR: gd-jpeg v1.0")
    assert found(path) == []
    PICTURE.save(path, comment="Jane Doe")
    assert found(path) == ["JPEG comment"]
    PICTURE.save(path)
    plain = path.read_bytes()
    path.write_bytes(plain + plain)
    assert found(path) == ["bytes after the JPEG"]
    path.write_bytes(plain[:2] + b"\xff\xe7\0\x06Jane" + plain[2:])
    assert found(path) == ["JPEG segment APP7"]
    iptc = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0\0\0\0\x09\x1c\x02\x05\0\x04Jane\0"
    path.write_bytes(plain[:2] + b"\xff\xed" + (len(iptc) + 2).to_bytes(2, "big") + iptc + plain[2:])
    assert found(path) == ["IPTC"]


def test_a_thumbnail_of_another_picture(tmp_path: Path) -> None:
    """A thumbnail keeps what was cut off or painted over in the picture; one of the picture itself tells nothing."""
    path = tmp_path / "a.jpg"
    for shown, expected in ((PICTURE, []), (Image.new("L", (8, 8), 255), ["EXIF thumbnail"])):
        stream = io.BytesIO()
        shown.save(stream, "JPEG", quality=95)
        small = stream.getvalue()
        entries = b"\2\0" + b"\1\2\4\0\1\0\0\0\x2c\0\0\0" + b"\2\2\4\0\1\0\0\0" + len(small).to_bytes(4, "little")
        block = b"Exif\0\0II*\0\x08\0\0\0\0\0\x0e\0\0\0" + entries + bytes(4)
        PICTURE.save(path, exif=block + small)
        assert found(path) == expected


def test_tiff(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    PICTURE.save(path, tiffinfo={270: "ImageJ=1.53t\nimages=1\n", 305: "program 1"})
    assert found(path) == []
    PICTURE.save(path, tiffinfo={270: "ImageJ=1.53t\nInfo=Jane\n", 316: "Jane's computer", 65000: "Jane"})
    assert found(path) == ["TIFF HostComputer", "TIFF ImageDescription", "TIFF tag 65000"]


def test_nrrd_and_meta_image(tmp_path: Path) -> None:
    lines = ["NRRD0004", "# Complete NRRD file format specification at:", "type: uint8", "dimension: 2", "sizes: 1 1"]
    path = tmp_path / "a.nrrd"
    for more, expected in (
        (["space units: \"mm\" \"mm\""], []), (["# Jane"], ["NRRD comment"]), (["Jane:=Doe"], ["NRRD key-value pair"]),
        (["content: Jane"], ["NRRD content"]),
    ):  # fmt: skip
        path.write_bytes("\n".join([*lines, *more, "encoding: raw", "", ""]).encode() + b"\0")
        assert found(path) == expected
    path.write_bytes("\n".join([*lines, "encoding: raw", "", ""]).encode() + b"\0Jane")
    assert found(path) == ["bytes after the voxels of NRRD"]
    lines = ["ObjectType = Image", "NDims = 2", "DimSize = 1 1", "ElementType = MET_UCHAR"]
    for more, expected in (
        ([], []), (["Comment = Jane"], ["MetaImage Comment"]), (["Jane = Doe"], ["MetaImage field of another name"]),
    ):  # fmt: skip
        (tmp_path / "a.mha").write_bytes("\n".join([*lines, *more, "ElementDataFile = LOCAL", ""]).encode() + b"\0")
        assert found(tmp_path / "a.mha") == expected
    (tmp_path / "a.mha").write_bytes((tmp_path / "a.mha").read_bytes() + b"Jane")
    assert "bytes after the voxels of MetaImage" in found(tmp_path / "a.mha")


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n12", b"\xff\xd8\xff\xe0\0\x10JFIF", b"II*\0\xff\0\0\0"])
def test_what_does_not_decode_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.png: expected a readable (PNG|JPEG|TIFF), found a (PNG|JPEG|TIFF) "):
        find_identifiers(tmp_path)
