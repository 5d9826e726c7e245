"""Mails to real SMTP servers: written as meant, addressed as asked, arrived whole."""

import time

import pytest

from app.adapters.smtp.mailer import SmtpMailer
from app.errors import MailDeferred, MailRefused
from app.ports import Mailer
from devstack.smtp import SmtpServer
from tests.adapters.smtp.mail_server import MailServer, open_mail_server
from tests.adapters.smtp.mailer.conftest import mail, mailer_for
from tests.fakes import MemoryMailer
from tests.proxy import Delay, Proxy


async def test_a_message_arrives_as_it_was_written(smtp_server: SmtpServer) -> None:
    async with mailer_for(smtp_server.url) as mailer:
        await mailer.send(mail())

    (received,) = smtp_server.messages()
    text = received.read_text()
    assert text.startswith(
        "X-Envelope-From: exports@example.com\nX-Envelope-To: seller@example.com\n"
    )
    assert "Subject: Your audience export is ready" in text


async def test_content_is_ascii_on_the_wire_and_keeps_every_line(
    mailer: SmtpMailer, server: MailServer
) -> None:
    await mailer.send(mail())

    (content,) = server.contents
    assert content.isascii()
    assert b"\r\n.\r\n" not in content


async def test_lines_that_begin_with_dots_arrive_whole(
    mailer: SmtpMailer, server: MailServer
) -> None:
    message = mail()
    message.set_content("one\n.\n..two\n.three\n")
    await mailer.send(message)

    (content,) = server.contents
    assert content.endswith(b"\r\none\r\n.\r\n..two\r\n.three\r\n")


async def test_the_check_sends_nothing(mailer: SmtpMailer, server: MailServer) -> None:
    await mailer.check()

    assert server.received == []
    assert not server.sessions


async def test_addresses_beyond_ascii_arrive_where_the_server_takes_them(
    smtp_server: SmtpServer,
) -> None:
    async with mailer_for(smtp_server.url) as mailer:
        await mailer.check()
        await mailer.send(mail("josé@example.com"))

    (received,) = smtp_server.messages()
    text = received.read_text("utf-8")
    assert "X-Envelope-To: josé@example.com" in text
    assert "To: josé@example.com" in text


async def test_addresses_beyond_ascii_are_refused_where_the_server_does_not() -> None:
    async with (
        open_mail_server(enable_SMTPUTF8=False) as server,
        mailer_for(f"smtp://127.0.0.1:{server.port}") as mailer,
    ):
        with pytest.raises(MailRefused, match="beyond ASCII"):
            await mailer.send(mail("josé@example.com"))
        await mailer.send(mail())

    assert len(server.received) == 1


async def test_our_own_address_beyond_ascii_is_no_fault_of_the_recipient() -> None:
    async with (
        open_mail_server(enable_SMTPUTF8=False) as server,
        mailer_for(f"smtp://127.0.0.1:{server.port}") as mailer,
    ):
        with pytest.raises(MailDeferred, match="beyond ASCII"):
            await mailer.send(mail(sender="josé@example.com"))


@pytest.mark.parametrize("to", ["", "a b@example.com", "no address", "=?utf-8?q?x?=@x.co"])
async def test_what_is_no_address_is_refused(mailer: SmtpMailer, to: str) -> None:
    with pytest.raises(MailRefused):
        await mailer.send(mail(to))


@pytest.mark.parametrize("to", ['"a b"@example.com', "=cmd@x.co", "o'neil+x@example.com"])
async def test_odd_addresses_arrive(mailer: SmtpMailer, server: MailServer, to: str) -> None:
    await mailer.send(mail(to))

    assert server.received[0].rcpt_tos == [to]


async def test_the_one_in_memory_keeps_what_is_sent() -> None:
    memory = MemoryMailer()
    mailer: Mailer = memory
    message = mail()

    await mailer.send(message)

    assert memory.messages == [message]


class Withdrawn(Exception):
    """The mail is not to leave."""


async def withdraw() -> None:
    raise Withdrawn


async def test_a_mail_withdrawn_at_the_last_moment_does_not_leave(
    mailer: SmtpMailer, server: MailServer, proxy: Proxy
) -> None:
    for _ in range(2):
        with pytest.raises(Withdrawn):
            await mailer.send(mail(), withdraw)

    assert proxy.count(rb"^DATA") == 2
    assert proxy.count(rb"Subject") == 0
    await mailer.send(mail())
    assert len(server.received) == 1


async def test_what_the_servers_go_ahead_waits_for_is_asked_after_it(
    mailer: SmtpMailer, server: MailServer, proxy: Proxy
) -> None:
    proxy.fault(Delay(0.5), on=rb"^DATA")
    began_at = time.monotonic()
    called_at: list[float] = []

    async def note() -> None:
        called_at.append(time.monotonic())

    await mailer.send(mail(), note)

    assert called_at[0] - began_at >= 0.5
    assert len(server.received) == 1
