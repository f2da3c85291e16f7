"""Builds a site that joins a federation: its own bundle, images and weights, with the agreed values of the job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from fedmed_workflows.errors import SiteError, refusal
from fedmed_workflows.federation.bundle.files import check_bundle
from fedmed_workflows.federation.bundle.overlays import METHOD, check_targets, merged
from fedmed_workflows.federation.bundle.plain_values import check_nothing_fetched, check_plain
from fedmed_workflows.federation.federation import Federation
from fedmed_workflows.federation.preparation.target import UNSEEN, Preparation
from fedmed_workflows.federation.site.site_algo import SiteAlgo
from fedmed_workflows.nvflare.site.environment import MIN_NOISE, RELEASE, WEIGHTS, SiteEnvironment
from fedmed_workflows.sites.datasets.target import NOBODY

FEDERATED = "configs/federated.json"
"""Configuration of a federation in a bundle."""

PRIVACY = "fedmed_workflows.GaussianUpdate"
"""The only component that a job may select, with its numbers. It can only increase the privacy of an update."""

MEAN, LOCAL_NORMALIZATION = "fedmed_workflows.aggregation.FedAvg", "fedmed_workflows.aggregation.FedBN"
"""The aggregations at a site, which only needs to know whether normalisation layers stay at the site."""


@dataclass(frozen=True)
class Joined:
    """A site that is ready for its first round.

    Attributes
    ----------
    algo
        The initialized site, whose images are read and checked.
    data
        Digest of the site's images and labels.
    prepared
        Result of the preparations. The settings of the unseen site's result are for the training sites.
    """

    algo: SiteAlgo
    data: str
    prepared: Preparation


def join(job: Mapping[str, Any], site: str, environment: SiteEnvironment, settings: Mapping[str, Any]) -> Joined:
    """Builds a site from its installed bundle and the values of a job.

    Parameters
    ----------
    job, site, environment, settings
        As for :func:`installed_federation`.

    Raises
    ------
    SiteError
        The site refuses the job. The message may leave the site, as it names no image file.
    ValueError
        The bundle refuses the site's images or settings. The message stays at the site.
    """
    try:
        _check_privacy(job, site, environment)
        federation = installed_federation(job, site, environment, settings)
        return _initialize(federation, site, site == job["unseen"], environment)
    except SiteError:
        raise
    except Exception as error:  # MONAI wraps what a component refuses in its own error
        raise ValueError(f"site {site!r}: {refusal(error)}") from error


def installed_federation(
    job: Mapping[str, Any], site: str, environment: SiteEnvironment, settings: Mapping[str, Any]
) -> Federation:
    """Builds the federation of an installed bundle with the values of a job and with this site as the only site.

    No part of the job is executed. Its values must be plain, the files of the bundle must match the digests of the job
    before one of them is parsed, and only entries in the bundle's own ``agreed`` are replaced.

    Parameters
    ----------
    job
        ``bundle`` (name), ``files`` (SHA-256 by path), ``agreed`` (values by id), ``privacy`` (numbers of a
        :class:`GaussianUpdate`, or None), ``local_normalization`` (whether normalisations stay at their sites),
        ``unseen`` (the unseen site's name or None), ``folder`` (name of the folder in the state folder).
    site
        Name of this site in the federation.
    environment
        Settings of the site.
    settings
        Result of the unseen site's preparations for the training sites.

    Raises
    ------
    SiteError
        The job does not match the installed bundle, or its values are not plain or not in the bundle's ``agreed``.
    """
    check_plain({name: job[name] for name in ("bundle", "folder", "agreed", "privacy", "local_normalization")}, "job")
    folder = folder_name(job, "folder")
    bundle_root = environment.bundles / folder_name(job, "bundle")
    check_bundle(bundle_root, job["files"])
    _check_train_config(job)
    files = _federated_config(bundle_root, job)
    for file in files:
        check_targets(file)
    parser = ConfigParser(merged(files))
    _agree(parser, job["agreed"], environment, settings)
    parser["aggregation"] = {"_target_": LOCAL_NORMALIZATION if job["local_normalization"] else MEAN}
    parser["privacy"] = {"_target_": PRIVACY, **job["privacy"]} if job["privacy"] else None
    _set_site_entries(parser, bundle_root, environment, folder, site, site == job["unseen"])
    federation: Federation = parser.get_parsed_content("federation")
    return federation


def _check_privacy(job: Mapping[str, Any], site: str, environment: SiteEnvironment) -> None:
    """Refuses a job with less noise than the minimum of a training site. The unseen site sends no update."""
    noise = (job["privacy"] or {}).get("noise_multiplier", 0.0)
    if site != job["unseen"] and not noise >= environment.min_noise:
        asked = f"this site's {MIN_NOISE} asks for {environment.min_noise}"
        raise SiteError(f"the job's noise multiplier is {noise}, {asked}")


def folder_name(job: Mapping[str, Any], entry: str) -> str:
    """Returns the name of a folder in a job's entry. It must be a single name, not a path.

    Raises
    ------
    SiteError
        The entry is a path, empty, or not a text.
    """
    name = job[entry]
    if not isinstance(name, str) or name in ("", "..") or Path(name).name != name:
        raise SiteError(f"job: {entry}: expected the name of a folder, found {name!r}")
    return name


def _check_train_config(job: Mapping[str, Any]) -> None:
    """Refuses a training configuration that is not a checked file of the bundle, as a configuration can run code."""
    names = job["agreed"].get("train_config", [])
    strange = [name for name in names if name not in job["files"]] if isinstance(names, list) else [names]
    if strange:
        raise SiteError(f"job: train_config: found {strange}, expected files of the bundle {job['bundle']!r}")


def _federated_config(bundle_root: Path, job: Mapping[str, Any]) -> list[str]:
    """Returns the bundle's configuration of a federation, and the installed overlay of the job's method, if any."""
    own, method = str(bundle_root / FEDERATED), job["agreed"].get("method")
    if method in (None, ConfigParser.load_config_file(own).get("method")):
        return [own]
    overlay = METHOD.format(folder_name(job["agreed"], "method"))
    if overlay not in job["files"]:
        found = sorted(name for name in job["files"] if Path(name).match(METHOD.format("*")))
        raise SiteError(f"job: method {method!r}: the bundle {job['bundle']!r} has no {overlay}, only {found}")
    return [own, str(bundle_root / overlay)]


def _agree(
    parser: ConfigParser, agreed: Mapping[str, Any], environment: SiteEnvironment, settings: Mapping[str, Any]
) -> None:
    known = parser.get("agreed", {})
    if set(agreed) != set(known):
        raise SiteError(f"job: agreed entries {sorted(agreed)}, the bundle expects {sorted(known)}")
    for name, value in agreed.items():
        own = parser[name]
        strange = sorted(set(value) - set(own)) if isinstance(value, dict) and isinstance(own, dict) else []
        if strange:
            raise SiteError(f"job: agreed entry {name!r}: unknown settings {strange}, expected some of {sorted(own)}")
        _check_fetched(value, own, name)
        parser[name] = _at_this_site(value, environment, settings) if isinstance(value, dict) else value


def _check_fetched(value: Any, own: Any, name: str) -> None:
    """Refuses values that would download files, unless they are the reviewed values of the installed bundle."""
    if value == own:
        return
    if isinstance(value, dict) and isinstance(own, dict):
        for key, inner in value.items():
            if key in own:
                _check_fetched(inner, own[key], f"{name}#{key}")
            else:
                check_nothing_fetched({key: inner}, name)
    else:
        check_nothing_fetched(value, name)


def _at_this_site(value: dict[str, Any], environment: SiteEnvironment, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of a method with the site's own weights and the released target."""
    local = {**value, **{name: setting for name, setting in settings.items() if name in value}}
    if value.get("weights") is not None:
        if environment.weights is None:
            raise SiteError(f"weights: the federation uses {value['weights']!r}; {WEIGHTS} is not set at this site")
        local["weights"] = environment.weights
    if value.get("target") not in (None, NOBODY, UNSEEN):
        raise SiteError(f"target: expected {UNSEEN!r} or {NOBODY!r}, as a job names no folder of a site")
    return local


def _set_site_entries(
    parser: ConfigParser, bundle_root: Path, environment: SiteEnvironment, folder: str, site: str, unseen: bool
) -> None:
    entries = {
        "bundle_root": str(bundle_root),
        "dataset_dir": str(environment.dataset_dir),
        "sites": [] if unseen else [site],
        "unseen_site": site if unseen else None,
        "output_dir": str(environment.state_dir / folder),
        "shifts": {name: shift for name, shift in (parser.get("shifts") or {}).items() if name == site},
        "cache_dir": None,
        "min_sites": None,
        "engine": "in_process",
        **({"device": environment.device} if environment.device else {}),
    }
    for name, value in entries.items():
        parser[name] = value


def _initialize(federation: Federation, site: str, unseen: bool, environment: SiteEnvironment) -> Joined:
    data = federation.sites.digest
    if not unseen:
        prepared = federation.prepare(None)
        algo = federation.site(site, federation.sites.folders[site], prepared.settings, False)
        algo.initialize()
        return Joined(algo, data, prepared)
    if federation.settings.get("target") == UNSEEN and not environment.releases_features:
        raise SiteError(f"the federation aligns to the unseen site's features; {RELEASE} is not 'yes' at this site")
    algo = federation.site(site, federation.sites.paths[site], federation.unseen_settings, True)
    algo.initialize()
    return Joined(algo, data, federation.prepare(algo))
