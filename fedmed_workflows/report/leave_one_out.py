"""Writes the report of leave-one-site-out: the scores of each site as the unseen site, side by side."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from fedmed_transforms.whole_file import write_whole
from fedmed_workflows.drawing import UNSEEN, shorten
from fedmed_workflows.report.figures.interval_plot import Row, interval_figure, interval_of
from fedmed_workflows.report.figures.metric_names import Group, groups_of, metric_of
from fedmed_workflows.report.rendering import render, write_figures
from fedmed_workflows.report.tables import METRIC_COLUMNS, STAGES, csv_text, finite, metric_rows

CAPTION = (
    "Before and after, at each unseen site",
    "Look for sites far to the left of the others: the network does not generalize to them. The lines are intervals "
    "over the images of one site. The spread of the points predicts the score at a new site better than the lines.",
)
"""Title and caption of the figure."""


def write_leave_one_out(results: Mapping[str, Mapping[str, Any]], folder: str | Path) -> Path:
    """Writes one report for several runs that differ in their unseen site.

    Parameters
    ----------
    results
        Result of each run, by the name of its unseen site, as for :func:`fedmed_workflows.report.page.write_report`.
        The report of each run is ``NAME/report.html`` in `folder`.
    folder
        Folder for ``report.html``, which needs no other file and links to the reports of the runs; ``figures/*.png``;
        ``metrics.csv``, the rows of all runs with the unseen site as the first column; and ``metrics.json``, with
        `results` as ``results`` and the means over the unseen sites as ``summary``.

    Returns
    -------
    Path
        Path of ``report.html``.
    """
    path = Path(folder) / "report.html"
    plain: dict[str, dict[str, Any]] = finite(results)
    means = summary(plain)
    write_whole(path.parent / "metrics.csv", csv_text(("unseen_site", *METRIC_COLUMNS), _rows(plain)))
    numbers = {"summary": means, "results": plain}
    write_whole(path.parent / "metrics.json", json.dumps(numbers, indent=2, allow_nan=False) + "\n")
    first = next(iter(plain.values()))
    pictures = write_figures(_figure(plain), path.parent, {first["key_metric"]: CAPTION})
    values = {
        **{name: first[name] for name in ("method", "class_names", "key_metric", "chance")},
        "method_metadata": first.get("method_metadata"),
        "key": metric_of(first["key_metric"]),
        "groups": _groups(plain),
        "runs": [_run(name, result) for name, result in plain.items()],
        "summary": means,
        "notes": _notes(plain),
        "pictures": pictures,
    }
    write_whole(path, render("leave_one_out.html", values))
    return path


def summary(results: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, dict[str, float | None]]]:
    """Returns mean and spread of each metric over the unseen sites, with equal weights of the sites.

    Returns
    -------
    dict
        By metric and stage (``initial``, ``final``): ``mean``; ``sd``, the sample standard deviation; ``min``; ``max``;
        and ``sites``, the number of sites that define the metric. A value is None if too few sites define the metric.
    """
    names = [name for group in _groups(results) for name in group.metrics]
    return {name: {stage: _spread(_values(results, name, stage)) for stage in STAGES} for name in names}


def _spread(values: list[float]) -> dict[str, float | None]:
    return {
        "mean": statistics.fmean(values) if values else None,
        "sd": statistics.stdev(values) if len(values) > 1 else None,
        "min": min(values, default=None),
        "max": max(values, default=None),
        "sites": len(values),
    }


def _values(results: Mapping[str, Mapping[str, Any]], metric: str, stage: str) -> list[float]:
    found = [interval_of(result[stage].get(name), metric).get("value") for name, result in results.items()]
    return [value for value in found if value is not None]


def _groups(results: Mapping[str, Mapping[str, Any]]) -> list[Group]:
    """Returns the groups of the metrics of the unseen sites."""
    return groups_of(
        result[stage][name] for name, result in results.items() for stage in STAGES if name in result[stage]
    )


def _run(name: str, result: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "site": name,
        "rounds": sum("sites" in entry for entry in result["history"]),
        "before": result["initial"].get(name, {"metrics": {}}),
        "after": result["final"].get(name, {"metrics": {}}),
    }


def _notes(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Returns every note once, with the names of the unseen sites if only some of the runs have the note."""
    sites: dict[str, list[str]] = {}
    for name, result in results.items():
        for note in result["notes"]:
            sites.setdefault(note, []).append(name)
    return [note if len(names) == len(results) else f"{', '.join(names)}: {note}" for note, names in sites.items()]


def _rows(results: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for name, result in results.items():
        for row in metric_rows(result):
            yield {"unseen_site": name, **row}


def _figure(results: Mapping[str, Mapping[str, Any]]) -> dict[str, Figure]:
    first = next(iter(results.values()))
    key = first["key_metric"]
    rows = [
        Row(shorten(name, 28), UNSEEN, *(interval_of(result[stage].get(name), key) for stage in STAGES))
        for name, result in results.items()
    ]
    return {key: interval_figure(rows, key, first["chance"])}
