"""The audit: who asked for a list, to whom it went, who opened it, who erased it."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID, uuid4

import structlog
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.audience.merge import Merge
from app.database import transaction
from app.exports.journal import names
from app.exports.queries import find_export_in
from app.models import Action, Export, export_audit
from app.statements import Lent, Statement

log = structlog.get_logger()

OPENINGS = {"downloaded": "download opened", "opened": "link opened"}

ADDRESS_MAX = 64
AGENT_MAX = 512

BATCH = 1000

RECORD = """
    INSERT INTO export_audit (
        seller_id, export_id, action, actor, recipient_email, client_address, user_agent, details
    )
    VALUES (
        :seller_id, :export_id, :action, :actor, :recipient_email, :client_address, :user_agent,
        CAST(:details AS jsonb)
    )
"""

RECORD_ON = Statement(RECORD)

CUT = """
    UPDATE export_audit
    SET client_address = NULL,
        user_agent = NULL
    WHERE (seller_id, id) IN (
        SELECT seller_id, id
        FROM export_audit
        WHERE at < clock_timestamp() - interval '90 days'
        AND (client_address IS NOT NULL OR user_agent IS NOT NULL)
        LIMIT :batch
        FOR UPDATE SKIP LOCKED
    )
"""


@dataclass(frozen=True)
class Origin:
    """Whose hand it was, as far as a request tells, and which request.

    ``actor`` is the token's subject or address, ``None`` where a link was all
    that was needed; ``request_id`` and ``traceparent`` are what logs and traces
    know the request by. The rest is what the network and the program said.
    """

    actor: str | None = None
    client_address: str | None = None
    user_agent: str | None = None
    request_id: str | None = None
    traceparent: str | None = None


UNKNOWN = Origin()


@dataclass(frozen=True)
class Entry:
    """One row of the audit, which nobody changes any more."""

    id: UUID
    action: Action
    actor: str | None
    recipient_email: str | None
    client_address: str | None
    user_agent: str | None
    at: datetime
    details: dict[str, Any]


async def record(
    connection: AsyncConnection, action: Action, export: Export, origin: Origin, **details: Any
) -> None:
    """Write down what is done to ``export``, in the transaction that does it."""
    whose = (export.seller_id, export.id, export.recipient_email)
    await _insert(connection, action, whose, origin, details)


async def record_on(
    lent: Lent, action: Action, export: Export, origin: Origin, **details: Any
) -> None:
    """Write down the same in a transaction that is lent."""
    whose = (export.seller_id, export.id, export.recipient_email)
    await RECORD_ON.rows_on(*lent, **_values(action, whose, origin, details))


async def record_opening(
    engine: AsyncEngine,
    action: Literal["downloaded", "opened"],
    export: Export,
    origin: Origin,
) -> None:
    """Write down that somebody is about to be led to the file.

    Raises:
        DatabaseUnavailable: nobody may be led there now, since nobody would know.
    """
    async with transaction(engine) as connection:
        await record(connection, action, export, origin)
    log.info(OPENINGS[action], **names(export))


async def record_copy(engine: AsyncEngine, merge: Merge, actor: str, host: str) -> UUID:
    """Write down that ``actor`` is about to write a list to a file of their own.

    There is no export and no recipient: returns the id to ask the audit for.

    Raises:
        DatabaseUnavailable: nobody may have the list now, since nobody would know.
    """
    copy_id = uuid4()
    details = {
        "sources": merge.sources,
        "columns": merge.columns,
        "spreadsheet_safe": merge.spreadsheet_safe,
        "bom": merge.bom,
        "host": host,
    }
    async with transaction(engine) as connection:
        whose = (merge.seller_id, copy_id, None)
        await _insert(connection, "copied", whose, Origin(actor), details)
    return copy_id


async def list_entries(
    engine: AsyncEngine, export_id: UUID, *, limit: int, before: UUID | None
) -> list[Entry]:
    """Return what was done to an export of any seller, newest first.

    The audit outlives the export's own row. ``before`` is the last id of the
    page before.

    Raises:
        ExportNotFound: there neither is nor ever was such an export.
    """
    columns = [export_audit.c[name] for name in Entry.__dataclass_fields__]
    query = select(*columns).where(export_audit.c.export_id == export_id)
    if before is not None:
        query = query.where(export_audit.c.id < before)
    async with transaction(engine) as connection:
        rows = await connection.execute(query.order_by(export_audit.c.id.desc()).limit(limit))
        entries = [Entry(**row._mapping) for row in rows]
        if not entries and before is None:
            await find_export_in(connection, export_id, None)
    return entries


async def _insert(
    connection: AsyncConnection,
    action: Action,
    whose: tuple[int, UUID, str | None],
    origin: Origin,
    details: dict[str, Any],
) -> None:
    await connection.execute(text(RECORD), _values(action, whose, origin, details))


def _values(
    action: Action,
    whose: tuple[int, UUID, str | None],
    origin: Origin,
    details: dict[str, Any],
) -> dict[str, Any]:
    """Return an entry; ``whose`` are the seller, the export's id and its recipient."""
    seller_id, export_id, recipient_email = whose
    return {
        "seller_id": seller_id,
        "export_id": export_id,
        "action": action,
        "actor": origin.actor,
        "recipient_email": recipient_email,
        "client_address": _shown(origin.client_address, ADDRESS_MAX),
        "user_agent": _shown(origin.user_agent, AGENT_MAX),
        "details": json.dumps(details),
    }


async def cut_origins(engine: AsyncEngine) -> None:
    """Drop callers' addresses and agents after 90 days; what was done stays."""
    while True:
        async with transaction(engine) as connection:
            rows = (await connection.execute(text(CUT), {"batch": BATCH})).rowcount
        if rows < BATCH:
            return
        log.info("origins cut", rows=rows)


def _shown(value: str | None, length_max: int) -> str | None:
    """Return a caller's own words short, and without anything that cannot be seen or stored."""
    if value is None:
        return None
    return "".join(each if each.isprintable() else "�" for each in value[:length_max])
