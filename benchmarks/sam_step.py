"""One training step of FedMSA beside the same network with segment_anything's plain attention.

    python benchmarks/sam_step.py [--model vit_b] [--size 1024] [--batch 1] [--variants plain ours]

Adam, random weights. Every variant runs in a process of its own, on the GPU if there is one, else on the CPU. On the
CPU seconds are those of the fastest of two steps, on a GPU the median of five after two others; memory is the peak
during the steps less what was held before them. ``plain`` and ``ours`` are float32. On a GPU ``bfloat16`` is ours in
bfloat16, ``compiled`` this with torch.compile, and ``flex`` ours in bfloat16 with torch's FlexAttention in place of the
project's attention. The last line is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
import types
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from segment_anything.modeling.image_encoder import Attention
from torch import nn

from fedmed_networks import FedMSA
from fedmed_networks.sam.attention import RelativeAttention, relative_positions

VARIANTS = {"cpu": ["plain", "ours"], "cuda": ["plain", "ours", "bfloat16", "compiled", "flex"]}
STEPS = {"cpu": (0, 2), "cuda": (2, 5)}
"""Steps before the measured ones, and those."""


def build(variant: str, model: Any, size: int, device: torch.device) -> nn.Module:
    """The network of a variant; its relative positions are not SAM's initial zeros."""
    torch.manual_seed(0)
    precision = "float32" if variant in ("plain", "ours") else "bfloat16"
    network: Any = FedMSA(model_type=model, image_size=size, precision=precision)
    forward = {"plain": Attention.forward, "flex": flexible_attention}.get(variant)
    for module in network.modules():
        if isinstance(module, RelativeAttention):
            for table in (module.rel_pos_h, module.rel_pos_w):
                table.data.copy_(0.1 * torch.randn(table.shape))  # of the CPU: the same on every device
            vars(module).pop("forward", None)  # the blocks are shared with the variant before
            if forward is not None:
                vars(module)["forward"] = types.MethodType(forward, module)
    network.to(device)
    return torch.compile(network) if variant == "compiled" else network


def flexible_attention(module: RelativeAttention, tokens: torch.Tensor) -> torch.Tensor:
    """Attends as :class:`RelativeAttention` does, with FlexAttention; (B, H, W, D) -> (B, H, W, D)."""
    batch, height, width, _ = tokens.shape
    projected = module.qkv(tokens).reshape(batch, height * width, 3, module.num_heads, -1)
    query, key, value = projected.permute(2, 0, 3, 1, 4).unbind(0)  # (B, heads, N, d)
    by_place = query.unflatten(2, (height, width))
    rows = torch.einsum("bnhwd,hkd->bnhwk", by_place, relative_positions(module.rel_pos_h)).flatten(2, 3)
    columns = torch.einsum("bnhwd,wkd->bnhwk", by_place, relative_positions(module.rel_pos_w)).flatten(2, 3)

    def with_terms(score: Any, image: Any, head: Any, place: Any, other: Any) -> Any:
        return score + rows[image, head, place, other // width] + columns[image, head, place, other % width]

    attended = _flex()(query, key, value, score_mod=with_terms)  # (B, heads, N, d)
    return module.proj(attended.transpose(1, 2).reshape(batch, height, width, -1))


@lru_cache
def _flex() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False)


def resident() -> int:
    """Bytes of this process in memory now."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def held(device: torch.device) -> int:
    """Bytes held now; a GPU's peak begins anew."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    return resident()


def peak(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def step(network: nn.Module, optimizer: torch.optim.Optimizer, image: torch.Tensor, label: torch.Tensor) -> float:
    """Takes a step; the loss, which is read at its end, waits for the device."""
    optimizer.zero_grad()
    loss = nn.functional.binary_cross_entropy_with_logits(network(image), label, pos_weight=label.new_tensor(2.0))
    loss.backward()
    optimizer.step()
    return loss.item()


def measure(variant: str, model: Any, size: int, batch: int, device: torch.device) -> dict[str, float]:
    """Takes the steps of one variant; returns seconds, bytes, the first loss, and the seconds of the first step."""
    network = build(variant, model, size, device)
    random = torch.Generator().manual_seed(1)
    image = torch.rand(batch, 3, size, size, generator=random).to(device)
    label = (torch.rand(batch, 1, size // 4, size // 4, generator=random) > 0.7).float().to(device)
    optimizer = torch.optim.Adam([value for value in network.parameters() if value.requires_grad], lr=1e-4)
    before, losses, seconds = held(device), [], []
    for _ in range(sum(STEPS[device.type])):
        start = time.perf_counter()
        losses.append(step(network, optimizer, image, label))
        if device.type == "cuda":
            torch.cuda.synchronize()  # the optimizer's step
        seconds.append(time.perf_counter() - start)
    measured = seconds[STEPS[device.type][0] :]
    taken = statistics.median(measured) if device.type == "cuda" else min(measured)
    return {"seconds": taken, "bytes": peak(device) - before, "loss": losses[0], "first_seconds": seconds[0]}


def compared(measured: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Seconds and peak memory of every variant, and the ratios to ``plain`` if it is one of them."""
    result: dict[str, Any] = {}
    for variant, found in measured.items():
        result[f"{variant}_seconds"] = round(found["seconds"], 4)
        result[f"{variant}_peak_gb"] = round(found["bytes"] / 1e9, 2)
        plain = measured.get("plain")
        if plain is not None and variant != "plain":
            result[f"{variant}_times_faster"] = round(plain["seconds"] / found["seconds"], 2)
            result[f"{variant}_share_of_memory"] = round(found["bytes"] / plain["bytes"], 3)
            result[f"{variant}_loss_difference"] = abs(plain["loss"] - found["loss"])
    return result


def main() -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="vit_b")
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--variants", nargs="+", default=VARIANTS[device.type], choices=VARIANTS["cuda"])
    parser.add_argument("--only", choices=VARIANTS["cuda"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measure(options.only, options.model, options.size, options.batch, device)))
        return
    measured = {}
    for variant in options.variants:
        command = [sys.executable, __file__, *sys.argv[1:], "--only", variant]
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        measured[variant] = json.loads(output.splitlines()[-1])
    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    print(json.dumps({"device": name, **compared(measured)}))


if __name__ == "__main__":
    main()
