"""Shared by the commands: settings, connections, errors as exit codes."""

import asyncio
import os
import pwd
import re
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import asyncpg
import typer
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from app.auth.principal import BIGINT_MAX
from app.config import Settings
from app.database.database import Database, open_database
from app.database.errors import classify_error
from app.errors import PermanentError, RequestInvalid, ServiceError

Result = TypeVar("Result")

PIPE_CLOSED = 128 + signal.SIGPIPE
"""The exit status of a program whose reader went away, as shells report it."""

MISSING_SCHEMA = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
    asyncpg.InvalidSchemaNameError,
)


def seller_option(description: str) -> Any:
    """Return the option ``--seller``: an id that the database can hold."""
    return typer.Option("--seller", min=1, max=BIGINT_MAX, help=description)


class OutputClosed(Exception):
    """The reader of the output has closed it."""


class OutputFailed(PermanentError):
    """The output cannot be written: the disk is full, a folder is missing."""

    code = "output_failed"


class DatabaseRefuses(PermanentError):
    """The database answers with an error that the operator can correct."""

    code = "database_refuses"


@contextmanager
def output_errors() -> Iterator[None]:
    """Translate what writing the output raises, which is no error of the database.

    Raises:
        OutputClosed: the reader of a pipe is gone.
        OutputFailed: it cannot be written.
    """
    try:
        yield
    except BrokenPipeError as error:
        raise OutputClosed from error
    except OSError as error:
        raise OutputFailed(f"The output cannot be written: {error.strerror}.") from error


def load_settings() -> Settings:
    """Return the settings, or exit with code 2 and one line for each invalid one."""
    try:
        return Settings()
    except ValidationError as error:
        problems = (
            f"{'_'.join(map(str, each['loc'])).upper() or 'settings'}: {each['msg']}"
            # Without the input, which may be a secret.
            for each in error.errors(include_input=False)
        )
        typer.echo("\n".join(problems), err=True)
        raise typer.Exit(2) from None


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine; end with one sentence for each error that is no defect.

    The exit code is 1, or 2 where the caller asked for something impossible.
    """
    try:
        return asyncio.run(work)
    except RequestInvalid as error:
        typer.echo(f"{error.field}: {error}", err=True)
        raise typer.Exit(2) from error
    except OutputClosed as error:
        _drop_output()
        raise typer.Exit(PIPE_CLOSED) from error
    except (
        ServiceError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        SQLAlchemyError,
        OSError,
    ) as error:
        if isinstance(error, OutputFailed):
            _drop_output()
        translated = error if isinstance(error, ServiceError) else _translated(error)
        if translated is None:
            raise
        typer.echo(f"{translated.code}: {translated}", err=True)
        raise typer.Exit(1) from error


def _translated(error: BaseException) -> ServiceError | None:
    """Return what an error of the database means; ``None`` where it is a defect."""
    match _cause(error):
        case asyncpg.InsufficientPrivilegeError() as cause:
            return DatabaseRefuses(f"The role of DATABASE_URL lacks a right: {cause}.")
        case asyncpg.PostgresError() as cause if isinstance(cause, MISSING_SCHEMA):
            return DatabaseRefuses(f"The schema is missing or old ({cause}): alembic upgrade head.")
    return classify_error(error)


def _cause(error: BaseException | None) -> BaseException | None:
    """Return PostgreSQL's own error, which SQLAlchemy wraps."""
    while error is not None and not isinstance(error, asyncpg.PostgresError):
        error = error.__cause__ or error.__context__
    return error


def _drop_output() -> None:
    """Let nothing be written to stdout at the end, where it would fail once more."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def duration_s(text: str) -> float:
    """Return the seconds of a duration such as ``90s``, ``30m``, ``2h``, ``7d``."""
    match = re.fullmatch(r"(\d{1,6})([smhd])", text.strip())
    if match is None:
        raise typer.BadParameter("must be a duration such as 30m, 2h or 7d")
    return float(match[1]) * UNITS_S[match[2]]


def operating_user() -> str:
    """Return the operating system's name for who runs this, which no variable can change."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


async def run_connected(work: Callable[[Database], Coroutine[Any, Any, Result]]) -> Result:
    """Run ``work`` on the database at DATABASE_URL."""
    async with open_database(load_settings().database_url, pool_size=1) as database:
        return await work(database)
