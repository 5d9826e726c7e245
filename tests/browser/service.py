"""The service that the dialog talks to: real processes that a test can stop, freeze and start."""

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any
from uuid import UUID

from app.adapters.redis.pubsub import open_export_events
from app.config import Settings
from app.database.connections import Connection
from devstack.sandbox import Process, Sandbox
from devstack.service_processes import start_api, start_worker
from devstack.smtp import SmtpServer


@contextmanager
def frozen(process: Process) -> Iterator[None]:
    """Let a process do nothing while the context is open."""
    os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process.pid, signal.SIGCONT)


class Service:
    """An API and a worker."""

    def __init__(
        self, sandbox: Sandbox, settings: Mapping[str, str], port: int, smtp: SmtpServer
    ) -> None:
        self.settings = settings
        self.url = f"http://127.0.0.1:{port}"
        self._sandbox = sandbox
        self._port = port
        self._smtp = smtp
        self._api: Process | None = None
        self._worker: Process | None = None

    def start(self) -> None:
        """Start both."""
        self.start_api()
        self._worker = start_worker(self._sandbox, self.settings, name="browser-worker")

    def stop(self) -> None:
        """Stop both."""
        for process in (self._worker, self._api):
            if process is not None:
                process.stop()

    def start_api(self) -> None:
        """Start the API, again on the same port."""
        self._api = start_api(self._sandbox, self.settings, self._port, name="browser-api")

    def stop_api(self) -> None:
        """Stop the API."""
        assert self._api is not None
        self._api.stop()

    def frozen_worker(self) -> AbstractContextManager[None]:
        """Let exports wait while the context is open."""
        assert self._worker is not None
        return frozen(self._worker)

    def mails_to(self, recipient: str) -> list[EmailMessage]:
        """Return what arrived for ``recipient``, oldest first."""
        parser = BytesParser(policy=policy.default)
        mails: list[Any] = [parser.parsebytes(path.read_bytes()) for path in self._smtp.messages()]
        return [mail for mail in mails if mail["To"] == recipient]


class Records:
    """Puts exports into a state, as a worker would, and publishes the change."""

    def __init__(self, settings: Mapping[str, str], connection: Connection) -> None:
        names = {name.lower(): value for name, value in settings.items() if value}
        self._settings = Settings(**names)  # type: ignore[arg-type]
        self._connection = connection

    async def add(self, seller_id: int, status: str = "failed", **columns: Any) -> None:
        """Insert an export of the followers."""
        row = {
            "seller_id": seller_id,
            "status": status,
            "sources": ["follower"],
            "columns": ["email"],
            "spreadsheet_safe": True,
            "bom": False,
            "recipient_email": f"seller{seller_id}@example.com",
            "fingerprint": b"",
        } | columns
        places = ", ".join(f"${place}" for place in range(1, len(row) + 1))
        await self._connection.execute(
            f"INSERT INTO exports ({', '.join(row)}) VALUES ({places})", *row.values()
        )

    async def newest(self, seller_id: int) -> UUID:
        """Return the id of a seller's newest export."""
        found: UUID = await self._connection.fetchval(
            "SELECT id FROM exports WHERE seller_id = $1 ORDER BY id DESC LIMIT 1", seller_id
        )
        return found

    async def fail_newest(self, seller_id: int) -> None:
        """Let a seller's newest export fail, since the store refuses it."""
        await self.change(
            await self.newest(seller_id),
            status="failed",
            error_code="storage_refused",
            error_detail="The file storage denies access.",
            finished_at=datetime.now(UTC),
        )

    async def change(self, export_id: UUID, **columns: Any) -> None:
        """Change an export's row."""
        assignments = ", ".join(f"{name} = ${place}" for place, name in enumerate(columns, 2))
        await self._connection.execute(
            f"UPDATE exports SET {assignments} WHERE id = $1", export_id, *columns.values()
        )
        async with open_export_events(self._settings) as export_events:
            await export_events.publish(export_id)
