"""Writes the numbers of a run to files: ``metrics.csv``, ``bytes.csv``, ``metrics.json``."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fedmed_transforms.whole_file import write_whole

STAGES = ("initial", "final")
"""The stages of evaluation: before round 1, and after the last round."""

METRIC_COLUMNS = ("site", "role", "stage", "split", "images", "class", "metric", "value", "low", "high")
BYTE_COLUMNS = ("round", "site", "sent_bytes", "received_bytes", "samples", "loss", "error")


def write_tables(result: Mapping[str, Any], folder: Path) -> None:
    """Writes the tables of a run.

    Parameters
    ----------
    result
        The result of the run: settings, sites, history, initial and final scores.
    folder
        Folder for ``metrics.csv`` (site x stage x class x metric), ``bytes.csv`` (round x site) and ``metrics.json``
        (the whole `result`). An undefined value is an empty cell in the CSV files and ``null`` in the JSON file.
    """
    plain = finite(result)
    write_whole(folder / "metrics.csv", csv_text(METRIC_COLUMNS, metric_rows(plain)))
    write_whole(folder / "bytes.csv", csv_text(BYTE_COLUMNS, byte_rows(plain)))
    write_whole(folder / "metrics.json", json.dumps(plain, indent=2, allow_nan=False) + "\n")


def metric_rows(result: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields one row per site, stage, class and metric. The class is empty for the metrics of all classes together."""
    for site in result["sites"]:
        for stage in STAGES:
            score = result[stage].get(site["name"], {"metrics": {}})
            for class_name, metrics in (("", score["metrics"]), *score.get("classes", {}).items()):
                for metric, interval in metrics.items():
                    yield {
                        "site": site["name"],
                        "role": site["role"],
                        "stage": stage,
                        "split": score["split"],
                        "images": score["images"],
                        "class": class_name,
                        "metric": metric,
                        **interval,
                    }


def byte_rows(result: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields one row per round and site that was asked to train."""
    for entry in result["history"]:
        for name, site in entry.get("sites", {}).items():
            yield {"round": entry["round"], "site": name, **site}


def finite(value: Any) -> Any:
    """Copies plain data with None for every number that is not finite, because JSON has no NaN."""
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def csv_text(columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Formats rows as CSV with a header; entries of a row without a column are left out."""
    content = io.StringIO()
    writer = csv.DictWriter(content, list(columns), extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return content.getvalue()
