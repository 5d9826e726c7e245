"""Mails to real SMTP servers: taken, refused, put off, cut off."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from email.utils import make_msgid
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from app.adapters.smtp import CONNECTIONS_MAX, SmtpMailer, open_mailer
from app.errors import MailDeferred, MailRefused, ServiceError
from app.ports import Mailer
from devstack.certificates import Certificate, issue
from devstack.sandbox import free_port
from devstack.smtp import PERMANENT_FAILURE, TEMPORARY_FAILURE, SmtpServer
from tests.adapters.mail_server import PASSWORD, USER, MailServer, open_mail_server
from tests.adapters.settings import settings_with
from tests.fakes import MemoryMailer
from tests.proxy import Action, Answer, Close, CutAnswer, Delay, Hang, Proxy, Reset, open_proxy

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


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Certificate:
    """A certificate whose authority this process trusts."""
    certificate = issue(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.authority))
    return certificate


def tls(certificate: Certificate) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.server)
    return context


def starttls(certificate: Certificate) -> dict[str, Any]:
    return {"tls_context": tls(certificate), "require_starttls": True, "auth_required": True}


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


@pytest.mark.parametrize(
    ("reply", "expected"), [(TEMPORARY_FAILURE, MailDeferred), (PERMANENT_FAILURE, MailRefused)]
)
async def test_what_the_server_says_to_the_content_decides(
    smtp_server: SmtpServer, reply: str, expected: type[ServiceError]
) -> None:
    smtp_server.reply(reply)
    async with mailer_for(smtp_server.url) as mailer:
        with pytest.raises(expected):
            await mailer.send(mail())
        await mailer.send(mail())

    assert len(smtp_server.messages()) == 1


@pytest.mark.parametrize(
    ("command", "reply", "expected"),
    [
        ("RCPT", "451 4.2.1 Greylisted", MailDeferred),
        ("RCPT", "550 5.1.1 seller@example.com unknown", MailRefused),
        ("RCPT", "530 5.7.0 Authentication required", MailDeferred),
        ("MAIL", "451 4.3.0 Busy", MailDeferred),
        ("MAIL", "550 5.7.1 Sender not verified", MailDeferred),
        ("MAIL", "535 5.7.8 Who are you", MailDeferred),
        ("DATA", "552 5.2.2 Mailbox full", MailRefused),
        ("DATA", "421 4.3.2 Shutting down", MailDeferred),
    ],
)
async def test_only_a_recipient_or_content_refused_for_good_is_refused(
    mailer: SmtpMailer,
    server: MailServer,
    command: str,
    reply: str,
    expected: type[ServiceError],
) -> None:
    server.replies[command] = reply

    with pytest.raises(expected) as raised:
        await mailer.send(mail())

    assert "example.com" not in str(raised.value)
    server.replies.clear()
    await mailer.send(mail())
    assert len(server.received) == 1


async def test_one_connection_serves_many_messages(mailer: SmtpMailer, proxy: Proxy) -> None:
    for _ in range(5):
        await mailer.send(mail())

    assert proxy.opened == 1


async def test_messages_sent_side_by_side_arrive_whole_over_few_connections(
    mailer: SmtpMailer, server: MailServer, proxy: Proxy
) -> None:
    addresses = [f"seller-{number}@example.com" for number in range(40)]

    await asyncio.gather(*(mailer.send(mail(address)) for address in addresses))

    assert sorted(envelope.rcpt_tos[0] for envelope in server.received) == sorted(addresses)
    assert all(
        f"To: {envelope.rcpt_tos[0]}".encode() in content
        for envelope, content in zip(server.received, server.contents, strict=True)
    )
    assert proxy.opened <= CONNECTIONS_MAX


@pytest.mark.parametrize(
    "hang_up",
    [Reset(), Close(), Answer(raw=b"421 4.4.2 Idle for too long\r\n"), CutAnswer()],
    ids=repr,
)
@pytest.mark.parametrize("command", [rb"^MAIL", rb"^RCPT"])
async def test_a_kept_connection_that_hung_up_is_replaced_in_silence(
    mailer: SmtpMailer, server: MailServer, proxy: Proxy, hang_up: Action, command: bytes
) -> None:
    await mailer.send(mail())
    proxy.fault(hang_up, on=command, times=1)

    await mailer.send(mail())

    assert len(server.received) == 2
    assert proxy.opened == 2


async def test_connections_that_were_dropped_while_idle_are_replaced(
    mailer: SmtpMailer, server: MailServer, proxy: Proxy
) -> None:
    await asyncio.gather(*(mailer.send(mail()) for _ in range(CONNECTIONS_MAX)))
    proxy.drop()

    await mailer.send(mail())

    assert len(server.received) == CONNECTIONS_MAX + 1


async def test_nothing_is_sent_twice_when_the_answer_to_the_content_is_lost(
    mailer: SmtpMailer, server: MailServer, proxy: Proxy
) -> None:
    await mailer.send(mail())
    proxy.fault(CutAnswer(), on=CONTENT_SENT, times=None)

    with pytest.raises(MailDeferred):
        await mailer.send(mail())

    assert len(server.received) == 2
    assert proxy.count(CONTENT_SENT) == 2


async def test_a_new_connection_that_hangs_up_is_not_tried_again(
    mailer: SmtpMailer, server: MailServer, proxy: Proxy
) -> None:
    proxy.fault(Close(), on=rb"^MAIL", times=None)

    with pytest.raises(MailDeferred):
        await mailer.send(mail())

    assert proxy.opened == 1


async def test_a_server_that_is_down_puts_mails_off_until_it_is_back(
    mailer: SmtpMailer, server: MailServer, proxy: Proxy
) -> None:
    await proxy.stop()
    for attempt in (mailer.send(mail()), mailer.check()):
        with pytest.raises(MailDeferred) as raised:
            await attempt
        assert "127.0.0.1" not in str(raised.value)

    await proxy.start()
    await mailer.send(mail())

    assert len(server.received) == 1


async def test_a_send_that_was_cancelled_leaves_the_next_one_alone(
    mailer: SmtpMailer, server: MailServer, proxy: Proxy
) -> None:
    proxy.fault(Hang(), on=rb"^DATA", times=1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await mailer.send(mail("first@example.com"))

    await mailer.send(mail("second@example.com"))

    assert [envelope.rcpt_tos for envelope in server.received] == [["second@example.com"]]


async def test_a_slow_server_is_waited_for(
    mailer: SmtpMailer, server: MailServer, proxy: Proxy
) -> None:
    proxy.fault(Delay(0.5), on=CONTENT_SENT)

    await mailer.send(mail())

    assert len(server.received) == 1


async def test_the_check_sends_nothing(mailer: SmtpMailer, server: MailServer) -> None:
    await mailer.check()

    assert server.received == []
    assert not server.sessions


async def test_starttls_comes_before_the_login_and_the_mail(certificate: Certificate) -> None:
    async with (
        open_mail_server(**starttls(certificate)) as server,
        open_proxy("127.0.0.1", server.port) as proxy,
        mailer_for(f"smtp://{LOGIN}@localhost:{proxy.port}?tls=starttls") as mailer,
    ):
        await mailer.check()
        await mailer.send(mail())

    assert len(server.received) == 1
    assert server.logins
    assert proxy.count(rb"AUTH|MAIL|example.com") == 0  # all of it is encrypted


async def test_smtps_is_encrypted_from_the_first_byte(certificate: Certificate) -> None:
    async with (
        open_mail_server(implicit_tls=tls(certificate), auth_require_tls=False) as server,
        open_proxy("127.0.0.1", server.port) as proxy,
        mailer_for(f"smtps://{LOGIN}@localhost:{proxy.port}") as mailer,
    ):
        await mailer.send(mail())

    assert len(server.received) == 1
    assert server.logins
    assert proxy.count(rb"^(EHLO|MAIL|AUTH)") == 0


async def test_a_server_that_nobody_vouches_for_gets_nothing(tmp_path: Path) -> None:
    unknown = issue(tmp_path)
    async with (
        open_mail_server(**starttls(unknown)) as server,
        mailer_for(f"smtp://localhost:{server.port}?tls=starttls") as mailer,
    ):
        with pytest.raises(MailDeferred):
            await mailer.send(mail())

    assert server.received == []


async def test_where_starttls_is_asked_for_nothing_goes_in_the_clear(server: MailServer) -> None:
    async with mailer_for(f"smtp://localhost:{server.port}?tls=starttls") as mailer:
        with pytest.raises(MailDeferred):
            await mailer.send(mail())

    assert not server.sessions


async def test_a_wrong_password_puts_mails_off(certificate: Certificate) -> None:
    async with (
        open_mail_server(**starttls(certificate)) as server,
        mailer_for(f"smtp://someone:wrong@localhost:{server.port}?tls=starttls") as mailer,
    ):
        with pytest.raises(MailDeferred) as raised:
            await mailer.send(mail())
        with pytest.raises(MailDeferred):
            await mailer.check()

    assert "wrong" not in str(raised.value)


async def test_a_password_may_go_in_the_clear_on_this_machine() -> None:
    async with (
        open_mail_server(auth_require_tls=False) as server,
        mailer_for(f"smtp://{LOGIN}@127.0.0.1:{server.port}") as mailer,
    ):
        await mailer.send(mail())

    assert server.logins


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


@pytest.mark.parametrize("to", ["", "a b@example.com", "no address", "=?utf-8?q?x?=@x.co"])
async def test_what_is_no_address_is_refused(mailer: SmtpMailer, to: str) -> None:
    with pytest.raises(MailRefused):
        await mailer.send(mail(to))


@pytest.mark.parametrize("to", ['"a b"@example.com', "=cmd@x.co", "o'neil+x@example.com"])
async def test_odd_addresses_arrive(mailer: SmtpMailer, server: MailServer, to: str) -> None:
    await mailer.send(mail(to))

    assert server.received[0].rcpt_tos == [to]


async def test_closing_takes_leave(server: MailServer, proxy: Proxy) -> None:
    async with mailer_for(f"smtp://127.0.0.1:{proxy.port}") as mailer:
        await mailer.send(mail())

    assert proxy.count(rb"^QUIT") == 1


async def test_nothing_is_open_before_the_first_mail() -> None:
    async with mailer_for(f"smtp://127.0.0.1:{free_port()}"):
        pass


async def test_the_one_in_memory_keeps_what_is_sent() -> None:
    memory = MemoryMailer()
    mailer: Mailer = memory
    message = mail()

    await mailer.send(message)

    assert memory.messages == [message]
