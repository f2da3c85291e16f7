"""Writes the folder of a job for ``nvflare job submit``: NVFlare's configuration and files, but no code."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nvflare.job_config.fed_app_config import ClientAppConfig, FedAppConfig, ServerAppConfig
from nvflare.job_config.fed_job_config import FedJobConfig

from fedmed_transforms.whole_file import write_whole
from fedmed_workflows.nvflare.job.public_names import PACKAGES, name_publicly

SERVER_PARAMETERS = {
    "server": {"task_request_interval": 0.5},
    "dead_client_grace_period": 10.0,
    "dead_client_check_lead_time": 10.0,
}
"""Seconds between two task requests of a site, and seconds after which the rounds continue without a lost site.
NVFlare's defaults are 2, 60 and 30."""

SITE_PARAMETERS = {"get_task_timeout": 60.0}
"""Seconds after which a site repeats a task request whose connection was lost. NVFlare's default is 300."""


def write_job_folder(
    name: str,
    sites: Sequence[str],
    min_sites: int,
    server: tuple[ServerAppConfig, Mapping[str, bytes | dict[str, Any]]],
    site: tuple[ClientAppConfig, Mapping[str, bytes | dict[str, Any]]],
    job_dir: Path,
) -> Path:
    """Writes the folder of a job.

    Parameters
    ----------
    name
        Name of the job.
    sites
        Names of the sites.
    min_sites
        Number of sites that must be connected before NVFlare starts the job.
    server, site
        NVFlare's part, and additional files by name: bytes, or values that are written as JSON.
    job_dir
        Parent of the new job folder.

    Returns
    -------
    Path
        Folder of the job, with the name from :func:`job_name`.

    Raises
    ------
    ValueError
        NVFlare refuses the name of a site.
    """
    check_site_names(sites)
    job = FedJobConfig(job_name(name), min_clients=min(min_sites, len(sites)))
    job.set_app_packages(PACKAGES)
    with tempfile.TemporaryDirectory() as folder:
        for part, (app, files) in (("server", server), ("site", site)):
            app.add_params(SERVER_PARAMETERS if part == "server" else SITE_PARAMETERS)
            for file, content in files.items():
                plain = content if isinstance(content, bytes) else json.dumps(content, indent=2)
                write_whole(Path(folder) / part / file, plain)
            if files:
                app.add_file_source(str(Path(folder) / part), app_folder_type="config")
        job.add_fed_app("server", FedAppConfig(server_app=server[0]))
        job.add_fed_app("site", FedAppConfig(client_app=site[0]))
        job.set_site_app("server", "server")
        for name_of_site in sites:
            job.set_site_app(name_of_site, "site")
        job.generate_job_config(str(job_dir))
    name_publicly(job_dir / job.job_name)
    return job_dir / job.job_name


def check_site_names(sites: Iterable[str]) -> None:
    """Refuses names that NVFlare does not accept for a site.

    Raises
    ------
    ValueError
        The message names the site.
    """
    for site in sites:
        if not re.fullmatch("[A-Za-z0-9_.-]+", site):
            raise ValueError(f"site {site!r}: NVFlare takes letters A to Z, digits, '_', '-' and '.' in its name")


def job_name(name: str) -> str:
    """Converts a name to a valid name of a job in NVFlare."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name).lstrip("_") or "run"
