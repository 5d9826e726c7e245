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

INVALID = [
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


@pytest.mark.parametrize("changes", INVALID)
def test_no_secret_is_in_what_is_said_of_invalid_settings(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(**(USUAL | changes))
    assert BEGINNING not in f"{refused.value} {refused.value!r}"
    assert "short" not in str(refused.value)


REFUSED = {
    "mail_from": [
        *("x", "@x.co", "a@", "a@x.co, b@x.co", "A, B <a@x.co>", "a b@x.co", "A\nB <a@x.co>"),
        *("a@x.co\r\nBcc: b@x.co", "", "<>", "Name"),
    ],
    "public_url": ["x", "http://", "https://:80", "ftp://x.co", "https://x.co?a", "https://x.co#a"],
    "s3_endpoint_url": ["http:///x", "http://x.co:port", "http://x.co:99999", "http://[x.co"],
    "auth_jwks_url": ["x", "file:///etc/passwd", "https://", "https://x.co:port/jwks"],
    "cors_origins": ["https://x.co:65536"],
}
"""Values that a setting refuses."""

TAKEN = {
    "mail_from": [
        *("a@x.co", "<a@x.co>", "A B <a@x.co>", '"A, B" <a@x.co>', "a@localhost"),
        *('"a b"@x.co', "José <josé@münchen.example>"),
    ],
    "public_url": ["https://x.co", "http://127.0.0.1:8000", "http://[::1]:8000/base"],
    "auth_jwks_url": ["https://x.co/jwks?version=1", "http://me:secret@keys"],
}


def cases(values: dict[str, list[str]]) -> list[tuple[str, str]]:
    """Return each setting with each of its values."""
    return [(name, value) for name, many in values.items() for value in many]


@pytest.mark.parametrize(("name", "value"), cases(REFUSED))
def test_a_value_that_cannot_work_is_refused_at_start_up(name: str, value: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(**(USUAL | {name: value}))
    assert [each["loc"] for each in refused.value.errors()] == [(name,)]


@pytest.mark.parametrize(("name", "value"), cases(TAKEN))
def test_a_value_that_works_is_taken_as_it_is(name: str, value: str) -> None:
    assert getattr(Settings(**(USUAL | {name: value})), name) == value


def test_commas_alone_are_no_key() -> None:
    with pytest.raises(ValidationError, match="AUTH_JWT_SECRET or AUTH_JWKS_URL is required"):
        Settings(**(USUAL | {"auth_jwt_secret": ",,", "auth_jwks_url": None}))


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "null",
        "https://*.shop.example",
        "https://shop.example/export",
        "https://shop.example?x",
        "https://shop.example#x",
        "https://me@shop.example",
        "https://me:secret@shop.example",
        "shop.example",
        "//shop.example",
        "ftp://shop.example",
        "https://",
        "https://shop.example:port",
        "https://shop example",
        "/https:..shop.example/",
    ],
)
def test_what_is_not_an_origin_is_refused_at_start_up(origin: str) -> None:
    with pytest.raises(ValidationError, match="cors_origins"):
        Settings(**USUAL, cors_origins=f"https://good.example, {origin}")


@pytest.mark.parametrize(
    ("configured", "sent"),
    [
        ("https://shop.example", "https://shop.example"),
        ("https://shop.example/", "https://shop.example"),
        ("HTTPS://Shop.Example:443", "https://shop.example"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("https://münchen.example", "https://xn--mnchen-3ya.example"),
    ],
)
def test_an_origin_is_read_as_browsers_send_it(configured: str, sent: str) -> None:
    assert Settings(**USUAL, cors_origins=configured).cors_origins == [sent]


@pytest.mark.parametrize(
    ("configured", "lanes"),
    [
        ("small", ("small",)),
        ("LARGE", ("large",)),
        ("large, small", ("small", "large")),
        ("small,small,", ("small",)),
    ],
)
def test_the_lanes_of_a_worker_are_named_in_any_order(
    configured: str, lanes: tuple[str, ...]
) -> None:
    assert Settings(**USUAL, worker_lanes=configured).worker_lanes == lanes
    assert Settings(**USUAL).worker_lanes == ("small", "large")


@pytest.mark.parametrize("configured", ["medium", "small;large", "both", ","])
def test_an_unknown_lane_is_refused_at_start_up(configured: str) -> None:
    with pytest.raises(ValidationError, match="worker_lanes"):
        Settings(**USUAL, worker_lanes=configured)


def test_a_large_export_may_grow_to_eight_streams_where_none_are_set() -> None:
    unset = Settings(**USUAL, export_streams=None)
    assert (unset.export_streams_max, unset.audience_pool_size) == (8, 4 * 2 + 6)
    set_to_5 = Settings(**USUAL, export_streams=5)
    assert (set_to_5.export_streams_max, set_to_5.audience_pool_size) == (5, 4 * 5)


@pytest.mark.parametrize("streams", [0, 17])
def test_streams_are_1_to_16(streams: int) -> None:
    with pytest.raises(ValidationError):
        Settings(**USUAL, export_streams=streams)
