"""Every place that takes a path takes the new formats: folders, sites, studies, results, caches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
import torch
from monai.data import MetaTensor
from PIL import Image

from fedmed_transforms import (
    LabelsToChannelsd,
    LoadMedicalImaged,
    MatchedLabeld,
    SaveSegmentationd,
    find_studies,
    load_image,
)
from fedmed_transforms.loading.find import find_images, list_images, stem_of
from fedmed_workflows import ImageDataset, SegmentationSite, SliceDataset
from fedmed_workflows.sites.class_folders import read_site
from fedmed_workflows.sites.datasets.fingerprint import image_digest
from fedmed_workflows.sites.segmentation_sites import read_pairs
from tests.transforms.cases.simple_itk import oblique

VOLUMES = ("scan.nrrd", "scan.nhdr", "scan.mha", "scan.mhd")
NUMBERS = np.arange(120).reshape(4, 5, 6) % 3


def write(path: Path, kind: str = "int16", values: Any = None) -> Path:
    """A volume in the grid of `oblique`, or a picture of its first slice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = oblique(kind)
    if values is not None:
        image = sitk.GetImageFromArray(np.asarray(values).astype(kind))
        image.CopyInformation(oblique(kind))
    if path.suffix in (".tif", ".tiff"):
        tifffile.imwrite(path, sitk.GetArrayFromImage(image)[0], metadata=None)
    else:
        sitk.WriteImage(image, str(path), path.suffix in (".nrrd", ".mha"))
    return path


@pytest.mark.parametrize("name", (*VOLUMES, "scan.tif"))
def test_folders_hold_one_image_whatever_files_it_has(tmp_path: Path, name: str) -> None:
    file = write(tmp_path / "a" / name, "uint8")
    assert list_images(tmp_path / "a") == [file] and stem_of(file) == "scan"
    assert find_images(str(tmp_path)) == [{"image": str(file), "path": str(file)}]
    assert read_site(tmp_path) == {"training": [(str(file), "a")]}
    (item,) = find_studies(str(tmp_path))
    assert (item["image"], item["name"]) == (str(file), "a/scan")


def test_a_raw_file_that_no_header_names_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "scan.mhd")
    (tmp_path / "other.raw").write_bytes(b"voxels")
    with pytest.raises(ValueError, match="other.raw: expected a .*NRRD, MetaImage"):
        list_images(tmp_path)


def test_a_segmentation_of_slicer_belongs_to_its_scan(tmp_path: Path) -> None:
    image = write(tmp_path / "images" / "scan.nrrd")
    label = write(tmp_path / "labels" / "scan.seg.nrrd", "uint8", NUMBERS)
    assert read_pairs(tmp_path) == {"training": [(str(image), str(label))]}


@pytest.mark.parametrize("image_name", (*VOLUMES, "scan.nii.gz"))
@pytest.mark.parametrize("label_name", (*VOLUMES, "scan.nii.gz"))
def test_a_label_of_one_format_lies_on_an_image_of_another(tmp_path: Path, image_name: str, label_name: str) -> None:
    image = write(tmp_path / "images" / image_name)
    label = write(tmp_path / "labels" / label_name, "uint8", NUMBERS)
    chain = [LoadMedicalImaged(["image", "label"]), LabelsToChannelsd("label", {"a": [1], "b": [2]})]
    data: Any = {"image": str(image), "label": str(label)}
    for step in (*chain, MatchedLabeld("label", image_key="image")):
        data = step(data)
    expected = np.stack([NUMBERS == 1, NUMBERS == 2]).transpose(0, 3, 2, 1)
    np.testing.assert_array_equal(np.asarray(data["label"]), expected)


def test_a_label_of_another_geometry_is_refused(tmp_path: Path) -> None:
    image, label = write(tmp_path / "image.mha"), write(tmp_path / "label.nrrd", "uint8", NUMBERS)
    moved = sitk.ReadImage(str(label))
    moved.SetOrigin((10, -20, 33))
    sitk.WriteImage(moved, str(label))
    data = LoadMedicalImaged(["image", "label"])({"image": str(image), "label": str(label)})
    with pytest.raises(ValueError, match="image.mha and .*label.nrrd: found corners 3 mm apart"):
        MatchedLabeld("label", image_key="image")(data)


def test_a_site_trains_on_them(tmp_path: Path) -> None:
    for number, name in enumerate(("mha", "nrrd", "mhd", "nhdr") * 3):
        write(tmp_path / "images" / f"{number}.{name}")
        write(tmp_path / "labels" / f"{number}.{name}", "uint8", NUMBERS)
    site = SegmentationSite(str(tmp_path))
    load = LoadMedicalImaged(["image", "label"])
    assert len(ImageDataset(site.validation, load)) == len(site.validation)
    cache = tmp_path / "cache"
    slices = SliceDataset(site.training, lambda entry: _first_slices(load(entry)), lambda sample: sample, cache)
    assert len(slices) == 4 * len(site.training)


def _first_slices(data: Any) -> dict[str, torch.Tensor]:
    return {key: data[key].as_tensor().permute(3, 0, 1, 2) for key in ("image", "label")}


@pytest.mark.parametrize("name", ("scan.mhd", "scan.nhdr", "scan.hdr"))
def test_the_digest_of_an_image_changes_with_its_voxels(tmp_path: Path, name: str) -> None:
    if name == "scan.hdr":
        nib.save(nib.Nifti1Pair(NUMBERS.astype(np.int16), np.eye(4)), tmp_path / name)
    else:
        write(tmp_path / name)
    before = image_digest(tmp_path / name)
    (voxels,) = (path for path in tmp_path.iterdir() if path.name != name)
    voxels.write_bytes(voxels.read_bytes()[:-1] + b"\x07")
    assert image_digest(tmp_path / name) != before


@pytest.mark.parametrize("name", VOLUMES)
def test_masks_are_written_as_nifti_on_the_image_s_grid(tmp_path: Path, name: str) -> None:
    image = load_image(write(tmp_path / "in" / name))
    mask = MetaTensor(image > 0, meta=image.meta)
    SaveSegmentationd("mask", str(tmp_path), ["tissue"])({"mask": mask})
    written = nib.load(tmp_path / "scan_seg.nii.gz")
    np.testing.assert_array_equal(np.asarray(written.dataobj), np.asarray(image > 0)[0])
    np.testing.assert_allclose(written.affine, np.asarray(image.affine), atol=1e-5)


def test_masks_of_tiff_and_of_deep_pictures_are_written_as_png(tmp_path: Path) -> None:
    deep = np.zeros((5, 6, 3), dtype=np.uint16)
    deep[1:3, 2:5] = 60000
    tifffile.imwrite(tmp_path / "f.tif", deep, photometric="rgb", metadata=None)
    image = load_image(tmp_path / "f.tif")
    SaveSegmentationd("mask", str(tmp_path), ["tissue"])({"mask": MetaTensor(image[:1] > 0, meta=image.meta)})
    with Image.open(tmp_path / "f_seg.png") as mask:
        np.testing.assert_array_equal(np.asarray(mask), 255 * (deep[..., 0] > 0))


@pytest.mark.parametrize("unit", ["micron", "meter"])
def test_masks_of_a_nifti_file_in_another_unit_are_on_its_grid_in_mm(tmp_path: Path, unit: str) -> None:
    source = nib.Nifti1Image(NUMBERS.astype(np.int16), np.diag([2, 3, 4, 1]))
    source.header.set_xyzt_units(unit)
    nib.save(source, tmp_path / "v.nii")
    image = load_image(tmp_path / "v.nii")
    SaveSegmentationd("mask", str(tmp_path), ["tissue"])({"mask": MetaTensor(image > 0, meta=image.meta)})
    written = nib.load(tmp_path / "v_seg.nii.gz")
    np.testing.assert_array_equal(np.asarray(written.dataobj), NUMBERS > 0)
    np.testing.assert_allclose(written.affine, np.asarray(image.affine))
    np.testing.assert_allclose(np.asarray(load_image(tmp_path / "v_seg.nii.gz").affine), np.asarray(image.affine))


def test_a_datalist_names_them(tmp_path: Path) -> None:
    write(tmp_path / "x.mha")
    write(tmp_path / "y.nrrd", "uint8", NUMBERS)
    listed = {"training": [{"image": "x.mha", "label": "y.nrrd"}]}
    (tmp_path / "datalist.json").write_text(json.dumps(listed))
    assert read_pairs(tmp_path)["training"] == [(str(tmp_path / "x.mha"), str(tmp_path / "y.nrrd"))]
