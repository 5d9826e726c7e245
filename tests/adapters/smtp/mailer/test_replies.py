"""What a mail server's replies, its silence and its slowness decide."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.adapters.smtp.address import SmtpAddress
from app.adapters.smtp.errors import TIME_LIMITS_S
from app.adapters.smtp.mailer import SmtpMailer
from app.adapters.smtp.replies import Stage
from app.errors import MailDeferred, MailRefused, MailUnanswered, ServiceError
from devstack.smtp import PERMANENT_FAILURE, TEMPORARY_FAILURE, SmtpServer
from tests.adapters.smtp.mail_server import MailServer
from tests.adapters.smtp.mailer.conftest import CONTENT_SENT, mail, mailer_for
from tests.proxy import Action, Answer, CutAnswer, Delay, Hang, Proxy, Reset


@asynccontextmanager
async def open_silent_server(greeting: str = "") -> AsyncIterator[int]:
    """Yield the port of a server that says ``greeting`` and then nothing."""

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(greeting.encode())

    writers: list[asyncio.StreamWriter] = []
    listener = await asyncio.start_server(greet, "127.0.0.1", 0)
    yield listener.sockets[0].getsockname()[1]
    for writer in writers:
        writer.close()
    listener.close()


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
    ("command", "reply", "expected", "detail"),
    [
        ("RCPT", "451 4.2.1 Greylisted", MailDeferred, "RCPT: 451 4.2.1 Greylisted"),
        (
            "RCPT",
            "550 5.1.1 <seller@example.com>: unknown",
            MailRefused,
            "RCPT: 550 5.1.1 <[…]>: unknown",
        ),
        (
            "RCPT",
            "550-5.1.1 seller@example.com\r\n550 5.1.1 does not exist",
            MailRefused,
            "RCPT: 550 5.1.1 […] does not exist",
        ),
        ("RCPT", "530 5.7.0 Login first", MailDeferred, "RCPT: 530 5.7.0 Login first"),
        (
            "RCPT",
            "553 5.7.1 <exports@example.com>: not owned by user mailer",
            MailDeferred,
            "RCPT: 553 5.7.1 <[…]>: not owned by user mailer",
        ),
        ("MAIL", "451 4.3.0 Busy", MailDeferred, "MAIL: 451 4.3.0 Busy"),
        ("MAIL", "550 5.7.1 Who is that?", MailDeferred, "MAIL: 550 5.7.1 Who is that?"),
        ("MAIL", "550 5.1.1 User unknown", MailDeferred, "MAIL: 550 5.1.1 User unknown"),
        ("DATA", "552 5.2.2 Mailbox full", MailDeferred, "content: 552 5.2.2 Mailbox full"),
        (
            "DATA",
            "550 5.4.5 Daily user sending limit exceeded",
            MailDeferred,
            "content: 550 5.4.5 Daily user sending limit exceeded",
        ),
        ("DATA", "421 4.3.2 Shutting down", MailDeferred, "content: 421 4.3.2 Shutting down"),
        ("DATA", "550 5.1.1 No such user", MailRefused, "content: 550 5.1.1 No such user"),
    ],
)  # fmt: skip
async def test_only_a_recipient_refused_for_good_is_refused_in_the_servers_own_words(
    mailer: SmtpMailer,
    server: MailServer,
    command: str,
    reply: str,
    expected: type[MailDeferred | MailRefused],
    detail: str,
) -> None:
    server.replies[command] = reply

    with pytest.raises((MailDeferred, MailRefused)) as raised:
        await mailer.send(mail())

    assert type(raised.value) is expected
    assert raised.value.detail == detail
    assert "example.com" not in str(raised.value)
    server.replies.clear()
    await mailer.send(mail())
    assert len(server.received) == 1


@pytest.mark.parametrize(
    ("command", "stage"),
    [
        (rb"^EHLO", "EHLO"),
        (rb"^MAIL", "MAIL"),
        (rb"^RCPT", "RCPT"),
        (rb"^DATA", "DATA"),
        (CONTENT_SENT, "content"),
    ],
)
async def test_each_step_has_its_time_limit(
    server: MailServer, proxy: Proxy, command: bytes, stage: str
) -> None:
    address = SmtpAddress.parse(f"smtp://127.0.0.1:{proxy.port}")
    mailer = SmtpMailer(address, {**TIME_LIMITS_S, Stage(stage): 0.2})
    proxy.fault(Hang(), on=command, times=1)

    with pytest.raises(MailDeferred) as raised:
        await mailer.send(mail())

    assert type(raised.value) is (MailUnanswered if stage == "content" else MailDeferred)
    assert raised.value.detail == f"{stage}: no reply in 0.2 s"
    await mailer.send(mail())
    assert len(server.received) == 1
    await mailer.aclose()


async def test_a_silent_server_is_given_up() -> None:
    async with open_silent_server() as port:
        address = SmtpAddress.parse(f"smtp://127.0.0.1:{port}")
        mailer = SmtpMailer(address, {**TIME_LIMITS_S, Stage.CONNECT: 0.2})
        with pytest.raises(MailDeferred) as raised:
            await mailer.send(mail())
    assert raised.value.detail == "connect: no reply in 0.2 s"


@pytest.mark.parametrize("greeting", ["554 5.7.1 Client host [203.0.113.9] blocked", "421 busy"])
async def test_a_server_that_turns_us_away_at_once_is_quoted(greeting: str) -> None:
    async with (
        open_silent_server(f"{greeting}\r\n") as port,
        mailer_for(f"smtp://127.0.0.1:{port}") as mailer,
    ):
        with pytest.raises(MailDeferred) as raised:
            await mailer.send(mail())
    assert raised.value.detail == f"connect: {greeting}"


@pytest.mark.parametrize("answer", [CutAnswer(), Reset(after_bytes=9999), Answer(raw=b"hm\r\n")])
async def test_a_content_without_an_answer_may_have_arrived(
    mailer: SmtpMailer, proxy: Proxy, answer: Action
) -> None:
    proxy.fault(answer, on=CONTENT_SENT)
    with pytest.raises(MailUnanswered):
        await mailer.send(mail())


async def test_every_answer_that_says_yes_to_the_content_is_taken(
    mailer: SmtpMailer, proxy: Proxy
) -> None:
    proxy.fault(Answer(raw=b"200 fine\r\n"), on=CONTENT_SENT)
    await mailer.send(mail())


async def test_a_slow_server_is_waited_for(
    mailer: SmtpMailer, server: MailServer, proxy: Proxy
) -> None:
    proxy.fault(Delay(0.5), on=CONTENT_SENT)

    await mailer.send(mail())

    assert len(server.received) == 1
