"""A trained bundle: a bundle's folder with the network of a run in it, to be copied to where it is used, and served."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedmed_networks.weights import file_digest
from fedmed_transforms.whole_file import whole_folder, write_whole
from fedmed_workflows.federation.bundle.config import TRAIN_CONFIG, config_files
from fedmed_workflows.federation.bundle.files import bundle_files
from fedmed_workflows.federation.bundle.overlays import merged
from fedmed_workflows.federation.bundle.trained_metadata import trained_metadata
from fedmed_workflows.federation.bundle.trained_network import NETWORK, trained_network
from fedmed_workflows.federation.engine import Trained
from fedmed_workflows.report.model_card import CARD, model_card

OF_A_PLACE = ("bundle_root", "dataset_dir", "output_dir", "ckpt_path", "device", "batch_size")
"""Entries of a configuration that say where and how it runs, not what was trained."""

ALGORITHM = "algorithm"
"""Entry of an inference configuration: what a DICOM result says of who made it. The start of the weights' digest tells
the results of one training from those of another."""

INFERENCE, METADATA, FEDERATED = "configs/inference.json", "configs/metadata.json", "configs/federated.json"

METHODS = "configs/methods/"
"""A bundle's overlays of other methods. A trained bundle of one of them has none of them."""


def decided_entries(
    bundle_root: str, settings: Mapping[str, Any], trained: Trained, train_config: Sequence[str] = (TRAIN_CONFIG,)
) -> dict[str, Any]:
    """The entries of a bundle's ``configs/inference.json`` that a run decided.

    Parameters
    ----------
    bundle_root
        The bundle's folder.
    settings
        The run's entries of the training configuration.
    trained
        The run's network: what the training configuration made of the plain entries that inference has too.
    train_config
        The training configuration and its overlays; ``network_def`` is among the entries where they replaced it.
    """
    known = _read(Path(bundle_root) / INFERENCE)
    plain = [name for name, value in known.items() if _is_plain(value)]
    shared = {name: trained.setting(name) for name in plain if trained.has_setting(name)}
    decided = {**shared, **{name: value for name, value in settings.items() if name in known}}
    network = _decided_network(bundle_root, known, train_config, trained)
    return {**{name: value for name, value in decided.items() if name not in OF_A_PLACE}, **network}


def _decided_network(
    bundle_root: str, inference: Mapping[str, Any], train_config: Sequence[str], trained: Trained
) -> dict[str, Any]:
    files = config_files(bundle_root, train_config)
    before, after = (merged(part).get(NETWORK, {}) for part in (files[:1], files))
    if NETWORK not in inference or before == after:
        return {}
    return {NETWORK: trained_network(inference[NETWORK], before, after, trained.setting)}


def write_trained_bundle(
    bundle_root: str,
    decided: Mapping[str, Any],
    result: Mapping[str, Any],
    model: Path,
    train_config: Sequence[str] = (TRAIN_CONFIG,),
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
        The trained network's file, in the run's folder. This gets ``MODEL_CARD.md`` and ``bundle/NAME``; of a method
        that is not the bundle's own ``bundle/NAME_METHOD``.
    train_config
        The training configuration and its overlays: what the trained bundle's ``configs/train.json`` is made of.

    Returns
    -------
    Path
        Of ``bundle/NAME``: the bundle's files with the run's entries in its configurations, classes and sizes in its
        metadata, ``docs/MODEL_CARD.md`` and ``models/model.pt``. It names no place outside itself.
    """
    root, method = Path(bundle_root), _method(bundle_root, result)
    metadata = trained_metadata(_metadata(root, method), _read(root / INFERENCE), decided, result)
    digest = file_digest(model)
    card = model_card(metadata, result, digest) if metadata else None
    if metadata:
        decided = {**decided, ALGORITHM: {"name": metadata["name"], "version": f"{metadata['version']} {digest[:8]}"}}
    training = _training(config_files(bundle_root, train_config), result)
    path = model.parent / "bundle" / "_".join([root.resolve().name, *([method] if method else [])])
    with whole_folder(path) as folder:
        for name, content in _files(bundle_root, decided, metadata, training, method):
            write_whole(folder / name, content)
        if card is not None:
            write_whole(folder / "docs" / CARD, card)
        (folder / "models").mkdir(exist_ok=True)
        shutil.copyfile(model, folder / "models" / "model.pt")  # no link: MONAI Label trains on in its bundle's file
    if card is not None:
        write_whole(model.parent / CARD, card)
    return path


def _method(bundle_root: str, result: Mapping[str, Any]) -> str | None:
    """The method that an overlay selected, or None: the bundle's own, or the one that it was trained with before."""
    name, method = Path(bundle_root).resolve().name, str(result["method"])
    return None if method == name or name.endswith(f"_{method}") else method


def _metadata(root: Path, method: str | None) -> dict[str, Any]:
    """The bundle's metadata; of another method with what its own ``metadata.json`` says, or with its name at least."""
    metadata = _read(root / METADATA)
    if not metadata or method is None:
        return metadata
    named = {"name": f"{metadata['name']}, method {method}"}
    return {**metadata, **named, **_read(root / METHODS / method / "metadata.json")}


def _training(files: Sequence[str], result: Mapping[str, Any]) -> dict[str, Any]:
    """The training configuration with its overlays, and the run's settings in the place of what they added."""
    training, before, settings = merged(files), merged(files[:1]), result["settings"]["settings"]
    return {**training, **{name: settings[name] for name in training if name in settings and name not in before}}


def _files(
    bundle_root: str,
    decided: Mapping[str, Any],
    metadata: Mapping[str, Any],
    training: Mapping[str, Any],
    method: str | None,
) -> Iterator[tuple[str, bytes]]:
    """The files of a trained bundle by name, without its weights and its card."""
    shared = {name: value for name, value in decided.items() if name != NETWORK}
    for name in bundle_files(bundle_root):
        content = (Path(bundle_root) / name).read_bytes()
        if method and name.startswith(METHODS):
            continue
        if name == METADATA:
            content = _json(metadata)
        elif name == TRAIN_CONFIG:
            content = _configured(training, shared) or content
        elif name == FEDERATED:
            content = _configured({**json.loads(content), **({"method": method} if method else {})}, shared) or content
        elif Path(name).match("configs/*.json"):
            content = _configured(json.loads(content), decided) or content
        yield name, content


def _configured(config: Mapping[str, Any], decided: Mapping[str, Any]) -> bytes | None:
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
