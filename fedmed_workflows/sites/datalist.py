"""Reads MONAI datalists: the items of each section. All items are checked before an image is read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from fedmed_transforms.patients.split import PATIENT

DATALIST = "datalist.json"
"""Name of the MONAI datalist in the folder of a site. A file SITE.json beside the folders is a datalist, too."""

SECTIONS = ("training", "validation", "test")

Label = TypeVar("Label")


def datalist_of(site: Path) -> Path | None:
    """Returns the path of a site's datalist, which is the site itself or in its folder; None if there is none."""
    file = site if site.is_file() else site / DATALIST
    return file if file.is_file() else None


def read_datalist(
    file: Path, label_of: Callable[[Mapping[str, Any], Mapping[str, Any]], Label], form: str
) -> dict[str, list[tuple[str, Label]]]:
    """Reads a datalist; returns (image, label) of every item, by section.

    Parameters
    ----------
    file
        JSON file with lists of items ``{"image": path, "label": ...}`` under ``training``, ``validation`` and
        ``test``. Paths are relative to the file.
    label_of
        Returns the label of an item: ``(item, whole datalist) -> label``.
    form
        The expected form of the datalist, for the error message.

    Raises
    ------
    ValueError
        The file is not a datalist, names an image that does not exist, or names an image twice. The message names the
        file.
    """
    try:
        content = json.loads(file.read_text("utf-8"))
        unknown = sorted(
            key for key, value in content.items() if isinstance(value, list) and key not in (*SECTIONS, "class_names")
        )
        if unknown:
            raise ValueError(f"the sections {unknown}, expected some of {list(SECTIONS)}")
        read = {
            section: [(existing(file, item["image"]), label_of(item, content)) for item in content[section]]
            for section in SECTIONS
            if content.get(section)
        }
        _check_named_once(read)
        return read
    except Exception as error:  # entries of other kinds than expected, and the parser, raise a dozen kinds
        raise ValueError(f"{file}: expected a datalist {form}, found {type(error).__name__}: {error}") from error


def read_patients(site: Path) -> dict[str, str]:
    """Returns, by image, the patients that a site's datalist names. :func:`read_datalist` must have read it before."""
    file = datalist_of(site)
    if file is None:
        return {}
    content = json.loads(file.read_text("utf-8"))
    items = [item for section in SECTIONS for item in content.get(section) or ()]
    return {str(file.parent / item["image"]): str(item[PATIENT]) for item in items if item.get(PATIENT)}


def declared_classes(site: Path) -> list[str]:
    """Returns the ``class_names`` of a site's datalist, if any. :func:`read_datalist` must have read it before."""
    file = datalist_of(site)
    names = json.loads(file.read_text("utf-8")).get("class_names") if file is not None else None
    return [str(name) for name in names or ()]


def existing(file: Path, name: str) -> str:
    """Returns the path of a file or folder that a datalist names.

    Raises
    ------
    ValueError
        There is no such file or folder.
    """
    path = file.parent / name
    if not path.exists():
        raise ValueError(f"the file {path}, which does not exist")
    return str(path)


def _check_named_once(sections: Mapping[str, list[tuple[str, Any]]]) -> None:
    """Refuses an image that a datalist names twice, as it could be both a training image and a test image."""
    named = Counter(image for items in sections.values() for image, _ in items)
    twice = sorted(image for image, count in named.items() if count > 1)
    if twice:
        raise ValueError(f"the image {twice[0]} more than once")
