"""Tests the classes a job may name to the server: an aggregation of this package, and nothing that lies behind it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedmed_workflows.aggregation import FedAvg
from fedmed_workflows.nvflare.server.controller import _aggregation


def test_a_job_names_an_aggregation_of_this_package() -> None:
    name = f"{FedAvg.__module__}.{FedAvg.__qualname__}"
    assert isinstance(_aggregation({"name": name, "arguments": {}}), FedAvg)


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "fedmed_workflows.aggregation.fedavg.torch.os.system",
        "fedmed_workflows.aggregation.fedavg.torch.nn.Linear",
        "fedmed_workflows.aggregation.fedavg",
    ],
)
def test_a_job_runs_nothing_else_at_the_server(name: str, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    with pytest.raises(ValueError, match="expected a class of fedmed_workflows.aggregation"):
        _aggregation({"name": name, "arguments": {"command": f"touch {ran}"}})
    assert not ran.exists()
