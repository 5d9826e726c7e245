"""The API as a process: it starts without its servers, refuses bad settings, ends when told."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

import app.main
from app.config import Settings, settings_from_environment
from app.resources import Resources, open_resources
from devstack.sandbox import free_port
from tests.api.records import Records
from tests.leak_detector import capture
from tests.polling import until
from tests.tokens import SECRET, bearer, mint

ROOT = Path(__file__).parent.parent

STARTED_WITHIN_S = 30
STOPPED_WITHIN_S = 20


async def start(folder: Path, environment: dict[str, str], *arguments: str) -> Process:
    """Start uvicorn away from the repository, whose .env is not the test's."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "uvicorn",
        "app.main:app",
        "--app-dir",
        str(ROOT),
        *arguments,
        cwd=folder,
        env=environment | {"PATH": os.environ["PATH"]},
        stdout=PIPE,
        stderr=STDOUT,
    )


@asynccontextmanager
async def serving(
    folder: Path, environment: dict[str, str]
) -> AsyncIterator[tuple[Process, httpx.AsyncClient]]:
    """Run the API in its own process until the context ends."""
    port = free_port()
    process = await start(folder, environment, "--port", str(port))
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=40) as client:
            async with asyncio.timeout(STARTED_WITHIN_S):
                await answering(client)
            yield process, client
    finally:
        if process.returncode is None:
            process.kill()
        output, _ = await process.communicate()
        capture("main", output.decode())


async def answering(client: httpx.AsyncClient) -> None:
    while True:
        try:
            assert (await client.get("/healthz")).status_code == 200
        except httpx.TransportError:
            await asyncio.sleep(0.05)
        else:
            return


@pytest.fixture
def environment(service_environment: dict[str, str]) -> dict[str, str]:
    """The settings of a process that takes the tests' tokens."""
    return service_environment | {"AUTH_JWT_SECRET": SECRET}


@pytest.fixture
async def resources(environment: dict[str, str]) -> AsyncIterator[Resources]:
    """The same servers, seen from the test."""
    values = {name.lower(): value for name, value in environment.items() if value}
    async with open_resources(Settings(**values)) as resources:  # type: ignore[arg-type]
        yield resources


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_what_waits_and_then_the_process(
    tmp_path: Path, environment: dict[str, str], resources: Resources, number: signal.Signals
) -> None:
    export = await Records(resources).add("running")
    async with serving(tmp_path, environment) as (process, client):
        path = f"/exports/{export.id}"
        waiting = asyncio.create_task(client.get(path, params={"wait": 30}, headers=bearer(mint())))
        await surely_waiting(client)
        process.send_signal(number)
        answer = await asyncio.wait_for(waiting, STOPPED_WITHIN_S)
        assert answer.json()["status"] == "running"
        await asyncio.wait_for(process.wait(), STOPPED_WITHIN_S)


async def surely_waiting(client: httpx.AsyncClient) -> None:
    """Return when the process must have begun to wait: it has answered what came later."""

    async def is_ready() -> bool:
        return (await client.get("/readyz")).status_code == 200

    for _ in range(3):
        await until(is_ready)


async def test_the_process_starts_and_is_alive_while_its_servers_are_away(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    away = {
        "DATABASE_URL": "postgresql://user@127.0.0.1:1/none",
        "REDIS_URL": "redis://127.0.0.1:1",
        "S3_ENDPOINT_URL": "http://127.0.0.1:1",
        "SMTP_URL": "smtp://127.0.0.1:1",
    }
    async with serving(tmp_path, environment | away) as (_, client):
        assert (await client.get("/readyz")).status_code == 503
        answer = await client.get("/exports", headers=bearer(mint()))
        assert answer.status_code == 503
        assert answer.headers["retry-after"]


async def test_the_process_refuses_bad_settings_and_says_which(
    tmp_path: Path,
) -> None:
    short = "too short a secret"
    process = await start(tmp_path, {"AUTH_JWT_SECRET": short, "REDIS_URL": "redis://localhost"})
    output, _ = await process.communicate()
    text = output.decode()
    assert process.returncode != 0
    assert "DATABASE_URL: Field required" in text
    assert "REDIS_URL" not in text
    assert short not in text
    assert "Traceback" not in text


def test_a_rule_about_several_settings_is_reported_without_their_values(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (environment | {"AUTH_JWT_SECRET": "too short a secret"}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as refused:
        settings_from_environment()
    assert "AUTH_JWT_SECRET must be 32 bytes or more" in str(refused.value)
    assert "too short a secret" not in str(refused.value)


def test_the_application_is_made_of_the_environment_when_it_is_requested(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, restore_logging: None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert app.main.app.title == "Audience export"
    with pytest.raises(AttributeError):
        _ = app.main.nothing


@pytest.mark.parametrize("command", [["uvicorn", "app.main:app"], ["workers"]])
async def test_a_broken_mail_template_is_refused_in_one_sentence(
    tmp_path: Path, environment: dict[str, str], command: list[str]
) -> None:
    (tmp_path / "ready.txt").write_text("{{ nobody }}")
    own = {"MAIL_TEMPLATES_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *command,
        cwd=tmp_path,
        env=environment | own | {"PATH": os.environ["PATH"]},
        stdout=PIPE,
        stderr=STDOUT,
    )
    output, _ = await process.communicate()
    text = output.decode()
    assert process.returncode != 0
    assert "MAIL_TEMPLATES_DIR: ready.txt: it has no variable nobody." in text
    assert "Traceback" not in text
