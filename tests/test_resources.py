"""What is opened, and what is not needed to start."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.otlp_collector import open_collector

ROOT = Path(__file__).parent.parent

START = """
import asyncio, sys
for extra in ("opentelemetry.sdk", "opentelemetry.exporter"):
    sys.modules[extra] = None  # as where only what FastAPI needs is installed

from app import cli, main
from app.config import Settings
from app.observability.logs import configure_logs
from app.resources import open_resources
from app.observability.tracing import NOOP_TRACER
from workers import __main__

async def start():
    async with open_resources(Settings()) as resources:
        assert resources.tracer is NOOP_TRACER

configure_logs()
asyncio.run(start())
"""


def test_without_opentelemetry_the_service_starts_and_says_what_is_missing(
    tmp_path: Path, service_environment: dict[str, str]
) -> None:
    with open_collector() as collector:
        environment = service_environment | {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "PYTHONPATH": str(ROOT),
        }
        started = subprocess.run(
            [sys.executable, "-c", START],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            check=False,
        )
    assert started.returncode == 0, started.stderr
    (said,) = map(json.loads, started.stderr.splitlines())
    assert said["event"] == "traces not exported"
    assert said["missing"].startswith("opentelemetry.exporter")


@pytest.mark.parametrize("process", ["workers.__main__", "app.main"])
def test_only_the_api_loads_what_reads_tokens(process: str) -> None:
    """``cryptography`` takes 9 MB, which redis-py would load into each worker."""
    imported = f"import sys, {process}; print('cryptography.hazmat' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", imported], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(process == "app.main")
