"""What the service itself never asks of a bucket, and its operator wants to know."""

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from app.adapters.lifecycle import lifecycle_of
from app.adapters.s3 import S3Storage
from app.adapters.s3_client import open_clients
from app.adapters.s3_errors import storage_errors
from app.config import Settings

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

CALL_TIMEOUT_S = 20.0

BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


class BucketInspection:
    """Reads what a bucket is set up to do.

    ``storage`` is the bucket as the service uses it, by the same client: one
    takes long to make. Each method raises ``StorageUnavailable`` or
    ``StorageRefused`` where the store does not tell.
    """

    def __init__(self, settings: Settings, client: "S3Client", presigner: "S3Client") -> None:
        self._bucket = settings.s3_bucket
        self._client = client
        self._settings = settings
        self.storage = S3Storage(settings.s3_bucket, client, presigner, settings.s3_sse)

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
        return await lifecycle_of(self._client, self._settings).problems()

    async def blocks_public_access(self) -> bool:
        """Return whether no ACL and no policy can open the bucket to the public."""
        asking = self._client.get_public_access_block(Bucket=self._bucket)
        answer = await _told(asking, "NoSuchPublicAccessBlockConfiguration")
        block = answer.get("PublicAccessBlockConfiguration", {})
        return all(block.get(name) for name in BLOCKS)

    async def keeps_versions(self) -> bool:
        """Return whether an object that is overwritten or deleted is only hidden."""
        asking = self._client.get_bucket_versioning(Bucket=self._bucket)
        return (await _told(asking)).get("Status") == "Enabled"

    async def locks_by_default(self) -> bool:
        """Return whether every new object is locked against erasing for a time."""
        asking = self._client.get_object_lock_configuration(Bucket=self._bucket)
        answer = await _told(asking, "ObjectLockConfigurationNotFoundError")
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
    """Return the store's address, without asking it or signing anything.

    Raises:
        StorageUnavailable, StorageRefused: boto's chain fails.
    """
    if settings.s3_endpoint_url is not None:
        return settings.s3_endpoint_url
    async with open_clients(settings) as (client, _):
        return client.meta.endpoint_url


async def _told(asking: Awaitable[Any], nothing: str = "") -> dict[str, Any]:
    """Return an answer, empty where the store says by its code that there is ``nothing``."""
    async with storage_errors(CALL_TIMEOUT_S):
        try:
            return dict(await asking)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") != nothing:
                raise
    return {}
