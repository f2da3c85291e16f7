"""Draws a partition: the number of images of each class at each site."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedmed_workflows.drawing import LABEL_SIZE, PAGE_WIDTH, TICK_SIZE, TITLE_SIZE, TRAINING, shorten

COLORS = (TRAINING, "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
"""Colours of Okabe and Ito, distinguishable with any colour vision. More classes use a colour map."""

ROW, TALLEST = 0.3, 40.0
"""Height of the bar of a site, and maximum height of a picture, in inches."""

ALL_IMAGES = "images"
"""Name of the only series of a segmentation, which has no classes."""


def partition_figure(record: Mapping[str, Any]) -> Figure:
    """Draws one bar for each site, with its classes side by side, and the numbers of images and patients.

    Parameters
    ----------
    record
        Content of ``partition.json``.
    """
    sites, names = record["sites"], record["class_names"] or [ALL_IMAGES]
    figure = Figure(figsize=(PAGE_WIDTH, min(TALLEST, 1.5 + ROW * len(sites))), layout="constrained")
    axes = figure.add_subplot()
    starts = [0] * len(sites)
    for name, color in zip(names, _colors(len(names)), strict=True):
        widths = [site["classes"].get(name, 0) if record["class_names"] else site["images"] for site in sites.values()]
        axes.barh(range(len(sites)), widths, 0.72, starts, color=color, label=shorten(name, 24))
        starts = [start + width for start, width in zip(starts, widths, strict=True)]
    _write_numbers(axes, sites)
    axes.set_title(_title(record), fontsize=TITLE_SIZE)
    if record["class_names"]:
        figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=LABEL_SIZE)
    return figure


def _write_numbers(axes: Axes, sites: Mapping[str, Any]) -> None:
    for place, site in enumerate(sites.values()):
        patients = "" if site["patients"] is None else f", {site['patients']} patients"
        text = f" {site['images']} images{patients}"
        axes.text(site["images"], place, text, va="center", fontsize=TICK_SIZE)
    axes.set_yticks(range(len(sites)), [shorten(name, 28) for name in sites], fontsize=TICK_SIZE)
    axes.set(xlim=(0, 1.35 * max(site["images"] for site in sites.values())), ylim=(len(sites) - 0.4, -0.6))
    axes.set_xlabel("Images", fontsize=LABEL_SIZE)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=TICK_SIZE)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _colors(count: int) -> list[Any]:
    if count <= len(COLORS):
        return list(COLORS[:count])
    return [colormaps["turbo"](place / (count - 1)) for place in range(count)]


def _title(record: Mapping[str, Any]) -> str:
    settings = record["settings"]
    details = [f"{name} {settings[name]}" for name in ("alpha", "keyword", "column") if name in settings]
    return shorten(", ".join([record["by"].replace("_", " "), *details, f"seed {record['seed']}"]), 90)
