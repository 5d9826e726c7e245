"""The real application, on a database, a queue and a bucket per test."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient

from app import readiness
from app.config import Settings
from app.main import create_app
from app.resources import Resources
from tests.api.records import Records
from tests.leak_detector import capture_problem
from tests.polling import HANGS_S
from tests.tokens import SECRET, bearer, mint, mint_for_service

Start = Callable[..., AbstractAsyncContextManager[tuple[AsyncClient, Resources]]]


@pytest.fixture(autouse=True)
def patient_readiness(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine what can be reached may take longer than a probe waits."""
    monkeypatch.setattr(readiness, "CHECK_TIMEOUT_S", HANGS_S)


@asynccontextmanager
async def started(settings: Settings) -> AsyncIterator[tuple[AsyncClient, Resources]]:
    """Run the application; yield a client without a token, and its resources."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        transport = ASGITransport(app)
        async with AsyncClient(
            transport=transport,
            base_url="http://exports.test",
            event_hooks={"response": [capture_problem]},
        ) as client:
            yield client, app.state.resources


@pytest.fixture
def start(service_environment: dict[str, str]) -> Start:
    """Starts the application with some settings changed."""

    def start(**changes: Any) -> AbstractAsyncContextManager[tuple[AsyncClient, Resources]]:
        usual = {name.lower(): value for name, value in service_environment.items() if value}
        settings = Settings(**(usual | {"auth_jwt_secret": SECRET} | changes))
        return started(settings)

    return start


@pytest.fixture
async def running(start: Start) -> AsyncIterator[tuple[AsyncClient, Resources]]:
    """The application with its usual settings."""
    async with start() as running:
        yield running


@pytest.fixture
def anonymous(running: tuple[AsyncClient, Resources]) -> AsyncClient:
    """A client without a token."""
    return running[0]


@pytest.fixture
def resources(running: tuple[AsyncClient, Resources]) -> Resources:
    """The application's resources."""
    return running[1]


@pytest.fixture
def seller(anonymous: AsyncClient) -> AsyncClient:
    """A client with the token of seller 1."""
    anonymous.headers.update(bearer(mint()))
    return anonymous


@pytest.fixture
def service(anonymous: AsyncClient) -> AsyncClient:
    """A client with a token for all sellers."""
    anonymous.headers.update(bearer(mint_for_service()))
    return anonymous


@pytest.fixture
def records(resources: Resources) -> Records:
    """Creates exports in any state."""
    return Records(resources)
