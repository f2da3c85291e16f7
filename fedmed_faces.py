"""Builds the faces of the packages: public names that load at their first use, refusals of other names, and commands.

The face of a package is its list of public names. Configurations, policies and documents name a class only by a face
(``fedmed_workflows.StoredResults``): the files below a face may move, its names stay.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from pkgutil import resolve_name
from typing import Any, NoReturn

import lazy_loader


class UnknownNameError(ImportError):
    """A package does not export a name; the message lists the public names, or has the name's new path."""


def attach_face(
    package: str, file: str, moved: Collection[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Builds the ``__getattr__``, ``__dir__`` and ``__all__`` of a package from the stub (``.pyi``) beside its file.

    Parameters
    ----------
    package, file
        The package's ``__name__`` and ``__file__``.
    moved
        Names of old modules by whose paths configurations named classes before the faces.
    """
    load, names_of, names = lazy_loader.attach_stub(package, file)

    def load_name(name: str) -> Any:
        if name in names:
            return load(name)
        if name in moved:
            return _MovedModule(package, f"{package}.{name}", names)
        if name.startswith("_") or find_spec(f"{package}.{name}") is not None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        refuse(package, name, names)

    return load_name, names_of, names


def moved_names(subpackage: str, moved: Collection[str] = ()) -> Callable[[str], Any]:
    """Builds the ``__getattr__`` of a subpackage that has the name of an old module, or held the modules `moved`."""
    package = subpackage.partition(".")[0]

    def refuse_name(name: str) -> Any:
        names = import_module(package).__all__
        if name in moved:
            return _MovedModule(package, f"{subpackage}.{name}", names)
        if name in names:
            raise UnknownNameError(_moved_text(package, subpackage, name))
        raise AttributeError(f"module {subpackage!r} has no attribute {name!r}")

    return refuse_name


def refuse(package: str, name: str, names: Collection[str]) -> NoReturn:
    """Refuses a name that a package does not export.

    Raises
    ------
    UnknownNameError
        Always; the message has similar public names, and the list of all public names.
    """
    near = get_close_matches(name, names, 3, 0.6)
    meant = f"; did you mean {' or '.join(f'{package}.{found}' for found in near)}?" if near else ""
    raise UnknownNameError(f"{package} has no public name {name!r}{meant}; it has {', '.join(sorted(names))}")


class _MovedModule:
    """Replaces an old module: refuses every name below it with an error message that has the new name."""

    def __init__(self, package: str, path: str, names: Collection[str]) -> None:
        self._package, self._path, self._names = package, path, names

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in self._names:
            raise UnknownNameError(_moved_text(self._package, self._path, name))
        if name.islower():
            return _MovedModule(self._package, f"{self._path}.{name}", self._names)
        refuse(self._package, name, self._names)


def _moved_text(package: str, path: str, name: str) -> str:
    return f"{path}.{name} is an inner path that is gone, expected the public name {package}.{name}"


def run_command(package: str, commands: Mapping[str, str]) -> int | None:
    """Runs the function of ``python -m PACKAGE COMMAND ...`` with the arguments after the command's name.

    Parameters
    ----------
    package
        Name of the package.
    commands
        ``module:function`` by the name of the command. The function reads ``sys.argv``.

    Returns
    -------
    int or None
        The exit status.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {package}", add_help=len(sys.argv) < 3)
    parser.add_argument("command", choices=sorted(commands))
    name = parser.parse_args(sys.argv[1:2]).command
    sys.argv = [f"python -m {package} {name}", *sys.argv[2:]]
    status: int | None = resolve_name(commands[name])()
    return status
