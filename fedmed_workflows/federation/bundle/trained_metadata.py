"""A bundle's metadata after a run: the classes, sizes and scores of what was trained."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

SIZE = "image_size"
"""Entry of an inference configuration: side of the network's square input in pixels."""

SEGMENTATION = "segmentation"
"""Format of an output whose channels are masks."""


def trained_metadata(
    metadata: Mapping[str, Any], inference: Mapping[str, Any], decided: Mapping[str, Any], result: Mapping[str, Any]
) -> dict[str, Any]:
    """The metadata of a trained bundle.

    Parameters
    ----------
    metadata, inference
        The bundle's ``metadata.json`` and ``inference.json`` before the run.
    decided
        The entries of ``inference.json`` that the run decided.
    result
        The run, as its report has it.

    Returns
    -------
    dict
        The metadata with the run's classes in ``channel_def`` (of masks after ``"0": "background"``), their number in
        ``num_channels``, spatial shapes in the run's size, and ``eval_metrics`` by site. Empty where there were none.
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
    """A shape in proportion to the side of the input; expressions such as ``*`` and ``2**n`` are left as they are."""
    ratio = Fraction(after, before) if before and after else Fraction(1)
    return [int(side * ratio) if isinstance(side, int) else side for side in shape]


def _scores(result: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    return {
        site: {name: score["value"] for name, score in scored["metrics"].items() if score["value"] is not None}
        for site, scored in result["final"].items()
    }
