"""The variables of the shell."""

import pytest

from devstack.shell import servers_taken


def test_every_server_is_named_and_no_secret() -> None:
    outside = {
        "DATABASE_URL": "postgresql://owner:secret@db.example.com:5433/shop?password=secret",
        "AUDIENCE_DATABASE_URL": "postgresql:///shop?host=/run/postgresql",
        "SMTP_URL": "smtps://user:secret@mail.example.com",
        "AUTH_JWKS_URL": "https://login.example.com/keys",
        "AUTH_JWT_SECRET": "secret",
        "REDIS_URL": "",
        "OTHER_URL": "https://other.example.com",
    }

    line = servers_taken(outside)

    assert "DATABASE_URL (db.example.com:5433)" in line
    assert "AUDIENCE_DATABASE_URL (host not shown)" in line
    assert "SMTP_URL (mail.example.com)" in line
    assert "AUTH_JWKS_URL (login.example.com)" in line
    assert not any(word in line for word in ("secret", "owner", "REDIS_URL", "OTHER_URL", "\n"))


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://u:p/secret@host/db",
        "redis://:s?secret@host",
        "secret",
        "smtp://u:p@secret@host",
    ],
)
def test_an_address_that_is_hard_to_read_is_not_shown(address: str) -> None:
    assert "secret" not in servers_taken({"REDIS_URL": address})


def test_nothing_taken_is_said_too() -> None:
    assert servers_taken({"PATH": "/bin"}) == "no server is taken from the environment"
