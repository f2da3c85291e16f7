"""What a run leaves once its rounds are over: the network, the numbers, the report and the trained bundle."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fedmed_transforms.whole_file import write_whole
from fedmed_workflows.engines.engine import Outcome
from fedmed_workflows.privacy_accounting import privacy_notes
from fedmed_workflows.report import write_report
from fedmed_workflows.run_identity import versions
from fedmed_workflows.trained_bundle import decided_entries, write_trained_bundle

if TYPE_CHECKING:
    from fedmed_workflows.federation import Federation


def write_result(federation: Federation, outcome: Outcome, engine: str) -> dict[str, Any]:
    """Writes a run's network, numbers, report and trained bundle to its folder; returns what the report says."""
    result = _result(federation, outcome, engine)
    if not federation.keep_network:
        _write_numbers(federation, result)
        return result
    folder = federation.output_dir
    model = outcome.trained.save_model(outcome.weights, folder / "model.pt")
    decided = decided_entries(federation.bundle_root, federation.settings, outcome.trained, federation.train_config)
    write_whole(folder / "model.json", json.dumps({"ckpt_path": str(model.resolve()), **decided}, indent=2))
    _write_numbers(federation, result)
    write_trained_bundle(federation.bundle_root, decided, result, model, federation.train_config)
    return result


def _write_numbers(federation: Federation, result: dict[str, Any]) -> None:
    run = {key: result[key] for key in ("method", "settings", "versions", "seed", "manifest", "notes")}
    content = {"identity": federation.identity(), **run}
    write_whole(federation.output_dir / "run.json", json.dumps(content, indent=2))
    write_report(result, federation.output_dir)


def _result(federation: Federation, outcome: Outcome, engine: str) -> dict[str, Any]:
    privacy = privacy_notes(federation.privacy, outcome.history)
    return {
        "method": federation.method,
        "settings": {**federation.identity(), "min_sites": federation.min_sites, "engine": engine},
        "versions": versions(),
        "seed": federation.seed,
        "manifest": outcome.manifest.to_json(),
        "notes": [*federation.notes, *federation.aggregation.notes, *outcome.notes, *privacy],
        "class_names": list(federation.sites.class_names),
        "key_metric": federation.sites.key_metric,
        "chance": federation.sites.chance,
        "sites": outcome.sites,
        "history": outcome.history,
        "initial": outcome.initial,
        "final": outcome.final,
    }
