"""The browsers, a storefront with the dialog on its page, and the service behind it."""

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from itertools import count
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from app.database.connections import Connection, connect
from devstack import settings as stack_settings
from devstack.postgres import PostgresServer
from devstack.redis import RedisServer
from devstack.s3 import MotoServer
from devstack.sandbox import Sandbox, free_port
from devstack.smtp import SmtpServer
from tests.audience.storefront import Storefront
from tests.browser.dialog import Dialog, launch
from tests.browser.engine_page import USUAL, EnginePage
from tests.browser.engines import Engine, firefox, webkit
from tests.browser.service import Records, Service
from tests.browser.shop import Shop
from tests.browser.stub import StubbedService

MANY = {"MAX_ACTIVE_EXPORTS_PER_SELLER": "100", "MAX_EXPORTS_PER_SELLER_PER_HOUR": "1000"}

sellers = count(100)

Visit = Callable[..., Awaitable[Dialog]]
Open = Callable[..., Awaitable[EnginePage]]

ENGINES = {"firefox": "firefox-esr", "webkit": "WebKitWebDriver"}

expect.set_options(timeout=10_000)


@pytest.fixture(scope="session")
def shop() -> Iterator[Shop]:
    """The storefront."""
    shop = Shop()
    yield shop
    shop.close()


@pytest.fixture(scope="session")
def service(
    sandbox: Sandbox,
    postgres: PostgresServer,
    migrated_template: str,
    moto: MotoServer,
    session_smtp_server: SmtpServer,
    shop: Shop,
) -> Iterator[Service]:
    """The export service, for all tests in a browser."""
    redis = RedisServer(sandbox, name="browser-redis")
    redis.start()
    port = free_port()
    servers = {
        "DATABASE_URL": postgres.create_database("browser", template=migrated_template),
        "REDIS_URL": redis.url(),
        "SMTP_URL": session_smtp_server.url,
        "MAILBOX_DIR": str(session_smtp_server.mailbox),
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "CORS_ORIGINS": shop.origin,
    }
    own = (
        stack_settings.service_settings()
        | servers
        | stack_settings.store_settings(moto.store())
        | MANY
    )
    settings = stack_settings.with_defaults(own, {})
    service = Service(sandbox, settings, port, session_smtp_server)
    service.start()
    shop.api_url, shop.secret = service.url, settings["AUTH_JWT_SECRET"]
    yield service
    service.stop()


@pytest.fixture(scope="session")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """Debian's Chromium."""
    async with async_playwright() as playwright, await launch(playwright, chromium) as browser:
        yield browser


@pytest.fixture
async def connection(service: Service) -> AsyncIterator[Connection]:
    """One connection to the service's database."""
    connection = await connect(service.settings["DATABASE_URL"])
    yield connection
    await connection.close()


@pytest.fixture
def records(service: Service, connection: Connection) -> Records:
    """The exports' rows."""
    return Records(service.settings, connection)


@pytest.fixture
def storefront(connection: Connection) -> Storefront:
    """The source tables."""
    return Storefront(connection)


@pytest.fixture
def seller_id() -> int:
    """A seller that only this test uses."""
    return next(sellers)


@pytest.fixture
async def audience(storefront: Storefront, seller_id: int) -> None:
    """Three followers, two customers and an affiliate: five people, since one is counted twice."""
    for name in ("ann", "bea", "cem"):
        await storefront.follow(f"{name}@example.com", seller_id=seller_id)
    for name in ("ann", "dee"):
        await storefront.buy(f"{name}@example.com", seller_id=seller_id)
    await storefront.refer("eve@example.com", seller_id=seller_id)


@pytest.fixture
async def visit(
    browser: Browser, service: Service, shop: Shop, seller_id: int, audience: None
) -> AsyncIterator[Visit]:
    """Opens the storefront's page for the test's seller; options are those of a browser context.

    At the end, no page may have violated its security policy or raised an exception.
    """
    pages: list[Page] = []
    errors: list[str] = []
    contexts = []

    async def visit(
        *, origin: str | None = None, lang: str = "en", direction: str = "ltr", **options: Any
    ) -> Dialog:
        context = await browser.new_context(**({"reduced_motion": "reduce"} | options))
        contexts.append(context)
        page = await context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        query = f"seller={seller_id}&lang={lang}&dir={direction}"
        await page.goto(f"{origin or shop.origin}/?{query}")
        pages.append(page)
        return Dialog(page)

    yield visit
    violations = [each for page in pages for each in await page.evaluate("violations")]
    for context in contexts:
        await context.close()
    assert not errors
    assert not violations


@pytest.fixture(scope="module")
async def stub_page(
    browser: Browser, service: Service, shop: Shop
) -> AsyncIterator[StubbedService]:
    """One page for a module, whose service is a stub."""
    page = await browser.new_page(reduced_motion="reduce", locale="en-GB")
    stub = StubbedService(page, service.url)
    await stub.install()
    yield stub
    await page.context.close()


@pytest.fixture
async def stub(stub_page: StubbedService, shop: Shop) -> AsyncIterator[StubbedService]:
    """The stubbed service, and its page opened again with nothing stored."""
    stub_page.begin()
    page = stub_page.page
    errors: list[str] = []
    page.once("pageerror", lambda error: errors.append(str(error)))
    await page.goto(f"{shop.origin}/?seller=1&lang=en&dir=ltr")
    await page.evaluate("localStorage.clear()")
    await page.reload()
    yield stub_page
    assert not errors
    assert await page.evaluate("violations") == []


@pytest.fixture
def dialog(stub: StubbedService) -> Dialog:
    """The dialog on the page of the stubbed service."""
    return Dialog(stub.page)


@pytest.fixture(scope="package", params=ENGINES)
async def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Engine]:
    """Firefox and WebKitGTK, where they are installed."""
    if shutil.which(ENGINES[request.param]) is None:
        reason = f"{ENGINES[request.param]} is not installed"
        if os.environ.get("REQUIRE_ENGINES"):
            pytest.fail(reason)
        pytest.skip(reason)
    async with AsyncExitStack() as stack:
        if request.param == "firefox":
            profile = tmp_path_factory.mktemp("firefox")
            yield await stack.enter_async_context(firefox(profile))
        else:
            yield await stack.enter_async_context(webkit())


@pytest.fixture
async def served(
    engine: Engine, service: Service, shop: Shop, seller_id: int, audience: None
) -> AsyncIterator[Open]:
    """Opens the storefront's page in an engine for the test's seller, with the service."""

    async def served(query: str = "", origin: str = shop.origin) -> EnginePage:
        page = await EnginePage.load(engine, f"{origin}/?seller={seller_id}{query}")
        await page.run("localStorage.clear()")
        return page

    yield served
    assert await engine.script("return violations") == []


@pytest.fixture
async def stubbed(engine: Engine, service: Service, shop: Shop) -> AsyncIterator[Open]:
    """Opens the page in an engine, for seller 1 and with a service that answers as the test says.

    ``path`` is ``/frame`` for a page in a frame; what is stored is kept where ``keep`` is true.
    """

    async def stubbed(query: str = "", *, path: str = "/", keep: bool = False) -> EnginePage:
        url = f"{shop.origin}{path}?seller=1&stub=1&axe=1{query}"
        page = await EnginePage.load(engine, url, in_frame=path != "/")
        if not keep:
            await page.run("localStorage.clear()")
        await page.answer(USUAL)
        await page.sign_in(1)
        await page.run("element.getToken = async () => token")
        await page.wait_until_shown("#trigger")
        return page

    yield stubbed
    assert await engine.script("return violations") == []
