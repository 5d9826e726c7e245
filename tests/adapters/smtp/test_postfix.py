"""A real Postfix with usual restrictions: what it refuses, and what it delivers."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from email.message import EmailMessage

import pytest

from app.adapters.smtp.mailer import SmtpMailer, open_mailer
from app.config import Settings
from app.doctor import smtp as smtp_check
from app.errors import MailDeferred, MailRefused
from app.exports.delivery.mail_message import export_message
from devstack.sandbox import Sandbox
from tests.adapters.settings import settings_with
from tests.adapters.smtp.postfix import PostfixServer
from tests.exports.delivery.mails import failed_export
from tests.polling import until

pytestmark = pytest.mark.postfix

CONTAINER_ID = "3f2ab8c91d04"
RECIPIENT = "ann@market.example"


@pytest.fixture(scope="module")
def postfix(sandbox: Sandbox) -> Iterator[PostfixServer]:
    """Postfix; its master process only runs as root, and changes the user of the others."""
    if os.getuid() != 0:
        pytest.skip("Postfix can only be started by root")
    server = PostfixServer(sandbox)
    process = server.start()
    yield server
    process.stop()


def settings_of(postfix: PostfixServer, query: str = "", **values: str) -> Settings:
    """Return the settings of a market that sends through Postfix."""
    market = {
        "smtp_url": f"smtp://localhost:{postfix.port}{query}",
        "public_url": "https://lists.market.example",
        "mail_from": "Märkte <lists@market.example>",
    }
    return settings_with(**market | values)


@asynccontextmanager
async def mailer_of(settings: Settings) -> AsyncIterator[SmtpMailer]:
    """Yield the mailer of some settings."""
    async with open_mailer(settings) as mailer:
        yield mailer


async def send(settings: Settings, recipient: str = RECIPIENT) -> EmailMessage:
    """Send the mail about an export, and return it."""
    message = export_message(failed_export(recipient_email=recipient), settings, None)
    async with mailer_of(settings) as mailer:
        await mailer.send(message)
    return message


async def delivered(postfix: PostfixServer, count: int = 1) -> list[EmailMessage]:
    """Wait until the recipient has some mails more than before; return all."""

    async def has_arrived() -> bool:
        return len(postfix.mailbox("ann")) >= count

    await until(has_arrived)
    return postfix.mailbox("ann")


async def test_a_mail_arrives_with_its_headers(postfix: PostfixServer) -> None:
    before = len(postfix.mailbox("ann"))
    sent = await send(settings_of(postfix))
    mails = await delivered(postfix, before + 1)
    mail = next(each for each in mails if each["Message-ID"] == sent["Message-ID"])
    assert mail["Return-Path"] == "<lists@market.example>"
    assert "from lists.market.example" in mail["Received"]
    assert mail["From"].addresses[0].display_name == "Märkte"
    for name in ("To", "Subject", "Date", "Auto-Submitted", "X-Auto-Response-Suppress"):
        assert mail[name] == sent[name]
    for form in ("plain", "html"):
        arrived, made = mail.get_body((form,)), sent.get_body((form,))
        assert arrived is not None
        assert made is not None
        assert arrived.get_content().splitlines() == made.get_content().splitlines()


async def test_a_mail_goes_over_tls_that_the_authority_in_the_environment_vouches_for(
    postfix: PostfixServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(postfix, "?tls=starttls")
    with pytest.raises(MailDeferred) as untrusted:
        await send(settings)
    assert "certificate verify failed" in str(untrusted.value.detail)
    monkeypatch.setenv("SSL_CERT_FILE", str(postfix.certificate.authority))
    before = len(postfix.mailbox("ann"))
    await send(settings)
    mails = await delivered(postfix, before + 1)
    assert any("with ESMTPS" in mail["Received"] for mail in mails)


async def test_a_connection_that_postfix_closed_is_replaced(postfix: PostfixServer) -> None:
    """Postfix closes idle connections: here after a second, by default after five minutes."""
    settings = settings_of(postfix)
    message = export_message(failed_export(recipient_email=RECIPIENT), settings, None)
    before = len(postfix.mailbox("ann"))
    async with mailer_of(settings) as mailer:
        await mailer.send(message)
        await asyncio.sleep(1.2)  # smtpd_timeout
        await mailer.send(message)
    assert len(await delivered(postfix, before + 2)) == before + 2


REFUSALS = {
    "a name in EHLO that is no domain": (
        {"smtp_helo_name": CONTAINER_ID},
        "RCPT: 504 5.5.2 <3f2ab8c91d04>: Helo command rejected: need fully-qualified hostname",
        "refuses our name in EHLO",
        "set SMTP_HELO_NAME",
    ),
    "a name in EHLO that is malformed": (
        {"smtp_helo_name": "market..example"},
        "RCPT: 501 5.5.2 <market..example>: Helo command rejected: Invalid name",
        "refuses our name in EHLO",
        "set SMTP_HELO_NAME",
    ),
    "a sender by policy": (
        {"mail_from": "stranger@elsewhere.example"},
        "RCPT: 554 5.7.1 <[…]>: Sender address rejected: Access denied",
        "refuses the sender MAIL_FROM",
        "or fix MAIL_FROM",
    ),
    "a sender who does not exist": (
        {"mail_from": "nobody@market.example"},
        "RCPT: 550 5.1.0 <[…]>: Sender address rejected: User unknown in virtual mailbox table",
        "refuses the sender MAIL_FROM",
        "or fix MAIL_FROM",
    ),
}


@pytest.mark.parametrize(("changes", "detail", "found", "advice"), REFUSALS.values(), ids=REFUSALS)
async def test_what_it_holds_against_us_is_retried_and_the_doctor_names_it(
    postfix: PostfixServer, changes: dict[str, str], detail: str, found: str, advice: str
) -> None:
    settings = settings_of(postfix, **changes)
    with pytest.raises(MailDeferred) as deferred:
        await send(settings)
    assert deferred.value.detail == detail
    (finding,) = await smtp_check.check(settings)
    assert finding.status.value == "failure"
    assert found in finding.detail
    assert advice in finding.advice


async def test_a_refused_relay_is_retried_and_the_doctor_names_it(postfix: PostfixServer) -> None:
    settings = settings_of(postfix)
    with pytest.raises(MailDeferred, match="554"):
        await send(settings, "bob@elsewhere.example")
    abroad = settings_of(postfix, mail_from="lists@abroad.example")
    (finding,) = await smtp_check.check(abroad)
    assert finding.status.value == "failure"
    assert "does not relay for us: 554 5.7.1" in finding.detail
    assert "abroad.example" not in finding.detail


async def test_a_recipient_who_does_not_exist_is_refused_for_good(postfix: PostfixServer) -> None:
    with pytest.raises(MailRefused) as refused:
        await send(settings_of(postfix), "nobody@market.example")
    assert refused.value.detail == (
        "RCPT: 550 5.1.1 <[…]>: Recipient address rejected: User unknown in virtual mailbox table"
    )


async def test_the_doctor_is_content_and_sends_nothing(postfix: PostfixServer) -> None:
    (finding,) = await smtp_check.check(settings_of(postfix))
    assert finding.status.value == "ok"
    assert postfix.mailbox("lists") == []
