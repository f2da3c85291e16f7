"""Tests a round's values for TensorBoard and MLflow, and refused settings; the simulator's tests read them there."""

from __future__ import annotations

import copy
import sys
from typing import Any

import pytest
from monai.bundle import create_workflow

from fedmed_workflows.nvflare.server.tracking import receivers, scalars


def test_a_site_that_failed_shows_that_it_did_not_contribute() -> None:
    entry = {
        "round": 2,
        "seconds": 1.5,
        "sites": {"a": {"received_bytes": 8, "error": "no"}, "b": {"loss": float("nan"), "samples": 4}},
        "validation": {"b": {"accuracy": 0.5}},
    }
    assert set(scalars(entry, ["a", "b"])) == {
        ("a", "train/received_bytes", 8.0), ("a", "train/contributed", 0.0),
        ("b", "train/samples", 4.0), ("b", "train/contributed", 1.0), ("b", "validation/accuracy", 0.5),
        *((site, *value) for site in "ab" for value in (("round/seconds", 1.5), ("round/contributors", 1.0))),
    }  # fmt: skip


def test_a_tracking_that_nobody_knows_is_refused(federated: dict[str, Any]) -> None:
    with pytest.raises(Exception) as error:
        create_workflow(**copy.deepcopy({**federated, "track_with": "paper"})).parser.get_parsed_content("federation")
    assert "track_with: found ['paper'], expected some of ['tensorboard', 'mlflow']" in str(error.value.__cause__)


def test_one_process_has_no_receivers(federated: dict[str, Any]) -> None:
    federation = create_workflow(**copy.deepcopy({**federated, "track_with": "mlflow"})).parser.get_parsed_content(
        "federation"
    )
    with pytest.raises(ValueError, match="expected the engine 'nvflare'"):
        federation.run()


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nvflare.app_opt.tracking.mlflow.mlflow_receiver", None)
    with pytest.raises(ValueError, match="track_with 'mlflow': expected its package to be installed"):
        receivers(["mlflow"], "experiment")
