"""Notes the programs that a test starts: a test of `make test` starts no server and at most one interpreter."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SERVERS = {"Orthanc", "ip"}
"""An archive; a command in a network namespace, where the hosts of a federation run."""

started: list[list[str]] = []
"""The command of every program that this process has started so far."""


def _note(event: str, details: tuple[Any, ...]) -> None:
    if event == "subprocess.Popen":
        started.append([os.fsdecode(part) for part in details[1]])


sys.addaudithook(_note)


def needs_processes(commands: Sequence[Sequence[str]]) -> bool:
    """Tells if these commands are servers or several interpreters, so that a test of them needs the marker."""
    interpreters = [command for command in commands if Path(command[0]).name.startswith("python")]
    return len(interpreters) > 1 or any(
        Path(command[0]).name in SERVERS or any(part.startswith("nvflare") for part in command) for command in commands
    )
