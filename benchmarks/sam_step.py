"""One training step of FedMSA beside the same network with segment_anything's plain attention.

    python benchmarks/sam_step.py

vit_b, 1024 pixels, one image, Adam, random weights. Every variant runs in a process of its own, on the GPU if there is
one, else on the CPU: seconds are those of the fastest of three steps (two on a CPU), memory is the peak during the
steps less what the process held before them. ``plain`` and ``ours`` are float32; on a GPU ``compiled`` is ours in
bfloat16 with torch.compile. The last line is a JSON object.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any

import torch
from segment_anything.modeling.image_encoder import Attention
from torch import nn

from fedmed_networks import FedMSA
from fedmed_networks.sam.attention import RelativeAttention

SIZE = 1024
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
STEPS = {"cuda": 3, "cpu": 2}


def build(variant: str) -> nn.Module:
    """The network of a variant; its relative positions are not SAM's initial zeros."""
    torch.manual_seed(0)
    network: Any = FedMSA(image_size=SIZE, precision="bfloat16" if variant == "compiled" else "float32")
    for module in network.modules():
        if isinstance(module, RelativeAttention):
            nn.init.normal_(module.rel_pos_h, std=0.1)
            nn.init.normal_(module.rel_pos_w, std=0.1)
            if variant == "plain":
                module.forward = types.MethodType(Attention.forward, module)
    network.to(DEVICE)
    return torch.compile(network) if variant == "compiled" else network


def resident() -> int:
    """Bytes of this process in memory now."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def held() -> int:
    return torch.cuda.memory_allocated() if DEVICE == "cuda" else resident()


def peak() -> int:
    if DEVICE == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def step(network: nn.Module, optimizer: torch.optim.Optimizer, image: torch.Tensor, label: torch.Tensor) -> float:
    optimizer.zero_grad()
    loss = nn.functional.binary_cross_entropy_with_logits(network(image), label, pos_weight=label.new_tensor(2.0))
    loss.backward()
    optimizer.step()
    return loss.item()


def run(variant: str) -> None:
    """Takes the steps of one variant and prints seconds, bytes and the first loss."""
    network = build(variant)
    random = torch.Generator().manual_seed(1)
    image = torch.rand(1, 3, SIZE, SIZE, generator=random).to(DEVICE)
    label = (torch.rand(1, 1, SIZE // 4, SIZE // 4, generator=random) > 0.7).float().to(DEVICE)
    optimizer = torch.optim.Adam([value for value in network.parameters() if value.requires_grad], lr=1e-4)
    before = held()
    seconds, losses = [], []
    for _ in range(STEPS[DEVICE]):
        start = time.perf_counter()
        losses.append(step(network, optimizer, image, label))
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": min(seconds), "bytes": peak() - before, "loss": losses[0]}))


def main() -> None:
    variants = ["plain", "ours", "compiled"] if DEVICE == "cuda" else ["plain", "ours"]
    measured = {}
    for variant in variants:
        command = [sys.executable, __file__, variant]
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        measured[variant] = json.loads(output.splitlines()[-1])
    plain = measured["plain"]
    result: dict[str, Any] = {"device": torch.cuda.get_device_name() if DEVICE == "cuda" else "cpu"}
    for variant in variants:
        result[f"{variant}_seconds"] = round(measured[variant]["seconds"], 3)
        result[f"{variant}_peak_gb"] = round(measured[variant]["bytes"] / 1e9, 2)
    for variant in variants[1:]:
        result[f"{variant}_times_faster"] = round(plain["seconds"] / measured[variant]["seconds"], 2)
        result[f"{variant}_share_of_memory"] = round(measured[variant]["bytes"] / plain["bytes"], 3)
        result[f"{variant}_loss_difference"] = abs(plain["loss"] - measured[variant]["loss"])
    print(json.dumps(result))


if __name__ == "__main__":
    run(sys.argv[1]) if len(sys.argv) > 1 else main()
