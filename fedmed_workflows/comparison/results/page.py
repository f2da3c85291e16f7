"""The page of a comparison: one HTML file, with tables of numbers and a LaTeX table beside it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fedmed_transforms.whole_file import write_whole
from fedmed_workflows.comparison.results.compared_run import Arm, ComparedRun
from fedmed_workflows.comparison.results.curves import Curves, comparison_curves
from fedmed_workflows.comparison.results.figures import arm_styles, curve_figure, seed_points, validation_curves
from fedmed_workflows.comparison.results.paired_tests import LEAST_PAIRS, paired_tests
from fedmed_workflows.comparison.results.run_costs import costs, score_to_reach
from fedmed_workflows.comparison.results.site_scores import (
    TRAINING,
    UNSEEN,
    Place,
    SeedValues,
    fairness,
    over_places,
    seed_mean,
    seed_values,
)
from fedmed_workflows.comparison.results.tables import (
    COST_COLUMNS,
    CURVE_COLUMNS,
    RUN_COLUMNS,
    SUMMARY_COLUMNS,
    TEST_COLUMNS,
    cost_rows,
    curve_rows,
    latex_table,
    metric_groups,
    score_rows,
    summary_rows,
    test_rows,
)
from fedmed_workflows.federation.training import ALONE, ALONE_NOTE, POOLED_NOTE
from fedmed_workflows.report.figures.metric_names import metric_of
from fedmed_workflows.report.rendering import render, write_figures
from fedmed_workflows.report.tables import METRIC_COLUMNS, csv_text, finite

AXES = {
    "roc": ("False-positive rate", "Sensitivity"),
    "reliability": ("Confidence", "Accuracy"),
    "decision": ("Threshold probability", "Net benefit"),
}
"""Words on the axes of the curves."""

CAPTIONS = {
    "{key}_by_seed": (
        "Site by site",
        "Strokes are seeds, points their means, lines 95% t intervals over the seeds. Look for methods whose lines do "
        "not overlap, and for sites where all methods lie far to the left.",
    ),
    "validation": (
        "Over the rounds",
        "At each unseen site, the mean over the seeds. Look for curves that rise early: they need fewer bytes.",
    ),
    "roc": (
        "ROC",
        "Each class against the rest, the mean over the classes at equal false-positive rates, images of all seeds "
        "together. Look for curves near the upper left corner; the areas are in the table of metrics as AUROC.",
    ),
    "reliability": (
        "Reliability",
        "Accuracy of the images of each bin of confidence. Look for lines near the diagonal: below it a method is "
        "overconfident, above it underconfident.",
    ),
    "decision": (
        "Decision curves",
        "Net benefit of treating whom a method gives at least the threshold's probability of a class, the mean over "
        "the classes (Vickers and Elkin 2006). Look for curves above both grey lines at the thresholds that matter.",
    ),
}
"""Title and caption of each figure; a figure's name may hold the name of the key metric."""


TRAINED_NOTES = tuple(note.split("{}")[0] for note in (ALONE_NOTE, POOLED_NOTE))

OTHER_VERSIONS = "The runs were made with different versions of packages: see their reports."


def write_comparison(runs: Sequence[ComparedRun], folder: Path, reach: float | None = None) -> Path:
    """Writes the page of a comparison.

    Parameters
    ----------
    runs
        All runs, on the same sites, in the order of the methods.
    folder
        Gets ``report.html``, which needs no other file but links to the runs' reports; ``figures/*.png``;
        ``table.tex``; and as CSV ``scores.csv`` (every number of every run), ``summary.csv`` (means and intervals over
        the seeds), ``tests.csv``, ``costs.csv``, and of a classification ``curves.csv``.
    reach
        A score; the page states the bytes that each method needs to reach it. None for :func:`score_to_reach`.

    Returns
    -------
    Path
        The path of ``report.html``.
    """
    key = str(runs[0].result["key_metric"])
    values = seed_values(runs, key)
    role = UNSEEN if any(run.unseen for run in runs) else TRAINING
    goal = score_to_reach(runs) if reach is None else reach
    spent, curves = costs(runs, np.inf if goal is None else goal), comparison_curves(runs)
    tests = paired_tests(values)
    tables = {
        "scores": ((*RUN_COLUMNS, *METRIC_COLUMNS), score_rows(runs)),
        "summary": (SUMMARY_COLUMNS, summary_rows(runs)),
        "tests": (TEST_COLUMNS, test_rows(key, tests)),
        "costs": (COST_COLUMNS, cost_rows(spent)),
        **({"curves": (CURVE_COLUMNS, curve_rows(curves))} if curves else {}),
    }
    for name, (columns, rows) in tables.items():
        write_whole(folder / f"{name}.csv", csv_text(columns, (finite(row) for row in rows)))
    write_whole(folder / "table.tex", latex_table(values, role, key))
    pictures = write_figures(_figures(runs, values, role, curves, key), folder, _captions(key))
    page = {
        **_scores(runs, values, role),
        "tests": tests, "least_pairs": LEAST_PAIRS, "costs": spent, "reach": goal, "pictures": pictures,
        "tables": [*tables], "notes": _notes(runs), "runs": runs, "methods": _methods(runs),
        "settings": _settings(runs), "script": _script(),
        "script_digest": base64.b64encode(hashlib.sha256(_script().encode()).digest()).decode(),
    }  # fmt: skip
    path = folder / "report.html"
    write_whole(path, render("comparison.html", page))
    return path


def _scores(runs: Sequence[ComparedRun], values: SeedValues, role: str) -> dict[str, Any]:
    """Collects the values for the tables of scores."""
    first = runs[0].result
    key = metric_of(first["key_metric"])
    roles = [name for name in (UNSEEN, TRAINING) if _places(values, name)]
    rows = values.items()
    groups = metric_groups(runs)
    by_metric = {name: seed_values(runs, name) for group in groups for name in group.metrics}
    return {
        "method": ", ".join(dict.fromkeys(run.arm.method for run in runs)),
        "class_names": first["class_names"],
        "chance": first["chance"],
        "key": key,
        "role": role,
        "seeds": sorted({run.seed for run in runs}),
        "unseen": list(dict.fromkeys(run.unseen for run in runs if run.unseen)),
        "groups": groups,
        "places": {name: _places(values, name) for name in roles},
        "table": {name: [_row(arm, places, name, key.lower_is_better) for arm, places in rows] for name in roles},
        "other": {
            arm: {name: seed_mean(over_places(found[arm], role)) for name, found in by_metric.items()} for arm in values
        },
        "crossed": _crossed(runs, str(first["key_metric"])),
    }


def _row(arm: Arm, places: Mapping[Place, Mapping[int, float]], role: str, lower_is_better: bool) -> dict[str, Any]:
    return {
        "arm": arm,
        "means": {place: seed_mean([*seeds.values()]) for place, seeds in places.items()},
        "every": seed_mean(over_places(places, role)),
        "fairness": fairness(places, role, lower_is_better),
    }


def _places(values: SeedValues, role: str) -> list[Place]:
    return sorted({place for places in values.values() for place in places if place.role == role})


def _crossed(runs: Sequence[ComparedRun], key: str) -> dict[str, dict[str, dict[str, float]]]:
    """Computes mean scores of networks trained alone, by method, training site and tested site."""
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for run in runs:
        if run.arm.training == ALONE and run.trained_at:
            row = found.setdefault(run.arm.method, {}).setdefault(run.trained_at, {})
            for site in run.result["final"]:
                value = run.value(site, key)
                if value is not None and (site != run.unseen):
                    row.setdefault(site, []).append(value)
    return {
        method: {at: {site: float(np.mean(part)) for site, part in row.items()} for at, row in rows.items()}
        for method, rows in found.items()
    }


def _figures(
    runs: Sequence[ComparedRun], values: SeedValues, role: str, curves: Mapping[str, Curves], key: str
) -> dict[str, Figure]:
    places, styles = _places(values, role), arm_styles(list(values))
    drawn = seed_points(values, places, key)
    if role == UNSEEN:
        drawn |= validation_curves(runs, places, key)
    for name, words in AXES.items():
        if name in curves:
            drawn |= curve_figure(name, curves[name], styles, *words)
    return drawn


def _captions(key: str) -> dict[str, tuple[str, str]]:
    return {name.format(key=key): words for name, words in CAPTIONS.items()}


def _notes(runs: Sequence[ComparedRun]) -> list[str]:
    """Lists every note once, with its methods unless all runs have it, and a note on different versions.

    Notes about the place of training are left out: the names of the arms state it.
    """
    arms: dict[str, dict[str, int]] = {}
    for run in runs:
        for note in (note for note in run.result["notes"] if not note.startswith(TRAINED_NOTES)):
            count = arms.setdefault(note, {})
            count[run.arm.method] = count.get(run.arm.method, 0) + 1
    every = {note for note, count in arms.items() if sum(count.values()) == len(runs)}
    notes = [note if note in every else f"{', '.join(count)}: {note}" for note, count in arms.items()]
    versions = {json.dumps(run.result["versions"], sort_keys=True) for run in runs}
    return [*notes, *([OTHER_VERSIONS] if len(versions) > 1 else [])]


def _methods(runs: Sequence[ComparedRun]) -> dict[str, Any]:
    """Collects the metadata of every method, if its runs have them."""
    texts = {run.arm.method: run.result.get("method_metadata") for run in runs}
    return {name: text for name, text in texts.items() if text}


def _settings(runs: Sequence[ComparedRun]) -> dict[str, dict[str, Any]]:
    """Collects the settings of the first run of every arm."""
    first = {run.arm.name: run for run in reversed(runs)}
    names = ("bundle", "train_config", "settings", "aggregation", "rounds", "local_epochs", "engine", "device")
    return {
        name: {key: first[name].result["settings"].get(key) for key in names}
        for name in dict.fromkeys(run.arm.name for run in runs)
    }


def _script() -> str:
    return files("fedmed_workflows.report").joinpath("sort.js").read_text("utf-8")
