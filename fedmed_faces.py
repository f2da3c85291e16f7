"""Builds the faces of the packages: public names that load at their first use, refusals of other names, and commands.

The face of a package is its list of public names. Configurations, policies and documents name a class only by a face
(``fedmed_workflows.StoredResults``): the files below a face may move, its names stay.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pkgutil import resolve_name
from typing import Any

import lazy_loader


class UnknownNameError(ImportError):
    """A package does not export a name; the message lists the public names, or has the name's new path."""


def attach_face(
    package: str, file: str, moved: Mapping[str, str] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Builds the ``__getattr__``, ``__dir__`` and ``__all__`` of a package from the stub (``.pyi``) beside its file.

    Parameters
    ----------
    package, file
        The package's ``__name__`` and ``__file__``.
    moved
        Old modules by whose paths configurations named classes before the faces: their public names today, with blanks
        between them.
    """
    load, names_of, names = lazy_loader.attach_stub(package, file)
    _REFUSALS.add_face(package, names, moved or {})

    def load_name(name: str) -> Any:
        if name in names:
            return load(name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}{_similar(package, name)}")

    return load_name, names_of, names


class _Refusals(MetaPathFinder):
    """Refuses the import of names that are not there, with an error message that has the right public names.

    Python asks this finder last. :func:`pydoc.locate`, with which MONAI finds a ``_target_``, imports every longer part
    of a path, so a path that goes below a face to one of its public names is refused here, too.
    """

    def __init__(self) -> None:
        self.names: dict[str, list[str]] = {}
        self.moved: dict[str, str] = {}

    def add_face(self, package: str, names: list[str], moved: Mapping[str, str]) -> None:
        """Adds the public names of a package, and the modules that it had before."""
        self.names[package] = names
        self.moved |= {f"{package}.{module}": public for module, public in moved.items()}

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Finds nothing but the folders of old modules, so that the import reaches the modules."""
        parent, _, name = fullname.rpartition(".")
        package = fullname.partition(".")[0]
        if package not in self.names or not parent or name.startswith("_"):
            return None
        if fullname in self.moved:
            raise UnknownNameError(_moved_text(fullname, package, self.moved[fullname].split()))
        if any(module.startswith(f"{fullname}.") for module in self.moved):
            return ModuleSpec(fullname, None, is_package=True)
        if parent in self.names:
            self._check_public(parent, name)
        elif name in self.names[package]:
            raise UnknownNameError(_moved_text(fullname, package, [name]))
        return None

    def _check_public(self, face: str, name: str) -> None:
        names = self.names[face]
        if name not in names:
            known = ", ".join(sorted(names))
            raise UnknownNameError(f"{face} has no public name {name!r}{_similar(face, name)}; it has {known}")


_REFUSALS = _Refusals()
sys.meta_path.append(_REFUSALS)


def _moved_text(path: str, package: str, names: list[str]) -> str:
    expected = " or ".join(f"{package}.{name}" for name in names)
    return f"{path} is an inner path, expected the public name {expected}"


def _similar(face: str, name: str) -> str:
    """Names the same public name of another face, or the similar ones of this face."""
    faces = _REFUSALS.names
    same = [f"{other}.{name}" for other in faces if name in faces[other]]
    near = same or [f"{face}.{found}" for found in get_close_matches(name, faces[face], 3, 0.6)]
    return f"; did you mean {' or '.join(near)}?" if near else ""


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
