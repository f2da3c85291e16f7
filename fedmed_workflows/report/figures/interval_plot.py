"""Draws values with their intervals, before round 1 and after the last round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedmed_workflows.drawing import LABEL_SIZE, PAGE_WIDTH, TICK_SIZE, TITLE_SIZE, TRAINING, UNSEEN, shorten
from fedmed_workflows.report.figures.metric_names import metric_of
from fedmed_workflows.report.figures.panels import Panel, by_site, legend

Interval = Mapping[str, float | None]
"""``value``, ``low`` and ``high``; empty without a score."""

CLASS_ROW, CLASS_PANEL = 0.3, 2.8
"""Height of the row of a class, and usual width of a panel, in inches."""


@dataclass(frozen=True)
class Row:
    """A row of a figure: a name, and the intervals before and after training."""

    name: str
    color: str
    before: Interval
    after: Interval


def key_metric(result: Mapping[str, Any]) -> dict[str, Figure]:
    """Draws the key metric of every site before round 1 and after the last round, with 95% intervals."""
    key = result["key_metric"]
    sites = [site for site in result["sites"] if site["name"] in {*result["initial"], *result["final"]}]
    rows = [
        Row(
            shorten(site["name"], 28) + (" (unseen)" if site["role"] == "unseen" else ""),
            UNSEEN if site["role"] == "unseen" else TRAINING,
            *(interval_of(result[stage].get(site["name"]), key) for stage in ("initial", "final")),
        )
        for site in sites
    ]
    return {key: interval_figure(rows, key, result["chance"])} if rows else {}


def key_metric_by_class(result: Mapping[str, Any]) -> dict[str, Figure]:
    """Draws the key metric of every class of every site, if the scores have more than one class."""
    key = result["key_metric"]
    scores = {name: score for name, score in result["final"].items() if len(score.get("classes", {})) > 1}
    sites = [site for site in result["sites"] if site["name"] in scores]
    names = list(dict.fromkeys(name for score in scores.values() for name in score["classes"]))

    def draw(panel: Panel) -> None:
        axes = panel.axes()
        scored = [result[stage].get(panel.site["name"]) for stage in ("initial", "final")]
        rows = [
            Row(shorten(name, 20), panel.color, *(_of_class(score, name, key) for score in scored)) for name in names
        ]
        _draw_rows(axes, rows)
        axes.set_yticks(range(len(rows)), [row.name for row in rows] if panel.leftmost else [""] * len(rows))
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axes.tick_params(labelbottom=panel.lowest)
        longest = max(len(row.name) for row in rows)
        panel.title(axes, longest * TICK_SIZE * 0.58 / 72)  # at the mean width of a character

    def finish(figure: Figure) -> None:
        figure.supxlabel(f"{metric_of(key).heading}, 95% interval", fontsize=LABEL_SIZE)
        _explain(figure.axes[0])
        legend(figure)

    ratio = min(3.5, (0.5 + CLASS_ROW * len(names)) / CLASS_PANEL)
    return by_site(f"{key}_by_class", sites, ratio, draw, finish) if sites else {}


def interval_figure(rows: Sequence[Row], key: str, chance: float | None = None) -> Figure:
    """Draws one line for every row, and a dotted line at the value of a random guess."""
    figure = Figure(figsize=(PAGE_WIDTH, 1.6 + 0.36 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    _draw_rows(axes, rows)
    if chance is not None:
        axes.axvline(chance, color="black", linewidth=1, linestyle=":", label="chance")
    _explain(axes)
    axes.set_yticks(range(len(rows)), [row.name for row in rows], fontsize=TITLE_SIZE - 1)
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_color(row.color)
    axes.set_xlabel(f"{metric_of(key).heading}, 95% interval", fontsize=LABEL_SIZE)
    legend(figure)
    return figure


def interval_of(score: Mapping[str, Any] | None, key: str) -> Interval:
    """Returns the interval of a metric of a score; empty if the score does not have the metric."""
    interval: Interval = (score or {"metrics": {}})["metrics"].get(key) or {}
    return interval


def _of_class(score: Mapping[str, Any] | None, name: str, key: str) -> Interval:
    interval: Interval = (score or {}).get("classes", {}).get(name, {}).get(key) or {}
    return interval


def _draw_rows(axes: Axes, rows: Sequence[Row]) -> None:
    for place, row in enumerate(rows):
        _draw_interval(axes, place - 0.16, row.before, "white", row.color)
        _draw_interval(axes, place + 0.16, row.after, row.color, row.color)
    axes.set(xlim=(0, 1.02), ylim=(len(rows) - 0.4, -0.6))
    axes.grid(axis="x", color="#E4E4E4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=TICK_SIZE)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _draw_interval(axes: Axes, row: float, interval: Interval, face: str, color: str) -> None:
    value, low, high = (interval.get(key) for key in ("value", "low", "high"))
    if value is None:
        axes.text(0.01, row, "undefined", va="center", fontsize=TICK_SIZE - 1, color=color)
        return
    if low is not None and high is not None:
        axes.plot([low, high], [row, row], color=color, linewidth=1.6, solid_capstyle="butt")
    axes.plot(value, row, "o", color=color, markerfacecolor=face, markersize=6)


def _explain(axes: Axes) -> None:
    axes.plot([], [], "o", color="black", markerfacecolor="white", label="before round 1")
    axes.plot([], [], "o", color="black", label="after the last round")
