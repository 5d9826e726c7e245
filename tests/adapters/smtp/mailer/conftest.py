"""A mail server, a fault proxy in front of it, and a mailer that uses both."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from email.utils import make_msgid
from urllib.parse import quote

import pytest

from app.adapters.smtp.mailer import SmtpMailer, open_mailer
from tests.adapters.settings import settings_with
from tests.adapters.smtp.mail_server import PASSWORD, USER, MailServer, open_mail_server
from tests.proxy import Proxy, open_proxy

LOGIN = f"{quote(USER, safe='')}:{quote(PASSWORD, safe='')}"


CONTENT_SENT = rb"\r\n\.\r\n$"


def mail(to: str = "seller@example.com", sender: str = "exports@example.com") -> EmailMessage:
    message = EmailMessage()
    message["From"] = f"Audience Export <{sender}>"
    message["To"] = to
    message["Subject"] = "Your audience export is ready"
    message["Message-ID"] = make_msgid(domain="example.com")
    message.set_content("Grüße, hier ist die Liste.\n.\nEnd\n")
    return message


@asynccontextmanager
async def mailer_for(url: str) -> AsyncIterator[SmtpMailer]:
    async with open_mailer(settings_with(smtp_url=url)) as mailer:
        yield mailer


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with open_mail_server() as server:
        yield server


@pytest.fixture
async def proxy(server: MailServer) -> AsyncIterator[Proxy]:
    async with open_proxy("127.0.0.1", server.port) as proxy:
        yield proxy


@pytest.fixture
async def mailer(proxy: Proxy) -> AsyncIterator[SmtpMailer]:
    async with mailer_for(f"smtp://127.0.0.1:{proxy.port}") as mailer:
        yield mailer
