"""The command line's import: a file or stdin, its progress, its bad lines."""

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import cast

import asyncpg
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from app.audience.sources import Source
from app.config import Settings
from app.database import UNREACHABLE, connect
from app.errors import FileUnfit
from app.feeds.batches import Batches
from app.feeds.imports import BATCH_LINES, Imported, import_batches
from app.feeds.records import opened, read_records
from app.feeds.staging import Rejected
from app.feeds.totals import add_to_totals


async def import_file(
    settings: Settings, source: Source, path: Path, *, streams: int, is_dry: bool
) -> Imported:
    """Import ``path`` (``-`` is stdin), naming each bad line on stderr as ``line N: reason``.

    Raises:
        FileUnfit: the file cannot be read, or its header does not fit ``source``.
        DatabaseUnavailable: what is written already stays.
    """
    with _opened(path) as file, _bar() as bar:
        task = bar.add_task("importing", total=_size(path), records=0)

        def tell(imported: Imported, rejected: list[Rejected]) -> None:
            for each in rejected:
                line = f"line {each.line}: {each.reason}"
                bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
            bar.update(task, completed=_position(file), records=imported.records)

        records = read_records(opened(file))
        batches = Batches(records, source, streams, BATCH_LINES)
        async with _totalled(settings.database_url, is_dry=is_dry) as done:
            return await import_batches(
                settings.database_url, batches, tell, streams=streams, is_dry=is_dry, imported=done
            )


@asynccontextmanager
async def _totalled(url: str, *, is_dry: bool) -> AsyncIterator[Imported]:
    """Yield what is to be counted, and add it to the totals, however the import ends.

    A database that has gone away does not know of it, and is not waited for.
    """
    imported = Imported()
    try:
        yield imported
    finally:
        if imported.records and not is_dry:
            with suppress(asyncpg.PostgresError, *UNREACHABLE):
                connection = await connect(url)
                try:
                    await add_to_totals(connection, imported)
                finally:
                    await connection.close()


@contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    if str(path) == "-":
        yield cast(BufferedReader, sys.stdin.buffer)
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise FileUnfit(f"{path} cannot be read: {error.strerror}.") from error
    with file:
        yield file


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _position(file: BufferedReader) -> int:
    """Return how many bytes are read of the file, compressed or not; 0 of a pipe."""
    return file.tell() if file.seekable() else 0


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[records]:,} lines"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )
