"""Writes the job of a federation with encrypted updates: NVFlare's workflow, aggregator and filters, FedMed's sites."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from nvflare.apis.dxo import DataKind
from nvflare.app_common.workflows.broadcast_and_process import BroadcastAndProcess
from nvflare.app_common.workflows.scatter_and_gather import ScatterAndGather
from nvflare.job_config.fed_app_config import ClientAppConfig, ServerAppConfig

from fedmed_workflows.aggregation import FedAvg
from fedmed_workflows.federation.bundle.network import BundleNetwork
from fedmed_workflows.federation.preparation.target import UNSEEN
from fedmed_workflows.federation.rounds import check_rounds
from fedmed_workflows.nvflare.encryption.server import GENERATOR, EncryptedAggregate, LastAggregate
from fedmed_workflows.nvflare.encryption.site import EncryptedSite
from fedmed_workflows.nvflare.job.federation_job import site_part, write_parts
from fedmed_workflows.nvflare.wire.messages import SCORE, TRAIN

if TYPE_CHECKING:
    from fedmed_workflows.federation.federation import Federation

AGGREGATOR, PERSISTOR, LAST = "aggregator", "persistor", "last_aggregate"


def write_encrypted_job(federation: Federation, network: BundleNetwork, name: str, job_dir: Path) -> Path:
    """Writes the folder of a job with encrypted updates.

    The parameters are those of :func:`fedmed_workflows.nvflare.job.federation_job.write_job`. The server sums
    ciphertexts of CKKS and never has the key. The start-up kits must have contexts of TenSEAL, which NVFlare's
    provisioning creates.

    Raises
    ------
    ValueError
        As ``write_job``; or TenSEAL is not installed, or encrypted rounds do not support a setting.

    Notes
    -----
    Source: Cheon et al., "Homomorphic Encryption for Arithmetic of Approximate Numbers", ASIACRYPT 2017.
    """
    _check(federation)
    check_rounds(federation.rounds, network.manifest)
    site = {**site_part(federation, name), "manifest": network.manifest.to_json()}
    return write_parts(federation, network, name, job_dir, _server_app(federation), _site_app(), {}, site)


def _check(federation: Federation) -> None:
    unseen = federation.sites.unseen[0] if federation.sites.unseen else None
    for name, value in (("unseen_site", unseen), ("privacy", federation.privacy), ("filters", federation.filters)):
        if value is not None:
            raise ValueError(f"{name}: found {value!r}, expected null: encrypted rounds have none")
    if federation.settings.get("target") == UNSEEN:
        raise ValueError("target: found 'unseen', expected 'none': encrypted rounds have no unseen site")
    if federation.min_sites < len(federation.sites.folders):
        raise ValueError(f"min_sites: found {federation.min_sites}, expected null: all sites take part in each round")
    if type(federation.aggregation) is not FedAvg:
        raise ValueError(f"aggregation: found {type(federation.aggregation).__name__}, expected FedAvg: only a "
                         "mean can be computed from ciphertexts")  # fmt: skip


def _server_app(federation: Federation) -> ServerAppConfig:
    try:
        from nvflare.app_opt.he.intime_accumulate_model_aggregator import HEInTimeAccumulateWeightedAggregator
        from nvflare.app_opt.he.model_shareable_generator import HEModelShareableGenerator
    except ImportError as error:
        raise ValueError(f"encrypted: {error}; expected 'pip install fedmed[encryption]'") from error
    app = ServerAppConfig()
    app.add_component(AGGREGATOR, HEInTimeAccumulateWeightedAggregator(expected_data_kind=DataKind.WEIGHTS))
    app.add_component(GENERATOR, HEModelShareableGenerator())
    app.add_component(PERSISTOR, EncryptedAggregate())
    app.add_component(LAST, LastAggregate())
    rounds = ScatterAndGather(
        min_clients=len(federation.sites.folders),
        num_rounds=federation.rounds,
        wait_time_after_min_received=0,
        aggregator_id=AGGREGATOR,
        persistor_id=PERSISTOR,
        shareable_generator_id=GENERATOR,
        train_task_name=TRAIN,
        train_timeout=math.ceil(federation.round_seconds or 0),
        snapshot_every_n_rounds=0,
    )
    app.add_workflow("rounds", rounds)
    app.add_workflow("scores", BroadcastAndProcess(LAST, SCORE, wait_time_after_min_received=0))
    return app


def _site_app() -> ClientAppConfig:
    from nvflare.app_opt.he.model_decryptor import HEModelDecryptor
    from nvflare.app_opt.he.model_encryptor import HEModelEncryptor

    app = ClientAppConfig()
    app.add_executor(["*"], EncryptedSite())
    app.add_task_data_filter([TRAIN, SCORE], HEModelDecryptor())
    app.add_task_result_filter([TRAIN], HEModelEncryptor())
    return app
