"""All figures of a run, and their pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from fedmed_workflows.report.figures.confusion_and_reliability import confusion, reliability
from fedmed_workflows.report.figures.curves import exchanged_bytes, training_loss, validation
from fedmed_workflows.report.figures.interval_plot import key_metric, key_metric_by_class


def figures(result: Mapping[str, Any]) -> dict[str, Figure]:
    """The figures of a run by name, in the order to read them.

    Parameters
    ----------
    result
        The run: sites, class names, key metric, chance, history, initial and final scores.

    Returns
    -------
    dict
        The key metric's name, ``NAME_by_class``, ``validation_NAME``, ``training_loss``, ``confusion``,
        ``reliability`` and ``bytes``, without those that the run has no numbers for. Where the sites do not fit one
        sheet the name is numbered: ``confusion_1``, ``confusion_2``.
    """
    drawn = (key_metric, key_metric_by_class, validation, training_loss, confusion, reliability, exchanged_bytes)
    return {name: figure for draw in drawn for name, figure in draw(result).items()}
