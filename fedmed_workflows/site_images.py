"""Which images a site has, and of which class: from class folders or a MONAI datalist."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedmed_transforms.find import is_image, list_images
from fedmed_transforms.split import PATIENT

DATALIST = "datalist.json"
"""Name of a site's MONAI datalist inside its folder; a file SITE.json beside the sites' folders is one too."""

SECTIONS = ("training", "validation", "test")
KEYS = (*SECTIONS, "class_names")


def read_site(path: Path) -> dict[str, list[tuple[str, str]]]:
    """The images of a site: (image, class) by section, from class folders or a datalist.

    Parameters
    ----------
    path
        A folder of class folders, a folder with a ``datalist.json``, or a datalist's file.

    Raises
    ------
    ValueError
        There is no image, an image lies outside the class folders, or the datalist is no datalist, names an image that
        does not exist or names one in two sections; the message names the site's folder or file.
    """
    datalist = path if path.is_file() else path / DATALIST
    sections = _read_datalist(datalist) if datalist.is_file() else {"training": _read_folder(path)}
    for name in sorted({name for items in sections.values() for _, name in items}):
        check_name(name, f"{path}: class")
    if not any(sections.values()):
        raise ValueError(f"{path}: found no image, expected class folders with images, or a {DATALIST}")
    return sections


def read_patients(path: Path) -> dict[str, str]:
    """By image, the patients that the items of a site's datalist name; of a site that :func:`read_site` has read."""
    datalist = path if path.is_file() else path / DATALIST
    if not datalist.is_file():
        return {}
    content = json.loads(datalist.read_text())
    items = [item for section in SECTIONS for item in content.get(section) or ()]
    return {str(datalist.parent / item["image"]): str(item[PATIENT]) for item in items if item.get(PATIENT)}


def check_name(name: str, owner: str) -> None:
    """Refuses a name to which MONAI's configuration gives a meaning: as text of a configuration it could run as code.

    Raises
    ------
    ValueError
        The name starts with ``$`` or ``%``, or holds ``@`` or ``#``; the message says whose name it is.
    """
    if name.startswith(("$", "%")) or "@" in name or "#" in name:
        raise ValueError(
            f"{owner} {name!r}: expected a name without '$' or '%' at its start and without '@' and '#', "
            "which have a meaning in MONAI's configurations"
        )


def _read_folder(path: Path) -> list[tuple[str, str]]:
    if not path.is_dir():
        raise ValueError(f"{path}: expected a folder with one folder a class, or a datalist")
    folders = [folder for folder in sorted(path.iterdir()) if folder.is_dir() and not folder.name.startswith(".")]
    astray = [file for file in sorted(path.iterdir()) if file.is_file() and is_image(file)]
    if astray:
        raise ValueError(f"{astray[0]}: found an image outside the class folders, expected it in {path}/CLASS")
    return [(str(image), folder.name) for folder in folders for image in list_images(folder)]


def _read_datalist(path: Path) -> dict[str, list[tuple[str, str]]]:
    try:
        content = json.loads(path.read_text())
        names = content.get("class_names")
        unknown = sorted(key for key, value in content.items() if isinstance(value, list) and key not in KEYS)
        if unknown:
            raise ValueError(f"the sections {unknown}, expected some of {list(SECTIONS)}")
        sections = {section: content[section] for section in SECTIONS if content.get(section)}
        read = {
            section: [(_existing(path.parent / item["image"]), _class_name(item["label"], names)) for item in items]
            for section, items in sections.items()
        }
        _check_apart(read)
        return read
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(
            f"{path}: expected a datalist {{'class_names': [...], 'training': [{{'image': path, 'label': class}}]}}, "
            f"found {type(error).__name__}: {error}"
        ) from error


def _check_apart(sections: dict[str, list[tuple[str, str]]]) -> None:
    """A datalist may name an image once: in two sections it would be trained on and judged by."""
    named = Counter(image for items in sections.values() for image, _ in items)
    twice = sorted(image for image, count in named.items() if count > 1)
    if twice:
        raise ValueError(f"the image {twice[0]} more than once")


def _existing(image: Path) -> str:
    if not image.exists():
        raise ValueError(f"the image {image}, which does not exist")
    return str(image)


def _class_name(label: Any, names: Sequence[str] | None) -> str:
    if not isinstance(label, int) or not names:
        return str(label)
    if label < 0:
        raise IndexError(f"label {label}, expected 0 to {len(names) - 1}")
    return str(names[label])
