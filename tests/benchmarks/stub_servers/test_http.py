"""Requests cut anywhere, several in one packet: the store's HTTP reads them all."""

import asyncio
from http import HTTPStatus

import pytest

from benchmarks.stub_servers.http import Answer, Connection, Request

TWO = b"PUT /b/k?partNumber=1 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcHEAD /b HTTP/1.1\r\n\r\n"


class RecordingTransport(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.closed = False
        self.written = asyncio.Event()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data
        self.written.set()

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def receive(chunks: list[bytes]) -> tuple[list[Request], RecordingTransport]:
    """Give the chunks to a connection; return the requests it read and its transport."""
    requests: list[Request] = []
    transport = RecordingTransport()

    def answer(request: Request) -> Answer:
        requests.append(request)
        return Answer(HTTPStatus.NO_CONTENT)

    connection = Connection(answer)
    connection.connection_made(transport)
    for chunk in chunks:
        connection.get_buffer(-1)[: len(chunk)] = chunk
        connection.buffer_updated(len(chunk))
    return requests, transport


@pytest.mark.parametrize("size", [1, 2, 7, 40, len(TWO)])
def test_requests_may_be_cut_anywhere(size: int) -> None:
    chunks = [TWO[start : start + size] for start in range(0, len(TWO), size)]

    requests, _ = receive(chunks)

    assert [(each.method, each.path) for each in requests] == [("PUT", "/b/k"), ("HEAD", "/b")]
    assert (requests[0].query, requests[0].body_bytes) == ({"partNumber": "1"}, 3)


def test_a_client_that_asks_first_is_told_to_go_on_before_its_body_comes() -> None:
    head = b"PUT /b/k HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"

    requests, transport = receive([head])

    assert requests == []
    assert transport.sent == b"HTTP/1.1 100 Continue\r\n\r\n"


def test_a_body_without_a_length_is_refused() -> None:
    _, transport = receive([b"PUT /b/k HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"])

    assert transport.sent.startswith(b"HTTP/1.1 411 ")
    assert transport.closed


async def test_a_slow_store_answers_large_bodies_late() -> None:
    transport = RecordingTransport()
    connection = Connection(lambda _: Answer(), delay_s=0.05)
    connection.connection_made(transport)
    length = 1024 * 1024
    head = f"PUT /b/k HTTP/1.1\r\nContent-Length: {length}\r\n\r\n".encode()
    connection.get_buffer(-1)[: len(head)] = head
    connection.buffer_updated(len(head))

    connection.buffer_updated(length)

    assert transport.sent == b""
    await asyncio.wait_for(transport.written.wait(), 10)
