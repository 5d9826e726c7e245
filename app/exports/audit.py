"""The audit log: who requested, received, opened and deleted a list."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID, uuid4

import structlog

from app.audience.merge import Merge
from app.database.batches import IN_OLDEST, delete_oldest, oldest_rows
from app.database.database import Database, Queryable
from app.exports.log_events import attempt_log_context
from app.exports.queries import find_export
from app.models import Action, Export

log = structlog.get_logger()

DOWNLOAD_EVENTS = {"downloaded": "download opened", "link_followed": "link opened"}

ADDRESS_MAX = 64
AGENT_MAX = 512

BATCH = 1000

INSERT_ENTRY = """
    INSERT INTO export_audit (
        seller_id, export_id, action, actor, recipient_email, client_address, user_agent, details
    )
    VALUES (
        :seller_id, :export_id, :action, :actor, :recipient_email, :client_address, :user_agent,
        CAST(:details AS jsonb)
    )
"""

# One statement, so that an opening takes one round trip and is counted if it is audited.
INSERT_DOWNLOAD = f"""
    WITH counted AS (
        UPDATE exports
        SET download_count = download_count + 1, downloaded_at = clock_timestamp()
        WHERE seller_id = :seller_id AND id = :export_id
    )
    {INSERT_ENTRY}
"""

# coalesce() instead of OR ... IS NULL: the bound remains a condition of the index.
SELECT_ENTRIES = """
    SELECT id, action, actor, recipient_email, client_address, user_agent, at, details
    FROM export_audit
    WHERE export_id = :export_id
    AND id < coalesce(CAST(:before AS uuid), 'ffffffff-ffff-ffff-ffff-ffffffffffff')
    ORDER BY id DESC
    LIMIT :limit
"""

# The table's trigger allows exactly this change, after the same 90 days (migration 0004).
OLD_CLIENT_DETAILS = oldest_rows(
    "export_audit",
    "at < statement_timestamp() - interval '90 days'"
    " AND (client_address IS NOT NULL OR user_agent IS NOT NULL)",
    "at",
)
REDACT_CLIENT_DETAILS = f"""{OLD_CLIENT_DETAILS}
    UPDATE export_audit
    SET client_address = NULL,
        user_agent = NULL
    WHERE {IN_OLDEST}
"""

# The table's trigger refuses to delete anything where the transaction does not say this.
SET_RETENTION = "SELECT set_config('audience_export.audit_retention_days', :days, true)"

DELETE_OLD_ENTRIES = delete_oldest(
    "export_audit", "at < statement_timestamp() - make_interval(days => :days)", "at"
)


@dataclass(frozen=True)
class AuditContext:
    """Who made a request, and which request it was.

    ``actor`` is the token's subject or address, ``None`` where a link was all
    that was needed; ``request_id`` and ``traceparent`` are what logs and traces
    know the request by. The rest is what the network and the program said.
    """

    actor: str | None = None
    client_address: str | None = None
    user_agent: str | None = None
    request_id: str | None = None
    traceparent: str | None = None


NO_CONTEXT = AuditContext()


@dataclass(frozen=True)
class AuditEntry:
    """One row of the audit log; only its client details are ever changed, after 90 days.

    It is kept for good, or for ``AUDIT_RETENTION_DAYS``.
    """

    id: UUID
    action: Action
    actor: str | None
    recipient_email: str | None
    client_address: str | None
    user_agent: str | None
    at: datetime
    details: dict[str, Any]


async def record(
    database: Queryable,
    action: Action,
    export: Export,
    audit_context: AuditContext,
    **details: Any,
) -> None:
    """Add an entry about ``export``, in the transaction that does what it says."""
    subject = (export.seller_id, export.id, export.recipient_email)
    await _insert(database, action, subject, audit_context, details)


async def record_download(
    database: Database,
    action: Literal["downloaded", "link_followed"],
    export: Export,
    audit_context: AuditContext,
) -> None:
    """Add an entry about a caller who is about to be redirected to the file, and count it.

    Raises:
        DatabaseUnavailable: nobody may be redirected, since the audit would not show it.
    """
    subject = (export.seller_id, export.id, export.recipient_email)
    await _insert(database, action, subject, audit_context, {}, INSERT_DOWNLOAD)
    with attempt_log_context(export.attempt_key):
        log.info(DOWNLOAD_EVENTS[action])


async def record_url(
    database: Database, export: Export, audit_context: AuditContext, lifetime_s: int
) -> None:
    """Add an entry about an address of the store that is about to leave the service.

    Raises:
        DatabaseUnavailable: it may not leave, since the audit would not show it.
    """
    await record(database, "url_issued", export, audit_context, lifetime_s=lifetime_s)


async def record_local_export(database: Database, merge: Merge, actor: str, host: str) -> UUID:
    """Add an entry about ``actor``, who is about to write a list to a local file.

    There is no export and no recipient: returns the id to query the audit by.

    Raises:
        DatabaseUnavailable: nobody may have the list, since the audit would not show it.
    """
    copy_id = uuid4()
    details = {"sources": merge.sources, **merge.options.document, "host": host}
    subject = (merge.seller_id, copy_id, None)
    await _insert(database, "exported_locally", subject, AuditContext(actor), details)
    return copy_id


async def list_entries(
    database: Queryable, export_id: UUID, *, limit: int, before: UUID | None
) -> list[AuditEntry]:
    """Return the entries about an export of any seller, newest first.

    The audit outlives the export's own row. ``before`` is the last id of the
    previous page.

    Raises:
        ExportNotFound: there neither is nor ever was such an export.
    """
    rows = await database.fetch(SELECT_ENTRIES, export_id=export_id, before=before, limit=limit)
    if not rows and before is None:
        await find_export(database, export_id, None)
    return [AuditEntry(**dict(row)) for row in rows]


async def _insert(
    database: Queryable,
    action: Action,
    subject: tuple[int, UUID, str | None],
    audit_context: AuditContext,
    details: dict[str, Any],
    sql: str = INSERT_ENTRY,
) -> None:
    """Insert an entry; ``subject`` is the seller, the export's id and its recipient."""
    seller_id, export_id, recipient_email = subject
    await database.execute(
        sql,
        seller_id=seller_id,
        export_id=export_id,
        action=action,
        actor=audit_context.actor,
        recipient_email=recipient_email,
        client_address=_shown(audit_context.client_address, ADDRESS_MAX),
        user_agent=_shown(audit_context.user_agent, AGENT_MAX),
        details=json.dumps(details),
    )


async def redact_client_details(database: Database) -> None:
    """Remove callers' addresses and user agents after 90 days; the entries stay."""
    while await database.execute(REDACT_CLIENT_DETAILS, batch=BATCH) == BATCH:
        log.info("audit client details redacted", rows=BATCH)


async def delete_old_entries(database: Database, retention_days: int) -> int:
    """Delete the entries that are older than ``retention_days``; return how many."""
    total = 0
    while True:
        async with database.transaction() as tx:
            # In each batch: the setting ends with its transaction.
            await tx.fetch(SET_RETENTION, days=str(retention_days))
            deleted = await tx.execute(DELETE_OLD_ENTRIES, days=retention_days, batch=BATCH)
        total += deleted
        if deleted < BATCH:
            break
    if total:
        log.info("old audit entries deleted", rows=total)
    return total


def _shown(value: str | None, length_max: int) -> str | None:
    """Return a caller's own words short, and without anything that cannot be seen or stored."""
    if value is None:
        return None
    return "".join(each if each.isprintable() else "�" for each in value[:length_max])
