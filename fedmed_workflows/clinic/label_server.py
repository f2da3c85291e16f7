"""Starts MONAI Label with bundles: ``python -m fedmed_workflows label_server --studies FOLDER BUNDLE...``.

The command runs in an environment with MONAI Label, as ``make label`` sets one up. It sends no request to any other
machine.
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

from fedmed_networks.file_digests import check_digest

APP = "monaibundle"
"""The application of MONAI Label that serves bundles."""

TASKS = ("segmentation", "classification")
"""Tasks of bundles that MONAI Label serves; it looks for these words in the name of the folder."""

NEEDED = ("configs/inference.json", "configs/metadata.json", "models/model.pt")
"""Files that a bundle needs; MONAI Label leaves out a bundle without them, with a line in its log."""

ENVIRONMENT = {
    "MONAI_LABEL_DATASTORE_FILE_EXT": json.dumps(
        [
            *("*.nii.gz", "*.nii", "*.nrrd", "*.mha", "*.dcm", "*.zip"),
            *("*.png", "*.jpg", "*.jpeg", "*.bmp", "*.tif", "*.tiff"),
        ]
    ),
    "MONAI_LABEL_DICOMWEB_CACHE_EXPIRY": "10",
}
"""Settings of MONAI Label, unless the user's environment has others: endings of image files, and the seconds until it
queries a DICOMweb server again (two hours by default)."""


def link_bundles(app: Path, bundles: Sequence[Path]) -> list[str]:
    """Links bundles as the only models of an application.

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
        There is no bundle, two have the same name, or one cannot be served: files are missing or are not those of
        ``models/SHA256SUMS``, or its name contains no task. The message names the folder, and nothing is linked.
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
    check_digest(folder / "models" / "model.pt")
    if "," in folder.name or not any(task in folder.name.lower() for task in TASKS):
        raise ValueError(f"{folder}: expected a name without commas that holds {' or '.join(TASKS)}, for MONAI Label")


def server_command(app: Path, studies: str, names: Sequence[str], port: int) -> list[str]:
    """Returns the command that serves the models of an application to this machine only.

    Parameters
    ----------
    app
        The application's folder, with the models.
    studies
        Folder of the images, or the URL of a DICOMweb server.
    names
        Names of the models to serve.
    port
        Port on the loopback interface.
    """
    command = [sys.executable, "-m", "monailabel.main", "start_server", "--app", str(app), "--studies", studies]
    command += ["--host", "127.0.0.1", "--port", str(port), "--conf", "models", ",".join(names)]
    return [*command, "--conf", "zoo_source", "local", "--conf", "sam2", "false"]  # the defaults query other machines


def server_environment(environment: Mapping[str, str], app: Path) -> dict[str, str]:
    """Returns the environment of the server: converters of DICOM on its path, fetched images in the app's folder.

    Parameters
    ----------
    environment
        The environment of the user; its entries take precedence.
    app
        The application's folder. By default MONAI Label stores the images that it fetches in the user's home.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])
    return {**ENVIRONMENT, "MONAI_LABEL_DICOMWEB_CACHE_PATH": str(app / "fetched"), **environment, "PATH": path}


def _copy_app(folder: Path) -> Path:
    """Copies the application out of the installation of MONAI Label, if that was not done before."""
    app = folder / APP
    if not (app / "main.py").is_file():
        copy = [sys.executable, "-m", "monailabel.main", "apps", "--download", "--name", APP, "--output", str(folder)]
        subprocess.run(copy, check=True)
    return app


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", nargs="*", type=Path, help="folders of trained bundles")
    parser.add_argument("--studies", required=True, help="folder of the images, or the URL of a DICOMweb server")
    parser.add_argument("--app", type=Path, default=Path("runs/label"), help="where MONAI Label's application is kept")
    parser.add_argument("--port", type=int, default=8000, help="where to listen on 127.0.0.1")
    options = parser.parse_args()
    if "://" not in options.studies and not Path(options.studies).is_dir():
        parser.error(f"{options.studies}: no such folder, expected one with images")
    app = _copy_app(options.app.resolve())
    try:
        names = link_bundles(app, options.bundles)
    except ValueError as error:
        parser.error(str(error))
    command = server_command(app, options.studies, names, options.port)
    os.execvpe(command[0], command, server_environment(os.environ, app))
