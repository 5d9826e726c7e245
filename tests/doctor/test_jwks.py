"""The keys of callers' tokens."""

from collections.abc import Iterator

import pytest

from app.doctor import jwks
from tests.doctor.installation import Installation, failed, found, warned
from tests.key_server import StubKeyServer, public_jwk, running_key_server


@pytest.fixture
def key_server(installation: Installation) -> Iterator[StubKeyServer]:
    """The patient's key server."""
    with running_key_server() as server:
        installation.change(AUTH_JWKS_URL=server.url)
        yield server


async def test_keys_that_can_be_used_are_counted(
    installation: Installation, key_server: StubKeyServer
) -> None:
    key_server.publish(public_jwk("RS256", "one"), public_jwk("ES256", "two"))
    findings = await installation.run_checks(jwks.CHECK)
    assert (failed(findings), warned(findings)) == ([], [])
    assert "2 keys" in found(findings, "keys.server").detail


async def test_keys_for_something_else_are_no_keys(
    installation: Installation, key_server: StubKeyServer
) -> None:
    key_server.publish(public_jwk("RS256", "one", use="enc"))
    assert failed(await installation.run_checks(jwks.CHECK)) == ["keys.server"]


@pytest.mark.parametrize(("status", "body"), [(500, b"{}"), (200, b"<html>"), (200, b"[]")])
async def test_a_server_that_answers_something_else_is_named(
    installation: Installation, key_server: StubKeyServer, status: int, body: bytes
) -> None:
    key_server.status, key_server.body = status, body
    assert failed(await installation.run_checks(jwks.CHECK)) == ["keys.server"]
