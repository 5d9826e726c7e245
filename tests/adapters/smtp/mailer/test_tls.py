"""TLS and logins: nothing is sent to a server that is not the right one."""

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from app.adapters.dialing import dial
from app.errors import LeaseLost, MailDeferred
from devstack.certificates import Certificate, issue
from tests.adapters.smtp.mail_server import MailServer, open_mail_server
from tests.adapters.smtp.mailer.conftest import LOGIN, mail, mailer_for
from tests.proxy import open_proxy


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
    assert proxy.count(rb"AUTH|MAIL|@example.com") == 0  # all of it is encrypted


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


async def test_after_an_error_the_server_s_end_of_tls_is_not_waited_for(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialled: list[socket.socket] = []

    async def dial_and_note(host: str, port: int) -> socket.socket:
        dialled.append(await dial(host, port))
        return dialled[-1]

    async def withdraw() -> None:
        raise LeaseLost("The mail was withdrawn.")

    monkeypatch.setattr("app.adapters.smtp.mailer.dial", dial_and_note)
    async with (
        open_mail_server(**starttls(certificate)) as server,
        mailer_for(f"smtp://{LOGIN}@localhost:{server.port}?tls=starttls") as mailer,
    ):
        with pytest.raises(LeaseLost):
            await mailer.send(mail(), withdraw)
        await asyncio.sleep(0)
        assert [each.fileno() for each in dialled] == [-1]


async def test_a_server_that_nobody_vouches_for_gets_nothing(tmp_path: Path) -> None:
    unknown = issue(tmp_path)
    async with (
        open_mail_server(**starttls(unknown)) as server,
        mailer_for(f"smtp://localhost:{server.port}?tls=starttls") as mailer,
    ):
        with pytest.raises(MailDeferred) as raised:
            await mailer.send(mail())

    assert raised.value.detail.startswith("STARTTLS: certificate verify failed: ")
    assert server.received == []


async def test_where_starttls_is_requested_nothing_goes_in_the_clear(server: MailServer) -> None:
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

    assert raised.value.detail.startswith("AUTH: 535 5.7.8 ")
    assert "wrong" not in f"{raised.value} {raised.value.detail}"


async def test_a_password_may_go_in_the_clear_on_this_machine() -> None:
    async with (
        open_mail_server(auth_require_tls=False) as server,
        mailer_for(f"smtp://{LOGIN}@127.0.0.1:{server.port}") as mailer,
    ):
        await mailer.send(mail())

    assert server.logins
