"""The overlays of other methods over the segmentation bundles: what each exchanges, and the bundle that it leaves."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import create_workflow

from fedmed_networks import FedMSA, FedSAM, FedUNet, LoraSAM

ON_FEDSAM = pytest.mark.parametrize("method", ["fedsam"], indirect=True)
DECODER = r"mask_decoder\..+"
FACTOR = r"image_encoder\.blocks\.\d\.attn\.qkv\.(query|value)\.lora_[AB]\.default\.weight"
METHODS = {
    "unet": (FedUNet, r"unet\.model\..+"),
    "lora": (LoraSAM, f"{FACTOR}|{DECODER}"),
    "tinyvit": (FedSAM, rf"image_encoder\.(patch_embed|stages|neck)\..+|{DECODER}"),
}
"""The network of a method, and the names of what it exchanges."""

NORMALIZATION = re.compile(r"norm\d?\.|norm_final|neck\.[13]\.|output_upscaling\.1\.")


@pytest.fixture
def federation(federation: dict[str, Any], method: str) -> dict[str, Any]:
    smaller = {**federation[method], "image_size": 32}
    return {**federation, "sites": ["harbour", "hillside"], "unseen_site": None, method: smaller}


def entries(federation: dict[str, Any], name: str, **changed: Any) -> dict[str, Any]:
    """Returns the entries for one round of a method's federation."""
    own = Path(federation["config_file"])
    overlay = own.parent / "methods" / f"{name}.json"
    return {**federation, "config_file": [str(own), str(overlay)], "rounds": 1, **changed}


def run(entries: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = create_workflow(**entries).run()[0]
    return result


def state_of(file: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(file, weights_only=True)
    return state


@ON_FEDSAM
@pytest.mark.parametrize("name", METHODS)
def test_a_round_and_the_trained_bundle(
    federation: dict[str, Any], organ_sites: Path, tmp_path: Path, name: str
) -> None:
    kind, exchanged = METHODS[name]
    result, folder = run(entries(federation, name)), Path(federation["output_dir"])
    assert result["method"] == name == json.loads((folder / "run.json").read_text())["method"]
    tensors = result["manifest"]["tensors"]
    assert tensors and all(re.fullmatch(exchanged, tensor) for tensor in tensors)
    sites = result["history"][1]["sites"]
    assert {entry["sent_bytes"] for entry in sites.values()} == {result["manifest"]["bytes"]} and len(sites) == 2
    assert set(result["final"]) == {"harbour", "hillside"}
    bundle, answers = folder / "bundle" / f"fedsam_segmentation_{name}", tmp_path / "answers"
    served = create_workflow(
        config_file=str(bundle / "configs" / "inference.json"), workflow_type="infer", bundle_root=str(bundle),
        dataset_dir=str(organ_sites / "unseen" / "images"), output_dir=str(answers), device="cpu",
    )  # fmt: skip
    served.run()
    network = served.parser.get_parsed_content("network")
    assert type(network) is kind
    trained = state_of(folder / "model.pt")
    assert all(torch.equal(value, trained[tensor]) for tensor, value in network.state_dict().items())
    assert len(list(answers.glob("*_seg.*"))) >= 4 and not (answers / "errors.csv").exists()


@pytest.mark.parametrize("method", ["fedsam", "fedmsa"], indirect=True)
def test_fedbn_keeps_every_normalisation_that_trains_at_its_site(federation: dict[str, Any], method: str) -> None:
    result, folder = run(entries(federation, "fedbn")), Path(federation["output_dir"])
    kind = {"fedsam": FedSAM, "fedmsa": FedMSA}[method]
    network = kind(1, federation[method]["model_type"], federation[method]["image_size"])
    trained = {name for name, value in network.named_parameters() if value.requires_grad}
    stays = {name for name in trained if NORMALIZATION.search(name)}
    assert set(result["manifest"]["tensors"]) == trained - stays and len(stays) > 8
    one, other = (state_of(folder / "sites" / site / "model.pt") for site in ("harbour", "hillside"))
    assert {name for name, value in one.items() if not torch.equal(value, other[name])} == stays


@ON_FEDSAM
def test_a_u_net_needs_no_foundation_and_its_batch_normalisations_may_stay(federation: dict[str, Any]) -> None:
    fedbn, weights = {"_target_": "fedmed_workflows.aggregation.FedBN"}, {**federation["fedsam"], "weights": "sam.pth"}
    result = run(entries(federation, "unet", aggregation=fedbn, fedsam=weights))
    assert result["notes"][0] == "FedUNet has no foundation: the weights that the settings name are not used."
    assert result["foundation_weights"] is None
    trained = set(FedUNet(1, 32).state_dict())
    stays = {name for name in trained if ".adn.N." in name}
    assert set(result["manifest"]["tensors"]) == trained - stays and len(stays) > 50
    folder = Path(federation["output_dir"])
    one, other = (state_of(folder / "sites" / site / "model.pt") for site in ("harbour", "hillside"))
    differing = {name for name, value in one.items() if not torch.equal(value, other[name])}
    assert differing and differing <= stays and any(name.endswith("running_mean") for name in differing)


@ON_FEDSAM
@pytest.mark.parametrize(
    ("name", "changed", "said"),
    [
        ("lora", {"lora": {"rank": 0, "alpha": 4}}, "rank: found 0, expected a whole number of at least 1"),
        ("unet", {"unet": {"norm": "bach"}}, "norm: expected a normalisation of MONAI's networks, found 'bach'"),
        (
            "unet",
            {"unet": {"norm": "instance"}, "aggregation": {"_target_": "fedmed_workflows.aggregation.FedBN"}},
            "FedUNet: found no normalisation that trains",
        ),
    ],
)
def test_a_wrong_setting_ends_the_run_by_name(
    federation: dict[str, Any], name: str, changed: dict[str, Any], said: str
) -> None:
    with pytest.raises(Exception) as refused:  # noqa: B017
        run(entries(federation, name, **changed))
    cause: BaseException | None = refused.value
    while cause is not None and said not in str(cause):
        cause = cause.__cause__
    assert isinstance(cause, (ValueError, RuntimeError)), refused.value
    assert not (Path(federation["output_dir"]) / "checkpoints").exists()
