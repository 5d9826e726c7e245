"""What must hold when the chaos is over, and the table that says so."""

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
from app.database import connect
from tests.chaos.arena import Arena
from tests.chaos.crowd import Crowd, Wish

READY = "Your audience export is ready"


@dataclass(frozen=True)
class Verdict:
    """``faults`` are sentences, none if all is well; ``figures`` are for the table."""

    faults: list[str]
    figures: dict[str, object]


class Judge:
    """Looks at rows, bucket and mailbox around everything that could have broken."""

    def __init__(self, arena: Arena, crowd: Crowd, withdrawn: set[str]) -> None:
        self._arena = arena
        self._crowd = crowd
        self._withdrawn = withdrawn
        self._rows: dict[str, asyncpg.Record] = {}
        self._repeated = 0

    async def judge(self) -> Verdict:
        """Return the verdict, when everything has come to rest."""
        connection = await connect(self._arena.settings["DATABASE_URL"], command_timeout=300)
        try:
            rows = await connection.fetch("SELECT * FROM exports")
            drift = await verify(connection)
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
        if len(rows) != len(self._crowd.wishes):
            faults.append(f"{len(rows)} exports for {len(self._crowd.wishes)} requests")
        return Verdict(faults, self._figures(rows))

    def _of_exports(self) -> Iterator[str]:
        with self._arena.store.client() as client:
            for wish in self._crowd.wishes:
                row = self._rows.get(wish.recipient)
                if row is None:
                    yield f"{wish.recipient}: accepted, and not there"
                elif wish.recipient in self._withdrawn:
                    if row["status"] not in ("cancelled", "deleted"):
                        yield f"{wish.recipient}: deleted, and {row['status']}"
                elif row["status"] != "succeeded":
                    yield f"{wish.recipient}: {row['status']} ({row['error_code']})"
                else:
                    yield from self._of_file(client, wish, row)

    def _of_file(self, client: Any, wish: Wish, row: asyncpg.Record) -> Iterator[str]:
        found = client.get_object(Bucket=self._arena.store.bucket, Key=row["object_key"])
        with found["Body"] as body:
            content: bytes = body.read()
        if not self._crowd.is_right(wish, content):
            yield f"{wish.recipient}: its file is wrong"
        counted = content.count(b"\n") - 1, len(content)
        if counted != (row["file_rows"], row["file_bytes"]):
            yield f"{wish.recipient}: its row does not count its file's rows and bytes"

    def _of_mails(self) -> Iterator[str]:
        mails: dict[str, list[EmailMessage]] = {wish.recipient: [] for wish in self._crowd.wishes}
        for path in self._arena.smtp.messages():
            mail = BytesParser(policy=policy.default).parsebytes(path.read_bytes())
            mails[str(mail["To"])].append(mail)
        for recipient, its in mails.items():
            ids = Counter(str(mail["Message-ID"]) for mail in its)
            self._repeated += len(its) - len(ids)
            if any(mail["Subject"] != READY for mail in its):
                yield f"{recipient}: was told of a failure"
            if len(ids) != 1 and recipient not in self._withdrawn:
                yield f"{recipient}: got {len(ids)} different mails"
            if recipient not in self._withdrawn and self._rows[recipient]["email_status"] != "sent":
                yield f"{recipient}: the mail's state is {self._rows[recipient]['email_status']}"
            if len(its) > max(1, self._rows[recipient]["email_attempts"]):
                yield f"{recipient}: got more mails than were claimed"

    def _of_bucket(self) -> Iterator[str]:
        stored, uploads = bucket_of(self._arena)
        owned = {row["object_key"] for row in self._rows.values()} - {None}
        yield from (f"no export owns {key}" for key in sorted(stored - owned))
        yield from (f"{key} is gone" for key in sorted(owned - stored))
        yield from (f"an upload is open: {key}" for key in sorted(uploads))

    def _of_workers(self) -> Iterator[str]:
        for worker in self._arena.workers:
            worker.note_end()
            yield from (f"{worker.name} ended by itself: {log}" for log in worker.ended_by_itself)

    def _figures(self, rows: list[asyncpg.Record]) -> dict[str, object]:
        attempts = [row["attempt"] for row in rows]
        waits = [(row["finished_at"] - row["created_at"]).total_seconds() for row in rows]
        logs = self._arena.logs()
        return {
            "exports": len(rows),
            "of these deleted meanwhile": len(self._withdrawn),
            "megabytes": f"{sum(row['file_bytes'] or 0 for row in rows) / 1e6:.0f}",
            "attempts": sum(attempts),
            "most attempts of one export": max(attempts),
            "slowest export": f"{max(waits):.1f} s",
            "median export": f"{statistics.median(waits):.2f} s",
            "leases taken back": logs.count("lease taken back"),
            "leases lost and noticed": logs.count("lease lost"),
            "attempts failed": logs.count("attempt failed"),
            "attempts failed as nobody foresaw": logs.count("attempt broke"),
            "mails claimed": sum(row["email_attempts"] for row in rows),
            "mails repeated in the window": self._repeated,
            "orphans erased": logs.count("orphan erased"),
        }


def bucket_of(arena: Arena) -> tuple[set[str], set[str]]:
    """Return the keys of all objects, and of all uploads that are open."""
    bucket = {"Bucket": arena.store.bucket}
    with arena.store.client() as client:
        pages = client.get_paginator("list_objects_v2").paginate(**bucket)
        stored = {item["Key"] for page in pages for item in page.get("Contents", [])}
        uploads = client.list_multipart_uploads(**bucket).get("Uploads", [])
    return stored, {upload["Key"] for upload in uploads}
