"""Reads the class of an image from a label file, such as MONAI Label writes beside each image."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

FORM = '{"label": class} or {"prediction": [{"label": class, "score": number}, ...]}'


def class_index(label: int | str, class_names: Sequence[str]) -> int:
    """Returns the index of a class, from the index itself or from a label file.

    Parameters
    ----------
    label
        The index, or the path of a JSON file. The file is ``{"label": class}``, where a class is a name or an index, or
        MONAI Label's answer ``{"prediction": [{"label": class, "score": number}, ...]}``, whose best score is used.
        MONAI Label writes names in lower case, so names are compared without regard to case.
    class_names
        All classes, in the order of the logits.

    Raises
    ------
    ValueError
        The file does not exist, has no label, or has a class that is not among `class_names`. The message names the
        file.
    """
    if not isinstance(label, str):
        return int(label)
    try:
        content = json.loads(Path(label).read_text())
        found = _best(content["prediction"]) if "prediction" in content else content["label"]
    except Exception as error:  # entries of other kinds than expected, and the parser, raise a dozen kinds
        raise ValueError(f"{label}: expected {FORM}, found {type(error).__name__}: {error}") from error
    names = [name.casefold() for name in class_names]
    index = found if isinstance(found, int) else names.index(found.casefold()) if _is_one(found, names) else -1
    if not 0 <= index < len(names):
        raise ValueError(f"{label}: found the class {found!r}, expected one of {list(class_names)}")
    return int(index)


def _best(predictions: Sequence[Mapping[str, Any]]) -> Any:
    return max(predictions, key=lambda prediction: float(prediction["score"]))["label"]


def _is_one(found: Any, names: Sequence[str]) -> bool:
    return isinstance(found, str) and names.count(found.casefold()) == 1
