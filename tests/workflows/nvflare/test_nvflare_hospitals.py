"""A federation as hospitals run it: kits with mutual TLS, hosts of their own, the documented policies, broken links."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import create_workflow
from safetensors.torch import load_file

from tests.documented_policies import allow_documented, follow_documentation
from tests.hospital_network import JOB_PROCESS, HospitalNetwork
from tests.network_namespaces import command_line
from tests.waiting import END_SECONDS, until

ROOT = Path(__file__).parents[3]
TRAINING, UNSEEN = ("north", "south", "west"), "harbour"
ROUND_SECONDS = 8
ROUNDS = 400

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("ip") is None, reason="network namespaces need root and iproute2"
    ),
]


@pytest.fixture(scope="module")
def data_dir(sites_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four sites in one folder, for the run in one process."""
    root = tmp_path_factory.mktemp("data")
    for site, source in zip((*TRAINING, UNSEEN), ("site_a", "site_b", "site_a", "unseen"), strict=True):
        shutil.copytree(sites_dir / source, root / site)
    return root


@pytest.fixture(scope="module")
def hospitals(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HospitalNetwork]:
    """A server and four sites, each with its own folders: images, bundles and state."""
    root = tmp_path_factory.mktemp("hospitals")
    environments = {"server": {"FEDMED_STATE_DIR": str(root / "own" / "server")}}
    for site in (*TRAINING, UNSEEN):
        own = root / "own" / site
        shutil.copytree(data_dir / site, own / "images" / site)
        shutil.copytree(ROOT / "bundles" / "facmic_classification", own / "bundles" / "facmic_classification")
        environments[site] = {
            "FEDMED_BUNDLES": str(own / "bundles"), "FEDMED_DATASET_DIR": str(own / "images"),
            "FEDMED_STATE_DIR": str(own / "state"), "FEDMED_DEVICE": "cpu", "FEDMED_RELEASE_FEATURES": "yes",
        }  # fmt: skip
    network = HospitalNetwork(root, (*TRAINING, UNSEEN), (), environments, heart_beat_timeout=20)
    for host in ("server", *TRAINING, UNSEEN):
        role = "server" if host == "server" else "site"
        follow_documentation(network.kits / host, role)
        allow_documented(network.kits / host, f"{role} statistics")
    with network:
        yield network


@pytest.fixture
def entries(federated: dict[str, Any]) -> dict[str, Any]:
    return {**federated, "unseen_site": UNSEEN, "sites": list(TRAINING), "class_names": ["dots", "stripes"]}


def prod(
    hospitals: HospitalNetwork, entries: dict[str, Any], output_dir: Path, run: str = "prod", **changed: Any
) -> str:
    """``python -m monai.bundle run prod`` at the administrator's address."""
    given = {**entries, "dataset_dir": "none", "output_dir": str(output_dir), **changed}
    options = [part for name, value in given.items() for part in (f"--{name}", str(value))]
    return hospitals.run_admin("-m", "monai.bundle", "run", run, *options, "--startup_kit")


def history(output_dir: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((output_dir / "metrics.json").read_text())["history"]
    return found


def test_three_rounds_across_hospitals_end_with_the_bits_of_one_process(
    hospitals: HospitalNetwork, entries: dict[str, Any], data_dir: Path, tmp_path: Path
) -> None:
    prod(hospitals, entries, tmp_path / "there")
    here = {**entries, "dataset_dir": str(data_dir), "output_dir": str(tmp_path / "here")}
    create_workflow(**here).run()
    ours, theirs = (load_file(tmp_path / end / "checkpoints" / "round_00003.safetensors") for end in ("there", "here"))
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    report = (tmp_path / "there" / "report.html").read_text()
    assert all(site in report for site in (*TRAINING, UNSEEN)) and "transductive" in report
    models = [torch.load(tmp_path / end / "model.pt", weights_only=True) for end in ("there", "here")]
    assert all(torch.equal(models[0][name], value) for name, value in models[1].items())
    assert len(hospitals.peers()) >= 4


def test_what_each_hospital_has_is_counted_there(
    hospitals: HospitalNetwork, entries: dict[str, Any], tmp_path: Path
) -> None:
    prod(hospitals, entries, tmp_path / "run", run="prod_statistics")
    record = json.loads((tmp_path / "run" / "statistics.json").read_text())
    counts = record["statistics"]["class dots"]["sum"]
    assert {site: set(found.values()) for site, found in counts.items() if site != "Global"} == {
        site: {12.0} for site in (*TRAINING, UNSEEN)
    }
    assert all(site in (tmp_path / "run" / "statistics.html").read_text() for site in (*TRAINING, UNSEEN))


class Running:
    """A run that goes on while a test breaks things; its rounds as the server has kept them so far."""

    def __init__(self, hospitals: HospitalNetwork, entries: dict[str, Any], output_dir: Path, **changed: Any) -> None:
        self.pool, self.state = ThreadPoolExecutor(1), hospitals.folder / "own" / "server"
        self.known = set(self.state.glob("*"))
        self.admin: Future[str] = self.pool.submit(prod, hospitals, entries, output_dir, **changed)

    def rounds(self) -> list[dict[str, Any]]:
        pointers = [folder / "checkpoints" / "last.json" for folder in set(self.state.glob("*")) - self.known]
        for file in filter(Path.is_file, pointers):
            found: list[dict[str, Any]] = json.loads(file.read_text())["history"]
            return found
        return []

    @property
    def folder(self) -> Path:
        (found,) = set(self.state.glob("*")) - self.known
        return found

    def wait(self, ready: Callable[[list[dict[str, Any]]], bool]) -> None:
        def ready_while_it_runs() -> bool:
            if ready(self.rounds()):
                return True
            if self.admin.done():
                raise AssertionError(f"the run ended: {self.admin.result()}")
            return False

        until(ready_while_it_runs, failure=lambda: str(self.rounds()))

    def wait_for_round(self, number: int) -> None:
        self.wait(lambda rounds: len(rounds) > number)


def test_links_drop_processes_die_and_the_federation_goes_on(
    hospitals: HospitalNetwork, entries: dict[str, Any], tmp_path: Path
) -> None:
    changed = {"rounds": ROUNDS, "min_sites": 1, "round_seconds": ROUND_SECONDS, "local_epochs": 30}
    run = Running(hospitals, entries, tmp_path / "run", **changed)
    run.wait(lambda rounds: len(rounds) > 1)  # every process of the job starts
    hospitals.kill_job_process("north")
    run.wait_for_round(len(run.rounds()))
    run.wait(lambda rounds: "error" not in rounds[-1]["sites"]["north"])

    hospitals.cut_link("north")
    time.sleep(3)
    hospitals.restore_link("north")
    run.wait_for_round(len(run.rounds()))
    run.wait(lambda rounds: "error" not in rounds[-1]["sites"]["north"])

    hospitals.kill_site("south")
    run.wait(lambda rounds: "error" in rounds[-1]["sites"]["south"])
    hospitals.start_site("south")

    (process,) = (pid for pid in hospitals.network.process_ids("west") if JOB_PROCESS in command_line(pid))
    run.wait(lambda rounds: "error" not in rounds[-1]["sites"]["south"])
    os.kill(process, signal.SIGSTOP)
    run.wait(lambda rounds: "error" in rounds[-1]["sites"]["west"])
    os.kill(process, signal.SIGCONT)
    run.wait(lambda rounds: "error" not in rounds[-1]["sites"]["west"])

    (state,) = (hospitals.folder / "own" / "north" / "state").glob(f"{run.folder.name}/sites/north")
    kept = state.rename(state.with_name("away"))
    state.write_text("a file in place of the folder that keeps the optimiser")
    run.wait(lambda rounds: "error" in rounds[-1]["sites"]["north"])
    state.unlink()
    kept.rename(state)
    run.wait(lambda rounds: "error" not in rounds[-1]["sites"]["north"])

    before = len(run.rounds())
    hospitals.kill_server()
    hospitals.start_server()
    run.wait_for_round(before)
    rounds = run.rounds()
    hospitals.network.kill("admin")  # the rounds that are left show nothing new
    with pytest.raises(RuntimeError, match="exit status"):
        run.admin.result(timeout=END_SECONDS)

    assert [entry["round"] for entry in rounds] == list(range(len(rounds)))
    assert all(any("error" not in site for site in entry["sites"].values()) for entry in rounds[1:])
    said = {site: {entry["sites"][site].get("error", "") for entry in rounds[1:]} for site in TRAINING}
    assert any(f"no answer within {ROUND_SECONDS} seconds" in text for text in said["west"])
    assert any("site 'north'" in text and "the site's own log says more" in text for text in said["north"])
    assert all(any(f"site '{site}'" in text for text in said[site]) for site in TRAINING)
    assert str(state) not in json.dumps(rounds)
