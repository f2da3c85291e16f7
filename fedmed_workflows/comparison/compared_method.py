"""A method of a comparison: its federation from configuration files, and the checks before training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from fedmed_workflows.errors import refusal
from fedmed_workflows.exchange.local_normalization import keep_normalizations_local
from fedmed_workflows.federation.bundle.config import component, existing_files
from fedmed_workflows.federation.bundle.overlays import merged
from fedmed_workflows.federation.bundle.settings.unused_entries import check_entries, entries_of
from fedmed_workflows.federation.federation import Federation
from fedmed_workflows.federation.preparation.target import UNSEEN

FEDERATION, KEEP_NETWORK = "federation", "federation#keep_network"
"""Entries of a method's configuration: the federation, and whether a run keeps its whole network."""

HANDLERS = "train#handlers"
"""Entry of the training configuration: the handlers of the trainer."""


def method_parser(name: str, files: Sequence[str], overlays: Sequence[str], bundle_root: str) -> ConfigParser:
    """Merges the configuration files of a method.

    Parameters
    ----------
    name
        Name of the method, for the error message.
    files
        First the configuration of a federation: ``configs/federated.json`` in `bundle_root`, or the path of another
        bundle's. The method belongs to this bundle. Then overlays, by their names in this bundle or by a path.
    overlays
        Overlays that all methods have in common, after the first file, by their names in the method's bundle or by a
        path.
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
    except (KeyError, OSError, ValueError) as error:  # MONAI's merge raises KeyError for an entry that does not exist
        raise ValueError(f"method {name!r}: {', '.join([*overlays, *files])}: {error}") from error
    missing = [entry for entry in ("bundle_root", FEDERATION) if entry not in parser]
    if missing:
        raise ValueError(f"method {name!r}: {', '.join(found)}: no entry {missing}, expected those of a federation")
    parser["bundle_root"] = root
    parser[KEEP_NETWORK] = False
    return parser


def method_federation(name: str, parser: ConfigParser, entries: Mapping[str, Any]) -> Federation:
    """Builds the federation of a method's configuration, with some entries replaced by id.

    Raises
    ------
    ValueError
        The configuration has no such entry, or the federation refuses it; the message names the method.
    """
    for id_, value in entries.items():
        if id_ not in parser:
            raise ValueError(f"method {name!r}: its configuration has no entry {id_!r}, only {sorted(parser.get())}")
        parser[id_] = value
    parser.parse(True)
    try:
        check_entries(parser, entries_of(Path(parser["bundle_root"]) / "configs" / "federated.json"))
        federation = parser.get_parsed_content(FEDERATION)
    except Exception as error:  # MONAI wraps the error of a component in its own
        raise ValueError(f"method {name!r}: {refusal(error)}") from error
    if not isinstance(federation, Federation):
        raise ValueError(f"method {name!r}: its entry {FEDERATION!r} is a {type(federation).__name__}, no federation")
    return federation


def check_method(name: str, federation: Federation) -> None:
    """Refuses a method that cannot be built at its first site, before any training.

    Raises
    ------
    ValueError
        The training configuration has no such setting, the target does not exist, the aggregation does not fit, or the
        network, the loss, the optimiser or a handler refuses its settings; the message names the method.
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
    except Exception as error:  # MONAI wraps the error of a component in its own
        raise ValueError(f"method {name!r}: {refusal(error)}") from error


def _built(parser: ConfigParser) -> list[str]:
    """Lists the entries besides the network that use a method's settings: loss, optimiser, handlers of the network."""
    handlers = [component(handler, parser) for handler in parser.get(HANDLERS, [])]
    own = [f"{HANDLERS}#{place}" for place, handler in enumerate(handlers) if handler.get("network") == "@network"]
    return [*(entry for entry in ("loss", "optimizer") if entry in parser), *own]
