"""A trained bundle: a bundle's folder with the network of a run in it, to be copied to where it is used, and served."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fedmed_networks.weights import file_digest
from fedmed_transforms.whole_file import whole_folder
from fedmed_workflows.bundle_files import bundle_files
from fedmed_workflows.engines.engine import Trained
from fedmed_workflows.report.model_card import CARD, model_card
from fedmed_workflows.run_folder import write_whole
from fedmed_workflows.trained_metadata import trained_metadata

OF_A_PLACE = ("bundle_root", "dataset_dir", "output_dir", "ckpt_path", "device", "batch_size")
"""Entries of a configuration that say where and how it runs, not what was trained."""

ALGORITHM = "algorithm"
"""Entry of an inference configuration: what a DICOM result says of who made it. The start of the weights' digest tells
the results of one training from those of another."""

INFERENCE, METADATA = "configs/inference.json", "configs/metadata.json"


def decided_entries(bundle_root: str, settings: Mapping[str, Any], trained: Trained) -> dict[str, Any]:
    """The entries of a bundle's ``configs/inference.json`` that a run decided.

    Parameters
    ----------
    bundle_root
        The bundle's folder.
    settings
        The run's entries of the training configuration.
    trained
        The run's network: what the training configuration made of the plain entries that inference has too.
    """
    known = _read(Path(bundle_root) / INFERENCE)
    plain = [name for name, value in known.items() if _is_plain(value)]
    shared = {name: trained.setting(name) for name in plain if trained.has_setting(name)}
    decided = {**shared, **{name: value for name, value in settings.items() if name in known}}
    return {name: value for name, value in decided.items() if name not in OF_A_PLACE}


def write_trained_bundle(
    bundle_root: str, decided: Mapping[str, Any], result: Mapping[str, Any], model: Path
) -> Path:
    """Writes the bundle of a run that is over, and its model card next to the trained network.

    Parameters
    ----------
    bundle_root
        The folder of the bundle that was trained.
    decided
        What the run decided, of :func:`decided_entries`.
    result
        The run, as its report has it.
    model
        The trained network's file, in the run's folder. This gets ``MODEL_CARD.md`` and ``bundle/NAME``.

    Returns
    -------
    Path
        Of ``bundle/NAME``: the bundle's files with the run's entries in its configurations, classes and sizes in its
        metadata, ``docs/MODEL_CARD.md`` and ``models/model.pt``. It names no place outside itself.
    """
    root = Path(bundle_root)
    metadata = trained_metadata(_read(root / METADATA), _read(root / INFERENCE), decided, result)
    digest = file_digest(model)
    card = model_card(metadata, result, digest) if metadata else None
    if metadata:
        decided = {**decided, ALGORITHM: {"name": metadata["name"], "version": f"{metadata['version']} {digest[:8]}"}}
    path = model.parent / "bundle" / str(result["method"])
    with whole_folder(path) as folder:
        for name, content in _files(bundle_root, decided, metadata):
            write_whole(folder / name, content)
        if card is not None:
            write_whole(folder / "docs" / CARD, card)
        (folder / "models").mkdir(exist_ok=True)
        shutil.copyfile(model, folder / "models" / "model.pt")  # no link: MONAI Label trains on in its bundle's file
    if card is not None:
        write_whole(model.parent / CARD, card)
    return path


def _files(bundle_root: str, decided: Mapping[str, Any], metadata: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """The files of a trained bundle by name, without its weights and its card."""
    for name in bundle_files(bundle_root):
        content = (Path(bundle_root) / name).read_bytes()
        if name == METADATA:
            content = _json(metadata)
        elif Path(name).match("configs/*.json"):
            content = _configured(json.loads(content), decided) or content
        yield name, content


def _configured(config: dict[str, Any], decided: Mapping[str, Any]) -> bytes | None:
    """A configuration with a run's entries in the place of its own; None of an overlay, which has no bundle's root."""
    if "bundle_root" not in config:
        return None
    replaced = {name: value for name, value in decided.items() if name in config}
    return _json({**config, **replaced, "bundle_root": "."})


def _read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    return content


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=4, ensure_ascii=False) + "\n").encode()


def _is_plain(value: Any) -> bool:
    """Whether an entry of a configuration is a value, and neither code nor a component."""
    text = json.dumps(value)
    return not any(mark in text for mark in ('"$', '"@', "_target_"))
