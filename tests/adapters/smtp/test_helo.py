"""The name in EHLO: as set, else what this service is called outside."""

import pytest

from app.adapters.smtp.helo import helo_name
from app.adapters.smtp.mailer import open_mailer
from tests.adapters.settings import settings_with
from tests.adapters.smtp.mail_server import open_mail_server


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (
            {"smtp_helo_name": "mx.shop.example", "public_url": "https://a.example"},
            "mx.shop.example",
        ),
        ({"public_url": "https://lists.shop.example:8443/x"}, "lists.shop.example"),
        ({"public_url": "https://märkte.example"}, "xn--mrkte-gra.example"),
        ({"public_url": "http://192.0.2.7:8000"}, "[192.0.2.7]"),
        ({"public_url": "http://[2001:db8::7]:8000"}, "[IPv6:2001:db8::7]"),
        ({"public_url": None, "mail_from": "Lists <lists@shop.example>"}, "shop.example"),
        ({"public_url": None, "mail_from": "lists@straße.example"}, "xn--strae-oqa.example"),
    ],
)
async def test_the_server_is_greeted_by_a_name_that_exists(
    settings: dict[str, str | None], name: str
) -> None:
    async with open_mail_server() as server:
        url = f"smtp://127.0.0.1:{server.port}"
        async with open_mailer(settings_with(smtp_url=url, **settings)) as mailer:
            await mailer.check()
    assert server.greetings == [name]
    assert helo_name(settings_with(**settings)) == name


@pytest.mark.parametrize("name", ["a b", "märkte.example", "a\r\nMAIL FROM:<x@y>"])
def test_what_cannot_stand_in_a_command_is_no_name(name: str) -> None:
    with pytest.raises(ValueError, match="smtp_helo_name"):
        settings_with(smtp_helo_name=name)
