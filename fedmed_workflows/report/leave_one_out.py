"""The report of leave-one-site-out: what each site saw while it was the unseen one, side by side."""

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
    "Look for sites far to the left of the others: there the network does not carry over. The lines are intervals over "
    "a site's images; how far the points lie apart says more about a further site than any of the lines.",
)
"""Title and caption of the figure."""


def write_leave_one_out(results: Mapping[str, Mapping[str, Any]], folder: str | Path) -> Path:
    """Writes one report for runs that differ in the unseen site.

    Parameters
    ----------
    results
        By the name of the unseen site, what its run gave: as for
        :func:`fedmed_workflows.report.page.write_report`, whose report of the run lies in ``NAME/report.html`` in
        `folder`.
    folder
        Gets ``report.html``, which needs no other file but links to the runs' reports; ``figures/*.png``;
        ``metrics.csv``, the rows of all runs' ``metrics.csv`` with the unseen site in front; and ``metrics.json``, with
        all of `results` as ``results`` and the means over the unseen sites as ``summary``.

    Returns
    -------
    Path
        Of ``report.html``.
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
    """Mean and spread of each metric over the unseen sites, every site alike, before round 1 and after the last.

    Returns
    -------
    dict
        By metric and stage (``initial``, ``final``): ``mean``; ``sd``, the standard deviation of a sample; ``min``;
        ``max``; and ``sites``, how many sites define the metric. None where too few do.
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
    """Of the metrics of the unseen sites."""
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
    """Every note once, with the unseen sites of its runs where not all have it."""
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
