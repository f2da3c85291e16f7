"""Reads the images and classes of a site from class folders or from a datalist."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedmed_transforms.loading.find import is_image, list_images
from fedmed_workflows.sites.datalist import DATALIST, datalist_of, read_datalist

FORM = "{'class_names': [...], 'training': [{'image': path, 'label': class}]}"


def read_site(path: Path) -> dict[str, list[tuple[str, str]]]:
    """Reads the images of a site from class folders or a datalist; returns (image, class) by section.

    Parameters
    ----------
    path
        A folder of class folders, a folder with a ``datalist.json``, or the file of a datalist.

    Raises
    ------
    ValueError
        There is no image, an image is outside the class folders, or the datalist is invalid, names an image that does
        not exist, or names an image in two sections. The message names the folder or the file of the site.
    """
    datalist = datalist_of(path)
    sections = read_datalist(datalist, _class_of, FORM) if datalist else {"training": _read_folder(path)}
    for name in sorted({name for items in sections.values() for _, name in items}):
        check_name(name, f"{path}: class")
    if not any(sections.values()):
        raise ValueError(f"{path}: found no image, expected class folders with images, or a {DATALIST}")
    return sections


def check_name(name: str, owner: str) -> None:
    """Refuses a name with a character that has a meaning in MONAI's configurations, which could run it as code.

    Raises
    ------
    ValueError
        The name starts with ``$`` or ``%``, or contains ``@`` or ``#``. The message starts with `owner`.
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


def _class_of(item: Mapping[str, Any], datalist: Mapping[str, Any]) -> str:
    label, names = item["label"], datalist.get("class_names")
    if not isinstance(label, int) or not names:
        return str(label)
    if label < 0:
        raise IndexError(f"label {label}, expected 0 to {len(names) - 1}")
    return str(names[label])
