"""CT windows: DICOM's linear function at values computed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from pydicom.dataset import Dataset
from pydicom.pixels import apply_windowing

from fedmed_transforms.image_metadata import FULL_SCALE
from fedmed_transforms.preprocessing.window import PRESETS, Window, Windowd


def image_of(values: list[float], file: str = "scan.dcm", **elements: Any) -> MetaTensor:
    dicom = {keyword: str(element) for keyword, element in elements.items()}
    return MetaTensor(torch.tensor([values]), meta={"filename_or_obj": file, "dicom": dicom})


@pytest.mark.parametrize(
    ("value", "expected"),
    [(-161, 0), (-160, 0), (-159, 1 / 399), (0, 160 / 399), (39.5, 0.5), (40, 200 / 399), (239, 1), (240, 1)],
)
def test_linear_function_of_dicom(value: float, expected: float) -> None:
    """Centre 40, width 400: 0 up to 39.5 - 199.5 = -160, 1 from 39.5 + 199.5 = 239."""
    assert float(Window([40, 400])(torch.tensor([[value]]))) == pytest.approx(expected, abs=1e-6)


def test_agrees_with_pydicom() -> None:
    header = Dataset()
    header.PhotometricInterpretation, header.BitsStored, header.PixelRepresentation = "MONOCHROME2", 16, 1
    header.WindowCenter, header.WindowWidth = -600, 1500
    values = np.arange(-2000, 2000, 7)
    expected = (apply_windowing(values, header) + 32768) / 65535
    np.testing.assert_allclose(Window("lung")(torch.as_tensor(values)).numpy(), expected, atol=1e-6)


def test_width_of_one_is_a_threshold() -> None:
    found = Window([10, 1])(torch.tensor([9.0, 9.5, 9.6, 10.0]))
    assert found.tolist() == [0, 0, 1, 1]


def test_brain_window_by_name() -> None:
    found = Window("brain")(image_of([-1000, 0, 39.5, 79, 3000], Modality="CT"))
    np.testing.assert_allclose(np.asarray(found), [[0, 0, 0.5, 1, 1]], atol=1e-6)
    assert all(Window(name).window == name and PRESETS[name][1] >= 1 for name in PRESETS)


def test_window_from_the_file_is_the_first_of_several() -> None:
    several = image_of([-600.5], WindowCenter=r"-600.0\40.0", WindowWidth=r"1500\400")
    one = image_of([-600.5], WindowCenter=-600, WindowWidth="1500")
    assert float(Window("from_file")(several)) == float(Window("from_file")(one)) == pytest.approx(0.5)


def test_exact_function_of_the_file() -> None:
    exact = image_of([0.0, 0.25, 1.0], WindowCenter=0.5, WindowWidth=1.0, VOILUTFunction="LINEAR_EXACT")
    np.testing.assert_allclose(np.asarray(Window("from_file")(exact)), [[0, 0.25, 1]])


def test_inverted_image_is_windowed_as_it_looks() -> None:
    """The reader turned the sign of a MONOCHROME1 image: what is stored as 10 to 19 is -10 to -19, brightest first."""
    image = image_of([-9.0, -10, -14.5, -19], WindowCenter=15, WindowWidth=10, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_allclose(np.asarray(Window("from_file")(image)), [[1, 1, 0.5, 0]], atol=1e-6)


def test_metadata_and_other_keys_stay() -> None:
    image = image_of([1.0], Modality="CT")
    found = Windowd("image", "liver")({"image": image, "label": 2})
    assert found["label"] == 2 and found["image"].meta["filename_or_obj"] == "scan.dcm"
    assert Windowd(("image", "absent"), "liver", allow_missing_keys=True)({"image": image}).keys() == {"image"}


@pytest.mark.parametrize(
    ("dicom", "message"),
    [
        ({}, "found no WindowCenter"),
        ({"WindowCenter": 40.0}, "found no WindowWidth"),
        ({"WindowCenter": 40.0, "WindowWidth": ""}, "found no WindowWidth"),
        ({"WindowCenter": "wide", "WindowWidth": 3.0}, "WindowCenter: found 'wide', expected a number"),
        ({"WindowCenter": 40.0, "WindowWidth": 0.5}, "WindowWidth: found 0.5, expected at least 1"),
        ({"WindowCenter": 40.0, "WindowWidth": 9.0, "VOILUTFunction": "SIGMOID"}, "VOILUTFunction: found SIGMOID"),
    ],
)
def test_window_that_the_file_does_not_have(dicom: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"scan\.dcm: {message}"):
        Window("from_file")(image_of([1.0], **dicom))


def test_hounsfield_window_of_what_is_no_ct_is_refused() -> None:
    with pytest.raises(ValueError, match=r"scan\.dcm: found an image of modality MR, expected CT"):
        Window("lung")(image_of([1.0], Modality="MR"))
    with pytest.raises(ValueError, match=r"f\.png: found a picture, expected CT"):
        Window("lung")(MetaTensor(torch.zeros(1, 2), meta={"filename_or_obj": "f.png", FULL_SCALE: 255.0}))


@pytest.mark.parametrize("window", ["chest", [40], [40, 0], [40, float("nan")], [1, 2, 3]])
def test_unknown_windows_are_refused(window: Any) -> None:
    with pytest.raises(ValueError, match="window: found"):
        Window(window)
