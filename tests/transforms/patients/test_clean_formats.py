"""A cleaned copy of pictures and volumes: the pixels and the affine bit for bit, and no text."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageSequence
from PIL.ExifTags import IFD
from PIL.PngImagePlugin import PngInfo

from fedmed_transforms import clean_folder, load_image
from fedmed_transforms.patients.identifiers import find_identifiers

RANDOM = np.random.default_rng(0)
GREY = Image.fromarray(RANDOM.integers(0, 255, (9, 7), dtype=np.uint8))
COLOUR = Image.fromarray(RANDOM.integers(0, 255, (9, 7, 3), dtype=np.uint8))
DEEP = Image.fromarray(RANDOM.integers(0, 65535, (9, 7), dtype=np.uint16))
CLEAR = Image.fromarray(RANDOM.integers(0, 255, (9, 7, 4), dtype=np.uint8))
SECRETS = (b"Jane", b"Doe", "Jane".encode("utf-16-le"), "Jane".encode("utf-16-be"))


def cleaned(source: Path) -> Path:
    """Cleans a folder of one file, and returns the file of the copy."""
    before = {path: path.read_bytes() for path in source.iterdir()}
    target = source.with_name("cleaned")
    assert clean_folder(source, target) == [] and find_identifiers(target) == []
    assert {path: path.read_bytes() for path in source.iterdir()} == before
    assert not any(secret in path.read_bytes() for path in target.iterdir() for secret in SECRETS)
    return target / sorted(before)[0].name


def exif() -> Image.Exif:
    block = Image.Exif()
    block[0x0112], block[0x010E], block[0x013B] = 6, "Jane", "Doe"
    block.get_ifd(IFD.Exif)[0x9286] = b"ASCII\0\0\0Jane"
    block.get_ifd(IFD.GPSInfo)[1] = "N"
    return block


def profile() -> bytes:
    plain = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return plain.replace("sRGB".encode("utf-16-be"), "Jane".encode("utf-16-be"))


def info() -> PngInfo:
    texts = PngInfo()
    texts.add_text("Author", "Jane")
    texts.add_text("Comment", "Jane Doe", zip=True)
    return texts


PICTURES = [
    ("a.png", GREY, {"pnginfo": info(), "exif": exif()}),
    ("a.png", COLOUR, {"pnginfo": info(), "icc_profile": profile()}),
    ("a.png", DEEP, {"pnginfo": info()}), ("a.png", COLOUR.quantize(4), {"pnginfo": info(), "transparency": 1}),
    ("a.png", GREY.convert("1"), {"pnginfo": info()}), ("a.png", CLEAR, {"pnginfo": info()}),
    ("a.jpg", COLOUR, {"exif": exif(), "comment": b"Jane", "icc_profile": profile(), "dpi": (300, 300)}),
    ("a.jpg", GREY, {"comment": b"Jane", "progressive": True}), ("a.jpg", CLEAR.convert("CMYK"), {"comment": b"Jane"}),
    ("a.tif", GREY, {"tiffinfo": {270: "Jane", 34665: {0x9286: b"Jane"}, 65000: "Doe"}, "icc_profile": profile()}),
    ("a.tif", DEEP, {"tiffinfo": {315: "Jane", 274: 6}}),
    ("a.tif", COLOUR, {"tiffinfo": {270: "Jane"}, "compression": "tiff_lzw"}),
    ("a.tif", COLOUR, {"tiffinfo": {270: "Jane"}, "compression": "tiff_adobe_deflate", "big_tiff": True}),
    ("a.tif", COLOUR, {"tiffinfo": {270: "Jane"}, "save_all": True, "append_images": [COLOUR.rotate(180)]}),
    ("a.bmp", COLOUR, {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "picture", "options"), PICTURES)
def test_pictures(tmp_path: Path, name: str, picture: Image.Image, options: dict[str, Any]) -> None:
    source = tmp_path / "source"
    source.mkdir()
    picture.save(source / name, **options)
    (source / name).write_bytes((source / name).read_bytes() + b"Jane")
    copy = cleaned(source)
    with Image.open(source / name) as ours, Image.open(copy) as theirs:
        assert ours.mode == theirs.mode and ours.info.get("transparency") == theirs.info.get("transparency")
        assert ours.getexif().get(0x0112, 1) == theirs.getexif().get(0x0112, 1)
        pages = [[np.asarray(page.copy()) for page in ImageSequence.Iterator(image)] for image in (ours, theirs)]
    assert len(pages[0]) == len(pages[1]) and all(np.array_equal(*pair) for pair in zip(*pages, strict=True))
    if not name.endswith(".tif") and picture is not CLEAR and "transparency" not in options:
        assert np.array_equal(load_image(source / name).numpy(), load_image(copy).numpy())


def test_an_orientation_of_xmp_stays(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6" tiff:Artist="Jane"/>'
        "</rdf:RDF></x:xmpmeta>"
    )
    COLOUR.save(tmp_path / "source" / "a.jpg", xmp=packet.encode())
    ours = load_image(tmp_path / "source" / "a.jpg")
    assert ours.shape == (3, 9, 7) and np.array_equal(ours.numpy(), load_image(cleaned(tmp_path / "source")).numpy())


VOXELS = RANDOM.integers(-99, 99, (4, 3, 2)).astype(">i2")
AFFINE = np.array([[2.0, 0.1, 0, -9], [-0.1, 3, 0, 7], [0, 0, 4, 1], [0, 0, 0, 1]])


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image, nib.Nifti1Pair])
@pytest.mark.parametrize("packed", [False, True])
def test_nifti(tmp_path: Path, kind: Any, packed: bool) -> None:
    (tmp_path / "source").mkdir()
    image = kind(VOXELS, AFFINE)
    image.header["descrip"], image.header["intent_name"], image.header["aux_file"] = "Jane", "Doe", "Jane"
    image.header.set_slope_inter(0.5, 3)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Jane Doe" * 9))
    suffix = (".hdr" if kind is nib.Nifti1Pair else ".nii") + (".gz" if packed else "")
    path = tmp_path / "source" / f"a{suffix}"
    nib.save(image, path)
    if suffix == ".hdr":
        image_file = path.with_suffix(".img")
        image_file.write_bytes(image_file.read_bytes() + b"Jane")
    if suffix == ".nii":
        path.write_bytes(path.read_bytes() + b"Jane")
    if suffix == ".nii.gz":
        path.write_bytes(named_gzip(gzip.decompress(path.read_bytes())))
    copy = cleaned(tmp_path / "source")
    ours, theirs = load_image(path), load_image(copy)
    assert np.array_equal(ours.numpy(), theirs.numpy()) and np.array_equal(ours.affine, theirs.affine)
    first, second = (dict(nib.load(it).header) for it in (path, copy))
    texts = {"descrip", "intent_name", "aux_file", "vox_offset"}
    numbers = [it for it in set(first) - texts if first[it].dtype.kind in "if"]
    assert len(numbers) > 20 and all(np.array_equal(first[it], second[it], equal_nan=True) for it in numbers)


def named_gzip(content: bytes) -> bytes:
    stream = io.BytesIO()
    with gzip.GzipFile("Jane_Doe.nii", "wb", fileobj=stream) as file:
        file.write(content)
    return stream.getvalue()


def test_nrrd_and_meta_image(tmp_path: Path) -> None:
    source, data = tmp_path / "source", bytes(range(6))
    source.mkdir()
    head = "type: uint8\ndimension: 2\nsizes: 3 2\nencoding: raw\n"
    (source / "a.nrrd").write_bytes(f"NRRD0004\n# Jane\n{head}Jane:=Doe\ncontent: Jane\n\n".encode() + data + b"Jane")
    (source / "b.nhdr").write_bytes(f"NRRD0004\n{head}data file: b.raw\n# Jane\n".encode())
    (source / "b.raw").write_bytes(data)
    head = "ObjectType = Image\nNDims = 2\nComment = Jane\nJane = Doe\nDimSize = 3 2\nElementType = MET_UCHAR\n"
    (source / "c.mha").write_bytes(f"{head}ElementDataFile = LOCAL\n".encode() + data + b"Jane")
    (source / "d.mhd").write_bytes(f"{head}ElementDataFile = d.raw\n".encode())
    (source / "d.raw").write_bytes(data)
    folder = cleaned(source).parent
    expected = b"NRRD0004\ntype: uint8\ndimension: 2\nsizes: 3 2\nencoding: raw\n"
    assert (folder / "a.nrrd").read_bytes() == expected + b"\n" + data
    assert b"data file: b.raw\n" in (folder / "b.nhdr").read_bytes() and (folder / "b.raw").read_bytes() == data
    expected = b"ObjectType = Image\nNDims = 2\nDimSize = 3 2\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    assert (folder / "c.mha").read_bytes() == expected + data and (folder / "d.raw").read_bytes() == data


def test_volumes_of_simple_itk(tmp_path: Path) -> None:
    itk = pytest.importorskip("SimpleITK")
    (tmp_path / "source").mkdir()
    image = itk.GetImageFromArray(VOXELS.astype(np.int16))
    image.SetSpacing((1, 2, 3.5))
    image.SetOrigin((-9, 8, 7))
    image.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    names = ("a.nrrd", "b.mha", "c.mhd", "d.nhdr", "e.nii.gz")
    for text in ("", "Doe^Jane"):
        if text:
            image.SetMetaData("0010|0010", text)
        for name in names:
            itk.WriteImage(image, str(tmp_path / "source" / name), name in ("a.nrrd", "b.mha"))
        assert bool(find_identifiers(tmp_path / "source")) is bool(text)
    folder = cleaned(tmp_path / "source").parent
    for name in names:
        ours, theirs = (itk.ReadImage(str(path / name)) for path in (tmp_path / "source", folder))
        assert np.array_equal(itk.GetArrayFromImage(ours), itk.GetArrayFromImage(theirs))
        places = [(it.GetSpacing(), it.GetOrigin(), it.GetDirection()) for it in (ours, theirs)]
        assert places[0] == places[1]
