"""The whole doctor: a healthy installation, each dependency broken, no leftovers, no secrets."""

import asyncio
import json

import pytest

from app.doctor import report, runner
from app.doctor.findings import Check, CheckResult, Status, ok, warning
from app.errors import DatabaseUnavailable, SettingsInvalid
from devstack.sandbox import free_port
from tests.doctor.installation import Installation, failed, warned


async def test_all_is_well_but_that_nobody_works(installation: Installation) -> None:
    findings = await installation.run_checks()
    assert failed(findings) == []
    assert warned(findings) == ["worker"]
    assert all(finding.advice == "" for finding in findings if finding.status is Status.OK)
    assert not report.has_failed(findings)


BROKEN = {
    "database": {"DATABASE_URL": "postgresql://someone:hush-hush@127.0.0.1:{closed}/none"},
    "replica": {"AUDIENCE_DATABASE_URL": "postgresql://someone:hush-hush@127.0.0.1:{closed}/none"},
    "redis": {"REDIS_URL": "redis://:hush-hush@127.0.0.1:{closed}/0"},
    "bucket": {"S3_ENDPOINT_URL": "http://127.0.0.1:{closed}"},
    "smtp": {"SMTP_URL": "smtp://someone:hush-hush@127.0.0.1:{closed}"},
    "keys.server": {"AUTH_JWKS_URL": "http://127.0.0.1:{closed}/keys"},
}


@pytest.mark.parametrize("dependency", BROKEN)
async def test_what_is_unavailable_is_named_and_nothing_else(
    installation: Installation, dependency: str
) -> None:
    closed = free_port()
    for name, value in BROKEN[dependency].items():
        installation.change(**{name: value.format(closed=closed)})
    findings = await installation.run_checks()
    assert failed(findings) == [dependency]
    assert set(warned(findings)) <= {"worker"}
    assert all(finding.advice for finding in findings if finding.status is not Status.OK)
    assert report.has_failed(findings)


async def test_invalid_settings_are_named_one_by_one_without_their_values(
    installation: Installation,
) -> None:
    installation.change(S3_BUCKET="", WORKER_CONCURRENCY="many-hush", PUBLIC_URL="hush-hush")
    findings = await installation.run_checks()
    assert failed(findings) == ["settings"] * len(findings)
    text = report.as_json(findings)
    for name in ("S3_BUCKET", "WORKER_CONCURRENCY", "PUBLIC_URL"):
        assert sum(name in finding.detail for finding in findings) == 1
    assert "hush" not in text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUTH_JWT_SECRET", "hush"),
        ("LINK_SECRET", "hush"),
        ("LINK_SECRET", ""),
    ],
)
async def test_secrets_that_are_short_or_missing_are_named(
    installation: Installation, name: str, value: str
) -> None:
    installation.change(**{name: value})
    (finding,) = await installation.run_checks()
    assert (finding.check, finding.status) == ("settings", Status.FAILURE)
    assert name in finding.detail
    assert "hush" not in finding.detail


@pytest.mark.parametrize(
    ("name", "value", "check"),
    [
        ("SMTP_URL", "smtp://someone:hush-hush@mail.example.com", "smtp"),
        ("REDIS_URL", "hush-hush", "redis"),
    ],
)
async def test_an_address_that_cannot_be_used_is_its_own_checks(
    installation: Installation, name: str, value: str, check: str
) -> None:
    installation.change(**{name: value})
    findings = await installation.run_checks()
    assert failed(findings) == [check]
    assert any(name in finding.detail for finding in findings)


async def test_checks_run_side_by_side_and_each_has_its_time(installation: Installation) -> None:
    async def hang(_: object) -> list[CheckResult]:
        await asyncio.Event().wait()
        return []

    slow = tuple(Check(f"slow {number}", hang, "wait") for number in range(20))
    async with asyncio.timeout(5):
        findings = await installation.run_checks(*slow, timeout_s=0.5)
    assert [finding.advice for finding in findings] == ["wait"] * 20
    assert findings[0].detail == "No answer within 0.5 seconds."


@pytest.mark.parametrize(
    "error",
    [RuntimeError("at 127.0.0.1"), DatabaseUnavailable("Away."), SettingsInvalid("X is invalid.")],
    ids=lambda error: type(error).__name__,
)
async def test_a_check_that_breaks_is_a_failure_and_no_traceback(
    installation: Installation, error: Exception
) -> None:
    async def breaks(_: object) -> list[CheckResult]:
        raise error

    findings = await installation.run_checks(Check("broken", breaks, "fix it"))
    assert failed(findings) == ["broken"]


def test_the_report_is_a_line_each_or_a_list() -> None:
    findings = [ok("one", "It is."), warning("two", "It is not.", "do it")]
    assert [line.split() for line in report.as_lines(findings)][1][-1] == "it"
    assert json.loads(report.as_json(findings)) == [
        {"check": "one", "status": "ok", "detail": "It is.", "advice": ""},
        {"check": "two", "status": "warning", "detail": "It is not.", "advice": "do it"},
    ]
    assert not report.has_failed(findings)


def test_every_check_has_a_name_of_its_own() -> None:
    checks = [check.name for check in runner.CHECKS]
    assert len(set(checks)) == len(checks)
