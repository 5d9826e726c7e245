"""Read a bucket's configuration for ``doctor``; the service itself never needs it."""

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from app.adapters.s3.client import open_clients
from app.adapters.s3.errors import storage_errors
from app.adapters.s3.lifecycle import lifecycle_for_client
from app.adapters.s3.storage import S3Storage
from app.config import Settings

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

CALL_TIMEOUT_S = 20.0

BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


class BucketInspection:
    """Reads a bucket's configuration.

    ``storage`` is the bucket as the service uses it, with the same client,
    since creating one is slow. Each method raises ``StorageUnavailable`` or
    ``StorageRefused`` where the store does not allow the request.
    """

    def __init__(self, settings: Settings, client: "S3Client", presigner: "S3Client") -> None:
        self._bucket = settings.s3_bucket
        self._client = client
        self._settings = settings
        self.storage = S3Storage(
            settings.s3_bucket, client, presigner, settings.s3_sse, settings.s3_prefix
        )

    async def read(self, key: str) -> bytes:
        """Return an object's content."""
        async with storage_errors(CALL_TIMEOUT_S):
            answer = await self._client.get_object(Bucket=self._bucket, Key=key)
            return await answer["Body"].read()

    async def lifecycle_problems(self) -> list[str]:
        """Return what is wrong with the lifecycle rules, a sentence each.

        Raises:
            SettingsInvalid: ``S3_PREFIX`` is no folder, so it can have no rule.
        """
        return await lifecycle_for_client(self._client, self._settings).problems()

    async def blocks_public_access(self) -> bool:
        """Return whether all four public-access blocks are on."""
        request = self._client.get_public_access_block(Bucket=self._bucket)
        answer = await _inspect(request, "NoSuchPublicAccessBlockConfiguration")
        block = answer.get("PublicAccessBlockConfiguration", {})
        return all(block.get(name) for name in BLOCKS)

    async def is_versioned(self) -> bool:
        """Return whether versioning is on, so that a deleted object is only hidden."""
        request = self._client.get_bucket_versioning(Bucket=self._bucket)
        return (await _inspect(request)).get("Status") == "Enabled"

    async def has_default_retention(self) -> bool:
        """Return whether object lock protects every new object from deletion for a time."""
        request = self._client.get_object_lock_configuration(Bucket=self._bucket)
        answer = await _inspect(request, "ObjectLockConfigurationNotFoundError")
        return "Rule" in answer.get("ObjectLockConfiguration", {})


@asynccontextmanager
async def open_inspection(settings: Settings) -> AsyncIterator[BucketInspection]:
    """Yield the inspection of the settings' bucket; the store need not be up.

    Raises:
        StorageUnavailable, StorageRefused: boto's chain has no credentials now.
    """
    async with open_clients(settings) as (client, presigner):
        yield BucketInspection(settings, client, presigner)


async def endpoint_url(settings: Settings) -> str:
    """Return the store's URL, without a request to it.

    Raises:
        StorageUnavailable, StorageRefused: boto's chain fails.
    """
    if settings.s3_endpoint_url is not None:
        return settings.s3_endpoint_url
    async with open_clients(settings) as (client, _):
        return client.meta.endpoint_url


async def _inspect(request: Awaitable[Any], not_found_code: str = "") -> dict[str, Any]:
    """Return a response; empty where the store replies with the error ``not_found_code``."""
    async with storage_errors(CALL_TIMEOUT_S):
        try:
            return dict(await request)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") != not_found_code:
                raise
    return {}
