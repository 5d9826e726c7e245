"""An installation to check, defined by its environment variables."""

import os
from dataclasses import dataclass

import pytest

from app.doctor import report, runner
from app.doctor.findings import Check, CheckResult, Status


@dataclass(frozen=True)
class Installation:
    """Settings in this process' environment that a test may change."""

    environment: pytest.MonkeyPatch

    def change(self, **settings: str) -> None:
        """Set variables; an empty value unsets one."""
        for name, value in settings.items():
            if value:
                self.environment.setenv(name, value)
            else:
                self.environment.delenv(name, raising=False)

    def setting(self, name: str) -> str:
        """Return what a variable is now."""
        return os.environ[name]

    async def run_checks(
        self, *only: Check, timeout_s: float = runner.CHECK_TIMEOUT_S
    ) -> list[CheckResult]:
        """Let the doctor look, at everything unless checks are named.

        No finding shows a secret or an address.
        """
        findings = await runner.run_checks(only or runner.CHECKS, timeout_s)
        text = report.as_json(findings)
        for part in self._private():
            assert part not in text
        return findings

    def _private(self) -> set[str]:
        urls = ("DATABASE_URL", "REDIS_URL", "SMTP_URL", "S3_ENDPOINT_URL", "AUTH_JWKS_URL")
        secrets = ("LINK_SECRET", "AUTH_JWT_SECRET", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID")
        named = {os.environ[name] for name in (*urls, *secrets) if os.environ.get(name)}
        passwords = {url.rpartition("@")[0].rpartition(":")[2] for url in named if "@" in url}
        return {"127.0.0.1", "localhost", "@", "Traceback", *named, *passwords}


def names(findings: list[CheckResult], status: Status) -> list[str]:
    """Return which checks ended so."""
    return [finding.check for finding in findings if finding.status is status]


def failed(findings: list[CheckResult]) -> list[str]:
    """Return which checks failed."""
    return names(findings, Status.FAILURE)


def warned(findings: list[CheckResult]) -> list[str]:
    """Return which checks warned."""
    return names(findings, Status.WARNING)


def found(findings: list[CheckResult], check: str) -> CheckResult:
    """Return the one finding of a check."""
    (finding,) = (finding for finding in findings if finding.check == check)
    return finding
