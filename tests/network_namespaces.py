"""A private network of this machine: each host in a namespace of its own, with its own address, all on one switch."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
from collections.abc import Sequence
from types import TracebackType

from tests.waiting import until


class Network:
    """Hosts in namespaces of the kernel, joined by a bridge in one more namespace; nothing lies in the default one.

    Works as a context manager and needs root. Names begin with a random word, so several networks live side by side
    with the same addresses.

    Parameters
    ----------
    hosts
        Names; host ``i`` has the address ``10.77.0.(i + 1)``.

    Raises
    ------
    RuntimeError
        A command of iproute2 failed; its words are in the message.
    """

    def __init__(self, hosts: Sequence[str]) -> None:
        self.prefix = f"fm{secrets.token_hex(4)}"
        self.addresses = {host: f"10.77.0.{number}" for number, host in enumerate(hosts, start=1)}

    def __enter__(self) -> Network:
        try:
            self._build()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def namespace(self, host: str) -> str:
        """The kernel's name of a host's namespace."""
        return f"{self.prefix}-{host}"

    def command(self, host: str, arguments: Sequence[str]) -> list[str]:
        """The command line that runs ``arguments`` at a host; the process keeps its id, nothing stands between."""
        return ["ip", "netns", "exec", self.namespace(host), *arguments]

    def process_ids(self, host: str) -> list[int]:
        """The ids of all processes that run at a host."""
        return [int(word) for word in _run("ip", "netns", "pids", self.namespace(host)).split()]

    def kill(self, host: str, command: str = "") -> list[int]:
        """Kill a host's processes whose command line contains ``command``; returns their ids when they are gone."""
        killed = [process for process in self.process_ids(host) if command in command_line(process)]
        for process in killed:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass
        until(
            lambda: not set(killed) & set(self.process_ids(host)),
            failure=lambda: f"after SIGKILL: {host} still has some of the processes {killed}",
        )
        return killed

    def set_link(self, host: str, state: str) -> None:
        """Put the switch's side of a host's cable ``down`` or ``up``."""
        _run("ip", "-n", self.namespace("switch"), "link", "set", self._port(host), state)

    def peers(self, host: str, port: int) -> set[str]:
        """The addresses that hold a connection to a port of a host, as the host's kernel sees them."""
        command = self.command(host, ["ss", "-Htn", "state", "established", "sport", "=", f":{port}"])
        return {line.split()[-1].rsplit(":", 1)[0].strip("[]").removeprefix("::ffff:") for line in _lines(*command)}

    def _port(self, host: str) -> str:
        return f"port{self.addresses[host].rsplit('.', 1)[1]}"

    def _build(self) -> None:
        switch = self.namespace("switch")
        _run("ip", "netns", "add", switch)
        _run("ip", "-n", switch, "link", "add", "bridge", "type", "bridge")
        _run("ip", "-n", switch, "link", "set", "bridge", "up")
        for host, address in self.addresses.items():
            self._plug_in(switch, host, address)

    def _plug_in(self, switch: str, host: str, address: str) -> None:
        space, port = self.namespace(host), self._port(host)
        _run("ip", "netns", "add", space)
        _run("ip", "-n", switch, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", space)
        _run("ip", "-n", switch, "link", "set", port, "master", "bridge", "up")
        _run("ip", "-n", space, "address", "add", f"{address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _run("ip", "-n", space, "link", "set", device, "up")

    def _remove(self) -> None:
        present = {space["name"] for space in json.loads(_run("ip", "-json", "netns", "list") or "[]")}
        for host in [*self.addresses, "switch"]:
            if self.namespace(host) in present:
                self.kill(host)
                _run("ip", "netns", "delete", self.namespace(host))


def command_line(process: int) -> str:
    """The command line of a process, words parted by spaces; empty when it is gone."""
    try:
        with open(f"/proc/{process}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _lines(*command: str) -> list[str]:
    return _run(*command).splitlines()


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit status {done.returncode}, {done.stderr.strip()}")
    return done.stdout
