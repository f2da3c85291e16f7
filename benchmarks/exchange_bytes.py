"""Bytes that a site sends in a round, by method, beside those of the published FedMSA and of whole foundations.

    python benchmarks/exchange_bytes.py

Counted from the manifests of the real networks (random weights). The published FedMSA exchanges every parameter outside
SAM's own image encoder: three adapters a block, prompt encoder, mask decoder with its IoU head, 1x1 convolution.
"""

from __future__ import annotations

import json

import torch
from segment_anything import sam_model_registry
from torch import nn

from fedmed_networks import FACMIC, FedMSA, FedSAM
from fedmed_workflows.exchange.manifest import Manifest
from fedmed_workflows.exchange.weights import FULL, HALF

CLASSES = ["glioma_tumor", "meningioma_tumor", "no_tumor", "pituitary_tumor"]


def published_fedmsa() -> int:
    """Bytes of the published FedMSA, vit_b, one class."""
    with torch.device("meta"):
        sam = sam_model_registry["vit_b"]()
    encoder = sam.image_encoder
    width = encoder.pos_embed.shape[-1]
    adapter = sum(values.numel() for layer in (nn.Linear(width, width // 4), nn.Linear(width // 4, width))
                  for values in layer.parameters())  # fmt: skip
    others = sum(values.numel() for part in (sam.prompt_encoder, sam.mask_decoder) for values in part.parameters())
    convolution = sam.mask_decoder.num_mask_tokens + 1
    return 4 * (3 * len(encoder.blocks) * adapter + others + convolution)


def main() -> None:
    networks = {
        "FACMIC ViT-B-32": lambda: FACMIC(CLASSES),
        "FedSAM vit_b": lambda: FedSAM(),
        "FedSAM tiny_vit": lambda: FedSAM(model_type="tiny_vit"),
        "FedMSA vit_b": lambda: FedMSA(),
        "FedMSA vit_b, 2 classes": lambda: FedMSA(num_classes=2),
    }
    published, rows = published_fedmsa(), {}
    for name, build in networks.items():
        network = build()
        rows[name] = {dtype: Manifest.of(network, dtype).bytes for dtype in (FULL, HALF)}
        print(f"{name:28} " + ", ".join(f"{dtype} {count / 1e6:.2f} MB" for dtype, count in rows[name].items()))
    print(f"{'published FedMSA vit_b':28} {FULL} {published / 1e6:.2f} MB")
    ratios = {dtype: rows["FedMSA vit_b"][dtype] / published for dtype in (FULL, HALF)}
    print(json.dumps({"bytes": rows, "published_fedmsa_bytes": published, "fedmsa_of_published": ratios}))


if __name__ == "__main__":
    main()
