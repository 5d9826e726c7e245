"""Schemathesis against the started service: no 5xx, nothing undocumented, no schema violation.

``make fuzz`` runs the same with many more examples for each operation.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack import tokens
from devstack.sandbox import Sandbox, free_port
from devstack.service_processes import start_api, start_worker

ROOT = Path(__file__).parents[2]
EXAMPLES = os.environ.get("FUZZ_EXAMPLES", "10")
PLENTY = {
    "MAX_ACTIVE_EXPORTS_PER_SELLER": "1000000",
    "MAX_EXPORTS_PER_SELLER_PER_HOUR": "1000000",
    "MAX_QUEUED_EXPORTS": "1000000",
}
"""Without limits: their 429 would be nearly all that is seen."""


@pytest.fixture
def service(sandbox: Sandbox, service_environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """The settings of an API, which runs with a worker, and its address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = service_environment | PLENTY | {"PUBLIC_URL": url}
    api = start_api(sandbox, settings, port, name="fuzzed-api")
    worker = start_worker(sandbox, settings, name="fuzzed-worker")
    yield settings | tokens.demo_tokens(settings) | {"API_URL": url}
    worker.stop()
    api.stop()


@pytest.mark.parametrize("token", ["SELLER_TOKEN", "SERVICE_TOKEN"])
def test_nothing_that_can_be_sent_surprises(
    service: dict[str, str], tmp_path: Path, token: str
) -> None:
    deterministic = () if "FUZZ_EXAMPLES" in os.environ else ("--generation-deterministic",)
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli"),
            *("--config-file", str(ROOT / "schemathesis.toml"), "run"),
            f"{service['API_URL']}/openapi.json",
            *("--header", f"Authorization: Bearer {service[token]}"),
            *("--checks", "all", "--max-examples", EXAMPLES, *deterministic),
            *("--max-redirects", "0", "--warnings", "off", "--continue-on-failure"),
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr[-2000:]
