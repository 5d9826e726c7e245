"""The mail server: each step that fails is told apart, and no mail is begun."""

import ssl
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from app.doctor import smtp as mail
from devstack.certificates import Certificate, issue
from devstack.smtp import SmtpServer
from tests.adapters.smtp.mail_server import PASSWORD, USER, open_mail_server
from tests.doctor.installation import Installation, failed, found
from tests.proxy import Answer, open_proxy

LOGIN = f"{quote(USER)}:{quote(PASSWORD, safe='')}"


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    """A certificate whose authority nobody trusts yet."""
    return issue(tmp_path)


def tls(certificate: Certificate) -> ssl.SSLContext:
    """Return a server's side of TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.server)
    return context


def starttls(certificate: Certificate) -> dict[str, Any]:
    """Return what makes aiosmtpd retry on TLS and a login."""
    return {"tls_context": tls(certificate), "require_starttls": True, "auth_required": True}


async def test_tls_login_and_envelope_are_tried_and_no_mail_is_sent(
    installation: Installation, certificate: Certificate
) -> None:
    installation.change(
        SSL_CERT_FILE=str(certificate.authority), SMTP_HELO_NAME="lists.example.com"
    )
    async with open_mail_server(**starttls(certificate)) as server:
        installation.change(SMTP_URL=f"smtp://{LOGIN}@localhost:{server.port}?tls=starttls")
        findings = await installation.run_checks(mail.CHECK)
    assert failed(findings) == []
    assert found(findings, "smtp").detail == "The mail server answers, over TLS, logged in."
    assert server.logins == ["LOGIN"] or server.logins == ["PLAIN"]
    assert server.greetings[-1] == "lists.example.com"
    assert (len(server.sessions), server.received) == (1, [])


async def test_a_wrong_password_is_named(installation: Installation) -> None:
    async with open_mail_server(auth_require_tls=False) as server:
        installation.change(SMTP_URL=f"smtp://someone:hush-hush@127.0.0.1:{server.port}")
        findings = await installation.run_checks(mail.CHECK)
    assert failed(findings) == ["smtp"]
    assert "refuses the login" in found(findings, "smtp").detail


async def test_a_server_without_logins_is_named(
    installation: Installation, smtp_server: SmtpServer
) -> None:
    installation.change(SMTP_URL=f"smtp://someone:hush-hush@127.0.0.1:{smtp_server.port}")
    findings = await installation.run_checks(mail.CHECK)
    assert "no login" in found(findings, "smtp").detail


async def test_plain_text_where_starttls_is_requested_is_named(
    installation: Installation, smtp_server: SmtpServer
) -> None:
    installation.change(SMTP_URL=f"{smtp_server.url}?tls=starttls")
    findings = await installation.run_checks(mail.CHECK)
    assert failed(findings) == ["smtp"]
    assert "no STARTTLS" in found(findings, "smtp").detail


async def test_plain_text_where_tls_is_requested_is_named(
    installation: Installation, smtp_server: SmtpServer
) -> None:
    installation.change(SMTP_URL=f"smtps://127.0.0.1:{smtp_server.port}")
    findings = await installation.run_checks(mail.CHECK)
    assert failed(findings) == ["smtp"]
    assert "TLS" in found(findings, "smtp").detail


async def test_a_strangers_certificate_is_named(
    installation: Installation, certificate: Certificate
) -> None:
    async with open_mail_server(**starttls(certificate)) as server:
        installation.change(SMTP_URL=f"smtp://{LOGIN}@localhost:{server.port}?tls=starttls")
        findings = await installation.run_checks(mail.CHECK)
    assert failed(findings) == ["smtp"]
    assert "certificate" in found(findings, "smtp").detail


async def test_a_server_that_answers_no_is_reported_by_its_code(
    installation: Installation, smtp_server: SmtpServer
) -> None:
    async with open_proxy("127.0.0.1", smtp_server.port) as proxy:
        proxy.fault(Answer(raw=b"554 5.7.1 Go away\r\n"), on=rb"^EHLO")
        installation.change(SMTP_URL=f"smtp://127.0.0.1:{proxy.port}")
        findings = await installation.run_checks(mail.CHECK)
    assert failed(findings) == ["smtp"]
    assert "554" in found(findings, "smtp").detail


@pytest.mark.parametrize(
    ("command", "reply", "status", "detail", "advice"),
    [
        ("MAIL", "530 5.7.0 Must issue a STARTTLS command first", "failure", "login", "user"),
        ("MAIL", "550 5.7.1 Authentication required", "failure", "wants a login", "user"),
        ("MAIL", "550 5.1.8 Sender address rejected", "failure", "refuses the sender", "MAIL_FROM"),
        ("MAIL", "550 who is that?", "failure", "refuses the sender", "MAIL_FROM"),
        ("MAIL", "501 5.5.2 <box>: Helo command rejected", "failure", "name in EHLO", "SMTP_HELO"),
        ("RCPT", "554 5.7.1 <[@]>: Relay access denied", "failure", "not relay", "log in"),
        ("RCPT", "550 relay not permitted", "failure", "not relay", "log in"),
        ("RCPT", "553 5.7.1 Sender address rejected: not owned", "failure", "the sender", "FROM"),
        ("RCPT", "504 5.5.2 <box>: Helo command rejected", "failure", "name in EHLO", "SMTP_HELO"),
        ("RCPT", "550 5.1.1 <[@]>: User unknown", "warning", "no mailbox MAIL_FROM", "REPLY_TO"),
        ("RCPT", "450 4.7.1 Greylisted", "warning", "takes no mail now", "again"),
    ],
)
async def test_what_the_server_holds_against_us_is_told_apart(
    installation: Installation, command: str, reply: str, status: str, detail: str, advice: str
) -> None:
    async with open_mail_server() as server:
        server.replies[command] = reply.replace("[@]", "exports@example.com")
        installation.change(SMTP_URL=f"smtp://127.0.0.1:{server.port}")
        finding = found(await installation.run_checks(mail.CHECK), "smtp")
    assert finding.status.value == status
    assert detail in finding.detail
    assert reply[:9] in finding.detail
    assert advice in finding.advice
    assert server.received == []
