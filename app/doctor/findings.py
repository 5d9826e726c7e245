"""``Check``, the interface of a check, and ``CheckResult``, one finding."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from app.config import Settings


class Status(StrEnum):
    """Severity of a finding: only a failure keeps the service from working."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True)
class CheckResult:
    """One finding, a line of the report.

    ``check`` is the dependency, and after a dot the aspect (``bucket.links``).
    ``advice`` says what to do; it is empty when nothing is. ``detail`` and ``advice``
    never hold a secret, a host name or a person's address: reports are passed on.
    """

    check: str
    status: Status
    detail: str
    advice: str = ""


@dataclass(frozen=True)
class Check:
    """The check of one dependency.

    ``run`` returns the findings. When it raises a ``ServiceError``, the whole
    dependency is a failure, with ``advice``. It leaves out what it cannot find out
    because another dependency is unavailable, which that one's check reports.
    """

    name: str
    run: Callable[[Settings], Awaitable[list[CheckResult]]]
    advice: str


def ok(check: str, detail: str) -> CheckResult:
    """Return a finding that needs no action."""
    return CheckResult(check, Status.OK, detail)


def warning(check: str, detail: str, advice: str) -> CheckResult:
    """Return a finding that an operator should look into."""
    return CheckResult(check, Status.WARNING, detail, advice)


def failure(check: str, detail: str, advice: str) -> CheckResult:
    """Return a finding that keeps the service from working."""
    return CheckResult(check, Status.FAILURE, detail, advice)
