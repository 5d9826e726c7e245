"""Searches everything that the service logged during the tests for secrets and addresses."""

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
from app.observability.logs import redact_event, redacted_record
from devstack.sandbox import temporary_folder
from devstack.service_processes import KEEP_LOGS
from tests.tokens import SECRET

LEAKS = {
    "an address": re.compile(r"[^\s@\"'<>()]@[\w-]+(\.[\w-]+)*\.[^\W\d_]{2,}"),
    "a token": re.compile(r"eyJ[\w-]{8,}"),
    "a mailed link": re.compile(r"/d/[\w-]{20,}"),
    "a presigned query": re.compile(r"X-Amz-|Signature=", re.IGNORECASE),
    "a password": re.compile(r"://[^\s/@\[]*:[^\s/@\[]+@"),
    "a secret": re.compile(rf"\b[0-9a-f]{{64}}\b|moto-secret-key|{re.escape(SECRET)}"),
}
"""The patterns to search for, independent of app/observability/logs.py, to find what it misses.

64 hexadecimal digits are the form of devstack's secrets and of AWS signatures.
"""


@dataclass(frozen=True)
class Leak:
    """A leak: the text, and where it was found."""

    file: str
    line: int
    kind: str
    said: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.kind}: {self.said}"


class LeakDetector:
    """A pytest plugin that fails a run in which the service leaks a secret or an address.

    It captures the log files of every API and worker process, every structlog event and
    ``logging`` record of this process, redacted as in production, and problem documents.
    """

    def __init__(self) -> None:
        folder = tempfile.mkdtemp(prefix="audience-heard-", dir=temporary_folder())
        self.folder = Path(folder)
        self.leaks: list[str] = []
        self._handler = logging.FileHandler(self.folder / "logging.log")

    def pytest_sessionstart(self) -> None:
        """Start capturing."""
        os.environ[KEEP_LOGS] = str(self.folder)
        logging.setLogRecordFactory(redacted_record)
        logging.getLogger().addHandler(self._handler)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        """Capture structlog again: an earlier test may have reconfigured it."""
        structlog.configure(
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.processors.add_log_level,
                structlog.dev.set_exc_info,
                structlog.processors.format_exc_info,
                redact_event,
                self._capture,
                structlog.processors.JSONRenderer(default=str),
            ]
        )

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Search the captured texts, after every started process has stopped."""
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
        """Collect the leaks of another process of pytest-xdist."""
        self.leaks += getattr(node, "workeroutput", {}).get("leaks", [])

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the leaks."""
        if self.leaks:
            terminalreporter.section("The service said what must not leak", red=True)
            for leak in self.leaks:
                terminalreporter.line(leak)

    def _capture(
        self, _: Any, __: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        capture("events", json.dumps(dict(event), default=str, ensure_ascii=False))
        return event


def capture(name: str, said: str) -> None:
    """Capture a text that is in no log file of a started process."""
    with Path(os.environ[KEEP_LOGS], f"{name}.log").open("a") as file:
        file.write(f"{said}\n")


async def capture_problem(answer: httpx.Response) -> None:
    """Capture a problem document: a response hook of httpx's clients."""
    if answer.headers.get("content-type") == MEDIA_TYPE:
        await answer.aread()
        capture("problems", answer.text)


def leaks(folder: Path) -> Iterator[Leak]:
    """Search every file of ``folder``."""
    for file in sorted(folder.iterdir()):
        for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1):
            for kind, pattern in LEAKS.items():
                if pattern.search(line):
                    yield Leak(file.name, number, kind, line)
