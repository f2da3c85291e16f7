"""Peak memory of the inference command on a large CT, in float32 volumes of it, and the CPU seconds of its stages.

    python benchmarks/inference_memory.py [--slices 300] [--studies 2] [--package FOLDER]

The command reads DICOM series of 512 x 512 pixels a slice from a folder and writes DICOM SEG and NIfTI. The network is
a small SAM in random weights, so that the memory is that of the way of the images. The figures are those above what
the process held when it asked for the first study, with all packages imported, the network built, and the caches of a
study of six slices filled. Linux. The last line is a JSON object. ``--package`` names a folder with another state of
this repository, whose commands and configuration are measured.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SIZES = {
    "width": 32, "depth": 2, "heads": 4, "window_size": 3, "global_blocks": [1], "patch_size": 16, "neck": 16,
    "decoder_depth": 1, "decoder_heads": 2, "decoder_mlp": 32,
}  # fmt: skip
IMAGE_SIZE, SIDE, BUNDLE = 64, 512, "fedmsa_segmentation"


def write_bundle(folder: Path, root: Path) -> None:
    """The bundle with weights whose masks are neither empty nor full."""
    import torch

    from fedmed_networks import FedMSA
    from fedmed_workflows.federation.bundle.checkpoint import save_network

    shutil.copytree(root / "bundles" / BUNDLE / "configs", folder / "configs")
    inference = folder / "configs" / "inference.json"
    entries = {"channels": {"organ": [1]}, "model_type": SIZES, "image_size": IMAGE_SIZE, "device": "cpu"}
    inference.write_text(json.dumps({**json.loads(inference.read_text()), **entries, "device": "$torch.device('cpu')"}))
    (folder / "models").mkdir()
    torch.manual_seed(0)
    save_network(FedMSA(model_type=SIZES, image_size=IMAGE_SIZE), folder / "models" / "model.pt")


def held(key: str) -> int:
    """Bytes of memory of this process, now (VmRSS) or at most (VmHWM)."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key)]
    return int(line.split()[1]) * 1024


class Peaks:
    """The highest memory since the large studies were asked for, at the end of each stage of each of them."""

    def __init__(self, engine: Any) -> None:
        from ignite.engine import Events
        from monai.engines.utils import IterationEvents

        self.before, self.peaks, self.cpu, self._count = 0, [], [], 0
        engine.add_event_handler(Events.GET_BATCH_STARTED, self._ask)
        engine.add_event_handler(Events.GET_BATCH_COMPLETED, self._note, "read and scale")
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._note, "network")
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._note, "write")

    def _ask(self) -> None:
        self._count += 1
        self._begin = time.process_time()
        if self._count == 2:  # the first, small study is done
            self.before = held("VmRSS")
        if self._count >= 2:
            self.peaks.append({})
            self.cpu.append({})

    def _note(self, stage: str) -> None:
        if self._count >= 2:
            self.peaks[-1][stage] = held("VmHWM") - self.before
            self.cpu[-1][stage] = round(time.process_time() - self._begin, 2)
        self._begin = time.process_time()
        Path("/proc/self/clear_refs").write_text("5")  # counts the highest memory anew


def run(work: Path, slices: int) -> None:
    """Runs the command in this process; its last line is a JSON object."""
    from monai.bundle import create_workflow

    root = work / BUNDLE
    workflow = create_workflow(
        workflow_type="inference", config_file=str(root / "configs" / "inference.json"), bundle_root=str(root),
        dataset_dir=str(work / "studies"), output_dir=str(work / "answers"),
    )  # fmt: skip
    peaks = Peaks(workflow.parser.get_parsed_content("evaluator"))
    workflow.run()
    volume = 4 * SIDE * SIDE * slices
    studies = [study for study in peaks.peaks if study]  # the evaluator asks once more than there are studies
    stages = [{stage: round(size / volume, 2) for stage, size in study.items()} for study in studies]
    most = max(max(study.values()) for study in studies)
    print("\n" + json.dumps({
        "volumes": round(most / volume, 2), "stages": stages, "cpu_seconds": peaks.cpu[: len(studies)],
        "before_mb": round(peaks.before / 1e6), "peak_mb": round((peaks.before + most) / 1e6),
    }))  # fmt: skip


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--studies", type=int, default=2)
    parser.add_argument("--package", type=Path, default=Path(__file__).parents[1])
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    sys.path.insert(0, str(options.package))
    if options.work:
        run(options.work, options.slices)
        return
    from loading import write_series

    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_series(work / "studies" / "0", 6, compressed=False)
        for study in range(1, options.studies + 1):
            write_series(work / "studies" / str(study), options.slices, compressed=False)
        write_bundle(work / BUNDLE, options.package)
        command = [sys.executable, __file__, *sys.argv[1:], "--work", folder]
        environment = {**os.environ, "PYTHONPATH": str(options.package)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        if done.returncode:
            raise RuntimeError(f"the inference command ended with {done.returncode}: {done.stderr[-3000:]}")
        print(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
