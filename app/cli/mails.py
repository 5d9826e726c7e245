"""``audience-export mails``."""

from functools import partial
from typing import Annotated

import typer

from app.cli.common import duration_s, operating_user, run, run_connected
from app.exports.audit import AuditContext
from app.exports.delivery.resend import resend_failed_emails

mails = typer.Typer(no_args_is_help=True, help="The mails that say how exports ended.")


@mails.callback()
def _group() -> None:
    """Keep ``resend`` a command of the group."""


@mails.command("resend")
def resend(
    *,
    since: Annotated[
        float,
        typer.Option(parser=duration_s, metavar="30m|2h|7d", help="Ended at most so long ago."),
    ] = duration_s("7d"),
) -> None:
    """Send again every mail that was given up, once the mail server works again."""
    audit_context = AuditContext(operating_user())
    resend_all = partial(resend_failed_emails, since_s=since, audit_context=audit_context)
    sent, left = run(run_connected(resend_all))
    typer.echo(f"{sent:,} mails are due again, {left:,} are not")
