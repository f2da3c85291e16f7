"""Model cards: intended use of a bundle and results of a run, as Markdown with the header that model hubs read."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, FunctionLoader, StrictUndefined

from fedmed_transforms.whole_file import write_whole
from fedmed_workflows.json_file import read_entries
from fedmed_workflows.report.figures.curves import trained_rounds
from fedmed_workflows.report.figures.metric_names import groups_of, metric_of
from fedmed_workflows.report.page import by_class, exchanged
from fedmed_workflows.report.rendering import readable_size, template_source
from fedmed_workflows.report.tables import finite

CARD = "MODEL_CARD.md"
"""File name of a card: next to a run's ``model.pt``, and in a bundle's folder ``docs``."""

NO_FILES = hashlib.sha256().hexdigest()
"""Digest of a run's data if all images are at the sites and none where the run was started."""

MEANINGFUL = re.compile(r"([\\`*_\[\]<>|&#~$])")
"""Characters with a meaning in Markdown, or in HTML inside Markdown."""


def model_card(metadata: Mapping[str, Any], result: Mapping[str, Any] | None = None, digest: str | None = None) -> str:
    """Writes the text of the card of a bundle, or of a trained bundle.

    Parameters
    ----------
    metadata
        The bundle's ``metadata.json``.
    result
        The run, as for :func:`fedmed_workflows.report.page.write_report`; None for a bundle that is not trained.
    digest
        SHA-256 of the trained network's file.

    Returns
    -------
    str
        Markdown. Every number comes from `result`. Names of sites and classes are escaped.
    """
    run = None if result is None else _run(finite(result))
    header = _header(metadata, run)
    body = _template().render(metadata=metadata, run=run, digest=digest, segments=_segments(metadata))
    return f"---\n{header.to_yaml()}\n---\n\n{body}"


def write_bundle_card(bundle_root: str | Path) -> Path:
    """Writes the card of a bundle that is not trained to its folder ``docs``.

    Raises
    ------
    ValueError
        The folder holds no ``configs/metadata.json``.
    """
    file = Path(bundle_root) / "configs" / "metadata.json"
    if not file.is_file():
        raise ValueError(f"{file}: no such file, expected the metadata of a bundle")
    path = Path(bundle_root) / "docs" / CARD
    write_whole(path, model_card(read_entries(file, "the metadata of a bundle")))
    return path


def markdown_text(value: Any) -> Any:
    """Escapes a text for Markdown, in one line; other values stay unchanged."""
    return MEANINGFUL.sub(r"\\\1", " ".join(value.splitlines())) if isinstance(value, str) else value


def _template() -> Any:
    # Names of sites and classes may hold any text: all values are escaped. StrictUndefined finds misspelt names.
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
        finalize=markdown_text, loader=FunctionLoader(template_source),
    )  # fmt: skip
    environment.filters |= {"interval": _interval, "size": readable_size, "plain": _plain}
    return environment.get_template("model_card.md")


def _segments(metadata: Mapping[str, Any]) -> bool:
    """Returns whether the network gives masks, and not a class of the whole image."""
    return bool(metadata["network_data_format"]["outputs"]["pred"]["format"] == "segmentation")


def _run(result: Mapping[str, Any]) -> dict[str, Any]:
    rounds = trained_rounds(result)
    return {
        **result,
        "foundation_weights": result.get("foundation_weights"),  # runs of earlier versions have none
        "data": None if result["settings"]["data"] == NO_FILES else result["settings"]["data"],
        "key": metric_of(result["key_metric"]),
        "rounds": rounds,
        "exchanged": exchanged(rounds),
        "epsilon": next((entry["epsilon"] for entry in reversed(rounds) if "epsilon" in entry), None),
        "groups": groups_of([*result["initial"].values(), *result["final"].values()]),
        "by_class": by_class(result["final"].values()),
    }


def _header(metadata: Mapping[str, Any], run: Mapping[str, Any] | None) -> ModelCardData:
    task = "image-segmentation" if _segments(metadata) else "image-classification"
    return ModelCardData(
        license="apache-2.0",
        library_name="monai",
        pipeline_tag=task,
        tags=["monai", "medical", "federated-learning"],
        model_name=metadata["name"] if run else None,
        eval_results=None if run is None else list(_eval_results(run, task)),
    )


def _eval_results(run: Mapping[str, Any], task: str) -> Iterator[EvalResult]:
    for site in (site for site in run["sites"] if site["name"] in run["final"]):
        score = run["final"][site["name"]]
        for name, part in score["metrics"].items():
            if part["value"] is not None:
                yield EvalResult(
                    task_type=task, dataset_type=site["role"], dataset_name=site["name"],
                    dataset_config=site["name"], dataset_split=score["split"],  # the name alone would not separate them
                    metric_type=name, metric_name=metric_of(name).heading, metric_value=part["value"],
                    metric_args={end: part.get(end) for end in ("low", "high")},
                )  # fmt: skip


def _interval(score: Mapping[str, Any] | None, digits: int = 3) -> str:
    value, low, high = ((score or {}).get(part) for part in ("value", "low", "high"))
    if value is None:
        return "–"
    ends = "" if low is None or high is None else f" ({low:.{digits}f}–{high:.{digits}f})"
    return f"{value:.{digits}f}{ends}"


def _plain(value: Any) -> str:
    """Formats a setting; a path of this machine is reduced to the file's name."""
    if isinstance(value, str):
        return Path(value).name if Path(value).exists() else value
    return json.dumps(value, ensure_ascii=False)


def main() -> None:
    """Runs the command ``python -m fedmed_workflows model_card BUNDLE...``."""
    description = "Writes the model card of bundles that are not trained to their folders docs."
    parser = argparse.ArgumentParser(prog="python -m fedmed_workflows model_card", description=description)
    parser.add_argument("bundles", nargs="+", type=Path, help="folders of bundles")
    for root in parser.parse_args().bundles:
        try:
            print(write_bundle_card(root))
        except ValueError as error:
            parser.error(str(error))
