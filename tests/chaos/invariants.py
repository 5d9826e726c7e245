"""The invariants that must hold after a chaos run."""

import statistics
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any

import asyncpg

from app.audience.drift import verify
from app.database.connections import connect
from app.database.database import DatabaseConnection
from app.exports.delivery.mail_outcome import UNANSWERED_MAX
from tests.chaos.crowd import Crowd, ExportRequest
from tests.chaos.environment import Environment

READY = "Your audience export is ready"


@dataclass(frozen=True)
class Verdict:
    """The result: ``faults`` describes violations, ``figures`` are for the table."""

    faults: list[str]
    figures: dict[str, object]

    def __add__(self, other: "Verdict") -> "Verdict":
        """Return both in one."""
        return Verdict(self.faults + other.faults, self.figures | other.figures)


class InvariantChecker:
    """Checks rows, bucket and mailbox directly, past the proxies."""

    def __init__(self, environment: Environment, crowd: Crowd, withdrawn: set[str]) -> None:
        self._environment = environment
        self._crowd = crowd
        self._withdrawn = withdrawn
        self._rows: dict[str, asyncpg.Record] = {}
        self._repeated = 0

    async def check(self) -> Verdict:
        """Return the verdict, once the service is idle."""
        connection = await connect(self._environment.settings["DATABASE_URL"], command_timeout=300)
        try:
            rows = await connection.fetch("SELECT * FROM exports")
            drift = await verify(DatabaseConnection(connection))
        finally:
            await connection.close()
        self._rows = {row["recipient_email"]: row for row in rows}
        faults = [
            *self._of_exports(),
            *self._of_mails(),
            *self._of_bucket(),
            *self._of_workers(),
            *([f"drift: {drift.counts}"] if drift else []),
        ]
        if len(rows) != len(self._crowd.requests):
            faults.append(f"{len(rows)} exports for {len(self._crowd.requests)} requests")
        return Verdict(faults, self._figures(rows))

    def _of_exports(self) -> Iterator[str]:
        with self._environment.store.client() as client:
            for request in self._crowd.requests:
                row = self._rows.get(request.recipient)
                if row is None:
                    yield f"{request.recipient}: accepted, and not there"
                elif request.recipient in self._withdrawn:
                    if row["status"] not in ("cancelled", "deleted"):
                        yield f"{request.recipient}: deleted, and {row['status']}"
                elif row["status"] != "succeeded":
                    yield f"{request.recipient}: {row['status']} ({row['error_code']})"
                else:
                    yield from self._of_file(client, request, row)

    def _of_file(self, client: Any, request: ExportRequest, row: asyncpg.Record) -> Iterator[str]:
        found = client.get_object(Bucket=self._environment.store.bucket, Key=row["object_key"])
        with found["Body"] as body:
            content: bytes = body.read()
        if not self._crowd.is_right(request, content):
            yield f"{request.recipient}: its file is wrong"
        counted = content.count(b"\n") - 1, len(content)
        if counted != (row["file_rows"], row["file_bytes"]):
            yield f"{request.recipient}: its row does not count its file's rows and bytes"

    def _of_mails(self) -> Iterator[str]:
        mails: dict[str, list[EmailMessage]] = {
            request.recipient: [] for request in self._crowd.requests
        }
        for mail in mails_of(self._environment):
            mails[str(mail["To"])].append(mail)
        for recipient, its in mails.items():
            ids = Counter(str(mail["Message-ID"]) for mail in its)
            self._repeated += len(its) - len(ids)
            if any(not mail["Subject"].startswith(READY) for mail in its):
                yield f"{recipient}: got a mail about a failure"
            row = self._rows[recipient]
            may_be_none = recipient in self._withdrawn or _is_given_up(row)
            if len(ids) > 1 or not (ids or may_be_none):
                yield f"{recipient}: got {len(ids)} different mails"
            if row["email_status"] != "sent" and not may_be_none:
                yield f"{recipient}: the mail's state is {row['email_status']}"
            if len(its) > min(UNANSWERED_MAX, max(1, row["email_attempts"])):
                yield f"{recipient}: got the same mail {len(its)} times"

    def _of_bucket(self) -> Iterator[str]:
        stored, uploads = bucket_of(self._environment)
        owned = {row["object_key"] for row in self._rows.values()} - {None}
        yield from (f"no export owns {key}" for key in sorted(stored - owned))
        yield from (f"{key} is gone" for key in sorted(owned - stored))
        yield from (f"an upload is open: {key}" for key in sorted(uploads))

    def _of_workers(self) -> Iterator[str]:
        for worker in self._environment.workers:
            worker.note_end()
            yield from (f"{worker.name} ended by itself: {log}" for log in worker.ended_by_itself)

    def _figures(self, rows: list[asyncpg.Record]) -> dict[str, object]:
        attempts = [row["attempt"] for row in rows]
        waits = [(row["finished_at"] - row["created_at"]).total_seconds() for row in rows]
        logs = self._environment.logs()
        return {
            "exports": len(rows),
            "of these deleted meanwhile": len(self._withdrawn),
            "megabytes": f"{sum(row['file_bytes'] or 0 for row in rows) / 1e6:.0f}",
            "attempts": sum(attempts),
            "most attempts of one export": max(attempts),
            "slowest export": f"{max(waits):.1f} s",
            "median export": f"{statistics.median(waits):.2f} s",
            "leases reclaimed": logs.count("lease reclaimed"),
            "leases lost, noticed by their worker": logs.count('"lease lost"'),
            "attempts failed": logs.count("attempt failed"),
            "attempts failed with an unexpected error": logs.count("attempt crashed"),
            "mails claimed": sum(row["email_attempts"] for row in rows),
            "mails sent twice": self._repeated,
            "mails given up without a reply": sum(map(_is_given_up, rows)),
            "orphans deleted": logs.count("orphan deleted"),
        }


def _is_given_up(row: asyncpg.Record) -> bool:
    """Return whether a mail's content got no reply twice: it may have arrived."""
    return bool(row["email_status"] == "failed" and row["email_unanswered"] == UNANSWERED_MAX)


def mails_of(environment: Environment) -> Iterator[EmailMessage]:
    """Yield every mail that has arrived."""
    for path in environment.smtp.messages():
        yield BytesParser(policy=policy.default).parsebytes(path.read_bytes())


def bucket_of(environment: Environment) -> tuple[set[str], set[str]]:
    """Return the keys of all objects, and of all incomplete uploads."""
    bucket = {"Bucket": environment.store.bucket}
    with environment.store.client() as client:
        pages = client.get_paginator("list_objects_v2").paginate(**bucket)
        stored = {item["Key"] for page in pages for item in page.get("Contents", [])}
        uploads = client.list_multipart_uploads(**bucket).get("Uploads", [])
    return stored, {upload["Key"] for upload in uploads}
