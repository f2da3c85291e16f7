"""One process beside NVFlare's simulator: start-up, seconds and bytes a round, memory at server and site.

    python benchmarks/engines.py [--sites 3,10] [--rounds 3] [--answers 3,10,30]

Each run is a process of its own in a network namespace of its own, whose loopback counts every byte that server and
sites send each other. A site has 40 pictures and the feature attention of ViT-B-32 (2.1 MB travel); the frozen encoder
is small. Resident memory is sampled ten times a second. Then the server's peak memory with updates of FedSAM's size, as
`benchmarks/server_memory.py` measures it. It needs root, for the network. The last line is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import server_memory
from sites_memory import CLIP, write_sites

BUNDLE = Path(__file__).parents[1] / "bundles" / "facmic_classification"
SIMULATOR, SITE = "simulator.simulator ", "simulator.simulator_worker"
SAMPLE_SECONDS = 0.1


def loopback_bytes() -> int:
    """Returns the bytes that this network's loopback has carried, each byte counted once."""
    (line,) = [line for line in Path("/proc/net/dev").read_text().splitlines() if line.strip().startswith("lo:")]
    return int(line.split(":")[1].split()[0])


def run(folder: str, engine: str, rounds: int) -> None:
    """A federation over all sites of a folder; prints when it began, when each round ended, and what was carried."""
    from fedmed_workflows import Federation
    from fedmed_workflows.sites.classification_sites import ClassificationSites

    settings = {"clip": CLIP, "image_size": 16, "batch_size": 16, "target": None, "weights": None}
    agreed = {"class_names": ["dots", "stripes"], "facmic": settings, "method": None, "local_epochs": 1, "seed": 0,
              "train_config": ["configs/train.json"], "exchange_dtype": "float32"}  # fmt: skip
    out = Path(folder) / f"out_{engine}"
    began = time.time()
    federation = Federation(
        str(BUNDLE), ClassificationSites(f"{folder}/sites"), str(out), rounds=rounds, settings=settings,
        engine=engine, agreed=agreed,
    )  # fmt: skip
    result = federation.run()
    ended = time.time()
    ends = [file.stat().st_mtime for file in sorted((out / "checkpoints").glob("round_*.safetensors"))]
    found = {"began": began, "ends": ends, "ended": ended, "carried": loopback_bytes(),
             "manifest": result["manifest"]["bytes"]}  # fmt: skip
    print("\n" + json.dumps(found))


def roles(caller: psutil.Process) -> dict[str, float]:
    """Largest resident megabytes by role: the caller, the sites' processes, the server beneath the simulator."""
    found: dict[str, float] = {}
    for each in [caller, *caller.children(recursive=True)]:
        try:
            command = " ".join([*each.cmdline(), ""])
            beneath = any(SIMULATOR in " ".join([*parent.cmdline(), ""]) for parent in each.parents())
            role = "site" if SITE in command else "server" if beneath else "caller"
            found[role] = max(found.get(role, 0.0), each.memory_info().rss / 1e6)
        except psutil.Error:
            continue
    return found


def sampled(process: subprocess.Popen[str]) -> dict[str, float]:
    """Peak resident megabytes by role, while a process runs."""
    peaks: dict[str, float] = {}
    while process.poll() is None:
        for role, size in roles(psutil.Process(process.pid)).items():
            peaks[role] = max(peaks.get(role, 0.0), size)
        time.sleep(SAMPLE_SECONDS)
    return peaks


def measured(folder: str, engine: str, sites: int, rounds: int) -> dict[str, Any]:
    """One run, from outside."""
    inner = [sys.executable, __file__, "--run", folder, "--engine", engine, "--rounds", str(rounds)]
    command = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *inner]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.extend(process.stdout or ()))
        reader.start()
        peaks = sampled(process)
        reader.join()
    if process.returncode:
        raise RuntimeError(f"{engine} with {sites} sites ended with {process.returncode}")
    found = json.loads(lines[-1])
    trips = sites * (2 * rounds + 1)  # an aggregate to every site a round and after the last one, an update from it
    spans = [later - earlier for earlier, later in zip(found["ends"], found["ends"][1:], strict=False)]
    return {
        "start_seconds": round(found["ends"][0] - found["began"], 2),
        "round_seconds": round(sum(spans) / len(spans), 2),
        "end_seconds": round(found["ended"] - found["ends"][-1], 2),
        "peak_mb": {role: round(peak) for role, peak in sorted(peaks.items())},
        "exchanged_mb": round(trips * found["manifest"] / 1e6, 2),
        "carried_to_exchanged": round(found["carried"] / trips / found["manifest"], 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", default="3,10")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--answers", default="3,10,30")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run(options.run, options.engine, options.rounds)
        return
    found: dict[str, Any] = {}
    for sites in map(int, options.sites.split(",")):
        for engine in ("in_process", "nvflare"):
            with tempfile.TemporaryDirectory() as folder:
                write_sites(Path(folder) / "sites", sites)
                found[f"{engine} {sites}"] = measured(folder, engine, sites, options.rounds)
                print(engine, sites, found[f"{engine} {sites}"], flush=True)
    found["server"] = server_memory.measured([*map(int, options.answers.split(","))], server_memory.FEDSAM_MB)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
