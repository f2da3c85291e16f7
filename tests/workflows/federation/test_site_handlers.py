"""Handlers of a site's training: those of a single site are left out, whether they stand in the list or by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser

from fedmed_workflows.federation.bundle.config import component, config_files, site_workflow

NAMED = {
    "watch": {"_target_": "fedmed_workflows.LossWatch"},
    "second_watch": "@watch",
    "nearby": {"_target_": "fedmed_workflows.FedProx", "network": "@network"},
    "+train#handlers": ["@watch", "@second_watch", "@nearby"],
}
"""An overlay of train.json with handlers that are entries of their own."""


def handlers_of(bundle_root: Path, overlay: dict[str, Any], folder: Path, part: str) -> list[Any]:
    """The handlers that a site of a federation has."""
    (folder / "overlay.json").write_text(json.dumps(overlay))
    files = config_files(str(bundle_root), ["configs/train.json", str(folder / "overlay.json")])
    found: list[Any] = site_workflow(files, {}).parser[f"{part}#handlers"]
    return found


def test_handlers_of_a_single_site_are_left_out(bundle_root: Path, tmp_path: Path) -> None:
    assert handlers_of(bundle_root, {}, tmp_path, "train") == []
    (metrics,) = handlers_of(bundle_root, {}, tmp_path, "validate")
    assert metrics["_target_"] == "fedmed_workflows.ClassificationMetrics"


def test_a_handler_is_left_out_by_its_name(bundle_root: Path, tmp_path: Path) -> None:
    assert handlers_of(bundle_root, NAMED, tmp_path, "train") == ["@nearby"]


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ({"_target_": "a.B"}, {"_target_": "a.B"}),
        ("@inner#b", {"_target_": "b.C"}),
        ("%inner#b", {"_target_": "b.C"}),
        ("@again", {"_target_": "b.C"}),
        ("$print", {}),
        ("@absent", {}),
        (None, {}),
    ],
)
def test_the_component_of_an_element(entry: Any, found: dict[str, str]) -> None:
    parser = ConfigParser({"inner": {"b": {"_target_": "b.C"}}, "again": "@inner#b"})
    assert component(entry, parser) == found


def test_a_plain_value_does_not_replace_a_component(bundle_root: Path) -> None:
    training = config_files(str(bundle_root), ["configs/train.json"])
    with pytest.raises(ValueError, match="setting 'loss': found 0.5, and .*train.json has a component of this name"):
        site_workflow(training, {"loss": 0.5})
