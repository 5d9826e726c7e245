"""The caller of webhooks: nobody inside, nobody else than the name says, nobody twice."""

import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from ipaddress import ip_network
from pathlib import Path

import httpx
import pytest

from app.adapters.webhooks import http_client
from app.adapters.webhooks.http_client import HttpWebhookClient, check_url, open_webhooks
from app.adapters.webhooks.resolver import DnsResolver
from app.errors import RequestInvalid, WebhookFailed
from devstack.certificates import issue
from tests.adapters.settings import settings_with
from tests.hostile import MIB, hostile_peer, measured_memory
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
async def caller() -> AsyncIterator[HttpWebhookClient]:
    """A caller that may call this machine."""
    async with httpx.AsyncClient(trust_env=False) as client:
        yield HttpWebhookClient(client, LOOPBACK)


@pytest.mark.parametrize("url", INSIDE)
async def test_nothing_inside_is_called(url: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(WebhookFailed, match=r"private|plain"):
            await HttpWebhookClient(client, []).post(url, {}, b"{}")


async def test_a_name_is_sent_in_the_host_header(
    caller: HttpWebhookClient, server: WebhookServer
) -> None:
    url = server.url.replace("127.0.0.1", "localhost")
    assert await caller.post(url, {"webhook-id": "1"}, b"{}") == 204
    (call,) = server.calls
    assert call.headers["host"] == url.removeprefix("http://")
    assert (call.headers["webhook-id"], call.body) == ("1", b"{}")


def calling(client: httpx.AsyncClient, *addresses: str) -> HttpWebhookClient:
    """Return a caller for whom every name has these addresses."""
    return HttpWebhookClient(client, LOOPBACK, DnsResolver(lambda _: list(addresses)))


@contextmanager
def silent(address: str, port: int, *, is_full: bool = False) -> Iterator[socket.socket]:
    """Listen and answer nothing; where it ``is_full``, connecting hangs as on a dead route."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((address, port))
        listener.listen(0 if is_full else 100)
        for _ in range(3 if is_full else 0):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex((address, port))
        yield listener


def callers(listener: socket.socket) -> int:
    """Return how many have connected to a listener."""
    listener.setblocking(False)
    count = 0
    with suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
            count += 1
    return count


@pytest.mark.parametrize("refusing", ["::1", "127.0.0.2", "240.0.0.1"])
async def test_the_next_address_is_called_where_the_first_refuses(
    server: WebhookServer, refusing: str
) -> None:
    url = server.url.replace("127.0.0.1", "shop.example")
    async with httpx.AsyncClient(trust_env=False) as client:
        networks = [*LOOPBACK, ip_network("240.0.0.0/4")]
        caller = HttpWebhookClient(client, networks, DnsResolver(lambda _: [refusing, "127.0.0.1"]))
        assert await caller.post(url, {}, b"{}") == 204
    (call,) = server.calls
    assert call.headers["host"] == url.removeprefix("http://")


@pytest.mark.parametrize("is_full", [True, False], ids=["unroutable", "silent"])
async def test_a_silent_address_does_not_use_up_the_call(
    server: WebhookServer, monkeypatch: pytest.MonkeyPatch, is_full: bool
) -> None:
    monkeypatch.setattr(http_client, "TIMEOUT_S", 6.0)
    monkeypatch.setattr(http_client, "CONNECT_TIMEOUT_S", 1.0)
    port = httpx.URL(server.url).port or 0
    async with httpx.AsyncClient(trust_env=False) as client:
        caller = calling(client, "127.0.0.2", "127.0.0.3", "127.0.0.1")
        with silent("127.0.0.2", port, is_full=is_full):
            assert await caller.post(f"http://shop.example:{port}/", {}, b"{}") == 204
    assert len(server.calls) == 1


async def test_the_address_that_answered_is_the_first_of_the_next_call(
    server: WebhookServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_client, "TIMEOUT_S", 6.0)
    port = httpx.URL(server.url).port or 0
    async with httpx.AsyncClient(trust_env=False) as client:
        caller = calling(client, "127.0.0.2", "127.0.0.1")
        with silent("127.0.0.2", port) as first:
            for _ in range(3):
                assert await caller.post(f"http://shop.example:{port}/", {}, b"{}") == 204
            assert callers(first) == 1
        server.answers.clear()
        monkeypatch.setattr(http_client, "TIMEOUT_S", 2.0)
        with running_webhook_server("127.0.0.2", port) as other:
            assert await caller.post(f"http://shop.example:{port}/", {}, b"{}") == 204
            assert await caller.post(f"http://shop.example:{port}/", {}, b"{}") == 204
    assert (len(server.calls), len(other.calls)) == (4, 2)


@pytest.mark.parametrize(
    ("head", "endless", "status"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"x" * 65536, 204),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n", b"x" * 65536, 200),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", 200),
        (b"HTTP/1.1 200 OK\r\n", b"X-Header: x\r\n" * 5000, None),
        (b"HTTP/1.1 200 OK\r\nX-Header: ", b"x" * 65536, None),
        (b"", b"x" * 65536, None),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000, None),
    ],
)
async def test_an_answer_without_an_end_costs_neither_memory_nor_the_worker(
    caller: HttpWebhookClient,
    monkeypatch: pytest.MonkeyPatch,
    head: bytes,
    endless: bytes,
    status: int | None,
) -> None:
    monkeypatch.setattr(http_client, "TIMEOUT_S", 3.0)
    async with hostile_peer(head, endless) as peer:
        with measured_memory() as memory:
            answer: int | None = None
            with nullcontext() if status else pytest.raises(WebhookFailed):
                answer = await caller.post(f"http://127.0.0.1:{peer.port}/", {}, b"{}")
        assert answer == status
        assert memory.peak < 8 * MIB


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\n"])
async def test_an_answer_that_drips_is_given_up_in_time(
    caller: HttpWebhookClient, monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    monkeypatch.setattr(http_client, "TIMEOUT_S", 1.0)
    async with hostile_peer(head, b"X", pause_s=0.05) as peer:
        with pytest.raises(WebhookFailed, match="in time"):
            await caller.post(f"http://127.0.0.1:{peer.port}/", {}, b"{}")


async def test_addresses_that_may_not_be_called_are_passed_over(server: WebhookServer) -> None:
    with running_webhook_server("127.0.0.2", httpx.URL(server.url).port or 0) as inside:
        async with httpx.AsyncClient(trust_env=False) as client:
            allowed = [ip_network("127.0.0.1/32")]
            names = DnsResolver(lambda _: ["10.0.0.1", "127.0.0.2", "169.254.169.254", "127.0.0.1"])
            url = server.url.replace("127.0.0.1", "shop.example")
            assert await HttpWebhookClient(client, allowed, names).post(url, {}, b"{}") == 204
            with pytest.raises(WebhookFailed, match="private"):
                await HttpWebhookClient(client, [], names).post(url, {}, b"{}")
    assert (len(server.calls), inside.calls) == (1, [])


async def test_an_address_that_answered_is_checked_again_before_the_next_call(
    server: WebhookServer,
) -> None:
    found = ["127.0.0.1"]
    async with httpx.AsyncClient(trust_env=False) as client:
        caller = HttpWebhookClient(client, LOOPBACK, DnsResolver(lambda _: list(found)))
        url = server.url.replace("127.0.0.1", "shop.example")
        assert await caller.post(url, {}, b"{}") == 204
        found[:] = ["10.0.0.1"]
        with pytest.raises(WebhookFailed, match="private"):
            await caller.post(url, {}, b"{}")
    assert len(server.calls) == 1


async def test_a_redirect_is_an_answer(caller: HttpWebhookClient, server: WebhookServer) -> None:
    server.statuses = [302]
    assert await caller.post(server.url, {}, b"{}") == 302
    assert len(server.calls) == 1


async def test_an_endpoint_that_is_unavailable_fails(caller: HttpWebhookClient) -> None:
    with pytest.raises(WebhookFailed, match="The call failed: Connection refused"):
        await caller.post("http://127.0.0.1:9/", {}, b"{}")


async def test_the_certificate_must_be_of_the_name_that_was_called(tmp_path: Path) -> None:
    certificate = issue(tmp_path)
    trusting = ssl.create_default_context(cafile=str(certificate.authority))
    with running_webhook_server(certificate=certificate.server) as server:
        async with httpx.AsyncClient(verify=trusting, trust_env=False) as client:
            caller = HttpWebhookClient(client, LOOPBACK)
            named = server.url.replace("127.0.0.1", "localhost")
            assert await caller.post(named, {}, b"{}") == 204
            other = server.url.replace("127.0.0.1", "127.1")
            with pytest.raises(WebhookFailed, match="certificate verify failed"):
                await caller.post(other, {}, b"{}")


async def test_the_authority_of_the_environment_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = issue(tmp_path)
    settings = settings_with(webhook_allowed_networks="127.0.0.0/8,::1/128")
    with running_webhook_server(certificate=certificate.server) as server:
        async with open_webhooks(settings) as caller:
            with pytest.raises(WebhookFailed, match="certificate verify failed"):
                await caller.post(server.url, {}, b"{}")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.authority))
        async with open_webhooks(settings) as caller:
            assert await caller.post(server.url, {}, b"{}") == 204


@pytest.mark.parametrize(
    ("url", "networks"),
    [
        ("https://shop.example/hook", []),
        ("https://shop.example:8443/hook?a=b", []),
        ("https://8.8.8.8/", []),
        ("http://10.1.2.3/hook", ["10.0.0.0/8"]),
        ("http://hooks.internal/", ["10.0.0.0/8"]),
        ("http://localhost:8000/", ["10.0.0.0/8"]),
        ("https://shop.example./hook", []),
        ("https://märkte.example/", []),
    ],
)
def test_an_address_that_may_be_called_is_taken(url: str, networks: list[str]) -> None:
    check_url(url, list(map(ip_network, networks)), lambda _: ["8.8.8.8", "10.1.2.3"])


def nowhere(host: str) -> list[str]:
    """Know no name."""
    raise socket.gaierror(socket.EAI_NONAME, f"{host} is unknown")


@pytest.mark.parametrize("resolve", [nowhere, lambda _: ["192.168.1.1"]])
@pytest.mark.parametrize("url", ["http://shop.example/hook", "https://localhost/hook"])
def test_a_name_that_leads_to_no_allowed_network_is_refused(
    url: str, resolve: Callable[[str], list[str]]
) -> None:
    with pytest.raises(RequestInvalid, match="no network of WEBHOOK_ALLOWED_NETWORKS"):
        check_url(url, [ip_network("10.0.0.0/8")], resolve)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "shop",
        "shop.example/hook",
        "https://",
        "https:///hook",
        "ftp://shop.example/",
        "http://shop.example/hook",
        "https://me:secret@shop.example/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://10.1.2.3/",
        "https://localhost/hook",
        "https://shop.example:port/",
        "https://shop.example:0/",
        "https://shop.example:65536/",
        "https://shop..example/",
        "https://.example/",
        "https://a shop.example/",
        " https://shop.example/",
    ],
)
def test_an_address_that_could_never_be_called_is_refused(url: str) -> None:
    with pytest.raises(RequestInvalid) as refused:
        check_url(url, [])
    assert "secret" not in str(refused.value)
