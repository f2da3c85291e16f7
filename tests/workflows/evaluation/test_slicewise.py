"""Slice by slice: a network whose answer is known, on volumes and pictures, in the geometry of the source."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedEvaluator
from torch import nn
from torch.nn import functional

from fedmed_transforms.preprocessing.sam import SamPreprocess
from fedmed_transforms.preprocessing.sam_masks import SamPostprocess
from fedmed_transforms.preprocessing.slices import SlicesToVolume, VolumeToSlices
from fedmed_workflows.evaluation.inferers import SlicewiseInferer

SIZE = 64


class Brightness(nn.Module):
    """Logits above zero where the middle channel is above one half; remembers how many slices it saw at once."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        assert image.shape[1:] == (3, SIZE, SIZE)
        self.seen.append(len(image))
        return functional.avg_pool2d(image[:, 1:2] - 0.5, 4)


def half_bright(*shape: int) -> torch.Tensor:
    """Bright in the first half of the first axis: an edge that scaling by whole numbers keeps."""
    image = torch.zeros(1, *shape)
    image[:, : shape[0] // 2] = 1
    return image


def inferer(**options: bool | int) -> SlicewiseInferer:
    return SlicewiseInferer(SIZE, normalize=False, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("spacing", [(1, 1, 5), (5, 1, 1), (1, 5, 1), (-1, 1, 5)])
def test_a_volume_comes_back_in_its_geometry(spacing: tuple[int, ...]) -> None:
    shape = [32, 32, 32]
    shape[int(np.argmax(np.abs(spacing)))] = 6
    affine = torch.diag(torch.tensor([*map(float, spacing), 1.0]))
    image, network = MetaTensor(half_bright(*shape), affine=affine), Brightness()
    logits = inferer(slices_a_pass=4)(image[None], network)
    assert network.seen == [4, 2]  # every slice once
    assert logits.shape == (1, 1, *shape)
    assert torch.equal((logits[0] > 0).float().as_tensor(), image.as_tensor())
    assert torch.equal(logits[0].affine, affine.to(logits[0].affine))


def test_pictures_of_other_sizes_than_the_network_s() -> None:
    for shape in ((32, 16), (16, 32), (128, 100), (64, 64)):
        image = half_bright(*shape)
        logits = inferer()(image[None], Brightness())
        assert logits.shape == (1, 1, *shape)
        wrong = int(((logits[0] > 0).float() != image).sum())
        assert wrong <= 4 * shape[1] * shape[0] / 100  # the edge itself, where a pixel of the logits straddles it


def test_neighbours_reach_the_network() -> None:
    class Before(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return functional.avg_pool2d(image[:, 2:3] - image[:, 0:1], 4)

    ramp = torch.arange(6.0).expand(1, 32, 32, 6) / 5
    volume = MetaTensor(ramp, affine=torch.diag(torch.tensor([1.0, 1.0, 5.0, 1.0])))
    steps = inferer(neighbours=True)(volume[None], Before())[0, 0].mean(dim=(0, 1)).as_tensor().abs()
    torch.testing.assert_close(steps, torch.tensor([0.2, 0.4, 0.4, 0.4, 0.4, 0.2]))
    with pytest.raises(ValueError, match="found one slice, expected at least two to have neighbours"):
        inferer(neighbours=True)(half_bright(32, 32)[None], Before())


@pytest.mark.parametrize("spacing", [(1, 1, 5), (5, 1, 1), (-1, -5, 1), (1, 1, -5)])
@pytest.mark.parametrize("options", [{}, {"neighbours": True}, {"slices_a_pass": 3}], ids=str)
def test_masks_and_logits_are_those_of_the_whole_volume_at_once(
    spacing: tuple[int, ...], options: dict[str, bool | int]
) -> None:
    affine = torch.diag(torch.tensor([*map(float, spacing), 1.0]))
    image = MetaTensor(torch.rand(1, 20, 37, 41, generator=torch.Generator().manual_seed(0)), affine=affine)
    slices = VolumeToSlices(bool(options.get("neighbours")))(image)
    size = (int(slices.shape[2]), int(slices.shape[3]))
    scaled = SamPreprocess(SIZE, normalize=False)(slices)
    whole = SlicesToVolume()(SamPostprocess(SIZE)(Brightness()(scaled.as_tensor()), size), slices)
    logits = inferer(**options)(image[None], Brightness())
    masks = inferer(**options, threshold=0.5)(image[None], Brightness())  # type: ignore[arg-type]
    assert torch.equal(logits[0].as_tensor(), whole.as_tensor())
    assert masks.dtype == torch.uint8 and 0 < int(masks.sum()) < masks.numel()
    assert torch.equal(masks.as_tensor().bool(), logits.as_tensor().sigmoid() >= 0.5)
    assert torch.equal(masks[0].affine, logits[0].affine)


def test_in_an_evaluator_the_answer_is_taken_apart_with_its_metadata() -> None:
    affine = torch.diag(torch.tensor([2.0, 2.0, 7.0, 1.0]))
    items = [
        {"image": MetaTensor(half_bright(32, 32, 3), affine=affine, meta={"filename_or_obj": f"{name}.nii"})}
        for name in "ab"
    ]
    answers = []
    evaluator = SupervisedEvaluator(
        torch.device("cpu"), DataLoader(Dataset(items), batch_size=2), Brightness(), inferer=inferer()
    )
    evaluator.add_event_handler("ITERATION_COMPLETED", lambda engine: answers.extend(engine.state.output))
    evaluator.run()
    assert [answer["pred"].meta["filename_or_obj"] for answer in answers] == ["a.nii", "b.nii"]
    assert all(torch.equal(answer["pred"].affine, affine.double()) for answer in answers)


def test_a_probability_above_one_is_refused() -> None:
    with pytest.raises(ValueError, match="threshold: found 2"):
        inferer(threshold=2)


def test_nothing_a_pass_is_refused() -> None:
    with pytest.raises(ValueError, match="slices_a_pass: found 0, expected a whole number of at least 1"):
        inferer(slices_a_pass=0)
