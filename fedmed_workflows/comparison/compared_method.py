"""A method of a comparison: its configuration files as a federation, and whether it could run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from fedmed_workflows.errors import refusal
from fedmed_workflows.exchange.local_normalization import keep_normalizations_local
from fedmed_workflows.federation.bundle.config import component, existing_files
from fedmed_workflows.federation.bundle.overlays import merged
from fedmed_workflows.federation.federation import Federation
from fedmed_workflows.federation.preparation.target import UNSEEN

FEDERATION, KEEP_NETWORK = "federation", "federation#keep_network"
"""Entries of a method's configuration: what runs it, and whether a run leaves its whole network."""

HANDLERS = "train#handlers"
"""Of its training configuration."""


def method_parser(name: str, files: Sequence[str], overlays: Sequence[str], bundle_root: str) -> ConfigParser:
    """The merged configuration of a method.

    Parameters
    ----------
    name
        Of the method, for the error.
    files
        The configuration of a federation, ``configs/federated.json`` in `bundle_root` or by the path of another
        bundle's, whose bundle the method is of; then its overlays, by their names in that bundle or by a path.
    overlays
        What all methods have in common, after the first of the files, by its names in the method's bundle or by a path.
    bundle_root
        The bundle's folder of the comparison.

    Raises
    ------
    ValueError
        A file does not exist or is no configuration of a federation; the message names the method and the file.
    """
    try:
        first = existing_files(bundle_root, files[:1])
        root = str(Path(first[0]).parent.parent)
        found = [*first, *existing_files(root, [*overlays, *files[1:]])]
        parser = ConfigParser(merged(found))
    except (KeyError, OSError, ValueError) as error:  # MONAI's merge knows an entry that is not there by KeyError
        raise ValueError(f"method {name!r}: {', '.join([*overlays, *files])}: {error}") from error
    missing = [entry for entry in ("bundle_root", FEDERATION) if entry not in parser]
    if missing:
        raise ValueError(f"method {name!r}: {', '.join(found)}: no entry {missing}, expected those of a federation")
    parser["bundle_root"] = root
    parser[KEEP_NETWORK] = False
    return parser


def method_federation(name: str, parser: ConfigParser, entries: Mapping[str, Any]) -> Federation:
    """The federation of a method's configuration with some entries replaced, by id.

    Raises
    ------
    ValueError
        The configuration has no such entry, or is refused by the federation; the message names the method.
    """
    for id_, value in entries.items():
        if id_ not in parser:
            raise ValueError(f"method {name!r}: its configuration has no entry {id_!r}, only {sorted(parser.get())}")
        parser[id_] = value
    parser.parse(True)
    try:
        federation = parser.get_parsed_content(FEDERATION)
    except Exception as error:  # MONAI wraps what a component refuses in its own error
        raise ValueError(f"method {name!r}: {refusal(error)}") from error
    if not isinstance(federation, Federation):
        raise ValueError(f"method {name!r}: its entry {FEDERATION!r} is a {type(federation).__name__}, no federation")
    return federation


def check_method(name: str, federation: Federation) -> None:
    """Refuses a method that can't be built at its first site, before anything is trained.

    Raises
    ------
    ValueError
        Settings that the training configuration has not, a target that there is not, a network, a loss, an optimiser or
        a handler that refuses its settings, or an aggregation that does not suit it; the message names the method.
    """
    if federation.settings.get("target") == UNSEEN and not (federation.sites.unseen or federation.sites.in_turn):
        raise ValueError(f"method {name!r}: target {UNSEEN!r}: expected an unseen site, or another target")
    site, folder = next(iter(federation.sites.folders.items()))
    try:
        algo = federation.site(site, folder, {}, False)
        network = algo.setting("network")
        for entry in _built(algo.workflow.parser):
            algo.setting(entry)
        if federation.aggregation.local_normalization:
            keep_normalizations_local(network)
    except Exception as error:  # MONAI wraps what a component refuses in its own error
        raise ValueError(f"method {name!r}: {refusal(error)}") from error


def _built(parser: ConfigParser) -> list[str]:
    """Entries besides the network that a method's settings go into: loss, optimiser, handlers of the network."""
    handlers = [component(handler, parser) for handler in parser.get(HANDLERS, [])]
    own = [f"{HANDLERS}#{place}" for place, handler in enumerate(handlers) if handler.get("network") == "@network"]
    return [*(entry for entry in ("loss", "optimizer") if entry in parser), *own]
