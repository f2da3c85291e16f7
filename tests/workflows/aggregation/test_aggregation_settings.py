"""Tests the selection of an aggregation, and the settings refused by name before anything is read or written."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import create_workflow

from fedmed_workflows import aggregation as package
from fedmed_workflows.aggregation import Aggregation, FedAvg
from fedmed_workflows.aggregation.server_optimizer import ServerOptimizer
from fedmed_workflows.nvflare.server.controller import _aggregation

PACKAGE = "fedmed_workflows.aggregation."
DOCUMENT = Path(__file__).parents[3] / "docs" / "aggregation.md"


def federation(entries: dict[str, Any], aggregation: Any) -> Any:
    workflow = create_workflow(**copy.deepcopy({**entries, "aggregation": aggregation}))
    return workflow.parser.get_parsed_content("federation")


@pytest.mark.parametrize(
    ("aggregation", "said"),
    [
        ("FedAdam", "aggregation: found 'FedAdam', expected a class of fedmed_workflows.aggregation, by '_target_'"),
        ({"_target_": "torch.nn.Linear", "in_features": 1, "out_features": 1}, "aggregation: found Linear.*expected"),
        ({"_target_": f"{PACKAGE}FedMedian"}, "FedMedian"),
        ({"_target_": f"{PACKAGE}FedAvgM", "momentun": 0.9}, "momentun"),
        (
            {"_target_": f"{PACKAGE}FedAvgM", "momentum": 1.0},
            "momentum: found 1.0, expected a number of at least 0 and below 1",
        ),
        ({"_target_": f"{PACKAGE}Krum"}, "Krum: found rounds of 2 sites .min_sites., expected at least 5 for byzant"),
        ({"_target_": f"{PACKAGE}TrimmedMean"}, "TrimmedMean: found rounds of 2 sites.*at least 3 for trimmed 1"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    federated: dict[str, Any], tmp_path: Path, aggregation: Any, said: str
) -> None:
    with pytest.raises(Exception) as refused:
        federation(federated, aggregation)
    causes = [refused.value, refused.value.__cause__, refused.value.__context__]
    assert re.search(said, " ".join(map(str, causes)))
    assert not (tmp_path / "run").exists()


def test_fewer_sites_a_round_than_the_aggregation_needs_are_refused(federated: dict[str, Any]) -> None:
    mean = {"_target_": f"{PACKAGE}Median"}
    assert federation({**federated, "min_sites": 1}, mean).min_sites == 1
    with pytest.raises(Exception) as refused:
        federation({**federated, "unseen_site": None, "min_sites": 2}, {"_target_": f"{PACKAGE}Krum", "byzantine": 0})
    assert "found rounds of 2 sites (min_sites), expected at least 3" in f"{refused.value} {refused.value.__cause__}"


def test_settings_are_part_of_a_run_s_identity(federated: dict[str, Any]) -> None:
    found = {
        str(federation(federated, {"_target_": f"{PACKAGE}{name}", **arguments}).identity()["aggregation"])
        for name, arguments in (("FedAvg", {}), ("FedBN", {}), ("FedAvgM", {}), ("FedAvgM", {"momentum": 0.5}))
    }
    assert len(found) == 4


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("FedMedian", {}, "expected a class of fedmed_workflows.aggregation"),
        ("nowhere.FedAvg", {}, "expected a class of fedmed_workflows.aggregation"),
        ("Update", {"weights": {}, "samples": 1}, "expected a class of fedmed_workflows.aggregation"),
        ("Aggregation", {}, "expected a class of fedmed_workflows.aggregation"),
        ("server_optimizer.ServerOptimizer", {"learning_rate": 1.0}, "expected a class of"),
        ("FedAvgM", {"momentun": 0.9}, "momentun"),
        ("FedAvgM", {"momentum": 2}, "momentum: found 2"),
        ("Krum", {"byzantine": "many"}, "byzantine: found 'many'"),
    ],
)
def test_a_server_refuses_a_job_whose_aggregation_is_none(name: str, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        _aggregation({"name": PACKAGE + name, "arguments": arguments})


def test_every_aggregation_and_every_setting_is_documented() -> None:
    text = DOCUMENT.read_text()
    found = [value for value in vars(package).values() if isinstance(value, type) and issubclass(value, Aggregation)]
    for each in found:
        if each not in (Aggregation, ServerOptimizer):
            (row,) = [line for line in text.splitlines() if line.startswith(f"| `{each.__name__}` |")]
            assert all(f"`{name}` {json.dumps(value)}" in row for name, value in vars(each()).items()), each
    assert FedAvg in found
