"""``python -m devstack``: the embedded stack in the foreground."""

import argparse
import os
import sys
import time
from pathlib import Path

from devstack import env_file
from devstack.foreground import until_stopped
from devstack.sandbox import Sandbox, ServerFailed
from devstack.stack import Stack

WATCH_S = 0.2


def main() -> int:
    """Run until a signal; return 1 when something does not start."""
    arguments = parse()
    arguments.env_file.unlink(missing_ok=True)  # an old one would tell of servers long gone
    try:
        with until_stopped(), Sandbox() as sandbox:
            stack = Stack(sandbox, os.environ, port=arguments.port)
            stack.start(services_only=arguments.services_only)
            env_file.write(arguments.env_file, stack.exported())
            say(f"ready: {arguments.env_file} (logs and mails in {sandbox.path})")
            watch(stack)
    except ServerFailed as error:
        say(str(error))
        return 1
    return 0


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m devstack",
        description="Run the service on embedded PostgreSQL, Redis, S3 and SMTP until Ctrl-C. "
        "DATABASE_URL, REDIS_URL, S3_ENDPOINT_URL, SMTP_URL and any other setting that is "
        "already in the environment is used instead of its own.",
    )
    parser.add_argument("--env-file", type=Path, required=True, help="written when all is ready")
    parser.add_argument("--services-only", action="store_true", help="neither API nor worker")
    parser.add_argument("--port", type=int, help="the API's port; a free one by default")
    return parser.parse_args()


def watch(stack: Stack) -> None:
    """Say so when the API or the worker ends by itself, for as long as nobody stops us."""
    running = stack.children
    while True:
        for process in list(running):
            if process.exit_status is not None:
                running.remove(process)
                say(f"{process.name} ended ({process.exit_status}): {process.log_tail()}")
        time.sleep(WATCH_S)


def say(text: str) -> None:
    """Print a line for people, who may have standard output elsewhere."""
    print(f"devstack: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
