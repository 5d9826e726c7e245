"""``make demo``: one export from the request to the mail, before the reader's eyes."""

import asyncio
import json
import os
import re
import shlex
import sys
import time
from collections.abc import Callable
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from devstack import env_file
from devstack.foreground import until_stopped
from devstack.sandbox import Sandbox, ServerFailed
from devstack.seed import seed
from devstack.service import ROOT
from devstack.stack import Stack

MEMBERS = 100_000
CSV_LINES = 6
POLL_S = 0.05
EXPORT_TIMEOUT_S = 120
MAIL_TIMEOUT_S = 60
ENV_FILE = ROOT / ".devstack" / "env"
REQUEST = {"follower": True, "customer": True, "affiliate": True}
ACTIVE = ("queued", "running")


T = TypeVar("T")


class DemoFailed(Exception):
    """The demo cannot go on; the text is a sentence for people."""


def main() -> int:
    """Run the demo; return 1, having said why, when anything in it fails."""
    console = Console(highlight=False)
    try:
        with until_stopped(), Sandbox() as sandbox:
            stack = Stack(sandbox, os.environ)
            show(console, stack)
            if not oneshot():
                stay(console, stack)
    except (DemoFailed, ServerFailed, httpx.HTTPError) as error:
        Console(stderr=True, highlight=False).print(Text(f"The demo failed: {error}", "red"))
        return 1
    finally:
        ENV_FILE.unlink(missing_ok=True)
    return 0


def show(console: Console, stack: Stack) -> None:
    """Start everything and perform one export."""
    with console.status("Starting PostgreSQL, Redis, S3, SMTP, the API and a worker …"):
        stack.start()
    with console.status(f"Seeding seller 1 with {MEMBERS:,} audience members …"):
        asyncio.run(seed(stack.settings["DATABASE_URL"], members=MEMBERS))
    variables = stack.exported()
    token = {"Authorization": f"Bearer {variables['SELLER_TOKEN']}"}
    with httpx.Client(base_url=stack.api_url, headers=token, timeout=30, trust_env=False) as api:
        export = perform(console, api)
    if os.environ.get("SMTP_URL"):
        console.print(f"The mail went to {export['recipient_email']} by your SMTP_URL.")
        show_file(console, export["download_url"], export)
    else:
        message = wait_for("no mail arrived", MAIL_TIMEOUT_S, lambda: newest_mail(stack.mailbox))
        show_mail(console, message)
        show_file(console, mailed_link(message, stack.settings["PUBLIC_URL"]), export)
    ENV_FILE.parent.mkdir(exist_ok=True)
    env_file.write(ENV_FILE, variables)
    show_next(console, stack)


def perform(console: Console, api: httpx.Client) -> dict[str, Any]:
    """Request an export and follow its progress to the end; return it, succeeded."""
    console.print(f"POST {api.base_url.join('/exports')} {json.dumps(REQUEST)}", soft_wrap=True)
    answer = api.post("/exports", json=REQUEST)
    if answer.status_code not in (httpx.codes.ACCEPTED, httpx.codes.OK):
        raise DemoFailed(f"POST /exports was answered {answer.status_code}: {answer.text}")
    address = answer.headers["Location"]
    columns = (TextColumn("{task.description:>9}"), BarColumn(), TaskProgressColumn())
    rows = TextColumn("{task.completed:,.0f} rows")
    with Progress(*columns, rows, TimeElapsedColumn(), console=console) as progress:
        bar = progress.add_task("queued", total=None)

        def finished() -> dict[str, Any] | None:
            export: dict[str, Any] = api.get(address).raise_for_status().json()
            update(progress, bar, export)
            return None if export["status"] in ACTIVE else export

        export = wait_for("the export does not end", EXPORT_TIMEOUT_S, finished)
    if export["status"] != "succeeded":
        raise DemoFailed(f"the export {export['status']}: {export['error']}")
    return export


def update(progress: Progress, bar: Any, export: dict[str, Any]) -> None:
    """Show the export's state; once it is finished, its exact number of rows."""
    done = export["progress"]["rows_exported"]
    expected = max(done, export["progress"]["rows_estimated"] or 0)
    if export["file"] is not None:
        done = expected = export["file"]["rows"]
    progress.update(bar, description=export["status"], completed=done, total=expected or None)


def wait_for(otherwise: str, timeout_s: float, found: Callable[[], T | None]) -> T:
    """Ask ``found`` until it returns something, and return that.

    Raises:
        DemoFailed: the time is over; the text is ``otherwise``.
    """
    deadline = time.monotonic() + timeout_s
    while (result := found()) is None:
        if time.monotonic() > deadline:
            raise DemoFailed(f"{otherwise} after {timeout_s} s")
        time.sleep(POLL_S)
    return result


def newest_mail(mailbox: Path) -> EmailMessage | None:
    """Return the last message that arrived, if any has."""
    files = sorted(mailbox.glob("*.eml"))
    if not files:
        return None
    return BytesParser(_class=EmailMessage, policy=policy.default).parsebytes(
        files[-1].read_bytes()
    )


def text_of(message: EmailMessage) -> str:
    """Return the message's text part."""
    part = message.get_body(("plain",))
    return part.get_content() if part is not None else ""


def mailed_link(message: EmailMessage, public_url: str) -> str:
    """Return the link that the message's text holds.

    Raises:
        DemoFailed: it holds none.
    """
    found = re.search(re.escape(public_url) + r"\S+", text_of(message))
    if found is None:
        raise DemoFailed("the mail holds no link")
    return found.group()


def show_mail(console: Console, message: EmailMessage) -> None:
    """Print the message as its reader sees it."""
    head = "".join(f"{name}: {message[name]}\n" for name in ("From", "To", "Subject"))
    show_text(console, "The mail that arrived", f"{head}\n{text_of(message).strip()}")


def show_file(console: Console, link: str, export: dict[str, Any]) -> None:
    """Follow the mailed link, as a browser would, and print the file's first lines."""
    with httpx.stream("GET", link, follow_redirects=True, trust_env=False) as answer:
        answer.raise_for_status()
        lines = "\n".join(islice(answer.iter_lines(), CSV_LINES))
    file = export["file"]
    title = f"{file['name']}: {file['rows']:,} rows, {file['bytes']:,} bytes"
    show_text(console, title, f"{lines}\n…")


def show_text(console: Console, title: str, text: str) -> None:
    """Print ``text`` under ``title``, its lines whole so that links can be clicked."""
    console.print()
    console.rule(title, align="left")
    console.print(Text(text), soft_wrap=True)


def show_next(console: Console, stack: Stack) -> None:
    """Print the page's address and what to try next."""
    where = shlex.quote(os.path.relpath(ENV_FILE))
    console.print()
    console.rule("What next", align="left")
    first = "Run make demo, which stays up, and then" if oneshot() else "In another terminal"
    console.print(
        Text(
            f"The page with the dialog:  {stack.settings['PUBLIC_URL']}/\n"
            f"The API's documentation:   {stack.settings['PUBLIC_URL']}/docs\n"
            f"{first}:\n\n"
            f"  set -a; . {where}; set +a\n"
            '  curl "$API_URL/exports" -H "Authorization: Bearer $SELLER_TOKEN" \\\n'
            "    -H 'Content-Type: application/json' -d '{\"follower\": true}'\n"
        ),
        soft_wrap=True,
    )


def oneshot() -> bool:
    """Return whether the demo is to end after its export."""
    return os.environ.get("ONESHOT") == "1"


def stay(console: Console, stack: Stack) -> None:
    """Stay up until Ctrl-C.

    Raises:
        DemoFailed: the API or the worker ended by itself.
    """
    console.print("Everything stays up until Ctrl-C.")
    while True:
        for process in stack.children:
            if process.exit_status is not None:
                raise DemoFailed(f"{process.name} ended: {process.log_tail()}")
        time.sleep(POLL_S)


if __name__ == "__main__":
    sys.exit(main())
