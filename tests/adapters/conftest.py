"""Object stores, opened once for all tests here: creating a client is slow."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from app.adapters.s3.storage import S3Storage, open_storage
from devstack import settings as stack_settings
from devstack.ceph import CephServer
from devstack.s3 import MotoServer, Store
from tests.adapters.settings import settings_for


@dataclass(frozen=True)
class OpenStore:
    """A bucket, the adapter for it, and a boto3 client to inspect it."""

    store: Store
    storage: S3Storage
    client: Any

    def read(self, key: str) -> bytes | None:
        """Return an object's content, ``None`` where there is no object."""
        if not self.client.list_objects_v2(Bucket=self.store.bucket, Prefix=key).get("Contents"):
            return None
        with self.client.get_object(Bucket=self.store.bucket, Key=key)["Body"] as body:
            content: bytes = body.read()
            return content


@asynccontextmanager
async def open_store(store: Store, **settings: str | int) -> AsyncIterator[OpenStore]:
    """Yield an open store; boto's environment variables are needed while it is created only."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in stack_settings.store_settings(store).items():
            environment.setenv(name, value)
        opening = open_storage(settings_for(store, **settings))
        storage = await opening.__aenter__()
    try:
        with store.client() as client:
            yield OpenStore(store, storage, client)
    finally:
        await opening.__aexit__(None, None, None)


@pytest.fixture(scope="session")
async def open_moto(moto: MotoServer) -> AsyncIterator[OpenStore]:
    """A bucket on moto, shared by all tests here."""
    async with open_store(moto.store()) as bucket:
        yield bucket


@pytest.fixture(scope="session")
async def open_ceph(ceph: CephServer) -> AsyncIterator[OpenStore]:
    """A bucket on Ceph, shared by all tests here that are marked ``ceph``."""
    async with open_store(ceph.store()) as bucket:
        yield bucket


@pytest.fixture(params=["moto", pytest.param("ceph", marks=pytest.mark.ceph)])
def bucket(request: pytest.FixtureRequest) -> OpenStore:
    """The bucket on either kind of store; the test runs with both."""
    store: OpenStore = request.getfixturevalue(f"open_{request.param}")
    return store


def set_versioning(bucket: OpenStore, status: str) -> None:
    """Switch a bucket's versioning ``Enabled`` or ``Suspended``."""
    configuration = {"Status": status}
    bucket.client.put_bucket_versioning(
        Bucket=bucket.store.bucket, VersioningConfiguration=configuration
    )
