"""``python -m devstack``: run the embedded stack in the foreground."""

import argparse
import asyncio
import os
import sys
import time
from pathlib import Path

import asyncpg

from app.errors import ServiceError
from devstack import env_file, shell
from devstack.sandbox import Sandbox, ServerFailed
from devstack.seed import seed
from devstack.signals import run_until_signal
from devstack.stack import Stack

WATCH_S = 0.2
MEMBERS = 100_000


def main() -> int:
    """Run until SIGINT or SIGTERM; return 1 if something fails to start."""
    arguments = parse()
    try:
        env_file.remove(arguments.env_file)
        say(shell.servers_taken(os.environ))
        with run_until_signal(), Sandbox() as sandbox:
            run(sandbox, arguments)
    except (ServerFailed, env_file.FileRefused) as error:
        say(str(error))
        return 1
    return 0


def run(sandbox: Sandbox, arguments: argparse.Namespace) -> None:
    """Start the stack, write the environment file, and watch the processes."""
    stack = Stack(sandbox, os.environ, port=arguments.port)
    stack.start(services_only=arguments.services_only)
    if arguments.seed:
        fill(stack.settings["DATABASE_URL"], arguments.seed)
    env_file.write(arguments.env_file, stack.environment())
    say(f"ready: {arguments.env_file} (logs and mails in {sandbox.path})")
    watch(stack)


def fill(database_url: str, members: int) -> None:
    """Give seller 1 an invented audience.

    Raises:
        ServerFailed: the database is unavailable or refuses the rows.
    """
    try:
        asyncio.run(seed(database_url, members=members))
    except (ServiceError, asyncpg.PostgresError) as error:
        raise ServerFailed(f"the audience could not be seeded: {error}") from error


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m devstack",
        description="Run the service on embedded PostgreSQL, Redis, S3 and SMTP until Ctrl-C. "
        "DATABASE_URL, REDIS_URL, S3_ENDPOINT_URL, SMTP_URL and any other setting that is "
        "already in the environment is used instead.",
    )
    parser.add_argument(
        "--env-file",
        type=Path,
        required=True,
        help="the file to write once everything is ready; a file of others is never replaced",
    )
    parser.add_argument(
        "--services-only", action="store_true", help="start neither the API nor a worker"
    )
    parser.add_argument(
        "--seed",
        type=int,
        nargs="?",
        const=MEMBERS,
        metavar="MEMBERS",
        help=f"give seller 1 an invented audience, {MEMBERS:,} by default, "
        "also in a database given by DATABASE_URL",
    )
    parser.add_argument("--port", type=int, help="the API's port; a free one by default")
    return parser.parse_args()


def watch(stack: Stack) -> None:
    """Report when the API or the worker exits; runs until a signal."""
    running = stack.children
    while True:
        for process in list(running):
            if process.exit_status is not None:
                running.remove(process)
                say(f"{process.name} exited ({process.exit_status}): {process.log_tail()}")
        time.sleep(WATCH_S)


def say(text: str) -> None:
    """Print a line to stderr."""
    print(f"devstack: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
