"""Connections to a mail server: used again, replaced, closed."""

import asyncio

import pytest

from app.adapters.smtp.mailer import CONNECTIONS_MAX, SmtpMailer
from app.errors import MailDeferred
from devstack.sandbox import free_port
from tests.adapters.smtp.mail_server import MailServer
from tests.adapters.smtp.mailer.conftest import CONTENT_SENT, mail, mailer_for
from tests.proxy import Action, Answer, Close, CutAnswer, Hang, Proxy, Reset


async def test_one_connection_serves_many_messages(mailer: SmtpMailer, proxy: Proxy) -> None:
    for _ in range(5):
        await mailer.send(mail())

    assert proxy.accepted == 1


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
    assert proxy.accepted <= CONNECTIONS_MAX


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
    assert proxy.accepted == 2


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

    assert proxy.accepted == 1


async def test_a_server_that_is_down_puts_mails_off_until_it_is_back(
    mailer: SmtpMailer, server: MailServer, proxy: Proxy
) -> None:
    await proxy.stop()
    for attempt in (mailer.send(mail()), mailer.check()):
        with pytest.raises(MailDeferred) as raised:
            await attempt
        assert "127.0.0.1" not in str(raised.value)
        assert raised.value.detail == "connect: Connection refused"

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


async def test_closing_takes_leave(server: MailServer, proxy: Proxy) -> None:
    async with mailer_for(f"smtp://127.0.0.1:{proxy.port}") as mailer:
        await mailer.send(mail())

    assert proxy.count(rb"^QUIT") == 1


async def test_nothing_is_open_before_the_first_mail() -> None:
    async with mailer_for(f"smtp://127.0.0.1:{free_port()}"):
        pass
