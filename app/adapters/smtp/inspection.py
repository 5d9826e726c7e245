"""Diagnose the mail server for ``doctor``: every SMTP step up to the content, without sending."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiosmtplib import SMTP
from aiosmtplib.errors import SMTPAuthenticationError, SMTPException, SMTPResponseException

from app.adapters.dialing import dial
from app.adapters.smtp.address import SmtpAddress
from app.adapters.smtp.closing import closed_on_error, quit_and_close
from app.adapters.smtp.redaction import redacted
from app.adapters.smtp.replies import (
    ABOUT_RELAYING,
    MENTIONS_SENDER,
    Reply,
    Stage,
    any_of,
    refuses_recipient,
)
from app.tls_errors import connection_failure, tls_failure

COMMAND_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class SmtpProblem:
    """What is wrong and what to do. Neither text holds a secret or an address.

    ``is_fatal`` is false where mail to other recipients may still be delivered.
    """

    detail: str
    advice: str
    is_fatal: bool = True


IN_THE_CLEAR = SmtpProblem(
    "The mail server offers no STARTTLS, which SMTP_URL requires.",
    "enable STARTTLS on the server; until then mails wait and are never sent unencrypted",
)
NO_LOGIN = SmtpProblem(
    "The mail server offers no login, and SMTP_URL has a user.",
    "use its submission port, 587 or 465",
)
REFUSED = SmtpProblem(
    "The mail server refuses the login.", "fix user and password in SMTP_URL, percent-encoded"
)

MENTIONS_LOGIN = any_of(r"authenticat | \blog[ -]?in\b | credential | not\ logged")
MENTIONS_HELO = any_of(r"\b(helo|ehlo)\b")
MENTIONS_RELAYING = any_of(ABOUT_RELAYING)
AUTHENTICATION_REQUIRED = 530
"""The reply to MAIL before a required login (RFC 4954, section 6)."""


@dataclass(frozen=True)
class Sender:
    """How this service identifies itself: the name in EHLO, and the address in MAIL FROM."""

    helo_name: str
    address: str


async def inspect(address: SmtpAddress, sender: Sender) -> SmtpProblem | None:
    """Perform every step up to the content and return the problem, ``None`` if there is none.

    The steps are TLS and login as configured, MAIL FROM, RCPT TO with the sender's own address,
    and RSET, which discards the mail.
    """
    stage = Stage.CONNECT
    try:
        async with _connected(address, sender.helo_name) as client:
            if address.starttls:
                if not client.supports_extension("starttls"):
                    return IN_THE_CLEAR
                await client.starttls()
                await client.ehlo()
            if address.user is not None:
                if not client.supports_extension("auth"):
                    return NO_LOGIN
                await client.login(address.user, address.password)
            stage = Stage.MAIL
            encoding, options = _encoding(sender.address)
            await client.mail(sender.address, options=options, encoding=encoding)
            stage = Stage.RCPT
            await client.rcpt(sender.address, encoding=encoding)
            await client.rset()
    except SMTPAuthenticationError:
        return REFUSED
    except SMTPResponseException as error:
        reply = Reply.of(error.code, error.message)
        shown = redacted(str(reply), (sender.address, *address.secrets))
        return _problem(stage, reply, shown, is_logged_in=address.user is not None)
    except (SMTPException, OSError, EOFError) as error:
        return _no_connection(error)
    return None


def _problem(stage: Stage, reply: Reply, shown: str, *, is_logged_in: bool) -> SmtpProblem:
    """Return what a refusal means; ``shown`` is the server's reply, redacted."""
    # At any stage: Postfix, for one, delays this refusal until RCPT (smtpd_delay_reject).
    if MENTIONS_HELO.search(reply.text):
        detail = f"The mail server refuses our name in EHLO: {shown}"
        return SmtpProblem(detail, "set SMTP_HELO_NAME to a domain name that leads to this service")
    if stage is Stage.CONNECT:
        return SmtpProblem(f"The mail server refuses the session: {shown}", "look into its log")
    if not is_logged_in and (
        reply.code == AUTHENTICATION_REQUIRED or MENTIONS_LOGIN.search(reply.text)
    ):
        detail = f"The mail server wants a login, and SMTP_URL has none: {shown}"
        return SmtpProblem(detail, "put user and password into SMTP_URL")
    if MENTIONS_RELAYING.search(reply.text):
        advice = "allow this login to relay" if is_logged_in else "log in: add a user to SMTP_URL"
        detail = f"The mail server does not relay for us: {shown}"
        return SmtpProblem(detail, f"{advice}; or use another server")
    if 400 <= reply.code <= 499:
        detail = f"The mail server takes no mail now: {shown}"
        return SmtpProblem(detail, "try again in a few minutes; look into its log", is_fatal=False)
    if (
        stage is Stage.RCPT
        and not MENTIONS_SENDER.search(reply.text)
        and refuses_recipient(stage, reply)
    ):
        detail = f"There is no mailbox MAIL_FROM, so replies and bounces get lost: {shown}"
        return SmtpProblem(detail, "create it, or set MAIL_REPLY_TO", is_fatal=False)
    advice = "let this login or machine send as MAIL_FROM, or fix MAIL_FROM"
    return SmtpProblem(f"The mail server refuses the sender MAIL_FROM: {shown}", advice)


def _encoding(address: str) -> tuple[str, list[str]]:
    return ("ascii", []) if address.isascii() else ("utf-8", ["SMTPUTF8"])


@asynccontextmanager
async def _connected(address: SmtpAddress, helo_name: str) -> AsyncIterator[SMTP]:
    client = SMTP(
        hostname=address.host,
        port=None,  # aiosmtplib refuses a port beside a socket
        local_hostname=helo_name,
        use_tls=address.implicit_tls,
        start_tls=False,
        timeout=COMMAND_TIMEOUT_S,
    )
    with closed_on_error(client):
        async with asyncio.timeout(COMMAND_TIMEOUT_S):
            connected = await dial(address.host, address.port)
        await client.connect(sock=connected)
        await client.ehlo()
        yield client
    await quit_and_close(client, COMMAND_TIMEOUT_S)


def _no_connection(error: BaseException) -> SmtpProblem:
    """Return why there is no session with the server."""
    if failed := tls_failure(error):
        return SmtpProblem(
            f"TLS with the mail server fails: {failed}.",
            "give it a certificate for its name that this machine trusts, or name "
            "the authority in SSL_CERT_FILE; smtps:// is for ports with TLS from the first byte",
        )
    failed = connection_failure(error)
    detail = f"The mail server cannot be reached{f': {failed}' if failed else ''}."
    return SmtpProblem(detail, "start it, or fix host and port in SMTP_URL")
