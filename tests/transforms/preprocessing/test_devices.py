"""On an accelerator: the same results as on the CPU, and never a way through it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from monai.data import MetaTensor

from fedmed_transforms import ClipPreprocess, ScaleToUnit, ToPictures
from fedmed_transforms.labels.labels import LabelsToChannels
from fedmed_transforms.preprocessing.sam import SamPreprocess
from fedmed_transforms.preprocessing.sam_masks import SamLabels, SamPostprocess
from fedmed_transforms.preprocessing.slices import SlicesToVolume, VolumeToSlices
from fedmed_transforms.preprocessing.uptake import ToUptake
from fedmed_transforms.preprocessing.window import Window

PET = {
    "Modality": "PT", "Units": "BQML", "CorrectedImage": "ATTN\\DECY", "DecayCorrection": "ADMIN",
    "PatientWeight": 70.0, "RadionuclideTotalDose": 350e6,
}  # fmt: skip

TRANSFORMS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "quantiles": ScaleToUnit(0.013, 0.98),
    "window": Window([300, 401]),
    "uptake": ToUptake(),
    "labels": LabelsToChannels([range(0, 999, 2), "nonzero"], ignored=range(1, 999, 2)),
    "pictures": ToPictures(),
    "slices": VolumeToSlices(neighbours=True),
    "volume": lambda image: SlicesToVolume()(
        VolumeToSlices()(image, kept=[1, 4]), VolumeToSlices()(image, kept=[1, 4])
    ),
    "sam": lambda image: SamPreprocess(32)(ToPictures()(image / 999)),
    "sam labels": lambda image: SamLabels(32)(ToPictures()(image)),
    "sam logits": lambda image: SamPostprocess(32)(image[:, :5].permute(3, 0, 1, 2)[..., :5, :5], (31, 20)),
    "clip": lambda image: ClipPreprocess(16)(ToPictures()(image / 999)),
}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no accelerator")
@pytest.mark.parametrize("name", TRANSFORMS)
def test_accelerator_agrees_with_the_processor(name: str) -> None:
    values = torch.randint(0, 999, (1, 20, 17, 6), generator=torch.Generator().manual_seed(0)).float()
    meta: dict[str, Any] = {"dicom": PET, "affine": torch.diag(torch.tensor([1.0, 1.0, 4.0, 1.0]))}
    expected = TRANSFORMS[name](MetaTensor(values, meta=dict(meta)))
    found = TRANSFORMS[name](MetaTensor(values.cuda(), meta=dict(meta)))
    assert found.device.type == "cuda" and expected.device.type == "cpu"
    torch.testing.assert_close(torch.as_tensor(found).cpu(), torch.as_tensor(expected), atol=1e-5, rtol=1e-5)
