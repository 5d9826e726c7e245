"""A key server (JSON Web Key Set over HTTP) whose keys can change, and which can fail or hang."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

PRIVATE_KEYS: dict[str, Any] = {
    "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


def public_jwk(algorithm: str, kid: str | None, **changes: Any) -> dict[str, Any]:
    """Return the public half of the test key for ``algorithm`` as a JSON Web Key."""
    public = PRIVATE_KEYS[algorithm].public_key()
    jwk = jwt.get_algorithm_by_name(algorithm).to_jwk(public, as_dict=True)
    return {**jwk, **({} if kid is None else {"kid": kid}), **changes}


def sign(claims: dict[str, Any], algorithm: str, kid: str | None) -> str:
    """Return a token signed with the test key for ``algorithm``."""
    headers = {} if kid is None else {"kid": kid}
    return jwt.encode(claims, PRIVATE_KEYS[algorithm], algorithm, headers)


class StubKeyServer:
    """Serves ``body`` with ``status`` and counts the requests."""

    def __init__(self) -> None:
        self.body: bytes = b'{"keys": []}'
        self.status = 200
        self.headers: dict[str, str] = {}
        self.requests = 0
        self.url = ""

    def publish(self, *keys: dict[str, Any]) -> None:
        """Serve these keys from now on."""
        self.body = json.dumps({"keys": keys}).encode()


@contextmanager
def running_key_server() -> Iterator[StubKeyServer]:
    """Run a key server on a free port for as long as the context is open."""
    stub = StubKeyServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            stub.requests += 1
            self.send_response(stub.status)
            self.send_header("Content-Length", str(len(stub.body)))
            for name, value in stub.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(stub.body)

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        stub.url = f"http://127.0.0.1:{server.server_port}/keys"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield stub
        finally:
            server.shutdown()
            thread.join()
