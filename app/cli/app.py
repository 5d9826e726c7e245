"""``audience-export``: the operator's command line."""

import sys

import typer

from app.cli import audience, exports, mails, manage_exports, operations, webhooks
from app.observability.logs import configure_logs

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
app.add_typer(exports.commands)
app.add_typer(audience.commands)
app.add_typer(operations.commands)
app.add_typer(operations.bucket, name="bucket")
app.add_typer(mails.mails, name="mails")
app.add_typer(manage_exports.exports, name="exports")
app.add_typer(webhooks.webhook, name="webhook")


def main() -> None:
    """Run the command line; stdout has nothing but what the command prints."""
    configure_logs("console", "warning")
    sys.exit(app())
