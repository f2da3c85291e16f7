"""A command in a copy of the test's process, which has imported MONAI already: most of a command's time is imports.

For tests of a command's effect. Each command also has a test that starts it in an interpreter of its own.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path


def run_forked(module: str, arguments: Sequence[str], folder: Path) -> int | None:
    """Runs ``python -m MODULE ARGUMENTS`` in a folder; returns the exit status.

    Parameters
    ----------
    module
        The name of the module, as ``monai.bundle``.
    arguments
        Of the command line.
    folder
        The working directory.
    """
    process = multiprocessing.get_context("fork").Process(target=_run, args=(module, arguments, folder))
    process.start()
    process.join()
    return process.exitcode


def _run(module: str, arguments: Sequence[str], folder: Path) -> None:
    os.chdir(folder)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
