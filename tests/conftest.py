"""Real servers for all tests; each test has its own database, bucket and Redis database."""

import logging
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import hypothesis
import psutil
import pytest
import structlog

from app.config import Settings
from devstack import ceph as ceph_packages
from devstack import citus as citus_cluster
from devstack import pgbouncer, tokens
from devstack import settings as stack_settings
from devstack.ceph import CephServer
from devstack.citus import CitusCluster
from devstack.migrate import migrate
from devstack.postgres import PostgresServer
from devstack.redis import DATABASES, RedisServer
from devstack.s3 import MotoServer, Store
from devstack.sandbox import Process, Sandbox, free_port
from devstack.service_processes import ROOT, start_api, start_worker
from devstack.smtp import SmtpServer
from tests import previous_version
from tests.leak_detector import LeakDetector
from tests.scheduling import GroupScheduling

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PROGRAMS = (
    ("caddy", "caddy", "Caddy"),
    ("curl", "curl", "curl"),
    ("haproxy", "haproxy", "HAProxy"),
    ("kubectl", "kubectl", "kubectl"),
    ("mariadb", "mariadbd", "MariaDB (mariadbd)"),
    ("nginx", "nginx", "nginx"),
    ("office", "soffice", "LibreOffice (soffice)"),
    ("postfix", "postfix", "Postfix"),
    ("promtool", "promtool", "Prometheus' promtool"),
    ("redis", "redis-server", "Redis (redis-server)"),
    ("systemd", "systemd-analyze", "systemd-analyze"),
)
"""Markers of tests that need a program which ``make setup`` does not install."""

GENERATOR = ROOT / ".venv" / "clients" / "bin" / "openapi-python-client"
"""What ``make clients`` installs."""

NPM_TOOLS = ROOT / ".venv" / "npm" / "node_modules"
"""What ``make clients-typescript`` installs."""

MEMORY = "/dev/shm"  # noqa: S108 - each run makes a folder of its own in it
MEMORY_MIN_BYTES = 10 * 2**30

TEMPLATE = "migrated"
LISTENING = "listening"

LOGGERS = ("", "uvicorn", "uvicorn.error", "uvicorn.access", "arq")
"""Loggers whose handlers and levels the service configures."""

LONGEST = (
    "tests/end_to_end/",
    "tests/adapters/s3/",
    "tests/browser/",
    "tests/plans/",
    "tests/audience/test_concurrency.py",
    "tests/chaos/",
    "tests/benchmarks/",
    "tests/workers/",
    "tests/security/",
)
"""Folders and files with the longest groups: what starts last ends last."""

numbers = count(1)


def browser_path() -> str | None:
    """Return where Chromium is installed, or ``None``."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def pytest_configure(config: pytest.Config) -> None:
    """Remove the developer's settings from the environment, and register the leak detector.

    Hypothesis fails no test for the time that it takes, which a loaded machine would decide,
    nor for a fixture that all examples share: a database for each would take minutes.

    Coverage is measured in the test processes only, not in those that tests start: these
    would take a third longer, and Python 3.11 can hang for ever when greenlet cleans up
    ended threads while another ends under a tracer.
    """
    config.pluginmanager.register(LeakDetector(), LISTENING)
    untimed = [hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture]
    hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=untimed)
    hypothesis.settings.load_profile("untimed")
    for name in list(os.environ):
        if name in stack_settings.setting_names() or name.startswith("AWS_"):
            del os.environ[name]
        if name.startswith("COVERAGE_") and not config.getoption("numprocesses", None):
            del os.environ[name]
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    Settings.model_config["env_file"] = None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the slowest first."""
    items.sort(key=lambda item: rank(item.nodeid))


def rank(nodeid: str) -> int:
    """Return the place of a test among the longest, or after them."""
    places = (place for place, name in enumerate(LONGEST) if nodeid.startswith(name))
    return next(places, len(LONGEST))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> GroupScheduling:
    """Run each group of tests in one process."""
    return GroupScheduling(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests whose program is not installed, or fail them with REQUIRE_*=1."""
    require(item, "ceph", ceph_packages.available(), "Ceph's radosgw is not installed")
    require(item, "pgbouncer", pgbouncer.available(), "PgBouncer is not installed")
    require(item, "citus", citus_cluster.programs() is not None, citus_cluster.ABSENT)
    require(item, "clients", GENERATOR.exists(), "openapi-python-client is not installed")
    has_npm_tools = NPM_TOOLS.exists() and shutil.which("node") is not None
    require(item, "npm", has_npm_tools, "what make clients-typescript installs is missing")
    require(item, "browser", browser_path() is not None, "Chromium is not installed")
    require(item, "history", previous_version.available(), previous_version.MISSING)
    for marker, program, name in PROGRAMS:
        is_there = shutil.which(program, path=ceph_packages.search_path()) is not None
        require(item, marker, is_there, f"{name} is not installed")


def require(item: pytest.Item, marker: str, available: bool, otherwise: str) -> None:
    """Skip or fail ``item`` unless its marker's program is available."""
    if available or item.get_closest_marker(marker) is None:
        return
    variable = f"REQUIRE_{marker.upper()}"
    if os.environ.get(variable) == "1":
        pytest.fail(f"{otherwise}, and {variable}=1 asks for it", pytrace=False)
    pytest.skip(otherwise)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Chromium, for tests marked ``browser``."""
    path = browser_path()
    assert path is not None, "mark the test with pytest.mark.browser"
    return path


@pytest.fixture(scope="session")
def listening(pytestconfig: pytest.Config) -> LeakDetector:
    """The leak detector of this session."""
    plugin = pytestconfig.pluginmanager.get_plugin(LISTENING)
    assert isinstance(plugin, LeakDetector)
    return plugin


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """The working folder of this session's servers."""
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """PostgreSQL for all tests; a test that stops it must start it again."""
    with Sandbox(memory_folder()) as sandbox:
        server = PostgresServer(sandbox, settings={"wal_retrieve_retry_interval": "500ms"})
        server.start()
        yield server


def memory_folder() -> str | None:
    """Return a folder in memory if there is room.

    Each test's database is a copy of 300 files. On a disk these copies were a third of the whole
    run's processor time.
    """
    try:
        free = min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available)
    except OSError:
        return None
    return MEMORY if free > MEMORY_MIN_BYTES and os.access(MEMORY, os.W_OK) else None


@pytest.fixture
def restore_logging() -> Iterator[None]:
    """Lets a test configure logging, which is global to the process, and restores it."""
    hook, factory = sys.excepthook, logging.getLogRecordFactory()
    loggers = [logging.getLogger(name) for name in LOGGERS]
    saved = [(list(each.handlers), each.propagate, each.level) for each in loggers]
    yield
    for logger, (handlers, propagate, level) in zip(loggers, saved, strict=True):
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)
    sys.excepthook = hook
    logging.setLogRecordFactory(factory)
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def redis_server(sandbox: Sandbox) -> RedisServer:
    """Redis for all tests; a test that stops it must start it again."""
    server = RedisServer(sandbox)
    server.start()
    return server


@pytest.fixture(scope="session")
def moto(sandbox: Sandbox) -> MotoServer:
    """moto's S3 over HTTP."""
    server = MotoServer(sandbox)
    server.start()
    return server


@pytest.fixture(scope="session")
def ceph(sandbox: Sandbox) -> CephServer:
    """Ceph's S3, for tests marked ``ceph``."""
    server = CephServer(sandbox)
    server.start()
    return server


@pytest.fixture(scope="session")
def citus(sandbox: Sandbox) -> CitusCluster:
    """Three nodes of Citus, for tests marked ``citus``."""
    cluster = CitusCluster(sandbox)
    cluster.start()
    return cluster


@pytest.fixture(scope="module")
def ceph_fast_lifecycle() -> Iterator[CephServer]:
    """A Ceph for one module, on which a lifecycle day lasts one second.

    It processes its rules all the time, so it is stopped after the module.
    """
    with Sandbox() as sandbox:
        server = CephServer(sandbox, lc_day_s=1)
        server.start()
        yield server


@pytest.fixture(scope="session")
def session_smtp_server(sandbox: Sandbox) -> SmtpServer:
    """The SMTP server behind ``smtp_server``."""
    server = SmtpServer(sandbox)
    server.start()
    return server


@pytest.fixture
def smtp_server(session_smtp_server: SmtpServer) -> SmtpServer:
    """An SMTP server whose ``mailbox`` is empty when the test begins."""
    session_smtp_server.empty()
    return session_smtp_server


@pytest.fixture(scope="session")
def migrated_template(postgres: PostgresServer) -> str:
    """The name of a migrated database, used as a template."""
    url = postgres.create_database(TEMPLATE)
    migrate(stack_settings.service_settings() | {"DATABASE_URL": url})
    return TEMPLATE


@pytest.fixture
def database_url(postgres: PostgresServer, migrated_template: str) -> Iterator[str]:
    """The URL of an empty, migrated database for this test."""
    name = f"test_{next(numbers)}"
    yield postgres.create_database(name, template=migrated_template)
    postgres.drop_database(name)


@pytest.fixture
def empty_database_url(postgres: PostgresServer) -> Iterator[str]:
    """The URL of a database without a schema, for this test."""
    name = f"test_{next(numbers)}"
    yield postgres.create_database(name)
    postgres.drop_database(name)


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The URL of an empty Redis database for this test."""
    return redis_server.empty(next(numbers) % DATABASES)


@pytest.fixture
def moto_store(moto: MotoServer, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A bucket on moto for this test; boto's environment is set to it."""
    return use(moto.store(), monkeypatch)


@pytest.fixture
def ceph_store(ceph: CephServer, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A bucket on Ceph for this test, marked ``ceph``; boto's environment is set to it."""
    return use(ceph.store(), monkeypatch)


@pytest.fixture(params=["moto", pytest.param("ceph", marks=pytest.mark.ceph)])
def s3_store(request: pytest.FixtureRequest) -> Store:
    """A bucket for this test, which runs once on moto and once on Ceph."""
    store: Store = request.getfixturevalue(f"{request.param}_store")
    return store


def use(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Set boto's environment variables in this process to ``store``."""
    for name, value in stack_settings.with_defaults(
        stack_settings.store_settings(store), {}
    ).items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    return store


@pytest.fixture
def service_environment(
    database_url: str, redis_url: str, moto_store: Store, smtp_server: SmtpServer
) -> dict[str, str]:
    """The service's settings as environment variables, for this test's servers."""
    servers = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "SMTP_URL": smtp_server.url}
    own = stack_settings.service_settings() | servers | stack_settings.store_settings(moto_store)
    return stack_settings.with_defaults(own | {"PUBLIC_URL": "http://127.0.0.1:9"}, {})


@dataclass(frozen=True)
class RunningService:
    """An API and a worker as processes; ``names`` holds the variables of devstack's file."""

    url: str
    names: dict[str, str]
    api: Process
    worker: Process
    smtp: SmtpServer


@pytest.fixture
def running_service(
    sandbox: Sandbox, service_environment: dict[str, str], smtp_server: SmtpServer
) -> Iterator[RunningService]:
    """The service as in production, on this test's database, Redis database, bucket and mailbox."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = service_environment | {"PUBLIC_URL": url}
    api = start_api(sandbox, settings, port)
    worker = start_worker(sandbox, settings)
    names = settings | tokens.demo_tokens(settings)
    yield RunningService(url, names, api, worker, smtp_server)
    worker.stop()
    api.stop()
