"""A real MONAI Label server on a free port of the loopback interface, and its REST interface."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import requests
from PIL import Image

from tests.orthanc_server import free_port

ROOT = Path(__file__).parents[2]

START_SECONDS, TRAIN_SECONDS = 600, 600


class Label:
    """The REST interface of a MONAI Label server."""

    def __init__(self, url: str, log: Path) -> None:
        self.url, self.log = url, log

    def infer(self, model: str, image: str = "", output: str = "image", file: Path | None = None, **params: Any) -> Any:
        """The response to a request for inference."""
        sent = {"file": (file.name, file.read_bytes())} if file else None
        query = {"image": image, "output": output}
        form = {"params": json.dumps(params)}
        return requests.post(f"{self.url}/infer/{model}", params=query, data=form, files=sent, timeout=120)

    def scores(self, image: str, **sent: Any) -> dict[str, float]:
        """Class probabilities."""
        answer = self.infer("facmic_classification", image, output="json", **sent)
        assert answer.status_code == 200, self.log.read_text()[-3000:]
        return {entry["label"]: entry["score"] for entry in answer.json()["prediction"]}

    def mask(self, model: str, image: str = "", **sent: Any) -> Any:
        """The NIfTI image that a segmentation answers with."""
        answer = self.infer(model, image, **sent)
        assert answer.status_code == 200, self.log.read_text()[-3000:]
        assert ".nii.gz" in answer.headers["content-disposition"]
        return nibabel.Nifti1Image.from_bytes(gzip.decompress(answer.content))

    def picture(self, model: str, image: str) -> np.ndarray:
        """The PNG picture that a segmentation answers with: (rows, columns)."""
        answer = self.infer(model, image)
        assert answer.status_code == 200, self.log.read_text()[-3000:]
        assert ".png" in answer.headers["content-disposition"]
        return np.asarray(Image.open(io.BytesIO(answer.content)))

    def add(self, image: Path) -> str:
        """Puts an image into the datastore; returns its name there."""
        answer = requests.put(f"{self.url}/datastore/image", files={"file": (image.name, image.read_bytes())})
        answer.raise_for_status()
        return str(answer.json()["image"])

    def add_label(self, image: str, name: str, content: bytes, **params: Any) -> None:
        """Puts the final label of an image into the datastore."""
        query, form = {"image": image, "tag": "final"}, {"params": json.dumps(params)}
        sent = {"label": (name, content)}
        requests.put(f"{self.url}/datastore/label", params=query, data=form, files=sent).raise_for_status()

    def remove(self, image: str) -> None:
        """Takes an image and its labels out of the datastore."""
        requests.delete(f"{self.url}/datastore/image", params={"id": image}).raise_for_status()

    def train(self, model: str, **params: Any) -> dict[str, Any]:
        """Asks for training and waits for its end; returns what the server says of it."""
        asked = requests.post(f"{self.url}/train/{model}", json=params, timeout=60)
        assert asked.status_code == 200
        end = time.monotonic() + TRAIN_SECONDS
        while time.monotonic() < end:
            task: dict[str, Any] = requests.get(f"{self.url}/train/", timeout=60).json()
            if task["status"] not in ("SUBMITTED", "RUNNING"):
                return task
            time.sleep(0.5)
        raise TimeoutError(f"training took more than {TRAIN_SECONDS} seconds: {task}")


@contextmanager
def serving(studies: str | Path, bundles: Iterable[Path], folder: Path, **settings: str) -> Iterator[Label]:
    """The server, started as ``make label`` starts it, with further environment variables."""
    port = free_port()
    command = [sys.executable, "-m", "fedmed_workflows", "label_server", "--studies", str(studies)]
    command += ["--port", str(port), "--app", str(folder), *map(str, bundles)]
    path = os.pathsep.join([str(Path(__file__).parent), str(ROOT)])
    log = folder / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, "PYTHONPATH": path, **settings}, stdout=output,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        server = Label(f"http://127.0.0.1:{port}", log)
        _wait(server, process)
        yield server
        assert process.poll() is None, log.read_text()[-3000:]
    finally:
        process.terminate()
        process.wait(timeout=60)


def _wait(server: Label, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            requests.get(f"{server.url}/info/", timeout=60).raise_for_status()
            return
        except requests.ConnectionError:
            time.sleep(0.5)
    raise AssertionError(f"the server did not start: {server.log.read_text()[-3000:]}")
