"""Orthanc with its DICOMweb plugin, as a process that a test starts, kills and starts again."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

import requests

from tests.waiting import END_SECONDS, until

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


class OrthancServer:
    """An archive of its own: a free port of the loopback, a folder for what it keeps.

    Works as a context manager: inside it the server answers.

    Parameters
    ----------
    folder
        Gets its configuration, its log and, in ``storage``, what is stored.
    users
        Passwords by user's name; None lets everybody in.
    port
        To listen on; None for a free one.
    **settings
        Entries of its configuration, besides.

    Raises
    ------
    RuntimeError
        Orthanc or its plugin is not installed, or it ended before it answered.
    """

    def __init__(
        self, folder: Path, users: dict[str, str] | None = None, port: int | None = None, **settings: Any
    ) -> None:
        program = shutil.which("Orthanc")
        if program is None or not PLUGIN.is_file():
            raise RuntimeError("no Orthanc with DICOMweb here; expected 'apt-get install orthanc orthanc-dicomweb'")
        self.folder, self.port = folder, port or free_port()
        self.rest = f"http{'s' if settings.get('SslEnabled') else ''}://127.0.0.1:{self.port}"
        self.url = f"{self.rest}/dicom-web"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "orthanc.json").write_text(json.dumps(self._configuration(users or {}) | settings))
        self._command = [program, str(folder / "orthanc.json")]
        self._process: subprocess.Popen[bytes] | None = None

    def _configuration(self, users: dict[str, str]) -> dict[str, Any]:
        storage = str(self.folder / "storage")
        return {
            "StorageDirectory": storage, "IndexDirectory": storage, "Plugins": [str(PLUGIN)],
            "HttpPort": self.port, "RemoteAccessAllowed": False, "DicomServerEnabled": False,
            "AuthenticationEnabled": bool(users), "RegisteredUsers": users, "DicomWeb": {"Enable": True},
        }  # fmt: skip

    def __enter__(self) -> OrthancServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(signal.SIGKILL)

    def start(self) -> None:
        """Starts it, and returns when it answers."""
        with (self.folder / "log.txt").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, cwd=self.folder)
        try:
            until(self._answers_or_ended)
        except BaseException:
            self._end(signal.SIGKILL)
            raise

    def stop(self) -> None:
        """Ends it in order: what was stored is in its index, and there when it is started again."""
        self._end(signal.SIGTERM)

    def count(self, level: str = "instances") -> int:
        """Counts the server's ``patients``, ``studies``, ``series`` or ``instances``."""
        return len(requests.get(f"{self.rest}/{level}", timeout=END_SECONDS).json())

    def upload(self, folder: Path) -> None:
        """Takes in all files below a folder, by its own interface."""
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            requests.post(f"{self.rest}/instances", data=file.read_bytes(), timeout=END_SECONDS).raise_for_status()

    def clear(self) -> None:
        """Removes everything."""
        for patient in requests.get(f"{self.rest}/patients", timeout=END_SECONDS).json():
            requests.delete(f"{self.rest}/patients/{patient}", timeout=END_SECONDS).raise_for_status()

    def _answers_or_ended(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(f"Orthanc does not answer: {(self.folder / 'log.txt').read_text()[-2000:]}")
        return self._answers()

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(END_SECONDS)
            self._process = None
