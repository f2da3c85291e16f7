"""Draws all figures of the report of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from fedmed_workflows.report.figures.confusion_and_reliability import confusion, reliability
from fedmed_workflows.report.figures.curves import exchanged_bytes, training_loss, validation
from fedmed_workflows.report.figures.interval_plot import key_metric, key_metric_by_class


def figures(result: Mapping[str, Any]) -> dict[str, Figure]:
    """Draws the figures of a run.

    Parameters
    ----------
    result
        The result of the run: sites, class names, key metric, chance, history, initial and final scores.

    Returns
    -------
    dict
        Figures by name, in the order of the report: the name of the key metric, ``NAME_by_class``,
        ``validation_NAME``, ``training_loss``, ``confusion``, ``reliability`` and ``bytes``. A figure without numbers
        is left out. If the sites need several sheets, the names are numbered: ``confusion_1``, ``confusion_2``.
    """
    drawn = (key_metric, key_metric_by_class, validation, training_loss, confusion, reliability, exchanged_bytes)
    return {name: figure for draw in drawn for name, figure in draw(result).items()}
