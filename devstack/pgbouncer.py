"""PgBouncer in transaction pooling mode, from Debian's package."""

import os
import shutil
from collections.abc import Iterable
from urllib.parse import urlsplit

from devstack.ceph import search_path
from devstack.postgres import PostgresServer, unprivileged_user
from devstack.sandbox import Process, Sandbox, ServerFailed, free_port, is_listening

START_TIMEOUT_S = 30.0

CONFIGURATION = """\
[databases]
* = host=127.0.0.1 port={server_port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 500
ignore_startup_parameters = {ignored}
"""


def available() -> bool:
    """Return whether Debian's package pgbouncer is installed."""
    return program() is not None


def program() -> str | None:
    """Return the path of pgbouncer, or ``None``."""
    return shutil.which("pgbouncer", path=search_path())


class PgBouncer:
    """PgBouncer in front of a server, with default settings.

    Its clients share ``pool_size`` sessions per database, and may get a
    different one for each transaction. Start-up parameters that it does not
    track are refused, except those in ``ignored``.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        server: PostgresServer,
        *,
        name: str = "pgbouncer",
        pool_size: int = 8,
        ignored: Iterable[str] = (),
    ) -> None:
        self.port = free_port()
        self._server = server
        self._sandbox = sandbox
        self._name = name
        self._user = unprivileged_user()  # it refuses root, as PostgreSQL does
        self._folder = sandbox.folder(name, self._user)
        configured = CONFIGURATION.format(
            server_port=server.port,
            port=self.port,
            folder=self._folder,
            pool_size=pool_size,
            ignored=", ".join(ignored),
        )
        self._write("pgbouncer.ini", configured)
        self._write("users", f'"postgres" "{server.password}"\n')

    def url(self, database: str) -> str:
        """Return the URL of a database through the pooler, in libpq's format."""
        address = urlsplit(self._server.url(database))
        return address._replace(
            netloc=address.netloc.replace(f":{self._server.port}", f":{self.port}")
        ).geturl()

    def start(self) -> Process:
        """Start it and wait until it accepts connections.

        Raises:
            ServerFailed: it is not installed, exited, or does not answer in time.
        """
        path = program()
        if path is None:
            raise ServerFailed("pgbouncer is not installed")
        process = self._sandbox.spawn(
            self._name, [path, self._folder / "pgbouncer.ini"], user=self._user
        )
        process.wait_until(lambda: is_listening(self.port), START_TIMEOUT_S)
        return process

    def _write(self, name: str, text: str) -> None:
        file = self._folder / name
        file.write_text(text)
        if self._user:
            os.chown(file, self._user.uid, self._user.gid)
