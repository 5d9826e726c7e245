"""The doctor warns of settings that are valid but unsuitable for production."""

import pytest

from app.doctor import settings as settings_check
from tests.adapters.settings import settings_with
from tests.doctor.installation import failed, warned

PUBLIC = {"public_url": "https://exports.example.com"}
OWN = {"demo": 0, "docs_enabled": 0}


async def details(**values: str | int) -> str:
    """Return the details of every finding that carries advice, in one string."""
    findings = await settings_check.check(settings_with(**{**PUBLIC, **OWN, **values}))
    return " ".join(finding.detail for finding in findings if finding.advice)


async def test_settings_for_production_are_fit() -> None:
    assert await details() == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("demo", 1),
        ("docs_enabled", 1),
        ("public_url", "http://exports.example.com"),
        ("lease_s", 3),
        ("mail_lease_s", 20),
        ("redis_url", "redis://redis.example.com:6379"),
        ("link_secret", "x" * 40),
        ("auth_jwt_secret", "ab" * 20),
    ],
)
async def test_what_is_unwise_is_warned_of_by_name(name: str, value: str | int) -> None:
    assert name.upper() in await details(**{name: value})


async def test_on_this_machine_demo_and_plain_http_are_fine() -> None:
    assert await details(public_url="http://127.0.0.1:8000", demo=1, docs_enabled=1) == ""


@pytest.mark.parametrize(
    "url", ["rediss://redis.example.com", "redis://[::1]:6379", "unix:///run/redis.sock"]
)
async def test_redis_over_tls_or_on_this_machine_is_fine(url: str) -> None:
    assert await details(redis_url=url) == ""


async def test_one_secret_for_two_purposes_is_warned_of() -> None:
    secret = "0123456789abcdef" * 2
    assert "share a secret" in await details(link_secret=secret, auth_jwt_secret=secret)


@pytest.mark.parametrize(("token", "fails"), [("session", ["settings"]), ("", [])])
async def test_presigned_links_need_credentials_that_stay(
    token: str, fails: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    if token:
        monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    findings = await settings_check.check(settings_with(**OWN))
    assert failed(findings) == fails
    assert warned(findings) == []
