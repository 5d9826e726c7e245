"""Settings: what they refuse, and what they never repeat."""

from typing import Any

import pytest
from pydantic import ValidationError

from app.config import Settings

BEGINNING = "hunter2"
"""Errors cut long values in the middle."""

PASSWORD = f"{BEGINNING} and 32 bytes or more of a secret"

USUAL: dict[str, Any] = {
    "database_url": f"postgresql://exports:{PASSWORD}@db.example/exports",
    "audience_database_url": f"postgresql:///replica?password={PASSWORD}",
    "redis_url": f"rediss://:{PASSWORD}@redis.example",
    "smtp_url": f"smtps://me:{PASSWORD}@mail.example",
    "auth_jwks_url": f"https://me:{PASSWORD}@keys.example/jwks",
    "auth_jwt_secret": PASSWORD,
    "link_secret": PASSWORD,
    "s3_bucket": "lists",
    "mail_from": "lists@example.com",
}

UNFIT = [
    {"link_lifetime_s": 1},
    {"auth_jwt_secret": "short", "public_url": "https://x.example"},
    {"redis_url": {"password": PASSWORD}},
    {"database_url": None},
]


def test_no_secret_is_in_what_the_settings_say_of_themselves() -> None:
    settings = Settings(**USUAL)
    said = f"{settings} {settings!r}"
    assert PASSWORD in settings.database_url
    assert PASSWORD not in said
    assert "s3_bucket='lists'" in said


@pytest.mark.parametrize("changes", UNFIT)
def test_no_secret_is_in_what_is_said_of_unfit_settings(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(**(USUAL | changes))
    assert BEGINNING not in f"{refused.value} {refused.value!r}"
    assert "short" not in str(refused.value)
