"""A class in a label's file: every form, and what is refused by name."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from fedmed_workflows.sites.datasets.class_label import class_index

NAMES = ["Glioma", "healthy"]


@pytest.mark.parametrize(
    "content, place",
    [
        ({"label": "healthy"}, 1),
        ({"label": "glioma"}, 0),
        ({"label": 1}, 1),
        ({"prediction": [{"label": "glioma", "score": 0.2}, {"label": "healthy", "score": 0.8}]}, 1),
        ({"prediction": [{"idx": 0, "label": "glioma", "score": 1}]}, 0),
    ],
)
def test_a_class_is_read_from_a_file(content: dict[str, Any], place: int, tmp_path: Path) -> None:
    file = tmp_path / "label.json"
    file.write_text(json.dumps(content))
    assert class_index(str(file), NAMES) == place


def test_a_place_stays_as_it_is() -> None:
    assert class_index(1, []) == 1


@pytest.mark.parametrize(
    "content, found",
    [
        ('{"label": "stroke"}', "'stroke'"),
        ('{"label": 2}', "2"),
        ('{"label": -1}', "-1"),
        ('{"label": null}', "None"),
        ('{"class": "healthy"}', "KeyError"),
        ('{"prediction": []}', "ValueError"),
        ('["healthy"]', "TypeError"),
        ("healthy", "JSONDecodeError"),
    ],
)
def test_what_is_no_class_is_refused_by_the_name_of_its_file(content: str, found: str, tmp_path: Path) -> None:
    file = tmp_path / "label.json"
    file.write_text(content)
    with pytest.raises(ValueError, match=f"^{re.escape(str(file))}: .*{re.escape(found)}"):
        class_index(str(file), NAMES)


def test_two_classes_that_differ_in_case_alone_are_told_by_their_place(tmp_path: Path) -> None:
    file = tmp_path / "label.json"
    file.write_text('{"label": "a"}')
    with pytest.raises(ValueError, match="found the class 'a'"):
        class_index(str(file), ["A", "a"])


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(str(tmp_path / "no.json"))):
        class_index(str(tmp_path / "no.json"), NAMES)
