"""Metrics of segmented images: against MONAI, by hand, and where masks are empty."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_iou, compute_surface_dice

import fedmed_workflows.evaluation.surfaces as surfaces
from fedmed_workflows.evaluation.segmentation_metrics import (
    image_metrics,
    mean_metrics,
    overlap_metrics,
    published_metrics,
)
from fedmed_workflows.evaluation.surfaces import surface_metrics

NAN, INF = math.nan, math.inf


def blobs(*shape: int, seed: int) -> torch.Tensor:
    """Masks whose surfaces are neither smooth nor everywhere; the first mask of the last class is empty."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn([*shape[:2], *(math.ceil(side / 4) for side in shape[2:])], generator=generator)
    masks = torch.nn.functional.interpolate(coarse, shape[2:], mode=("bilinear", "trilinear")[len(shape) - 4]) > 0.3
    masks[0, -1] = False
    return masks


@pytest.fixture
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI's, of masks that are empty
        yield


@pytest.mark.parametrize("dense", [0, 1])
@pytest.mark.parametrize(
    "shape, spacing",
    [((5, 3, 24, 31), (0.7, 1.3)), ((2, 2, 24, 17, 9), (0.5, 0.8, 3.0)), ((2, 2, 16, 16, 1), (1.0, 1.0, 4.0))],
)
def test_surfaces_are_those_of_monai(
    shape: tuple[int, ...],
    spacing: tuple[float, ...],
    dense: float,
    monkeypatch: pytest.MonkeyPatch,
    quiet: None,
) -> None:
    monkeypatch.setattr(surfaces, "DENSE", dense)  # both ways to find the distances
    prediction, label = blobs(*shape, seed=0), blobs(*shape, seed=1)
    label[-1, 0] = False  # empty beside a prediction
    options = {"include_background": True, "spacing": list(spacing)}
    found = surface_metrics(prediction, label, spacing)
    hd95 = compute_hausdorff_distance(prediction, label, percentile=95, **options).numpy()
    assert np.isfinite(hd95).sum() == hd95.size - 2
    assert np.isnan(found["hd95"][0, -1]) and np.isinf(found["hd95"][-1, 0])
    found["hd95"][-1, 0] = NAN  # as MONAI's quantile makes of infinite distances
    assert found["hd95"] == pytest.approx(hd95, rel=1e-5, nan_ok=True)
    expected = compute_surface_dice(prediction, label, [1.0] * shape[1], **options).numpy()
    assert np.isnan(expected[0, -1]) and expected[-1, 0] == 0 and len(np.unique(expected)) > 2
    assert found["surface_dice"] == pytest.approx(expected, rel=1e-6, nan_ok=True)


def test_overlap_by_hand() -> None:
    label = torch.zeros(1, 4, 4, 4, dtype=torch.bool)
    prediction = torch.zeros_like(label)
    label[0, :3, :2], prediction[0, :3, 1:3] = True, True  # two rows of each, one of them shared
    label[0, 1, :, 3] = True  # two pixels more, one of them predicted
    prediction[0, 3, 2:] = True  # predicted though the label is empty
    label[0, 2], prediction[0, 2] = label[0, 0], False
    found = overlap_metrics(prediction, label)
    assert found["dice"] == pytest.approx(np.array([[8 / 16, 10 / 18, 0, NAN]]), nan_ok=True)
    assert found["iou"] == pytest.approx(np.array([[4 / 12, 5 / 13, 0, NAN]]), nan_ok=True)


def test_surfaces_by_hand() -> None:
    label, prediction = torch.zeros(2, 1, 1, 20, 12, dtype=torch.bool)
    label[0, 0, 4:10, 5] = True
    prediction[0, 0, 4:10, 7] = True  # a line of six pixels, two columns away
    assert surface_metrics(prediction, label, (1, 0.5))["hd95"].tolist() == [[1]]
    assert surface_metrics(prediction, label, (1, 0.5))["surface_dice"].tolist() == [[1]]
    assert surface_metrics(prediction, label, (1, 0.6))["surface_dice"].tolist() == [[0]]
    prediction[0, 0, 4:7, 7], prediction[0, 0, 4:7, 5] = False, True  # half of it on the label
    found = surface_metrics(prediction, label, (1, 1))
    # from the prediction: 0 0 0 2 2 2; from the label: 0 0 0 1 2 2, in whose row and column the prediction is nearest
    assert found["surface_dice"].tolist() == [[(3 + 4) / 12]] and found["hd95"].tolist() == [[2]]


def test_published_numbers_by_hand() -> None:
    logits = torch.full((3, 1, 2, 4), -5.0)
    label = torch.zeros(3, 1, 2, 4, dtype=torch.bool)
    label[0, 0, 0] = True
    logits[0, 0, 0] = torch.tensor([0.2, 0.4, 0.6, 8.0])  # above 0.1: 4, 0.3: 3, 0.5: 2, 0.7: 1, 0.9: 1
    logits[2, 0, 0, 0] = 0.6  # above 0.1, 0.3, 0.5; the label is empty
    found = published_metrics(logits, label)
    dice = np.mean([(2 * n + 1e-4) / (n + 4 + 1e-4) for n in (4, 3, 2, 1, 1)])
    iou = np.mean([(n + 1e-6) / (4 + 1e-6) for n in (4, 3, 2, 1, 1)])
    wrong = [(3 * small / (1 + small) + 2) / 5 for small in (1e-4, 1e-6)]
    assert found["published_dice"] == pytest.approx(np.array([[dice], [1], [wrong[0]]]), rel=1e-9)
    assert found["published_iou"] == pytest.approx(np.array([[iou], [1], [wrong[1]]]), rel=1e-9)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_of_a_volume_follow_its_slice_axis(axis: int, quiet: None) -> None:
    logits = blobs(1, 2, 12, 14, 10, seed=2)[0].float() - 0.5
    label = blobs(1, 2, 12, 14, 10, seed=3)[0]
    spacing = [0.7, 0.9, 2.5]
    found = image_metrics(logits, label, axis, spacing)
    in_plane = spacing[:axis] + spacing[axis + 1 :]
    for place in range(label.shape[1 + axis]):
        one, other = ((part.select(1 + axis, place)[None]) for part in (logits > 0, label))
        options = {"include_background": True, "spacing": in_plane}
        expected = {
            "slice_dice": compute_dice(one, other),
            "slice_iou": compute_iou(one, other),
            "slice_hd95": compute_hausdorff_distance(one, other, percentile=95, **options),
            "slice_surface_dice": compute_surface_dice(one, other, [1.0, 1.0], **options),
        }
        for name, values in expected.items():
            values_found = np.where(np.isinf(found[name][place]), NAN, found[name][place])
            assert values_found == pytest.approx(values[0].numpy(), rel=1e-5, nan_ok=True), name
    whole = compute_hausdorff_distance(
        (logits > 0)[None], label[None], include_background=True, percentile=95, spacing=spacing
    )
    assert found["hd95"] == pytest.approx(whole.numpy(), rel=1e-5, nan_ok=True)
    assert found["dice"].shape == (1, 2) and found["published_dice"].shape == (label.shape[1 + axis], 2)


def test_a_picture_is_its_own_only_slice() -> None:
    logits, label = blobs(1, 2, 20, 14, seed=4)[0].float() - 0.5, blobs(1, 2, 20, 14, seed=5)[0]
    found = image_metrics(logits, label, None, (1, 1))
    for name in ("dice", "iou", "hd95", "surface_dice"):
        assert found[name] == pytest.approx(found[f"slice_{name}"], nan_ok=True)


def test_means_leave_out_what_is_not_defined_and_weigh_images() -> None:
    images = [
        {"dice": np.array([[0.5, NAN]]), "slice_hd95": np.array([[1, 3], [INF, NAN], [4, INF]])},
        {"dice": np.array([[0.7, 0.9]]), "slice_hd95": np.array([[NAN, 6]])},
        {"dice": np.array([[NAN, NAN]]), "slice_hd95": np.array([[NAN, NAN]])},
    ]
    found = mean_metrics(images)
    assert found["dice"] == pytest.approx(np.array([[(0.5 + 0.8) / 2, 0.6, 0.9]]))
    assert found["slice_hd95"] == pytest.approx(np.array([[(2 + 4 + 6) / 3, 2.5, 4.5]]))
    weighted = mean_metrics(images, np.array([[3, 0, 1], [1, 2, 0], [0, 0, 3]]))
    assert weighted["dice"] == pytest.approx(
        np.array([[0.5, 0.5, NAN], [(0.5 + 2 * 0.8) / 3, (0.5 + 2 * 0.7) / 3, 0.9], [NAN] * 3]), nan_ok=True
    )
    assert weighted["slice_hd95"][1] == pytest.approx([(2 + 4 + 2 * 6) / 4, 2.5, (3 + 2 * 6) / 3])
