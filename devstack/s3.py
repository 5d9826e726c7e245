"""S3 for development: moto's server in its own process, and what all stores have in common."""

import contextlib
import secrets
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from devstack.sandbox import Process, Sandbox, ServerFailed, free_port, is_listening

REGION = "us-east-1"
START_TIMEOUT_S = 60.0

CLIENT_CONFIG = Config(
    signature_version="s3v4",
    s3={"addressing_style": "path"},
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)
"""A configuration that moto, Ceph and AWS all support."""

UNPROXIED = CLIENT_CONFIG.merge(Config(proxies={}))
LOOPBACK = "127.0.0.1"
"""The host of embedded stores: a proxy from the environment could not reach it."""


def make_bucket(bucket: str, endpoint_url: str, **keys: str) -> None:
    """Create the bucket, unversioned, unless it exists; ``keys`` as in :func:`open_client`.

    Raises:
        ServerFailed: the store cannot be reached or refuses the request.
    """
    try:
        with (
            open_client(endpoint_url, **keys) as client,
            contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou),
        ):
            client.create_bucket(Bucket=bucket)
    except (BotoCoreError, ClientError) as error:
        raise ServerFailed(f"bucket {bucket} at {endpoint_url}: {error}") from error


@contextlib.contextmanager
def open_client(endpoint_url: str, **keys: str) -> Iterator[Any]:
    """Yield a boto3 client; ``keys`` are its credential arguments, by default from its chain."""
    config = UNPROXIED if urlsplit(endpoint_url).hostname == LOOPBACK else CLIENT_CONFIG
    client = boto3.client(
        "s3", endpoint_url=endpoint_url, region_name=REGION, config=config, **keys
    )
    try:
        yield client
    finally:
        client.close()


@dataclass(frozen=True)
class Store:
    """A bucket and the keys of a user of it; ``kind`` is its server, ``moto`` or ``ceph``."""

    kind: str
    endpoint_url: str
    bucket: str
    access_key: str
    secret_key: str

    def client(self) -> AbstractContextManager[Any]:
        """Yield a boto3 client for the store."""
        return open_client(self.endpoint_url, **self._keys)

    def create(self) -> "Store":
        """Create the bucket and return the store."""
        make_bucket(self.bucket, self.endpoint_url, **self._keys)
        return self

    @property
    def _keys(self) -> dict[str, str]:
        return {
            "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret_key,
        }


class MotoServer:
    """moto's S3, which is in memory and verifies checksums, but no signatures nor their expiry."""

    access_key = "moto-access-key"
    secret_key = "moto-secret-key"  # noqa: S105 - moto accepts any

    def __init__(self, sandbox: Sandbox, *, name: str = "s3") -> None:
        self.port = free_port()
        self._sandbox = sandbox
        self._name = name
        self._folder = sandbox.folder(name)
        self._process: Process | None = None

    @property
    def endpoint_url(self) -> str:
        """The server's URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._running.pid

    def start(self) -> None:
        """Start without data and wait until it accepts connections.

        Raises:
            ServerFailed: it exited or is not ready in time; the message has the end of its log.
        """
        self._process = self._sandbox.spawn(
            self._name,
            [sys.executable, "-m", "devstack.checked_s3", str(self.port)],
            environment={
                "TMPDIR": str(self._folder),  # large objects spill to disk
                "MALLOC_MMAP_THRESHOLD_": "1048576",  # others are returned when they are freed
            },
            folder=self._folder,
        )
        self._process.wait_until(lambda: is_listening(self.port), START_TIMEOUT_S)

    def stop(self) -> None:
        """Stop; all objects are lost."""
        self.kill()

    def kill(self) -> None:
        """Simulate a crash: SIGKILL; all objects are lost."""
        self._running.kill()
        self._process = None

    def store(self, bucket: str | None = None) -> Store:
        """Create a bucket, by default with a new name, and return it."""
        name = bucket or f"bucket-{secrets.token_hex(8)}"
        return Store("moto", self.endpoint_url, name, self.access_key, self.secret_key).create()

    @property
    def _running(self) -> Process:
        if self._process is None:
            raise ServerFailed(f"{self._name} is not running")
        return self._process
