"""A service's webhook endpoint, with configurable responses."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any


@dataclass(frozen=True)
class Call:
    """One POST that arrived."""

    path: str
    headers: dict[str, str]
    body: bytes


class WebhookServer:
    """Stores the calls; responds with the next status of a list, and then always with 204.

    It does not respond while the event ``answers`` is cleared.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.statuses: list[int] = []
        self.url = ""
        self.answers = Event()
        self.answers.set()


@contextmanager
def running_webhook_server(
    address: str = "127.0.0.1", port: int = 0, *, certificate: Path | None = None
) -> Iterator[WebhookServer]:
    """Run an endpoint, by default on a free port, for as long as the context is open.

    With a ``certificate`` (PEM with its key) it uses TLS.
    """
    server = WebhookServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            server.calls.append(Call(self.path, headers, body))
            server.answers.wait()
            self.send_response(server.statuses.pop(0) if server.statuses else 204)
            self.send_header("Location", f"{server.url}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    http = ThreadingHTTPServer((address, port), Handler)
    scheme = "http"
    if certificate is not None:
        scheme = "https"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        http.socket = context.wrap_socket(http.socket, server_side=True)
    server.url = f"{scheme}://{address}:{http.server_address[1]}"
    thread = Thread(target=http.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.answers.set()
        http.shutdown()
        thread.join()
        http.server_close()
