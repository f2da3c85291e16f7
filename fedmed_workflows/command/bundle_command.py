"""The commands of ``fedmed`` that run a configuration of a bundle, as ``python -m monai.bundle run`` does."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fire.parser import DefaultParseValue

from fedmed_workflows.command.settings_help import settings_help
from fedmed_workflows.configuration_file import read_configuration

BUNDLES = Path("bundles")
"""Folder of the bundles: in the working directory, and beside the packages."""

HELP = ("--help", "-h")


@dataclass(frozen=True)
class BundleCommand:
    """A command that runs a configuration of a bundle.

    Attributes
    ----------
    configuration
        The configuration, by its name in the bundle's folder ``configs``.
    purpose
        Purpose of the command, for its help.
    settings
        Settings that arguments after the bundle give, in order; further arguments are overlays.
    run_id
        The entry of the configuration that is run.
    """

    configuration: str
    purpose: str
    settings: tuple[str, ...] = ()
    run_id: str = "run"


BUNDLE_COMMANDS = {
    "run": BundleCommand("federated.json", "trains a bundle across sites"),
    "compare": BundleCommand("compare.json", "trains every method and compares them", run_id="compare"),
    "predict": BundleCommand("inference.json", "applies a trained bundle to a study or a folder", ("dataset_dir",)),
}


def run_bundle_command(name: str, arguments: Sequence[str]) -> None:
    """Runs a command: ``BUNDLE [STUDY] [OVERLAY ...] [--SETTING VALUE ...]``.

    Raises
    ------
    ValueError
        There is no bundle of this name, or an argument is missing.
    """
    import monai.bundle

    kind = BUNDLE_COMMANDS[name]
    places, options = split_arguments(arguments)
    usage = " ".join(["fedmed", name, "BUNDLE", *(setting.upper() for setting in kind.settings)])
    if not places and not set(HELP) & set(arguments):
        raise ValueError(f"{usage}: found no bundle, expected one of {known_bundles()} or the folder of one")
    if set(HELP) & set(arguments):
        root = find_bundle(places[0]) if places else None
        print(settings_help(f"{usage} [OVERLAY ...] [--SETTING VALUE ...]", kind.purpose, root, kind.configuration))
        return
    root, given = find_bundle(places[0]), places[1 : 1 + len(kind.settings)]
    if len(given) < len(kind.settings):
        raise ValueError(f"{usage}: found no {kind.settings[len(given)].upper()}")
    overlays = [overlay_file(root, overlay) for overlay in places[1 + len(given) :]]
    files = [str(root / "configs" / kind.configuration), *overlays]
    for file in files:
        read_configuration(file)  # MONAI's own errors do not name it
    settings = {"run_id": kind.run_id, "bundle_root": str(root), **dict(zip(kind.settings, given, strict=True))}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="parsing config_file")  # the user has named the bundle
        monai.bundle.run(config_file=files, **{**settings, **options})


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Splits arguments into places and settings; values are read as MONAI's command reads them.

    Examples
    --------
    >>> split_arguments(["bundle", "--rounds", "3", "--facmic#weights=none", "--reduced"])
    (['bundle'], {'rounds': 3, 'facmic#weights': 'none', 'reduced': True})
    """
    places: list[str] = []
    options: dict[str, Any] = {}
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("--"):
            places.append(argument)
            continue
        name, equals, text = argument[2:].partition("=")
        if not equals and rest and not rest[0].startswith("--"):
            equals, text = "=", rest.pop(0)
        value = DefaultParseValue(text) if equals else True
        options[name] = "none" if value is None else value  # MONAI leaves None out
    return places, options


def find_bundle(name: str) -> Path:
    """Finds the folder of a bundle by its path, or by its name among the bundles.

    Raises
    ------
    ValueError
        There is none; the message lists the bundles.
    """
    for root in (Path(name), BUNDLES / name, _beside_packages() / name):
        if (root / "configs").is_dir():
            return root
    raise ValueError(f"{name}: found no bundle, expected one of {known_bundles()} or the folder of one")


def known_bundles() -> list[str]:
    """Lists the names of the bundles in the working directory and beside the packages."""
    folders = (BUNDLES, _beside_packages())
    return sorted({path.parent.name for folder in folders for path in folder.glob("*/configs")})


def overlay_file(root: Path, name: str) -> str:
    """Finds an overlay by its path, or by its name in a bundle, as ``methods/fedprox``.

    Raises
    ------
    ValueError
        There is none; the message lists the overlays of the bundle.
    """
    configs = root / "configs"
    for file in (Path(name), configs / name, configs / f"{name}.json"):
        if file.is_file():
            return str(file)
    found = sorted(file.relative_to(configs).with_suffix("").as_posix() for file in configs.glob("*/*.json"))
    raise ValueError(f"{name}: found no overlay, expected the path of one or one of {found}")


def _beside_packages() -> Path:
    return Path(__file__).parents[2] / BUNDLES
