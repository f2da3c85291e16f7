"""Writes the page with the statistics of the sites of a federation, before training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedmed_transforms.whole_file import write_whole
from fedmed_workflows.report.figures.histograms import DRAWN, histograms
from fedmed_workflows.report.figures.site_quantities import (
    ALL_SITES,
    COLUMNS,
    KNOWN,
    SILENT,
    Quantity,
    quantity_of,
    rows,
    withheld,
)
from fedmed_workflows.report.rendering import render, write_figures
from fedmed_workflows.report.tables import csv_text, finite
from fedmed_workflows.sites.cases import CLASS, IMAGES, SLICES
from fedmed_workflows.sites.measures import AXES, INTENSITY

PAGE = "statistics.html"

MEASURES = {
    INTENSITY: "Intensity",
    **{f"spacing {axis}": f"Spacing {axis} (mm)" for axis in AXES},
    **{f"size {axis}": f"Size {axis} (voxels)" for axis in AXES},
}
"""Headings of the quantities with a mean, by quantity."""

CAPTIONS = {
    **dict.fromkeys(DRAWN, "Look for sites whose bars are at other values: their voxels have another size."),
    INTENSITY: "Look for sites whose bars are at other values: another intensity range or unit, or another scanner.",
}


def write_statistics(record: Mapping[str, Any], folder: str | Path) -> Path:
    """Writes the page and the numbers of a statistics job.

    Parameters
    ----------
    record
        Record of the job, from :func:`fedmed_workflows.nvflare.run.simulated_statistics.statistics_record`.
    folder
        Folder for ``statistics.html``, which needs no other file, ``statistics.json`` with the whole `record`,
        ``statistics.csv`` with a row for every site and quantity, and ``statistics/figures/*.png``.

    Returns
    -------
    Path
        Path of ``statistics.html``.
    """
    path, plain = Path(folder) / PAGE, finite(record)
    write_whole(path.with_suffix(".json"), json.dumps(plain, indent=2, allow_nan=False) + "\n")
    write_whole(path.with_suffix(".csv"), csv_text(COLUMNS, rows(plain)))
    words = {f"histogram_{name.replace(' ', '_')}": (title, CAPTIONS[name]) for name, title in DRAWN.items()}
    write_whole(path, _render(plain, write_figures(histograms(plain), path.with_suffix(""), words)))
    return path


def _render(record: Mapping[str, Any], pictures: list[dict[str, Any]]) -> str:
    found = record["statistics"]
    classes = [name for name in record["class_names"] if f"{CLASS}{name}" in found]
    table = {
        site: {name: quantity_of(record, site, name) for name in found}
        for site in (*(site["name"] for site in record["sites"]), ALL_SITES)
    }
    silent = [site["name"] for site in record["sites"] if table[site["name"]][IMAGES].state == SILENT]
    return render(
        "statistics.html",
        {
            **record,
            "rows": [*record["sites"], {"name": ALL_SITES, "role": "all"}],
            "table": table,
            "counted": [name for name in (IMAGES, SLICES) if name in found],
            "classes": {name: f"{CLASS}{name}" for name in classes},
            "class_counts": SLICES if SLICES in found else IMAGES,
            "measures": {name: words for name, words in MEASURES.items() if name in found},
            "withheld": {
                site: {"all": table[site][IMAGES].state != KNOWN, "names": names}
                for site, names in withheld(record).items()
            },
            "without_histogram": _without_histogram(table, list(record["sites"])),
            "silent": silent,
            "pictures": pictures,
        },
    )


def _without_histogram(
    table: Mapping[str, Mapping[str, Quantity]], sites: list[dict[str, Any]]
) -> dict[str, dict[str, list[str]]]:
    """Returns the quantities of a site that have numbers but no histogram, by site and reason."""
    found: dict[str, dict[str, list[str]]] = {}
    for site in sites:
        for name, words in DRAWN.items():
            reason = table[site["name"]][name].withheld_bins if name in table[site["name"]] else None
            if reason:
                found.setdefault(site["name"], {}).setdefault(reason, []).append(words)
    return found
