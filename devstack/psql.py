"""``python -m devstack.psql SQL``: run a statement against DATABASE_URL with the embedded psql."""

import os
import sys

from devstack.postgres import PROGRAMS, WHEEL, installed

OPTIONS = ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"]


def main() -> None:
    """Replace this process by psql."""
    program = str(installed(WHEEL) / PROGRAMS / "psql")
    command = [program, *OPTIONS, os.environ["DATABASE_URL"], "--command", *sys.argv[1:]]
    os.execv(program, command)  # noqa: S606 - without a shell on purpose


if __name__ == "__main__":
    main()
