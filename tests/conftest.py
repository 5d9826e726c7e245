"""Real servers for all tests; a database, a bucket and Redis keys of its own for each."""

import logging
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import pytest
import structlog

from app.config import Settings
from devstack import ceph as ceph_packages
from devstack import pgbouncer, tokens
from devstack import settings as stack_settings
from devstack.ceph import CephServer
from devstack.migrate import migrate
from devstack.postgres import PostgresServer
from devstack.redis import DATABASES, RedisServer
from devstack.s3 import MotoServer, Store
from devstack.sandbox import Process, Sandbox, free_port
from devstack.service import start_api, start_worker
from devstack.smtp import SmtpServer
from tests.listening import Listening

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
TEMPLATE = "migrated"
LISTENING = "listening"

LOGGERS = ("", "uvicorn", "uvicorn.error", "uvicorn.access", "arq")
"""Whose handlers and levels the service sets up."""

LONGEST = (
    "tests/end_to_end/",
    "tests/chaos/",
    "tests/workers/",
    "tests/security/",
    "tests/audience/test_concurrency.py",
)
numbers = count(1)


def browser_path() -> str | None:
    """Return where Chromium is installed, or ``None``."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def pytest_configure(config: pytest.Config) -> None:
    """Keep the settings of whoever runs the tests out of them, and listen to the service.

    Coverage is of the processes that run tests, not of those that tests start: these would
    take a third longer, and Python 3.11 can spin for ever where greenlet clears up after
    threads that have ended while another ends and a tracer is on.
    """
    config.pluginmanager.register(Listening(), LISTENING)
    for name in list(os.environ):
        if name in stack_settings.names() or name.startswith("AWS_"):
            del os.environ[name]
        if name.startswith("COVERAGE_") and not config.getoption("numprocesses", None):
            del os.environ[name]
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    Settings.model_config["env_file"] = None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Deal tests out to processes: what shares a server together, what waits longest first."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group_of(item)))


def group_of(item: pytest.Item) -> str:
    """Return what runs in one process with ``item``: its file, or all with its server."""
    folder, _, file = item.nodeid.partition("::")[0].rpartition("/")
    if item.get_closest_marker("ceph"):
        return "ceph"
    if folder == "tests/end_to_end":
        return "pgbouncer" if item.get_closest_marker("pgbouncer") else "stack"
    return "browser" if folder == "tests/browser" else f"{folder}/{file}"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, or with REQUIRE_*=1 fail, what needs a program that is not installed."""
    needs(item, "ceph", ceph_packages.available(), "Ceph's radosgw is not installed")
    promtool = shutil.which("promtool") is not None
    needs(item, "promtool", promtool, "Prometheus' promtool is not installed")
    needs(item, "pgbouncer", pgbouncer.available(), "PgBouncer is not installed")
    needs(item, "browser", browser_path() is not None, "Chromium is not installed")


def needs(item: pytest.Item, marker: str, available: bool, otherwise: str) -> None:
    """Let ``item`` run only if what its marker names is available."""
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
def listening(pytestconfig: pytest.Config) -> Listening:
    """Hears what the service says in this session."""
    plugin = pytestconfig.pluginmanager.get_plugin(LISTENING)
    assert isinstance(plugin, Listening)
    return plugin


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """The folder of all servers of this session."""
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def postgres(sandbox: Sandbox) -> PostgresServer:
    """PostgreSQL for all tests; whoever stops it starts it again."""
    server = PostgresServer(sandbox, settings={"wal_retrieve_retry_interval": "500ms"})
    server.start()
    return server


@pytest.fixture
def kept_logging() -> Iterator[None]:
    """Lets a test set up logging, which is one for the whole process, and undoes it."""
    hook, factory = sys.excepthook, logging.getLogRecordFactory()
    loggers = [logging.getLogger(name) for name in LOGGERS]
    kept = [(list(each.handlers), each.propagate, each.level) for each in loggers]
    yield
    for logger, (handlers, propagate, level) in zip(loggers, kept, strict=True):
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)
    sys.excepthook = hook
    logging.setLogRecordFactory(factory)
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def redis_server(sandbox: Sandbox) -> RedisServer:
    """Redis for all tests; whoever stops it starts it again."""
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


@pytest.fixture(scope="module")
def hasty_ceph() -> Iterator[CephServer]:
    """A Ceph of the module's own on which a lifecycle day lasts one second.

    It works through its rules all the time, so it ends with the module.
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
    """The name of a database at the newest schema, to make others from."""
    url = postgres.create_database(TEMPLATE)
    migrate(stack_settings.of_service() | {"DATABASE_URL": url})
    return TEMPLATE


@pytest.fixture
def database_url(postgres: PostgresServer, migrated_template: str) -> Iterator[str]:
    """The address of an empty database at the newest schema, the test's own."""
    name = f"test_{next(numbers)}"
    yield postgres.create_database(name, template=migrated_template)
    postgres.drop_database(name)


@pytest.fixture
def empty_database_url(postgres: PostgresServer) -> Iterator[str]:
    """The address of a database without any schema, the test's own."""
    name = f"test_{next(numbers)}"
    yield postgres.create_database(name)
    postgres.drop_database(name)


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The address of an empty Redis database, the test's own."""
    return redis_server.empty(next(numbers) % DATABASES)


@pytest.fixture
def moto_store(moto: MotoServer, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A bucket of the test's own on moto; boto's environment is set for it."""
    return use(moto.store(), monkeypatch)


@pytest.fixture
def ceph_store(ceph: CephServer, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A bucket of the test's own on Ceph, for tests marked ``ceph``; boto's environment too."""
    return use(ceph.store(), monkeypatch)


@pytest.fixture(params=["moto", pytest.param("ceph", marks=pytest.mark.ceph)])
def s3_store(request: pytest.FixtureRequest) -> Store:
    """A bucket of the test's own, on either kind of store; the test runs with both."""
    store: Store = request.getfixturevalue(f"{request.param}_store")
    return store


def use(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Let boto's credential chain in this process lead to ``store``."""
    for name, value in stack_settings.complete(stack_settings.of_store(store), {}).items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    return store


@pytest.fixture
def service_environment(
    database_url: str, redis_url: str, moto_store: Store, smtp_server: SmtpServer
) -> dict[str, str]:
    """Every setting of the service, as variables, for the test's own database, keys and bucket."""
    servers = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "SMTP_URL": smtp_server.url}
    own = stack_settings.of_service() | servers | stack_settings.of_store(moto_store)
    return stack_settings.complete(own | {"PUBLIC_URL": "http://127.0.0.1:9"}, {})


@dataclass(frozen=True)
class RunningService:
    """An API and a worker in processes of their own; ``names`` is what devstack's file holds."""

    url: str
    names: dict[str, str]
    api: Process
    worker: Process
    smtp: SmtpServer


@pytest.fixture
def running_service(
    sandbox: Sandbox, service_environment: dict[str, str], smtp_server: SmtpServer
) -> Iterator[RunningService]:
    """The service as in production, on the test's own database, keys, bucket and mailbox."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = service_environment | {"PUBLIC_URL": url}
    api = start_api(sandbox, settings, port)
    worker = start_worker(sandbox, settings)
    names = settings | tokens.of_demo(settings)
    yield RunningService(url, names, api, worker, smtp_server)
    worker.stop()
    api.stop()
