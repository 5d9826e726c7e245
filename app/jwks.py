"""The key server's public keys (RFC 7517), cached."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import jwt

from app.errors import KeysUnavailable

log = logging.getLogger(__name__)

MAX_AGE_S = 300.0
"""How long a key that the server has withdrawn may still be accepted."""

RETRY_S = 5.0
"""The shortest time between two requests, whatever tokens name as their key."""

FETCH_TIMEOUT_S = 3.0

NO_KEYS = (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError)
"""What becomes of asking a server that is away, or that answers something else."""

ALGORITHMS = {("RSA", None): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}
"""What a key may verify, by its type and curve and nothing else."""


@dataclass(frozen=True)
class _Key:
    kid: str | None
    key: jwt.PyJWK


class KeyServer:
    """Fetches a JSON Web Key Set when it is first needed, grew old or lacks a key.

    While the server is away, the keys known last stay good.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._clock = clock
        self._cached: list[_Key] = []
        self._fetched_at = self._tried_at = float("-inf")
        self._fetching = asyncio.Lock()

    async def keys(self, algorithm: str, kid: str | None) -> list[jwt.PyJWK]:
        """Return the keys for ``algorithm``, of that id where the token names one.

        Raises:
            KeysUnavailable: none fits and the server could not be asked.
        """
        is_old = self._clock() - self._fetched_at > MAX_AGE_S
        fitting = self._fitting(algorithm, kid)
        if not fitting or (is_old and not self._fetching.locked()):
            await self._refresh()
            fitting = self._fitting(algorithm, kid)
        if not fitting and self._fetched_at < self._tried_at:
            raise KeysUnavailable("The keys of callers' tokens cannot be fetched.")
        return fitting

    async def check(self) -> int:
        """Ask for the keys now and return how many of them can verify a token.

        Raises:
            KeysUnavailable: there was no answer, or none that is a key set.
        """
        try:
            return len(_read(await self._fetch()))
        except NO_KEYS as error:
            raise KeysUnavailable("The key server gave no key set.") from error

    def _fitting(self, algorithm: str, kid: str | None) -> list[jwt.PyJWK]:
        return [
            each.key
            for each in self._cached
            if each.key.algorithm_name == algorithm and kid in (None, each.kid)
        ]

    async def _refresh(self) -> None:
        async with self._fetching:
            now = self._clock()
            if now - self._tried_at < RETRY_S:
                return
            self._tried_at = now
            try:
                self._cached = _read(await self._fetch())
            except NO_KEYS as error:
                log.warning("The key server gave no keys: %s", type(error).__name__)
                return
            self._fetched_at = now

    async def _fetch(self) -> object:
        async with httpx.AsyncClient(timeout=FETCH_TIMEOUT_S) as client:
            response = await client.get(self._url)
            response.raise_for_status()
            return response.json()


def _read(document: object) -> list[_Key]:
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("not a JSON Web Key Set")  # noqa: TRY004 - a fault of the document
    read = (_key(entry) for entry in entries if isinstance(entry, dict))
    return [key for key in read if key is not None]


def _key(entry: Mapping[str, Any]) -> _Key | None:
    """Return one key, or ``None`` where it is not for signatures we accept."""
    curve = None if entry.get("kty") == "RSA" else entry.get("crv")
    algorithm = ALGORITHMS.get((str(entry.get("kty")), curve if curve is None else str(curve)))
    if algorithm is None or entry.get("use", "sig") != "sig":
        return None
    if entry.get("alg", algorithm) != algorithm:
        return None
    try:
        return _Key(entry.get("kid"), jwt.PyJWK(dict(entry), algorithm))
    except jwt.PyJWTError:
        return None
