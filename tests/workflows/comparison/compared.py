"""A comparison run, and runs of one as their files have them, with scores written out by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from monai.bundle import create_workflow

from fedmed_workflows.comparison.results.compared_run import Arm, ComparedRun

SITES = ("east", "west", "north")


def interval(value: float | None) -> dict[str, float | None]:
    return {"value": value, "low": None, "high": None}


def score(value: float | None, split: str = "test", **others: Any) -> dict[str, Any]:
    metrics = {"dice": interval(value), **{name: interval(part) for name, part in others.items()}}
    return {"images": 7, "slices": 70, "split": split, "metrics": metrics}


def compared_run(
    arm: Arm, seed: int, unseen: str | None, values: dict[str, float | None], trained_at: str | None = None,
    curve: tuple[float, ...] = (0.1, 0.5, 0.9),
) -> ComparedRun:  # fmt: skip
    """A run over three sites with the final Dice of each of `values`; two rounds of 30 bytes a site and way."""
    seen = [site for site in SITES if site != unseen]
    training = {"federated": seen, "alone": [trained_at], "pooled": ["pooled"]}[arm.training]
    sites = [{"name": site, "role": "training", "samples": 4} for site in training]
    sites += [{"name": site, "role": "observed", "samples": 0} for site in seen if site not in training]
    sites += [{"name": unseen, "role": "unseen", "samples": 0}] if unseen else []
    part = {"sent_bytes": 30, "received_bytes": 30, "loss": 1.0, "samples": 4}
    judged = [site["name"] for site in sites]
    history = [{"round": 0, "validation": {name: {"dice": curve[0]} for name in judged}}]
    history += [
        {"round": number, "seconds": 2.0 * number, "sites": {name: part for name in training},
         "validation": {name: {"dice": curve[number]} for name in judged}}
        for number in (1, 2)
    ]  # fmt: skip
    result = {
        "method": "a_segmentation", "settings": {"bundle": "a_segmentation", "rounds": 2}, "versions": {"torch": "2.8"},
        "seed": seed, "manifest": {"bytes": 30, "tensors": {}, "frozen": ""}, "notes": ["Random weights."],
        "class_names": ["lung"], "key_metric": "dice", "chance": None, "sites": sites, "history": history,
        "initial": {name: score(0.0) for name in judged},
        "final": {name: score(values.get(name)) for name in judged},
    }  # fmt: skip
    cost = {"peak_memory_bytes": 1e9 + seed, "peak_gpu_bytes": None}
    return ComparedRun(arm, seed, unseen, trained_at, result, cost, f"{arm.method}/seed_{seed}/{unseen}/report.html")


def write_json(folder: Path, name: str, content: dict[str, Any]) -> str:
    """A configuration file; its path."""
    (folder / name).write_text(json.dumps(content))
    return str(folder / name)


def compare(entries: dict[str, Any], **changed: Any) -> Path:
    """Runs a comparison; its page."""
    page: Path = create_workflow(**{**entries, **changed}).run()[0]
    return page
