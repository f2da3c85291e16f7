"""In which format MONAI Label is to write labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from fedmed_transforms import ResultFormatd


def result(path: Path | str | None) -> MetaTensor:
    return MetaTensor(torch.zeros(4, 4), meta={} if path is None else {"filename_or_obj": str(path)})


@pytest.mark.parametrize("name, ending", [("a.jpg", ".png"), ("a.PNG", ".png"), ("a.dcm", ".nii.gz")])
def test_labels_are_written_without_loss(tmp_path: Path, name: str, ending: str) -> None:
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / name, format="PNG")
    assert ResultFormatd("pred")({"pred": result(tmp_path / name)})["result_extension"] == ending


def test_a_folder_with_a_series_gives_nifti(tmp_path: Path) -> None:
    assert ResultFormatd("pred")({"pred": result(tmp_path)})["result_extension"] == ".nii.gz"


def test_a_request_that_names_a_format_gets_it(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"pred": result(tmp_path), "result_extension": ".nrrd"}
    assert ResultFormatd("pred")(asked)["result_extension"] == ".nrrd"


def test_a_result_of_no_file_is_left_alone() -> None:
    data = {"pred": result(None)}
    assert ResultFormatd("pred")(data) == data
    plain = {"pred": torch.zeros(4, 4)}
    assert ResultFormatd("pred")(plain) == plain
