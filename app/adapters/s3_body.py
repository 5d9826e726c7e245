"""Bodies of uploads, sent from where they are: aiohttp copies what is in a ``BytesIO``."""

import asyncio
import io
from typing import IO, cast

from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload, payload_type

from app.ports import Bytes

WRITE_BYTES = 256 * 1024
"""So much is written at once; between writes others have their turn."""


class Body:
    """A file to read and to rewind, as botocore wants a body to be, over bytes that stay."""

    def __init__(self, content: Bytes) -> None:
        self.content = memoryview(content)
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        """Return the next ``size`` bytes, or all that are left."""
        end = len(self.content) if size < 0 else self._at + size
        data = bytes(self.content[self._at : end])
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, counted as a file does."""
        origins = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self.content)}
        self._at = origins[whence] + offset
        return self._at

    def tell(self) -> int:
        """Return the place."""
        return self._at


@payload_type(Body)
class BodyPayload(Payload):
    """How aiohttp sends a :class:`Body`: always all of it."""

    _value: Body
    _autoclose = True

    @property
    def size(self) -> int:
        """The length in bytes."""
        return len(self._value.content)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the content as text."""
        return str(self._value.content, encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write the content, as fast as it is taken."""
        content = self._value.content
        for start in range(0, len(content), WRITE_BYTES):
            await writer.write(content[start : start + WRITE_BYTES])
            await asyncio.sleep(0)


def file_of(content: Bytes) -> IO[bytes]:
    """Return a body for botocore, which needs no more of a file than :class:`Body` has."""
    return cast(IO[bytes], Body(content))
