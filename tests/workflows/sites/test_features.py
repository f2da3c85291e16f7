"""The samples of encoded images, and the errors that name an image."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.transforms import RandFlipd

from fedmed_networks import FACMIC
from fedmed_workflows.sites.datasets.encoded import EncodedDataset
from tests.workflows.sites.encoded_pictures import Data, Encoded, features, preprocessing, write_volume


def test_features_are_what_the_encoder_gives(network: FACMIC, data: Data) -> None:
    dataset = EncodedDataset(data, preprocessing(), network.train())
    pictures = torch.cat([preprocessing()(dict(entry))["image"] for entry in data])
    with torch.no_grad():
        torch.testing.assert_close(features(dataset), network.encode(pictures), rtol=1e-5, atol=1e-6)
    samples = [dataset[index] for index in range(len(dataset))]
    assert [(sample["label"], sample["item"]) for sample in samples] == [(0, 0), (1, 1), (0, 2), (1, 3), (0, 4)]
    assert all(torch.equal(sample["image"], row) for sample, row in zip(samples, features(dataset), strict=True))
    assert type(samples[0]["image"]) is torch.Tensor and not features(dataset).requires_grad


def test_random_augmentation_passes_by_the_cache(network: FACMIC, data: Data, encoded: Encoded, cache: Path) -> None:
    augmented = preprocessing(RandFlipd("image", prob=0.5, spatial_axis=2))
    dataset = EncodedDataset(data, augmented, network, cache)
    assert len(dataset) == 5 and dataset.features is None
    plain = preprocessing()(dict(data[1]))["image"][0]
    seen = [dataset[1]["image"] for _ in range(20)]
    assert {tuple(picture.shape) for picture in seen} == {(3, 16, 16)}
    turned = [torch.equal(picture, plain.flip(2)) for picture in seen]
    assert [torch.equal(picture, plain) for picture in seen] == [not flipped for flipped in turned]
    assert {True, False} == set(turned)
    assert dataset[1]["label"] == 1 and dataset[1]["item"] == 1
    assert encoded.since() == 0 and not cache.exists()


@pytest.mark.parametrize("more", [[], [RandFlipd("image", prob=0.0)]], ids=["features", "pictures"])
def test_a_volume_gives_a_sample_a_slice(network: FACMIC, data: Data, tmp_path: Path, more: list[Any]) -> None:
    volume = {"image": write_volume(tmp_path / "volume.nii.gz", 4), "label": 1}
    dataset = EncodedDataset([data[0], volume, data[2]], preprocessing(*more), network)
    samples = [dataset[index] for index in range(len(dataset))]
    assert [sample["item"] for sample in samples] == [0, 1, 1, 1, 1, 2]
    assert [sample["label"] for sample in samples] == [0, 1, 1, 1, 1, 0]
    assert len({tuple(sample["image"].flatten().tolist()) for sample in samples}) == 6
    pictures = preprocessing()(dict(volume))["image"]
    with torch.no_grad():
        expected = pictures if more else network.encode(pictures)
    found = torch.stack([sample["image"] for sample in samples[1:5]])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("more", [[], [RandFlipd("image")]], ids=["features", "pictures"])
@pytest.mark.parametrize(
    "name, content",
    [("a.png", b"no picture"), ("a.jpg", b""), ("a.nii.gz", bytes(99)), ("a.dcm", b"DICM" * 9), ("missing.png", None)],
)
def test_an_undecodable_image_is_named(
    network: FACMIC, data: Data, tmp_path: Path, name: str, content: bytes | None, more: list[Any]
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    image = str(tmp_path / name)
    with pytest.raises(ValueError, match=f"^{re.escape(image)}: (expected a|cannot be read|no such file)"):
        EncodedDataset([data[0], {"image": image}, data[1]], preprocessing(*more), network)
