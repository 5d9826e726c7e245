"""One temporary folder and the processes that live in it: both end with this process."""

import contextlib
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from devstack import guard

POLL_S = 0.02
LOG_TAIL_BYTES = 2000
PORTS = range(15_000, 32_000)
"""Below the range that systems hand out to outgoing connections, so that a
port stays ours while its server is down for a moment."""

OPEN = "/tmp"  # noqa: S108 - mkdtemp makes a folder of our own in there

PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")
PASSED_ON_PREFIXES = ("SSL_CERT_", "PYTHONDONTWRITE")


class ServerFailed(Exception):
    """A server ended by itself or did not answer in time; the text says which and why."""


@dataclass(frozen=True)
class User:
    """An account of this system that a server runs under."""

    uid: int
    gid: int


class Process:
    """A running program, in a session of its own, watched by a guard.

    ``pid`` is the program's own. ``lifeline`` is the writing end of the
    guard's pipe. ``stop_signal`` asks the program to end in good order.
    """

    def __init__(
        self,
        name: str,
        popen: "subprocess.Popen[bytes]",
        lifeline: int,
        log: Path,
        stop_signal: signal.Signals,
    ) -> None:
        self.name = name
        self.pid = popen.pid
        self.log = log
        self._popen = popen
        self._lifeline = lifeline
        self._stop_signal = stop_signal

    @property
    def exit_status(self) -> int | None:
        """The exit status, negative for a signal, or ``None`` while it runs."""
        return self._popen.poll()

    def wait_until(self, ready: Callable[[], bool], timeout_s: float) -> None:
        """Wait for ``ready``.

        Raises:
            ServerFailed: the program ended before that, or the time is over.
        """
        deadline = time.monotonic() + timeout_s
        while not ready():
            if self.exit_status is not None:
                raise ServerFailed(f"{self.name} ended ({self.exit_status}): {self.log_tail()}")
            if time.monotonic() > deadline:
                raise ServerFailed(f"{self.name} is silent for {timeout_s} s: {self.log_tail()}")
            time.sleep(POLL_S)

    def log_tail(self) -> str:
        """Return the last lines of what the program wrote."""
        return self.log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip()

    def wait(self) -> int:
        """Wait until the program ends by itself and return its exit status."""
        status = self._popen.wait()
        self._release()
        return status

    def stop(self, timeout_s: float = 15) -> None:
        """Ask the program to end; kill it and its group when it does not in time."""
        if self.exit_status is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.send_signal(self._stop_signal)
                self._popen.wait(timeout_s)
        self.kill()

    def kill(self) -> None:
        """Send SIGKILL to the program and its group, and collect it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()
        self._release()

    def _release(self) -> None:
        if self._lifeline >= 0:
            with contextlib.suppress(BrokenPipeError):
                os.write(self._lifeline, b".")
            os.close(self._lifeline)
            self._lifeline = -1


class Sandbox:
    """A temporary folder, open to nobody else, and the processes started in it.

    ``close`` stops the processes, last started first, and removes the folder.
    Where this process dies without it, guards do the same.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="audience-", dir=temporary_folder())).resolve()
        self.path.chmod(0o711)  # PostgreSQL, as another user, must pass through it
        self._processes: list[Process] = []
        self._janitor = self._guarded("janitor", ["remove"], [str(self.path)], {}, self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def folder(self, name: str, owner: User | None = None) -> Path:
        """Make a folder in here that only ``owner``, this user by default, can look into."""
        folder = self.path / name
        folder.mkdir(mode=0o700)
        if owner is not None:
            os.chown(folder, owner.uid, owner.gid)
        return folder

    def spawn(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        user: User | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        orphan_signal: signal.Signals = signal.SIGKILL,
    ) -> Process:
        """Start ``command`` in ``folder``, its output appended to a log named ``name``.

        It sees ``environment`` and the few variables every program needs,
        nothing else of this process. ``orphan_signal`` ends it when this
        process has died.
        """
        account = [str(user.uid), str(user.gid)] if user else [guard.KEEP_USER] * 2
        process = self._guarded(
            name,
            ["run"],
            [str(int(orphan_signal)), *account, *map(str, command)],
            environment or {},
            folder or self.path,
            stop_signal,
        )
        self._processes.append(process)
        return process

    def close(self) -> None:
        """Stop everything started here and remove the folder."""
        while self._processes:
            self._processes.pop().stop()
        shutil.rmtree(self.path, ignore_errors=True)
        self._janitor.kill()

    def _guarded(
        self,
        name: str,
        task: list[str],
        arguments: list[str],
        environment: Mapping[str, str],
        folder: Path,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> Process:
        reading, writing = os.pipe()
        log = self.path / f"{name}.log"
        script = [sys.executable, "-I", "-S", guard.__file__, *task, str(reading), *arguments]
        try:
            with log.open("ab") as output:
                popen = subprocess.Popen(
                    script,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=base_environment() | dict(environment),
                    cwd=folder,
                    pass_fds=[reading],
                    start_new_session=True,
                )
        finally:
            os.close(reading)
        return Process(name, popen, writing, log, stop_signal)


def base_environment() -> dict[str, str]:
    """Return the variables of this process that every program may see."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)
    }


def open_to_all(path: Path) -> bool:
    """Return whether every user may enter the folders above ``path``."""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.resolve().parents)


def temporary_folder() -> str:
    """Return where temporary files go; for root, a place that PostgreSQL's user can reach too."""
    folder = tempfile.gettempdir()
    return folder if os.getuid() != 0 or open_to_all(Path(folder) / "any") else OPEN


def free_port() -> int:
    """Return a loopback port that nobody listens on.

    Raises:
        ServerFailed: there is none.
    """
    for port in random.sample(PORTS, 200):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise ServerFailed("no free port on 127.0.0.1")


def answers(port: int) -> bool:
    """Return whether someone accepts connections on the loopback port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
