"""Draws the confusion matrices and the reliability diagrams of a classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from fedmed_workflows.drawing import LABEL_SIZE, LIGHT, MUTED, PAGE_WIDTH, TICK_SIZE, shorten
from fedmed_workflows.report.figures.panels import Panel, by_site, legend

CELL = 0.24
"""Minimum width of a cell of a confusion matrix with a legible count, in inches."""

COUNT_SIZE = 6.5
"""Font size of the counts of a reliability diagram, in points."""


def confusion(result: Mapping[str, Any]) -> dict[str, Figure]:
    """Draws the confusion matrix of every site, coloured by the shares of the true class."""
    names = result["class_names"]

    def draw(panel: Panel) -> None:
        axes = panel.axes()
        counts = np.asarray(result["final"][panel.site["name"]]["confusion"])  # (C, C)
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        _write_counts(axes, counts, shares, panel.width * 0.65 / len(names))
        _name_classes(axes, names, panel)
        panel.title(axes)

    def finish(figure: Figure) -> None:
        figure.supxlabel("Predicted class", fontsize=LABEL_SIZE)
        figure.supylabel("True class", fontsize=LABEL_SIZE)
        image = next(child for child in figure.axes[0].get_children() if isinstance(child, AxesImage))
        bar = figure.colorbar(image, ax=figure.axes, location="top", shrink=0.5, aspect=40)
        bar.set_label("Share of the true class", fontsize=LABEL_SIZE)
        bar.ax.tick_params(labelsize=TICK_SIZE)

    narrowest = min(PAGE_WIDTH, max(2.0, CELL * len(names) / 0.65))
    sites = _scored(result, "confusion")
    return by_site("confusion", sites, 1.0, draw, finish, narrowest) if sites else {}


def reliability(result: Mapping[str, Any]) -> dict[str, Figure]:
    """Draws accuracy against confidence of every site, with the number of images in each bin below."""

    def draw(panel: Panel) -> None:
        bins = result["final"][panel.site["name"]]["reliability"]
        parts = panel.spec.subgridspec(2, 1, height_ratios=[3, 1.1], hspace=0.02)
        _draw_accuracy(panel, panel.axes(parts[0]), bins)
        _draw_counts(panel, panel.axes(parts[1]), bins)

    def finish(figure: Figure) -> None:
        figure.supxlabel("Confidence", fontsize=LABEL_SIZE)
        figure.supylabel("Accuracy", fontsize=LABEL_SIZE)
        legend(figure)

    sites = _scored(result, "reliability")
    return by_site("reliability", sites, 1.1, draw, finish) if sites else {}


def _scored(result: Mapping[str, Any], part: str) -> list[dict[str, Any]]:
    return [site for site in result["sites"] if part in result["final"].get(site["name"], {})]


def _write_counts(axes: Axes, counts: np.ndarray, shares: np.ndarray, cell: float) -> None:
    digits = len(str(counts.max()))
    size = min(LABEL_SIZE, cell * 72 / (0.75 * max(2, digits)))
    if size < 4:
        return  # illegible: the colours remain
    for (row, column), count in np.ndenumerate(counts):
        color = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(count), ha="center", va="center", fontsize=size, color=color)


def _name_classes(axes: Axes, names: Sequence[str], panel: Panel) -> None:
    labels = [shorten(name, 20) for name in names]
    longest = max(map(len, labels)) * TICK_SIZE * 0.58  # points, at the mean width of a character
    fits = 25 + longest * (len(names) + 1) <= panel.width * 72
    rotation = {"rotation": 0} if fits else {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(range(len(names)), labels if panel.lowest else [""] * len(names), **rotation)
    axes.set_yticks(range(len(names)), labels if panel.leftmost else [""] * len(names))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _draw_accuracy(panel: Panel, axes: Axes, bins: Mapping[str, Any]) -> None:
    starts, widths = np.asarray(bins["edges"][:-1]), np.diff(bins["edges"])
    filled = [index for index, value in enumerate(bins["accuracy"]) if value is not None]
    heights = [bins["accuracy"][index] for index in filled]
    axes.bar(
        starts[filled],
        heights,
        widths[filled],
        align="edge",
        color=LIGHT,
        edgecolor="white",
        label="accuracy in the bin",
    )
    axes.plot([0, 1], [0, 1], color="black", linewidth=1, linestyle="--", label="calibrated")
    means = [np.nan if bins["confidence"][index] is None else bins["confidence"][index] for index in filled]
    axes.plot(means, heights, "o", color="black", markersize=3.5, label="at the mean confidence")
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    axes.tick_params(labelbottom=False, labelleft=panel.leftmost)
    panel.title(axes)


def _draw_counts(panel: Panel, axes: Axes, bins: Mapping[str, Any]) -> None:
    starts, widths, counts = np.asarray(bins["edges"][:-1]), np.diff(bins["edges"]), bins["count"]
    axes.bar(starts, counts, widths, align="edge", color=MUTED, edgecolor="white", label="images in the bin")
    for start, width, count in zip(starts, widths, counts, strict=True):
        axes.annotate(
            f" {count}" if count else "",
            (start + width / 2, count),
            rotation=90,
            ha="center",
            va="bottom",
            fontsize=COUNT_SIZE,
        )
    # The highest bar needs space for its number, whose size does not depend on the size of the panel.
    room = min(0.6, (len(str(max(counts))) + 1) * COUNT_SIZE * 0.65 / 72 / (0.2 * panel.width))
    axes.set(xlim=(0, 1), ylim=(0, max(1, *counts) / (1 - room)), yticks=[], xticks=[0, 0.5, 1])
    axes.set_xticklabels(["0", "0.5", "1"])
    axes.spines["left"].set_visible(False)
    axes.tick_params(labelbottom=panel.lowest)
