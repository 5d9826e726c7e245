"""Everything that the service says while it is tested, searched when the tests are over."""

import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from app.api.problems import MEDIA_TYPE
from app.logs import scrub_event, scrubbed_record
from devstack.sandbox import temporary_folder
from devstack.service import KEEP_LOGS
from tests.tokens import SECRET

LEAKS = {
    "an address": re.compile(r"[^\s@\"'<>()]@[\w-]+(\.[\w-]+)*\.[^\W\d_]{2,}"),
    "a token": re.compile(r"eyJ[\w-]{8,}"),
    "a mailed link": re.compile(r"/d/[\w-]{20,}"),
    "a presigned query": re.compile(r"X-Amz-|Signature=", re.IGNORECASE),
    "a password": re.compile(r"://[^\s/@\[]*:[^\s/@\[]+@"),
    "a secret": re.compile(rf"\b[0-9a-f]{{64}}\b|moto-secret-key|{re.escape(SECRET)}"),
}
"""What to search for: written apart from what app/logs.py scrubs, to find what that misses.

64 hexadecimal digits are how devstack makes its secrets, and how AWS signs.
"""


@dataclass(frozen=True)
class Leak:
    """What was said, and where."""

    file: str
    line: int
    kind: str
    said: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.kind}: {self.said}"


class Listening:
    """A plugin of pytest that fails a run in which the service says what must not leak.

    Hears the logs of every API and worker that the tests start, in whatever
    process, and in this process every structlog event and ``logging`` record,
    scrubbed as in production; and the error documents.
    """

    def __init__(self) -> None:
        folder = tempfile.mkdtemp(prefix="audience-heard-", dir=temporary_folder())
        self.folder = Path(folder)
        self.leaks: list[str] = []
        self._handler = logging.FileHandler(self.folder / "logging.log")

    def pytest_sessionstart(self) -> None:
        """Begin to listen."""
        os.environ[KEEP_LOGS] = str(self.folder)
        logging.setLogRecordFactory(scrubbed_record)
        logging.getLogger().addHandler(self._handler)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        """Listen to structlog again: a test before may have set it up."""
        structlog.configure(
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.processors.add_log_level,
                structlog.dev.set_exc_info,
                structlog.processors.format_exc_info,
                scrub_event,
                self._hear,
                structlog.processors.JSONRenderer(default=str),
            ]
        )

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Search what was heard, after everything that was started has stopped."""
        logging.getLogger().removeHandler(self._handler)
        self._handler.close()
        self.leaks += map(str, leaks(self.folder))
        shutil.rmtree(self.folder)
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["leaks"] = self.leaks
        if self.leaks and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over what another process of pytest-xdist has heard."""
        self.leaks += getattr(node, "workeroutput", {}).get("leaks", [])

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what has leaked."""
        if self.leaks:
            terminalreporter.section("The service said what must not leak", red=True)
            for leak in self.leaks:
                terminalreporter.line(leak)

    def _hear(self, _: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        hear("events", json.dumps(dict(event), default=str, ensure_ascii=False))
        return event


def hear(name: str, said: str) -> None:
    """Take what the service said where no log of a started process would have it."""
    with Path(os.environ[KEEP_LOGS], f"{name}.log").open("a") as file:
        file.write(f"{said}\n")


async def hear_problem(answer: httpx.Response) -> None:
    """Take an error document: a hook of httpx's clients."""
    if answer.headers.get("content-type") == MEDIA_TYPE:
        await answer.aread()
        hear("problems", answer.text)


def leaks(folder: Path) -> Iterator[Leak]:
    """Search every file of ``folder``."""
    for file in sorted(folder.iterdir()):
        for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1):
            for kind, pattern in LEAKS.items():
                if pattern.search(line):
                    yield Leak(file.name, number, kind, line)
