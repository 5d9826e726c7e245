"""The forms of SMTP_URL."""

import pytest

from app.adapters.smtp.address import SmtpAddress
from app.errors import SettingsInvalid


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("smtp://localhost:25", SmtpAddress("localhost", 25)),
        ("smtp://relay.internal", SmtpAddress("relay.internal", 25)),
        ("smtp://[::1]:2525/", SmtpAddress("::1", 2525)),
        (
            "smtp://user:pass@host:587?tls=starttls",
            SmtpAddress("host", 587, starttls=True, user="user", password="pass"),
        ),
        (
            "smtp://me%40x.co:a%2Fb%3A%3F%23@host?tls=starttls",
            SmtpAddress("host", 587, starttls=True, user="me@x.co", password="a/b:?#"),
        ),
        (
            "smtps://u:p@[2001:db8::1]",
            SmtpAddress("2001:db8::1", 465, implicit_tls=True, user="u", password="p"),
        ),
        ("smtp://u:p@127.0.0.1", SmtpAddress("127.0.0.1", 25, user="u", password="p")),
        ("smtp://u:p@[::1]", SmtpAddress("::1", 25, user="u", password="p")),
        ("smtp://u@localhost", SmtpAddress("localhost", 25, user="u")),
    ],
)
def test_an_address_is_understood(url: str, address: SmtpAddress) -> None:
    assert SmtpAddress.parse(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "http://host",
        "localhost:25",
        "smtp://:25",
        "smtp://host:port",
        "smtp://[::1",
        "smtp://host:25?tls=yes",
        "smtp://host:25?tsl=starttls",
        "smtp://host:25?tls=starttls&x=1",
        "smtps://host?tls=starttls",
        "smtp://host/path",
        "smtp://user:pa#ss@host",
    ],
)
def test_what_is_not_understood_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(SettingsInvalid) as raised:
        SmtpAddress.parse(url)
    assert url not in str(raised.value)


def test_no_password_goes_in_the_clear_over_a_network() -> None:
    with pytest.raises(SettingsInvalid, match="in the clear") as raised:
        SmtpAddress.parse("smtp://user:secret@mail.example.com:25")
    assert "secret" not in str(raised.value)


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(SmtpAddress.parse("smtps://user:secret@mail.example.com"))
