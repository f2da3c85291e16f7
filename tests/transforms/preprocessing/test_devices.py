"""Every transform on a GPU, pretended where there is none: the same results as on the CPU, and on the GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from pydicom.uid import SegmentationStorage

import fedmed_transforms
from fedmed_transforms import (
    AcquisitionShift,
    ChannelsToLabels,
    ClipPreprocess,
    LabelsToChannels,
    LabelStyle,
    MatchedLabeld,
    SamLabels,
    SamPostprocess,
    SamPreprocess,
    ScaleToUnit,
    SegmentationToLabelsd,
    SiteShiftd,
    SlicesToVolume,
    ToPictures,
    ToUptake,
    VolumeToSlices,
    Window,
)

PET = {
    "Modality": "PT", "Units": "BQML", "CorrectedImage": "ATTN\\DECY", "DecayCorrection": "ADMIN",
    "PatientWeight": "70", "RadionuclideTotalDose": "350e6",
}  # fmt: skip

STYLE = {"dilation": 1, "smoothing": 0.7}

SHIFT = {"contrast": 0.8, "bias_field": 0.3, "resolution": 0.5, "noise": 0.02}


def with_entry(change: MapTransform, image: torch.Tensor, label: torch.Tensor, key: str) -> torch.Tensor:
    entry: torch.Tensor = change({"image": image, "label": label})[key]
    return entry


def turned(image: torch.Tensor) -> MetaTensor:
    """A label of the image, its axes in another order."""
    label = MetaTensor(image > 500, meta={"affine": image.affine.clone()})  # type: ignore[attr-defined]
    label.affine[:3, :3] = label.affine[:3, [1, 0, 2]]
    return label.transpose(1, 2)


def part_of(image: torch.Tensor) -> MetaTensor:
    """A segmentation of two segments in the slices from the second to the fourth."""
    affine = image.affine.clone()  # type: ignore[attr-defined]
    affine[:3, 3] += affine[:3, 2]
    masks = torch.cat([image > 300, image > 600])[..., 1:4]
    return MetaTensor(masks.float(), meta={"affine": affine, "dicom": {"SOPClassUID": SegmentationStorage}})


TRANSFORMS: dict[type[Transform], Callable[[torch.Tensor], torch.Tensor]] = {
    ScaleToUnit: ScaleToUnit(0.013, 0.98),
    Window: Window([300, 401]),
    ToUptake: ToUptake(),
    LabelsToChannels: LabelsToChannels([range(0, 999, 2), "nonzero"], ignored=range(1, 999, 2)),
    ChannelsToLabels: lambda image: ChannelsToLabels()(torch.cat([image > 300, image > 600])),
    ToPictures: ToPictures(),
    VolumeToSlices: VolumeToSlices(neighbours=True),
    SlicesToVolume: lambda image: SlicesToVolume()(
        VolumeToSlices()(image, kept=[1, 4]), VolumeToSlices()(image, kept=[1, 4])
    ),
    SamPreprocess: lambda image: SamPreprocess(32)(ToPictures()(image / 999)),
    SamLabels: lambda image: SamLabels(32)(ToPictures()(image)),
    SamPostprocess: lambda image: SamPostprocess(32)(image[:, :5].permute(3, 0, 1, 2)[..., :5, :5], (31, 20)),
    ClipPreprocess: lambda image: ClipPreprocess(16)(ToPictures()(image / 999)),
    # the bits of the pictures are its seed: a GPU divides by 999 with another last bit
    AcquisitionShift: lambda image: AcquisitionShift(**SHIFT)(ToPictures()(image / 1024)),
    LabelStyle: lambda image: LabelStyle(**STYLE)(ToPictures()(image) > 500),
    SiteShiftd: lambda image: with_entry(
        SiteShiftd("image", {"noise": 0.02, "label_style": STYLE}, label_key="label"), image / 999, image > 500, "label"
    ),
    MatchedLabeld: lambda image: with_entry(MatchedLabeld("label", "image"), image, turned(image), "label"),
    SegmentationToLabelsd: lambda image: with_entry(
        SegmentationToLabelsd("label", "image"), image, part_of(image), "label"
    ),
}

OF_FILES = {"CheckIdentifiersd", "LoadMedicalImaged", "ResultFormatd", "SaveSegmentationd"}
"""Transforms of paths; tests of loading and of inference run them on a GPU."""


def test_every_transform_of_the_package_is_here() -> None:
    face = [getattr(fedmed_transforms, name) for name in dir(fedmed_transforms) if name[0].isupper()]
    found = {kind.__name__ for kind in face if isinstance(kind, type) and issubclass(kind, Transform)}
    known = {kind.__name__ for kind in TRANSFORMS}
    assert found == OF_FILES | known | ({f"{name}d" for name in known} & found)


@pytest.mark.parametrize("kind", TRANSFORMS, ids=lambda kind: kind.__name__)
def test_a_gpu_agrees_with_the_cpu(kind: type[Transform], gpu: torch.device) -> None:
    values = torch.randint(0, 999, (1, 20, 17, 6), generator=torch.Generator().manual_seed(0)).float()
    meta: dict[str, Any] = {"dicom": PET, "affine": torch.diag(torch.tensor([1.0, 1.0, 4.0, 1.0]))}
    expected = TRANSFORMS[kind](MetaTensor(values, meta=dict(meta)))
    found = TRANSFORMS[kind](MetaTensor(values.to(gpu), meta=dict(meta)))
    assert found.device == gpu and expected.device.type == "cpu"
    torch.testing.assert_close(torch.as_tensor(found).cpu(), torch.as_tensor(expected), atol=1e-5, rtol=1e-5)
