"""``audience-export import``: reads a file or stdin, shows progress, reports bad lines."""

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
from app.database.database import open_database
from app.database.errors import UNREACHABLE
from app.errors import DatabaseUnavailable, InvalidImportFile
from app.feeds.batches import BatchReader
from app.feeds.columns import SourceTable, read_table
from app.feeds.csv_records import open_decompressed, read_records
from app.feeds.imports import BATCH_LINES, ImportProgress, import_batches
from app.feeds.staging import RejectedLine
from app.feeds.totals import add_to_totals


async def import_file(
    settings: Settings, source: Source, path: Path, *, streams: int, is_dry: bool
) -> ImportProgress:
    """Import ``path`` (``-`` is stdin); print each bad line on stderr as ``line N: reason``.

    Raises:
        InvalidImportFile: the file cannot be read, or its header does not match ``source``.
        DatabaseUnavailable: the batches written so far stay.
    """
    with _open_input(path) as file, _bar() as bar:
        task = bar.add_task("importing", total=_size(path), records=0)

        def show_progress(imported: ImportProgress, rejected: list[RejectedLine]) -> None:
            for each in rejected:
                line = f"line {each.line}: {each.reason}"
                # No markup: a reason may quote the file, whose brackets Rich would read as styles.
                bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
            bar.update(task, completed=_position(file), records=imported.records)

        records = read_records(open_decompressed(file))
        target = await source_table(settings.database_url, source)
        batches = BatchReader(records, target, streams, BATCH_LINES)
        async with _save_totals(settings.database_url, is_dry=is_dry) as done:
            return await import_batches(
                settings.database_url,
                batches,
                show_progress,
                streams=streams,
                is_dry=is_dry,
                imported=done,
            )


async def source_table(url: str, source: Source) -> SourceTable:
    """Return the table of ``source`` in the database at ``url``.

    Raises:
        InvalidImportFile: the table does not exist.
        DatabaseUnavailable, ReadConflict: try again.
    """
    async with open_database(url, pool_size=1) as database:
        table = await read_table(database, source)
    if table is None:
        raise InvalidImportFile(
            f"The table {source.table} does not exist: run alembic upgrade head."
        )
    return table


@asynccontextmanager
async def _save_totals(url: str, *, is_dry: bool) -> AsyncIterator[ImportProgress]:
    """Yield the running counts and add them to the totals in the database at the end.

    Also when the import fails; while the database is unavailable they are dropped.
    """
    imported = ImportProgress()
    try:
        yield imported
    finally:
        if imported.records and not is_dry:
            # The rows are written: an error here must not make the import a failed one.
            with suppress(asyncpg.PostgresError, DatabaseUnavailable, *UNREACHABLE):
                async with open_database(url, pool_size=1) as database:
                    await add_to_totals(database, imported)


@contextmanager
def _open_input(path: Path) -> Iterator[BufferedReader]:
    if str(path) == "-":
        yield cast(BufferedReader, sys.stdin.buffer)
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise InvalidImportFile(f"{path} cannot be read: {error.strerror}.") from error
    with file:
        yield file


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _position(file: BufferedReader) -> int:
    """Return the bytes read so far of the file as stored; 0 for a pipe."""
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
