"""The log scan: it reads the log of every process, and fails a run that leaks a secret."""

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import structlog

from app.observability.logs import redact
from devstack.service_processes import ROOT
from tests.conftest import RunningService
from tests.leak_detector import LEAKS, LeakDetector, leaks
from tests.tokens import SECRET, mint

LEAKING = {
    "an address": "mailed josé@münchen.example",
    "a token": f"Bearer {mint()}",
    "a mailed link": "GET /d/AAAAAAAAAAEAAAAAAAAAAAAAAAAAAAAA 302",
    "a presigned query": "https://s3.example/k.csv?X-Amz-Expires=300",
    "a password": "redis://:hunter2@localhost:6379",
    "a secret": f"signed with {SECRET}",
}

OWN = ("-c", os.devnull, "-p", "no:asyncio")

CONFTEST = """
from tests.leak_detector import LeakDetector

def pytest_configure(config):
    config.pluginmanager.register(LeakDetector())
"""


TALKATIVE = """
import logging
import structlog
from devstack.sandbox import Sandbox
from devstack.service_processes import spawn

def test_everything_talks():
    logging.getLogger("app").error("mailed %s", "bob@example.com")
    structlog.get_logger().error("mailed", to="bob@example.com", token="eyJ" + "x" * 20)
    with Sandbox() as sandbox:
        spawn(sandbox, "worker", {}, "json.tool", "ann@example.com").wait()
"""


def run(folder: Path, test: str, processes: str) -> "subprocess.CompletedProcess[str]":
    """Run one test with the plugin and nothing else of ours."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(test)
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            "-n",
            processes,
            *OWN,
            folder,
        ],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(("kind", "said"), LEAKING.items(), ids=LEAKING)
def test_what_leaks_is_found_and_what_is_scrubbed_is_not(
    tmp_path: Path, kind: str, said: str
) -> None:
    (tmp_path / "api.log").write_text(f"started\n{said}\n")
    assert [(leak.line, leak.kind) for leak in leaks(tmp_path)] == [(2, kind)]
    if kind != "a secret":  # which nobody could tell from other words
        (tmp_path / "api.log").write_text(redact(said))
        assert list(leaks(tmp_path)) == []


def test_every_kind_is_shown_to_be_found() -> None:
    assert set(LEAKING) == set(LEAKS)


@pytest.mark.parametrize("processes", ["0", "2"])
def test_a_run_in_which_something_leaks_fails(tmp_path: Path, processes: str) -> None:
    ran = run(tmp_path, TALKATIVE, processes)
    assert "1 passed" in ran.stdout
    assert ran.returncode == 1
    assert re.search(r"-worker.log:\d+: an address: .*ann@example.com", ran.stdout)
    assert "events.log:1: a token: " in ran.stdout
    assert "bob@example.com" not in ran.stdout, "what is scrubbed does not leak"


def test_the_services_of_this_run_are_heard(
    listening: LeakDetector, running_service: RunningService
) -> None:
    structlog.get_logger().warning("heard by structlog")
    logging.getLogger("app").warning("heard by logging")
    for process in (running_service.api, running_service.worker):
        [copied] = listening.folder.glob(f"*{process.log.parent.name}-{process.log.name}")
        assert copied.samefile(process.log)
        assert copied.read_bytes()
    assert "heard by structlog" in (listening.folder / "events.log").read_text()
    assert "heard by logging" in (listening.folder / "logging.log").read_text()
