"""``audience-export verify``, ``rebuild``, ``distribute`` and ``import``."""

from pathlib import Path
from typing import Annotated

import typer

from app.audience.distribution import TABLES, Distribution, distribute, has_citus
from app.audience.drift import Drift, rebuild, record_verification, verify
from app.audience.sources import SOURCES_BY_KEY
from app.cli.common import load_settings, run, seller_option
from app.cli.import_file import import_file
from app.database.database import open_connection
from app.feeds.imports import ImportProgress

commands = typer.Typer()


Seller = Annotated[int | None, seller_option("Only this seller.")]

VERIFY_TIMEOUT_S = 3600
DISTRIBUTE_TIMEOUT_S = 86_400

NO_CITUS = (
    "This database has no Citus: run CREATE EXTENSION citus on every node and add the nodes first."
)


@commands.command("verify")
def verify_projection(seller: Seller = None) -> None:
    """Compare audience_members with the source tables; exit 1 on drift."""
    drift = run(_verify(seller))
    _print_drift(drift)
    raise typer.Exit(1 if drift else 0)


@commands.command("rebuild")
def rebuild_projection(seller: Seller = None) -> None:
    """Make audience_members agree with the source tables; print what was changed."""
    _print_drift(run(_rebuild(seller)))


@commands.command("distribute")
def distribute_audience() -> None:
    """Spread the audience over the nodes of Citus, by seller; print what was done.

    Run it again after each migration that changes triggers or adds a source.
    """
    done = run(_distribute())
    if done is None:
        typer.echo(NO_CITUS, err=True)
        raise typer.Exit(2)
    added = ", ".join(done.added)
    typer.echo(f"Distributed by seller_id: {added}." if added else "All tables were distributed.")
    typer.echo(f"Each of {len(TABLES)} tables has {done.shards} shards, on {done.nodes} nodes.")
    typer.echo(f"The triggers of {', '.join(SOURCES_BY_KEY)} name the shard beside their own.")


async def _distribute() -> Distribution | None:
    url = load_settings().database_url
    async with open_connection(url, command_timeout_s=DISTRIBUTE_TIMEOUT_S) as connection:
        return await distribute(connection) if await has_citus(connection) else None


async def _verify(seller: int | None) -> Drift:
    url = load_settings().database_url
    async with open_connection(url, command_timeout_s=VERIFY_TIMEOUT_S) as connection:
        drift = await verify(connection, seller)
        # The metric is about the whole projection, of which one seller says nothing.
        if seller is None:
            await record_verification(connection, drift.total)
        return drift


async def _rebuild(seller: int | None) -> Drift:
    url = load_settings().database_url
    async with open_connection(url, command_timeout_s=VERIFY_TIMEOUT_S) as connection:
        drift = await rebuild(connection, seller)
        if seller is None:
            await record_verification(connection, 0)
        return drift


@commands.command("import")
def import_rows(
    *,
    source: Annotated[str, typer.Argument(help=f"One of {', '.join(SOURCES_BY_KEY)}.")],
    file: Annotated[Path, typer.Argument(help="A CSV file, plain or gzipped, or - for stdin.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the file, write nothing.")
    ] = False,
    streams: Annotated[int, typer.Option(help="Parallel database connections.", min=1, max=16)] = 2,
) -> None:
    """Load rows into a source table from CSV; exit 1 when there were bad lines.

    The header names columns of the table and, optionally, key (the storefront's id of
    the row: with it, repeating an import changes nothing) and version.
    """
    if source not in SOURCES_BY_KEY:
        typer.echo(f"Unknown source {source!r}: use one of {', '.join(SOURCES_BY_KEY)}.", err=True)
        raise typer.Exit(2)
    done = run(
        import_file(load_settings(), SOURCES_BY_KEY[source], file, streams=streams, is_dry=dry_run)
    )
    _print_unusable(done)
    if dry_run:
        typer.echo(f"{done.records:,} lines, {done.rejected:,} bad; nothing written")
    else:
        written = done.written
        typer.echo(
            f"{written.added:,} rows added, {written.changed:,} changed, "
            f"{done.rejected:,} bad lines"
        )
    raise typer.Exit(1 if done.rejected else 0)


def _print_unusable(done: ImportProgress) -> None:
    if done.unusable:
        lines = ", ".join(map(str, done.unusable_lines))
        more = ", …" if done.unusable > len(done.unusable_lines) else ""
        message = f"{done.unusable:,} rows without a usable address: lines {lines}{more}"
        typer.echo(message, err=True)


def _print_drift(drift: Drift) -> None:
    for kind, number in drift.counts.items():
        typer.echo(f"{kind}: {number}")
