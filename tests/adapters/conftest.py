"""Object stores that are opened once for all tests here: a client takes long to make."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from app.adapters.s3 import S3Storage, open_storage
from devstack import settings as stack_settings
from devstack.ceph import CephServer
from devstack.s3 import MotoServer, Store
from tests.adapters.settings import settings_for


@dataclass(frozen=True)
class OpenStore:
    """A bucket, the adapter for it, and boto3's client to look behind its back."""

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
    """Yield an open store; only its making needs the keys in boto's environment."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in stack_settings.of_store(store).items():
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
    """A bucket on moto that all tests here share."""
    async with open_store(moto.store()) as opened:
        yield opened


@pytest.fixture(scope="session")
async def open_ceph(ceph: CephServer) -> AsyncIterator[OpenStore]:
    """A bucket on Ceph that all tests here share, for tests marked ``ceph``."""
    async with open_store(ceph.store()) as opened:
        yield opened


@pytest.fixture(params=["moto", pytest.param("ceph", marks=pytest.mark.ceph)])
def opened(request: pytest.FixtureRequest) -> OpenStore:
    """The bucket on either kind of store; the test runs with both."""
    store: OpenStore = request.getfixturevalue(f"open_{request.param}")
    return store
