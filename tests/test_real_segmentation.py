"""Segmentation of real images: nuclei of a site that was unseen; SAM's full size on a slice of CT."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from monai.bundle import create_workflow
from monai.data import MetaTensor
from torch import nn

from fedmed_networks import FedMSA
from fedmed_transforms import SamLabels, SamPreprocess, ScaleToUnit, VolumeToSlices, load_image
from fedmed_workflows.evaluation.inferers import SlicewiseInferer
from fedmed_workflows.exchange.trainable import exchanged_tensors, trainable_parameters

ROOT = Path(__file__).parents[1]
SITES, UNSEEN = ["fluorescence_360", "fluorescence_696"], "fluorescence_256"
SMALL = {
    "width": 96, "depth": 4, "heads": 4, "window_size": 4, "global_blocks": [1, 3], "patch_size": 16, "neck": 64,
    "decoder_depth": 2, "decoder_heads": 4, "decoder_mlp": 128,
}  # fmt: skip

BONE = 300
"""Hounsfield units above which a voxel of the head counts as bone."""

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif("FEDMED_DATA" not in os.environ, reason="FEDMED_DATA names no folder of real images"),
]


@pytest.fixture
def data() -> Path:
    return Path(os.environ["FEDMED_DATA"])


def test_nuclei_of_an_unseen_site(data: Path, tmp_path: Path) -> None:
    """A small SAM in random weights learns nuclei of one kind of picture from those of two others."""
    root = ROOT / "bundles" / "fedsam_segmentation"
    method = {"model_type": SMALL, "image_size": 256, "weights": None, "normalize": False, "learning_rate": 1e-3,
              "batch_size": 4}  # fmt: skip
    result = create_workflow(
        config_file=[str(root / "configs" / "federated.json"), str(root / "configs" / "recipes" / "nuclei.json")],
        bundle_root=str(root), dataset_dir=str(data / "nuclei"), sites=SITES, unseen_site=UNSEEN,
        output_dir=str(tmp_path / "run"), rounds=3, local_epochs=5, device="cpu", fedsam=method,
    ).run()[0]  # fmt: skip
    before, after = (result[stage][UNSEEN]["metrics"]["dice"]["value"] for stage in ("initial", "final"))
    print(f"unseen {UNSEEN}: Dice {before:.3f} before round 1, {after:.3f} after the last")
    assert after > before + 0.1
    assert result["final"][UNSEEN]["images"] == 36 and (tmp_path / "run" / "report.html").is_file()
    written = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert {site["name"]: site["role"] for site in written["sites"]} == {
        **dict.fromkeys(SITES, "training"), UNSEEN: "unseen",
    }  # fmt: skip


def test_a_step_and_an_answer_at_full_size(data: Path) -> None:
    """FedMSA, vit_b, 1024 x 1024, on the middle slice of a head: bone, as its Hounsfield units show it."""
    volume = load_image(data / "ct" / "head_regular.nii.gz")
    scaled = ScaleToUnit()(volume)
    middle = volume.shape[-1] // 2
    label = MetaTensor((volume.as_tensor() > BONE).float(), affine=volume.affine)
    slices = [VolumeToSlices()(image, kept=[middle]) for image in (scaled, label)]
    image, target = SamPreprocess()(slices[0]).as_tensor(), SamLabels()(slices[1])[:, :1]
    assert image.shape == (1, 3, 1024, 1024) and 0.01 < float(target.mean()) < 0.5

    torch.manual_seed(0)
    network = FedMSA()
    optimizer = torch.optim.Adam(trainable_parameters(network), lr=1e-4)
    frozen = network.image_encoder.patch_embed.proj.weight.clone()
    loss = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(2.0))(network(image), target)
    loss.backward()
    assert all(value.grad is not None for value in exchanged_tensors(network).values())
    optimizer.step()
    assert torch.equal(network.image_encoder.patch_embed.proj.weight, frozen)

    with torch.inference_mode():
        logits = SlicewiseInferer()(scaled[..., middle : middle + 1][None], network.eval())
        again = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(2.0))(network(image), target)
    print(f"vit_b, 1024: loss {float(loss):.4f} before the step, {float(again):.4f} after it")
    assert logits.shape == (1, *volume.shape[:3], 1) and bool(torch.isfinite(logits).all())
    assert float(again) < float(loss)
