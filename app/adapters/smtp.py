"""The mailer: hands messages to a mail server over SMTP."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from email.message import EmailMessage

from aiosmtplib import SMTP
from aiosmtplib.errors import (
    SMTPDataError,
    SMTPException,
    SMTPRecipientRefused,
    SMTPResponseException,
    SMTPSenderRefused,
    SMTPServerDisconnected,
)

from app.adapters.smtp_address import SmtpAddress
from app.adapters.smtp_envelope import Envelope
from app.config import Settings
from app.errors import MailDeferred, MailRefused, ServiceError

SEND_TIMEOUT_S = 45.0
"""Less than the outbox's lease, so that no other worker sends the same meanwhile."""

CHECK_TIMEOUT_S = 10.0
QUIT_TIMEOUT_S = 1.0
CONNECTIONS_MAX = 4
IDLE_MAX_S = 30.0
"""An older connection is not used again: something between may have forgotten it."""

SERVER_CLOSES = 421
OPERATORS_TROUBLE = {503, 530, 534, 535, 538}
"""Not logged in, or not in the way the server wants: no fault of the message."""


class SmtpMailer:
    """Sends over a few connections that are kept open for a while.

    What is refused before a recipient was named (the login, the sender) is
    the operator's to repair and no fault of the message: it is deferred, so
    that a wrong password does not lose every mail of an hour.
    """

    def __init__(self, address: SmtpAddress) -> None:
        self._address = address
        self._slots = asyncio.Semaphore(CONNECTIONS_MAX)
        self._idle: list[tuple[float, SMTP]] = []

    async def send(self, message: EmailMessage) -> None:
        """Return when the server has taken responsibility for ``message``.

        It is sent once: after the content went out nothing is repeated.

        Raises:
            MailDeferred: the server is away, said "later", or does not let us
                in; whether it has the message is unknown only where the
                connection broke after the content.
            MailRefused: the server will never take this message.
        """
        envelope = Envelope.of(message)
        async with self._bounded(SEND_TIMEOUT_S):
            client = await self._announced(envelope)
            with _closed_on_error(client):
                await client.data(envelope.flattened())
            self._keep(client)

    async def check(self) -> None:
        """Connect, with TLS and login as set up, and send nothing.

        Raises:
            MailDeferred: the server is away or does not let us in.
        """
        async with self._bounded(CHECK_TIMEOUT_S):
            client = await self._connect()
            with _closed_on_error(client):
                await client.noop()
            self._keep(client)

    async def aclose(self) -> None:
        """Take leave of the server."""
        while self._idle:
            _, client = self._idle.pop()
            with contextlib.suppress(SMTPException):
                await client.quit(timeout=QUIT_TIMEOUT_S)
            client.close()

    @asynccontextmanager
    async def _bounded(self, timeout_s: float) -> AsyncIterator[None]:
        with smtp_errors():
            async with asyncio.timeout(timeout_s), self._slots:
                yield

    async def _announced(self, envelope: Envelope) -> SMTP:
        """Return a connection whose server has taken sender and recipients.

        A kept connection may turn out to be closed; no harm is done yet, and
        the next one is tried.
        """
        while (client := self._kept()) is not None:
            try:
                await _announce(client, envelope)
            except (SMTPException, ConnectionError) as error:
                if not _hung_up(error):
                    raise
            else:
                return client
        client = await self._connect()
        await _announce(client, envelope)
        return client

    def _keep(self, client: SMTP) -> None:
        if client.is_connected:
            self._idle.append((time.monotonic(), client))

    def _kept(self) -> SMTP | None:
        """Return a connection that was used a moment ago and is open still."""
        while self._idle:
            used_at, client = self._idle.pop()
            if client.is_connected and time.monotonic() - used_at < IDLE_MAX_S:
                return client
            client.close()
        return None

    async def _connect(self) -> SMTP:
        address = self._address
        client = SMTP(
            hostname=address.host,
            port=address.port,
            use_tls=address.implicit_tls,
            start_tls=address.starttls,
            username=address.user,
            password=None if address.user is None else address.password,
            timeout=None,  # ours bounds it: with one, aiosmtplib's wait_for may lose our cancel
        )
        with _closed_on_error(client):
            await client.connect()
        return client


@asynccontextmanager
async def open_mailer(settings: Settings) -> AsyncIterator[SmtpMailer]:
    """Yield the mailer; the mail server need not be up.

    Raises:
        SettingsInvalid: ``SMTP_URL`` cannot be used.
    """
    mailer = SmtpMailer(SmtpAddress.parse(settings.smtp_url.get_secret_value()))
    try:
        yield mailer
    finally:
        await mailer.aclose()


@contextmanager
def smtp_errors() -> Iterator[None]:
    """Translate what a mail server, or its absence, makes aiosmtplib raise.

    Raises:
        MailDeferred: again later may succeed.
        MailRefused: the recipient or the content was refused for good.
    """
    try:
        yield
    except SMTPResponseException as error:
        raise _answered(error) from error
    except TimeoutError as error:
        raise MailDeferred("The mail server did not answer in time.") from error
    except (SMTPException, OSError, EOFError) as error:
        raise MailDeferred("The mail server cannot be reached or does not let us in.") from error


def _answered(error: SMTPResponseException) -> ServiceError:
    about_message = isinstance(error, SMTPRecipientRefused | SMTPDataError)
    if about_message and error.code >= 500 and error.code not in OPERATORS_TROUBLE:
        return MailRefused(f"The mail server refused the message ({error.code}).")
    return MailDeferred(f"The mail server does not take the message now ({error.code}).")


def _hung_up(error: BaseException) -> bool:
    if isinstance(error, SMTPSenderRefused | SMTPRecipientRefused):
        return error.code == SERVER_CLOSES
    return isinstance(error, SMTPServerDisconnected | ConnectionError)


async def _announce(client: SMTP, envelope: Envelope) -> None:
    """Name sender and recipients; all are taken or none."""
    with _closed_on_error(client):
        options, encoding = await _utf8(client) if envelope.needs_utf8 else ([], "ascii")
        await client.mail(envelope.sender, options=options, encoding=encoding)
        for recipient in envelope.recipients:
            await client.rcpt(recipient, encoding=encoding)


async def _utf8(client: SMTP) -> tuple[list[str], str]:
    """Return how to announce addresses that are not ASCII (RFC 6531)."""
    if client.is_ehlo_or_helo_needed:
        await client.ehlo()
    if not client.supports_extension("smtputf8"):
        raise MailRefused("The mail server does not take addresses with letters beyond ASCII.")
    return ["SMTPUTF8", "BODY=8BITMIME"], "utf-8"


@contextmanager
def _closed_on_error(client: SMTP) -> Iterator[None]:
    """Never use a connection again that was left in the middle of something."""
    try:
        yield
    except BaseException:
        client.close()
        raise
