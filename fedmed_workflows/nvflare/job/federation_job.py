"""Writes a federation as a job of NVFlare: configuration and initial tensors, no code."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nvflare.job_config.fed_app_config import ClientAppConfig, ServerAppConfig
from safetensors.torch import save

from fedmed_workflows.federation.bundle.files import bundle_files
from fedmed_workflows.federation.bundle.network import BundleNetwork
from fedmed_workflows.federation.bundle.plain_values import check_plain
from fedmed_workflows.federation.rounds import check_rounds
from fedmed_workflows.federation.training import FEDERATED
from fedmed_workflows.nvflare.job.folder import write_job_folder
from fedmed_workflows.nvflare.job.public_names import public_name
from fedmed_workflows.nvflare.server.controller import INITIAL, JOB, FederationController
from fedmed_workflows.nvflare.server.tracking import receivers
from fedmed_workflows.nvflare.site.executor import SiteExecutor
from fedmed_workflows.nvflare.wire.filters import check_filters, result_filters

if TYPE_CHECKING:
    from fedmed_workflows.federation.federation import Federation


def network_of(federation: Federation) -> BundleNetwork:
    """Returns the network that the sites of a federation build, without their data."""
    settings = {**federation.settings, **federation.unseen_settings}
    return BundleNetwork(
        federation.bundle_root, settings, {"class_names": list(federation.sites.class_names)},
        federation.seed, federation.train_config, federation.exchange_dtype,
        federation.aggregation.local_normalization,
    )  # fmt: skip


def write_job(federation: Federation, network: BundleNetwork, name: str, job_dir: Path) -> Path:
    """Writes the folder of a job for ``nvflare job submit``, atomically.

    Parameters
    ----------
    federation
        The federation. Its sites must have names that NVFlare accepts.
    network
        The network of :func:`network_of`.
    name
        Name of the job, and of the folder in which server and sites keep the run.
    job_dir
        Parent of the new job folder.

    Returns
    -------
    Path
        ``job_dir/name``.

    Raises
    ------
    ValueError
        Each site is the unseen site in turn, or one place trains, or an agreed entry is not a plain value, or a
        configuration is outside the bundle, or NVFlare refuses the name of a site, or a package for tracking is not
        installed here, or the rounds do not fit, see :func:`fedmed_workflows.federation.rounds.check_rounds`.
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
    """Writes a job from NVFlare's and FedMed's parts for server and sites, see :func:`write_job`."""
    if federation.sites.in_turn:
        raise ValueError("unseen_site 'all': a job is one run, expected the name of one unseen site, or none")
    if federation.training != FEDERATED:
        raise ValueError(f"training {federation.training!r}: a job trains across its sites, expected {FEDERATED!r}")
    if federation.settings.get("target") == "unseen" and not federation.sites.unseen:
        raise ValueError("target 'unseen': expected an unseen site (--unseen_site), or another target")
    server = {JOB: server_part, INITIAL: save(network.initial_weights())}
    return write_job_folder(
        name, list(federation.sites.paths), federation.min_sites, (server_app, server), (site_app, {JOB: site_part}),
        job_dir,
    )  # fmt: skip


def _server_app(federation: Federation) -> ServerAppConfig:
    app = ServerAppConfig()
    app.add_workflow("federation", FederationController())
    experiment = Path(federation.bundle_root).resolve().name
    for name, receiver in receivers(federation.track_with, experiment).items():
        app.add_component(name, receiver)
    return app


def _site_app(federation: Federation) -> ClientAppConfig:
    app = ClientAppConfig()
    app.add_executor(["*"], SiteExecutor())
    if federation.filters is not None:
        check_filters(federation.filters)
        app.add_params(result_filters(federation.filters))
    return app


def _server_part(federation: Federation, network: BundleNetwork, name: str) -> dict[str, Any]:
    check_rounds(federation.rounds, network.manifest)
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
            "name": public_name(type(aggregation)),
            "arguments": vars(aggregation),
        },
    }


def site_part(federation: Federation, name: str) -> dict[str, Any]:
    """Returns the part of a job for its sites: name of the bundle, digests of its files, and the agreed values.

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
        "local_normalization": federation.aggregation.local_normalization,
        "filtered": federation.filters is not None,
        "unseen": federation.sites.unseen[0] if federation.sites.unseen else None,
    }


def _privacy(federation: Federation) -> dict[str, float] | None:
    return asdict(federation.privacy) if federation.privacy is not None else None
