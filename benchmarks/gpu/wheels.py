"""Collects what a bare machine lacks for the project and its tests, as wheels, and an archive of the source.

    python -m benchmarks.gpu.wheels FOLDER

The list is computed: all that setup.cfg names, and all that those packages need, in the versions of this environment,
without what ``bare_machine.txt`` says that the machine has in a version that fits.
"""

from __future__ import annotations

import argparse
import configparser
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from benchmarks.gpu.results import ROOT, commit

LARGEST_MB = 55.0
"""Of all files together."""

PYTHON = "3.12"
MACHINE = {
    "python_version": PYTHON, "python_full_version": "3.12.3", "implementation_name": "cpython", "os_name": "posix",
    "platform_python_implementation": "CPython", "platform_machine": "x86_64", "platform_system": "Linux",
    "sys_platform": "linux",
}  # fmt: skip
"""Where the wheels are to run, as the markers of requirements name it."""

PLATFORMS = (*(f"manylinux_2_{minor}_x86_64" for minor in range(39, 4, -1)), "manylinux2014_x86_64",
             "manylinux2010_x86_64", "manylinux1_x86_64")  # fmt: skip
"""Names of wheels that run there; pip takes each name as it is."""

CHECKS = ("flake8", "isort", "mypy")
"""Packages of the extra ``test`` that read the source only."""

SERVERS = ("nvflare", "mlflow-skinny", "sqlalchemy", "alembic")
"""Packages of the extra ``test`` for tests that start servers; a GPU changes nothing in them."""

LARGE = ("simpleitk",)
"""Packages that are too large to travel; the parts leave out the files that only they read, and say so."""


def requirements(setup: Path) -> list[Requirement]:
    """Reads what the project and its tests need, from a setup.cfg."""
    config = configparser.ConfigParser()
    config.read(setup)
    texts = [config["options"]["install_requires"], config["options.extras_require"]["test"]]
    lines = [line.strip() for text in texts for line in text.splitlines()]
    needed = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return [item for item in needed if canonicalize_name(item.name) not in (*CHECKS, *SERVERS, *LARGE)]


def present(file: Path) -> dict[str, str]:
    """Reads the packages of the machine: versions by name, empty where the version is not known."""
    lines = [line.partition("#")[0].strip() for line in file.read_text().splitlines()]
    pairs = [line.partition("==") for line in lines if line]
    return {str(canonicalize_name(name)): version for name, _, version in pairs}


def carried(needed: Iterable[Requirement], there: dict[str, str]) -> dict[str, str]:
    """Computes the packages to carry.

    Parameters
    ----------
    needed
        What is needed directly.
    there
        The machine's packages, as :func:`present` reads them.

    Returns
    -------
    dict
        Versions by name.

    Raises
    ------
    ValueError
        A package is not installed here, so that its version is not known.
    """
    found: dict[str, str] = {}
    waiting, seen = list(needed), set()
    while waiting:
        item = waiting.pop()
        name, key = str(canonicalize_name(item.name)), (item.name, frozenset(item.extras))
        if _has(there, name, item) or key in seen:
            continue
        seen.add(key)
        try:
            installed = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            raise ValueError(f"{item}: not installed here, expected an environment of .[test]") from None
        found[name] = installed.version
        waiting += [inner for inner in map(Requirement, installed.requires or []) if _applies(inner, item.extras)]
    return dict(sorted(found.items()))


def _has(there: dict[str, str], name: str, item: Requirement) -> bool:
    """Tells whether the machine has a package, in a version that fits if its version is known."""
    return name in there and (not there[name] or item.specifier.contains(there[name], prereleases=True))


def _applies(inner: Requirement, extras: set[str]) -> bool:
    marker = inner.marker
    return marker is None or any(marker.evaluate({**MACHINE, "extra": extra}) for extra in ("", *extras))


def download(packages: dict[str, str], folder: Path) -> None:
    """Downloads the wheels of packages for the machine."""
    wanted = [f"{name}=={version}" for name, version in packages.items()]
    platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--python-version", PYTHON, "--implementation", "cp"]
    command = [sys.executable, "-m", "pip", "download", *options, *platforms, "--dest", str(folder), *wanted]
    subprocess.run(command, check=True)


def build(folder: Path) -> None:
    """Builds the project's own wheel: a trained bundle records what an installed ``fedmed`` says of itself."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True)


def archive(folder: Path) -> None:
    """Writes the committed source, and the commit's name."""
    (folder / "commit").write_text(f"{commit()}\n")
    command = ["git", "-C", str(ROOT), "archive", "--format=tar.gz", f"--output={folder / 'source.tar.gz'}", "HEAD"]
    subprocess.run(command, check=True)


def check_size(folder: Path, largest: float = LARGEST_MB) -> float:
    """Returns the MB of a folder's files.

    Raises
    ------
    ValueError
        They are more than may travel; the message names the largest files.
    """
    sizes = {file.name: file.stat().st_size / 1e6 for file in folder.iterdir()}
    total = sum(sizes.values())
    if total >= largest:
        first = sorted(sizes, key=lambda name: -sizes[name])[:3]
        listed = ", ".join(f"{name} ({sizes[name]:.1f} MB)" for name in first)
        raise ValueError(f"{folder}: found {total:.1f} MB, expected less than {largest:.0f} MB; the largest: {listed}")
    return total


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="emptied of wheels first")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for old in [*folder.glob("*.whl"), *folder.glob("*.tar.gz")]:
        old.unlink()
    packages = carried(requirements(ROOT / "setup.cfg"), present(Path(__file__).with_name("bare_machine.txt")))
    download(packages, folder)
    build(folder)
    archive(folder)
    print(f"{folder}: {len(packages) + 1} wheels and the source, {check_size(folder):.1f} MB")


if __name__ == "__main__":
    main()
