"""Small sites and small networks of every method, on a device."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.results import ROOT

BUNDLES = ROOT / "bundles"

CLIP = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
"""A CLIP that builds in a moment: pictures of 32 pixels."""

SAM = {
    "width": 64, "depth": 3, "heads": 4, "window_size": 4, "global_blocks": [1], "patch_size": 16, "neck": 32,
    "decoder_depth": 1, "decoder_heads": 4, "decoder_mlp": 64,
}  # fmt: skip
"""A SAM that builds in a moment."""

PICTURES = {"class_names": ["cross", "nodules", "ring", "stripes"], "clip": CLIP, "image_size": 32, "batch_size": 8}
SLICES = {
    "channels": {"organ": [1]}, "patient_pattern": "^([a-z]+-[0-9]+)", "image_size": 64, "normalize": False,
    "batch_size": 4,
}  # fmt: skip

EQUAL_BITS = {"initialize": ["$monai.utils.set_determinism(seed=@seed, use_deterministic_algorithms=True)"]}
"""The overlay of docs/federation.md."""

METHODS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "FACMIC": ("facmic_classification", "", PICTURES),
    "FedMSA": ("fedmsa_segmentation", "", {**SLICES, "model_type": SAM}),
    "FedSAM": ("fedsam_segmentation", "", {**SLICES, "model_type": SAM}),
    "LoRA of CLIP": ("facmic_classification", "lora", PICTURES),
    "LoRA of SAM": ("fedsam_segmentation", "lora", {**SLICES, "model_type": SAM}),
    "FedU-Net": ("fedsam_segmentation", "unet", SLICES),
}
"""The bundle, the overlay and the settings of each method."""


@lru_cache
def images(bundle: str, folder: Path) -> Path:
    """Writes the phantoms' hospitals for a bundle: the training sites harbour, hillside, riverbend and one unseen."""
    from fedmed_transforms.simulation.phantoms import write_sites
    from fedmed_transforms.simulation.volume_phantoms import write_segmentation_sites

    if bundle.endswith("classification"):
        return write_sites(folder / "pictures", images_per_class=8, size=32)
    return write_segmentation_sites(folder / "volumes", volumes=4, size=32)


def make_site(name: str, folder: Path, place: str, device: torch.device, **settings: Any) -> Any:
    """Returns an initialized site, hillside, of a method.

    Parameters
    ----------
    name
        One of :data:`METHODS`.
    folder, place
        The part's folder, and the name of the site's own folder in it.
    device
        Where it trains.
    **settings
        Further entries of the training configuration.
    """
    from fedmed_workflows import SiteAlgo

    bundle, overlay, own = METHODS[name]
    state = folder / f"{place} {name}"
    files = ["configs/train.json", *([f"configs/methods/{overlay}/train.json"] if overlay else [])]
    entries = {**own, "device": device, "output_dir": str(state), "ckpt_dir": str(state / "models"), **settings}
    data = images(bundle, folder) / "hillside"
    site = SiteAlgo(str(BUNDLES / bundle), "hillside", str(data), str(state), settings=entries, train_config=files)
    site.initialize()
    return site


def federation(name: str, folder: Path, place: str, device: torch.device, equal_bits: bool) -> Path:
    """Runs two rounds of a method with two sites and an unseen one; returns the folder of the run.

    With `equal_bits` torch is asked for kernels with equal bits, as docs/federation.md says.
    """
    from monai.bundle import create_workflow

    overlay = folder / "equal_bits.json"
    overlay.write_text(json.dumps(EQUAL_BITS))

    bundle, _, own = METHODS[name]
    root, method = BUNDLES / bundle, bundle.partition("_")[0]
    recipe = {key: own[key] for key in ("channels", "patient_pattern") if key in own}
    network = {key: value for key, value in own.items() if key not in (*recipe, "class_names")}
    target = {"target": "unseen"} if method == "facmic" else {}
    create_workflow(
        config_file=str(root / "configs" / "federated.json"), bundle_root=str(root),
        dataset_dir=str(images(bundle, folder)), sites=["hillside", "riverbend"], unseen_site="unseen", rounds=2,
        output_dir=str(folder / place), device=str(device), **({"recipe": recipe} if recipe else {}),
        train_config=["configs/train.json", *([str(overlay)] if equal_bits else [])],
        **{method: {**network, "weights": None, "learning_rate": 1e-3, **target}},
    ).run()  # fmt: skip
    return folder / place
