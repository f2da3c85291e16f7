"""The trained bundle: a copy of a bundle's folder with the network and the settings of a run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedmed_networks.weights import file_digest
from fedmed_transforms.whole_file import whole_folder, write_whole
from fedmed_workflows.federation.bundle.checkpoint import write_digests
from fedmed_workflows.federation.bundle.config import TRAIN_CONFIG, config_files
from fedmed_workflows.federation.bundle.files import bundle_files
from fedmed_workflows.federation.bundle.needed_packages import needed_packages, with_versions
from fedmed_workflows.federation.bundle.overlays import merged
from fedmed_workflows.federation.bundle.trained_metadata import (
    FEDERATED,
    METADATA,
    read_json,
    selected_method,
    trained_metadata,
)
from fedmed_workflows.federation.bundle.trained_network import NETWORK, trained_network
from fedmed_workflows.federation.engine import Trained
from fedmed_workflows.report.model_card import CARD, model_card

OF_A_PLACE = ("bundle_root", "dataset_dir", "output_dir", "ckpt_path", "device", "batch_size")
"""Entries of a configuration about the place and the way of a run, not about the training."""

ALGORITHM = "algorithm"
"""Entry of an inference configuration: name and version of the algorithm in DICOM results. The version holds the start
of the weights' digest, so that results of two trainings differ."""

INFERENCE = "configs/inference.json"

CLASSES = "class_names"
"""Entry of a configuration, and argument of a classifier: the classes in the order of the logits."""

METHODS = "configs/methods/"
"""A bundle's overlays of other methods. The trained bundle of another method has none of them."""


README, ABOUT_README = "docs/README.md", (
    "> This bundle was trained with the method `{}`: see its [model card](MODEL_CARD.md). "
    "The page below describes the bundle that it was made from.\n\n"
)


def decided_entries(
    bundle_root: str, settings: Mapping[str, Any], trained: Trained, train_config: Sequence[str] = (TRAIN_CONFIG,)
) -> dict[str, Any]:
    """Collects the entries of a bundle's ``configs/inference.json`` that a run decided.

    Parameters
    ----------
    bundle_root
        The bundle's folder.
    settings
        The run's entries of the training configuration.
    trained
        The run's network, with the values of its training configuration.
    train_config
        The training configuration and its overlays. ``network_def`` is an entry if an overlay replaced it.
    """
    known = read_json(Path(bundle_root) / INFERENCE)
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
    metadata: Mapping[str, Any],
    train_config: Sequence[str] = (TRAIN_CONFIG,),
) -> Path:
    """Writes the trained bundle of a finished run, and the model card next to the trained network.

    Parameters
    ----------
    bundle_root
        The folder of the bundle that was trained.
    decided
        The entries that the run decided, see :func:`decided_entries`.
    result
        The run, as in its report.
    model
        The trained network's file, in the run's folder. ``MODEL_CARD.md`` and ``bundle/NAME`` are written beside it;
        for a method that is not the bundle's own ``bundle/NAME_METHOD``.
    metadata
        The bundle's metadata with those of the run's method, see
        :func:`fedmed_workflows.federation.bundle.trained_metadata.method_metadata`.
    train_config
        The training configuration and its overlays; merged, they are the trained bundle's ``configs/train.json``.

    Returns
    -------
    Path
        The folder ``bundle/NAME``: the bundle's files with the run's entries in the configurations, the run's classes
        and sizes in the metadata, ``docs/MODEL_CARD.md``, ``models/model.pt``, and the SHA-256 of network and
        configurations in ``models/SHA256SUMS``. It names no path outside itself.
    """
    root, method = Path(bundle_root), selected_method(bundle_root, str(result["method"]))
    metadata = trained_metadata(metadata, read_json(root / INFERENCE), decided, result)
    digest = file_digest(model)
    card = model_card(metadata, result, digest) if metadata else None
    if metadata:
        metadata = with_versions(metadata, bundle_packages(bundle_root, train_config))
        decided = {**decided, ALGORITHM: {"name": metadata["name"], "version": f"{metadata['version']} {digest[:8]}"}}
    training = _training(config_files(bundle_root, train_config), result)
    path = model.parent / "bundle" / "_".join([root.resolve().name, *([method] if method else [])])
    with whole_folder(path) as folder:
        for name, content in _files(bundle_root, decided, metadata, training, method):
            write_whole(folder / name, content)
        if card is not None:
            write_whole(folder / "docs" / CARD, card)
        (folder / "models").mkdir(exist_ok=True)
        shutil.copyfile(model, folder / "models" / "model.pt")  # no link: MONAI Label changes this file when it trains
        write_digests(folder / "models", [folder / "models" / "model.pt", *(folder / "configs").rglob("*.json")])
    if card is not None:
        write_whole(model.parent / CARD, card)
    return path


def bundle_packages(bundle_root: str, train_config: Sequence[str]) -> dict[str, str]:
    """Lists the packages besides FedMed's own that training and inference of a bundle name, with their versions."""
    training, inference = merged(config_files(bundle_root, train_config)), read_json(Path(bundle_root) / INFERENCE)
    return needed_packages([training, inference])


def _training(files: Sequence[str], result: Mapping[str, Any]) -> dict[str, Any]:
    """Merges the training configuration, with the run's settings for the entries that overlays added."""
    training, before, settings = merged(files), merged(files[:1]), result["settings"]["settings"]
    return {**training, **{name: settings[name] for name in training if name in settings and name not in before}}


def _without_a_site(training: Mapping[str, Any], decided: Mapping[str, Any]) -> dict[str, Any]:
    """Lets the network take its classes from the run, so that it can be built where there is no site."""
    network = dict(training.get(NETWORK, {}))
    if CLASSES in decided and CLASSES in training and network.get(CLASSES) == f"$@site.{CLASSES}":
        network[CLASSES] = f"@{CLASSES}"
    return {**training, **({NETWORK: network} if network else {})}


def _files(
    bundle_root: str,
    decided: Mapping[str, Any],
    metadata: Mapping[str, Any],
    training: Mapping[str, Any],
    method: str | None,
) -> Iterator[tuple[str, bytes]]:
    """Yields names and contents of a trained bundle's files, without weights and model card."""
    shared = {name: value for name, value in decided.items() if name != NETWORK}
    for name in bundle_files(bundle_root):
        content = (Path(bundle_root) / name).read_bytes()
        if method and name.startswith(METHODS):
            continue
        if name == README and method:
            content = ABOUT_README.format(method).encode() + content
        elif name == METADATA:
            content = _json(metadata)
        elif name == TRAIN_CONFIG:
            content = _configured(_without_a_site(training, shared), shared) or content
        elif name == FEDERATED:
            content = _configured({**json.loads(content), **({"method": method} if method else {})}, shared) or content
        elif Path(name).match("configs/*.json"):
            content = _configured(json.loads(content), decided) or content
        yield name, content


def _configured(config: Mapping[str, Any], decided: Mapping[str, Any]) -> bytes | None:
    """Replaces entries of a configuration by the run's; None for an overlay, which has no ``bundle_root``."""
    if "bundle_root" not in config:
        return None
    replaced = {name: value for name, value in decided.items() if name in config}
    return _json({**config, **replaced, "bundle_root": "."})


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=4, ensure_ascii=False) + "\n").encode()


def _is_plain(value: Any) -> bool:
    """Returns whether an entry is a plain value: no expression, no reference, no component."""
    text = json.dumps(value)
    return not any(mark in text for mark in ('"$', '"@', "_target_"))
