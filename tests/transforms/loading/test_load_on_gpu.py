"""Images of every kind loaded onto a GPU, pretended where there is none: the bits and the affine of the CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset
from PIL import Image
from pydicom.data import get_testdata_file

from fedmed_transforms import LoadMedicalImaged, Prefetched, load_image
from fedmed_transforms.results.segmentation_object import write_segmentation

SHIPPED = ("CT_small.dcm", "SC_rgb_rle.dcm", "examples_palette.dcm", "rtdose_rle.dcm", "693_J2KI.dcm")
"""Files of pydicom: greyscale, colours, a palette, several frames, compressed."""

POSITIONS: dict[str, list[list[float]]] = {
    "resample": [[0, 0, height] for height in (0, 2, 4, 8, 10)],
    "shear": [[0, 0.7 * height, height] for height in (0, 2, 4, 6, 8)],
    "drop": [[0, 0, height] for height in (0, 2, 2, 4, 6)],
}

RULES: dict[str, dict[str, str]] = {
    "resample": {"uneven": "resample"}, "shear": {"tilt": "shear"}, "drop": {"duplicates": "drop"},
}  # fmt: skip


def agree(path: Path, gpu: torch.device, **rules: Any) -> None:
    expected, found = load_image(path, **rules), load_image(path, device=gpu, **rules)
    assert found.device == gpu and expected.device.type == found.affine.device.type == "cpu"
    assert torch.equal(found.as_tensor().cpu(), expected.as_tensor()) and torch.equal(found.affine, expected.affine)
    assert expected.unique().numel() > 1


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_files(name: str, gpu: torch.device) -> None:
    agree(Path(str(get_testdata_file(name, download=False))), gpu)


@pytest.mark.parametrize("rule", RULES)
def test_series_that_a_rule_makes_regular(
    rule: str, save_dicom: Callable[..., Path], tmp_path: Path, gpu: torch.device
) -> None:
    for number, position in enumerate(POSITIONS[rule]):
        pixels = np.random.default_rng(int(position[2])).integers(0, 2**12, (9, 7), dtype=np.uint16)
        save_dicom(tmp_path / f"{number}.dcm", pixels, number=number, ImagePositionPatient=position)
    agree(tmp_path, gpu, **RULES[rule])


def test_a_picture_and_a_segmentation(tmp_path: Path, gpu: torch.device) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (9, 7, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    agree(tmp_path / "a.png", gpu)
    source = Path(str(get_testdata_file("CT_small.dcm", download=False)))
    mask = load_image(source, device=gpu) > 0
    write_segmentation(mask, source, tmp_path / "seg.dcm", ["tissue"])
    agree(tmp_path / "seg.dcm", gpu)
    assert torch.equal(load_image(tmp_path / "seg.dcm") > 0, mask.cpu())


def test_a_loader_that_reads_ahead(gpu: torch.device) -> None:
    names = ["CT_small.dcm", "MR_small.dcm"]
    data = [{"image": str(get_testdata_file(name, download=False))} for name in names]
    loader = DataLoader(Dataset(data, LoadMedicalImaged("image", device=gpu)), batch_size=1)
    batches = [batch["image"] for batch in Prefetched(loader)]
    assert [batch.device for batch in batches] == [gpu, gpu]
    assert all(
        torch.equal(batch[0].as_tensor().cpu(), load_image(item["image"]).as_tensor())
        for batch, item in zip(batches, data, strict=True)
    )
