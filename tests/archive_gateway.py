"""An HTTP server before an archive that alters its answers, or speaks TLS for it."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import requests

from tests.waiting import END_SECONDS


class Gateway:
    """An HTTP server before an archive; works as a context manager.

    Parameters
    ----------
    url
        Of the archive.
    alter
        Given the path, the headers and the answer's status and body, says which status and body are sent.
    certificate
        A PEM file with a key and its certificate, for TLS.
    """

    def __init__(
        self,
        url: str,
        alter: Callable[[str, Mapping[str, str], int, bytes], tuple[int, bytes]],
        certificate: Path | None = None,
    ) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._relay(requests.get(root + self.path, headers=self._kept(), timeout=END_SECONDS))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self._relay(requests.post(root + self.path, data=body, headers=self._kept(), timeout=END_SECONDS))

            def _kept(self) -> dict[str, str]:
                return {name: self.headers[name] for name in ("Accept", "Content-Type") if name in self.headers}

            def _relay(self, answer: requests.Response) -> None:
                status, body = alter(self.path, dict(self.headers), answer.status_code, answer.content)
                self.send_response(status)
                self.send_header("Content-Type", answer.headers.get("Content-Type", "text/plain"))
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Keeps the tests' output clear."""

        root = url.removesuffix("/dicom-web")
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http{'s' if certificate else ''}://127.0.0.1:{self._server.server_port}/dicom-web"

    def __enter__(self) -> Gateway:
        threading.Thread(target=self._server.serve_forever, args=[0.05], daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
