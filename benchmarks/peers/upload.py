"""What the peers have in common: a file on disk, then boto3's ``upload_file``."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from benchmarks.measured import Spec

CLIENT_CONFIG = Config(
    signature_version="s3v4",
    s3={"addressing_style": "path"},
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)
"""As the service's own: no checksum that it does not compute either."""


@contextmanager
def uploaded(spec: Spec) -> Iterator[Path]:
    """Yield a file to be written, and upload what is in it."""
    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        path = Path(file.name)
        yield path
        with_client(spec).upload_file(str(path), spec["bucket"], spec["key"])


def with_client(spec: Spec) -> Any:
    """Return a boto3 client of the run's store."""
    return boto3.client(
        "s3",
        endpoint_url=spec["s3_url"],
        region_name="us-east-1",
        aws_access_key_id=spec["access_key"],
        aws_secret_access_key=spec["secret_key"],
        config=CLIENT_CONFIG,
    )
