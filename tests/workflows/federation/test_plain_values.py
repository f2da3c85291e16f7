"""Values that come from elsewhere: plain ones pass, whatever a configuration would evaluate is refused."""

from __future__ import annotations

from typing import Any

import pytest

from fedmed_workflows.errors import SiteError
from fedmed_workflows.federation.bundle.plain_values import check_plain


@pytest.mark.parametrize(
    "value",
    [
        None, True, 3, 0.5, "ViT-B-32", "^([a-z]+-[0-9]+)$", "100%", "a@b.org",
        {"clip": {"embed_dim": 16, "text_cfg": {"heads": 2}}, "channels": {"organ": [1, 2]}, "weights": None},
    ],
)  # fmt: skip
def test_plain_values_pass(value: Any) -> None:
    check_plain(value, "facmic")


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("$__import__('os').system('id')", "'facmic'"),
        (" $import os", "'facmic'"),
        ("@dataset_dir", "'facmic'"),
        ("%/etc/passwd::root", "'facmic'"),
        ({"clip": {"_target_": "subprocess.run", "args": ["id"]}}, "'facmic#clip'"),
        ({"clip": ["ViT-B-32", {"a": ["$1"]}]}, "'facmic#clip#1#a#0'"),
        ({"$x": 1}, "'facmic'"),
        ({1: 1}, "'facmic'"),
        ({"clip": b"bytes"}, "'facmic#clip'"),
    ],
)
def test_what_a_configuration_evaluates_is_refused_by_name(value: Any, named: str) -> None:
    with pytest.raises(SiteError, match=r"expected (a plain value|plain values), found") as refused:
        check_plain(value, "facmic")
    assert f"setting {named}" in str(refused.value)
