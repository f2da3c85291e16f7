"""Settings that the unseen site decides for the others: features that it sends, and no word about anything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedmed_workflows.errors import SiteError
from fedmed_workflows.nvflare.site.released import released_files, stored_files


def test_released_features_are_kept_and_found_again(tmp_path: Path) -> None:
    (tmp_path / "features.safetensors").write_bytes(b"features")
    sent = released_files({"target": str(tmp_path / "features.safetensors")})
    kept = stored_files(tmp_path / "run", "site_a", sent["files"], sent["settings"])
    assert Path(kept["target"]).read_bytes() == b"features"
    assert Path(kept["target"]).parent == tmp_path / "run" / "received" / "site_a"
    assert stored_files(tmp_path / "run", "site_a", {}, {}) == kept


@pytest.mark.parametrize("settings", [{}, {"target": None}, {"target": "none"}])
def test_without_features_there_is_nobody_to_align_to(settings: dict[str, Any], tmp_path: Path) -> None:
    assert stored_files(tmp_path, "site_a", {}, settings) == settings


@pytest.mark.parametrize(
    ("files", "settings"),
    [
        ({}, {"target": "/home/other/images"}),
        ({}, {"weights": "/home/other/weights.pt"}),
        ({"weights": b"weights"}, {}),
        ({"target": b"features"}, {"learning_rate": 1000.0}),
    ],
)
def test_a_message_decides_nothing_else_of_a_site(
    files: dict[str, bytes], settings: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(SiteError, match="settings of the unseen site: found"):
        stored_files(tmp_path / "run", "site_a", files, settings)
    assert not (tmp_path / "run").exists()
