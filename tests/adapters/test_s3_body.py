"""Bodies are read like files and sent without being copied."""

import io
from typing import cast

import pytest
from aiohttp.abc import AbstractStreamWriter

from app.adapters.s3_body import WRITE_BYTES, Body, BodyPayload

CONTENT = bytes(range(256)) * 5


class Wire:
    """Keeps what is written to it."""

    def __init__(self) -> None:
        self.written: list[memoryview] = []

    async def write(self, chunk: memoryview) -> None:
        self.written.append(chunk)


@pytest.mark.parametrize("sizes", [(-1,), (1, 0, 1279, 5), (2000,), (700, -1)])
def test_a_body_is_read_as_a_file_is(sizes: tuple[int, ...]) -> None:
    body, file = Body(CONTENT), io.BytesIO(CONTENT)
    assert [body.read(size) for size in sizes] == [file.read(size) for size in sizes]
    assert body.tell() == file.tell()


@pytest.mark.parametrize("where", [(7, 0), (0, 2), (-3, 2), (4, 1)])
def test_a_body_is_rewound_as_a_file_is(where: tuple[int, int]) -> None:
    body, file = Body(CONTENT), io.BytesIO(CONTENT)
    body.read(10)
    file.read(10)
    assert body.seek(*where) == file.seek(*where)
    assert body.read() == file.read()


async def test_what_is_sent_is_the_memory_itself() -> None:
    content = bytearray(3 * WRITE_BYTES + 1)
    wire = Wire()
    payload = BodyPayload(Body(memoryview(content)))
    await payload.write(cast(AbstractStreamWriter, wire))
    assert all(chunk.obj is content for chunk in wire.written)
    assert sum(map(len, wire.written)) == payload.size == len(content)


async def test_what_was_read_for_a_signature_is_sent_all_the_same() -> None:
    body, wire = Body(CONTENT), Wire()
    body.read()
    await BodyPayload(body).write(cast(AbstractStreamWriter, wire))
    assert b"".join(wire.written) == CONTENT
