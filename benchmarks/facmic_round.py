"""Rounds of FACMIC at one site: the published procedure beside this project's, same weights, same batches.

    python benchmarks/facmic_round.py [ROUNDS]

The published procedure encodes one source and two target batches in every step, and the class prompts in every round.
This project encodes every image once and trains on the features. Both run ten rounds (or ROUNDS) with ViT-B-32 in
random weights on 485 source and 120 target pictures, in file order, in one process. The published procedure gets its
pictures as tensors in memory; this project's time holds reading and preprocessing the files as well. Both run on the
GPU if there is one. Takes about ten minutes on two cores. The last line is a JSON object.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from fedmed_networks import FACMIC
from fedmed_networks.clip.foundation import PUBLISHED, shared_clip
from fedmed_networks.clip.prompted_classifier import PROMPT
from fedmed_workflows import FACMICLoss, SiteAlgo
from fedmed_workflows.exchange.weights import Weights, get_weights
from fedmed_workflows.methods.facmic import Adaptation

CLASSES = ("glioma_tumor", "meningioma_tumor", "no_tumor", "pituitary_tumor")
SOURCE, TARGET, BATCH, SIZE = 485, 120, 32, 224
BUNDLE = Path(__file__).parents[1] / "bundles" / "facmic_classification"


def write_pictures(root: Path) -> Path:
    """SITE/datalist.json with 485 training pictures, and a folder of 120 target pictures; returns the datalist."""
    random = np.random.default_rng(0)
    items = []
    for index in range(SOURCE + TARGET + 2 * len(CLASSES)):
        path = root / ("target" if SOURCE <= index < SOURCE + TARGET else "site") / f"{index:04d}.png"
        path.parent.mkdir(exist_ok=True)
        coarse = random.integers(0, 255, (4 + index % len(CLASSES) * 4,) * 2, dtype=np.uint8)
        Image.fromarray(coarse).resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(path)
        items.append({"image": str(path), "label": CLASSES[index % len(CLASSES)]})
    held = SOURCE + TARGET
    sections = {"training": items[:SOURCE], "validation": items[held : held + 4], "test": items[held + 4 :]}
    datalist = root / "site.json"
    datalist.write_text(json.dumps(sections))
    return datalist


def make_site(datalist: Path, root: Path, device: torch.device, **settings: Any) -> SiteAlgo:
    settings = {
        "class_names": list(CLASSES), "target": str(root / "target"), "cache_dir": str(root / "features"),
        "shuffle": False, "device": device, **settings,
    }  # fmt: skip
    return SiteAlgo(str(BUNDLE), "site", str(datalist), str(root / "state"), settings=settings)


def pictures_of(site: SiteAlgo, datalist: Path, root: Path) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Preprocessed source pictures, labels, and target pictures, for the published procedure."""
    transform = site._parsed("preprocessing")
    items = json.loads(datalist.read_text())["training"]
    source = torch.cat([transform({"image": item["image"]})["image"] for item in items])
    target = torch.cat([transform({"image": str(path)})["image"] for path in sorted((root / "target").iterdir())])
    return source, torch.tensor([CLASSES.index(item["label"]) for item in items]), target


def published(
    start: Weights, data: tuple[torch.Tensor, ...], rounds: int, device: torch.device, name: Any = PUBLISHED
) -> tuple[list[float], Weights]:
    """The published procedure: seconds of every round, and the attention at the end."""
    source, labels, target = (part.to(device) for part in data)
    clip = shared_clip(name)
    clip.model.to(device)
    network = FACMIC(CLASSES, name)
    network.load_state_dict({**network.state_dict(), **start})
    network.to(device)
    optimizer = torch.optim.Adam(
        network.attention.parameters(), lr=5e-5, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.02
    )
    seconds, loss_of = [], FACMICLoss()
    for _ in range(rounds):
        begin = time.perf_counter()
        prompts = clip.embed_prompts([PROMPT.format(label) for label in CLASSES]).to(device)
        network.train()
        batches = itertools.cycle(range(TARGET // BATCH))
        for index in range(SOURCE // BATCH):
            image, label = source[index * BATCH : (index + 1) * BATCH], labels[index * BATCH : (index + 1) * BATCH]
            place = next(batches)
            other = target[place * BATCH : (place + 1) * BATCH]
            loss = loss_of(published_step(network, image, other, prompts), label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
        print(f"published round {len(seconds)}: {seconds[-1]:.1f} s", flush=True)
    return seconds, get_weights(network)


def published_step(network: FACMIC, image: torch.Tensor, other: torch.Tensor, prompts: torch.Tensor) -> Adaptation:
    with torch.no_grad():
        feature, raw, again = network.encode(image), network.encode(other), network.encode(other)
    source = network.adapt(feature)
    with torch.no_grad():
        probabilities = (network.scale * network.adapt(again) @ prompts.t()).softmax(dim=1)
    return Adaptation(source, functional.normalize(raw, dim=1), probabilities, prompts, network.scale)


def ours(site: SiteAlgo, rounds: int) -> tuple[list[float], Weights, Weights]:
    """This project's: seconds of every round (the first holds building the site and encoding), start and end."""
    begin = time.perf_counter()
    site.initialize()
    start = weights = site.initial_weights()
    seconds = []
    for number in range(1, rounds + 1):
        weights = site.fit_round(weights, number).weights
        seconds.append(time.perf_counter() - begin)
        begin = time.perf_counter()
    print("ours:", " ".join(f"{value:.2f}" for value in seconds), flush=True)
    return seconds, start, weights


def main(rounds: int) -> dict[str, Any]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as folder:
        return compare(Path(folder), rounds, device)


def compare(root: Path, rounds: int, device: torch.device, name: Any = PUBLISHED, size: int = SIZE) -> dict[str, Any]:
    """Runs both with the CLIP of a name, on pictures of its size."""
    datalist = write_pictures(root)
    shared_clip(name)  # both find the weights in memory
    site = make_site(datalist, root, device, clip=name, image_size=size)
    fast, start, weights = ours(site, rounds)
    slow, other = published(start, pictures_of(site, datalist, root), rounds, device, name)
    after_first = statistics.median(slow[1:]) / statistics.median(fast[1:])
    return {
        "rounds": rounds,
        "device": device.type,
        "published_round_seconds": round(statistics.median(slow), 2),
        "ours_first_round_seconds": round(fast[0], 2),
        "ours_later_round_seconds": round(statistics.median(fast[1:]), 4),
        "times_faster_after_the_first_round": round(after_first, 1),
        "times_faster_all_rounds": round(sum(slow) / sum(fast), 1),
        "largest_difference_of_weights": max(
            float((weights[name].double() - other[name].double()).abs().max())
            for name in weights if weights[name].is_floating_point()
        ),
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)))
