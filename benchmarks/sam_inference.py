"""Slices a second of a volume's segmentation, beside segment_anything's predictor called slice by slice.

    python benchmarks/sam_inference.py [--model vit_b] [--size 1024] [--slices 28] [--passes 4]

Both sides have the same random weights of SAM and the same volume (512 x 512 a slice, in [0, 1]). The predictor does
what its users do: a picture of 8 bits, set_image, one mask with a box around the whole picture. Each side runs in a
process of its own, so that the peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np
import torch

SIDE = 512


def volume(slices: int) -> torch.Tensor:
    """(1, SIDE, SIDE, slices) in [0, 1]."""
    return torch.rand(1, SIDE, SIDE, slices, generator=torch.Generator().manual_seed(0))


def ours(options: argparse.Namespace, device: torch.device) -> float:
    """Seconds of the whole volume, in the volume's own geometry."""
    from fedmed_networks import FedSAM
    from fedmed_workflows.evaluation.inferers import SlicewiseInferer

    network = FedSAM(model_type=options.model, image_size=options.size).to(device).eval()
    inferer = SlicewiseInferer(options.size, slices_a_pass=options.passes)
    image = volume(options.slices)[None].to(device)
    with torch.inference_mode():
        inferer(image[..., :1], network).cpu()  # waits for the device
        started = time.perf_counter()
        logits = inferer(image, network)
        assert logits.shape == image.shape and bool(torch.isfinite(logits).all())
        return time.perf_counter() - started


def predictor(options: argparse.Namespace, device: torch.device) -> float:
    """Seconds of segment_anything's predictor, slice by slice."""
    from segment_anything import SamPredictor, sam_model_registry

    sam = sam_model_registry[options.model]().to(device).eval()
    judge, image = SamPredictor(sam), volume(options.slices)
    pictures = (image[0].permute(2, 1, 0)[..., None].expand(-1, -1, -1, 3) * 255).to(torch.uint8).numpy()
    box = np.array([0, 0, SIDE, SIDE])

    def segment(picture: np.ndarray) -> None:
        judge.set_image(picture)
        judge.predict(box=box, multimask_output=False)

    segment(pictures[0])
    started = time.perf_counter()
    for picture in pictures:
        segment(picture)
    return time.perf_counter() - started


SIDES = {"ours": ours, "predictor": predictor}


def measure(side: str, options: argparse.Namespace, device: torch.device) -> dict[str, float]:
    """Seconds, slices a second and peak memory of one side."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = SIDES[side](options, device)
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else _peak_of_process()
    return {"seconds": seconds, "slices_a_second": options.slices / seconds, "peak_mb": peak / 1e6}


def _peak_of_process() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="vit_b")
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--slices", type=int, default=28)
    parser.add_argument("--passes", type=int, default=1)
    parser.add_argument("--side", choices=SIDES)
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if options.side:
        print(json.dumps(measure(options.side, options, device)))
        return
    found = {}
    for side in SIDES:
        command = [sys.executable, __file__, *sys.argv[1:], "--side", side]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found[side] = json.loads(printed.splitlines()[-1])
        print(side, found[side], flush=True)
    speed = found["ours"]["slices_a_second"] / found["predictor"]["slices_a_second"]
    memory = found["ours"]["peak_mb"] / found["predictor"]["peak_mb"]
    print(json.dumps({**found, "device": device.type, "slices": options.slices, "speed": speed, "memory": memory}))


if __name__ == "__main__":
    main()
