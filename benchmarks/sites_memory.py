"""Measures the memory of each further site in one process, beside its attention, optimiser state and features.

    python benchmarks/sites_memory.py

Runs a federation of two rounds with 3 and with 30 sites, each in a fresh process, and reads the resident memory when
the last round ended, and its peak. A site has 200 pictures and the feature attention of ViT-B-32 (D = 512); the frozen
encoder, which all sites share, is a small one, so that encoding takes seconds. The last line is a JSON object.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

LENGTH, PICTURES, CLASSES = 512, 200, ("dots", "stripes")
CLIP = {
    "embed_dim": LENGTH,
    "vision_cfg": {"image_size": 16, "layers": 1, "width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
FLOAT = 4


def write_sites(root: Path, sites: int) -> None:
    random = np.random.default_rng(0)
    for site in range(sites):
        for name in CLASSES:
            folder = root / f"site_{site:02d}" / name
            folder.mkdir(parents=True)
            for index in range(PICTURES // len(CLASSES)):
                picture = random.integers(0, 255, (16, 16), dtype=np.uint8)
                Image.fromarray(picture).save(folder / f"{index:03d}.png")


def resident() -> int:
    """Bytes of this process in memory now."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def run(folder: str) -> None:
    """Two rounds over all sites of a folder; prints the resident memory after them and its peak."""
    from fedmed_workflows import Federation
    from fedmed_workflows.aggregation import Before
    from fedmed_workflows.federation.in_process import build_engine
    from fedmed_workflows.sites.classification_sites import ClassificationSites

    bundle = str(Path(__file__).parents[1] / "bundles" / "facmic_classification")
    settings = {"clip": CLIP, "image_size": 16, "batch_size": 32, "target": None}
    federation = Federation(bundle, ClassificationSites(folder), f"{folder}-run", rounds=2, settings=settings)
    engine, manifest, _ = build_engine(federation)
    weights = engine.initial_weights()
    for number in (1, 2):
        updates = {name: update for name, update in engine.train(weights, number) if not isinstance(update, Exception)}
        assert len(updates) == len(federation.sites.folders)
        weights = {tensor.name: tensor.value for tensor in federation.aggregation.aggregate(updates, Before(weights))}
        del updates
    print(resident(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def main() -> None:
    measured = {}
    for sites in (3, 30):
        with tempfile.TemporaryDirectory() as folder:
            write_sites(Path(folder) / "data", sites)
            command = [sys.executable, __file__, str(Path(folder) / "data")]
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            measured[sites] = [int(number) for number in output.splitlines()[-1].split()]
    attention = (2 * LENGTH * LENGTH + 2 * LENGTH + 4 * LENGTH) * FLOAT
    parameters = (2 * LENGTH * LENGTH + 2 * LENGTH + 2 * LENGTH) * FLOAT
    own = attention + 2 * parameters + PICTURES * LENGTH * FLOAT
    after, peak = ((measured[30][index] - measured[3][index]) / 27 for index in (0, 1))
    print(
        json.dumps(
            {
                "resident_3_sites_mb": round(measured[3][0] / 1e6, 1),
                "resident_30_sites_mb": round(measured[30][0] / 1e6, 1),
                "each_further_site_mb": round(after / 1e6, 2),
                "each_further_site_at_peak_mb": round(peak / 1e6, 2),
                "attention_optimiser_features_mb": round(own / 1e6, 2),
                "ratio": round(after / own, 2),
                "ratio_at_peak": round(peak / own, 2),
            }
        )
    )


if __name__ == "__main__":
    run(sys.argv[1]) if len(sys.argv) > 1 else main()
