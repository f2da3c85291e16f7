"""The network of a method as an inference configuration builds it, and what its bundle says of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fedmed_workflows.federation.bundle.trained_bundle import _metadata
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


def test_metadata_are_the_method_s_own_or_name_it(tmp_path: Path) -> None:
    own = {"name": "Segmentation", "task": "of organs"}
    (tmp_path / "configs" / "methods" / "described").mkdir(parents=True)
    (tmp_path / "configs" / "metadata.json").write_text(json.dumps(own))
    described = {"name": "Another segmentation"}
    (tmp_path / "configs" / "methods" / "described" / "metadata.json").write_text(json.dumps(described))
    assert _metadata(tmp_path, None) == own
    assert _metadata(tmp_path, "described") == {**own, **described}
    assert _metadata(tmp_path, "other") == {**own, "name": "Segmentation, method other"}
