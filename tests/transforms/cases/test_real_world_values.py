"""A mapping to real-world values is not applied, and a log line says so once.

SimpleITK and dcm2niix give the modality's values too.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from pydicom.dataset import Dataset

from fedmed_transforms import load_image
from fedmed_transforms.dicom.pixels import real_world_values
from tests.transforms.cases.mosaic_files import FIRST, PLANES, dataset, save

STORED = np.arange(1, 49, dtype=np.uint16).reshape(6, 8)


@pytest.fixture(autouse=True)
def forgotten() -> None:
    real_world_values._log.cache_clear()


def mapped(path: Path, slope: float, grouped: bool = False) -> Path:
    """An MR image with a mapping, in the header or in a functional group."""
    mapping, dicom = Dataset(), dataset(STORED, PLANES["axial"], FIRST, RescaleSlope=2, RescaleIntercept=-1)
    mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept, mapping.LUTLabel = slope, -1.0, "ADC"
    if grouped:
        group = Dataset()
        group.RealWorldValueMappingSequence = [mapping]
        dicom.SharedFunctionalGroupsSequence = [group]
    else:
        dicom.RealWorldValueMappingSequence = [mapping]
    return save(dicom, path)


@pytest.mark.parametrize("grouped", [False, True])
def test_the_values_are_the_modalitys_and_it_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, grouped: bool
) -> None:
    path = mapped(tmp_path / "f.dcm", 0.001, grouped)
    for _ in range(2):
        np.testing.assert_array_equal(np.asarray(load_image(path))[0, ..., 0].T, 2.0 * STORED - 1)
    (record,) = [record for record in caplog.records if record.name == real_world_values.__name__]
    assert record.levelno == logging.WARNING and "RealWorldValueMappingSequence" in record.getMessage()
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))[0], 2.0 * STORED - 1)


def test_a_mapping_that_is_the_rescale_is_not_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    load_image(mapped(tmp_path / "f.dcm", 2.0))
    assert not caplog.records


@pytest.mark.skipif("FEDMED_DATA" not in os.environ, reason="FEDMED_DATA names no folder")
def test_a_mapping_without_a_rescale(caplog: pytest.LogCaptureFixture) -> None:
    image = load_image(Path(os.environ["FEDMED_DATA"]) / "cases" / "rwvm_only")
    assert float(image.min()) == 1 and float(image.max()) == 471
    assert "not applied" in caplog.text
