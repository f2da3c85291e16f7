"""Shows the rounds in TensorBoard and MLflow, by NVFlare's receivers on the server."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from nvflare.apis.analytix import ANALYTIC_EVENT_TYPE, AnalyticsDataType
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_constant import FedEventHeader, ReservedKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.utils.analytix_utils import create_analytic_dxo

EVENT = f"fed.{ANALYTIC_EVENT_TYPE}"
"""The event that NVFlare's receivers handle."""

TENSORBOARD, MLFLOW = "tb_events", "mlflow.db"
"""Paths that NVFlare's receivers write, in the folder of the job on the server."""

KEPT = {TENSORBOARD: "tensorboard", MLFLOW: MLFLOW}
"""Names of the copies in the folder ``tracking`` of a run, by the receivers' paths."""


class RoundEvents:
    """Publishes the history's entry of a round as analytics events of NVFlare, each value for its site.

    The receivers keep one folder or run for each site. A value of the whole round is therefore published for every
    site. No additional value leaves a site.

    Parameters
    ----------
    component
        Component of the server's job, which fires the events.
    fl_ctx
        Context of the job.
    sites
        Names of all sites, including the unseen site.
    """

    def __init__(self, component: FLComponent, fl_ctx: FLContext, sites: Sequence[str]) -> None:
        self.component, self.engine, self.sites = component, fl_ctx.get_engine(), list(sites)

    def __call__(self, entry: Mapping[str, Any]) -> None:
        """Publishes all values of a round."""
        for site, name, value in scalars(entry, self.sites):
            self._publish(site, name, value, entry["round"])

    def _publish(self, site: str, name: str, value: float, number: int) -> None:
        """Fires an event as if it came from the site, because the receivers assign events to their senders."""
        event = create_analytic_dxo(name, value, AnalyticsDataType.SCALAR, global_step=number).to_shareable()
        event.set_header(FedEventHeader.DIRECTION, "in")
        event.set_peer_props({ReservedKey.IDENTITY_NAME: site})
        with self.engine.new_context() as context:
            self.component.fire_fed_event(EVENT, event, context)


def scalars(entry: Mapping[str, Any], sites: Sequence[str]) -> Iterator[tuple[str, str, float]]:
    """Yields site, name and value of every number of a round.

    Parameters
    ----------
    entry
        Entry of the history.
    sites
        Names of all sites.

    Yields
    ------
    tuple
        ``train/NAME`` (loss, samples, bytes, whether the site contributed), ``validation/NAME``, and for every site
        ``round/NAME`` (seconds, contributors). Values that are not finite are left out.
    """
    trained = entry.get("sites", {})
    contributed = {site: float("error" not in part) for site, part in trained.items()}
    common = {name: value for name, value in entry.items() if name != "round"}
    common |= {"contributors": sum(contributed.values())} if trained else {}
    for site in sites:
        train = {**trained.get(site, {}), **({"contributed": contributed[site]} if site in contributed else {})}
        parts = {"train": train, "validation": entry.get("validation", {}).get(site, {}), "round": common}
        for kind, values in parts.items():
            yield from ((site, f"{kind}/{name}", float(value)) for name, value in values.items() if _is_number(value))


def receivers(track_with: Sequence[str], experiment: str) -> dict[str, Any]:
    """Builds NVFlare's receivers for the server of a job, by component name.

    Parameters
    ----------
    track_with
        Some of ``tensorboard`` and ``mlflow``.
    experiment
        Name of the experiment in MLflow.

    Raises
    ------
    ValueError
        The package of a receiver is not installed here.
    """
    arguments: dict[str, tuple[str, str, dict[str, Any]]] = {
        "tensorboard": ("tb.tb_receiver", "TBAnalyticsReceiver", {"tb_folder": TENSORBOARD, "events": [EVENT]}),
        "mlflow": ("mlflow.mlflow_receiver", "MLflowReceiver", {"kw_args": {"experiment_name": experiment}}),
    }
    found = {}
    for name in track_with:
        module, receiver, values = arguments[name]
        try:
            found[name] = getattr(import_module(f"nvflare.app_opt.tracking.{module}"), receiver)(**values)
        except ImportError as error:
            raise ValueError(f"track_with {name!r}: expected its package to be installed, found: {error}") from error
    return found


def keep_tracking(job: Path, output_dir: Path) -> None:
    """Copies the files of the receivers to a run folder.

    Parameters
    ----------
    job
        The server's folder of the job, or an administrator's download of the folder.
    output_dir
        Folder for ``tracking/tensorboard`` and ``tracking/mlflow.db``, if the receivers wrote them.
    """
    for name, kept in KEPT.items():
        source, target = job / name, output_dir / "tracking" / kept
        if source.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target)
        elif source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
