"""The methods on a frozen CLIP as overlays of the bundle: what a federation of each exchanges, keeps and leaves."""

from __future__ import annotations

import copy
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import create_workflow
from safetensors.torch import load_file

from fedmed_networks import FACMIC, FedCLIP, LinearHeadCLIP, LoraCLIP, ZeroShotCLIP
from fedmed_workflows.federation.federation import Federation
from fedmed_workflows.federation.in_process import InProcessEngine

TRAVELS = {
    "fedclip": (FedCLIP, r"attention\.[02]\.(weight|bias)", 4),
    "faa_clip": (FACMIC, r"attention\.([03]\.(weight|bias)|1\.(weight|bias|running_\w+|num_batches_tracked))", 9),
    "linear_head": (LinearHeadCLIP, r"head\.(weight|bias)|alpha", 3),
    "zero_shot": (ZeroShotCLIP, r"", 0),
    "lora": (LoraCLIP, r"visual\.transformer\.resblocks\.0\.attn\.(query|value)\.lora_[AB]\.default\.weight", 4),
}
"""Network of each method, and the names of what travels: a pattern, and how many there are."""


@pytest.fixture(params=TRAVELS)
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def federation(entries: dict[str, Any], method: str, **changes: Any) -> Federation:
    """A federation of one round with the method's overlay; only FAA-CLIP has a target."""
    target = "unseen" if method == "faa_clip" else "none"
    root = Path(entries["bundle_root"]) / "configs"
    workflow = create_workflow(**copy.deepcopy({
        **entries, "rounds": 1, "facmic": {**entries["facmic"], "target": target}, **changes,
        "config_file": [str(root / "federated.json"), str(root / "methods" / f"{method}.json")],
    }))  # fmt: skip
    parsed: Federation = workflow.parser.get_parsed_content("federation")
    return parsed


def last_weights(folder: str | Path) -> dict[str, torch.Tensor]:
    last = json.loads((Path(folder) / "checkpoints" / "last.json").read_text())
    weights: dict[str, torch.Tensor] = load_file(Path(folder) / "checkpoints" / last["file"])
    return weights


def test_a_federation_and_its_trained_bundle(federated: dict[str, Any], method: str, tmp_path: Path) -> None:
    result = federation(federated, method).run()
    folder = Path(federated["output_dir"])
    kind, names, count = TRAVELS[method]
    weights = last_weights(folder)
    assert len(weights) == count and all(re.fullmatch(names, name) for name in weights)
    assert result["method"] == method and set(result["manifest"]["tensors"]) == set(weights)
    assert len(result["history"]) == (1 if method == "zero_shot" else 2)
    assert (result["initial"] == result["final"]) == (method == "zero_shot")
    assert any("does not train" in note for note in result["notes"]) == (method == "zero_shot")
    page = (folder / "report.html").read_text()
    assert ("No tensor is exchanged" in page) == (method == "zero_shot") == ("<h2>Rounds</h2>" not in page)
    assert set(result["final"]) == {"site_a", "site_b", "unseen"}
    loaded = torch.load(folder / "model.pt", weights_only=True)
    assert all(torch.equal(loaded[name], value) for name, value in weights.items())
    served(folder, federated, method, kind, tmp_path)


def served(folder: Path, entries: dict[str, Any], method: str, kind: Any, tmp_path: Path) -> None:
    """The trained bundle answers, where it is copied to, as the method's network with the trained weights does."""
    bundle = tmp_path / "clinic" / "trained"
    shutil.copytree(folder / "bundle" / f"facmic_classification_{method}", bundle)
    study = Path(entries["dataset_dir"]) / "unseen" / "dots"
    workflow = create_workflow(
        config_file=str(bundle / "configs" / "inference.json"), workflow_type="infer", bundle_root=str(bundle),
        dataset_dir=str(study), output_dir=str(tmp_path / "answers"), device="cpu",
    )  # fmt: skip
    workflow.run()
    network = kind(["dots", "stripes"], clip=entries["facmic"]["clip"]).eval()
    network.load_state_dict(torch.load(folder / "model.pt", weights_only=True))
    transform = workflow.parser.get_parsed_content("preprocessing")
    for row in json.loads((tmp_path / "answers" / "predictions.json").read_text()):
        with torch.no_grad():
            expected = network(torch.as_tensor(transform({"image": row["image"]})["image"])).softmax(dim=1)[0]
        np.testing.assert_allclose(list(row["probabilities"].values()), expected, atol=1e-5)


def interrupted_in_round_2(train: Any) -> Any:
    def interrupted(engine: InProcessEngine, weights: Any, number: int) -> Any:
        if number == 2:
            raise KeyboardInterrupt
        return train(engine, weights, number)

    return interrupted


def test_the_domain_classifier_stays_at_its_site_and_survives_a_restart(
    federated: dict[str, Any], tmp_path: Path
) -> None:
    whole = federation(federated, "faa_clip", rounds=2)
    whole.run()
    broken = federation(federated, "faa_clip", rounds=2, output_dir=str(tmp_path / "broken"))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(InProcessEngine, "train", interrupted_in_round_2(InProcessEngine.train))
        broken.run()
    broken.run()
    ends = [last_weights(run.output_dir) for run in (whole, broken)]
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())
    states = [kept_classifier(whole.output_dir / "sites" / site) for site in ("site_a", "site_b")]
    assert states[0]["domain_classifier.1.num_batches_tracked"] == 2 * 2 * 2  # rounds, steps, source and target
    assert not torch.equal(*(state["domain_classifier.0.weight"] for state in states))


def kept_classifier(site: Path) -> dict[str, torch.Tensor]:
    parts = torch.load(site / "round_00002.pt", weights_only=True)["parts"]
    (state,) = [part for part in parts if "domain_classifier.0.weight" in part]
    found: dict[str, torch.Tensor] = state
    return found


def test_zero_shot_clip_at_one_site_leaves_a_checkpoint(federated: dict[str, Any], tmp_path: Path) -> None:
    root = Path(federated["bundle_root"]) / "configs"
    create_workflow(
        config_file=[str(root / "train.json"), str(root / "methods" / "zero_shot" / "train.json")],
        workflow_type="train", bundle_root=federated["bundle_root"], output_dir=str(tmp_path), ckpt_dir=str(tmp_path),
        dataset_dir=str(Path(federated["dataset_dir"]) / "site_a"), image_size=16, batch_size=8,
        clip=federated["facmic"]["clip"],
    ).run()  # fmt: skip
    network = ZeroShotCLIP(["dots", "stripes"], clip=federated["facmic"]["clip"])
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("method", "rounds", "said"),
    [
        ("zero_shot", 2, "rounds: expected 0, found 2: no tensor of this network is exchanged"),
        (
            "linear_head",
            0,
            "rounds: expected a whole number of at least 1, found 0: 3 tensors of this network are exchanged",
        ),
    ],
    indirect=["method"],
)
def test_rounds_that_do_not_fit_are_refused(federated: dict[str, Any], method: str, rounds: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        federation(federated, method, **{"federation#rounds": rounds}).run()
    assert not (Path(federated["output_dir"]) / "checkpoints").exists()
