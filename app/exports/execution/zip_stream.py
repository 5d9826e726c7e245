"""A ZIP archive that is written as it grows, to where nothing can be changed afterwards."""

from typing import IO
from zipfile import ZIP_DEFLATED, ZipFile

from isal import isal_zlib

LEVEL = 1
RAW = -15
"""DEFLATE without a header, as archives hold it, with the largest window."""


class ZipStream:
    """Compresses one entry after the other and hands out the archive's bytes.

    The standard library's ``zipfile`` frames it: told that it cannot go back, it writes each
    entry's length and checksum behind the entry. Its calls take a while and may be made in a
    thread, one at a time.
    """

    def __init__(self) -> None:
        self._bytes = _Bytes()
        self._archive = _Archive(self._bytes, "w", ZIP_DEFLATED, compresslevel=LEVEL)
        self._entry: IO[bytes] | None = None

    def begin(self, name: str) -> None:
        """Begin an entry, after the end of the one before."""
        self._end_entry()
        # Not force_zip64, which some readers refuse: a sheet stays below 2 GiB (ADR 12).
        self._entry = self._archive.open(name, "w")
        # ISA-L takes a quarter of zlib's time. Where zipfile ignores this, zlib compresses.
        compressor = isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, RAW)
        self._entry._compressor = compressor  # type: ignore[attr-defined]  # private, see above

    def write(self, data: bytes | memoryview) -> None:
        """Add to the entry that was begun last."""
        assert self._entry is not None, "begin an entry first"  # noqa: S101 - a mistake of ours
        self._entry.write(data)

    def end(self) -> None:
        """End the last entry and the archive."""
        self._end_entry()
        self._archive.close()

    def take(self) -> bytes:
        """Return the bytes of the archive since the last call."""
        return self._bytes.take()

    def _end_entry(self) -> None:
        if self._entry is not None:
            self._entry.close()
            self._entry = None


class _Archive(ZipFile):
    def __del__(self) -> None:
        """Leave an archive that was given up as it is: to close it would fail, and needs not be."""


class _Bytes:
    """A file that only grows: without ``tell`` and ``seek``, as a pipe."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._written.append(data)
        return len(data)

    def flush(self) -> None:
        """Do nothing: there is nothing behind this."""

    def close(self) -> None:
        """Do nothing: what was written may still be taken."""

    def take(self) -> bytes:
        taken = b"".join(self._written)
        self._written.clear()
        return taken
