"""The target of adaptation: how its batches are paired, what is released of it, and what is refused by name."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.transforms import Compose
from PIL import Image
from safetensors.torch import save_file
from torch.utils.data import DataLoader, Dataset

from fedmed_networks import FACMIC
from fedmed_transforms import ClipPreprocessd, LoadMedicalImaged, ScaleToUnitd, ToPicturesd
from fedmed_workflows.federation.preparation.target import TargetPreparation
from fedmed_workflows.sites.datasets.encoded import EncodedDataset
from fedmed_workflows.sites.datasets.target import (
    PairedLoader,
    ReleasedFeatures,
    prepare_paired_batch,
    release_features,
    target_dataset,
)


class Numbers(Dataset[dict[str, Any]]):
    """Samples whose image is their own number, counted from a start."""

    def __init__(self, count: int, start: int = 0) -> None:
        self.numbers = [float(start + index) for index in range(count)]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"image": torch.tensor([self.numbers[index]]), "label": index % 2}


def loader(count: int, batch_size: int = 2, drop_last: bool = True) -> DataLoader[Any]:
    return DataLoader(Numbers(count), batch_size=batch_size, drop_last=drop_last)


def pairs(paired: PairedLoader) -> list[tuple[list[float], list[float]]]:
    return [(batch["image"].flatten().tolist(), batch["target"].flatten().tolist()) for batch in paired]


@pytest.fixture
def network(small_clip: dict[str, Any]) -> FACMIC:
    return FACMIC(["a", "b"], clip=small_clip)


@pytest.fixture
def transform() -> Compose:
    steps = [LoadMedicalImaged("image"), ToPicturesd("image"), ScaleToUnitd("image")]
    return Compose([*steps, ClipPreprocessd("image", image_size=16)])


def write_picture(path: Path, grey: int) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((16, 16), grey, np.uint8)).save(path)
    return str(path)


@pytest.mark.parametrize(
    "count, expected",
    [
        (10, [[100, 101], [102, 103], [104, 105]]),  # longer than the source: its start
        (6, [[100, 101], [102, 103], [104, 105]]),
        (4, [[100, 101], [102, 103], [100, 101]]),
        (5, [[100, 101], [102, 103], [100, 101]]),  # its incomplete batch is left out
        (2, [[100, 101], [100, 101], [100, 101]]),
    ],
)
def test_the_target_is_repeated_in_file_order(count: int, expected: list[list[float]]) -> None:
    paired = PairedLoader(loader(7), Numbers(count, start=100), shuffle=False)
    assert len(paired) == 3
    for _ in range(2):  # it starts anew with every pass
        assert pairs(paired) == list(zip([[0, 1], [2, 3], [4, 5]], expected))


def test_a_shuffled_target_shows_all_of_it_before_it_repeats() -> None:
    paired = PairedLoader(loader(12), Numbers(6, start=100))
    torch.manual_seed(0)
    passes = [[number for _, target in pairs(paired) for number in target] for _ in range(3)]
    for numbers in passes:
        assert sorted(numbers[:6]) == sorted(numbers[6:]) == [100, 101, 102, 103, 104, 105]
    assert len({tuple(half) for numbers in passes for half in (numbers[:6], numbers[6:])}) > 1
    torch.manual_seed(0)
    assert [[number for _, target in pairs(paired) for number in target] for _ in range(3)] == passes


def test_without_a_target_the_batches_stay_as_they_are() -> None:
    batches = list(PairedLoader(loader(5, drop_last=False)))
    assert [batch["image"].flatten().tolist() for batch in batches] == [[0, 1], [2, 3], [4]]
    assert {key for batch in batches for key in batch} == {"image", "label"}


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_target_of_less_than_a_batch_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"target: found {count} images, expected at least one batch of 4"):
        PairedLoader(loader(8, batch_size=4), Numbers(count), shuffle=False)


def test_what_the_trainer_gets_of_a_batch() -> None:
    paired = PairedLoader(loader(4), Numbers(4, start=100), shuffle=False)
    image, label, positional, keywords = prepare_paired_batch(next(iter(paired)), "cpu")
    assert image.tolist() == [[0], [1]] and label.tolist() == [0, 1] and positional == ()
    assert set(keywords) == {"target"} and keywords["target"].tolist() == [[100], [101]]
    assert prepare_paired_batch(next(iter(loader(4))), "cpu")[2:] == ((), {})


def test_released_features_come_back(network: FACMIC, tmp_path: Path) -> None:
    features = torch.randn(5, 16)[:, ::2]  # not contiguous
    path = tmp_path / "new" / "unseen.safetensors"
    release_features(features, network, path)
    assert [file.name for file in path.parent.iterdir()] == ["unseen.safetensors"]
    for released in (ReleasedFeatures(path, network), target_dataset(str(path), network, None)):
        assert isinstance(released, ReleasedFeatures) and len(released) == 5
        assert all(list(released[index]) == ["image"] for index in range(5))
        assert torch.equal(torch.stack([released[index]["image"] for index in range(5)]), features)


def test_features_of_another_encoder_are_refused(network: FACMIC, small_clip: dict[str, Any], tmp_path: Path) -> None:
    release_features(torch.randn(4, 16), network, tmp_path / "f.safetensors")
    other = FACMIC(["other", "classes"], clip=small_clip)
    assert len(ReleasedFeatures(tmp_path / "f.safetensors", other)) == 4  # classes and attention do not matter
    state = other.state_dict()
    other.load_state_dict({**state, "visual.proj": state["visual.proj"] + 1})
    with pytest.raises(ValueError, match=r"f.safetensors: its features come from encoder [0-9a-f]{64}, this network"):
        ReleasedFeatures(tmp_path / "f.safetensors", other)


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-8]), id="cut off"),
        pytest.param(lambda path: flip(path, -1), id="one bit of a value"),
        pytest.param(lambda path: flip(path, 20), id="one bit of the header"),
        pytest.param(lambda path: path.write_bytes(b""), id="empty"),
        pytest.param(lambda path: path.write_text("text"), id="text"),
        pytest.param(lambda path: write_picture(path.with_suffix(".png"), 3) and
                     path.write_bytes(path.with_suffix(".png").read_bytes()), id="picture"),
        pytest.param(lambda path: save_file({"other": torch.zeros(2)}, path), id="another file"),
        pytest.param(lambda path: save_file({"features": torch.zeros(2, 16)}, path), id="no encoder named"),
    ],
)  # fmt: skip
def test_a_damaged_file_of_features_is_refused(network: FACMIC, tmp_path: Path, damage: Callable[[Path], Any]) -> None:
    path = tmp_path / "f.safetensors"
    release_features(torch.randn(4, 16), network, path)
    damage(path)
    with pytest.raises(ValueError, match=re.escape(str(path))):
        ReleasedFeatures(path, network)


@pytest.mark.parametrize("target", [None, "none"])
def test_nobody_is_a_target(network: FACMIC, target: str | None) -> None:
    assert target_dataset(target, network, None) is None


def test_a_folder_is_searched_with_its_subfolders(network: FACMIC, transform: Compose, tmp_path: Path) -> None:
    names = ["b/1.png", "a/2.png", "a/deep/3.png", "4.png"]
    for index, name in enumerate(names):
        write_picture(tmp_path / "images" / name, 40 * index)
    for ignored in (".hidden/x.png", ".DS_Store", "a/Thumbs.db"):
        (tmp_path / "images" / ignored).parent.mkdir(exist_ok=True)
        (tmp_path / "images" / ignored).touch()
    found = target_dataset(str(tmp_path / "images"), network, transform, str(tmp_path / "cache"))
    assert isinstance(found, EncodedDataset) and len(found) == 4 and set(found[0]) == {"image", "item"}
    assert {str(Path(entry["image"]).relative_to(tmp_path / "images")) for entry in found.data} == set(names)
    assert len({tuple(found[index]["image"].tolist()) for index in range(4)}) == 4
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 4
    again = target_dataset(str(tmp_path / "images"), network, transform)
    assert isinstance(again, EncodedDataset) and again.data == found.data


@pytest.mark.parametrize(
    "prepare, named",
    [
        (lambda path: None, "expected a folder of images, a file of released features, or 'none'"),
        (lambda path: path.mkdir(), "found no image"),
        (lambda path: (path / "empty").mkdir(parents=True), "found no image"),
        (lambda path: (write_picture(path / "a" / "1.png", 3), (path / "a" / "labels.csv").touch()),
         "a/labels.csv: expected a jpg"),
    ],
)  # fmt: skip
def test_a_target_that_is_none_is_refused(
    network: FACMIC, transform: Compose, tmp_path: Path, prepare: Callable[[Path], Any], named: str
) -> None:
    prepare(tmp_path / "images")
    with pytest.raises(ValueError, match=re.escape(str(tmp_path / "images")) + f".*{named}"):
        target_dataset(str(tmp_path / "images"), network, transform)


@pytest.mark.parametrize("target", [None, "none", "some/folder"])
def test_other_targets_are_passed_on(target: str | None, tmp_path: Path) -> None:
    prepared = TargetPreparation(target)(None, tmp_path)
    assert prepared.settings == {"target": target} and prepared.notes == []
    assert list(tmp_path.iterdir()) == []


def test_the_unseen_target_needs_an_unseen_site(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="target 'unseen': expected an unseen site"):
        TargetPreparation("unseen")(None, tmp_path)
