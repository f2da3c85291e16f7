"""The page of a run: one file to read, send and print."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure

from fedmed_workflows.report.curves import byte_unit, trained_rounds
from fedmed_workflows.report.figures import figures, png
from fedmed_workflows.report.tables import finite, write_tables
from fedmed_workflows.run_folder import write_whole

METRICS = {
    "balanced_accuracy": "Balanced accuracy",
    "accuracy": "Accuracy",
    "macro_f1": "Macro F1",
    "auroc": "AUROC",
    "ece": "ECE",
}
"""Metrics in the order to read them; any other follows under its own name."""

CAPTIONS = {
    "balanced_accuracy": (
        "Before and after",
        "Look for a filled point to the right of its hollow one, with lines that do not overlap: there the training "
        "helped by more than the choice of images explains.",
    ),
    "validation_balanced_accuracy": (
        "Validation over the rounds",
        "Look for curves that rise above chance and level off; one that falls late shows a site that the others "
        "pull away from its own images.",
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
"""Title and caption of each figure."""


def write_report(result: Mapping[str, Any], folder: str | Path) -> Path:
    """Writes the report of a run.

    Parameters
    ----------
    result
        The run as plain data: method, settings, versions, seed, manifest, notes, class names, sites, history, initial
        and final scores.
    folder
        Gets ``report.html``, which needs no other file, ``figures/*.png``, and the tables of
        :func:`fedmed_workflows.report.tables.write_tables`.

    Returns
    -------
    Path
        Of ``report.html``.
    """
    path, plain = Path(folder) / "report.html", finite(result)
    write_tables(plain, path.parent)
    pictures = []
    for name, figure in figures(plain).items():
        content = png(figure)
        write_whole(path.parent / "figures" / f"{name}.png", content)
        pictures.append(_picture(name, figure, content))
    write_whole(path, _render(plain, pictures))
    return path


def _picture(name: str, figure: Figure, content: bytes) -> dict[str, Any]:
    """A picture with its words. Only the first of several sheets has the caption."""
    kind, sheet = re.sub(r"_\d+$", "", name), re.search(r"_(\d+)$", name)
    title, caption = CAPTIONS[kind]
    return {
        "title": f"{title} ({sheet[1]})" if sheet else title,
        "caption": caption if not sheet or sheet[1] == "1" else "",
        "base64": base64.b64encode(content).decode(),
        "width": round(figure.get_figwidth() * 100),
        "height": round(figure.get_figheight() * 100),
    }


def _render(result: Mapping[str, Any], pictures: list[dict[str, Any]]) -> str:
    # Names of sites and classes are anyone's words: everything is escaped, and what is misspelt here fails.
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"size": _size, "json": lambda value: json.dumps(value, ensure_ascii=False)}
    template = environment.from_string(files("fedmed_workflows.report").joinpath("page.html").read_text("utf-8"))
    rounds = trained_rounds(result)
    by_role = {role: [site for site in result["sites"] if site["role"] == role] for role in ("training", "unseen")}
    return template.render(
        result,
        pictures=pictures,
        rounds=[_round(entry, [site["name"] for site in by_role["training"]]) for entry in rounds],
        exchanged=_exchanged(rounds),
        metrics=_metrics(result),
        chance=1 / len(result["class_names"]),
        **by_role,
    )


def _metrics(result: Mapping[str, Any]) -> dict[str, str]:
    """Title by name of the metrics that any site has."""
    scores = [*result["initial"].values(), *result["final"].values()]
    found = {metric: metric.replace("_", " ") for score in scores for metric in score["metrics"]}
    return {metric: title for metric, title in {**METRICS, **found, **METRICS}.items() if metric in found}


def _round(entry: Mapping[str, Any], training: list[str]) -> dict[str, Any]:
    """A row of the table of rounds. Who contributed follows from who did not, which is the shorter list."""
    errors = {name: site["error"] for name, site in entry["sites"].items() if "error" in site}
    return {
        "round": entry["round"],
        "seconds": entry.get("seconds"),
        "contributed": len(entry["sites"]) - len(errors),
        "errors": errors,
        "absent": [name for name in training if name not in entry["sites"]],
        "sent": _total(entry["sites"].values(), "sent_bytes"),
        "received": _total(entry["sites"].values(), "received_bytes"),
    }


def _exchanged(rounds: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Bytes sent and received in all rounds, and the number of contributions, by site."""
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


def _size(number: int) -> str:
    size, unit = byte_unit(number)
    return f"{number / size:.{0 if size == 1 else 2}f} {unit}"
