"""Bodies are read like files and sent without being copied."""

import io
from typing import cast

import pytest
from aiohttp.abc import AbstractStreamWriter

from app.adapters.s3.body import WRITE_BYTES, BodyPayload, BufferBody

CONTENT = bytes(range(256)) * 5


class RecordingWriter:
    """Keeps what is written to it."""

    def __init__(self) -> None:
        self.written: list[memoryview] = []

    async def write(self, chunk: memoryview) -> None:
        self.written.append(chunk)


@pytest.mark.parametrize("sizes", [(-1,), (1, 0, 1279, 5), (2000,), (700, -1)])
def test_a_body_is_read_as_a_file_is(sizes: tuple[int, ...]) -> None:
    body, file = BufferBody(CONTENT), io.BytesIO(CONTENT)
    assert [body.read(size) for size in sizes] == [file.read(size) for size in sizes]
    assert body.tell() == file.tell()


@pytest.mark.parametrize("where", [(7, 0), (0, 2), (-3, 2), (4, 1)])
def test_a_body_is_rewound_as_a_file_is(where: tuple[int, int]) -> None:
    body, file = BufferBody(CONTENT), io.BytesIO(CONTENT)
    body.read(10)
    file.read(10)
    assert body.seek(*where) == file.seek(*where)
    assert body.read() == file.read()


async def test_what_is_sent_is_the_memory_itself() -> None:
    content = bytearray(3 * WRITE_BYTES + 1)
    writer = RecordingWriter()
    payload = BodyPayload(BufferBody(memoryview(content)))
    await payload.write(cast(AbstractStreamWriter, writer))
    assert all(chunk.obj is content for chunk in writer.written)
    assert sum(map(len, writer.written)) == payload.size == len(content)


async def test_what_was_read_for_a_signature_is_sent_all_the_same() -> None:
    body, writer = BufferBody(CONTENT), RecordingWriter()
    body.read()
    await BodyPayload(body).write(cast(AbstractStreamWriter, writer))
    assert b"".join(writer.written) == CONTENT
