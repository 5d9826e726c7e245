"""A mail server seen step by step, without handing it a message."""

import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiosmtplib import SMTP
from aiosmtplib.errors import SMTPAuthenticationError, SMTPException, SMTPResponseException

from app.adapters.smtp_address import SmtpAddress

COMMAND_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class MailTrouble:
    """What is wrong and what to do, both fit to be shown to anybody."""

    detail: str
    advice: str


AWAY = MailTrouble(
    "The mail server cannot be reached.", "start it, or mend host and port in SMTP_URL"
)
UNTRUSTED = MailTrouble(
    "TLS with the mail server fails: its certificate, or it speaks no TLS on this port.",
    "give it a certificate for its name that this machine trusts; smtps:// is for TLS at once",
)
IN_THE_CLEAR = MailTrouble(
    "The mail server offers no STARTTLS, which SMTP_URL asks for.",
    "switch it on there; mails wait rather than go in the clear",
)
NO_LOGIN = MailTrouble(
    "The mail server offers no login, and SMTP_URL has a user.", "use the port for submission"
)
REFUSED = MailTrouble(
    "The mail server refuses the login.", "mend user and password in SMTP_URL, percent-encoded"
)


async def inspect(address: SmtpAddress) -> MailTrouble | None:
    """Connect, change to TLS and log in as set up; return what is in the way, if anything."""
    try:
        async with _connected(address) as client:
            if address.starttls:
                if not client.supports_extension("starttls"):
                    return IN_THE_CLEAR
                await client.starttls()
                await client.ehlo()
            if address.user is not None:
                if not client.supports_extension("auth"):
                    return NO_LOGIN
                await client.login(address.user, address.password)
            await client.noop()
    except SMTPAuthenticationError:
        return REFUSED
    except SMTPResponseException as error:
        return MailTrouble(f"The mail server answers {error.code}.", "ask its log")
    except (SMTPException, OSError, EOFError) as error:
        return UNTRUSTED if _is_tls(error) else AWAY
    return None


@asynccontextmanager
async def _connected(address: SmtpAddress) -> AsyncIterator[SMTP]:
    client = SMTP(
        hostname=address.host,
        port=address.port,
        use_tls=address.implicit_tls,
        start_tls=False,
        timeout=COMMAND_TIMEOUT_S,
    )
    try:
        await client.connect()
        await client.ehlo()
        yield client
        with contextlib.suppress(SMTPException):
            await client.quit()
    finally:
        client.close()


def _is_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False
