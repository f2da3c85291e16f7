"""A federation as it is deployed: server, hospitals and admin at addresses of their own, joined by mutual TLS."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType

from tests.hospital_kits import ADMIN, PORT, edit_resources, provision
from tests.network_namespaces import Network, command_line
from tests.waiting import END_SECONDS, until

ROOT = Path(__file__).parents[1]
HEARTBEAT_SECONDS = 2
LEAN = {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2", "PYTHONDONTWRITEBYTECODE": "1", "CUDA_VISIBLE_DEVICES": ""}
MODULES = {
    "server": "nvflare.private.fed.app.server.server_train",
    "site": "nvflare.private.fed.app.client.client_train",
}
JOB_PROCESS = "nvflare.private.fed.app.client.worker_process"


class HospitalNetwork:
    """An NVFlare server and its sites, running as processes of their own, each at its own address.

    Works as a context manager: inside it every site is registered; when it ends, all processes are killed and the
    network is taken down. Before it begins, `kits` may be changed as the hosts' administrators would. Needs root, for
    namespaces of the network.

    Parameters
    ----------
    folder
        Empty; gets the start-up kits, and what every process writes.
    sites
        Names of the sites: host names, up to about 60 letters.
    allowed
        Prefixes (``"package.module."``) or paths of classes that server and sites allow a job to name, besides
        NVFlare's own.
    environments
        Each site's own environment variables, as the data folder of a hospital; not seen by the others.
    python_path
        Folders of packages that are installed at server and sites, besides this repository's own.
    heart_beat_timeout
        Seconds without a sign of life after which the server takes a site for gone.
    encrypted
        Whether the kits hold keys of homomorphic encryption.

    Raises
    ------
    RuntimeError
        The process of the server, or of a site, ended at its start; the end of its log is in the message.
    """

    def __init__(
        self,
        folder: Path,
        sites: Sequence[str],
        allowed: Sequence[str],
        environments: Mapping[str, Mapping[str, str]] | None = None,
        python_path: Sequence[Path] = (),
        heart_beat_timeout: int = 10,
        encrypted: bool = False,
    ) -> None:
        self.folder, self.sites = folder, tuple(sites)
        self.environments = environments or {}
        self.python_path = os.pathsep.join(map(str, (ROOT, *python_path)))
        self.network = Network(["server", *sites, "admin"])
        self.kits = provision(folder, self.network.addresses["server"], sites, allowed, encrypted)
        timeout = {"heart_beat_timeout": heart_beat_timeout}
        edit_resources(self.kits / "server", lambda resources: resources["servers"][0].update(timeout))
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> HospitalNetwork:
        self.network.__enter__()
        try:
            self.start_server()
            for site in self.sites:
                self._launch(site)
            self.wait_registered(self.sites)
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.network.__exit__(kind, error, trace)
        for process in self.processes.values():
            process.wait(END_SECONDS)

    def start_server(self) -> None:
        """Start the server, and return when it listens."""
        self._launch("server")
        listens = self.network.command("server", ["ss", "-Hltn", "sport", "=", f":{PORT}"])
        self._wait("server", lambda: bool(subprocess.check_output(listens)), "does not listen")

    def kill_server(self) -> None:
        """Kill the server: its own process and those of its jobs."""
        self._kill_host("server")

    def start_site(self, site: str) -> None:
        """Start a site that was killed, and return when the server has registered it."""
        self._launch(site)
        self.wait_registered([site])

    def kill_site(self, site: str) -> None:
        """Kill a whole site: its own process and those of its jobs."""
        self._kill_host(site)

    def kill_job_process(self, site: str) -> None:
        """Kill the process that runs a job at a site; the site's own process lives on.

        Raises
        ------
        RuntimeError
            No job runs there.
        """
        if not self.network.kill(site, JOB_PROCESS):
            raise RuntimeError(f"{site}: no job runs there, so there is no process of a job to kill")

    def cut_link(self, host: str) -> None:
        """Pull a host's cable; its processes live on."""
        self.network.set_link(host, "down")

    def restore_link(self, host: str) -> None:
        """Plug a host's cable in again."""
        self.network.set_link(host, "up")

    def wait_registered(self, sites: Sequence[str]) -> None:
        """Return when the server has registered each of ``sites`` since they were started (or itself was)."""
        for site in sites:
            self._wait(site, partial(self._registered, site), "is not registered")

    def peers(self) -> set[str]:
        """The addresses that are connected to the server's port, as its kernel sees them."""
        return self.network.peers("server", PORT)

    def memory(self) -> dict[str, dict[str, float]]:
        """Resident memory in MB of every process, by host and module."""
        return {host: self._memory(host) for host in self.network.addresses}

    def run_admin(self, *arguments: str) -> str:
        """Run ``python ARGUMENTS KIT`` at the admin's address, KIT being its start-up kit; returns what it printed.

        Raises
        ------
        RuntimeError
            It ended with another status than 0; what it wrote is in the message.
        """
        command = self.network.command("admin", [sys.executable, *arguments, str(self.kits / ADMIN)])
        environment = self._environment("admin")
        done = subprocess.run(
            command, env=environment, cwd=self.folder, capture_output=True, text=True, timeout=END_SECONDS
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(arguments)}: exit status {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def log(self, host: str) -> str:
        """Returns the output of a host's own process and of its jobs' processes since its last start."""
        return (self.folder / f"{host}.log").read_text(errors="replace")

    def _launch(self, host: str) -> None:
        kit, role = self.kits / host, "server" if host == "server" else "client"
        options = ["secure_train=true", "org=fedmed", "config_folder=config"]
        if role == "client":
            options += [f"uid={host}", f"heart_beat_interval={HEARTBEAT_SECONDS}"]
        module = MODULES["server" if role == "server" else "site"]
        arguments = [sys.executable, "-u", "-m", module, "-m", str(kit), "-s", f"fed_{role}.json", "--set", *options]
        with (self.folder / f"{host}.log").open("wb") as log:
            self.processes[host] = subprocess.Popen(
                self.network.command(host, arguments),
                env=self._environment(host),
                cwd=kit,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _environment(self, host: str) -> dict[str, str]:
        return {**os.environ, **LEAN, "PYTHONPATH": self.python_path, **self.environments.get(host, {})}

    def _kill_host(self, host: str) -> None:
        self.network.kill(host)
        self.processes.pop(host).wait(END_SECONDS)

    def _registered(self, site: str) -> bool:
        here = re.compile(r"Successfully registered client:" + re.escape(site) + " ")
        there = re.compile(rf"(New client {re.escape(site)}@|Re-activate the client: {re.escape(site)} )")
        return bool(here.search(self.log(site)) and there.search(self.log("server")))

    def _wait(self, host: str, ready: Callable[[], bool], complaint: str) -> None:
        def description() -> str:
            return f"{host} {complaint}; its log ends with\n{self.log(host)[-4000:]}"

        def ready_or_ended() -> bool:
            if ready():
                return True
            if self.processes[host].poll() is not None:
                raise RuntimeError(description())
            return False

        until(ready_or_ended, failure=description)

    def _memory(self, host: str) -> dict[str, float]:
        sizes = {}
        for process in self.network.process_ids(host):
            module = re.search(r"nvflare\.private\S*\.(\w+)", command_line(process))
            pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
            sizes[module[1] if module else str(process)] = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
        return sizes
