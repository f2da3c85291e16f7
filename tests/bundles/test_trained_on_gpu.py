"""What a GPU leaves behind: checkpoints that a machine without one reads, and states that training goes on from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import run

from fedmed_networks import FACMIC
from fedmed_workflows.federation.bundle.checkpoint import save_network
from fedmed_workflows.federation.in_process import build_engine
from tests.bundles.small_federations import BUNDLES, Method
from tests.devices.pretended import pretended_gpu

pytestmark = pytest.mark.filterwarnings("ignore:parsing config_file")

ROOT = BUNDLES / "facmic_classification"


@pytest.fixture
def one_site(sites_dir: Path, small_clip: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Entries of train.json for an epoch at one site."""
    return {
        "bundle_root": str(ROOT), "dataset_dir": str(sites_dir / "site_a"), "output_dir": str(tmp_path), "epochs": 1,
        "ckpt_dir": str(tmp_path), "clip": small_clip, "image_size": 16, "batch_size": 8,
    }  # fmt: skip


def test_a_checkpoint_of_a_gpu_is_evaluated_and_continued_without_one(one_site: dict[str, Any], tmp_path: Path) -> None:
    """By the bundle's commands: training on the GPU, then evaluation and further training on the CPU."""
    with pretended_gpu():
        run(config_file=str(ROOT / "configs" / "train.json"), **one_site, device="cuda:0")
        assert {value.device.type for value in torch.load(tmp_path / "model.pt").values()} == {"cuda"}
    files = [str(ROOT / "configs" / name) for name in ("train.json", "evaluate.json")]
    run(config_file=files, **one_site, ckpt_path=str(tmp_path / "model.pt"), device="cpu")
    assert json.loads((tmp_path / "score.json").read_text())["images"] > 0


def test_a_network_is_saved_for_every_machine(small_clip: dict[str, Any], tmp_path: Path) -> None:
    with pretended_gpu() as gpu:
        network = FACMIC(["dots", "stripes"], clip=small_clip).to(gpu)
        state = network.state_dict()
        save_network(network, tmp_path / "model.pt")
    found = torch.load(tmp_path / "model.pt", weights_only=True)
    assert found.keys() == state.keys() and all(torch.equal(found[name], value) for name, value in state.items())


def test_steps_of_a_resumed_optimizer_are_counted_on_the_cpu(
    sites_dir: Path, small_clip: dict[str, Any], tmp_path: Path
) -> None:
    """A step counted on the GPU would be read from there for every tensor in every step."""
    entries = {"dataset_dir": str(sites_dir), "sites": ["site_a"], "output_dir": str(tmp_path), "device": "cuda:0"}
    small = {"settings": {"clip": small_clip, "image_size": 16, "batch_size": 8}, "entries": entries}
    with pretended_gpu() as gpu:
        overlay = ROOT / "configs" / "methods" / "fedclip.json"
        engine, _, _ = build_engine(Method(ROOT, overlay).federation({"facmic": small}))
        site = engine.first_site()
        site.fit_round(engine.initial_weights(), 1)
        site.state.restore(site.trainer, 2, gpu)
        states = site.trainer.optimizer.state.values()
        assert len(states) > 0 and {state["step"].device.type for state in states} == {"cpu"}
        assert {state["exp_avg"].device for state in states} == {gpu}
