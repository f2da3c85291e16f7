"""The network of a method as an inference configuration builds it, and what its bundle says of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fedmed_workflows.federation.bundle.trained_metadata import method_metadata
from fedmed_workflows.federation.bundle.trained_network import trained_network

INFERENCE = {"_target_": "a.Net", "class_names": "@class_names", "size": "@size"}
BEFORE = {"_target_": "a.Net", "class_names": "$@site.class_names", "size": "@size", "weights": "@weights"}


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (BEFORE, INFERENCE),
        ({**BEFORE, "_target_": "a.Other"}, {**INFERENCE, "_target_": "a.Other"}),
        ({"_target_": "a.Small", "size": "@size"}, {"_target_": "a.Small", "size": "@size"}),
        ({**BEFORE, "size": 32}, {**INFERENCE, "size": 32}),
        ({**BEFORE, "depth": 3, "rank": "$@ranks[0]"}, {**INFERENCE, "depth": 3, "rank": 8}),
        ({**BEFORE, "size": "$2 * @half", "weights": None}, {**INFERENCE, "size": 64, "weights": None}),
    ],
)
def test_arguments(after: dict[str, Any], expected: dict[str, Any]) -> None:
    values = {"network_def#rank": 8, "network_def#size": 64}
    assert trained_network(INFERENCE, BEFORE, after, values.__getitem__) == expected


def test_a_component_cannot_be_written_down() -> None:
    with pytest.raises(ValueError, match="network_def#layer: expected a plain value, found object"):
        trained_network(INFERENCE, BEFORE, {**BEFORE, "layer": "@layer"}, lambda _: object())


OWN = {"name": "Segmentation", "task": "of organs", "description": "Trains A", "references": ["A"], "version": "1.0"}
THEIRS = {"name": "Another", "task": "of bones", "description": "Trains B", "references": ["B"], "data_type": "DICOM"}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (tmp_path / "a_bundle" / "configs" / "methods" / "described").mkdir(parents=True)
    write(tmp_path / "a_bundle" / "configs" / "metadata.json", OWN)
    write(tmp_path / "a_bundle" / "configs" / "federated.json", {"method": "trained_before"})
    write(tmp_path / "a_bundle" / THEIR_FILE, THEIRS)
    return tmp_path / "a_bundle"


THEIR_FILE = "configs/methods/described/metadata.json"


def write(file: Path, content: Any) -> None:
    file.write_text(content if isinstance(content, str) else json.dumps(content))


def test_metadata_are_the_method_s_own_or_name_it(bundle: Path, tmp_path: Path) -> None:
    assert method_metadata(bundle, "a_bundle", None) == method_metadata(bundle, "trained_before", None) == OWN
    write(tmp_path / "elsewhere.json", THEIRS)
    for file in (THEIR_FILE, str(tmp_path / "elsewhere.json")):
        assert method_metadata(bundle, "described", file) == {**OWN, **THEIRS}
    other = method_metadata(bundle, "other", None)
    assert other["name"] == "other" and other["references"] == [] and other["version"] == "1.0"
    assert not any(text in json.dumps(other) for text in ("Segmentation", "of organs", "Trains A"))
    (bundle / "configs" / "metadata.json").unlink()
    assert method_metadata(bundle, "described", THEIR_FILE) == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({**THEIRS, "references": "B"}, "expected the texts name, task, description and a list of references"),
        ({**THEIRS, "task": ""}, "expected the texts name, task, description and a list of references"),
        ({"name": "Another"}, "found the entries ['name'], expected the texts name, task"),
        ({**THEIRS, "name": "long " * 13}, "name: expected at most 64 characters"),
        ("no JSON", "expected JSON"),
        ("[]", "expected JSON"),
    ],
)
def test_metadata_of_a_method_are_complete(bundle: Path, content: Any, said: str) -> None:
    write(bundle / THEIR_FILE, content)
    with pytest.raises(ValueError, match="method_metadata .*described/metadata.json: ") as refused:
        method_metadata(bundle, "described", THEIR_FILE)
    assert said in str(refused.value)


def test_metadata_that_do_not_exist_are_refused(bundle: Path) -> None:
    with pytest.raises(FileNotFoundError, match="configs/none.json: no such file"):
        method_metadata(bundle, "described", "configs/none.json")
