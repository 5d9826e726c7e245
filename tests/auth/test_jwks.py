"""The key server's keys: fetched seldom, kept through outages, pinned to their algorithm."""

import asyncio
import gzip
import re
from collections.abc import Iterator
from typing import Any

import pytest

from app.auth import jwks
from app.auth.jwks import KEY_SET_BYTES_MAX, MAX_AGE_S, RETRY_S, KeyServer
from app.errors import JwksUnavailable
from devstack.service_processes import ROOT
from tests.hostile import MIB, hostile_peer, measured_memory
from tests.key_server import StubKeyServer, public_jwk, running_key_server
from tests.polling import HANGS_S

PAGE = " ".join((ROOT / "docs" / "security.md").read_text().split())
[(KIB, SECONDS)] = re.findall(
    r"\| answer of the key server \| (\d+) KiB, not compressed \| (\d+) s \|", PAGE
)


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stub() -> Iterator[StubKeyServer]:
    with running_key_server() as server:
        server.publish(public_jwk("RS256", "one"))
        yield server


@pytest.fixture
def server(stub: StubKeyServer, clock: Clock) -> KeyServer:
    return KeyServer(stub.url, clock)


async def test_keys_are_fetched_once_however_many_tokens_come(
    server: KeyServer, stub: StubKeyServer
) -> None:
    found = await asyncio.gather(*(server.keys("RS256", "one") for _ in range(20)))
    assert [len(keys) for keys in found] == [1] * 20
    assert stub.requests == 1


async def test_a_new_key_is_found_without_a_restart(
    server: KeyServer, stub: StubKeyServer, clock: Clock
) -> None:
    assert await server.keys("RS256", "one")
    stub.publish(public_jwk("RS256", "two"))
    clock.now += RETRY_S
    assert await server.keys("RS256", "two")
    assert not await server.keys("RS256", "one")


async def test_unknown_keys_ask_the_server_only_every_few_seconds(
    server: KeyServer, stub: StubKeyServer, clock: Clock
) -> None:
    for number in range(20):
        assert not await server.keys("RS256", f"unknown {number}")
    assert stub.requests == 1
    clock.now += RETRY_S
    assert not await server.keys("RS256", "unknown")
    assert stub.requests == 2


async def test_a_withdrawn_key_is_refused_when_the_cache_is_old(
    server: KeyServer, stub: StubKeyServer, clock: Clock
) -> None:
    assert await server.keys("RS256", "one")
    stub.publish()
    clock.now += MAX_AGE_S + 1
    assert not await server.keys("RS256", "one")


async def test_keys_are_fetched_again_when_they_are_older_than_the_page_says(
    server: KeyServer, stub: StubKeyServer, clock: Clock
) -> None:
    assert "at least every five minutes" in PAGE
    assert await server.keys("RS256", "one")
    clock.now += 5 * 60
    assert await server.keys("RS256", "one")
    assert stub.requests == 1
    clock.now += 0.5
    assert await server.keys("RS256", "one")
    assert stub.requests == 2


async def test_only_a_request_whose_key_is_missing_waits_for_the_fetch_of_another(
    server: KeyServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = await server.keys("RS256", "one")
    asked, answered = asyncio.Event(), asyncio.Event()

    async def fetch() -> object:
        assert not asked.is_set()
        asked.set()
        await answered.wait()
        return {"keys": [public_jwk("RS256", "two")]}

    monkeypatch.setattr(server, "_fetch", fetch)
    clock.now += MAX_AGE_S + 1
    async with asyncio.timeout(HANGS_S), asyncio.TaskGroup() as requests:
        first = requests.create_task(server.keys("RS256", "one"))
        await asked.wait()
        waiting = requests.create_task(server.keys("RS256", "two"))
        assert await server.keys("RS256", "one") == known
        answered.set()
    assert first.result() == []
    assert len(waiting.result()) == 1


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"keys": 7}', b"\xff", b"[" * 100_000])
async def test_known_keys_survive_an_outage_of_the_server(
    server: KeyServer, stub: StubKeyServer, clock: Clock, body: bytes
) -> None:
    assert await server.keys("RS256", "one")
    stub.body = body
    clock.now += MAX_AGE_S + 1
    assert await server.keys("RS256", "one")
    with pytest.raises(JwksUnavailable):
        await server.keys("RS256", "two")


async def test_a_server_that_fails_or_is_unavailable_is_a_temporary_error(
    stub: StubKeyServer, clock: Clock
) -> None:
    stub.status = 500
    for url in (stub.url, "http://127.0.0.1:1/keys", "http://[", "nonsense"):
        with pytest.raises(JwksUnavailable):
            await KeyServer(url, clock).keys("RS256", "one")


@pytest.mark.parametrize(
    ("url", "cause"), [(None, "HTTPStatusError"), ("http://127.0.0.1:1/", "Connection refused")]
)
async def test_a_failed_fetch_keeps_the_keys_and_tells_its_cause(
    server: KeyServer,
    stub: StubKeyServer,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    url: str | None,
    cause: str,
) -> None:
    known = await server.keys("RS256", "one")
    stub.status = 500
    server._url = url or stub.url
    clock.now += MAX_AGE_S + 1
    assert await server.keys("RS256", "one") == known
    assert caplog.messages == [f"The key server returned no key set: {cause}"]
    with pytest.raises(JwksUnavailable, match=f"no key set: {cause}\\.$"):
        await server.check()


async def test_a_check_counts_the_keys_that_can_verify_a_token(
    server: KeyServer, stub: StubKeyServer
) -> None:
    usable = [public_jwk("RS256", "one"), public_jwk("ES256", "two")]
    stub.publish(*usable, public_jwk("RS256", "three", use="enc"))
    assert await server.check() == len(usable)


@pytest.mark.parametrize(
    "jwk",
    [
        public_jwk("RS256", "one", use="enc"),
        public_jwk("RS256", "one", alg="RS512"),
        public_jwk("RS256", "one", alg="HS256"),
        public_jwk("RS256", "one", n="AQ"),
        public_jwk("RS256", "one", kty="EC"),
        {"kty": "oct", "k": "c2VjcmV0", "kid": "one"},
        {"kty": ["RSA"], "kid": "one"},
        {"kty": "RSA", "kid": "one"},
        {"kty": "RSA", "kid": "one", "n": 7, "e": 7},
    ],
)
async def test_a_key_that_is_not_for_our_signatures_is_left_out(
    server: KeyServer, stub: StubKeyServer, jwk: dict[str, Any]
) -> None:
    stub.publish(jwk, public_jwk("ES256", "two"))
    assert not await server.keys("RS256", "one")
    assert not await server.keys("HS256", "one")
    assert await server.keys("ES256", "two")


async def test_a_key_verifies_its_own_algorithm_only(server: KeyServer) -> None:
    assert not await server.keys("ES256", "one")
    assert not await server.keys("EdDSA", "one")


@pytest.mark.parametrize(
    ("head", "endless"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", b" " * 65536),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n[\r\n" * 10_000),
        (b"HTTP/1.1 200 OK\r\n", b"X-Header: x\r\n" * 5000),
        (b"", b"x" * 65536),
    ],
)
async def test_a_key_set_without_an_end_is_read_to_a_bound(
    clock: Clock, head: bytes, endless: bytes
) -> None:
    async with hostile_peer(head, endless) as peer:
        with measured_memory() as memory, pytest.raises(JwksUnavailable):
            await KeyServer(f"http://127.0.0.1:{peer.port}/", clock).keys("RS256", "one")
    assert memory.peak < 8 * MIB


async def test_a_compressed_key_set_is_not_blown_up(
    server: KeyServer, stub: StubKeyServer, clock: Clock
) -> None:
    stub.headers = {"Content-Encoding": "gzip"}
    stub.body = gzip.compress(b" " * 256 * MIB, 1)[: KEY_SET_BYTES_MAX - 1]
    with measured_memory() as memory, pytest.raises(JwksUnavailable):
        await server.keys("RS256", "one")
    assert memory.peak < 8 * MIB


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\n\r\n"])
async def test_a_key_server_that_drips_is_given_up_in_time(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    monkeypatch.setattr(jwks, "FETCH_TIMEOUT_S", 0.5)
    async with hostile_peer(head, b" ", pause_s=0.05) as peer, asyncio.timeout(30):
        with pytest.raises(JwksUnavailable):
            await KeyServer(f"http://127.0.0.1:{peer.port}/", clock).keys("RS256", "one")


async def test_a_long_key_set_is_read(server: KeyServer, stub: StubKeyServer) -> None:
    others = [public_jwk("RS256", f"other {number}") for number in range(1000)]
    stub.publish(*others, public_jwk("RS256", "last"))
    assert await server.keys("RS256", "last")


async def test_a_key_set_is_read_up_to_the_length_that_the_page_names(
    stub: StubKeyServer, clock: Clock
) -> None:
    stub.body = stub.body.ljust(int(KIB) * 1024)
    assert await KeyServer(stub.url, clock).keys("RS256", "one")
    stub.body += b" "
    with pytest.raises(JwksUnavailable):
        await KeyServer(stub.url, clock).keys("RS256", "one")


def test_a_fetch_may_take_as_long_as_the_page_says() -> None:
    assert float(SECONDS) == jwks.FETCH_TIMEOUT_S
