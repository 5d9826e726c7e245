"""What an examination finds, and what it takes to be one."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from app.config import Settings


class Status(StrEnum):
    """How bad it is: only a failure keeps the service from its work."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    ``check`` is the dependency, and after a dot what of it. ``advice`` says
    what to do, and is empty where nothing is. Neither text ever holds a
    secret, a host or a person's address: reports are passed around.
    """

    check: str
    status: Status
    detail: str
    advice: str = ""


@dataclass(frozen=True)
class Check:
    """The examination of one dependency.

    ``examine`` returns what it found; a ``ServiceError`` that it raises is
    the failure of the whole dependency, and ``advice`` what to do then. What
    cannot be known because another dependency is away is left out: that
    one's own check tells.
    """

    name: str
    examine: Callable[[Settings], Awaitable[list[Finding]]]
    advice: str


def ok(check: str, detail: str) -> Finding:
    """Return a finding that needs nothing done."""
    return Finding(check, Status.OK, detail)


def warning(check: str, detail: str, advice: str) -> Finding:
    """Return a finding that somebody should look into."""
    return Finding(check, Status.WARNING, detail, advice)


def failure(check: str, detail: str, advice: str) -> Finding:
    """Return a finding that keeps the service from its work."""
    return Finding(check, Status.FAILURE, detail, advice)
