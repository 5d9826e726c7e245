"""``make demo``: shows one export from the request to the mail."""

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

from devstack import env_file, shell
from devstack.sandbox import Sandbox, ServerFailed
from devstack.seed import seed
from devstack.service_processes import ROOT
from devstack.signals import run_until_signal
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
    """A step of the demo failed; the message is for the user."""


def main() -> int:
    """Run the demo; print the reason and return 1 if anything fails."""
    console = Console(highlight=False)
    stays = os.environ.get("ONESHOT") != "1"
    try:
        ENV_FILE.parent.mkdir(exist_ok=True)
        env_file.remove(ENV_FILE)
        with run_until_signal(), Sandbox() as sandbox:
            run(console, sandbox, stays=stays)
    except (DemoFailed, ServerFailed, env_file.FileRefused, httpx.HTTPError) as error:
        failure = Text(f"The demo failed: {error}", "red")
        Console(stderr=True, highlight=False).print(failure, soft_wrap=True)
        return 1
    return 0


def run(console: Console, sandbox: Sandbox, *, stays: bool) -> None:
    """Show one export on servers in ``sandbox`` only; then keep running if ``stays``."""
    shell.forget(sandbox.path)
    stack = Stack(sandbox, {})
    try:
        run_demo(console, stack)
        show_next(console, stack, stays=stays)
        if stays:
            run_until_interrupted(console, stack)
    finally:
        ENV_FILE.unlink(missing_ok=True)


def run_demo(console: Console, stack: Stack) -> None:
    """Start everything and perform one export."""
    with console.status("Starting PostgreSQL, Redis, S3, SMTP, the API and a worker …"):
        stack.start()
    with console.status(f"Seeding seller 1 with {MEMBERS:,} audience members …"):
        asyncio.run(seed(stack.settings["DATABASE_URL"], members=MEMBERS))
    variables = stack.environment()
    token = {"Authorization": f"Bearer {variables['SELLER_TOKEN']}"}
    with httpx.Client(base_url=stack.api_url, headers=token, timeout=30, trust_env=False) as api:
        export = perform(console, api)
    message = wait_for("no mail had arrived", MAIL_TIMEOUT_S, lambda: newest_mail(stack.mailbox))
    show_mail(console, message)
    show_file(console, mailed_link(message, stack.settings["PUBLIC_URL"]), export)
    env_file.write(ENV_FILE, variables)


def perform(console: Console, api: httpx.Client) -> dict[str, Any]:
    """Request an export and follow its progress to the end; return it, succeeded."""
    console.print(f"POST {api.base_url.join('/exports')} {json.dumps(REQUEST)}", soft_wrap=True)
    response = api.post("/exports", json=REQUEST)
    if response.status_code not in (httpx.codes.ACCEPTED, httpx.codes.OK):
        raise DemoFailed(f"POST /exports returned {response.status_code}: {response.text}")
    address = response.headers["Location"]
    columns = (TextColumn("{task.description:>9}"), BarColumn(), TaskProgressColumn())
    rows = TextColumn("{task.completed:,.0f} rows")
    with Progress(*columns, rows, TimeElapsedColumn(), console=console) as progress:
        bar = progress.add_task("queued", total=None)

        def finished() -> dict[str, Any] | None:
            export: dict[str, Any] = api.get(address).raise_for_status().json()
            update(progress, bar, export)
            return None if export["status"] in ACTIVE else export

        export = wait_for("the export had not finished", EXPORT_TIMEOUT_S, finished)
    if export["status"] != "succeeded":
        raise DemoFailed(f"the export {export['status']}: {export['error']}")
    return export


def update(progress: Progress, bar: Any, export: dict[str, Any]) -> None:
    """Update the bar to the export's progress; once finished, to its exact number of rows."""
    done = export["progress"]["rows_exported"]
    expected = max(done, export["progress"]["rows_estimated"] or 0)
    if export["file"] is not None:
        done = expected = export["file"]["rows"]
    progress.update(bar, description=export["status"], completed=done, total=expected or None)


def wait_for(failure: str, timeout_s: float, poll: Callable[[], T | None]) -> T:
    """Call ``poll`` until it returns something other than ``None``, and return that.

    Raises:
        DemoFailed: ``timeout_s`` seconds have passed; the message begins with ``failure``.
    """
    deadline = time.monotonic() + timeout_s
    while (result := poll()) is None:
        if time.monotonic() > deadline:
            raise DemoFailed(f"{failure} after {timeout_s} s")
        time.sleep(POLL_S)
    return result


def newest_mail(mailbox: Path) -> EmailMessage | None:
    """Return the newest message in the mailbox, ``None`` if it is empty."""
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
    """Return the link in the message's text.

    Raises:
        DemoFailed: it contains none.
    """
    match = re.search(re.escape(public_url) + r"\S+", text_of(message))
    if match is None:
        raise DemoFailed("the mail contains no link")
    return match.group()


def show_mail(console: Console, message: EmailMessage) -> None:
    """Print the message's main headers and text."""
    head = "".join(f"{name}: {message[name]}\n" for name in ("From", "To", "Subject"))
    show_text(console, "The mail that arrived", f"{head}\n{text_of(message).strip()}")


def show_file(console: Console, link: str, export: dict[str, Any]) -> None:
    """Follow the mailed link, as a browser would, and print the file's first lines."""
    with httpx.stream("GET", link, follow_redirects=True, trust_env=False) as response:
        response.raise_for_status()
        lines = "\n".join(islice(response.iter_lines(), CSV_LINES))
    file = export["file"]
    title = f"{file['name']}: {file['rows']:,} rows, {file['bytes']:,} bytes"
    show_text(console, title, f"{lines}\n…")


def show_text(console: Console, title: str, text: str) -> None:
    """Print ``text`` under ``title``, with unbroken lines so that links can be clicked."""
    console.print()
    console.rule(title, align="left")
    console.print(Text(text), soft_wrap=True)


def show_next(console: Console, stack: Stack, *, stays: bool) -> None:
    """Print the demo page's URL and what to try next."""
    where = shlex.quote(os.path.relpath(ENV_FILE))
    console.print()
    console.rule("What next", align="left")
    first = "In another terminal" if stays else "Run make demo, which stays up, and then"
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


def run_until_interrupted(console: Console, stack: Stack) -> None:
    """Keep running until Ctrl-C.

    Raises:
        DemoFailed: the API or the worker exited.
    """
    console.print("Everything keeps running until Ctrl-C.")
    while True:
        for process in stack.children:
            if process.exit_status is not None:
                raise DemoFailed(f"{process.name} exited: {process.log_tail()}")
        time.sleep(POLL_S)


if __name__ == "__main__":
    sys.exit(main())
