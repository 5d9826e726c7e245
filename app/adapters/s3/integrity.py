"""Proof that the store has the bytes that were sent.

Each body goes with its CRC-32C in a header (some stores refuse trailers), so that the store refuses
one that was damaged on the way. A store that computes a checksum returns it, which is compared; of
one that does not, the ETag is, where it is the body's MD5.
"""

import asyncio
import hashlib
import re
from collections.abc import Mapping
from typing import Any, TypedDict

from app.checksums import Crc32c
from app.errors import FileDamaged
from app.ports import Bytes

DAMAGED = "The file was damaged on its way to the file storage."

MD5 = re.compile(r"[0-9a-f]{32}")


class ChecksumHeader(TypedDict, total=False):
    """The checksum argument of a body; empty for a store that does not implement it."""

    ChecksumCRC32C: str


class ChecksumOfUpload(TypedDict, total=False):
    """The checksum arguments of a new multipart upload; empty as for :class:`ChecksumHeader`."""

    ChecksumAlgorithm: Any
    ChecksumType: Any


WHOLE_OBJECT: ChecksumOfUpload = {"ChecksumAlgorithm": "CRC32C", "ChecksumType": "FULL_OBJECT"}
"""Asks the store for the checksum of the whole object rather than one of the parts' checksums."""


async def verify_body(body: Bytes, checksum: Crc32c, answer: Mapping[str, Any]) -> bool:
    """Compare a body with what the store says that it has.

    Returns whether the store computed its checksum.

    Raises:
        FileDamaged: the store has other bytes.
    """
    stored = answer.get("ChecksumCRC32C")
    if stored is not None:
        if stored != str(checksum):
            raise FileDamaged(DAMAGED)
        return True
    etag = str(answer.get("ETag", "")).strip('"')
    if _is_md5(etag, answer) and etag != await asyncio.to_thread(_md5, body):
        raise FileDamaged(DAMAGED)
    return False


def verify_object(checksum: Crc32c, answer: Mapping[str, Any]) -> bool:
    """Compare a whole object's checksum; return whether the store has one.

    Some stores ignore ``ChecksumType`` and return a checksum of the parts' checksums, with the
    number of parts behind a hyphen. The parts were compared before.

    Raises:
        FileDamaged: the store has other bytes.
    """
    stored = answer.get("ChecksumCRC32C")
    if stored is None or "-" in stored or answer.get("ChecksumType") == "COMPOSITE":
        return False
    if stored != str(checksum):
        raise FileDamaged(DAMAGED)
    return True


def _is_md5(etag: str, answer: Mapping[str, Any]) -> bool:
    """Return whether an ETag is the MD5 of the body: not with some encryption, or some stores."""
    is_plain = answer.get("ServerSideEncryption") in (None, "AES256")
    is_plain = is_plain and answer.get("SSECustomerAlgorithm") is None
    return is_plain and MD5.fullmatch(etag) is not None


def _md5(body: Bytes) -> str:
    # A Python in FIPS mode refuses MD5 without this argument.
    return hashlib.md5(body, usedforsecurity=False).hexdigest()
