"""``python -m devstack`` from outside."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import jwt
import psutil
import pytest

from devstack.env_file import write
from devstack.postgres import PostgresServer
from devstack.redis import RedisServer
from devstack.sandbox import free_port
from devstack.service_processes import ROOT

DEADLINE_S = 60


@contextmanager
def command(
    env_file: Path,
    *options: str,
    environment: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run ``python -m devstack`` until its file is there; end it with the block."""
    with (log or Path(os.devnull)).open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "devstack", "--env-file", str(env_file), *options],
            cwd=ROOT,
            env=os.environ | dict(environment or {}),
            stderr=output,
        )
    try:
        wait_until(lambda: env_file.exists() or process.poll() is not None)
        assert process.poll() is None, "devstack ended"
        yield process
    finally:
        process.kill()
        process.wait()


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)


def read(env_file: Path) -> dict[str, str]:
    """Read the file as a shell does."""
    script = 'set -a; . "$0"; env -0'
    shell = ["env", "-i", "sh", "-c", script, str(env_file)]
    seen = subprocess.run(shell, capture_output=True, check=True).stdout.decode()
    return dict(line.split("=", 1) for line in seen.strip("\0").split("\0"))


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    return tmp_path / "env"


def test_the_stack_answers_and_ends_with_its_signal(env_file: Path) -> None:
    with command(env_file) as process:
        names = read(env_file)

        wait_until(lambda: httpx.get(f"{names['API_URL']}/readyz").status_code == 200)
        assert names["PUBLIC_URL"] == names["API_URL"]
        assert Path(names["MAILBOX_DIR"]).is_dir()
        for name in ("API_PID", "WORKER_PID"):
            os.kill(int(names[name]), 0)

        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0
        assert not Path(names["MAILBOX_DIR"]).exists()
        for name in ("API_PID", "WORKER_PID"):
            with pytest.raises(ProcessLookupError):
                os.kill(int(names[name]), 0)


def test_a_second_signal_ends_everything_at_once(env_file: Path) -> None:
    with command(env_file, "--services-only") as process:
        folder = Path(read(env_file)["MAILBOX_DIR"]).parent
        for child in psutil.Process(process.pid).children():
            if child.name() == "valkey-server":
                child.send_signal(signal.SIGSTOP)  # so that stopping it takes its time

        while process.poll() is None:
            process.send_signal(signal.SIGTERM)
            time.sleep(0.05)

        assert process.returncode == 128 + signal.SIGTERM
        wait_until(lambda: not folder.exists())


def test_the_tokens_are_those_of_the_contract_behind_a_proxy_too(env_file: Path) -> None:
    port = free_port()
    proxy = {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    with command(env_file, "--services-only", "--port", str(port), environment=proxy):
        names = read(env_file)

    seller, service = (
        jwt.decode(token, names["AUTH_JWT_SECRET"], ["HS256"], audience="audience-export")
        for token in (names["SELLER_TOKEN"], names["SERVICE_TOKEN"])
    )
    assert (seller["seller_id"], seller["email"]) == (1, "seller1@example.com")
    assert "seller_id" not in service
    assert {"sellers:all", "audience:write"} <= set(service["scope"].split())
    assert names["PUBLIC_URL"] == f"http://127.0.0.1:{port}"
    assert "API_PID" not in names


def test_servers_that_are_set_are_used_instead_of_own_ones(
    env_file: Path, postgres: PostgresServer, empty_database_url: str, redis_server: RedisServer
) -> None:
    given = {
        "DATABASE_URL": empty_database_url,
        "REDIS_URL": redis_server.url(),
        "SMTP_URL": "smtp://127.0.0.1:9",
        "S3_ENDPOINT_URL": "http://127.0.0.1:9",
        "S3_BUCKET": "theirs",
        "EXPORT_STREAMS": "3",
    }
    said = env_file.with_name("said")
    with command(env_file, "--services-only", environment=given, log=said):
        names = read(env_file)
        logs = {path.stem for path in Path(names["MAILBOX_DIR"]).parent.glob("*.log")}

    assert {name: names[name] for name in given} == given
    assert logs <= {"remover"}
    assert postgres.execute("TABLE followers", empty_database_url.rsplit("/", 1)[1]) == ""
    first = said.read_text().splitlines()[0]
    assert all(name in first for name in given if name.endswith("_URL"))
    assert "AUDIENCE_DATABASE_URL" not in first
    assert postgres.password not in first


def test_it_invents_an_audience_only_if_asked_to(
    env_file: Path, postgres: PostgresServer, empty_database_url: str
) -> None:
    given = {"DATABASE_URL": empty_database_url}
    with command(env_file, "--services-only", "--seed", "120", environment=given):
        name = empty_database_url.rsplit("/", 1)[1]
        assert postgres.execute("SELECT count(*) FROM audience_members", name) == "120"


def test_a_file_that_it_did_not_write_is_refused_before_anything_starts(env_file: Path) -> None:
    env_file.write_text("MINE=1")

    done = failed(env_file, {})

    assert done.returncode == 1
    assert done.stderr.startswith(f"devstack: {env_file} was not written by devstack")
    assert len(done.stderr.splitlines()) == 1
    assert env_file.read_text() == "MINE=1"


def test_what_does_not_start_is_said_and_leaves_no_file(env_file: Path) -> None:
    write(env_file, {"STALE": "1"})

    done = failed(env_file, {"DATABASE_URL": "postgresql://127.0.0.1:9/nowhere"})

    assert done.returncode == 1
    assert "DATABASE_URL (127.0.0.1:9)" in done.stderr.splitlines()[0]
    assert "alembic upgrade head" in done.stderr
    assert not env_file.exists()


def failed(env_file: Path, given: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run ``python -m devstack``, which ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "devstack", "--env-file", str(env_file)],
        cwd=ROOT,
        env=os.environ | given,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )
