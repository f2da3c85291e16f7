"""Starts MONAI Label on bundles: ``python -m fedmed_workflows label_server --studies FOLDER BUNDLE...``.

It runs in an environment that holds MONAI Label, as ``make label`` sets one up, and asks nothing of any other machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

APP = "monaibundle"
"""The application of MONAI Label that serves bundles."""

TASKS = ("segmentation", "classification")
"""What MONAI Label takes a bundle for; it looks for the word in the folder's name."""

NEEDED = ("configs/inference.json", "configs/metadata.json", "models/model.pt")
"""Files of a bundle without which MONAI Label leaves it out, with a line in its log."""

ENVIRONMENT = {
    "MONAI_LABEL_DATASTORE_FILE_EXT": json.dumps(
        ["*.nii.gz", "*.nii", "*.dcm", "*.zip", "*.png", "*.jpg", "*.jpeg", "*.bmp"]
    ),
    "MONAI_LABEL_DICOMWEB_CACHE_EXPIRY": "10",
}
"""Settings of MONAI Label, unless the user's environment has others: files that are images, seconds (it would wait two
hours) after which it asks a DICOMweb server for its series again."""


def link_bundles(app: Path, bundles: Sequence[Path]) -> list[str]:
    """Makes bundles the models of an application, and the only ones.

    Parameters
    ----------
    app
        The application's folder; it gets a link ``model/NAME`` to each bundle.
    bundles
        Folders of bundles, of different names.

    Returns
    -------
    list
        The bundles' names, under which they are served.

    Raises
    ------
    ValueError
        There is no bundle, two have one name, or one can not be served: files are missing, or its name tells no task;
        the message names the folder. Then nothing is linked.
    """
    folders = [Path(bundle).resolve() for bundle in bundles]
    if not folders:
        raise ValueError("found no bundle to serve, expected folders with models/model.pt: train one first, or name it")
    for folder in folders:
        _check(folder)
    twice = [name for name, count in Counter(folder.name for folder in folders).items() if count > 1]
    if twice:
        raise ValueError(f"{[str(folder) for folder in folders if folder.name in twice]}: expected different names")
    models = app / "model"
    models.mkdir(parents=True, exist_ok=True)
    for link in models.iterdir():
        if link.is_symlink():
            link.unlink()
    for folder in folders:
        (models / folder.name).symlink_to(folder)
    return [folder.name for folder in folders]


def _check(folder: Path) -> None:
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"{folder}: found no {', no '.join(missing)}, expected a bundle with a trained network")
    if "," in folder.name or not any(task in folder.name.lower() for task in TASKS):
        raise ValueError(f"{folder}: expected a name without commas that holds {' or '.join(TASKS)}, for MONAI Label")


def server_command(app: Path, studies: str, names: Sequence[str], port: int) -> list[str]:
    """The command that serves an application's models to this machine alone.

    Parameters
    ----------
    app
        The application's folder, with the models.
    studies
        Folder of the images, or the URL of a DICOMweb server.
    names
        Models to serve.
    port
        Where to listen, on the loopback interface.
    """
    command = [sys.executable, "-m", "monailabel.main", "start_server", "--app", str(app), "--studies", studies]
    command += ["--host", "127.0.0.1", "--port", str(port), "--conf", "models", ",".join(names)]
    return [*command, "--conf", "zoo_source", "local", "--conf", "sam2", "false"]  # else both are asked for online


def server_environment(environment: Mapping[str, str], app: Path) -> dict[str, str]:
    """The server's environment: converters of DICOM on its path, images of a DICOMweb server kept in its folder.

    Parameters
    ----------
    environment
        The user's, which prevails.
    app
        The application's folder; MONAI Label would keep the images that it fetches in the user's home.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])
    return {**ENVIRONMENT, "MONAI_LABEL_DICOMWEB_CACHE_PATH": str(app / "fetched"), **environment, "PATH": path}


def _copy_app(folder: Path) -> Path:
    """MONAI Label's application, copied out of its installation once."""
    app = folder / APP
    if not (app / "main.py").is_file():
        copy = [sys.executable, "-m", "monailabel.main", "apps", "--download", "--name", APP, "--output", str(folder)]
        subprocess.run(copy, check=True)
    return app


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m fedmed_workflows label_server", description=__doc__)
    parser.add_argument("bundles", nargs="*", type=Path, help="folders of trained bundles")
    parser.add_argument("--studies", required=True, help="folder of the images, or the URL of a DICOMweb server")
    parser.add_argument("--app", type=Path, default=Path("runs/label"), help="where MONAI Label's application is kept")
    parser.add_argument("--port", type=int, default=8000, help="where to listen on 127.0.0.1")
    asked = parser.parse_args()
    if "://" not in asked.studies and not Path(asked.studies).is_dir():
        parser.error(f"{asked.studies}: no such folder, expected one with images")
    app = _copy_app(asked.app.resolve())
    try:
        names = link_bundles(app, asked.bundles)
    except ValueError as error:
        parser.error(str(error))
    command = server_command(app, asked.studies, names, asked.port)
    os.execvpe(command[0], command, server_environment(os.environ, app))
