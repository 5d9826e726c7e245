"""MariaDB from Debian's package, as a server apart from the system's."""

import shutil
import subprocess
from pathlib import Path

import pymysql
from pymysql.connections import Connection
from pymysql.constants import CLIENT

from devstack.postgres import unprivileged_user
from devstack.sandbox import Sandbox, SystemUser, base_environment, free_port, is_listening

START_TIMEOUT_S = 30.0
PATH = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"


class MariadbServer:
    """A server on 127.0.0.1, whose user ``root`` has no password."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.port = free_port()
        user = unprivileged_user()
        folder = sandbox.folder("mariadb", user)
        common = ["--no-defaults", f"--datadir={folder}/data"]
        _install(folder, common, user)
        tuned = ["--innodb-flush-log-at-trx-commit=0", "--innodb-log-file-size=8M"]
        listening = [f"--port={self.port}", "--bind-address=127.0.0.1", f"--socket={folder}/sock"]
        command = [_path("mariadbd"), *common, *tuned, *listening, f"--pid-file={folder}/pid"]
        process = sandbox.spawn("mariadb", command, folder=folder, user=user)
        process.wait_until(lambda: is_listening(self.port), START_TIMEOUT_S)

    @property
    def url(self) -> str:
        """The address of the database ``shop``."""
        return f"mysql://root:@127.0.0.1:{self.port}/shop"

    def connect(self, database: str | None = "shop") -> Connection:
        """Open a connection that commits each statement, and takes several at once."""
        return pymysql.connect(
            host="127.0.0.1",
            port=self.port,
            user="root",
            database=database,
            autocommit=True,
            client_flag=CLIENT.MULTI_STATEMENTS,
        )

    def execute(self, sql: str, database: str | None = "shop") -> list[tuple[object, ...]]:
        """Execute statements and return the rows of the first."""
        with self.connect(database) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            rows = list(cursor.fetchall())
            while cursor.nextset():
                pass
        return rows


def _path(program: str) -> str:
    return shutil.which(program, path=PATH) or program


def _install(folder: Path, common: list[str], user: SystemUser | None) -> None:
    options = ["--auth-root-authentication-method=normal", "--skip-test-db"]
    subprocess.run(
        [_path("mariadb-install-db"), *common, *options],
        cwd=folder,
        env=base_environment(),
        capture_output=True,
        check=True,
        user=user.uid if user else None,
        group=user.gid if user else None,
    )
