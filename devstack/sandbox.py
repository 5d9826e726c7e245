"""A sandbox: a temporary folder and processes in it, which all end with this process."""

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

from devstack import watchdog

POLL_S = 0.02
LOG_TAIL_BYTES = 2000
PORTS = range(15_000, 32_000)
"""Below the ephemeral range, so that no outgoing connection takes a server's port
while the server restarts."""

WORLD_READABLE = "/tmp"  # noqa: S108 - mkdtemp creates a private folder in it

PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")
PASSED_ON_PREFIXES = ("SSL_CERT_", "PYTHONDONTWRITE")


class ServerFailed(Exception):
    """A server exited or did not answer in time; the message says which and why."""


@dataclass(frozen=True)
class SystemUser:
    """An operating-system account that a server runs under."""

    uid: int
    gid: int


class Process:
    """A running program in its own session, with a watchdog.

    ``pid`` is the program's own. ``lifeline`` is the write end of the
    watchdog's pipe. ``stop_signal`` asks the program to stop cleanly.
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
        """Wait until ``ready`` returns true.

        Raises:
            ServerFailed: the program exited before, or ``timeout_s`` has passed.
        """
        deadline = time.monotonic() + timeout_s
        while not ready():
            if self.exit_status is not None:
                raise ServerFailed(f"{self.name} exited ({self.exit_status}): {self.log_tail()}")
            if time.monotonic() > deadline:
                raise ServerFailed(
                    f"{self.name} was not ready after {timeout_s} s: {self.log_tail()}"
                )
            time.sleep(POLL_S)

    def log_tail(self) -> str:
        """Return the end of the program's output, at most ``LOG_TAIL_BYTES``."""
        return self.log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip()

    def wait(self) -> int:
        """Wait until the program exits and return its exit status."""
        status = self._popen.wait()
        self._release()
        return status

    def stop(self, timeout_s: float = 15) -> None:
        """Send the stop signal; kill the program and its group after ``timeout_s`` seconds."""
        if self.exit_status is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.send_signal(self._stop_signal)
                self._popen.wait(timeout_s)
        self.kill()

    def kill(self) -> None:
        """Send SIGKILL to the program and its group, and wait for it."""
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
    """A private temporary folder and the processes started in it.

    ``close`` stops the processes, last started first, and removes the folder.
    If this process dies before that, watchdogs do the same. ``parent`` is where the folder
    is made instead of among the temporary ones.
    """

    def __init__(self, parent: str | None = None) -> None:
        folder = tempfile.mkdtemp(prefix="audience-", dir=parent or temporary_folder())
        self.path = Path(folder).resolve()
        self.path.chmod(0o711)  # PostgreSQL runs as another user under root, and must pass
        self._processes: list[Process] = []
        self._remover = self._start("remover", ["remove"], [str(self.path)], {}, self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def folder(self, name: str, owner: SystemUser | None = None) -> Path:
        """Create a folder that only ``owner``, by default the current user, can access."""
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
        user: SystemUser | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        orphan_signal: signal.Signals = signal.SIGKILL,
    ) -> Process:
        """Start ``command`` in ``folder``; its output goes to the log ``name``.

        Its environment is ``environment`` and the variables of
        :func:`base_environment`. ``orphan_signal`` ends it after this process
        has died.
        """
        account = [str(user.uid), str(user.gid)] if user else [watchdog.KEEP_USER] * 2
        process = self._start(
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
        """Stop all processes and remove the folder."""
        while self._processes:
            self._processes.pop().stop()
        shutil.rmtree(self.path, ignore_errors=True)
        self._remover.kill()

    def _start(
        self,
        name: str,
        task: list[str],
        arguments: list[str],
        environment: Mapping[str, str],
        folder: Path,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> Process:
        read_end, write_end = os.pipe()
        log = self.path / f"{name}.log"
        script = [sys.executable, "-I", "-S", watchdog.__file__, *task, str(read_end), *arguments]
        try:
            with log.open("ab") as output:
                popen = subprocess.Popen(
                    script,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=base_environment() | dict(environment),
                    cwd=folder,
                    pass_fds=[read_end],
                    start_new_session=True,
                )
        finally:
            os.close(read_end)
        return Process(name, popen, write_end, log, stop_signal)


def base_environment() -> dict[str, str]:
    """Return the variables of this process that every program inherits."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)
    }


def open_to_all(path: Path) -> bool:
    """Return whether every user can enter all folders above ``path``."""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.resolve().parents)


def temporary_folder() -> str:
    """Return the folder for temporary files; under root, one that other users can enter too."""
    folder = tempfile.gettempdir()
    return folder if os.getuid() != 0 or open_to_all(Path(folder) / "any") else WORLD_READABLE


def free_port() -> int:
    """Return a loopback port on which no program listens.

    Raises:
        ServerFailed: no free port was found.
    """
    for port in random.sample(PORTS, 200):
        if is_free(port):
            return port
    raise ServerFailed("no free port on 127.0.0.1")


def is_free(port: int) -> bool:
    """Return whether a program can listen on the loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
    return True


def is_listening(port: int) -> bool:
    """Return whether a program accepts connections on the loopback port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
