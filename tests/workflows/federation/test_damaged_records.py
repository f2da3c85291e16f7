"""Damaged checkpoints, records and configurations: a ValueError that names the file, of whatever kind the damage is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fedmed_networks import checkpoint_class_names
from fedmed_networks.clip.class_names import CLASS_NAMES, to_bytes
from fedmed_workflows.command.bundle_command import run_bundle_command
from fedmed_workflows.configuration_file import read_configuration
from fedmed_workflows.exchange.manifest import Manifest
from fedmed_workflows.federation.run_folder import RunFolder, check_folder
from fedmed_workflows.sites.class_folders import read_site

NESTED = "[" * 100_000


def refused(read: Callable[[], object], file: Path, *words: str) -> None:
    """Reading raises a ValueError that begins with the file and has the words."""
    with pytest.raises(ValueError) as error:
        read()
    assert str(error.value).startswith(f"{file}: ") and all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize(
    "names",
    [torch.tensor([255, 254], dtype=torch.uint8), torch.tensor(7), torch.tensor([300]), torch.zeros(2), to_bytes([]),
     torch.tensor(list(b'{"a": 1}'), dtype=torch.uint8), torch.tensor(list(NESTED[:9].encode()), dtype=torch.uint8)],
)  # fmt: skip
def test_class_names_that_are_none(names: torch.Tensor, tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    torch.save({"model": {CLASS_NAMES: names}}, file)
    refused(lambda: checkpoint_class_names(file), file, CLASS_NAMES, "class names")


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"\x80\x02cos\nsystem\n", b"\0" * 200, b"garbage"])
def test_a_file_that_is_no_checkpoint(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    file.write_bytes(content)
    refused(lambda: checkpoint_class_names(file), file, "not a classifier's checkpoint")


def record(**changed: Any) -> dict[str, Any]:
    """The record of a run after one round."""
    manifest = Manifest.of(nn.Linear(3, 2)).to_json()
    return {"file": "round_00001.safetensors", "history": [{"round": 0}, {"round": 1}], "manifest": manifest, **changed}


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "7", NESTED, "{}", *(
        json.dumps(record(**{key: value}))
        for key in ("file", "history", "manifest")
        for value in (None, 7, [], {}, "x", [[]], [7], "a\0b", {"tensors": 1})
    ), json.dumps(record(file="../../other.safetensors")), json.dumps(record(history=[{"loss": 1}]))],
)  # fmt: skip
def test_the_record_of_the_last_round(text: str, tmp_path: Path) -> None:
    file = tmp_path / "checkpoints" / "last.json"
    file.parent.mkdir()
    file.write_text(text)
    run = RunFolder(tmp_path, {})
    refused(lambda: run.resume(Manifest.of(nn.Linear(3, 2))), file, "the record of the last round")
    assert run.history == [] and run.rounds_done == 0


@pytest.mark.parametrize("text", ["", "[]", "null", NESTED, "{}", '{"identity": 7}', '{"identity": ["seed"]}'])
def test_the_mark_of_a_run(text: str, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.json").touch()
    (tmp_path / "run.json").write_text(text)
    refused(lambda: check_folder(tmp_path, {"seed": 0}), tmp_path / "run.json", "the mark of a run")


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", NESTED, '{"training": ' + NESTED, '{"training": 7}', '{"training": [7]}', '{"training": [{}]}',
     '{"training": [{"image": 7, "label": 1}]}', '{"training": [{"image": "' + "x" * 5000 + '", "label": 1}]}',
     '{"training": [{"image": "a\\u0000b", "label": 1}]}', "\xff"],
)  # fmt: skip
def test_a_datalist(text: str, tmp_path: Path) -> None:
    file = tmp_path / "datalist.json"
    file.write_bytes(text.encode("latin-1"))
    refused(lambda: read_site(file), file, "datalist")


@pytest.mark.parametrize("text", ["{", "[1]", "null", NESTED, "\xff{}"])
def test_the_entries_that_a_run_leaves_for_inference(text: str, tmp_path: Path) -> None:
    file = tmp_path / "model.json"
    file.write_bytes(text.encode("latin-1"))
    refused(lambda: read_configuration(file), file, "a configuration")
    bundle = Path(__file__).parents[3] / "bundles" / "fedmsa_segmentation"
    refused(lambda: run_bundle_command("predict", [str(bundle), str(tmp_path), str(file)]), file, "a configuration")
