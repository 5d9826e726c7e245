"""Servers with certificates of a private authority, and the variable that names it."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from app.adapters.s3.storage import open_storage
from app.adapters.smtp.mailer import open_mailer
from app.adapters.webhooks.http_client import open_webhooks
from app.auth.jwks import KeyServer
from app.errors import (
    DatabaseUnavailable,
    JwksUnavailable,
    MailDeferred,
    QueueUnavailable,
    ServiceError,
    StorageUnavailable,
    WebhookFailed,
)
from devstack.certificates import Certificate, issue
from devstack.s3 import Store
from devstack.service_processes import ROOT
from devstack.smtp import SmtpServer
from tests.adapters.settings import settings_for, settings_with
from tests.key_server import public_jwk, running_key_server
from tests.security.test_tls import answer_of_database, at, check_queue, tls_before
from tests.webhook_server import running_webhook_server

Ask = Callable[[], Awaitable[object]]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate by a private authority."""
    return issue(tmp_path_factory.mktemp("private"))


@pytest.fixture
async def postgresql(database_url: str, certificate: Certificate) -> AsyncIterator[str]:
    """The address of a database with such a certificate, verified fully."""
    async with tls_before(database_url, certificate, asks_first=True) as port:
        yield at(database_url, port, "sslmode=verify-full")


async def test_postgresql_by_a_file_in_the_address(
    postgresql: str, certificate: Certificate
) -> None:
    assert await answer_of_database(f"{postgresql}&sslrootcert={certificate.authority}") == 1


async def test_postgresql_by_libpq_s_variable(
    postgresql: str, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGSSLROOTCERT", str(certificate.authority))
    assert await answer_of_database(postgresql) == 1


async def test_postgresql_by_the_machine_s_authorities(
    postgresql: str, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{postgresql}&sslrootcert=system"
    with pytest.raises(DatabaseUnavailable):
        await answer_of_database(url)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.authority))
    assert await answer_of_database(url) == 1


async def test_redis(
    redis_url: str, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with tls_before(redis_url, certificate, asks_first=False) as port:
        url = at(redis_url, port, "").replace("redis://", "rediss://")
        await check_queue(f"{url}?ssl_ca_certs={certificate.authority}")
        await refused_then_trusted(
            lambda: check_queue(url), QueueUnavailable, "SSL_CERT_FILE", certificate, monkeypatch
        )


async def test_the_mail_server(
    smtp_server: SmtpServer, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with tls_before(smtp_server.url, certificate, asks_first=False) as port:

        async def ask() -> None:
            async with open_mailer(settings_with(smtp_url=f"smtps://127.0.0.1:{port}")) as mailer:
                await mailer.check()

        await refused_then_trusted(ask, MailDeferred, "SSL_CERT_FILE", certificate, monkeypatch)


async def test_the_store(
    moto_store: Store, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with tls_before(moto_store.endpoint_url, certificate, asks_first=False) as port:
        settings = settings_for(moto_store, s3_endpoint_url=f"https://127.0.0.1:{port}")

        async def ask() -> None:
            async with open_storage(settings) as storage:
                await storage.check()

        with monkeypatch.context() as other:
            other.setenv("SSL_CERT_FILE", str(certificate.authority))
            with pytest.raises(StorageUnavailable):
                await ask()
        await refused_then_trusted(
            ask, StorageUnavailable, "AWS_CA_BUNDLE", certificate, monkeypatch
        )


async def test_the_key_server(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_key_server() as server:
        server.publish(public_jwk("RS256", "a"))
        async with tls_before(server.url, certificate, asks_first=False) as port:
            key_server = KeyServer(f"https://127.0.0.1:{port}/keys")
            await refused_then_trusted(
                key_server.check, JwksUnavailable, "SSL_CERT_FILE", certificate, monkeypatch
            )


async def test_webhooks(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_with(webhook_allowed_networks="127.0.0.0/8")
    with running_webhook_server(certificate=certificate.server) as server:

        async def ask() -> None:
            async with open_webhooks(settings) as caller:
                await caller.post(server.url, {}, b"{}")

        await refused_then_trusted(ask, WebhookFailed, "SSL_CERT_FILE", certificate, monkeypatch)


async def refused_then_trusted(
    ask: Ask,
    error: type[ServiceError],
    variable: str,
    certificate: Certificate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Show that a call fails by its certificate, and succeeds with the variable."""
    with pytest.raises(error) as refused:
        await ask()
    told = f"{refused.value} {getattr(refused.value, 'detail', '')}"
    assert "certificate verify failed" in told
    monkeypatch.setenv(variable, str(certificate.authority))
    await ask()
    monkeypatch.delenv(variable)


def test_the_page_names_every_variable() -> None:
    page = (ROOT / "docs" / "deploy.md").read_text()
    section = page.partition("## Private certificate authorities")[2].partition("\n## ")[0]
    named = set(re.findall(r"`([A-Z][A-Z0-9_]+)`", section))
    assert {"SSL_CERT_FILE", "AWS_CA_BUNDLE", "PGSSLROOTCERT"} <= named
