"""Cases of the advice that messages of loading give: a folder that is refused, and the rule that loads it rightly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from monai.data import MetaTensor
from pydicom.uid import generate_uid

from fedmed_transforms import find_studies, load_image
from tests.transforms.cases.mosaic_files import (
    COLUMNS,
    FIRST,
    PLANES,
    ROWS,
    SPACING,
    STEP,
    check_places,
    content,
    dataset,
    save,
    values_at,
)

LEVELS = (0, 1, 2, 3, 4)
"""Slices at multiples of ``STEP``."""


def write(folder: Path, levels: Sequence[float] = LEVELS, plane: str = "axial", **elements: Any) -> Path:
    """Writes slices of ``content`` along their normal; an element that is None is left out."""
    folder.mkdir(exist_ok=True)
    along = np.reshape(np.asarray(PLANES[plane], dtype=float), (2, 3))
    row, column = np.meshgrid(np.arange(ROWS), np.arange(COLUMNS), indexing="ij")
    for number, level in enumerate(levels, start=1):
        position = FIRST + level * STEP * elements.get("table", np.cross(*along))
        points = position + row[..., None] * SPACING[0] * along[1] + column[..., None] * SPACING[1] * along[0]
        name = f"{elements.get('name', '')}{number}"
        dicom = dataset(content(points).astype(np.uint16), PLANES[plane], position, InstanceNumber=number)
        dicom.SOPInstanceUID = generate_uid(entropy_srcs=[str(folder), name])
        for keyword, value in elements.items():
            if value is None:
                delattr(dicom, keyword)
            elif keyword not in ("name", "table"):
                setattr(dicom, keyword, value)
        save(dicom, folder / f"{name}.dcm")
    return folder


def doubled(folder: Path, **changes: Any) -> Path:
    """The series twice; with changes, the second time with other pixels."""
    write(folder, EchoNumbers=1)
    write(folder, name="second", **(changes or {"EchoNumbers": 1}))
    if changes:
        for path in folder.glob("second*"):
            path.write_bytes(path.read_bytes()[:-40] + bytes(40))
    return folder


def numbered(folder: Path) -> Path:
    """The series twice, the second time with other numbers."""
    for path in doubled(folder).glob("second*"):
        dicom = pydicom.dcmread(path)
        dicom.InstanceNumber += 10
        dicom.save_as(path)
    return folder


def copied(folder: Path) -> Path:
    """The series and a slice of it once more, with the same UID and another header."""
    dicom = pydicom.dcmread(write(folder) / "2.dcm")
    dicom.StationName = "other"
    dicom.save_as(folder / "copy.dcm")
    return folder


def short(folder: Path) -> Path:
    """Two echoes; one slice of the second is missing."""
    (doubled(folder, EchoNumbers=2) / "second2.dcm").unlink()
    return folder


def with_others(folder: Path, **elements: Any) -> Path:
    """The series and two images of another kind."""
    write(folder)
    return write(folder, (0, 1), name="other", **elements)


def check_sheared(image: MetaTensor) -> None:
    """Voxels hold the values of their places, but where nothing was measured and at the edges to it."""
    right = np.isclose(np.asarray(image)[0], values_at(image), atol=9)
    assert right.mean() > 0.6 and (right | (np.asarray(image)[0] < values_at(image))).all()


def check_shape(image: MetaTensor) -> None:
    """Positions that the files do not state begin at the origin; the steps and the order of the slices are right."""
    expected = np.diag([-1, -1, 1]) @ np.diag([SPACING[1], SPACING[0], STEP])
    np.testing.assert_allclose(image.affine, np.vstack([np.c_[expected, np.zeros(3)], [0, 0, 0, 1]]), atol=1e-6)
    shifted = MetaTensor(image.as_tensor(), affine=image.affine.clone())
    shifted.affine[:3, 3] += image.affine.new_tensor(FIRST * [-1, -1, 1])
    check_places(shifted)


def load_study(path: Path, **rules: Any) -> MetaTensor:
    """Loads the only study of a folder, by the way of the clinic."""
    (item,) = find_studies(str(path), rules)
    if "error" in item:
        raise ValueError(item["error"])
    return load_image(item["image"], **rules)


@dataclass
class Case:
    """Files whose loading ends with an advice, and the advice followed; ``also`` holds the rules that lead to it."""

    make: Callable[[Path], Path]
    said: str
    rules: dict[str, Any]
    check: Callable[[MetaTensor], None] = check_places
    load: Callable[..., MetaTensor] = load_image
    also: dict[str, Any] = field(default_factory=dict)


MILLIMETRES = {"assume_spacing": (SPACING[1], SPACING[0], STEP)}
TWO_SERIES = {"SeriesInstanceUID": "1.2.3.5", "PatientPosition": "HFS"}
CASES = {
    "several series": Case(
        lambda folder: with_others(folder, **TWO_SERIES),
        "expected one; choose with the rule `series`",
        {"series": "1.2.3.4"},
    ),
    "several series of a study": Case(
        lambda folder: with_others(folder, **TWO_SERIES),
        "{}, found {}; the rule `series` chooses; the study's {} series: {}",
        {"series": "1.2.3.4"},
        load=load_study,
    ),
    "localisers": Case(
        lambda folder: with_others(folder, plane="sagittal", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        "; the rule localisers='drop' drops them",
        {"localisers": "drop"},
    ),
    "orientations": Case(
        lambda folder: with_others(folder, plane="coronal"),
        "the rule orientations='largest' takes the largest group",
        {"orientations": "largest"},
    ),
    "the same twice": Case(
        doubled, "the rule duplicates='drop' drops those with the same pixels", {"duplicates": "drop"}
    ),
    "two kernels": Case(
        lambda folder: doubled(folder, EchoNumbers=1, ContrastBolusAgent="none"),
        "drops those with the same pixels, `series` chooses",
        {"series": {"ContrastBolusAgent": "()"}},
    ),
    "two kernels, to be dropped": Case(
        lambda folder: doubled(folder, EchoNumbers=1, ContrastBolusAgent="none"),
        "of them with different pixels; the rule `series` can choose by elements",
        {"series": {"ContrastBolusAgent": "()"}},
        also={"duplicates": "drop"},
    ),
    "two echoes": Case(
        lambda folder: doubled(folder, EchoNumbers=2),
        "the rule volume='first' takes the first, volume={} the last of them",
        {"volume": "first"},
    ),
    "two echoes as channels": Case(
        lambda folder: doubled(folder, EchoNumbers=2),
        ", volume='channels' makes each a channel",
        {"volume": "channels"},
    ),
    "a copy with another header": Case(
        lambda folder: copied(folder),
        "as their contents differ, found {}; the rule duplicates='drop' drops it if its pixels are the same",
        {"duplicates": "drop"},
    ),
    "two numbers": Case(
        lambda folder: numbered(folder),
        "; the rule duplicates='drop' drops slices with the same pixels",
        {"duplicates": "drop"},
    ),
    "two echoes, one of them short": Case(
        lambda folder: short(folder),
        "; the rule `series` can choose by {}",
        {"series": {"EchoNumbers": "1"}},
    ),
    "tilted": Case(
        lambda folder: write(folder, plane="tilted", table=np.array([0, 0, 1.0])),
        "the rule tilt='shear' shears them back",
        {"tilt": "shear"},
        check_sheared,
    ),
    "a slice is missing": Case(
        lambda folder: write(folder, (0, 1, 2, 4, 5)),
        "the rule uneven='resample' resamples them to a regular grid",
        {"uneven": "resample"},
    ),
    "no spacing": Case(
        lambda folder: write(folder, PixelSpacing=None),
        "; the rule assume_spacing=(x, y, z) assumes it in mm",
        MILLIMETRES,
    ),
    "no position": Case(
        lambda folder: write(folder, ImagePositionPatient=None),
        "; the rule assume_spacing=(x, y, z) assumes it in mm",
        MILLIMETRES,
        check_shape,
    ),
    "no orientation": Case(
        lambda folder: write(folder, ImageOrientationPatient=None),
        "; the rule assume_spacing=(x, y, z) assumes it in mm",
        MILLIMETRES,
    ),
    "the first frame alone": Case(
        lambda folder: cone_beam(folder), "; the rule assume_spacing=(x, y, z) assumes it in mm", MILLIMETRES
    ),
}


def cone_beam(folder: Path, **elements: Any) -> Path:
    """The series as frames of one file that states the position of the first."""
    files = sorted(write(folder).iterdir())
    first, *others = (path.read_bytes()[-2 * ROWS * COLUMNS :] for path in files)
    dicom = dataset(np.frombuffer(first, np.uint16).reshape(ROWS, COLUMNS), PLANES["axial"], FIRST, Modality="CT")
    dicom.NumberOfFrames, dicom.PixelData = len(files), b"".join([first, *others])
    for keyword, value in elements.items():
        setattr(dicom, keyword, value)
    for path in files:
        path.unlink()
    return save(dicom, folder / "frames.dcm")
