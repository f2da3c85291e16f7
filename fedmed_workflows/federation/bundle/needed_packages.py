"""Finds the packages that a bundle's configurations name, and lists their versions in its metadata."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, distributions, packages_distributions, requires, version
from typing import Any

CORE = {"monai_version": "monai", "pytorch_version": "torch", "numpy_version": "numpy"}
"""Entries of a bundle's metadata that have the version of one package."""

REQUIRED = "required_packages_version"
"""Entry of a bundle's metadata: versions of further packages by their names."""

NO_VERSION = "0.0"
"""Version of a module that belongs to no installed package. MONAI's schema of the metadata asks for numbers."""

BASE = ("fedmed", "pytorch-ignite", *CORE.values())
"""Packages that every bundle runs on; FedMed's installation brings them."""


def needed_packages(configurations: Iterable[Any]) -> dict[str, str]:
    """Lists the packages besides FedMed's own that the components (``_target_``) of configurations belong to.

    Returns
    -------
    dict
        The installed version by the package's name. A module that belongs to no installed package is listed by its
        own name, with :data:`NO_VERSION`.
    """
    targets = {target for configuration in configurations for target in targets_of(configuration)}
    modules = {target.partition(".")[0] for target in targets if "." in target} - {*sys.stdlib_module_names}
    packages = packages_distributions()
    names = {name for module in modules for name in packages.get(module) or _packages_with(module)}
    known = _with_fedmed()
    return {name: installed_version(name) for name in sorted(names) if _normal(name) not in known}


def targets_of(content: Any) -> Iterator[str]:
    """Yields the paths of the classes and functions that a configuration names."""
    if isinstance(content, Mapping):
        yield from (str(value) for key, value in content.items() if str(key).rpartition("#")[2] == "_target_")
        content = list(content.values())
    if isinstance(content, list):
        for inner in content:
            yield from targets_of(inner)


def package_notes(packages: Mapping[str, str]) -> list[str]:
    """States for a run's report that the trained bundle needs each of the packages."""
    return [_note(name, number) for name, number in packages.items()]


def with_versions(metadata: Mapping[str, Any], packages: Mapping[str, str]) -> dict[str, Any]:
    """Copies a bundle's metadata, with the versions that are installed here and with further packages.

    A package that is not installed here keeps the version that the metadata has.
    """
    listed = metadata.get(REQUIRED, {})
    core = {entry: installed_version(name, metadata.get(entry, NO_VERSION)) for entry, name in CORE.items()}
    known = {_normal(name) for name in listed}
    more = {name: number for name, number in packages.items() if _normal(name) not in known}
    required = {**{name: installed_version(name, number) for name, number in listed.items()}, **more}
    return {**metadata, **core, REQUIRED: required}


def installed_version(package: str, otherwise: str = NO_VERSION) -> str:
    """Reads the version of an installed package, without the label of a local build (``+cu128``)."""
    try:
        return version(package).partition("+")[0]
    except PackageNotFoundError:
        return otherwise


def _packages_with(module: str) -> list[str]:
    """Lists the installed packages that have files of a module; the module itself where none has.

    In Python 3.10, ``packages_distributions`` misses packages without ``top_level.txt``.
    """
    folder = f"{module}/"
    having = [part for part in distributions() if any(str(file).startswith(folder) for file in part.files or ())]
    return [part.metadata["Name"] for part in having] or [module]


def _note(name: str, number: str) -> str:
    if number != NO_VERSION:
        return f"The trained bundle needs the package {name} {number}: install it wherever the bundle is used."
    found = f"The trained bundle needs the module {name}, which belongs to no installed package"
    return f"{found}: put it on PYTHONPATH wherever the bundle is used, or make it a package with a version."


def _with_fedmed() -> set[str]:
    """Names of the packages that the installation of FedMed brings."""
    lines = [line for line in requires("fedmed") or [] if "extra ==" not in line]
    return {_normal(name) for name in (*BASE, *(re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in lines))}


def _normal(name: str) -> str:
    """A package's name as pip compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()
