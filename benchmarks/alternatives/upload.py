"""Shared by the alternatives: a file on disk, then boto3's ``upload_file``."""

import functools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from sqlalchemy import Engine, create_engine

from benchmarks.processes.in_process import Spec

CLIENT_CONFIG = Config(
    signature_version="s3v4",
    s3={"addressing_style": "path"},
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)
"""As in the service's client: no checksums that the service does not compute either."""


@contextmanager
def uploaded(spec: Spec) -> Iterator[Path]:
    """Yield a file to write to, and upload it."""
    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        path = Path(file.name)
        yield path
        open_client(spec["s3_url"]).upload_file(str(path), spec["bucket"], spec["key"])


@functools.cache
def open_client(s3_url: str) -> Any:
    """Return the process's boto3 client; the store checks no credentials."""
    return boto3.client(
        "s3",
        endpoint_url=s3_url,
        region_name="us-east-1",
        aws_access_key_id="bench",
        aws_secret_access_key="bench-secret",  # noqa: S106 - nobody's
        config=CLIENT_CONFIG,
    )


@functools.cache
def open_engine(url: str) -> Engine:
    """Return the process's one SQLAlchemy engine."""
    return create_engine(url)
