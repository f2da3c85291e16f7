"""Draws the histograms of a statistics job: the distribution of the patients of each site over a quantity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from fedmed_workflows.drawing import LABEL_SIZE
from fedmed_workflows.report.figures.panels import Panel, by_site
from fedmed_workflows.report.figures.site_quantities import quantity_of

DRAWN = {
    "intensity": "Intensity",
    "spacing x": "Spacing x (mm)",
    "spacing y": "Spacing y (mm)",
    "spacing z": "Spacing z (mm)",
}
"""Labels of the axis, for each quantity with a histogram."""


def histograms(record: Mapping[str, Any]) -> dict[str, Figure]:
    """Draws one figure for every quantity with a histogram; returns the figures by ``histogram_NAME``.

    Parameters
    ----------
    record
        Record of the job, as for :func:`fedmed_workflows.report.statistics_page.write_statistics`.
    """
    found: dict[str, Figure] = {}
    for name, words in DRAWN.items():
        found |= _histogram(record, name, words)
    return found


def _histogram(record: Mapping[str, Any], name: str, words: str) -> dict[str, Figure]:
    bins = {site["name"]: quantity_of(record, site["name"], name).bins for site in record["sites"]}
    sites = [site for site in record["sites"] if bins[site["name"]]]

    def draw(panel: Panel) -> None:
        axes, own = panel.axes(), bins[panel.site["name"]]
        total = sum(count for _, _, count in own) or 1
        widths = [high - low for low, high, _ in own]
        axes.bar(
            [low for low, _, _ in own], [count / total for _, _, count in own], widths, align="edge",
            color=panel.color, edgecolor="white", linewidth=0.5,
        )  # fmt: skip
        axes.set_ylim(0, 1.02)
        axes.tick_params(labelleft=panel.leftmost, labelbottom=panel.lowest)
        panel.title(axes)

    def finish(figure: Figure) -> None:
        figure.supxlabel(words, fontsize=LABEL_SIZE)
        figure.supylabel("Share of the patients", fontsize=LABEL_SIZE)

    return by_site(f"histogram_{name.replace(' ', '_')}", sites, 0.62, draw, finish) if sites else {}
