"""``audience-export export`` and ``watch``: a merge to a local file, and a progress bar."""

import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from app.adapters.redis.pubsub import open_export_events
from app.audience.estimates import estimate_rows
from app.audience.merge import Merge
from app.audience.replica import ReplayTarget
from app.cli.common import operating_user, output_errors
from app.config import Settings
from app.database.database import Database, open_database
from app.errors import ReplicaLagging
from app.exports.audit import record_local_export
from app.exports.execution import pipeline
from app.exports.execution.stream_growth import stream_limits
from app.exports.queries import find_export, wait_until_finished
from app.models import CURRENT_LSN, Export

POLL_INTERVAL_S = 0.5

NOW = f"SELECT clock_timestamp() AS at, {CURRENT_LSN} AS lsn"


class FileSink:
    """Writes the bytes of an export to a file and updates the progress bar."""

    def __init__(
        self, file: BinaryIO, progress: pipeline.Progress, bar: Progress, task: TaskID
    ) -> None:
        self._file = file
        self._progress = progress
        self._bar = bar
        self._task = task

    async def write(self, data: bytes) -> None:
        """Write bytes, which may begin and end anywhere in a row."""
        with output_errors():
            self._file.write(data)
        self._bar.update(self._task, completed=self._progress.rows)


@dataclass(frozen=True)
class LocalExport:
    """A list that was written to a file, and the id that the audit knows it by.

    ``refused_addresses`` counts the addresses that common mailing tools refuse.
    """

    rows: int
    refused_addresses: int
    audit_id: UUID


async def export_to_file(settings: Settings, merge: Merge, output: Path) -> LocalExport:
    """Write a merge to ``output`` (``-`` is stdout).

    The file appears complete or not at all, always with mode 0600, and only after
    its audit entry is committed. A device or a named pipe is written to as it is.
    Like an export it waits for a replica to catch up, and reads from the primary where
    the replica stays behind.

    Raises:
        DatabaseUnavailable, ReadConflict, StreamStalled: temporary, try again.
    """
    url = settings.audience_database_url or settings.database_url
    async with (
        open_database(settings.database_url, pool_size=1) as primary,
        open_database(url, settings.export_streams_max) as database,
    ):
        # Committed before the first byte is written: no list leaves without its entry (ADR 4).
        copy_id = await record_local_export(primary, merge, operating_user(), socket.gethostname())
        required_lsn = await _required_lsn(primary, settings)
        total = await estimate_rows(database, merge)
        with _bar() as bar, _open_output(output) as file:
            progress = pipeline.Progress()
            sink = FileSink(file, progress, bar, bar.add_task("exporting", total=total))
            job = pipeline.CopyJob(
                database=database,
                session_name="audience-export cli",
                merge=merge,
                sink=sink,
                progress=progress,
                streams=stream_limits(settings),
                timeout_s=settings.export_timeout_s,
                replay_target=required_lsn,
            )
            try:
                await pipeline.stream_export(job)
            except ReplicaLagging:  # raised before the first byte, so the file is still empty
                await pipeline.stream_export(replace(job, database=primary, replay_target=None))
    return LocalExport(progress.rows, progress.refused_addresses, copy_id)


async def _required_lsn(primary: Database, settings: Settings) -> ReplayTarget | None:
    """Return what a replica must have replayed; ``None`` without ``AUDIENCE_DATABASE_URL``."""
    if settings.audience_database_url is None:
        return None
    [now] = await primary.fetch(NOW)
    return ReplayTarget(now["at"], int(now["lsn"]), settings.replica_wait_s)


async def watch_export(settings: Settings, export_id: UUID) -> Export:
    """Show an export's progress bar until it has ended, and return it."""
    async with (
        open_database(settings.database_url, pool_size=1) as database,
        open_export_events(settings) as export_events,
    ):
        export = await find_export(database, export_id, None)
        with _bar() as bar:
            task = bar.add_task(export.status, total=export.rows_estimated)
            while export.is_active:
                export = await wait_until_finished(database, export_events, export, POLL_INTERVAL_S)
                bar.update(task, completed=export.rows_exported, description=export.status)
    return export


def describe(export: Export) -> str:
    """Return what an export lists, and how it is written, in one line."""
    options = export.options
    parts = ["+".join(export.sources), options.format, options.locale, options.timezone]
    if options.joined_after is not None:
        parts.append(f"joined_after={options.joined_after.isoformat()}")
    if options.joined_before is not None:
        parts.append(f"joined_before={options.joined_before.isoformat()}")
    return " ".join(parts)


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
def _open_output(output: Path) -> Iterator[BinaryIO]:
    if str(output) == "-" or _is_stdout(output):
        yield sys.stdout.buffer
        with output_errors():
            # Not left to the interpreter's exit, which would report a full disk in its own way.
            sys.stdout.buffer.flush()
        return
    is_device = output.exists() and not output.is_file()  # a pipe, /dev/null: it stays what it is
    with _open_existing(output) if is_device else _open_new(output) as file:
        yield file


def _is_stdout(output: Path) -> bool:
    """Return whether a path, such as ``/dev/stdout``, is where stdout goes."""
    try:
        return os.path.samestat(output.stat(), os.fstat(sys.stdout.fileno()))
    except (OSError, ValueError):  # no such file, or no stdout
        return False


@contextmanager
def _open_existing(output: Path) -> Iterator[BinaryIO]:
    with output_errors():
        file = output.open("wb")
    try:
        yield file
        with output_errors():
            file.close()
    finally:
        with suppress(OSError):  # what could not be written fails here once more
            file.close()


@contextmanager
def _open_new(output: Path) -> Iterator[BinaryIO]:
    """Open a file that replaces ``output`` once it is complete."""
    with output_errors():
        # In the same folder: a file can be renamed within one file system only.
        descriptor, name = tempfile.mkstemp(prefix=f".{output.name}.", dir=output.parent)
    unfinished = Path(name)  # mkstemp opens with O_EXCL and 0600: never a link or another's file
    file = os.fdopen(descriptor, "wb")
    try:
        os.fchmod(descriptor, 0o600)  # the umask may have removed the owner's rights
        yield file
        with output_errors():
            file.close()
            # After close(), which may be the first to find the disk full.
            unfinished.replace(output)
    finally:
        with suppress(OSError):  # what could not be written fails here once more
            file.close()
        unfinished.unlink(missing_ok=True)
