"""``audience-export``: the operator's command line."""

import asyncio
import inspect
import sys
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from functools import partial, wraps
from pathlib import Path
from typing import Annotated, Any, TypeVar
from uuid import UUID

import jwt
import typer
from pydantic import ValidationError
from rich.console import Console

from app.adapters.lifecycle import open_lifecycle
from app.api.statistics import StatisticsDocument
from app.audience.drift import Drift, rebuild, record_verification, verify
from app.audience.merge import DEFAULT_COLUMNS, Merge, check_columns
from app.audience.sources import SOURCES, SOURCES_BY_KEY
from app.config import Settings
from app.database import Connection, connect, create_engine
from app.direct import copy_to_file, watch_export
from app.doctor import examination, report
from app.errors import RequestInvalid, ServiceError
from app.exports.endpoints import (
    add_endpoint,
    list_endpoints,
    remove_endpoint,
    rotate_secret,
)
from app.exports.statistics import DAYS_MAX, Statistics, read_statistics
from app.importing import import_file
from app.report.page import statistics_page
from app.report.terminal import print_statistics

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
bucket = typer.Typer(no_args_is_help=True, help="The bucket that files are stored in.")
app.add_typer(bucket, name="bucket")
webhook = typer.Typer(no_args_is_help=True, help="Who is told when an export has ended.")
app.add_typer(webhook, name="webhook")

Result = TypeVar("Result")
Seller = Annotated[int | None, typer.Option("--seller", help="Only this seller.")]

VERIFY_TIMEOUT_S = 3600


def _settings() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        problems = (
            f"{'_'.join(map(str, each['loc'])).upper() or 'settings'}: {each['msg']}"
            for each in error.errors(include_input=False)
        )
        typer.echo("\n".join(problems), err=True)
        raise typer.Exit(2) from None


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    try:
        return asyncio.run(work)
    except ServiceError as error:
        typer.echo(f"{error.code}: {error}", err=True)
        raise typer.Exit(1) from error


def _with_source_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give ``command`` a flag for each source; it takes the chosen keys as ``sources``."""

    @wraps(command)
    def flagged(**values: Any) -> None:
        chosen = tuple(source.key for source in SOURCES if values.pop(source.key))
        command(sources=chosen, **values)

    flags = {
        source.key: Annotated[bool, typer.Option(f"--{source.key}", help=f"{source.label}.")]
        for source in SOURCES
    }
    own = inspect.signature(command).parameters.values()
    added = [
        inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=flag)
        for key, flag in flags.items()
    ]
    kept = [parameter for parameter in own if parameter.name != "sources"]
    flagged.__signature__ = inspect.Signature([*kept, *added])  # type: ignore[attr-defined]  # functions take one, says PEP 362
    flagged.__annotations__ = {each.name: each.annotation for each in [*kept, *added]}
    return flagged


@app.command()
def token(
    *,
    seller: Annotated[int | None, typer.Option(help="Bind it to this seller.")] = None,
    email: Annotated[str | None, typer.Option(help="The acting person's address.")] = None,
    scope: Annotated[str, typer.Option(help="Scopes, separated by spaces.")] = (
        "exports:read exports:write"
    ),
    hours: Annotated[float, typer.Option(help="How long it is valid.", min=0)] = 24,
) -> None:
    """Mint a token for development, signed with AUTH_JWT_SECRET."""
    settings = _settings()
    if not settings.jwt_secrets:
        typer.echo("AUTH_JWT_SECRET is not set: only the key server can mint tokens.", err=True)
        raise typer.Exit(2)
    named = {"seller_id": seller, "email": email, "iss": settings.auth_issuer}
    claims = {
        "aud": settings.auth_audience,
        "exp": datetime.now(UTC) + timedelta(hours=hours),
        "scope": scope,
    } | {name: value for name, value in named.items() if value is not None}
    typer.echo(jwt.encode(claims, settings.jwt_secrets[0], algorithm="HS256"))


@app.command()
@_with_source_flags
def export(
    *,
    seller: Annotated[int, typer.Option(help="Whose audience.")],
    sources: tuple[str, ...],
    output: Annotated[Path, typer.Option("-o", "--output", help="A file, or - for stdout.")],
    column: Annotated[list[str] | None, typer.Option(help="A column; may be repeated.")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="No guard against formulas.")] = False,
    bom: Annotated[bool, typer.Option("--bom", help="Begin with a byte order mark.")] = False,
) -> None:
    """Write the same merge as an export's straight to a file."""
    columns = tuple(column or DEFAULT_COLUMNS)
    try:
        check_columns(sources, columns)
    except RequestInvalid as error:
        typer.echo(f"{error.field}: {error}", err=True)
        raise typer.Exit(2) from error
    merge = Merge(seller, sources, columns, spreadsheet_safe=not raw, bom=bom)
    rows, copy_id = _run(copy_to_file(_settings(), merge, output))
    typer.echo(f"{rows:,} rows, audited as {copy_id}", err=True)


@app.command()
def watch(export_id: UUID) -> None:
    """Show an export's progress until it ends; exit 1 unless it succeeded."""
    ended = _run(watch_export(_settings(), export_id))
    typer.echo(ended.status if ended.error_code is None else f"{ended.status}: {ended.error_code}")
    raise typer.Exit(0 if ended.status == "succeeded" else 1)


@app.command("verify")
def verify_projection(seller: Seller = None) -> None:
    """Compare audience_members with the source tables; exit 1 on drift."""
    drift = _run(_verify(seller))
    _print_drift(drift)
    raise typer.Exit(1 if drift else 0)


@app.command("rebuild")
def rebuild_projection(seller: Seller = None) -> None:
    """Make audience_members what the source tables say."""
    _print_drift(_run(_rebuild(seller)))


async def _verify(seller: int | None) -> Drift:
    connection = await connect(_settings().database_url, command_timeout=VERIFY_TIMEOUT_S)
    try:
        drift = await verify(connection, seller)
        if seller is None:
            await record_verification(connection, drift.total)
        return drift
    finally:
        await connection.close()


async def _rebuild(seller: int | None) -> Drift:
    connection = await connect(_settings().database_url, command_timeout=VERIFY_TIMEOUT_S)
    try:
        drift = await rebuild(connection, seller)
        if seller is None:
            await record_verification(connection, 0)
        return drift
    finally:
        await connection.close()


@webhook.command("add")
def add_webhook(
    service: Annotated[str, typer.Argument(help="The sub of the service's tokens.")],
    url: Annotated[str, typer.Argument(help="Where it is told that its exports have ended.")],
) -> None:
    """Tell a service of its exports' ends; print the secret, this once."""
    typer.echo(_run(_connected(partial(add_endpoint, service=service, url=url))))


@webhook.command("rotate")
def rotate_webhook(service: str) -> None:
    """Print a new secret; for 24 hours the old one signs as well."""
    secret = _run(_connected(partial(rotate_secret, service=service)))
    if secret is None:
        typer.echo(f"There is no webhook of {service}.", err=True)
        raise typer.Exit(1)
    typer.echo(secret)


@webhook.command("remove")
def remove_webhook(service: str) -> None:
    """Tell a service no more."""
    if not _run(_connected(partial(remove_endpoint, service=service))):
        typer.echo(f"There is no webhook of {service}.", err=True)
        raise typer.Exit(1)


@webhook.command("list")
def list_webhooks() -> None:
    """Show every service's address, and how many calls wait or were given up."""
    for each in _run(_connected(list_endpoints)):
        state = "disabled" if each.disabled_at else "enabled"
        typer.echo(f"{each.service} {each.url} {state} pending={each.pending} failed={each.failed}")


async def _connected(work: Callable[[Connection], Coroutine[Any, Any, Result]]) -> Result:
    connection = await connect(_settings().database_url)
    try:
        return await work(connection)
    finally:
        await connection.close()


@app.command("import")
def import_rows(
    *,
    source: Annotated[str, typer.Argument(help=f"One of {', '.join(SOURCES_BY_KEY)}.")],
    file: Annotated[Path, typer.Argument(help="CSV, or gzipped CSV, or - for stdin.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check it and write nothing.")] = False,
    streams: Annotated[int, typer.Option(help="Connections to write with.", min=1, max=16)] = 2,
) -> None:
    """Load rows of a source table from CSV; exit 1 when there were bad lines.

    The header names columns of the table and, optionally, key (the row's own
    at the storefront: repeating the import then changes nothing) and version.
    """
    if source not in SOURCES_BY_KEY:
        typer.echo(f"There is no source {source!r}: {', '.join(SOURCES_BY_KEY)}.", err=True)
        raise typer.Exit(2)
    done = _run(
        import_file(_settings(), SOURCES_BY_KEY[source], file, streams=streams, is_dry=dry_run)
    )
    if dry_run:
        typer.echo(f"{done.records:,} lines, {done.rejected:,} bad; nothing written")
    else:
        written = done.written
        typer.echo(
            f"{written.added:,} rows added, {written.changed:,} changed, "
            f"{done.rejected:,} bad lines"
        )
    raise typer.Exit(1 if done.rejected else 0)


@app.command()
def stats(
    *,
    days: Annotated[int, typer.Option(help="Today and so many before.", min=1, max=DAYS_MAX)] = 30,
    as_json: Annotated[bool, typer.Option("--json", help="As GET /stats answers.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write the page of plots to this file.")] = None,
) -> None:
    """Show how many exports were asked for, what became of them and how long they took."""
    statistics = _run(_statistics(days))
    if html is not None:
        html.write_text(statistics_page(statistics, datetime.now(UTC), is_served=False))
    if as_json:
        typer.echo(StatisticsDocument.of(statistics).model_dump_json())
    elif html is None:
        print_statistics(statistics, Console())


async def _statistics(days: int) -> Statistics:
    engine = create_engine(_settings().database_url, pool_size=1)
    try:
        return await read_statistics(engine, days)
    finally:
        await engine.dispose()


@bucket.command("setup")
def set_up_bucket() -> None:
    """Write the lifecycle rule that removes what is left behind; keep others' rules."""
    kept = _run(_set_up_bucket(_settings()))
    typer.echo(f"The rule is written; {kept} of others are kept.")


async def _set_up_bucket(settings: Settings) -> int:
    async with open_lifecycle(settings) as lifecycle:
        return await lifecycle.set_up()


@app.command("doctor")
def examine_everything(
    *, as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False
) -> None:
    """Check every dependency and setting, and say what to do; exit 1 on a failure."""
    findings = asyncio.run(examination.examine())
    lines = [report.as_json(findings)] if as_json else report.as_lines(findings)
    for line in lines:
        typer.echo(line)
    raise typer.Exit(1 if report.has_failed(findings) else 0)


def _print_drift(drift: Drift) -> None:
    for kind, number in drift.counts.items():
        typer.echo(f"{kind}: {number}")


def main() -> None:
    """Run the command line."""
    sys.exit(app())
