"""Runs the parts one after the other, each in a process of its own, and writes the results as they come.

The processes are copies of one that has imported the packages and has not touched the GPU. So a part needs no seconds
for imports; a part that hangs, or takes its process down, ends alone.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from benchmarks.gpu.part import Part, PartRun, SkippedPart
from benchmarks.gpu.results import Results

PRELOADED = [
    *("torch", "numpy", "scipy.ndimage", "pytest", "monai", "monai.bundle", "monai.engines", "open_clip", "peft"),
    *("segment_anything", "pydicom", "nibabel", "imagecodecs", "fedmed_transforms", "fedmed_networks"),
    *("fedmed_workflows", "fedmed_workflows.federation.federation", "fedmed_networks.sam.fedmsa"),
    "fedmed_networks.clip.facmic",
]
"""Modules that the parts' processes share; one that is missing fails in the part that needs it."""

END_SECONDS = 2
"""Time in which a process may end by itself."""

FIRST_SECONDS = 150
"""Time for the imports, once."""

RESULTS, LOG = "gpu.json", "gpu.log"


def run_parts(parts: Sequence[Part], folder: Path, seconds: float, without_gpu: float = 1) -> Results:
    """Runs parts in order.

    Parameters
    ----------
    parts
        The parts, the most worth first.
    folder
        Gets :data:`RESULTS`, written again after every figure, and :data:`LOG`, what the parts print.
    seconds
        Time for all parts; those that do not begin within it are skipped.
    without_gpu
        Factor of all times where there is no GPU.
    """
    begin = time.monotonic()
    context, gpu = _prepared()
    factor = 1 if gpu else without_gpu
    seconds *= factor
    folder.mkdir(parents=True, exist_ok=True)
    results, log = Results(folder / RESULTS, gpu), folder / LOG
    log.write_text("")
    end = begin + seconds
    for part in parts:
        left = end - time.monotonic()
        if left < 1:
            results.end(part.name, "skipped", f"the {seconds:.0f} s of the run were over", 0)
            continue
        started = time.monotonic()
        status, reason = _run(context, part, min(factor * part.seconds, left), results, log)
        results.end(part.name, status, reason, time.monotonic() - started)
        print(results.line(part.name), flush=True)
    return results


def _prepared() -> tuple[Any, bool]:
    """Starts the process of which the parts' processes are copies; also tells whether there is a GPU.

    It computes nothing in threads, which its copies would wait for, and looks for a GPU without touching it. If an
    imported package touches it all the same, its copies cannot use the GPU, and every part imports for itself.
    """
    kept = os.environ.get("OMP_NUM_THREADS")
    os.environ.update(OMP_NUM_THREADS="1", PYTORCH_NVML_BASED_CUDA_CHECK="1")
    copies = multiprocessing.get_context("forkserver")
    copies.set_forkserver_preload(PRELOADED)
    forkserver.ensure_running()
    del os.environ["OMP_NUM_THREADS"]
    if kept is not None:
        os.environ["OMP_NUM_THREADS"] = kept
    usable = _usable(copies)
    return (copies, usable == "yes") if usable != "no" else (multiprocessing.get_context("spawn"), True)


def _usable(context: Any) -> str:
    """Tells whether a process of a context can use the GPU: ``yes``, ``no``, or ``none`` without a GPU."""
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_try_gpu, args=(sender,))
    process.start()
    answer = receiver.recv() if receiver.poll(FIRST_SECONDS) else "no"
    process.kill()
    process.join()
    return str(answer)


def _try_gpu(sender: Connection) -> None:
    import torch

    try:
        sender.send("yes" if torch.cuda.is_available() and torch.ones(1, device="cuda").item() == 1 else "none")
    except RuntimeError as error:
        print(f"no copy of a process can use the GPU: {error}", file=sys.stderr)
        sender.send("no")


def _run(context: Any, part: Part, seconds: float, results: Results, log: Path) -> tuple[str, str]:
    """Runs one part; returns its status and the reason for it."""
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(part, sender, str(log)))
    process.start()
    sender.close()
    try:
        ended = _listen(receiver, seconds, part, results)
        process.join(END_SECONDS if ended[0] in ("passed", "skipped", "failed") else 0)
        return ended
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # with the programs that it started
        process.kill()
        process.join()


def _listen(receiver: Connection, seconds: float, part: Part, results: Results) -> tuple[str, str]:
    end = time.monotonic() + seconds
    while receiver.poll(max(0.0, end - time.monotonic())):
        try:
            kind, content = receiver.recv()
        except EOFError:
            return "failed", "its process ended without an answer"
        if kind == "figures":
            results.add(part.name, content)
        else:
            return kind, content
    return "over time", f"not done after {seconds:.0f} s"


def _work(part: Part, sender: Connection, log: str) -> None:
    """Computes a part in its own process and tells how it ended."""
    os.setsid()
    with open(log, "a", buffering=1) as file:
        os.dup2(file.fileno(), sys.stdout.fileno() if sys.stdout else 1)
        os.dup2(file.fileno(), 2)
    print(f"\n===== {part.name}", flush=True)
    with tempfile.TemporaryDirectory(prefix="fedmed_gpu_") as folder:
        try:
            resolve_name(part.function)(PartRun(_device(), Path(folder), lambda **values: _send(sender, values)))
            ended = ("passed", "")
        except BaseException as error:
            traceback.print_exc()
            ended = _ended(error)
    sender.send(ended)


def _send(sender: Connection, values: dict[str, Any]) -> None:
    print(values, flush=True)
    sender.send(("figures", values))


def _ended(error: BaseException) -> tuple[str, str]:
    import torch

    if isinstance(error, SkippedPart):
        return "skipped", str(error)
    lines = str(error).strip().splitlines() or [""]
    if isinstance(error, torch.OutOfMemoryError):
        return "skipped", f"too little GPU memory: {lines[0]}"
    return "failed", f"{type(error).__name__}: {lines[0]}"


def _device() -> Any:
    import torch

    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    return torch.device("cuda", 0)
