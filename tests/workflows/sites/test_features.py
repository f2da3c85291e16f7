"""Encode once: what is encoded again and what is not, that no bit depends on how, and what is refused by name."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from monai.transforms import Compose, RandFlipd
from PIL import Image

from fedmed_networks import FACMIC
from fedmed_transforms import ClipPreprocessd, LoadMedicalImaged, ScaleToUnitd, ToPicturesd
from fedmed_workflows.sites.datasets.encoded import ENCODE_BATCH, EncodedDataset
from fedmed_workflows.sites.datasets.tensor_cache import checksum

Data = list[dict[str, Any]]


def preprocessing(*more: Any, upper: float = 0.99, mean: tuple[float, ...] = (0.5, 0.5, 0.5)) -> Compose:
    steps = [LoadMedicalImaged("image"), ToPicturesd("image"), ScaleToUnitd("image", upper=upper)]
    return Compose([*steps, ClipPreprocessd("image", image_size=16, mean=mean), *more])


def write_pictures(folder: Path, count: int) -> Data:
    folder.mkdir()
    random = np.random.default_rng(count)
    data = [{"image": str(folder / f"{index}.png"), "label": index % 2} for index in range(count)]
    for entry in data:
        Image.fromarray(random.integers(0, 256, (20, 18, 3), dtype=np.uint8)).save(entry["image"])
    return data


def write_volume(path: Path, slices: int) -> str:
    values = np.random.default_rng(0).normal(size=(12, 10, slices)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([1.0, 1.0, 5.0, 1.0])), path)
    return str(path)


def features(dataset: EncodedDataset) -> torch.Tensor:
    assert dataset.features is not None
    return dataset.features


class Encoded:
    """Counts the pictures that pass an encoder, without those that fill up its last pass."""

    def __init__(self, network: FACMIC) -> None:
        self.pictures, self.sizes = 0, set[int]()
        self.hook = network.visual.register_forward_hook(self._count)

    def _count(self, module: Any, inputs: tuple[torch.Tensor], output: Any) -> None:
        self.pictures += int(inputs[0].flatten(1).any(dim=1).sum())
        self.sizes.add(len(inputs[0]))

    def since(self) -> int:
        """Pictures since the last time of asking."""
        pictures, self.pictures = self.pictures, 0
        return pictures


@pytest.fixture
def network(small_clip: dict[str, Any]) -> FACMIC:
    return FACMIC(["a", "b"], clip=small_clip)


@pytest.fixture
def encoded(network: FACMIC) -> Iterator[Encoded]:
    counter = Encoded(network)
    yield counter
    counter.hook.remove()


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return write_pictures(tmp_path / "pictures", 5)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_features_are_what_the_encoder_gives(network: FACMIC, data: Data) -> None:
    dataset = EncodedDataset(data, preprocessing(), network.train())
    pictures = torch.cat([preprocessing()(dict(entry))["image"] for entry in data])
    with torch.no_grad():
        torch.testing.assert_close(features(dataset), network.encode(pictures), rtol=1e-5, atol=1e-6)
    samples = [dataset[index] for index in range(len(dataset))]
    assert [(sample["label"], sample["item"]) for sample in samples] == [(0, 0), (1, 1), (0, 2), (1, 3), (0, 4)]
    assert all(torch.equal(sample["image"], row) for sample, row in zip(samples, features(dataset), strict=True))
    assert type(samples[0]["image"]) is torch.Tensor and not features(dataset).requires_grad


def test_the_second_time_nothing_is_encoded(network: FACMIC, data: Data, encoded: Encoded, cache: Path) -> None:
    first = EncodedDataset(data, preprocessing(), network, cache)
    assert encoded.since() == 5
    second = EncodedDataset(data, preprocessing(), network, cache)
    assert torch.equal(features(first), features(second)) and len([second[index] for index in range(5)]) == 5
    assert encoded.since() == 0
    EncodedDataset(data, preprocessing(), network)
    assert encoded.since() == 5  # no folder, nothing kept


def test_a_changed_image_alone_is_encoded_again(network: FACMIC, data: Data, encoded: Encoded, cache: Path) -> None:
    before = features(EncodedDataset(data, preprocessing(), network, cache))
    encoded.since()
    Image.fromarray(np.full((20, 18, 3), 77, np.uint8)).save(data[3]["image"])
    after = features(EncodedDataset(data, preprocessing(), network, cache))
    assert encoded.since() == 1
    assert (after == before).all(dim=1).tolist() == [True, True, True, False, True]


def test_changed_encoder_weights_encode_all_again(network: FACMIC, data: Data, cache: Path) -> None:
    before = features(EncodedDataset(data, preprocessing(), network, cache))
    state = {name: value.clone() for name, value in network.state_dict().items()}
    state["visual.proj"][0, 0] += 1
    network.load_state_dict(state)  # from here on its encoder is its own
    encoded = Encoded(network)
    assert not torch.equal(features(EncodedDataset(data, preprocessing(), network, cache)), before)
    assert encoded.since() == 5
    with torch.no_grad():
        network.visual.proj[0, 0] += 1  # in place
        EncodedDataset(data, preprocessing(), network, cache)
        assert encoded.since() == 5
        network.attention[0].weight.zero_()  # no part of the encoder
    EncodedDataset(data, preprocessing(), network, cache)
    assert encoded.since() == 0


def test_a_changed_preprocessing_encodes_all_again(network: FACMIC, data: Data, encoded: Encoded, cache: Path) -> None:
    for upper, mean in ((0.99, (0.5, 0.5, 0.5)), (0.95, (0.5, 0.5, 0.5)), (0.99, (0.5, 0.5, 0.4))):
        for count in (5, 0):
            EncodedDataset(data, preprocessing(upper=upper, mean=mean), network, cache)
            assert encoded.since() == count


def test_a_damaged_entry_alone_is_encoded_again(
    network: FACMIC, data: Data, encoded: Encoded, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = features(EncodedDataset(data, preprocessing(), network, cache))
    entries = sorted(cache.rglob("*.safetensors"))
    whole = [entry.read_bytes() for entry in entries]
    entries[1].write_bytes(whole[1][:-3])
    entries[2].write_bytes(whole[2][:-1] + bytes([whole[2][-1] ^ 1]))
    encoded.since()
    assert torch.equal(features(EncodedDataset(data, preprocessing(), network, cache)), before)
    assert encoded.since() == 2 and [entry.read_bytes() for entry in entries] == whole
    cache = "fedmed_workflows.sites.datasets.tensor_cache"
    said = [record.getMessage() for record in caplog.records if record.name == cache]
    assert len(said) == 2 and all(any(text.startswith(f"{entry}: damaged") for text in said) for entry in entries[1:3])


def test_no_bit_depends_on_what_else_is_encoded(network: FACMIC, encoded: Encoded, tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "many", ENCODE_BATCH + 7)
    data.insert(3, {"image": write_volume(tmp_path / "volume.nii.gz", ENCODE_BATCH + 2), "label": 1})
    whole = EncodedDataset(data, preprocessing(), network, None)
    expected = {
        entry["image"]: features(whole)[[i for i, (item, _) in enumerate(whole.samples) if item == index]]
        for index, entry in enumerate(data)
    }
    assert len(expected[data[3]["image"]]) == ENCODE_BATCH + 2
    partly = tmp_path / "partly"
    EncodedDataset(data[1::3], preprocessing(), network, partly)
    alone = [([entry], None) for entry in data[:5]]
    for part, cache in [*alone, (data[::-1], None), (data[2:4], None), (data, partly)]:
        found = features(EncodedDataset(part, preprocessing(), network, cache))
        assert torch.equal(found, torch.cat([expected[entry["image"]] for entry in part]))
    assert encoded.sizes == {ENCODE_BATCH}


def test_what_was_encoded_before_an_error_stays(network: FACMIC, encoded: Encoded, tmp_path: Path, cache: Path) -> None:
    data = write_pictures(tmp_path / "many", ENCODE_BATCH + 3)
    whole = Path(data[-1]["image"]).read_bytes()
    Path(data[-1]["image"]).write_bytes(whole[:50])
    with pytest.raises(ValueError, match=re.escape(data[-1]["image"])):
        EncodedDataset(data, preprocessing(), network, cache)
    assert encoded.since() == ENCODE_BATCH
    Path(data[-1]["image"]).write_bytes(whole)
    EncodedDataset(data, preprocessing(), network, cache)
    assert encoded.since() == 3


PROGRAM = """
import json, sys
from fedmed_networks import FACMIC
from fedmed_transforms import ClipPreprocessd, LoadMedicalImaged, ScaleToUnitd, ToPicturesd
from fedmed_workflows.sites.datasets.encoded import EncodedDataset
from fedmed_workflows.sites.datasets.tensor_cache import checksum
from monai.transforms import Compose
clip, data, cache = json.loads(sys.argv[1])
steps = [LoadMedicalImaged("image"), ToPicturesd("image"), ScaleToUnitd("image")]
steps.append(ClipPreprocessd("image", image_size=16, mean=(0.5, 0.5, 0.5)))
network = FACMIC(["other", "names"], clip=clip)
print("ready", flush=True)
sys.stdin.readline()
print(checksum({"features": EncodedDataset(data, Compose(steps), network, cache).features}))
"""


def test_two_processes_fill_one_folder(
    network: FACMIC, encoded: Encoded, small_clip: dict[str, Any], tmp_path: Path, cache: Path
) -> None:
    data = write_pictures(tmp_path / "many", 3 * ENCODE_BATCH)
    command = [sys.executable, "-c", PROGRAM, json.dumps([small_clip, data, str(cache)])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "ready\n"
        assert other.stdin is not None and other.stdin.write("go\n") and other.stdin.flush() is None
        ours = features(EncodedDataset(data, preprocessing(), network, cache))
        theirs = other.stdout.read().strip()
    again = features(EncodedDataset(data, preprocessing(), network))
    assert theirs == checksum({"features": ours}) == checksum({"features": again})
    files = [path.name for path in cache.rglob("*") if path.is_file()]
    assert len(files) == len(data) and all(re.fullmatch(r"[0-9a-f]{64}\.safetensors", name) for name in files)
    encoded.since()
    assert torch.equal(features(EncodedDataset(data, preprocessing(), network, cache)), ours)
    assert encoded.since() == 0


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
