"""Draws figures with one panel for each site, split into sheets that fit a printed page."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec

from fedmed_workflows.drawing import (
    LABEL_SIZE,
    PAGE_HEIGHT,
    PAGE_WIDTH,
    TICK_SIZE,
    TITLE_SIZE,
    TRAINING,
    UNSEEN,
    shorten,
)

WIDEST_PANEL = 3.6
"""Maximum width of a panel, in inches."""


@dataclass(frozen=True)
class Panel:
    """The panel of one site in a figure."""

    figure: Figure
    spec: SubplotSpec
    site: Mapping[str, Any]
    width: float  # inches
    leftmost: bool
    lowest: bool

    @property
    def color(self) -> str:
        """Colour of the site's role, the same in every figure."""
        return UNSEEN if self.site["role"] == "unseen" else TRAINING

    def axes(self, spec: SubplotSpec | None = None) -> Axes:
        """Adds axes to the panel, or to a part of it."""
        axes = self.figure.add_subplot(spec or self.spec)
        axes.tick_params(labelsize=TICK_SIZE)
        axes.spines[["top", "right"]].set_visible(False)
        return axes

    def title(self, axes: Axes, names: float = 0.0) -> None:
        """Writes the site's name above axes, shortened to the width that labels of `names` inches leave."""
        role = " (unseen)" if self.site["role"] == "unseen" else ""
        columns = self.figure.get_figwidth() / self.width  # all columns share the remaining width
        room = max(8, int((self.width - names / columns) * 9.5) - len(role))
        axes.set_title(shorten(self.site["name"], room) + role, fontsize=TITLE_SIZE, color=self.color)


def by_site(
    name: str,
    sites: Sequence[Mapping[str, Any]],
    ratio: float,
    draw: Callable[[Panel], None],
    finish: Callable[[Figure], None],
    narrowest: float = 2.0,
) -> dict[str, Figure]:
    """Draws figures with one panel for each site.

    Parameters
    ----------
    name
        Name of the figure; numbered if the sites need several figures.
    sites
        ``{"name": ..., "role": ...}`` for each site.
    ratio
        Height of a panel divided by its width.
    draw
        Draws one panel.
    finish
        Adds the parts that a figure has only once, such as the legend.
    narrowest
        Minimum legible width of a panel, in inches.
    """
    square = len(sites) if len(sites) <= 3 else math.ceil(math.sqrt(len(sites)))
    columns = max(1, min(square, int(PAGE_WIDTH / narrowest)))
    width = max(min(WIDEST_PANEL, PAGE_WIDTH / columns), min(narrowest, PAGE_WIDTH))
    rows = max(1, int(PAGE_HEIGHT / (ratio * width)))
    pages = [sites[start : start + rows * columns] for start in range(0, len(sites), rows * columns)]
    names = [name] if len(pages) == 1 else [f"{name}_{number}" for number in range(1, len(pages) + 1)]
    return {key: _picture(page, columns, width, ratio, draw, finish) for key, page in zip(names, pages, strict=True)}


def legend(figure: Figure) -> None:
    """Adds one legend for all panels above the panels."""
    found = [axes.get_legend_handles_labels() for axes in figure.axes]
    entries = {label: handle for handles, labels in found for handle, label in zip(handles, labels, strict=True)}
    columns = 4 if figure.get_figwidth() > WIDEST_PANEL else 1
    figure.legend(
        [*entries.values()], [*entries], loc="outside upper center", ncols=columns, frameon=False, fontsize=LABEL_SIZE
    )


def _picture(
    sites: Sequence[Mapping[str, Any]],
    columns: int,
    width: float,
    ratio: float,
    draw: Callable[[Panel], None],
    finish: Callable[[Figure], None],
) -> Figure:
    rows = math.ceil(len(sites) / columns)
    figure = Figure(figsize=(width * columns, width * ratio * rows + 0.8), layout="constrained")
    grid = figure.add_gridspec(rows, columns)
    for index, site in enumerate(sites):
        row, column = divmod(index, columns)
        draw(Panel(figure, grid[row, column], site, width, column == 0, index + columns >= len(sites)))
    finish(figure)
    return figure
