"""Writes the result of a run after its last round: the network, the numbers, the report and the trained bundle."""

from __future__ import annotations

import json
import logging
from typing import Any

from torch import nn

from fedmed_networks.foundation_weights import FoundationWeights
from fedmed_transforms.whole_file import write_whole
from fedmed_workflows.exchange.privacy.accounting import privacy_notes
from fedmed_workflows.federation.bundle.needed_packages import NO_VERSION, package_notes
from fedmed_workflows.federation.bundle.trained_bundle import bundle_packages, decided_entries, write_trained_bundle
from fedmed_workflows.federation.bundle.trained_metadata import OF_A_METHOD
from fedmed_workflows.federation.engine import Outcome
from fedmed_workflows.federation.identity import run_identity, versions
from fedmed_workflows.federation.settings import FederationSettings
from fedmed_workflows.report.page import write_report

logger = logging.getLogger(__name__)

RECORD = "foundation_weights"
"""Attribute of a network with the record of its foundation's weights, None without a foundation; and its entry."""


def write_result(settings: FederationSettings, outcome: Outcome, engine: str) -> dict[str, Any]:
    """Writes network, numbers, report and trained bundle of a run to its folder; returns the content of the report."""
    result = _result(settings, outcome, engine)
    if not settings.keep_network:
        _write_numbers(settings, result)
        return result
    folder = settings.output_dir
    model = outcome.trained.save_model(outcome.weights, folder / "model.pt")
    decided = decided_entries(settings.bundle_root, settings.settings, outcome.trained, settings.train_config)
    write_whole(folder / "model.json", json.dumps({"ckpt_path": str(model.resolve()), **decided}, indent=2))
    _write_numbers(settings, result)
    write_trained_bundle(settings.bundle_root, decided, result, model, settings.metadata, settings.train_config)
    return result


def _write_numbers(settings: FederationSettings, result: dict[str, Any]) -> None:
    kept = ("method", "settings", RECORD, "versions", "seed", "manifest", "notes")
    run = {key: result[key] for key in kept}
    content = {"identity": run_identity(settings), **run}
    write_whole(settings.output_dir / "run.json", json.dumps(content, indent=2))
    write_report(result, settings.output_dir)


def _result(settings: FederationSettings, outcome: Outcome, engine: str) -> dict[str, Any]:
    privacy = privacy_notes(settings.privacy, outcome.history)
    packages = bundle_packages(settings.bundle_root, settings.train_config)
    needed = package_notes(packages) if settings.keep_network else []
    network = outcome.trained.setting("network")
    foundation: FoundationWeights | None = getattr(network, RECORD, None)
    notes = [*_weights_notes(settings, network), *settings.notes, *settings.aggregation.notes, *outcome.notes]
    for note in needed:
        logger.warning("%s", note)
    return {
        "method": settings.method,
        "method_metadata": {name: settings.metadata.get(name) for name in OF_A_METHOD} if settings.metadata else None,
        "settings": {**run_identity(settings), "min_sites": settings.min_sites, "engine": engine},
        RECORD: foundation.to_json() if foundation else None,
        "versions": {**versions(), **{name: number for name, number in packages.items() if number != NO_VERSION}},
        "seed": settings.seed,
        "manifest": outcome.manifest.to_json(),
        "notes": [*notes, *privacy, *needed],
        "class_names": list(settings.sites.class_names),
        "key_metric": settings.sites.key_metric,
        "chance": settings.sites.chance,
        "sites": outcome.sites,
        "history": outcome.history,
        "initial": outcome.initial,
        "final": outcome.final,
    }


def _weights_notes(settings: FederationSettings, network: nn.Module) -> list[str]:
    """Returns remarks on weights that were not loaded, decided by the record of the network's own foundation."""
    foundation: FoundationWeights | None = getattr(network, RECORD, None)
    if foundation is not None:
        return [f"{foundation}: scores say nothing of the method."] if foundation.random else []
    if hasattr(network, RECORD) and settings.settings.get("weights"):
        return [f"{type(network).__name__} has no foundation: the weights that the settings name are not used."]
    return []
