"""On an accelerator: the same results as on the CPU, and never a way through it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from pydicom.uid import SegmentationStorage

from fedmed_transforms import (
    AcquisitionShift,
    ChannelsToLabels,
    ClipPreprocess,
    LabelStyle,
    MatchedLabeld,
    ScaleToUnit,
    SegmentationToLabelsd,
    SiteShiftd,
    ToPictures,
)
from fedmed_transforms.labels.labels import LabelsToChannels
from fedmed_transforms.preprocessing.sam import SamPreprocess
from fedmed_transforms.preprocessing.sam_masks import SamLabels, SamPostprocess
from fedmed_transforms.preprocessing.slices import SlicesToVolume, VolumeToSlices
from fedmed_transforms.preprocessing.uptake import ToUptake
from fedmed_transforms.preprocessing.window import Window

PET = {
    "Modality": "PT", "Units": "BQML", "CorrectedImage": "ATTN\\DECY", "DecayCorrection": "ADMIN",
    "PatientWeight": "70", "RadionuclideTotalDose": "350e6",
}  # fmt: skip

META: dict[str, Any] = {"dicom": PET, "affine": torch.diag(torch.tensor([1.0, 1.0, 4.0, 1.0]))}


def volume() -> torch.Tensor:
    """Returns whole numbers as an image, (1, X, Y, Z) float32."""
    return torch.randint(0, 999, (1, 20, 17, 6), generator=torch.Generator().manual_seed(0)).float()


def as_segmentation(image: torch.Tensor) -> torch.Tensor:
    """Makes a DICOM segmentation of two segments from an image, on its grid."""
    meta = {"dicom": {"SOPClassUID": SegmentationStorage}, "affine": META["affine"]}
    return MetaTensor(torch.cat([image > 500, image < 100]).float().as_subclass(torch.Tensor), meta=meta)


def labels_of(image: torch.Tensor) -> torch.Tensor:
    """Converts a DICOM segmentation to a label map on an image's grid."""
    data = {"image": image, "label": as_segmentation(image)}
    return SegmentationToLabelsd("label", image_key="image")(data)["label"]


def shifted(image: torch.Tensor) -> torch.Tensor:
    """Applies a site's shift to an image."""
    shift = {"contrast": 0.8, "bias_field": 0.3, "resolution": 0.5, "noise": 0.02, "seed": 3}
    return SiteShiftd("image", shift)({"image": image / 1024})["image"]


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
    "labels of a segmentation": labels_of,
    "one map": lambda image: ChannelsToLabels()(torch.cat([image > 500, image < 100])),
    "matched label": lambda image: MatchedLabeld("label", "image")({"image": image, "label": image})["label"],
    "acquisition": lambda image: AcquisitionShift(0.8, 0.3, 0.5, 0.02)(ToPictures()(image / 1024)),
    "site": shifted,
    "label style": lambda image: LabelStyle(1, 0.5)((ToPictures()(image) > 500).float()),
}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no accelerator")
@pytest.mark.parametrize("name", TRANSFORMS)
def test_accelerator_agrees_with_the_processor(name: str) -> None:
    expected = TRANSFORMS[name](MetaTensor(volume(), meta=dict(META)))
    found = TRANSFORMS[name](MetaTensor(volume().cuda(), meta=dict(META)))
    assert found.device.type == "cuda" and expected.device.type == "cpu"
    torch.testing.assert_close(torch.as_tensor(found).cpu(), torch.as_tensor(expected), atol=1e-5, rtol=1e-5)
