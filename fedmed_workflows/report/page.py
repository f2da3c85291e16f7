"""Writes the report of a run: one page with all scores, rounds, figures, cases and settings, and its tables."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fedmed_transforms.whole_file import write_whole
from fedmed_workflows.evaluation.case_overlays import CASES, LABEL_COLOR, PREDICTION_COLOR
from fedmed_workflows.report.figures.curves import trained_rounds
from fedmed_workflows.report.figures.metric_names import Group, groups_of, metric_of
from fedmed_workflows.report.figures.run_figures import figures
from fedmed_workflows.report.rendering import render, write_figures
from fedmed_workflows.report.statistics_page import PAGE as STATISTICS
from fedmed_workflows.report.tables import finite, write_tables

CAPTIONS = {
    "{key}": (
        "Before and after",
        "Look for a filled point to the right of its hollow one, with lines that do not overlap: there the training "
        "improved the score by more than the choice of images explains.",
    ),
    "{key}_by_class": (
        "Class by class",
        "Look for classes whose points lie far to the left of the others: the mean over the classes hides them.",
    ),
    "validation_{key}": (
        "Validation over the rounds",
        "Look for curves that rise{chance} and level off; one that falls late shows a site that the others pull away "
        "from its own images.",
    ),
    "training_loss": (
        "Training loss over the rounds",
        "Look for a loss that falls and settles; one that jumps or rises shows a site that does not converge.",
    ),
    "confusion": (
        "Confusion",
        "Look for dark cells off the diagonal: each is a true class (row) that is often taken for another (column).",
    ),
    "reliability": (
        "Reliability",
        "Look for bars that reach the dashed line: below it the network is overconfident, above it underconfident; "
        "bins of few images say little.",
    ),
    "bytes": (
        "Bytes over the rounds",
        "Look for straight edges of the same steepness at every site: a kink is a round that a site missed.",
    ),
}
"""Title and caption of each figure, by its name; ``{key}`` stands for the key metric."""


PNG = b"\x89PNG\r\n\x1a\n"
"""First bytes of a PNG file."""


def write_report(result: Mapping[str, Any], folder: str | Path) -> Path:
    """Writes the report of a run.

    Parameters
    ----------
    result
        The run as plain data: method, its metadata, settings, versions, seed, manifest, notes, class names, key metric
        and its chance (None where there is none), sites, history, initial and final scores.
    folder
        Folder for ``report.html``, which needs no other file, ``figures/*.png``, and the tables of
        :func:`fedmed_workflows.report.tables.write_tables`. Pictures of cases are read from its folders ``sites/SITE``.

    Returns
    -------
    Path
        Path of ``report.html``.
    """
    path, plain = Path(folder) / "report.html", finite(result)
    write_tables(plain, path.parent)
    pictures = write_figures(figures(plain), path.parent, captions(plain))
    statistics = (path.parent / STATISTICS).is_file()
    write_whole(path, _render(plain, pictures, case_rows(plain, path.parent), statistics))
    return path


def captions(result: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Returns title and caption of each figure of a run, by the name of the figure."""
    words = {"key": result["key_metric"], "chance": "" if result["chance"] is None else " above chance"}
    return {name.format(**words): (title, caption.format(**words)) for name, (title, caption) in CAPTIONS.items()}


def _render(
    result: Mapping[str, Any], pictures: list[dict[str, Any]], cases: list[dict[str, Any]], statistics: bool
) -> str:
    rounds = trained_rounds(result)
    by_role = {role: [site for site in result["sites"] if site["role"] == role] for role in ("training", "unseen")}
    return render(
        "page.html",
        {
            **result,
            **by_role,
            "method_metadata": result.get("method_metadata"),  # runs of earlier versions have none
            "foundation_weights": result.get("foundation_weights"),
            "pictures": pictures,
            "rounds": [_round(entry, [site["name"] for site in by_role["training"]]) for entry in rounds],
            "exchanged": exchanged(rounds),
            "private": any("epsilon" in entry for entry in rounds),
            "key": metric_of(result["key_metric"]),
            "groups": groups_of([*result["initial"].values(), *result["final"].values()]),
            "by_class": by_class(result["final"].values()),
            "empty": _empty_masks(result),
            "cases": cases,
            "statistics": STATISTICS if statistics else None,
            "shows_patients": any(case["base64"] for row in cases for case in row["cases"].values()),
            "label_color": LABEL_COLOR,
            "prediction_color": PREDICTION_COLOR,
        },
    )


def by_class(scores: Iterable[Mapping[str, Any]]) -> dict[str, list[Group]]:
    """Returns the groups of the metrics of every class, by class."""
    found: dict[str, list[dict[str, Any]]] = {}
    for score in scores:
        for name, metrics in score.get("classes", {}).items():
            found.setdefault(name, []).append({"metrics": metrics})
    return {name: groups_of(parts) for name, parts in found.items()}


def _empty_masks(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the rows of the table of empty masks, one row for each site and class."""
    scores = [(site, result["final"].get(site["name"], {})) for site in result["sites"]]
    return [
        {"site": site, "class_name": name, "counts": counts, "images": score["images"], "slices": score["slices"]}
        for site, score in scores
        for name, counts in score.get("empty", {}).items()
    ]


def _round(entry: Mapping[str, Any], training: list[str]) -> dict[str, Any]:
    """Returns a row of the table of rounds, with the sites that did not contribute, as they are fewer."""
    errors = {name: site["error"] for name, site in entry["sites"].items() if "error" in site}
    return {
        "round": entry["round"],
        "seconds": entry.get("seconds"),
        "epsilon": entry.get("epsilon"),
        "contributed": len(entry["sites"]) - len(errors),
        "errors": errors,
        "absent": [name for name in training if name not in entry["sites"]],
        "sent": _total(entry["sites"].values(), "sent_bytes"),
        "received": _total(entry["sites"].values(), "received_bytes"),
    }


def exchanged(rounds: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Returns bytes sent and received in all rounds, and the number of contributions, by site."""
    names = dict.fromkeys(name for entry in rounds for name in entry["sites"])
    parts = {name: [entry["sites"][name] for entry in rounds if name in entry["sites"]] for name in names}
    return {
        name: {
            "contributions": sum("error" not in part for part in own),
            "sent": _total(own, "sent_bytes"),
            "received": _total(own, "received_bytes"),
        }
        for name, own in parts.items()
    }


def _total(parts: Any, key: str) -> int:
    return sum(part.get(key) or 0 for part in parts)


def case_rows(result: Mapping[str, Any], folder: Path) -> list[dict[str, Any]]:
    """Returns one row for every site with cases in its final score.

    Parameters
    ----------
    result
        The result of the run. A site provides the file names in it, so only pictures in the site's own folder are read.
    folder
        The run folder. The pictures of a site are in its folder ``sites/SITE``, unless they stayed at the site.

    Returns
    -------
    list
        ``site`` and ``cases``: ``dice`` of each case, and its picture as ``base64``, or None without a picture.
    """
    rows = []
    for site in result["sites"]:
        cases = {case["case"]: case for case in result["final"].get(site["name"], {}).get("cases", [])}
        row = {
            name: {"dice": cases[name]["dice"], "base64": _picture(folder / "sites", site["name"], cases[name]["file"])}
            for name in CASES
            if name in cases
        }
        if row:
            rows.append({"site": site, "cases": row})
    return rows


def _picture(sites: Path, site: str, file: str) -> str | None:
    folder = (sites / site).resolve()
    path = (folder / file).resolve()
    if folder.parent != sites.resolve() or not path.is_relative_to(folder) or not path.is_file():
        return None
    content = path.read_bytes()
    return base64.b64encode(content).decode() if content.startswith(PNG) else None
