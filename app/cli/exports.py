"""``audience-export export``, ``watch`` and ``token``."""

import inspect
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import jwt
import typer

from app.audience.merge import Merge, validate_columns
from app.audience.options import OptionsResolver, RequestedOptions
from app.audience.sources import SOURCES
from app.cli.common import load_settings, run, seller_option
from app.cli.local_export import LocalExport, describe, export_to_file, watch_export
from app.database.database import open_database
from app.models import DEFAULT_COLUMNS
from app.models.file_options import Delimiter, FileFormatKey

commands = typer.Typer()


def _with_source_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Add a flag for each source to ``command``, which gets the selected keys as ``sources``."""

    @wraps(command)
    def with_flags(**values: Any) -> None:
        selected = tuple(source.key for source in SOURCES if values.pop(source.key))
        command(sources=selected, **values)

    flags = {
        source.key: Annotated[bool, typer.Option(f"--{source.key}", help=f"{source.label}.")]
        for source in SOURCES
    }
    own = inspect.signature(command).parameters.values()
    added = [
        inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=flag)
        for key, flag in flags.items()
    ]
    others = [parameter for parameter in own if parameter.name != "sources"]
    with_flags.__signature__ = inspect.Signature([*others, *added])  # type: ignore[attr-defined]  # PEP 362 allows it on functions
    # Typer reads these too; wraps() has copied those of `command`, which lack the flags.
    with_flags.__annotations__ = {each.name: each.annotation for each in [*others, *added]}
    return with_flags


@commands.command()
def token(
    *,
    seller: Annotated[int | None, seller_option("Bind the token to this seller.")] = None,
    email: Annotated[str | None, typer.Option(help="The acting person's e-mail address.")] = None,
    scope: Annotated[str, typer.Option(help="Scopes, separated by spaces.")] = (
        "exports:read exports:write"
    ),
    hours: Annotated[float, typer.Option(help="Hours until it expires.", min=0)] = 24,
) -> None:
    """Mint a token for development, signed with AUTH_JWT_SECRET."""
    settings = load_settings()
    if not settings.jwt_secrets:
        typer.echo(
            "AUTH_JWT_SECRET is not set: get a token from your issuer instead.",
            err=True,
        )
        raise typer.Exit(2)
    optional = {"seller_id": seller, "email": email, "iss": settings.auth_issuer}
    claims = {
        "aud": settings.auth_audience,
        "exp": datetime.now(UTC) + timedelta(hours=hours),
        "scope": scope,
    } | {name: value for name, value in optional.items() if value is not None}
    typer.echo(jwt.encode(claims, settings.jwt_secrets[0], algorithm="HS256"))


@commands.command()
@_with_source_flags
def export(
    *,
    seller: Annotated[int, seller_option("The seller's id.")],
    sources: tuple[str, ...],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="A file; stdout by default, or as -.")
    ] = Path("-"),
    column: Annotated[
        list[str] | None, typer.Option(help="A column of the file; may be repeated.")
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Do not escape cells that look like formulas.")
    ] = False,
    bom: Annotated[bool, typer.Option("--bom", help="Begin with a byte order mark.")] = False,
    file_format: Annotated[
        FileFormatKey, typer.Option("--format", help="A CSV or an Excel workbook.")
    ] = "csv",
    delimiter: Annotated[
        str, typer.Option(help="What separates a CSV's cells: a comma, a semicolon or 'tab'.")
    ] = ",",
    locale: Annotated[
        str | None, typer.Option(help="The headings' language, a BCP 47 tag: de, zh-CN.")
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(help="The dates' time zone, an IANA name: Europe/Berlin.")
    ] = None,
    joined_after: Annotated[
        str | None, typer.Option(help="Only who joined at or after this date or instant.")
    ] = None,
    joined_before: Annotated[
        str | None, typer.Option(help="Only who joined before this date or instant.")
    ] = None,
) -> None:
    """Write the merged list to a local file of mode 0600; nothing is mailed or stored.

    An existing file is replaced, and so is its mode.
    """
    requested = RequestedOptions(
        columns=tuple(column or DEFAULT_COLUMNS),
        spreadsheet_safe=not raw,
        bom=bom,
        format=file_format,
        delimiter=_delimiter(delimiter),
        locale=locale,
        timezone=timezone,
        joined_after=joined_after,
        joined_before=joined_before,
    )
    copied = run(_export(seller, sources, requested, output))
    typer.echo(f"{copied.rows:,} rows; audit entry {copied.audit_id}", err=True)
    if copied.refused_addresses:
        typer.echo(
            f"{copied.refused_addresses:,} addresses have characters beyond ASCII before the @: "
            "common mailing tools skip them in an import.",
            err=True,
        )


async def _export(
    seller_id: int, sources: tuple[str, ...], requested: RequestedOptions, output: Path
) -> LocalExport:
    validate_columns(sources, requested.columns)
    settings = load_settings()
    async with open_database(settings.database_url, pool_size=1) as database:
        options = await OptionsResolver(database).resolve(requested)
    return await export_to_file(settings, Merge(seller_id, sources, options), output)


def _delimiter(name: str) -> Delimiter:
    """Return a delimiter; a tab may be named, which shells make hard to type."""
    match name:
        case "," | ";":
            return name
        case "tab" | "\t":
            return "\t"
    raise typer.BadParameter("must be a comma, a semicolon or tab", param_hint="--delimiter")


@commands.command()
def watch(export_id: UUID) -> None:
    """Show an export's progress bar until it ends; exit 1 unless it succeeded."""
    ended = run(watch_export(load_settings(), export_id))
    typer.echo(describe(ended), err=True)
    if ended.file_checksum is not None:
        size = f"{ended.file_rows:,} rows, {ended.file_bytes:,} bytes"
        typer.echo(f"{ended.file_name}: {size}, {ended.file_checksum}")
    typer.echo(ended.status if ended.error_code is None else f"{ended.status}: {ended.error_code}")
    raise typer.Exit(0 if ended.status == "succeeded" else 1)
