"""The mail server: each step that fails is told apart, and no mail is begun."""

import ssl
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from app.doctor import mail
from devstack.certificates import Certificate, issue
from devstack.smtp import SmtpServer
from tests.adapters.mail_server import PASSWORD, USER, open_mail_server
from tests.doctor.patient import Patient, failed, found
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
    """Return what makes aiosmtpd insist on TLS and a login."""
    return {"tls_context": tls(certificate), "require_starttls": True, "auth_required": True}


async def test_tls_and_login_are_tried_and_no_mail_is_begun(
    patient: Patient, certificate: Certificate
) -> None:
    patient.change(SSL_CERT_FILE=str(certificate.authority))
    async with open_mail_server(**starttls(certificate)) as server:
        patient.change(SMTP_URL=f"smtp://{LOGIN}@localhost:{server.port}?tls=starttls")
        findings = await patient.examine(mail.CHECK)
    assert failed(findings) == []
    assert found(findings, "smtp").detail == "The mail server answers, over TLS, logged in."
    assert server.logins == ["LOGIN"] or server.logins == ["PLAIN"]
    assert (server.sessions, server.received) == (set(), [])


async def test_a_wrong_password_is_named(patient: Patient) -> None:
    async with open_mail_server(auth_require_tls=False) as server:
        patient.change(SMTP_URL=f"smtp://someone:hush-hush@127.0.0.1:{server.port}")
        findings = await patient.examine(mail.CHECK)
    assert failed(findings) == ["smtp"]
    assert "refuses the login" in found(findings, "smtp").detail


async def test_a_server_without_logins_is_named(patient: Patient, smtp_server: SmtpServer) -> None:
    patient.change(SMTP_URL=f"smtp://someone:hush-hush@127.0.0.1:{smtp_server.port}")
    findings = await patient.examine(mail.CHECK)
    assert "no login" in found(findings, "smtp").detail


async def test_plain_text_where_starttls_is_asked_for_is_named(
    patient: Patient, smtp_server: SmtpServer
) -> None:
    patient.change(SMTP_URL=f"{smtp_server.url}?tls=starttls")
    findings = await patient.examine(mail.CHECK)
    assert failed(findings) == ["smtp"]
    assert "no STARTTLS" in found(findings, "smtp").detail


async def test_plain_text_where_tls_is_asked_for_is_named(
    patient: Patient, smtp_server: SmtpServer
) -> None:
    patient.change(SMTP_URL=f"smtps://127.0.0.1:{smtp_server.port}")
    findings = await patient.examine(mail.CHECK)
    assert failed(findings) == ["smtp"]
    assert "TLS" in found(findings, "smtp").detail


async def test_a_strangers_certificate_is_named(patient: Patient, certificate: Certificate) -> None:
    async with open_mail_server(**starttls(certificate)) as server:
        patient.change(SMTP_URL=f"smtp://{LOGIN}@localhost:{server.port}?tls=starttls")
        findings = await patient.examine(mail.CHECK)
    assert failed(findings) == ["smtp"]
    assert "certificate" in found(findings, "smtp").detail


async def test_a_server_that_answers_no_is_told_by_its_code(
    patient: Patient, smtp_server: SmtpServer
) -> None:
    async with open_proxy("127.0.0.1", smtp_server.port) as proxy:
        proxy.fault(Answer(raw=b"554 5.7.1 Go away\r\n"), on=rb"^NOOP")
        patient.change(SMTP_URL=f"smtp://127.0.0.1:{proxy.port}")
        findings = await patient.examine(mail.CHECK)
    assert failed(findings) == ["smtp"]
    assert "554" in found(findings, "smtp").detail
