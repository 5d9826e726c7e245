"""``audience-export webhook``."""

from functools import partial
from typing import Annotated

import typer

from app.adapters.webhooks.http_client import check_url
from app.cli.common import load_settings, run, run_connected
from app.errors import RequestInvalid
from app.webhooks.endpoints import list_endpoints, register_endpoint, remove_endpoint, rotate_secret

webhook = typer.Typer(
    no_args_is_help=True, help="Services that are called when an export has ended."
)


@webhook.command("add")
def add_webhook(
    service: Annotated[str, typer.Argument(help="The sub claim of the service's tokens.")],
    url: Annotated[str, typer.Argument(help="The URL to call when one of its exports has ended.")],
    *,
    all_exports: Annotated[
        bool,
        typer.Option("--all", help="Every seller's exports, and call when one is requested too."),
    ] = False,
) -> None:
    """Register a service's URL; print the signing secret, which is shown only once."""
    if not service.strip():
        raise typer.BadParameter("must be the sub claim of the service's tokens")
    try:
        check_url(url, load_settings().webhook_allowed_networks)
    except RequestInvalid as error:
        typer.echo(f"{error.field}: {error}", err=True)
        raise typer.Exit(2) from error
    add = partial(register_endpoint, service=service, url=url, all_exports=all_exports)
    typer.echo(run(run_connected(add)))


@webhook.command("rotate")
def rotate_webhook(service: str) -> None:
    """Print a new secret; for 24 hours calls are signed with the old one too."""
    secret = run(run_connected(partial(rotate_secret, service=service)))
    if secret is None:
        typer.echo(f"There is no webhook for {service}.", err=True)
        raise typer.Exit(1)
    typer.echo(secret)


@webhook.command("remove")
def remove_webhook(service: str) -> None:
    """Stop calling a service."""
    if not run(run_connected(partial(remove_endpoint, service=service))):
        typer.echo(f"There is no webhook for {service}.", err=True)
        raise typer.Exit(1)


@webhook.command("list")
def list_webhooks() -> None:
    """List every service's URL, with its pending and failed calls."""
    for each in run(run_connected(list_endpoints)):
        state = "disabled" if each.disabled_at else "enabled"
        scope = "all" if each.all_exports else "own"
        calls = f"pending={each.pending} failed={each.failed}"
        typer.echo(f"{each.service} {each.url} {state} exports={scope} {calls}")
