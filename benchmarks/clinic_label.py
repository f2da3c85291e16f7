"""MONAI Label's path of the same studies: its server, a request for a DICOM SEG each, and the answer stored."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import requests
from clinic_pipeline import Spans, consecutive
from resident_memory import ResidentMemory

ROOT = Path(__file__).parents[1]
START_SECONDS, ANSWER_SECONDS = 600, 3600
MISSING = "make the environment with 'make .venv-label/installed' and name its python, or measure --without-label"

ENDS = {
    "fetch": "Time to download",
    "read": "PRE - Transform (Load",
    "preprocess": " - Inferer:: ",
    "network": "++ Latencies => ",
}
"""What the server writes into its log at the end of each stage. Reading includes its conversion to NIfTI."""


def checked_python(python: Path | None) -> Path:
    """A python that has MONAI Label; the script ends without one, saying what makes it."""
    code = "import importlib.metadata; importlib.metadata.version('monailabel')"
    found = python is not None and python.is_file()
    if not found or subprocess.run([python, "-c", code], capture_output=True, check=False).returncode:
        raise SystemExit(f"--label-python {python}: expected a python that has MONAI Label; {MISSING}")
    return python.absolute()


class LabelServer:
    """MONAI Label on the archive's studies, with one bundle; it ends with its context.

    Parameters
    ----------
    python
        Of an environment with MONAI Label.
    bundle
        The bundle's folder.
    archive
        URL of the DICOMweb server.
    folder
        For its application, its cache and its log.
    port
        A free one.
    """

    def __init__(self, python: Path, bundle: Path, archive: str, folder: Path, port: int) -> None:
        self.url, self.model, self.log = f"http://127.0.0.1:{port}", bundle.name, folder / "log"
        self.environment = {
            **os.environ, "PYTHONPATH": str(ROOT), "MONAI_LABEL_DATASTORE_CACHE_PATH": str(folder / "cache"),
            "PATH": os.pathsep.join([str(python.parent), os.environ["PATH"]]),
        }  # fmt: skip
        copied = [str(python), "-m", "monailabel.main", "apps", "--download", "--name", "monaibundle"]
        subprocess.run([*copied, "--output", str(folder)], check=True, capture_output=True, env=self.environment)
        self.command = [str(python), "-m", "fedmed_workflows", "label_server", "--studies", archive]
        self.command += ["--port", str(port), "--app", str(folder), str(bundle)]

    def __enter__(self) -> LabelServer:
        begin = time.time()
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.log.parent, env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )
        self.memory = ResidentMemory(self.process.pid).__enter__()
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        self.start = (begin, time.time())
        return self

    def __exit__(self, *_: object) -> None:
        self.memory.__exit__(None, None, None)
        self.process.terminate()
        self.process.wait(60)

    def segment(self, series: str, segments: Sequence[str], output: Path) -> float:
        """Asks for a series' DICOM SEG and writes it; returns when it is on the disk."""
        described = [{"name": name, "model_name": self.model} for name in segments]
        answer = requests.post(
            f"{self.url}/infer/{self.model}", params={"image": series, "output": "dicom_seg"},
            data={"params": json.dumps({"label_info": described})}, timeout=ANSWER_SECONDS,
        )  # fmt: skip
        if answer.status_code != 200:
            raise RuntimeError(f"MONAI Label answered with {answer.status_code}: {self.log.read_text()[-3000:]}")
        output.write_bytes(answer.content)
        return time.time()

    def spans(self, begin: float, end: float) -> Spans:
        """The stages of the request between two moments, from the log."""
        lines = [line for line in self.log.read_text().splitlines() if begin - 1e-3 <= _moment(line) <= end]
        ends = {stage: _last(lines, said) for stage, said in ENDS.items()}
        after = re.search(r"Invert: ([\d.]+); Post: ([\d.]+); Write: ([\d.]+)", ends["network"])
        if after is None:
            raise RuntimeError(f"MONAI Label's log names its latencies otherwise: {ends['network']}")
        moments = {stage: _moment(line) for stage, line in ends.items()}
        moments["network"] -= sum(map(float, after.groups()))
        return consecutive(begin, {**moments, "write": end})

    def _wait(self) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            try:
                requests.get(f"{self.url}/info/", timeout=60).raise_for_status()
                return
            except requests.ConnectionError:
                time.sleep(0.05)
        raise RuntimeError(f"MONAI Label did not start: {self.log.read_text()[-3000:]}")


def _moment(line: str) -> float:
    """When a line was written, in ``time.time()``; zero if it does not say."""
    found = re.match(r"\[(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3})\]", line)
    return datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S,%f").timestamp() if found else 0.0


def _last(lines: Sequence[str], said: str) -> str:
    found = [line for line in lines if said in line]
    if not found:
        raise RuntimeError(f"MONAI Label's log does not say {said!r}")
    return found[-1]
