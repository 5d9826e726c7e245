"""Tokens and principals: who gets in, and as whom."""

import json
import re
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, tzinfo
from typing import Any, Self
from unittest.mock import Mock

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.warnings import InsecureKeyLengthWarning

from app.auth import jwks, tokens
from app.auth.principal import Principal
from app.auth.tokens import TokenVerifier
from app.config import Settings
from app.errors import Forbidden, InsufficientScope, TokenInvalid
from devstack.service_processes import ROOT
from tests.key_server import (
    PRIVATE_KEYS,
    StubKeyServer,
    public_jwk,
    running_key_server,
    sign,
)
from tests.tokens import OWNER_EMAIL, SECRET, claims, mint

OLD_SECRET = "an older secret that is still good for a while"
PAST, FUTURE = 1_000_000_000, 4_000_000_000
BEGIN, END = 2_000_000_000, 2_000_003_600

PAGE = " ".join((ROOT / "docs" / "security.md").read_text().split())
LEEWAY_S = int(re.findall(r"without the (\d+) s of leeway", PAGE)[0])
REMEMBERED = int(re.findall(r"the last ([\d,]+) tokens", PAGE)[0].replace(",", ""))


class Clock:
    """The time of day, which stands still until a test sets it."""

    def __init__(self) -> None:
        self.now = BEGIN + 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()

    class Stopped(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls.fromtimestamp(clock.now, tz)

    monkeypatch.setattr("jwt.api_jwt.datetime", Stopped)
    monkeypatch.setattr(time, "time", lambda: clock.now)
    return clock


def verifier(**changes: Any) -> TokenVerifier:
    required = {
        "database_url": "postgresql:///",
        "redis_url": "redis://localhost",
        "s3_bucket": "bucket",
        "smtp_url": "smtp://localhost",
        "mail_from": "exports@example.com",
        "auth_jwt_secret": f"{SECRET},{OLD_SECRET}",
    }
    return TokenVerifier(Settings(**(required | changes)))


@pytest.fixture
def key_server() -> Iterator[StubKeyServer]:
    with running_key_server() as server:
        server.publish(*(public_jwk(algorithm, algorithm) for algorithm in PRIVATE_KEYS))
        yield server


async def is_accepted(verifying: TokenVerifier, token: str) -> bool:
    try:
        await verifying.verify(token)
    except TokenInvalid:
        return False
    return True


def segment(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


async def test_a_signed_token_names_its_seller_address_subject_and_scopes() -> None:
    principal = await verifier().verify(mint(sub="user-7"))
    scopes = frozenset({"exports:read", "exports:write"})
    assert principal == Principal(1, OWNER_EMAIL, "user-7", scopes)


@pytest.mark.parametrize(
    ("claim", "value", "attribute"),
    [
        ("sub", "a" * 255, "subject"),
        ("seller_id", 1, "seller_id"),
        ("seller_id", 2**63 - 1, "seller_id"),
        ("locale", "de-AT", "locale"),
        ("zoneinfo", "Europe/Vienna", "zoneinfo"),
    ],
)
async def test_a_claim_at_its_limit_is_accepted(claim: str, value: object, attribute: str) -> None:
    changes: dict[str, Any] = {claim: value}
    assert getattr(await verifier().verify(mint(**changes)), attribute) == value


@pytest.mark.parametrize("claim", ["nbf", "iat"])
async def test_an_instant_is_accepted_as_long_as_every_json_parser_reads_it(claim: str) -> None:
    """2**53 is read as its neighbour by parsers of doubles (RFC 8259, section 6)."""
    accepted: dict[str, Any] = {"exp": 2**53 - 1, claim: -(2**53) + 1}
    assert await verifier().verify(mint(**accepted))
    refused: list[dict[str, Any]] = [{"exp": 2**53}, {claim: -(2**53)}]
    for changes in refused:
        with pytest.raises(TokenInvalid):
            await verifier().verify(mint(**changes))


@pytest.mark.parametrize(
    ("claims_of", "name"),
    [({"sub": "user-7"}, "user-7"), ({}, OWNER_EMAIL), ({"email": ...}, None)],
)
async def test_a_caller_is_named_by_subject_or_address(
    claims_of: dict[str, Any], name: str | None
) -> None:
    assert (await verifier().verify(mint(**claims_of))).name == name


async def test_every_configured_secret_is_accepted() -> None:
    assert (await verifier().verify(mint(OLD_SECRET))).seller_id == 1


async def test_a_token_without_scopes_is_valid_and_may_do_nothing() -> None:
    assert (await verifier().verify(mint(scope=...))).scopes == frozenset()


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": ...},
        {"exp": None},
        {"exp": "soon"},
        {"exp": str(FUTURE)},
        {"exp": True},
        {"exp": float("inf")},
        {"exp": PAST},
        {"aud": ...},
        {"aud": None},
        {"aud": ""},
        {"aud": []},
        {"aud": 7},
        {"aud": "somebody-else"},
        {"aud": ["somebody-else"]},
        {"nbf": FUTURE},
        {"nbf": "now"},
        {"nbf": None},
        {"iat": FUTURE},
        {"iat": "5"},
        {"iat": "now"},
        {"iat": None},
        {"iat": True},
        {"iat": [1]},
        {"iat": {}},
        {"iat": float("nan")},
        {"exp": float("nan")},
        {"exp": 10**400},
        {"exp": [FUTURE]},
        {"nbf": {}},
        {"nbf": float("-inf")},
        {"scope": ["exports:read"]},
        {"scope": None},
        {"scope": 7},
        {"sub": 7},
        {"sub": "nul\x00"},
        {"sub": "\ud800"},
        {"sub": "a" * 256},
        {"seller_id": None},
        {"seller_id": "1"},
        {"seller_id": True},
        {"seller_id": 1.0},
        {"seller_id": 0},
        {"seller_id": -1},
        {"seller_id": 2**63},
        {"seller_id": [1]},
        {"locale": 7},
        {"zoneinfo": None},
        {"email": None},
        {"email": 7},
        {"email": ""},
        {"email": "nobody"},
        {"email": "a@b.co\r\nBcc: x@example.com"},
        {"email": "\ud800@example.com"},
    ],
    ids=repr,
)
async def test_a_claim_that_is_missing_malformed_or_not_for_us_is_refused(
    changes: dict[str, Any],
) -> None:
    with pytest.raises(TokenInvalid):
        await verifier().verify(mint(**changes))


WRONG_TYPES: list[Any] = [
    *(None, True, False, 0, -1, 1.5, 10**400, float("inf"), float("nan")),
    *("", "x", "5", "\ud800", [], [1], ["audience-export"], {}, {"a": [1]}),
]


@pytest.mark.parametrize(
    "claim",
    [
        "exp",
        "nbf",
        "iat",
        "aud",
        "iss",
        "sub",
        "jti",
        "scope",
        "seller_id",
        "email",
        "locale",
        "zoneinfo",
    ],
)
@pytest.mark.parametrize("issuer", [None, "https://issuer.example"])
async def test_a_claim_of_any_type_is_refused_or_ignored_and_never_our_fault(
    claim: str, issuer: str | None
) -> None:
    """Twice each: a token that was accepted is remembered, and its claims are used again."""
    verifying = verifier(auth_issuer=issuer)
    for value in WRONG_TYPES * 2:
        payload = json.dumps(claims(**{"iss": "https://issuer.example", claim: value})).encode()
        with suppress(TokenInvalid):
            await verifying.verify(jwt.PyJWS().encode(payload, SECRET, "HS256"))


@pytest.mark.parametrize("name", ["alg", "kid", "typ", "crit", "b64", "jwk", "x5c"])
async def test_a_header_of_any_type_is_refused_or_ignored_and_never_our_fault(name: str) -> None:
    for value in WRONG_TYPES:
        header, rest = segment({"alg": "HS256", name: value}), mint().partition(".")[2]
        with suppress(TokenInvalid):
            await verifier().verify(f"{header}.{rest}")


@pytest.mark.parametrize("changes", [{"aud": ["audience-export", "other"]}, {"exp": 4e9}, {}])
async def test_a_claim_in_another_allowed_form_is_accepted(changes: dict[str, Any]) -> None:
    assert (await verifier().verify(mint(**changes))).seller_id == 1


@pytest.mark.parametrize("is_known", [False, True])
@pytest.mark.parametrize("claim", ["nbf", "iat"])
async def test_a_token_is_valid_from_the_second_it_begins_until_the_second_it_ends(
    clock: Clock, claim: str, is_known: bool
) -> None:
    """Both with the leeway that the page names, for clocks that differ."""
    times: dict[str, Any] = {claim: BEGIN, "exp": END}
    known, token = verifier(), mint(**times)
    assert await is_accepted(known, token)
    accepted = []
    for instant in (BEGIN - LEEWAY_S - 1, BEGIN - LEEWAY_S, END + LEEWAY_S - 1, END + LEEWAY_S):
        clock.now = instant
        accepted.append(await is_accepted(known if is_known else verifier(), token))
    assert accepted == [False, True, True, False]


@pytest.mark.parametrize("claim", ["nbf", "iat"])
@pytest.mark.parametrize(
    ("instant", "again"), [(BEGIN - 1, True), (BEGIN, False), (END - 1, False), (END, True)]
)
async def test_a_known_token_is_verified_again_only_outside_its_own_times(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, claim: str, instant: int, again: bool
) -> None:
    times: dict[str, Any] = {claim: BEGIN, "exp": END}
    caching, token = verifier(), mint(**times)
    assert await is_accepted(caching, token)
    decode = Mock(wraps=jwt.decode)
    monkeypatch.setattr(jwt, "decode", decode)
    clock.now = instant
    assert await is_accepted(caching, token)
    assert decode.called is again


@pytest.mark.parametrize("is_replaced", [False, True])
async def test_a_known_token_is_refused_when_its_key_is_withdrawn_or_replaced(
    key_server: StubKeyServer, monkeypatch: pytest.MonkeyPatch, is_replaced: bool
) -> None:
    strict = verifier(auth_jwks_url=key_server.url)
    token = sign(claims(), "ES256", "ES256")
    assert await strict.verify(token) == await strict.verify(token)
    monkeypatch.setattr(jwks, "MAX_AGE_S", -1.0)
    monkeypatch.setattr(jwks, "RETRY_S", 0.0)
    monkeypatch.setitem(PRIVATE_KEYS, "ES256", ec.generate_private_key(ec.SECP256R1()))
    published = "ES256" if is_replaced else "RS256"
    key_server.publish(public_jwk(published, published))
    assert not await is_accepted(strict, token)


async def test_an_rsa_key_that_is_too_short_verifies_nothing(
    key_server: StubKeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 7518, section 3.3: 2048 bits or more. The settings refuse short shared secrets."""
    short = rsa.generate_private_key(65537, 1024)  # noqa: S505 - that it is refused is the point
    monkeypatch.setitem(PRIVATE_KEYS, "RS256", short)
    key_server.publish(public_jwk("RS256", "short"))
    with pytest.warns(InsecureKeyLengthWarning):
        token = sign(claims(), "RS256", "short")
    assert not await is_accepted(verifier(auth_jwks_url=key_server.url), token)


async def test_a_key_that_is_too_short_hides_no_other(
    key_server: StubKeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = sign(claims(), "RS256", None)
    good = public_jwk("RS256", "good")
    short = rsa.generate_private_key(65537, 1024)  # noqa: S505 - that it is passed over is the point
    monkeypatch.setitem(PRIVATE_KEYS, "RS256", short)
    key_server.publish(public_jwk("RS256", "short"), good)
    assert await is_accepted(verifier(auth_jwks_url=key_server.url), token)


def test_as_many_tokens_are_remembered_as_the_page_says() -> None:
    assert tokens.CACHE_SIZE == REMEMBERED


async def test_no_more_tokens_are_remembered_than_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tokens, "CACHE_SIZE", 3)
    crowded = verifier()
    for number in range(1, 6):
        assert (await crowded.verify(mint(seller_id=number))).seller_id == number
    assert len(crowded._cache) == 3
    assert (await crowded.verify(mint(seller_id=1))).seller_id == 1


async def test_another_signature_of_a_known_token_is_refused() -> None:
    caching, token = verifier(), mint()
    await caching.verify(token)
    with pytest.raises(TokenInvalid):
        await caching.verify(f"{token.rpartition('.')[0]}.{'A' * 43}")


async def test_the_issuer_is_checked_when_one_is_set() -> None:
    strict = verifier(auth_issuer="https://issuer.example")
    assert await strict.verify(mint(iss="https://issuer.example"))
    for other in (..., "https://issuer.example/"):
        with pytest.raises(TokenInvalid):
            await strict.verify(mint(iss=other))


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b",
        "a.b.c",
        "....",
        "é.é.é",
        "\udc80.b.c",
        f"{segment('HS256')}.{segment({})}.",
        f"{segment({'alg': 'none'})}.{segment(claims())}.",
        f"{segment({'alg': 'None'})}.{segment(claims())}.AAAA",
        f"{segment({'alg': None})}.{segment(claims())}.AAAA",
        f"{segment({})}.{segment(claims())}.AAAA",
        f"{segment({'alg': 'HS256', 'kid': 7})}.{segment(claims())}.AAAA",
        f"{segment({'alg': ['HS256']})}.{segment(claims())}.AAAA",
        f"{segment({'alg': 'HS256'})}.{segment(claims())}.AAAA",
        jwt.encode(claims(), SECRET * 2, "HS512"),
        jwt.encode(claims(), SECRET, "HS256", {"crit": ["x"], "x": 1}),
        mint("somebody else's secret; as long as ours is"),
        mint() + "A",
        mint() + ".AAAA",
    ],
)
async def test_what_is_not_a_token_of_ours_is_refused(token: str) -> None:
    with pytest.raises(TokenInvalid):
        await verifier().verify(token)


@pytest.mark.parametrize("payload", [b"[]", b"7", b"\xff", b"[" * 100_000, b"null", b"{"])
async def test_a_signed_payload_that_is_not_an_object_is_refused(payload: bytes) -> None:
    token = jwt.PyJWS().encode(payload, SECRET, "HS256")
    with pytest.raises(TokenInvalid):
        await verifier().verify(token)


@pytest.mark.parametrize("algorithm", PRIVATE_KEYS)
async def test_tokens_under_public_keys_are_verified_with_the_key_servers_keys(
    algorithm: str, key_server: StubKeyServer
) -> None:
    only_keys = verifier(auth_jwt_secret=None, auth_jwks_url=key_server.url)
    assert (await only_keys.verify(sign(claims(), algorithm, algorithm))).seller_id == 1
    assert (await only_keys.verify(sign(claims(), algorithm, None))).seller_id == 1


@pytest.mark.parametrize("published", ["EdDSA", "Ed25519"])
async def test_ed25519_is_accepted_under_either_name(
    key_server: StubKeyServer, published: str
) -> None:
    key_server.publish(public_jwk("EdDSA", "one", alg=published))
    only_keys = verifier(auth_jwt_secret=None, auth_jwks_url=key_server.url)
    signed = f"{segment({'alg': 'Ed25519', 'kid': 'one'})}.{segment(claims())}"
    signature = PRIVATE_KEYS["EdDSA"].sign(signed.encode())
    token = f"{signed}.{urlsafe_b64encode(signature).rstrip(b'=').decode()}"
    assert (await only_keys.verify(token)).seller_id == 1
    assert (await only_keys.verify(sign(claims(), "EdDSA", "one"))).seller_id == 1
    with pytest.raises(TokenInvalid):
        await only_keys.verify(f"{signed}.{'A' * 86}")


async def test_a_public_key_is_never_taken_for_a_shared_secret(key_server: StubKeyServer) -> None:
    both = verifier(auth_jwks_url=key_server.url)
    header, payload = segment({"alg": "HS256", "kid": "RS256"}), segment(claims())
    key = jwt.algorithms.RSAAlgorithm.from_jwk(public_jwk("RS256", "RS256"))
    for secret in (key_server.body, repr(key).encode()):
        signature = jwt.get_algorithm_by_name("HS256").sign(f"{header}.{payload}".encode(), secret)
        mac = urlsafe_b64encode(signature).rstrip(b"=").decode()
        with pytest.raises(TokenInvalid):
            await both.verify(f"{header}.{payload}.{mac}")


async def test_without_shared_secrets_no_shared_secret_is_accepted(
    key_server: StubKeyServer,
) -> None:
    only_keys = verifier(auth_jwt_secret=None, auth_jwks_url=key_server.url)
    with pytest.raises(TokenInvalid):
        await only_keys.verify(mint())


async def test_without_a_key_server_no_public_key_is_accepted() -> None:
    with pytest.raises(TokenInvalid):
        await verifier().verify(sign(claims(), "RS256", "RS256"))


async def test_a_keys_address_in_the_token_is_not_followed(key_server: StubKeyServer) -> None:
    jwk = public_jwk("RS256", "mine")
    headers = {"kid": "mine", "jku": key_server.url, "jwk": jwk}
    token = jwt.encode(claims(), PRIVATE_KEYS["RS256"], "RS256", headers)
    with pytest.raises(TokenInvalid):
        await verifier().verify(token)
    assert key_server.requests == 0


def principal(seller_id: int | None, *scopes: str) -> Principal:
    return Principal(seller_id, None, None, frozenset(scopes))


def test_a_scope_that_is_missing_is_named() -> None:
    with pytest.raises(InsufficientScope) as missing:
        principal(1, "exports:write").require("exports:read")
    assert missing.value.scope == "exports:read"


def test_a_token_without_a_seller_needs_the_scope_for_all_sellers() -> None:
    with pytest.raises(InsufficientScope) as missing:
        principal(None, "exports:read").require("exports:read")
    assert missing.value.scope == "sellers:all"
    principal(None, "exports:read", "sellers:all").require("exports:read")


def test_a_token_with_a_seller_is_that_sellers_whatever_its_scopes() -> None:
    everyone = principal(1, "sellers:all")
    assert everyone.seller(None) == 1
    assert everyone.seller(1) == 1
    with pytest.raises(Forbidden):
        everyone.seller(2)


def test_a_service_speaks_for_the_seller_it_names_or_for_all() -> None:
    service = principal(None, "sellers:all")
    assert service.seller(2) == 2
    assert service.seller(None) is None
