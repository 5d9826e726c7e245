"""The caller of webhooks: nobody inside, nobody else than the name says, nobody twice."""

import ssl
from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_network
from pathlib import Path

import httpx
import pytest

from app.adapters.webhooks import HttpWebhooks, open_webhooks
from app.errors import WebhookFailed
from devstack.certificates import issue
from tests.adapters.settings import settings_with
from tests.webhook_server import WebhookServer, running_webhook_server

LOOPBACK = [ip_network("127.0.0.0/8"), ip_network("::1/128")]

INSIDE = [
    "https://127.0.0.1/",
    "https://10.1.2.3/",
    "https://192.168.0.1:8443/",
    "https://169.254.169.254/latest/meta-data",
    "https://100.64.0.1/",
    "https://0.0.0.0/",
    "https://localhost/",
    "https://2130706433/",
    "https://[::1]/",
    "https://[fe80::1]/",
    "https://[fd00::1]/",
    "https://[::ffff:10.0.0.1]/",
    "https://[64:ff9b::a00:1]/",
    "https://[2002:a00:1::]/",
    "https://224.0.0.1/",
    "http://93.184.216.34/",
    "ftp://93.184.216.34/",
    "https://user:secret@93.184.216.34/",
]


@pytest.fixture
def server() -> Iterator[WebhookServer]:
    """An endpoint."""
    with running_webhook_server() as server:
        yield server


@pytest.fixture
async def caller() -> AsyncIterator[HttpWebhooks]:
    """A caller that may call this machine."""
    async with httpx.AsyncClient(trust_env=False) as client:
        yield HttpWebhooks(client, LOOPBACK)


@pytest.mark.parametrize("url", INSIDE)
async def test_nothing_inside_is_called(url: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(WebhookFailed, match=r"private|plain"):
            await HttpWebhooks(client, []).post(url, {}, b"{}")


async def test_a_name_is_told_in_the_host_header(
    caller: HttpWebhooks, server: WebhookServer
) -> None:
    url = server.url.replace("127.0.0.1", "localhost")
    assert await caller.post(url, {"webhook-id": "1"}, b"{}") == 204
    (call,) = server.calls
    assert call.headers["host"] == url.removeprefix("http://")
    assert (call.headers["webhook-id"], call.body) == ("1", b"{}")


async def test_a_redirect_is_an_answer(caller: HttpWebhooks, server: WebhookServer) -> None:
    server.statuses = [302]
    assert await caller.post(server.url, {}, b"{}") == 302
    assert len(server.calls) == 1


async def test_an_endpoint_that_is_away_fails(caller: HttpWebhooks) -> None:
    with pytest.raises(WebhookFailed, match="The call failed: ConnectError"):
        await caller.post("http://127.0.0.1:9/", {}, b"{}")


async def test_the_certificate_must_be_of_the_name_that_was_called(tmp_path: Path) -> None:
    certificate = issue(tmp_path)
    trusting = ssl.create_default_context(cafile=str(certificate.authority))
    with running_webhook_server(certificate.server) as server:
        async with httpx.AsyncClient(verify=trusting, trust_env=False) as client:
            caller = HttpWebhooks(client, LOOPBACK)
            named = server.url.replace("127.0.0.1", "localhost")
            assert await caller.post(named, {}, b"{}") == 204
            other = server.url.replace("127.0.0.1", "127.1")
            with pytest.raises(WebhookFailed, match="ConnectError"):
                await caller.post(other, {}, b"{}")


async def test_the_authority_of_the_environment_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = issue(tmp_path)
    settings = settings_with(webhook_allowed_networks="127.0.0.0/8,::1/128")
    with running_webhook_server(certificate.server) as server:
        async with open_webhooks(settings) as caller:
            with pytest.raises(WebhookFailed, match="ConnectError"):
                await caller.post(server.url, {}, b"{}")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.authority))
        async with open_webhooks(settings) as caller:
            assert await caller.post(server.url, {}, b"{}") == 204
