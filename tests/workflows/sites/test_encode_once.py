"""Images are encoded once: a change encodes them again, and no bit depends on the way."""

from __future__ import annotations

import multiprocessing
import re
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fedmed_networks import FACMIC
from fedmed_workflows.sites.datasets.encoded import ENCODE_BATCH, EncodedDataset
from fedmed_workflows.sites.datasets.tensor_cache import checksum
from tests.workflows.sites.encoded_pictures import (
    Data,
    Encoded,
    features,
    preprocessing,
    write_pictures,
    write_volume,
)


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


def encode_when_asked(connection: Connection, clip: dict[str, Any], data: Data, cache: Path) -> None:
    """Runs in the other process: encodes with a network of its own, and answers with the features' checksum."""
    network = FACMIC(["other", "names"], clip=clip)
    connection.send("ready")
    connection.recv()
    connection.send(checksum({"features": features(EncodedDataset(data, preprocessing(), network, cache))}))


def test_two_processes_fill_one_folder(
    network: FACMIC, encoded: Encoded, small_clip: dict[str, Any], tmp_path: Path, cache: Path
) -> None:
    data = write_pictures(tmp_path / "many", 3 * ENCODE_BATCH)
    connection, theirs_end = multiprocessing.Pipe()
    arguments = (theirs_end, small_clip, data, cache)
    other = multiprocessing.get_context("fork").Process(target=encode_when_asked, args=arguments)
    other.start()
    theirs_end.close()
    assert connection.recv() == "ready"
    connection.send("go")
    ours = features(EncodedDataset(data, preprocessing(), network, cache))
    theirs = connection.recv()
    other.join()
    again = features(EncodedDataset(data, preprocessing(), network))
    assert theirs == checksum({"features": ours}) == checksum({"features": again})
    files = [path.name for path in cache.rglob("*") if path.is_file()]
    assert len(files) == len(data) and all(re.fullmatch(r"[0-9a-f]{64}\.safetensors", name) for name in files)
    encoded.since()
    assert torch.equal(features(EncodedDataset(data, preprocessing(), network, cache)), ours)
    assert encoded.since() == 0
