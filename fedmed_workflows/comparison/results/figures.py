"""Figures of a comparison: one panel for each site, one line or row for each method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fedmed_workflows.comparison.results.compared_run import Arm, ComparedRun
from fedmed_workflows.comparison.results.curves import TREAT_ALL, Curve, Curves
from fedmed_workflows.comparison.results.run_costs import validated
from fedmed_workflows.comparison.results.site_scores import Place, SeedValues, seed_mean
from fedmed_workflows.drawing import LABEL_SIZE, TICK_SIZE, shorten
from fedmed_workflows.federation.training import FEDERATED
from fedmed_workflows.report.figures.metric_names import metric_of
from fedmed_workflows.report.figures.panels import Panel, by_site, legend

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Colours of Okabe and Ito without the yellow: they differ for any colour vision."""

STYLES = ("-", "--", ":", "-.")
"""Line styles; after the last colour, the colours start again with the next style."""

ROW, PANEL = 0.3, 2.8
"""Height of an arm's row and standard width of a panel, in inches."""


def arm_styles(arms: Sequence[Arm]) -> dict[Arm, dict[str, Any]]:
    """Assigns colour and line style to every arm, the same in every figure."""
    looks = [(color, style) for style in STYLES for color in COLORS]
    return {arm: {"color": look[0], "linestyle": look[1]} for arm, look in zip(arms, cycle(looks))}


def drawn_arms(arms: Sequence[Arm]) -> list[Arm]:
    """Selects the arms for curves: the federated ones if there are any, else all."""
    return [arm for arm in arms if arm.training == FEDERATED] or list(arms)


def seed_points(values: SeedValues, places: Sequence[Place], key: str) -> dict[str, Figure]:
    """Draws the key metric of every arm at each site: every seed, the mean and its interval."""
    arms, styles = list(values), arm_styles(list(values))

    def draw(panel: Panel) -> None:
        axes = panel.axes()
        for row, arm in enumerate(arms):
            seeds = [*values[arm].get(_place(panel), {}).values()]
            _draw_row(axes, row, seeds, styles[arm]["color"])
        axes.set(xlim=(0, 1.02), ylim=(len(arms) - 0.5, -0.5))
        axes.grid(axis="x", color="#E4E4E4", linewidth=0.8)
        names = [shorten(arm.name, 24) for arm in arms]
        axes.set_yticks(range(len(arms)), names if panel.leftmost else [""] * len(arms))
        panel.title(axes, max(map(len, names)) * TICK_SIZE * 0.58 / 72)

    ratio = min(3.5, (0.5 + ROW * len(arms)) / PANEL)
    words = metric_of(key).heading
    return by_site(f"{key}_by_seed", _sites(places), ratio, draw, lambda figure: _label(figure, words, ""))


def validation_curves(runs: Sequence[ComparedRun], places: Sequence[Place], key: str) -> dict[str, Figure]:
    """Draws the key metric over the rounds at every unseen site, as means over the seeds."""
    arms = drawn_arms(list(dict.fromkeys(run.arm for run in runs)))
    styles = arm_styles(list(dict.fromkeys(run.arm for run in runs)))

    def draw(panel: Panel) -> None:
        axes = panel.axes()
        for arm in arms:
            own = [validated(run) for run in runs if run.arm == arm and run.unseen == panel.site["name"]]
            by_round: dict[int, list[float]] = {}
            for number, score in (point for points in own for point in points):
                by_round.setdefault(number, []).append(score)
            axes.plot([*by_round], [np.mean(scores) for scores in by_round.values()], label=arm.name, **styles[arm])
        axes.set_ylim(0, 1.02)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
        axes.tick_params(labelleft=panel.leftmost, labelbottom=panel.lowest)
        panel.title(axes)

    def finish(figure: Figure) -> None:
        _label(figure, "Round", f"Validation {metric_of(key).noun}")
        legend(figure)

    return by_site("validation", _sites(places), 0.7, draw, finish)


def curve_figure(
    name: str, curves: Curves, styles: Mapping[Arm, Mapping[str, Any]], x: str, y: str
) -> dict[str, Figure]:
    """Draws curves of the arms at each site, with the diagonal or, for decision curves, the references."""
    arms = drawn_arms(list(styles))
    highest = max(float(np.nanmax(y, initial=0)) for own in curves.values() for _, y in own.values())

    def draw(panel: Panel) -> None:
        axes, own = panel.axes(), curves[_place(panel)]
        for arm in (arm for arm in arms if arm in own):
            axes.plot(*own[arm], label=arm.name, marker="." if name == "reliability" else "", **styles[arm])
        if TREAT_ALL in own:
            _draw_references(axes, own, highest)
        else:
            axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, label="diagonal")
            axes.set(xlim=(0, 1), ylim=(0, 1.02))
        axes.tick_params(labelleft=panel.leftmost, labelbottom=panel.lowest)
        panel.title(axes)

    def finish(figure: Figure) -> None:
        _label(figure, x, y)
        legend(figure)

    return by_site(name, _sites(list(curves)), 0.9, draw, finish)


def _draw_references(axes: Axes, own: Mapping[Arm, Curve], highest: float) -> None:
    axes.plot(*own[TREAT_ALL], color="#999999", linewidth=0.8, label=TREAT_ALL.name)
    axes.axhline(0, color="#999999", linewidth=0.8, linestyle=":", label="treat nobody")
    axes.set(xlim=(0, 1), ylim=(-0.3 * highest - 0.01, 1.1 * highest + 0.01))


def _draw_row(axes: Axes, row: int, seeds: list[float], color: str) -> None:
    mean = seed_mean(seeds)
    axes.plot(seeds, [row] * len(seeds), "|", color=color, markersize=7)
    if mean.low is not None and mean.high is not None:
        axes.plot([mean.low, mean.high], [row, row], color=color, linewidth=1.6, solid_capstyle="butt")
    if mean.mean is not None:
        axes.plot(mean.mean, row, "o", color=color, markersize=5)


def _label(figure: Figure, x: str, y: str) -> None:
    figure.supxlabel(x, fontsize=LABEL_SIZE)
    figure.supylabel(y, fontsize=LABEL_SIZE)


def _place(panel: Panel) -> Place:
    return Place(panel.site["name"], panel.site["role"])


def _sites(places: Sequence[Place]) -> list[dict[str, str]]:
    return [{"name": place.site, "role": place.role} for place in places]
