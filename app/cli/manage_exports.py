"""``audience-export exports``: find, explain, cancel, delete and retry exports without SQL."""

import json
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import typer

from app.api.schemas.exports import ExportState
from app.cli.common import (
    duration_s,
    load_settings,
    operating_user,
    run,
    run_connected,
    seller_option,
)
from app.exports.audit import AuditContext
from app.exports.cleanup.deletion import delete_export
from app.exports.operator_queries import (
    ExportDetails,
    ExportFilter,
    export_details,
    search_exports,
    search_ids,
)
from app.exports.submission.retry import retry_export, retry_exports
from app.models import STATUSES, Export
from app.resources import open_resources

exports = typer.Typer(
    no_args_is_help=True, help="Exports of all sellers: find, explain, cancel, delete, retry."
)

LISTED_MAX = 100_000

# In this order: one that succeeds between the two searches is found by both, not by neither.
HAVE_MEMBERS = ("running", "succeeded")
"""The states in which there is a file, or one is being written.

A queued export stays: it will be read after the erasure.
"""

Since = Annotated[
    float | None,
    typer.Option(
        parser=duration_s, metavar="30m|2h|7d", help="Ended, or requested, at most so long ago."
    ),
]
Code = Annotated[str | None, typer.Option(help="Only those with this error code.")]
Seller = Annotated[int | None, seller_option("Only this seller's.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _status(text: str) -> str:
    if text not in STATUSES:
        raise typer.BadParameter(f"must be one of {', '.join(STATUSES)}")
    return text


@exports.command("list")
def list_exports(
    *,
    status: Annotated[
        str | None, typer.Option(parser=_status, metavar="STATUS", help="Only those in this state.")
    ] = None,
    code: Code = None,
    seller: Seller = None,
    since: Since = None,
    limit: Annotated[int, typer.Option(min=1, max=LISTED_MAX, help="How many at most.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List exports, newest first: id, state, seller, sources, when, rows, error."""
    wanted = ExportFilter(status, code, seller, since)
    found = run(run_connected(lambda database: search_exports(database, wanted, limit)))
    if as_json:
        typer.echo(json.dumps([_document(export) for export in found], indent=2))
        return
    for export in found:
        typer.echo(_line(export))
    typer.echo(f"{len(found):,} exports" + (" or more" if len(found) == limit else ""), err=True)


@exports.command("show")
def show_export(export_id: UUID, *, as_json: AsJson = False) -> None:
    """Show all about an export: state, attempts, error, mails, webhooks, downloads, audit."""
    details = run(run_connected(lambda database: export_details(database, export_id)))
    document = _full_document(details)
    if as_json:
        typer.echo(json.dumps(document, indent=2, default=str))
        return
    for line in _screen(document):
        typer.echo(line)


@exports.command("cancel")
def cancel_export(export_id: UUID) -> None:
    """Cancel an active export; one that has ended stays as it is, and the exit status is 1."""
    ended = run(_cancel(export_id))
    typer.echo(f"{ended.id} {ended.status}")
    raise typer.Exit(0 if ended.status == "cancelled" else 1)


@exports.command("delete")
def delete(
    export_id: Annotated[UUID | None, typer.Argument(help="One export.")] = None,
    *,
    seller: Annotated[
        int | None, seller_option("Every file of this seller, and what is being written.")
    ] = None,
) -> None:
    """Erase the file of an export, or all files of a seller; their links end at once.

    An export that is running is cancelled. Prints each with its state, and exits with 1 while the
    store still has a file: a worker deletes it.
    """
    if (export_id is None) == (seller is None):
        raise typer.BadParameter("name an export, or --seller")
    ended = run(_delete(export_id, seller))
    for export in ended:
        typer.echo(f"{export.id} {export.status}")
    raise typer.Exit(1 if any(export.is_being_deleted for export in ended) else 0)


@exports.command("retry")
def retry(
    export_id: Annotated[UUID | None, typer.Argument(help="One failed export.")] = None,
    *,
    code: Code = None,
    seller: Seller = None,
    since: Since = None,
) -> None:
    """Run failed exports again under their ids: one, or all with --code or --since.

    Each gets as much time as a new one, and its seller one mail, of the new end.
    """
    if export_id is not None and (code, seller, since) != (None, None, None):
        raise typer.BadParameter("name an export, or --code, --seller and --since, not both")
    if (export_id, code, seller, since) == (None, None, None, None):
        raise typer.BadParameter("name an export, or which failed ones: --code, --seller, --since")
    if export_id is not None:
        export = run(_retry_one(export_id))
        typer.echo(f"{export.id} {export.status}")
        return
    retried = run(_retry_all(ExportFilter("failed", code, seller, since)))
    typer.echo(f"{retried:,} exports run again")


async def _cancel(export_id: UUID) -> Export:
    async with open_resources(load_settings()) as resources:
        return await delete_export(
            resources.database,
            resources.attempt_cleaner,
            export_id,
            None,
            AuditContext(operating_user()),
            only_active=True,
        )


async def _delete(export_id: UUID | None, seller: int | None) -> list[Export]:
    async with open_resources(load_settings()) as resources:
        ids = [export_id] if export_id is not None else []
        for status in HAVE_MEMBERS if seller is not None else ():
            ids += await search_ids(resources.database, ExportFilter(status, seller_id=seller))
        by = AuditContext(operating_user())
        return [
            await delete_export(resources.database, resources.attempt_cleaner, each, None, by)
            for each in ids
        ]


async def _retry_one(export_id: UUID) -> Export:
    async with open_resources(load_settings()) as resources:
        return await retry_export(
            resources.database,
            resources.queue,
            resources.export_events,
            export_id,
            AuditContext(operating_user()),
        )


async def _retry_all(wanted: ExportFilter) -> int:
    async with open_resources(load_settings()) as resources:
        return await retry_exports(
            resources.database,
            resources.queue,
            resources.export_events,
            await search_ids(resources.database, wanted),
            AuditContext(operating_user()),
        )


def _document(export: Export) -> dict[str, Any]:
    """Return an export as the API shows it, without an address that opens its file."""
    return ExportState.of(export).model_dump(mode="json")


def _line(export: Export) -> str:
    rows = export.rows_exported if export.file_rows is None else export.file_rows
    sources = "+".join(export.sources)
    parts = [str(export.id), f"{export.status:<9}", f"seller={export.seller_id}", sources]
    parts += [_instant(export.created_at), f"rows={rows}", f"attempts={export.attempt}"]
    if export.error_code is not None:
        parts.append(f"error={export.error_code}")
    if export.email_status is not None:
        parts.append(f"mail={export.email_status}")
    return "  ".join(parts)


def _full_document(details: ExportDetails) -> dict[str, Any]:
    export = details.export
    return _document(export) | {
        "attempts": export.attempt,
        "failures": export.failures,
        "last_error": _last_error(export),
        "mail": {
            "status": export.email_status,
            "attempts": export.email_attempts,
            "due_at": details.work.email_due_at,
            "sent_at": export.email_sent_at,
            "error": export.email_error,
        },
        "notice": None if details.notice is None else asdict(details.notice),
        "work": {
            name: value for name, value in asdict(details.work).items() if name != "email_due_at"
        },
        "webhooks": [asdict(each) for each in details.deliveries],
        "audit": [
            {"at": each.at, "action": each.action, "actor": each.actor, "details": each.details}
            for each in details.audit
        ],
    }


def _last_error(export: Export) -> dict[str, str | None] | None:
    """Return the latest attempt's error, also of an export that waits for a retry."""
    if export.error_code is None:
        return None
    return {"code": export.error_code, "detail": export.error_detail}


def _screen(document: dict[str, Any]) -> list[str]:
    """Return the lines of ``show``: a group for each nested object, a line for each entry."""
    lines = []
    for name, value in document.items():
        match value:
            case dict():
                lines.append(f"{name}:")
                lines += [f"  {key}: {_shown(each)}" for key, each in value.items()]
            case [dict(), *_]:
                lines.append(f"{name}:")
                lines += ["  " + "  ".join(map(_shown, each.values())) for each in value]
            case _:
                lines.append(f"{name}: {_shown(value)}")
    return lines


def _shown(value: object) -> str:
    match value:
        case None:
            return "-"
        case datetime():
            return _instant(value)
        case list():
            return " ".join(map(str, value)) or "-"
        case dict():
            return " ".join(f"{key}={_shown(each)}" for key, each in value.items()) or "-"
    return str(value)


def _instant(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
