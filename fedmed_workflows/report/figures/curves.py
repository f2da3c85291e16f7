"""Draws curves over the rounds: training loss, key metric in validation, exchanged bytes."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fedmed_workflows.drawing import LABEL_SIZE, LIGHT, MUTED, TRAINING
from fedmed_workflows.report.figures.metric_names import metric_of
from fedmed_workflows.report.figures.panels import Panel, by_site, legend

Series = dict[str, list[float]]
"""One value for each round, by site; NaN if there is none."""

NAN = float("nan")


def training_loss(result: Mapping[str, Any]) -> dict[str, Figure]:
    """Draws the mean training loss of every training site; returns no figure if no loss leaves the sites."""
    rounds = trained_rounds(result)
    has_loss = any("loss" in site for entry in rounds for site in entry["sites"].values())
    series = {site["name"]: [_number(_part(entry, site).get("loss")) for entry in rounds] for site in _training(result)}
    missed = {site["name"]: _missed(rounds, site) for site in _training(result)}

    def draw(panel: Panel) -> None:
        axes = _curve(panel, series, [entry["round"] for entry in rounds])
        _mark_missed(axes, missed[panel.site["name"]])

    return by_site("training_loss", _training(result), 0.62, draw, _finish("Training loss")) if has_loss else {}


def validation(result: Mapping[str, Any]) -> dict[str, Figure]:
    """Draws the key metric on the validation images of every site, and its value for a random guess."""
    key = result["key_metric"]
    entries = [entry for entry in result["history"] if entry.get("validation")]
    series = {
        site["name"]: [_number(entry["validation"].get(site["name"], {}).get(key)) for entry in entries]
        for site in result["sites"]
    }

    def draw(panel: Panel) -> None:
        axes = _curve(panel, series, [entry["round"] for entry in entries])
        if result["chance"] is not None:
            axes.axhline(result["chance"], color="black", linewidth=1, linestyle=":", label="chance")
        axes.set_ylim(0, 1.02)

    finish = _finish(f"Validation {metric_of(key).noun}")
    return by_site(f"validation_{key}", result["sites"], 0.62, draw, finish) if entries else {}


def exchanged_bytes(result: Mapping[str, Any]) -> dict[str, Figure]:
    """Draws the cumulative bytes that every training site sent and received."""
    rounds = trained_rounds(result)
    totals = {site["name"]: _cumulative(rounds, site) for site in _training(result)}
    highest = max((sent[-1] + received[-1] for sent, received in totals.values()), default=0)
    size, unit = byte_unit(highest)

    def draw(panel: Panel) -> None:
        axes = _axes(panel)
        numbers = [0, *(entry["round"] for entry in rounds)]
        parts = [[value / size for value in part] for part in totals[panel.site["name"]]]
        axes.stackplot(numbers, parts, colors=[TRAINING, LIGHT], labels=["sent by the site", "received by the site"])
        axes.set_ylim(0, 1.08 * highest / size or 1)
        _mark_missed(axes, _missed(rounds, panel.site))

    return by_site("bytes", _training(result), 0.62, draw, _finish(f"Exchanged so far ({unit})")) if rounds else {}


def trained_rounds(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the history without the entry of round 0."""
    return [entry for entry in result["history"] if "sites" in entry]


def byte_unit(largest: float) -> tuple[float, str]:
    """Returns size and name of the unit that fits a number of bytes."""
    return next(
        (size, unit)
        for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))
        if largest >= size or size == 1
    )


def _training(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [site for site in result["sites"] if site["role"] == "training"]


def _part(entry: Mapping[str, Any], site: Mapping[str, Any]) -> dict[str, Any]:
    part: dict[str, Any] = entry["sites"].get(site["name"], {})
    return part


def _missed(rounds: list[dict[str, Any]], site: Mapping[str, Any]) -> list[int]:
    return [entry["round"] for entry in rounds if "error" in _part(entry, site)]


def _cumulative(rounds: list[dict[str, Any]], site: Mapping[str, Any]) -> tuple[list[int], list[int]]:
    sent = accumulate((_part(entry, site).get("sent_bytes") or 0 for entry in rounds), initial=0)
    received = accumulate((_part(entry, site).get("received_bytes") or 0 for entry in rounds), initial=0)
    return list(sent), list(received)


def _number(value: float | None) -> float:
    return NAN if value is None else float(value)


def _axes(panel: Panel) -> Axes:
    axes = panel.axes()
    axes.tick_params(labelleft=panel.leftmost, labelbottom=panel.lowest)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    panel.title(axes)
    return axes


def _curve(panel: Panel, series: Series, rounds: list[int]) -> Axes:
    """Draws the curve of one site in front of those of all sites, which also gives every panel the same scale."""
    axes = _axes(panel)
    others = [values for name, values in series.items() if name != panel.site["name"]]
    if others:  # NaN between the sites breaks the line, so that one line draws them all
        axes.plot(
            [*rounds, NAN] * len(others),
            [value for values in others for value in (*values, NAN)],
            color=MUTED,
            linewidth=0.7,
            label="other sites",
        )
    unseen, values = panel.site["role"] == "unseen", series[panel.site["name"]]
    axes.plot(
        rounds,
        values,
        color=panel.color,
        linewidth=1.8,
        linestyle="--" if unseen else "-",
        label="the unseen site" if unseen else "the site named above",
    )
    alone = _alone(values)
    axes.plot([rounds[index] for index in alone], [values[index] for index in alone], ".", color=panel.color)
    return axes


def _alone(values: list[float]) -> list[int]:
    """Returns the indices of values without a neighbour, to which no line can be drawn."""
    missing = np.isnan([NAN, *values, NAN])
    return [int(index) for index in np.flatnonzero(missing[:-2] & ~missing[1:-1] & missing[2:])]


def _mark_missed(axes: Axes, rounds: list[int]) -> None:
    if rounds:
        axes.plot(
            rounds,
            [0.04] * len(rounds),
            "x",
            color="black",
            markersize=6,
            markeredgewidth=1.6,
            transform=axes.get_xaxis_transform(),
            label="round without its contribution",
        )


def _finish(quantity: str) -> Any:
    def finish(figure: Figure) -> None:
        figure.supxlabel("Round", fontsize=LABEL_SIZE)
        figure.supylabel(quantity, fontsize=LABEL_SIZE)
        legend(figure)

    return finish
