"""Tests of the deployed federation that other tests start: addresses, policies, and what breaks and comes back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import pytest

from tests.hospital_kits import PORT
from tests.hospital_network import HospitalNetwork
from tests.waiting import until

SITES = ("north", "south", "west")
NUMBERS = {"north": "1", "south": "20", "west": "300"}
ALLOWED = ("tests.tally.Count", "tests.tally.Answer")

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("ip") is None, reason="network namespaces need root and iproute2"
    ),
]


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HospitalNetwork]:
    """Three sites, each with a number of its own in its environment."""
    environments = {site: {"TALLY": number} for site, number in NUMBERS.items()}
    with HospitalNetwork(tmp_path_factory.mktemp("hospitals"), SITES, ALLOWED, environments) as network:
        yield network


def job(folder: Path, executor: str = "tests.tally.Answer") -> Path:
    """A job of configuration alone: one controller, one executor."""
    config = folder / "app" / "config"
    config.mkdir(parents=True)
    server: dict[str, Any] = {"format_version": 2, "workflows": [{"id": "count", "path": "tests.tally.Count"}]}
    client = {"format_version": 2, "executors": [{"tasks": ["tally"], "executor": {"path": executor}}]}
    meta = {"name": folder.name, "resource_spec": {}, "deploy_map": {"app": ["@ALL"]}, "min_clients": 1}
    server["server"] = {"task_request_interval": 0.2}
    for file, content in (
        (folder / "meta.json", meta),
        (config / "config_fed_server.json", server),
        (config / "config_fed_client.json", client),
    ):
        file.write_text(json.dumps(content))
    return folder


def submit(hospitals: HospitalNetwork, folder: Path) -> dict[str, Any]:
    """Submits a job as the admin; returns its outcome."""
    done: dict[str, Any] = json.loads(hospitals.run_admin("-m", "tests.submit_job", str(folder)).splitlines()[-1])
    return done


def test_each_site_is_registered_from_its_own_address(hospitals: HospitalNetwork) -> None:
    assert hospitals.peers() == {"10.77.0.2", "10.77.0.3", "10.77.0.4"}
    spaces = {os.readlink(f"/proc/{process.pid}/ns/net") for process in hospitals.processes.values()}
    assert len(spaces) == 4
    assert os.readlink("/proc/self/ns/net") not in spaces


def test_a_job_without_code_runs_with_each_sites_own_environment(hospitals: HospitalNetwork, tmp_path: Path) -> None:
    done = submit(hospitals, job(tmp_path / "count"))
    assert done["status"] == "FINISHED:COMPLETED"
    tally = json.loads((Path(done["folder"]) / "workspace" / "tally.json").read_text())
    assert tally == {"north": 1, "south": 20, "west": 300, "sum": 321}


def test_a_class_outside_the_allow_list_is_refused(hospitals: HospitalNetwork, tmp_path: Path) -> None:
    done = submit(hospitals, job(tmp_path / "unlisted", "tests.tally.Unlisted"))
    assert done["status"] != "FINISHED:COMPLETED"
    until(lambda: "Component 'tests.tally.Unlisted'" in hospitals.log("north"))
    until(lambda: "is not in allow_list" in hospitals.log("north"))
    tally = Path(done["folder"]) / "workspace" / "tally.json"
    assert not tally.exists() or json.loads(tally.read_text()) == {"sum": 0}


def test_code_in_a_job_is_refused(hospitals: HospitalNetwork, tmp_path: Path) -> None:
    folder = job(tmp_path / "code")
    (folder / "app" / "custom").mkdir()
    (folder / "app" / "custom" / "more.py").write_text("more = True\n")
    done = submit(hospitals, folder)
    assert done["status"] == "FINISHED:FAILED_TO_RUN"
    assert done["deployment"] == ["server: BYOC not permitted"]


def test_a_site_refuses_code_that_its_server_lets_through(tmp_path: Path) -> None:
    network = HospitalNetwork(tmp_path / "hospitals", ["only"], ALLOWED)
    (network.kits / "server" / "local" / "authorization.json").unlink()
    folder = job(tmp_path / "code")
    (folder / "app" / "custom").mkdir()
    (folder / "app" / "custom" / "more.py").write_text("more = True\n")
    with network:
        done = submit(network, folder)
    assert done["status"] == "FINISHED:FAILED_TO_RUN"
    assert done["deployment"][:2] == ["server: OK", "only: NVFLARE_ERROR: BYOC not permitted"]


def test_hosts_leave_and_come_back(hospitals: HospitalNetwork) -> None:
    addresses = hospitals.peers()
    hospitals.kill_site("west")
    assert hospitals.network.process_ids("west") == []
    hospitals.start_site("west")
    hospitals.cut_link("south")
    assert not reaches_server(hospitals, "south")
    assert reaches_server(hospitals, "west")
    hospitals.restore_link("south")
    assert reaches_server(hospitals, "south")
    hospitals.kill_server()
    assert hospitals.peers() == set()
    hospitals.start_server()
    hospitals.wait_registered(SITES)
    assert hospitals.peers() == addresses


def reaches_server(hospitals: HospitalNetwork, site: str) -> bool:
    """Tells if a site can open a connection to the server's port within a second."""
    address = hospitals.network.addresses["server"]
    code = f"import socket; socket.create_connection(({address!r}, {PORT}), 1)"
    return not subprocess.run(hospitals.network.command(site, [sys.executable, "-c", code]), stderr=DEVNULL).returncode


def test_a_network_leaves_nothing_behind(tmp_path: Path) -> None:
    with HospitalNetwork(tmp_path, ["only"], ALLOWED) as network:
        processes = [process.pid for process in network.processes.values()]
        names = [network.network.namespace(host) for host in ("server", "only", "admin", "switch")]
        listed = subprocess.check_output(["ip", "netns", "list"], text=True)
        assert all(name in listed for name in names)
        with pytest.raises(RuntimeError, match="only: no job runs there"):
            network.kill_job_process("only")
    listed = subprocess.check_output(["ip", "netns", "list"], text=True)
    assert not any(name in listed for name in names)
    assert not any(Path(f"/proc/{process}").exists() for process in processes)


def test_a_network_that_does_not_start_names_the_host_and_leaves_nothing(tmp_path: Path) -> None:
    network = HospitalNetwork(tmp_path, ["only"], ALLOWED)
    (network.kits / "only" / "startup" / "fed_client.json").write_text("{}")
    with pytest.raises(RuntimeError, match="only is not registered; its log ends with"), network:
        pass
    assert network.network.prefix not in subprocess.check_output(["ip", "netns", "list"], text=True)
