"""MONAI datalists: which items a site's sections hold, each checked before anything reads an image."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from fedmed_transforms.patients.split import PATIENT

DATALIST = "datalist.json"
"""Name of a site's MONAI datalist inside its folder; a file SITE.json beside the sites' folders is one too."""

SECTIONS = ("training", "validation", "test")

Label = TypeVar("Label")


def datalist_of(site: Path) -> Path | None:
    """The datalist of a site: itself, or in its folder; None if the site has none."""
    file = site if site.is_file() else site / DATALIST
    return file if file.is_file() else None


def read_datalist(
    file: Path, label_of: Callable[[Mapping[str, Any], Mapping[str, Any]], Label], form: str
) -> dict[str, list[tuple[str, Label]]]:
    """(image, label) of every item, by section.

    Parameters
    ----------
    file
        JSON with lists of items ``{"image": path, "label": ...}`` under ``training``, ``validation`` and ``test``;
        paths are relative to the file.
    label_of
        ``(item, the whole datalist) -> label``.
    form
        The form of such a datalist, for the error.

    Raises
    ------
    ValueError
        The file is no datalist, names an image that does not exist, or names one twice; the message names the file.
    """
    try:
        content = json.loads(file.read_text())
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
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"{file}: expected a datalist {form}, found {type(error).__name__}: {error}") from error


def read_patients(site: Path) -> dict[str, str]:
    """By image, the patients that the items of a site's datalist name; of one that :func:`read_datalist` has read."""
    file = datalist_of(site)
    if file is None:
        return {}
    content = json.loads(file.read_text())
    items = [item for section in SECTIONS for item in content.get(section) or ()]
    return {str(file.parent / item["image"]): str(item[PATIENT]) for item in items if item.get(PATIENT)}


def declared_classes(site: Path) -> list[str]:
    """The ``class_names`` of a site's datalist, if it has any; of one that :func:`read_datalist` has read."""
    file = datalist_of(site)
    names = json.loads(file.read_text()).get("class_names") if file is not None else None
    return [str(name) for name in names or ()]


def existing(file: Path, name: str) -> str:
    """A path that a datalist names.

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
    """A datalist may name an image once: in two sections it would be trained on and judged by."""
    named = Counter(image for items in sections.values() for image, _ in items)
    twice = sorted(image for image, count in named.items() if count > 1)
    if twice:
        raise ValueError(f"the image {twice[0]} more than once")
