"""Attacks on tokens, over HTTP: each is 401, and nothing else about them is told."""

import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from httpx import AsyncClient

from tests.api.conftest import Start, anonymous, resources, running, start
from tests.api.problem_documents import assert_problem
from tests.key_server import PRIVATE_KEYS, public_jwk, running_key_server
from tests.tokens import SECRET, bearer, claims, mint, mint_for_service

__all__ = ["anonymous", "resources", "running", "start"]

OTHER_SECRET = "the attacker's own secret, which is long enough"


def encoded(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def forged(header: dict[str, Any], key: bytes = b"", **changes: Any) -> str:
    """Return a token with any header, signed by HMAC-SHA256 under any key."""
    parts = [encoded(json.dumps(part).encode()) for part in (header, claims(**changes))]
    signature = hmac.digest(key, ".".join(parts).encode(), sha256)
    return ".".join([*parts, encoded(signature)])


def spliced(**changes: Any) -> str:
    """Return a good token whose claims were changed afterwards."""
    header, _, signature = mint().split(".")
    return ".".join([header, encoded(json.dumps(claims(**changes)).encode()), signature])


ATTACKS: dict[str, Callable[[], str]] = {
    "alg none": lambda: f"{mint().rpartition('.')[0]}.",
    "alg nOnE": lambda: forged({"alg": "nOnE"}),
    "alg none, signed": lambda: forged({"alg": "none"}, SECRET.encode()),
    "alg HS512": lambda: jwt.encode(claims(), SECRET * 2, "HS512"),
    "empty key": lambda: forged({"alg": "HS256"}),
    "kid to an empty file": lambda: forged({"alg": "HS256", "kid": "../../../dev/null"}),
    "kid with a statement": lambda: forged({"alg": "HS256", "kid": "' UNION SELECT ''; --"}),
    "own jwk": lambda: jwt.encode(
        claims(),
        OTHER_SECRET,
        "HS256",
        {"jwk": {"kty": "oct", "k": encoded(OTHER_SECRET.encode())}},
    ),
    "own jku": lambda: jwt.encode(
        claims(), OTHER_SECRET, "HS256", {"jku": "http://127.0.0.1:9/keys"}
    ),
    "own x5u": lambda: jwt.encode(
        claims(), OTHER_SECRET, "HS256", {"x5u": "http://127.0.0.1:9/certificate"}
    ),
    "unknown crit": lambda: jwt.encode(claims(), SECRET, "HS256", {"crit": ["x"], "x": 1}),
    "another seller": lambda: spliced(seller_id=2),
    "more scopes": lambda: spliced(scope="exports:read exports:write sellers:all"),
    "longer life": lambda: spliced(exp=4_000_000_000),
    "expired": lambda: mint(exp=1_000_000_000),
    "not yet": lambda: mint(nbf=4_000_000_000),
    "no end": lambda: mint(exp=...),
    "another audience": lambda: mint(aud="somebody-else"),
    "no audience": lambda: mint(aud=...),
    "seller as text": lambda: mint(seller_id="1"),
    "null seller": lambda: mint_for_service(seller_id=None),
    "somebody else's key": lambda: mint(OTHER_SECRET),
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_forged_token_is_refused(anonymous: AsyncClient, attack: str) -> None:
    answer = await anonymous.get("/exports", headers=bearer(ATTACKS[attack]()))
    assert_problem(answer, 401, "token_invalid")
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'


@pytest.mark.parametrize("algorithm", PRIVATE_KEYS)
async def test_a_public_key_signs_nothing(start: Start, algorithm: str) -> None:
    key = PRIVATE_KEYS[algorithm].public_key()
    texts = [
        key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(public_jwk(algorithm, "1")).encode(),
    ]
    with running_key_server() as server:
        server.publish(public_jwk(algorithm, "1"))
        async with start(auth_jwks_url=server.url) as (client, _):
            for text in texts:
                token = forged({"alg": "HS256", "kid": "1"}, text)
                answer = await client.get("/exports", headers=bearer(token))
                assert_problem(answer, 401, "token_invalid")
