"""The metadata of a bundle after a run: the method, the classes, the sizes and the scores."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from fedmed_workflows.federation.bundle.config import existing_files
from fedmed_workflows.json_file import read_entries

METADATA, FEDERATED = "configs/metadata.json", "configs/federated.json"

OF_A_METHOD = ("name", "task", "description", "references")
"""Entries of a bundle's metadata about its method. The metadata of another method must have all of them."""

NAME_LENGTH = 64
"""Largest number of characters of an algorithm's name in DICOM."""

SIZE = "image_size"
"""Entry of an inference configuration: the side of the network's square input in pixels."""

SEGMENTATION = "segmentation"
"""Format of an output with masks as its channels."""


def selected_method(bundle_root: str | Path, method: str) -> str | None:
    """The method of a run if an overlay selected it; None for the method that the bundle itself has."""
    root = Path(bundle_root)
    own = (root.resolve().name, read_json(root / FEDERATED).get("method"))
    return None if method in own else method


def method_metadata(bundle_root: str | Path, method: str, file: str | None) -> dict[str, Any]:
    """Reads the metadata of a bundle, with those of the method that an overlay selected.

    Parameters
    ----------
    bundle_root
        The bundle's folder.
    method
        Name of the method.
    file
        A JSON file with the method's own metadata, by its name in the bundle's folder or by a path. It has the entries
        of :data:`OF_A_METHOD`, and may have other entries of the bundle's ``metadata.json``. None: the method's name
        replaces the texts about the bundle's own method.

    Returns
    -------
    dict
        Empty where the bundle has no ``configs/metadata.json``.

    Raises
    ------
    ValueError
        The file is not the metadata of a method; the message names the file and the entries.
    FileNotFoundError
        The file does not exist.
    """
    metadata, own = read_json(Path(bundle_root) / METADATA), {} if file is None else _checked(bundle_root, file)
    if not metadata or own or selected_method(bundle_root, method) is None:
        return {**metadata, **own} if metadata else {}
    text = f"Method {method}, which has no metadata of its own (entry method_metadata of its overlay)"
    return {**metadata, "name": method, "task": f"Method {method}", "description": text, "references": []}


def _checked(bundle_root: str | Path, file: str) -> dict[str, Any]:
    (path,) = existing_files(str(bundle_root), [file])
    try:
        content = read_json(Path(path))
    except ValueError as error:
        raise ValueError(f"method_metadata {path}: expected JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"method_metadata {path}: expected JSON with entries by name, found {type(content).__name__}")
    texts, references = [content.get(name) for name in OF_A_METHOD[:-1]], content.get(OF_A_METHOD[-1])
    listed = isinstance(references, list) and all(isinstance(reference, str) for reference in references)
    if not all(isinstance(text, str) and text for text in texts) or not listed:
        expected = f"expected the texts {', '.join(OF_A_METHOD[:-1])} and a list of {OF_A_METHOD[-1]}"
        raise ValueError(f"method_metadata {path}: found the entries {sorted(content)}, {expected}")
    if len(content["name"]) > NAME_LENGTH:
        raise ValueError(f"method_metadata {path}: name: expected at most {NAME_LENGTH} characters, as DICOM has them")
    return content


def read_json(file: Path) -> dict[str, Any]:
    """Reads the entries of a bundle's file of JSON; a file that does not exist is empty."""
    return read_entries(file, "JSON with entries by name") if file.is_file() else {}


def trained_metadata(
    metadata: Mapping[str, Any], inference: Mapping[str, Any], decided: Mapping[str, Any], result: Mapping[str, Any]
) -> dict[str, Any]:
    """Builds the metadata of a trained bundle.

    Parameters
    ----------
    metadata, inference
        The bundle's metadata and ``inference.json`` before the run.
    decided
        The entries of ``inference.json`` that the run decided.
    result
        The run, as in its report.

    Returns
    -------
    dict
        The metadata with the run's classes in ``channel_def`` (for masks after ``"0": "background"``), their number in
        ``num_channels``, spatial shapes of the run's size, and ``eval_metrics`` by site. Empty if `metadata` is empty.
    """
    trained = copy.deepcopy(dict(metadata))
    if not trained:
        return trained
    output = trained["network_data_format"]["outputs"]["pred"]
    names = list(result["class_names"])
    listed = ["background", *names] if output["format"] == SEGMENTATION else names
    output |= {"num_channels": len(names), "channel_def": {str(index): name for index, name in enumerate(listed)}}
    for part in trained["network_data_format"].values():
        for tensor in part.values():
            tensor["spatial_shape"] = _resized(tensor["spatial_shape"], inference.get(SIZE), decided.get(SIZE))
    return {**trained, "eval_metrics": _scores(result)}


def _resized(shape: list[Any], before: int | None, after: int | None) -> list[Any]:
    """Scales a shape with the side of the input; expressions such as ``*`` and ``2**n`` stay unchanged."""
    ratio = Fraction(after, before) if before and after else Fraction(1)
    return [int(side * ratio) if isinstance(side, int) else side for side in shape]


def _scores(result: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    return {
        site: {name: score["value"] for name, score in scored["metrics"].items() if score["value"] is not None}
        for site, scored in result["final"].items()
    }
