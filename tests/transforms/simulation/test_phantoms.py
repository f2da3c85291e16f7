"""The demo's phantoms: valid DICOM files, the same for the same seed, written whole or not at all."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
import pytest

from fedmed_transforms.loading.find import list_images
from fedmed_transforms.loading.load_dictionary import LoadMedicalImaged
from fedmed_transforms.patients.identifiers import find_identifiers
from fedmed_transforms.patients.split import patient_of
from fedmed_transforms.simulation import phantoms
from fedmed_transforms.simulation.phantoms import SCANNERS, SHAPES, write_sites


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sites(tmp_path_factory.mktemp("phantoms") / "data", images_per_class=4, size=32)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def headers(folder: Path, pattern: str = "*/*/*.dcm") -> list[pydicom.Dataset]:
    return [pydicom.dcmread(path) for path in sorted(folder.glob(pattern))]


def test_sites_hold_classes_that_hold_images(folder: Path) -> None:
    sites = sorted(path.name for path in folder.iterdir() if path.is_dir())
    assert sites == sorted(SCANNERS) and "unseen" in sites and len(sites) == 4
    for site, scanner in SCANNERS.items():
        found = {path.name: len(list_images(path)) for path in (folder / site).iterdir()}
        assert found == {shape: round(4 * share) for shape, share in zip(SHAPES, scanner.mix, strict=True)}


def test_only_folders_of_sites_lie_in_the_open(folder: Path) -> None:
    assert all(path.is_dir() for path in folder.iterdir() if not path.name.startswith("."))


def test_same_seed_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    assert contents(write_sites(tmp_path / "again", images_per_class=4, size=32)) == contents(folder)


def test_another_seed_gives_other_images_and_uids(folder: Path, tmp_path: Path) -> None:
    one, other = headers(folder), headers(write_sites(tmp_path / "other", images_per_class=4, seed=1, size=32))
    assert len(one) == len(other)
    assert not {item.SOPInstanceUID for item in one} & {item.SOPInstanceUID for item in other}
    assert not any(np.array_equal(a.pixel_array, b.pixel_array) for a, b in zip(one, other, strict=True))


def test_files_are_mr_images_of_twelve_bits(folder: Path) -> None:
    for header in headers(folder):
        assert (header.SOPClassUID.name, header.Modality) == ("MR Image Storage", "MR")
        assert (header.PhotometricInterpretation, header.BitsAllocated, header.BitsStored) == ("MONOCHROME2", 16, 12)
        assert header.file_meta.MediaStorageSOPInstanceUID == header.SOPInstanceUID
        pixels = header.pixel_array
        assert pixels.shape == (header.Rows, header.Columns) and 1000 < pixels.max() < 4096
        assert all(uid.is_valid for uid in (header.SOPInstanceUID, header.SeriesInstanceUID, header.StudyInstanceUID))
    assert len({header.SOPInstanceUID for header in headers(folder)}) == len(headers(folder))


def test_names_are_pseudonyms_and_files_say_so(folder: Path) -> None:
    assert {header.PatientIdentityRemoved for header in headers(folder)} == {"YES"}
    assert all(header.DeidentificationMethod for header in headers(folder))
    assert find_identifiers(folder) == []


def test_a_patient_has_two_images_of_one_class_at_one_site(folder: Path) -> None:
    folders: dict[str, list[Path]] = {}
    for path in folder.glob("*/*/*.dcm"):
        folders.setdefault(patient_of(path), []).append(path.parent)
    assert max(len(paths) for paths in folders.values()) == 2
    assert all(len(set(paths)) == 1 for paths in folders.values())
    one = [header for header in headers(folder) if header.PatientID == "harbour-0001"]
    assert len({header.SeriesInstanceUID for header in one}) == 1
    assert sorted(float(header.ImagePositionPatient[2]) for header in one) == [0.0, 5.0]


def test_sites_differ_as_scanners_do(folder: Path) -> None:
    of_site = {site: headers(folder, f"{site}/*/*.dcm") for site in SCANNERS}
    assert len({items[0].ManufacturerModelName for items in of_site.values()}) == 4
    assert len({items[0].Rows for items in of_site.values()}) == 4
    for site, items in of_site.items():
        fields = [item.Rows * float(item.PixelSpacing[0]) for item in items]
        np.testing.assert_allclose(fields, SCANNERS[site].field, rtol=1e-6)
    noise = {site: np.mean([corner_noise(item) for item in items]) for site, items in of_site.items()}
    assert sorted(noise, key=lambda site: noise[site]) == sorted(SCANNERS, key=lambda site: SCANNERS[site].noise)


def corner_noise(header: pydicom.Dataset) -> float:
    """Mean of the four corners, which no phantom reaches."""
    return float(np.mean(header.pixel_array[[0, 0, -1, -1], [0, -1, 0, -1]]))


def test_loads_in_millimetres(folder: Path) -> None:
    image = LoadMedicalImaged("image")({"image": str(next((folder / "harbour").glob("*/*.dcm")))})["image"]
    assert image.shape == (1, 32, 32, 1)
    np.testing.assert_allclose(np.asarray(image.pixdim)[:2], 220 / 32, rtol=1e-6)


def test_shapes_are_told_apart_by_a_template(folder: Path) -> None:
    """A site's rings and crosses are each most like the mean image of their own class at another site."""
    templates = {shape: stack(folder, "harbour", shape).mean(axis=0) for shape in ("ring", "cross")}
    for shape in templates:
        images = stack(folder, "hillside", shape)
        likeness = {name: np.mean(images * template) for name, template in templates.items()}
        assert max(likeness, key=lambda name: likeness[name]) == shape


def stack(folder: Path, site: str, shape: str) -> npt.NDArray[np.float64]:
    """Images of a class at 16 by 16 pixels, each with mean 0 and standard deviation 1."""
    images = []
    for path in sorted((folder / site / shape).glob("*.dcm")):
        pixels = pydicom.dcmread(path).pixel_array.astype(float)
        side = len(pixels) // 16 * 16
        small = pixels[:side, :side].reshape(16, side // 16, 16, side // 16).mean(axis=(1, 3))
        images.append((small - small.mean()) / small.std())
    return np.stack(images)


def test_a_folder_with_the_same_data_is_left_alone(tmp_path: Path) -> None:
    folder = write_sites(tmp_path / "data", images_per_class=1, size=16)
    changed = next(folder.glob("*/*/*.dcm"))
    changed.write_bytes(b"changed")
    assert write_sites(folder, images_per_class=1, size=16) == folder
    assert changed.read_bytes() == b"changed"


def test_a_folder_with_other_phantoms_is_refused(tmp_path: Path) -> None:
    folder = write_sites(tmp_path / "data", images_per_class=1, size=16)
    before = contents(folder)
    with pytest.raises(ValueError, match=r"data: expected .*\"seed\": 7.*found phantoms of .*\"seed\": 0"):
        write_sites(folder, images_per_class=1, seed=7, size=16)
    assert contents(folder) == before


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="something else") as error:
        write_sites(tmp_path, images_per_class=1, size=16)
    assert str(tmp_path) in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert len(list(write_sites(tmp_path / "data", images_per_class=1, size=16).glob("*/*/*.dcm"))) == 16


def test_interrupted_writing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def interrupted(*arguments: object) -> None:
        calls.append(arguments)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return written(*arguments)

    written = phantoms.write_series
    monkeypatch.setattr(phantoms, "write_series", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_sites(tmp_path / "data", images_per_class=4, size=16)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [{"images_per_class": 0}, {"seed": -1}, {"size": 8}])
def test_parameters_out_of_range_are_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    name, value = next(iter(wrong.items()))
    with pytest.raises(ValueError, match=f'"{name}": {value}'):
        write_sites(tmp_path / "data", **wrong)
    assert list(tmp_path.iterdir()) == []


def test_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["phantoms", str(tmp_path / "data"), "--images-per-class", "1", "--size", "16"]
    monkeypatch.setattr(sys, "argv", command)
    phantoms.main()
    assert "16 images of 4 sites" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [*command, "--seed", "3"])
    with pytest.raises(SystemExit) as stop:
        phantoms.main()
    assert stop.value.code == 2 and str(tmp_path / "data") in capsys.readouterr().err
