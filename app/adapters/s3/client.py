"""S3 clients, configured for what AWS, Ceph and other stores have in common."""

from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import md5
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aiobotocore.config import AioConfig
from botocore.handlers import add_expect_header

from app.adapters.s3.bounded_responses import BoundedSession
from app.adapters.s3.errors import storage_errors
from app.adapters.s3.slim_models import open_session
from app.config import Settings

if TYPE_CHECKING:
    from aioboto3 import Session  # type: ignore[import-untyped]  # it brings no types
    from types_aiobotocore_s3 import S3Client

OPEN_TIMEOUT_S = 30.0
"""Limit of finding credentials, which may call the machine's metadata service."""

CONNECT_TIMEOUT_S = 5
# TRIES times (CONNECT + READ) must be less than storage.CALL_TIMEOUT_S, which ends all tries.
READ_TIMEOUT_S = 30

TRIES = 3
"""botocore's attempts per request. A longer outage is left to the export's next attempt."""

SPARE_CONNECTIONS = 10

USER_AGENT = "audience-export"
"""Fixed, since botocore's own user agent is rebuilt for every request."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")


@asynccontextmanager
async def open_clients(settings: Settings) -> AsyncIterator[tuple["S3Client", "S3Client"]]:
    """Yield the store's client and the one that presigns URLs.

    They are the same unless ``S3_PUBLIC_ENDPOINT_URL`` is set. Credentials and
    region come from boto's credential chain.

    Raises:
        StorageUnavailable, StorageRefused: the chain fails.
    """
    session = open_session()
    async with AsyncExitStack() as clients:
        # Not around the yield: the clients would be closed after OPEN_TIMEOUT_S.
        async with storage_errors(OPEN_TIMEOUT_S):
            client = await _open(clients, session, settings, settings.s3_endpoint_url)
            presigner = client
            if settings.s3_public_endpoint_url:
                presigner = await _open(clients, session, settings, settings.s3_public_endpoint_url)
        yield client, presigner


async def uses_temporary_credentials() -> bool:
    """Return whether boto's chain yields temporary credentials.

    A presigned URL expires with the credentials that signed it, even before
    its own lifetime ends.

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
    """Open a client without ``Expect: 100-continue`` and, over TLS, without body signatures.

    With ``Expect``, aiohttp waits for ever where a proxy or store does not
    reply to it. Hashing a body for its signature costs more processor time
    than the rest of sending it, and TLS protects the body anyway.
    """
    opening = session.client(
        "s3", endpoint_url=endpoint_url, config=_config(settings, endpoint_url)
    )
    client: S3Client = await clients.enter_async_context(opening)
    client.meta.events.unregister("before-call.s3", add_expect_header)
    client.meta.events.register("before-call.s3.PutBucketLifecycleConfiguration", _add_md5)
    signs_bodies = settings.s3_payload_signing or not is_transport_secure(client.meta.endpoint_url)
    client.meta.config.s3["payload_signing_enabled"] = signs_bodies  # type: ignore[attr-defined]
    return client


def _add_md5(params: dict[str, Any], **_: object) -> None:
    """Add the digest that S3 once demanded with lifecycle rules, and other stores do still."""
    # A Python in FIPS mode refuses MD5 without this argument.
    digest = md5(params["body"], usedforsecurity=False).digest()
    params["headers"]["Content-MD5"] = b64encode(digest).decode()


def is_transport_secure(endpoint_url: str) -> bool:
    """Return whether nobody can change a request on its way: TLS, or a store on this machine."""
    parts = urlsplit(endpoint_url)
    return parts.scheme == "https" or parts.hostname in LOOPBACK


def _config(settings: Settings, endpoint_url: str | None) -> AioConfig:
    """Return the configuration of a client.

    ``S3_ADDRESSING_STYLE`` decides. Without it buckets are addressed by virtual
    host only on AWS: other stores often have one host name. Nor with a dot in the
    bucket's name, which AWS's wildcard certificate does not cover.
    """
    by_virtual_host = endpoint_url is None and "." not in settings.s3_bucket
    style = settings.s3_addressing_style or ("virtual" if by_virtual_host else "path")
    parts = settings.parts_in_flight * settings.worker_concurrency
    return AioConfig(
        user_agent=USER_AGENT,
        http_session_cls=BoundedSession,
        signature_version="s3v4",
        s3={"addressing_style": style},
        # "when_supported", botocore's default, breaks stores without the newer checksums.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        retries={"mode": "standard", "total_max_attempts": TRIES},
        max_pool_connections=parts + SPARE_CONNECTIONS,
    )
