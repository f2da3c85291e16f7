"""Names the results of images like the images, in the same folders, and never like the results of another image."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedmed_transforms.loading.find import stem_of


def name_results(items: Iterable[dict[str, Any]], sources: Sequence[Path]) -> list[dict[str, Any]]:
    """Adds ``name`` to items with an ``image``: a path without ending, relative to the folder of all sources.

    The name is the path of the image's file without its ending, or the path of the series' folder. If two images have
    the same name, files keep their ending and series add their UID. The name of an image's results therefore does not
    depend on the order in which images are found.

    Parameters
    ----------
    items
        Items with ``path`` and ``series``, as :func:`fedmed_transforms.find_studies` returns them.
    sources
        The folders and files in which the images were found.
    """
    root = Path(os.path.commonpath([_absolute(path if path.is_dir() else path.parent) for path in sources]))
    items = list(items)
    images = [item for item in items if "image" in item]
    names = [_short(Path(item["path"]), root) for item in images]
    counts = Counter(names)
    for item, name in zip(images, names, strict=True):
        item["name"] = name if counts[name] == 1 else _long(Path(item["path"]), item["series"], root)
    return items


def name_alone(item: Mapping[str, Any], sources: Sequence[Path]) -> str:
    """Returns a unique name, also among images that arrive later: the UIDs of study and series, or the path.

    Parameters
    ----------
    item
        An item as in :func:`name_results`.
    sources
        The folders in which images are found; the path is relative to the folder of all sources.
    """
    if item["series"]:
        return "/".join(_plain(uid) for uid in (item["study"], item["series"]))
    root = Path(os.path.commonpath([_absolute(path) for path in sources]))
    return str(_absolute(Path(item["path"])).relative_to(root))


def _short(path: Path, root: Path) -> str:
    relative = _absolute(path).relative_to(root)
    return str(relative.with_name(stem_of(path))) if relative.name else root.name


def _long(path: Path, series: str, root: Path) -> str:
    relative = _absolute(path).relative_to(root)
    return str(relative / _plain(series)) if path.is_dir() else str(relative)


def _plain(uid: str) -> str:
    """Converts a UID to a file name; characters that no UID has become dots."""
    return re.sub(r"[^0-9A-Za-z]", ".", uid).strip(".")


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # links keep their names
