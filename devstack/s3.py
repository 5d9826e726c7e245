"""S3: moto's server over HTTP, in a process of its own; what every store here has in common."""

import contextlib
import secrets
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from devstack.sandbox import Process, Sandbox, ServerFailed, answers, free_port

REGION = "us-east-1"
START_TIMEOUT_S = 60.0

CLIENT_CONFIG = Config(
    signature_version="s3v4",
    s3={"addressing_style": "path"},
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)
"""What moto, Ceph and AWS all understand."""


def make_bucket(bucket: str, endpoint_url: str, **keys: str) -> None:
    """Make the bucket, without versions, unless it is there; ``keys`` default to boto's chain.

    Raises:
        ServerFailed: the store cannot be reached or refuses.
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
    """Open a boto3 client; ``keys`` are boto3's arguments and default to its own chain."""
    client = boto3.client(
        "s3", endpoint_url=endpoint_url, region_name=REGION, config=CLIENT_CONFIG, **keys
    )
    try:
        yield client
    finally:
        client.close()


@dataclass(frozen=True)
class Store:
    """A bucket and who may use it; ``kind`` says which server it is on."""

    kind: str
    endpoint_url: str
    bucket: str
    access_key: str
    secret_key: str

    def client(self) -> AbstractContextManager[Any]:
        """Open a boto3 client that talks to the store and signs with its keys."""
        return open_client(self.endpoint_url, **self._keys)

    def create(self) -> "Store":
        """Make the bucket and return the store."""
        make_bucket(self.bucket, self.endpoint_url, **self._keys)
        return self

    @property
    def _keys(self) -> dict[str, str]:
        return {
            "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret_key,
        }


class MotoServer:
    """moto's S3. It keeps everything in memory and checks neither signatures nor expiry."""

    access_key = "moto-access-key"
    secret_key = "moto-secret-key"  # noqa: S105 - moto takes any

    def __init__(self, sandbox: Sandbox, *, name: str = "s3") -> None:
        self.port = free_port()
        self._sandbox = sandbox
        self._name = name
        self._folder = sandbox.folder(name)
        self._process: Process | None = None

    @property
    def endpoint_url(self) -> str:
        """The server's address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, empty, and wait until it answers.

        Raises:
            ServerFailed: it ended or is not ready in time; the text holds its log.
        """
        self._process = self._sandbox.spawn(
            self._name,
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
            environment={"TMPDIR": str(self._folder)},  # large objects spill to disk
            folder=self._folder,
        )
        self._process.wait_until(lambda: answers(self.port), START_TIMEOUT_S)

    def stop(self) -> None:
        """Stop, and forget every object."""
        self.kill()

    def kill(self) -> None:
        """Crash: SIGKILL, and forget every object."""
        if self._process is None:
            raise ServerFailed(f"{self._name} is not running")
        self._process.kill()
        self._process = None

    def store(self, bucket: str | None = None) -> Store:
        """Make a bucket, by default one that nobody else uses."""
        name = bucket or f"bucket-{secrets.token_hex(8)}"
        return Store("moto", self.endpoint_url, name, self.access_key, self.secret_key).create()
