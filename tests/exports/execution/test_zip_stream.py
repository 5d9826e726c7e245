"""The archive in pieces: what it holds, and what is left of one that is given up."""

import gc
import io
import sys
import zipfile

import pytest

from app.exports.execution.zip_stream import ZipStream


def test_the_pieces_are_the_archive() -> None:
    stream = ZipStream()
    stream.begin("a")
    stream.write(b"1" * 100_000)
    pieces = [stream.take()]
    stream.write(memoryview(b"12")[1:])
    stream.begin("b/c")
    pieces.append(stream.take())
    stream.end()
    pieces.append(stream.take())
    assert stream.take() == b""
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            "a": b"1" * 100_000 + b"2",
            "b/c": b"",
        }


def test_an_archive_that_is_given_up_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", raised.append)
    stream = ZipStream()
    stream.begin("a")
    stream.write(b"1")
    del stream
    gc.collect()
    assert raised == []
