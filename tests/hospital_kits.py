"""Start-up kits of a federation of hospitals, made by NVFlare's own provisioning, with each hospital's local policy."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from nvflare.lighter.constants import CtxKey
from nvflare.lighter.prov_utils import prepare_builders, prepare_packager
from nvflare.lighter.provision import prepare_project
from nvflare.lighter.provisioner import Provisioner

PROJECT = "hospitals"
ADMIN = "admin@fedmed.org"
PORT = 8002
BUILDERS = ("workspace.WorkspaceBuilder", "static_file.StaticFileBuilder", "cert.CertBuilder")
RIGHTS = ("submit_job", "clone_job", "manage_job", "download_job", "view", "operate", "shell_commands", "app_command")


def provision(
    folder: Path, address: str, sites: Sequence[str], allowed: Sequence[str], encrypted: bool = False
) -> Path:
    """Write ``project.yml``, have NVFlare make the kits from it (mutual TLS), and add the local policy to each.

    Parameters
    ----------
    folder
        Where ``project.yml`` and everything that NVFlare writes go.
    address
        The server's address, in its certificate and in the kits of the others.
    sites
        Names of the clients.
    allowed
        What server and sites add to NVFlare's list of classes that a job may name: prefixes that end with a dot, or
        whole paths of classes.
    encrypted
        Whether the kits hold keys of homomorphic encryption.

    Returns
    -------
    Path
        The folder of the kits: one subfolder for ``server``, for each site, and for `ADMIN`.

    Raises
    ------
    ValueError
        NVFlare does not accept a site's name, or two have the same.
    RuntimeError
        NVFlare's provisioning failed.
    """
    description = project(address, sites, encrypted)
    folder.mkdir(exist_ok=True)
    (folder / "project.yml").write_text(yaml.safe_dump(description, sort_keys=False))
    provisioner = Provisioner(str(folder), prepare_builders(description), prepare_packager(description))
    context = provisioner.provision(prepare_project(description))
    if context.get(CtxKey.BUILD_ERROR):
        raise RuntimeError(f"{folder / 'project.yml'}: NVFlare could not make start-up kits from it")
    kits = Path(context[CtxKey.CURRENT_PROD_DIR])
    for name in ("server", *sites):
        write_policy(kits / name, allowed)
    keep_to_itself(kits / "server")
    return kits


def project(address: str, sites: Sequence[str], encrypted: bool) -> dict[str, Any]:
    """Returns a project of NVFlare: a server, sites, and one admin who may do everything."""
    server = {"name": "server", "type": "server", "org": "fedmed", "fed_learn_port": PORT, "default_host": address}
    clients = [{"name": site, "type": "client", "org": "fedmed"} for site in sites]
    admin = {"name": ADMIN, "type": "admin", "org": "fedmed", "role": "project_admin"}
    builders = [*BUILDERS, *(["he.HEBuilder"] if encrypted else [])]
    return {
        "api_version": 3,
        "name": PROJECT,
        "participants": [server, *clients, admin],
        "builders": [{"path": f"nvflare.lighter.impl.{name}", "args": {}} for name in builders]
        + [{"path": "nvflare.lighter.impl.signature.SignatureBuilder"}],
    }


def write_policy(kit: Path, allowed: Sequence[str]) -> None:
    """A kit's local policy: nobody's job may bring code, and may name no class but NVFlare's own and ``allowed``."""
    local = kit / "local"
    rights = {right: "any" for right in RIGHTS} | {"byoc": "none", "server-predeployed-flwr": "none"}
    policy = {"format_version": "1.0", "permissions": {"project_admin": rights}}
    (local / "authorization.json").write_text(json.dumps(policy, indent=2))
    (local / "resources.json").write_text((local / "resources.json.default").read_text())
    edit_resources(kit, lambda resources: resources["class_allow_list"].extend(allowed))


def keep_to_itself(server: Path) -> None:
    """Let a server keep jobs and snapshots in its own folder, not in the folder that all servers of a machine share."""

    def change(resources: dict[str, Any]) -> None:
        resources["snapshot_persistor"]["args"]["storage"]["args"]["root_dir"] = str(server / "snapshots")
        component(resources, "job_manager")["args"]["uri_root"] = str(server / "jobs")

    edit_resources(server, change)


def edit_resources(kit: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change what a host's administrator writes into ``local/resources.json``; the host reads it when it starts."""
    file = kit / "local" / "resources.json"
    resources: dict[str, Any] = json.loads(file.read_text())
    change(resources)
    file.write_text(json.dumps(resources, indent=2))


def component(resources: dict[str, Any], identity: str) -> dict[str, Any]:
    """The entry of a host's resources with this id, as ``process_launcher``."""
    entries: dict[str, dict[str, Any]] = {entry["id"]: entry for entry in resources["components"]}
    return entries[identity]
