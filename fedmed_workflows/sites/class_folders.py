"""Which images a site has, and of which class: from class folders or a datalist."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedmed_transforms.loading.find import is_image, list_images
from fedmed_workflows.sites.datalist import DATALIST, datalist_of, read_datalist

FORM = "{'class_names': [...], 'training': [{'image': path, 'label': class}]}"


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
    datalist = datalist_of(path)
    sections = read_datalist(datalist, _class_of, FORM) if datalist else {"training": _read_folder(path)}
    for name in sorted({name for items in sections.values() for _, name in items}):
        check_name(name, f"{path}: class")
    if not any(sections.values()):
        raise ValueError(f"{path}: found no image, expected class folders with images, or a {DATALIST}")
    return sections


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


def _class_of(item: Mapping[str, Any], datalist: Mapping[str, Any]) -> str:
    label, names = item["label"], datalist.get("class_names")
    if not isinstance(label, int) or not names:
        return str(label)
    if label < 0:
        raise IndexError(f"label {label}, expected 0 to {len(names) - 1}")
    return str(names[label])
