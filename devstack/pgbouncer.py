"""PgBouncer from Debian's package, in transaction mode."""

import os
import shutil
from urllib.parse import urlsplit

from devstack.ceph import search_path
from devstack.postgres import PostgresServer, unprivileged_user
from devstack.sandbox import Process, Sandbox, ServerFailed, answers, free_port

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
"""


def available() -> bool:
    """Return whether Debian's package pgbouncer is installed."""
    return program() is not None


def program() -> str | None:
    """Return the path of pgbouncer, or ``None``."""
    return shutil.which("pgbouncer", path=search_path())


class PgBouncer:
    """PgBouncer before a server, with every setting that matters at its default.

    Its clients share ``pool_size`` sessions for each database, and may be
    given another one for each transaction.
    """

    def __init__(self, sandbox: Sandbox, server: PostgresServer, *, pool_size: int = 8) -> None:
        self.port = free_port()
        self._server = server
        self._sandbox = sandbox
        self._user = unprivileged_user()  # it refuses root, as PostgreSQL does
        self._folder = sandbox.folder("pgbouncer", self._user)
        configured = CONFIGURATION.format(
            server_port=server.port, port=self.port, folder=self._folder, pool_size=pool_size
        )
        self._write("pgbouncer.ini", configured)
        self._write("users", f'"postgres" "{server.password}"\n')

    def url(self, database: str) -> str:
        """Return the address of a database behind it, as libpq takes it."""
        address = urlsplit(self._server.url(database))
        return address._replace(
            netloc=address.netloc.replace(f":{self._server.port}", f":{self.port}")
        ).geturl()

    def start(self) -> Process:
        """Start it and wait until it accepts connections.

        Raises:
            ServerFailed: it is not installed, ended, or does not answer in time.
        """
        path = program()
        if path is None:
            raise ServerFailed("pgbouncer is not installed")
        process = self._sandbox.spawn(
            "pgbouncer", [path, self._folder / "pgbouncer.ini"], user=self._user
        )
        process.wait_until(lambda: answers(self.port), START_TIMEOUT_S)
        return process

    def _write(self, name: str, text: str) -> None:
        file = self._folder / name
        file.write_text(text)
        if self._user:
            os.chown(file, self._user.uid, self._user.gid)
