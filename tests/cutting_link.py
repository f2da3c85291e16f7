"""A link to a server that breaks: a TCP relay which cuts connections where a test tells it to."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from urllib.parse import urlsplit, urlunsplit

BUFFER = 65536


class CuttingLink:
    """Relays connections to a server, each in a thread; works as a context manager.

    Parameters
    ----------
    url
        Of the server.
    cuts
        Told what is about to pass, and whether to the server (True) or from it (False); says whether the connection is
        cut instead. Called by one thread at a time.
    """

    def __init__(self, url: str, cuts: Callable[[bytes, bool], bool]) -> None:
        parts = urlsplit(url)
        self._server = (parts.hostname, parts.port)
        self._cuts, self._lock = cuts, threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = urlunsplit(parts._replace(netloc=f"127.0.0.1:{self._listener.getsockname()[1]}"))
        self.broken = 0

    def __enter__(self) -> CuttingLink:
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # the test has ended
                return
            threading.Thread(target=self._relay, args=[client], daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(self._server) as server:  # it may be down meanwhile
            self._relay_between(client, server)

    def _relay_between(self, client: socket.socket, server: socket.socket) -> None:
        with selectors.DefaultSelector() as ready:
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _ in ready.select():
                    if not self._pass(key.fileobj, key.data, key.fileobj is client):
                        return

    def _pass(self, source: socket.socket, target: socket.socket, to_server: bool) -> bool:
        """Forwards one piece of data; returns False when the connection has ended or is cut."""
        try:
            data = source.recv(BUFFER)
        except OSError:
            return False
        with self._lock:
            cut = bool(data) and self._cuts(data, to_server)
            self.broken += cut
        if not data or cut:
            return False
        target.sendall(data)
        return True
