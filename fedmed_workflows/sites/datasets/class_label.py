"""The class of an image in a label's file, as MONAI Label keeps one beside each image."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

FORM = '{"label": class} or {"prediction": [{"label": class, "score": number}, ...]}'


def class_index(label: int | str, class_names: Sequence[str]) -> int:
    """A class's place among all classes, from itself or from a label's file.

    Parameters
    ----------
    label
        The place; or the path of a JSON file ``{"label": class}``, where a class is a name or a place, or
        ``{"prediction": [{"label": class, "score": number}, ...]}``, MONAI Label's answer: the class of the best score.
        MONAI Label tells names in lower case, so that names are compared without regard to case.
    class_names
        All classes, in the order of the logits.

    Raises
    ------
    ValueError
        There is no such file, it holds no label, or a class that is not among those named; the message names it.
    """
    if not isinstance(label, str):
        return int(label)
    try:
        content = json.loads(Path(label).read_text())
        found = _best(content["prediction"]) if "prediction" in content else content["label"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{label}: expected {FORM}, found {type(error).__name__}: {error}") from error
    names = [name.casefold() for name in class_names]
    place = found if isinstance(found, int) else names.index(found.casefold()) if _is_one(found, names) else -1
    if not 0 <= place < len(names):
        raise ValueError(f"{label}: found the class {found!r}, expected one of {list(class_names)}")
    return int(place)


def _best(predictions: Sequence[Mapping[str, Any]]) -> Any:
    return max(predictions, key=lambda prediction: float(prediction["score"]))["label"]


def _is_one(found: Any, names: Sequence[str]) -> bool:
    return isinstance(found, str) and names.count(found.casefold()) == 1
