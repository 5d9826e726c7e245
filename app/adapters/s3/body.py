"""Upload bodies that are sent without a copy; aiohttp copies the contents of a ``BytesIO``."""

import asyncio
import io
from typing import IO, cast

from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload, payload_type

from app.ports import Bytes

WRITE_BYTES = 256 * 1024
"""The size of one write; between writes other tasks run."""


class BufferBody:
    """A readable, seekable file over ``content``, which must not change while it is sent."""

    def __init__(self, content: Bytes) -> None:
        self.content = memoryview(content)
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        """Return the next ``size`` bytes, or all remaining ones."""
        end = len(self.content) if size < 0 else self._at + size
        data = bytes(self.content[self._at : end])
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Change the position, as :meth:`io.IOBase.seek` does, and return it."""
        origins = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self.content)}
        self._at = origins[whence] + offset
        return self._at

    def tell(self) -> int:
        """Return the position."""
        return self._at


@payload_type(BufferBody)
class BodyPayload(Payload):
    """Sends all of a :class:`BufferBody`, ignoring its position, so that a retry is complete."""

    _value: BufferBody
    _autoclose = True

    @property
    def size(self) -> int:
        """The length in bytes."""
        return len(self._value.content)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the content as text."""
        return str(self._value.content, encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write the content in pieces of ``WRITE_BYTES``."""
        content = self._value.content
        for start in range(0, len(content), WRITE_BYTES):
            await writer.write(content[start : start + WRITE_BYTES])
            await asyncio.sleep(0)  # writer.write only yields when the transport's buffer is full


def as_file(content: Bytes) -> IO[bytes]:
    """Return ``content`` as a body for botocore, which uses only read, seek and tell."""
    return cast(IO[bytes], BufferBody(content))
