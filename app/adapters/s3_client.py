"""Clients of an object store, set up for what AWS, Ceph and other stores all understand."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiobotocore.config import AioConfig
from botocore.handlers import add_expect_header

from app.adapters.s3_errors import storage_errors
from app.adapters.s3_model import open_session
from app.config import Settings

if TYPE_CHECKING:
    from aioboto3 import Session  # type: ignore[import-untyped]  # it brings no types
    from types_aiobotocore_s3 import S3Client

OPEN_TIMEOUT_S = 30.0
"""For finding credentials, which may be a call to the machine's metadata service."""

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 30

TRIES = 3
"""botocore's own, against hiccups; against what lasts, the export's next attempt."""

SPARE_CONNECTIONS = 10

USER_AGENT = "audience-export"
"""What the store's log knows us by. botocore's own is put together anew for each request."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")


@asynccontextmanager
async def open_clients(settings: Settings) -> AsyncIterator[tuple["S3Client", "S3Client"]]:
    """Yield a client of the store and one that signs URLs for sellers.

    They are the same unless sellers reach the store at another address.
    Credentials and region come from boto's own chain.

    Raises:
        StorageUnavailable, StorageRefused: the chain fails.
    """
    session = open_session()
    async with AsyncExitStack() as clients:
        async with storage_errors(OPEN_TIMEOUT_S):
            client = await _open(clients, session, settings, settings.s3_endpoint_url)
            presigner = client
            if settings.s3_public_endpoint_url:
                presigner = await _open(clients, session, settings, settings.s3_public_endpoint_url)
        yield client, presigner


async def uses_temporary_credentials() -> bool:
    """Return whether boto's chain leads to credentials that end by themselves.

    Presigned URLs end with them, however long they were meant to live.

    Raises:
        StorageUnavailable, StorageRefused: the chain fails.
    """
    async with storage_errors(OPEN_TIMEOUT_S):
        credentials = await open_session().get_credentials()
        if credentials is None:
            return False
        frozen = await credentials.get_frozen_credentials()
    return bool(frozen.token)


async def _open(
    clients: AsyncExitStack, session: "Session", settings: Settings, endpoint_url: str | None
) -> "S3Client":
    """Open a client that sends bodies at once, and hashes them first only where that guards them.

    Told to ask first ("Expect: 100-continue"), aiohttp waits for ever where a
    proxy or a store does not answer that. The hash of a body in its signature
    costs more processor time than all the rest of sending it; TLS has its own.
    """
    making = session.client("s3", endpoint_url=endpoint_url, config=_config(settings, endpoint_url))
    client: S3Client = await clients.enter_async_context(making)
    client.meta.events.unregister("before-call.s3", add_expect_header)
    signs_bodies = settings.s3_sign_bodies or not is_guarded(client.meta.endpoint_url)
    client.meta.config.s3["payload_signing_enabled"] = signs_bodies  # type: ignore[attr-defined]
    return client


def is_guarded(endpoint_url: str) -> bool:
    """Return whether nobody on the way to the store can change what is sent: TLS, or no way."""
    parts = urlsplit(endpoint_url)
    return parts.scheme == "https" or parts.hostname in LOOPBACK


def _config(settings: Settings, endpoint_url: str | None) -> AioConfig:
    """Return the configuration of a client.

    Other stores than AWS have one name for all buckets; and the certificates
    of virtual hosts do not cover a bucket's name with dots in it.
    """
    own_host = endpoint_url is None and "." not in settings.s3_bucket
    parts = settings.export_streams * settings.parts_in_flight * settings.worker_concurrency
    return AioConfig(
        user_agent=USER_AGENT,
        signature_version="s3v4",
        s3={"addressing_style": "virtual" if own_host else "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        retries={"mode": "standard", "total_max_attempts": TRIES},
        max_pool_connections=parts + SPARE_CONNECTIONS,
    )
