"""The public keys of ``AUTH_JWKS_URL``, a JSON Web Key Set (RFC 7517), cached."""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import jwt

from app.errors import JwksUnavailable
from app.tls_errors import connection_failure

log = logging.getLogger(__name__)

MAX_AGE_S = 300.0
"""The age at which the cached keys are fetched again: a revoked key is accepted this long."""

RETRY_S = 5.0
"""The minimum time between two requests, so that unknown key ids cannot cause a flood."""

FETCH_TIMEOUT_S = 3.0
"""Limit of a whole request, from connecting to the last byte."""

KEY_SET_BYTES_MAX = 512 * 1024

FETCH_ERRORS = (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError, TimeoutError)
"""Raised when the server is unavailable, or its response is not a key set."""

ALGORITHMS = {
    ("RSA", None): ("RS256",),
    ("EC", "P-256"): ("ES256",),
    ("OKP", "Ed25519"): ("EdDSA", "Ed25519"),
}
"""The algorithms a key may verify, by its type and curve only. RFC 9864 names EdDSA with
this curve ``Ed25519``; the signatures are the same."""


def _cause(error: BaseException) -> str:
    """Return why a fetch failed, without the server's address."""
    return connection_failure(error) or type(error).__name__


@dataclass(frozen=True)
class _Key:
    """One key of the set; ``by_algorithm`` has it under each name of its algorithm."""

    kid: str | None
    by_algorithm: dict[str, jwt.PyJWK]


class KeyServer:
    """Fetches the key set on first use, when it is too old, and when a key is missing from it.

    While the server is unavailable, the cached keys remain valid.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._clock = clock
        self._cached: list[_Key] = []
        self._fetched_at = self._tried_at = float("-inf")
        self._fetching = asyncio.Lock()

    async def keys(self, algorithm: str, kid: str | None) -> list[jwt.PyJWK]:
        """Return the cached keys for ``algorithm`` with the id ``kid``, or any id for ``None``.

        Raises:
            JwksUnavailable: no key matches and the last fetch failed.
        """
        is_old = self._clock() - self._fetched_at > MAX_AGE_S
        matching = self._matching(algorithm, kid)
        # Where a cached key matches, nobody waits for a fetch that another request began.
        if not matching or (is_old and not self._fetching.locked()):
            await self._refresh()
            matching = self._matching(algorithm, kid)
        if not matching and self._fetched_at < self._tried_at:
            raise JwksUnavailable("The keys that verify tokens cannot be fetched; try again soon.")
        return matching

    async def check(self) -> int:
        """Fetch the keys now and return how many of them can verify a token.

        Raises:
            JwksUnavailable: the server is unavailable, or its response is not a key set.
        """
        try:
            return len(_parse(await self._fetch()))
        except FETCH_ERRORS as error:
            raise JwksUnavailable(
                f"The key server returned no key set: {_cause(error)}."
            ) from error

    def _matching(self, algorithm: str, kid: str | None) -> list[jwt.PyJWK]:
        return [
            each.by_algorithm[algorithm]
            for each in self._cached
            if algorithm in each.by_algorithm and kid in (None, each.kid)
        ]

    async def _refresh(self) -> None:
        async with self._fetching:
            # Inside the lock: requests that waited for it must not fetch one after the other.
            now = self._clock()
            if now - self._tried_at < RETRY_S:
                return
            # Before the fetch, so that a server that fails is not requested more often.
            self._tried_at = now
            try:
                self._cached = _parse(await self._fetch())
            except FETCH_ERRORS as error:
                log.warning("The key server returned no key set: %s", _cause(error))
                return
            self._fetched_at = now

    async def _fetch(self) -> object:
        """Return the parsed response.

        It is read raw, since a small compressed body could expand without limit.

        Raises:
            One of ``FETCH_ERRORS``, also for a response that is too long or too slow.
        """
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        async with (
            asyncio.timeout(FETCH_TIMEOUT_S),
            httpx.AsyncClient(timeout=FETCH_TIMEOUT_S, headers=headers) as client,
            client.stream("GET", self._url) as response,
        ):
            response.raise_for_status()
            body = bytearray()
            async for piece in response.aiter_raw():
                body += piece
                if len(body) > KEY_SET_BYTES_MAX:
                    raise ValueError(f"the key set exceeds {KEY_SET_BYTES_MAX} bytes")
        return json.loads(body)


def _parse(document: object) -> list[_Key]:
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("not a JSON Web Key Set")  # noqa: TRY004 - a fault of the document
    keys = (_key(entry) for entry in entries if isinstance(entry, dict))
    return [key for key in keys if key is not None]


def _key(entry: Mapping[str, Any]) -> _Key | None:
    """Return one key, or ``None`` if it is not for signatures or for no accepted algorithm."""
    curve = None if entry.get("kty") == "RSA" else entry.get("crv")
    names = ALGORITHMS.get((str(entry.get("kty")), curve if curve is None else str(curve)))
    if names is None or entry.get("use", "sig") != "sig":
        return None
    if entry.get("alg", names[0]) not in names:
        return None
    try:
        keys = {name: _key_for(entry, names[0], name) for name in names}
    except jwt.PyJWTError:
        return None
    # One that is too short would end the search for the key of a token that does not name it.
    if any(key.Algorithm.check_key_length(key.key) for key in keys.values()):
        return None
    return _Key(entry.get("kid"), keys)


def _key_for(entry: Mapping[str, Any], algorithm: str, name: str) -> jwt.PyJWK:
    """Return a key that verifies tokens whose header gives ``algorithm`` the name ``name``."""
    key = jwt.PyJWK(dict(entry), algorithm)
    key.algorithm_name = name  # only compared with the header; key.Algorithm does the verifying
    return key
