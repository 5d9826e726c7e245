"""The command line's own ways: a merge straight to a file, an export's progress."""

import os
import pwd
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from sqlalchemy.ext.asyncio import AsyncEngine

from app.adapters.news import open_news
from app.audience.estimates import estimate_rows
from app.audience.merge import Merge
from app.audience.standby import Asked
from app.config import Settings
from app.database import create_engine
from app.errors import ReplicaBehind
from app.exports import pipeline
from app.exports.audit import record_copy
from app.exports.queries import find_export, wait_until_finished
from app.models import CURRENT_LSN, Export
from app.statements import Statement

WATCH_S = 0.5

NOW = Statement(f"SELECT clock_timestamp() AS at, {CURRENT_LSN} AS lsn")


class FileSink:
    """Writes the bytes of an export to a file, and shows ``progress``."""

    def __init__(
        self, file: BinaryIO, progress: pipeline.Progress, bar: Progress, task: TaskID
    ) -> None:
        self._file = file
        self._progress = progress
        self._bar = bar
        self._task = task

    async def write(self, data: bytes) -> None:
        """Take bytes cut anywhere."""
        self._file.write(data)
        self._bar.update(self._task, completed=self._progress.rows)


async def copy_to_file(settings: Settings, merge: Merge, output: Path) -> tuple[int, UUID]:
    """Write a merge to ``output`` (``-`` is stdout); return its number of rows and its audit's id.

    A file appears whole or not at all, and not before its audit entry is
    committed. A standby is waited for first, as an export waits for it, and
    left for the primary where it stays behind.

    Raises:
        DatabaseUnavailable, SourceBusy, StreamStalled: trying again may help.
    """
    url = settings.audience_database_url or settings.database_url
    async with _engine(settings.database_url) as primary, _engine(url) as engine:
        copy_id = await record_copy(primary, merge, _user(), socket.gethostname())
        asked = await _asked(primary, settings)
        total = await estimate_rows(engine, merge)
        with _bar() as bar, _written(output) as file:
            progress = pipeline.Progress()
            sink = FileSink(file, progress, bar, bar.add_task("exporting", total=total))
            stream = partial(
                pipeline.stream_export,
                merge=merge,
                sink=sink,
                progress=progress,
                settings=settings,
                session_name="audience-export cli",
            )
            try:
                await stream(engine, asked=asked)
            except ReplicaBehind:  # nothing of it was written yet
                await stream(primary)
    return progress.rows, copy_id


async def _asked(primary: AsyncEngine, settings: Settings) -> Asked | None:
    """Return what a standby must have replayed; there is none where no address names it."""
    if settings.audience_database_url is None:
        return None
    [now] = await NOW.rows(primary)
    return Asked(now["at"], int(now["lsn"]), settings.replica_wait_s)


async def watch_export(settings: Settings, export_id: UUID) -> Export:
    """Show an export's progress bar until it has ended and return it as it is then."""
    async with _engine(settings.database_url) as engine, open_news(settings) as news:
        export = await find_export(engine, export_id, None)
        with _bar() as bar:
            task = bar.add_task(export.status, total=export.rows_estimated)
            while export.is_active:
                export = await wait_until_finished(engine, news, export, WATCH_S)
                bar.update(task, completed=export.rows_exported, description=export.status)
    return export


@asynccontextmanager
async def _engine(url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(url, pool_size=1)
    try:
        yield engine
    finally:
        await engine.dispose()


def _user() -> str:
    """Return the operating system's name for who runs this, which no variable can change."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} rows"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )


@contextmanager
def _written(output: Path) -> Iterator[BinaryIO]:
    if str(output) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    unfinished = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        with unfinished.open("wb") as file:
            yield file
        unfinished.replace(output)
    finally:
        unfinished.unlink(missing_ok=True)
