"""Tests the environment of a simulated site, wherever its folder and the weights lie."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import create_workflow

from fedmed_workflows.federation.federation import Federation
from fedmed_workflows.nvflare.job.folder import check_site_names
from fedmed_workflows.nvflare.run.simulated_job import _end, _environment
from fedmed_workflows.nvflare.site.environment import DATA, WEIGHTS
from tests.waiting import END_SECONDS, until


def federation_of(entries: dict[str, Any]) -> Federation:
    federation: Federation = create_workflow(**copy.deepcopy(entries)).parser.get_parsed_content("federation")
    return federation


def test_sites_that_are_links_are_found_beside_each_other(
    federated: dict[str, Any], sites_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "linked").mkdir()
    for site in ("site_a", "site_b", "unseen"):
        (tmp_path / "linked" / site).symlink_to(sites_dir / site)
    federation = federation_of({**federated, "dataset_dir": str(tmp_path / "linked")})
    assert _environment(federation)[DATA] == str(tmp_path / "linked")


def test_weights_are_found_from_a_site_s_own_folder(
    federated: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    federation = federation_of(federated)
    (tmp_path / "weights.pt").write_bytes(b"weights")
    monkeypatch.chdir(tmp_path)
    federation.settings["weights"] = "weights.pt"
    assert _environment(federation)[WEIGHTS] == str(tmp_path / "weights.pt")
    federation.settings["weights"] = "openai"
    assert _environment(federation)[WEIGHTS] == "openai"


def test_a_server_outlives_no_simulator_that_was_killed() -> None:
    child = f"import time; time.sleep({2 * END_SECONDS})"
    begun = f"subprocess.Popen([sys.executable, '-c', {child!r}])"
    parent = f"import subprocess, sys; print({begun}.pid, flush=True); {child}"
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    server = Path("/proc") / process.stdout.readline().decode().strip()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert server.is_dir()
    _end(process)
    until(lambda: has_ended(server))


def has_ended(process: Path) -> bool:
    """Tells if a process, by its folder in /proc, is gone or a zombie."""
    try:
        return "\nState:\tZ" in (process / "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize("site", ["north,south", "north 1", "München", "../north", ""])
def test_a_name_that_nvflare_does_not_take_is_refused(site: str) -> None:
    check_site_names(["site_a", "north-1.org"])
    with pytest.raises(ValueError, match=f"site '{site}': NVFlare takes letters"):
        check_site_names(["north", site])
