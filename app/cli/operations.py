"""``audience-export bucket``, ``doctor`` and ``stats``."""

import asyncio
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from app.adapters.s3.lifecycle import open_lifecycle
from app.cli.common import load_settings, output_errors, run, run_connected
from app.config import Settings
from app.doctor import report, runner
from app.report.document import StatisticsResponse
from app.report.page import statistics_page
from app.report.terminal import print_statistics
from app.statistics.queries import DAYS_MAX, read_statistics

commands = typer.Typer()


bucket = typer.Typer(no_args_is_help=True, help="The bucket that stores the files.")


@commands.command()
def stats(
    *,
    days: Annotated[
        int, typer.Option(help="Today and this many days before.", min=1, max=DAYS_MAX)
    ] = 30,
    as_json: Annotated[bool, typer.Option("--json", help="The JSON of GET /stats.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write the page of plots to this file.")] = None,
) -> None:
    """Show how many exports were requested, how they ended and how long they took."""
    statistics = run(run_connected(partial(read_statistics, days=days, is_compared=not as_json)))
    if html is not None:
        run(_write(html, statistics_page(statistics, datetime.now(UTC), is_served=False)))
    if as_json:
        typer.echo(StatisticsResponse.of(statistics).model_dump_json())
    elif html is None:
        print_statistics(statistics, Console())


async def _write(path: Path, page: str) -> None:
    with output_errors():
        await asyncio.to_thread(path.write_text, page)


@bucket.command("setup")
def set_up_bucket() -> None:
    """Write the lifecycle rules for leftover files and uploads; other rules are kept."""
    foreign_rules = run(_set_up_bucket(load_settings()))
    typer.echo(f"The lifecycle rules are written; {foreign_rules} other rules are kept.")


async def _set_up_bucket(settings: Settings) -> int:
    async with open_lifecycle(settings) as lifecycle:
        return await lifecycle.set_up()


@commands.command("doctor")
def doctor(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Check every dependency and setting, with advice; exit 1 on a failure."""
    # Neither run() nor load_settings(): invalid settings are findings too, also as JSON.
    findings = asyncio.run(runner.run_checks())
    lines = [report.as_json(findings)] if as_json else report.as_lines(findings)
    for line in lines:
        typer.echo(line)
    raise typer.Exit(1 if report.has_failed(findings) else 0)
