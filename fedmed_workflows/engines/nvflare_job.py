"""A federation as a job of NVFlare: configuration and the initial tensors, no code."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nvflare.job_config.fed_app_config import ClientAppConfig, FedAppConfig, ServerAppConfig
from nvflare.job_config.fed_job_config import FedJobConfig
from safetensors.torch import save

from fedmed_workflows.bundle_files import bundle_files
from fedmed_workflows.bundle_network import BundleNetwork
from fedmed_workflows.engines.nvflare_controller import INITIAL, JOB, FederationController
from fedmed_workflows.engines.nvflare_executor import SiteExecutor
from fedmed_workflows.engines.nvflare_filters import check_filters, result_filters
from fedmed_workflows.engines.nvflare_tracking import receivers
from fedmed_workflows.plain_values import check_plain
from fedmed_workflows.run_folder import write_whole

if TYPE_CHECKING:
    from fedmed_workflows.federation import Federation

PACKAGES = ["fedmed_workflows", "fedmed_networks", "fedmed_transforms"]
"""Installed at the server and the sites; NVFlare would otherwise copy their code into the job."""

SERVER_PARAMETERS = {
    "server": {"task_request_interval": 0.5},
    "dead_client_grace_period": 10.0,
    "dead_client_check_lead_time": 10.0,
}
"""How often a site asks for a task, and how long after the server has given a site up the rounds go on without it:
seconds, beside NVFlare's 2, 60 and 30."""

SITE_PARAMETERS = {"get_task_timeout": 60.0}
"""Seconds after which a site asks again for a task when its link was cut while it asked, beside NVFlare's 300."""


def network_of(federation: Federation) -> BundleNetwork:
    """The network that the sites of a federation build, without their data."""
    settings = {**federation.settings, **federation.unseen_settings}
    return BundleNetwork(
        federation.bundle_root, settings, {"class_names": list(federation.sites.class_names)},
        federation.seed, federation.train_config, federation.exchange_dtype,
    )  # fmt: skip


def write_job(federation: Federation, network: BundleNetwork, name: str, job_dir: Path) -> Path:
    """Writes the job's folder, as ``nvflare job submit`` takes it; all of it or nothing.

    Parameters
    ----------
    federation
        Whose sites have names that NVFlare takes.
    network
        Of :func:`network_of`.
    name
        Of the job, and of the folder in which server and sites keep this run.
    job_dir
        The folder in which the job's folder is made.

    Returns
    -------
    Path
        ``job_dir/name``.

    Raises
    ------
    ValueError
        Each site is to be the unseen one in turn, an entry that all agree on is no plain value, a configuration lies
        outside the bundle, NVFlare takes no such name, or a package to track the rounds with is not installed here.
    """
    return write_parts(
        federation, network, name, job_dir, _server_app(federation), _site_app(federation),
        _server_part(federation, network, name), site_part(federation, name),
    )  # fmt: skip


def write_parts(
    federation: Federation,
    network: BundleNetwork,
    name: str,
    job_dir: Path,
    server_app: ServerAppConfig,
    site_app: ClientAppConfig,
    server_part: dict[str, Any],
    site_part: dict[str, Any],
) -> Path:
    """Writes a job of which NVFlare's own parts, and ours for server and sites, are given; as :func:`write_job`."""
    if federation.sites.in_turn:
        raise ValueError("unseen_site 'all': a job is one run, expected the name of one unseen site, or none")
    if federation.settings.get("target") == "unseen" and not federation.sites.unseen:
        raise ValueError("target 'unseen': expected an unseen site (--unseen_site), or another target")
    sites = [*federation.sites.folders, *([federation.sites.unseen[0]] if federation.sites.unseen else [])]
    check_site_names(sites)
    job = FedJobConfig(job_name(name), min_clients=min(federation.min_sites, len(sites)))
    job.set_app_packages(PACKAGES)
    with tempfile.TemporaryDirectory() as folder:
        server, site = (Path(folder) / part for part in ("server", "site"))
        write_whole(server / JOB, json.dumps(server_part, indent=2))
        write_whole(server / INITIAL, save(network.initial_weights()))
        write_whole(site / JOB, json.dumps(site_part, indent=2))
        server_app.add_file_source(str(server), app_folder_type="config")
        site_app.add_file_source(str(site), app_folder_type="config")
        job.add_fed_app("server", FedAppConfig(server_app=server_app))
        job.add_fed_app("site", FedAppConfig(client_app=site_app))
        job.set_site_app("server", "server")
        for name_of_site in sites:
            job.set_site_app(name_of_site, "site")
        job.generate_job_config(str(job_dir))
    return job_dir / job.job_name


def check_site_names(sites: Iterable[str]) -> None:
    """Refuses names that NVFlare takes for no process, or for several.

    Raises
    ------
    ValueError
        The message names the site.
    """
    for site in sites:
        if not re.fullmatch("[A-Za-z0-9_.-]+", site):
            raise ValueError(f"site {site!r}: NVFlare takes letters A to Z, digits, '_', '-' and '.' in its name")


def job_name(name: str) -> str:
    """A name as NVFlare takes it for a job."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name).lstrip("_") or "run"


def _server_app(federation: Federation) -> ServerAppConfig:
    app = ServerAppConfig()
    app.add_workflow("federation", FederationController())
    experiment = Path(federation.bundle_root).resolve().name
    for name, receiver in receivers(federation.track_with, experiment).items():
        app.add_component(name, receiver)
    app.add_params(SERVER_PARAMETERS)
    return app


def _site_app(federation: Federation) -> ClientAppConfig:
    app = ClientAppConfig()
    app.add_executor(["*"], SiteExecutor())
    app.add_params(SITE_PARAMETERS)
    if federation.filters is not None:
        check_filters(federation.filters)
        app.add_params(result_filters(federation.filters))
    return app


def _server_part(federation: Federation, network: BundleNetwork, name: str) -> dict[str, Any]:
    aggregation = federation.aggregation
    return {
        "folder": name,
        "identity": federation.identity(),
        "sites": sorted(federation.sites.folders),
        "unseen": federation.sites.unseen[0] if federation.sites.unseen else None,
        "rounds": federation.rounds,
        "min_sites": federation.min_sites,
        "round_seconds": federation.round_seconds,
        "privacy": _privacy(federation),
        "filtered": federation.filters is not None,
        "manifest": network.manifest.to_json(),
        "aggregation": {
            "name": f"{type(aggregation).__module__}.{type(aggregation).__qualname__}",
            "arguments": vars(aggregation),
        },
    }


def site_part(federation: Federation, name: str) -> dict[str, Any]:
    """What a job says to its sites: which bundle, its files' digests, and the values that all agree on.

    Raises
    ------
    ValueError
        As :func:`write_job`.
    """
    check_plain(federation.agreed, "agreed")
    root = Path(federation.bundle_root).resolve()
    for file in federation.train_config:
        if not (root / file).is_file() or root not in (root / file).resolve().parents:
            raise ValueError(f"train_config {file}: expected a file of the bundle {root}, as every site has it")
    return {
        "folder": name,
        "bundle": root.name,
        "files": bundle_files(root),
        "agreed": federation.agreed,
        "privacy": _privacy(federation),
        "filtered": federation.filters is not None,
        "unseen": federation.sites.unseen[0] if federation.sites.unseen else None,
    }


def _privacy(federation: Federation) -> dict[str, float] | None:
    return asdict(federation.privacy) if federation.privacy is not None else None
